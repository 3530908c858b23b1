//! The path and its query.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written, cut},
};
use nuncio_codec::{Known, headers::HeaderMap, path};

/// Which path counts: the one the client sent or the one sent upstream.
#[derive(Debug, Clone, Copy)]
enum Which {
    OriginalOrCurrent,
    Current,
    Original,
}

impl Which {
    fn of(self, request: &HeaderMap) -> Option<&[u8]> {
        let original = || request.get(Known::XEnvoyOriginalPath).filter(|path| !path.is_empty());
        match self {
            Which::Original => original(),
            Which::Current => request.path(),
            Which::OriginalOrCurrent => original().or_else(|| request.path()),
        }
    }
}

/// Path before and query after the first `?`.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|b| *b == b'?') {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// `%PATH([WQ|NQ][:ORIG|PATH|ORIG_OR_PATH]):length%`.
#[derive(Debug)]
struct PathCommand {
    with_query: bool,
    which: Which,
    length: Option<usize>,
}

pub(super) fn path(args: Args<'_>) -> Result<Command, String> {
    let mut parts = args.params.split(':');
    let with_query = match parts.next().unwrap_or_default() {
        "" | "WQ" => true,
        "NQ" => false,
        other => return Err(format!("Invalid PATH option: '{other}', only 'WQ'/'NQ' are allowed")),
    };
    let which = match parts.next() {
        None | Some("ORIG_OR_PATH") => Which::OriginalOrCurrent,
        Some("PATH") => Which::Current,
        Some("ORIG") => Which::Original,
        Some(other) => {
            return Err(format!("Invalid PATH option: '{other}', only 'ORIG'/'PATH'/'ORIG_OR_PATH' are allowed"));
        }
    };
    Ok(Command::with(PathCommand { with_query, which, length: args.length }))
}

impl Parametric for PathCommand {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let Some(path) = self.which.of(&cx.stream.request) else { return Written::Absent };
        let from = out.len();
        out.extend_from_slice(if self.with_query { path } else { split(path).0 });
        cut(out, from, self.length);
        Written::Text
    }
}

/// `%QUERY_PARAMS([ORIG|DECODED]):length%`.
#[derive(Debug)]
struct QueryParams {
    decoded: bool,
    length: Option<usize>,
}

pub(super) fn query_params(args: Args<'_>) -> Result<Command, String> {
    let decoded = match args.params {
        "" | "ORIG" => false,
        "DECODED" => true,
        other => {
            return Err(format!("Invalid QUERY_PARAMS option: '{other}', only 'ORIG'/'DECODED' are allowed"));
        }
    };
    Ok(Command::with(QueryParams { decoded, length: args.length }))
}

impl Parametric for QueryParams {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let Some(path) = cx.stream.request.path() else { return Written::Absent };
        let Some(query) = split(path).1 else { return Written::Absent };
        let from = out.len();
        if self.decoded {
            decode_visible(query, out);
        } else {
            out.extend_from_slice(query);
        }
        cut(out, from, self.length);
        Written::Text
    }
}

/// `%QUERY_PARAM(key):length%`: the first value of a key, decoded.
#[derive(Debug)]
struct QueryParam {
    key: Box<[u8]>,
    length: Option<usize>,
}

pub(super) fn query_param(args: Args<'_>) -> Result<Command, String> {
    Ok(Command::with(QueryParam { key: args.params.as_bytes().into(), length: args.length }))
}

impl Parametric for QueryParam {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let Some(path) = cx.stream.request.path() else { return Written::Absent };
        let from = out.len();
        for pair in split(path).1.unwrap_or_default().split(|b| *b == b'&') {
            let (key, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            out.extend_from_slice(&path::percent_decode(key));
            let found = out[from..] == *self.key;
            out.truncate(from);
            if found {
                out.extend_from_slice(&path::percent_decode(value));
                cut(out, from, self.length);
                return Written::Text;
            }
        }
        Written::Absent
    }
}

/// Decodes what stands for a visible character; a `%` before two characters that are no number is dropped.
fn decode_visible(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, path::decode_pair(&text[at + 1..])) {
            (b'%', Some(decoded)) if decoded.is_ascii_graphic() => {
                out.push(decoded);
                at += 2;
            }
            (b'%', None) if at + 2 < text.len() => {}
            _ => out.push(byte),
        }
        at += 1;
    }
}
