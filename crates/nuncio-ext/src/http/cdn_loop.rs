//! `envoy.filters.http.cdn_loop`: requests that pass through a network too often are stopped (RFC 8586).
//!
//! The header is read to the letter, but for items that are empty: one that cannot be read is answered 400.

use crate::read;
use nuncio_api::envoy::extensions::filters::http::cdn_loop::v3 as proto;
use nuncio_codec::headers::{HeaderName, is_token_byte};
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, Step, StreamCx};
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.cdn_loop",
    message: "envoy.extensions.filters.http.cdn_loop.v3.CdnLoopConfig",
    route_message: "",
    posture: Posture::UntrustedDownstream,
    build,
    route: super::no_route_config,
};

#[derive(Debug)]
struct CdnLoop {
    header: HeaderName,
    id: Box<[u8]>,
    /// Passages before this one that are allowed.
    allowed: usize,
}

fn build(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::CdnLoopConfig { cdn_id, max_allowed_occurrences } = read::message(config)?;
    let mut reader = Reader(cdn_id.as_bytes());
    if reader.id().is_none() || !reader.0.is_empty() {
        return Err(ConfigError::at("cdn_id", format!("`{cdn_id}` is not a name that CDN-Loop may have in it")));
    }
    let header = read::header_name("cdn-loop")?;
    Ok(Arc::new(CdnLoop { header, id: cdn_id.into_bytes().into(), allowed: max_allowed_occurrences as usize }))
}

/// What is left of a header's value.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self.0.iter().position(|&byte| !wanted(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn blanks(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    /// `cdn-id`: a host with a port it may have, or a pseudonym.
    fn id(&mut self) -> Option<&'a [u8]> {
        let whole = self.0;
        if self.take(b'[') {
            self.take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
            self.take(b']').then_some(())?;
        } else if self.take_while(is_token_byte).is_empty() {
            return None;
        }
        if self.take(b':') {
            self.take_while(|byte| byte.is_ascii_digit());
        }
        Some(&whole[..whole.len() - self.0.len()])
    }

    /// `parameter`
    fn parameter(&mut self) -> Option<()> {
        if self.take_while(is_token_byte).is_empty() || !self.take(b'=') {
            return None;
        }
        if !self.take(b'"') {
            return (!self.take_while(is_token_byte).is_empty()).then_some(());
        }
        let text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        loop {
            self.take_while(|byte| text(byte) && byte != b'"' && byte != b'\\');
            if self.take(b'"') {
                return Some(());
            }
            self.take(b'\\').then_some(())?;
            let (&escaped, rest) = self.0.split_first()?;
            text(escaped).then_some(())?;
            self.0 = rest;
        }
    }
}

/// How often an ID stands in a value; `None` if that cannot be read.
fn count(value: &[u8], id: &[u8]) -> Option<usize> {
    let mut reader = Reader(value);
    let mut times = 0;
    loop {
        reader.blanks();
        if reader.take(b',') {
            continue;
        }
        if reader.0.is_empty() {
            return Some(times);
        }
        times += usize::from(reader.id()? == id);
        reader.blanks();
        while reader.take(b';') {
            reader.blanks();
            reader.parameter()?;
            reader.blanks();
        }
        if !reader.0.is_empty() && !reader.take(b',') {
            return None;
        }
    }
}

impl HttpFilter for CdnLoop {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let mut value = cx.request.get_joined(&self.header).unwrap_or_default().into_owned();
        let times = count(&value, &self.id);
        if times.is_some_and(|times| times <= self.allowed) {
            if !value.is_empty() {
                value.push(b',');
            }
            value.extend_from_slice(&self.id);
            cx.request.insert(&self.header, value);
            return Step::Continue;
        }
        // It is one value, for logs as well.
        cx.request.insert(&self.header, value);
        Step::reply(match times {
            None => LocalReply::new(400, "invalid_cdn_loop_header").body("Invalid CDN-Loop header in request."),
            Some(_) => LocalReply::new(502, "cdn_loop_detected").body("The server has detected a loop between CDNs."),
        })
    }
}
