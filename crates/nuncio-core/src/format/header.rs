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
}

impl Parametric for HeaderValue {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let map = (self.map)(cx.stream);
        let get = |name: &Option<HeaderName>| map.get(name.as_ref()?);
        let Some(value) = get(&self.name).or_else(|| get(&self.alternative)) else {
            return Written::Absent;
        };
        let from = out.len();
        out.extend_from_slice(value);
        cut(out, from, self.length);
        Written::Text
    }
}

pub(super) fn request(args: Args<'_>) -> Result<Command, String> {
    compile(args, |stream| &stream.request)
}

pub(super) fn response(args: Args<'_>) -> Result<Command, String> {
    compile(args, |stream| &stream.response)
}

pub(super) fn response_trailer(args: Args<'_>) -> Result<Command, String> {
    compile(args, |stream| &stream.response_trailers)
}

fn compile(args: Args<'_>, map: fn(&StreamCx) -> &HeaderMap) -> Result<Command, String> {
    let mut names = args.params.split('?');
    let name = header_name(names.next().unwrap_or_default())?;
    let alternative = header_name(names.next().unwrap_or_default())?;
    if names.next().is_some() {
        return Err(format!("More than 1 alternative header specified in token: {}", args.params));
    }
    Ok(Command::with(HeaderValue { map, name, alternative, length: args.length }))
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
