//! `%REQ(name?alternative):length%` and its kin: header values.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written, cut},
};
use crate::StreamCx;
use nuncio_codec::headers::{HeaderMap, HeaderName};

/// The first value of a header, or of its alternative where the first has none.
#[derive(Debug)]
struct HeaderValue {
    map: fn(&StreamCx) -> &HeaderMap,
    name: Option<HeaderName>,
    alternative: Option<HeaderName>,
    length: Option<usize>,
    /// Only what stands before a `?`.
    without_query: bool,
}

impl Parametric for HeaderValue {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let map = (self.map)(cx.stream);
        let get = |name: &Option<HeaderName>| map.get(name.as_ref()?);
        let Some(value) = get(&self.name).or_else(|| get(&self.alternative)) else {
            return Written::Absent;
        };
        let from = out.len();
        let len = if self.without_query { value.iter().position(|b| *b == b'?') } else { None };
        out.extend_from_slice(&value[..len.unwrap_or(value.len())]);
        cut(out, from, self.length);
        Written::Text
    }
}

pub(super) fn request(args: Args<'_>) -> Result<Command, String> {
    compile(args, |stream| &stream.request, false)
}

pub(super) fn response(args: Args<'_>) -> Result<Command, String> {
    compile(args, |stream| &stream.response, false)
}

pub(super) fn response_trailer(args: Args<'_>) -> Result<Command, String> {
    compile(args, |stream| &stream.response_trailers, false)
}

/// `%REQ_WITHOUT_QUERY(name?alternative):length%`.
pub(super) fn request_without_query(args: Args<'_>) -> Result<Command, String> {
    compile(args, |stream| &stream.request, true)
}

fn compile(args: Args<'_>, map: fn(&StreamCx) -> &HeaderMap, without_query: bool) -> Result<Command, String> {
    let mut names = args.params.split('?');
    let name = header_name(names.next().unwrap_or_default())?;
    let alternative = header_name(names.next().unwrap_or_default())?;
    if names.next().is_some() {
        return Err(format!("More than 1 alternative header specified in token: {}", args.params));
    }
    Ok(Command::with(HeaderValue { map, name, alternative, length: args.length, without_query }))
}

/// A header's name; an empty one names no header.
fn header_name(text: &str) -> Result<Option<HeaderName>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    HeaderName::new(text)
        .map(Some)
        .ok_or_else(|| "Invalid header configuration. Format string contains invalid characters.".to_owned())
}
