//! Requests from a client.

use super::body::{Body, BodyDecoder, Eof};
use super::connection;
use super::fields::{FieldRules, Part, Seen};
use super::framing::{Announced, announced};
use super::head::{Progress, join_values, read_head};
use super::request_line::{RequestLine, parse_request_line};
use super::rules::RequestRules;
use super::target::is_valid_authority;
use super::violation::Violation;
use super::{Framing, Version};
use crate::headers::{HeaderMap, Known};
use crate::method::Method;

/// What a request's head says beside its headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHead {
    /// Bytes of input the head took.
    pub consumed: usize,
    /// The method, classified.
    pub method: Method,
    /// The version of the request line.
    pub version: Version,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the client lets the connection live after this exchange.
    pub keep_alive: bool,
    /// `connection: upgrade` with a protocol other than h2c; framing is then [`Framing::Tunnel`].
    pub upgrade: bool,
    /// `expect: 100-continue`: the client may wait for a 100 before it sends the body.
    pub expect_continue: bool,
    /// Headers left out for an underscore: `http1.dropped_headers_with_underscores`.
    pub dropped_headers: u32,
}

impl RequestHead {
    /// Whether nothing follows the head.
    pub fn end_stream(&self) -> bool {
        self.framing == Framing::None
    }
}

/// Turns a client's bytes into requests; one per connection.
///
/// Call [`decode_head`](Self::decode_head) until it answers, then, unless the request has ended,
/// [`decode_body`](Self::decode_body) until that is done (and [`decode_trailers`](Self::decode_trailers)
/// when it says so), then begin again with what is left of the input.
#[derive(Debug)]
pub struct RequestDecoder {
    rules: RequestRules,
    progress: Progress,
    body: BodyDecoder,
    version: Version,
}

impl RequestDecoder {
    /// A decoder for a new connection.
    pub fn new(rules: RequestRules) -> RequestDecoder {
        let body = BodyDecoder::new(rules.strictness);
        RequestDecoder {
            rules,
            progress: Progress::default(),
            body,
            version: Version::Http11,
        }
    }

    /// The version of the last head whose fields could be read, which the answer to a broken one has, too.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The rules it was made with.
    pub fn rules(&self) -> &RequestRules {
        &self.rules
    }

    /// Reads a head from the front of `input`, which holds everything of it that came so far. `None`:
    /// keep the bytes, read more, come again. The map is emptied first.
    pub fn decode_head(
        &mut self,
        input: &[u8],
        map: &mut HeaderMap,
    ) -> Result<Option<RequestHead>, Violation> {
        let Some(blank) = skip_blank_lines(input, self.rules.max_head_bytes)? else {
            return Ok(None);
        };
        let rules = self.rules;
        let field_rules = FieldRules {
            part: Part::Request,
            max_headers: rules.max_headers,
            strictness: rules.strictness,
            underscores: rules.underscores,
        };
        let limits = (rules.max_head_bytes, rules.keep_spelling);
        let found = read_head(
            &mut self.progress,
            &input[blank..],
            map,
            limits,
            &field_rules,
            |bytes, map| parse_request_line(bytes, map, &rules),
        )?;
        let Some((line, seen)) = found else {
            return Ok(None);
        };
        let consumed = blank + seen.end;
        let head = finish_head(&line, &seen, consumed, map, &rules);
        if !matches!(head, Err(Violation::ContentLength)) {
            // Envoy answers in HTTP/1.0 only where it accepts that.
            self.version = if rules.accept_http_10 {
                line.version
            } else {
                Version::Http11
            };
        }
        let head = head?;
        self.body.begin(head.framing);
        Ok(Some(head))
    }

    /// Reads body from the front of `input`. See [`Body`].
    #[inline]
    pub fn decode_body(&mut self, input: &mut [u8]) -> Result<Body, Violation> {
        self.body.decode(input)
    }

    /// Reads the trailers after [`super::BodyState::Trailers`]; answers how many bytes they took. `None`: keep the
    /// bytes and come again. Without `enable_trailers` the map stays empty.
    pub fn decode_trailers(
        &mut self,
        input: &[u8],
        map: &mut HeaderMap,
    ) -> Result<Option<usize>, Violation> {
        let rules = &self.rules;
        let limits = (rules.max_head_bytes, rules.max_headers);
        self.body
            .decode_trailers(input, map, limits, rules.enable_trailers)
    }

    /// Whether between requests: nothing of the next one was taken.
    pub fn is_idle(&self) -> bool {
        self.body.is_done()
    }

    /// The client sends no more. See [`Eof`].
    pub fn eof(&mut self) -> Eof {
        match self.body.eof() {
            Eof::Idle if self.progress.has_begun() => Eof::Truncated,
            eof => eof,
        }
    }
}

/// Empty lines before a request line are skipped (rfc9112#2.2); answers how many bytes they take.
#[inline]
pub(super) fn skip_blank_lines(input: &[u8], max_bytes: usize) -> Result<Option<usize>, Violation> {
    match input.iter().position(|&b| b != b'\r' && b != b'\n') {
        None if input.len() >= max_bytes => Err(Violation::HeadersTooLarge),
        None => Ok(None),
        Some(at) if input[at] <= b' ' => Err(Violation::StartLine),
        Some(at) => Ok(Some(at)),
    }
}

/// What follows from line and fields together, in Envoy's order of complaints.
fn finish_head(
    line: &RequestLine,
    seen: &Seen,
    consumed: usize,
    map: &mut HeaderMap,
    rules: &RequestRules,
) -> Result<RequestHead, Violation> {
    if seen.joinable {
        join_values(map, Part::Request);
    }
    place_target(line, map, rules);
    let announced = announced(map, seen, rules.allow_chunked_length)?;
    let connection = map.contains(Known::Connection);
    let keep_alive = connection::keeps_alive(map, line.version);
    let mut upgrade = false;
    if connection {
        upgrade = connection::is_upgrade(map);
        if upgrade
            && map
                .get(Known::Upgrade)
                .is_some_and(|p| p.eq_ignore_ascii_case(b"h2c"))
        {
            connection::drop_h2c_offer(map);
            upgrade = false;
        }
    }
    let framing = choose_framing(line.method, announced, upgrade, map)?;
    // Envoy forwards an upgrade's headers as they are.
    if !upgrade || !rules.strictness.is_parity() {
        if connection {
            connection::remove_nominated(map)?;
        }
        connection::sanitize_te(map, rules.strictness);
    }
    if let Some(fault) = line.target.fault {
        return Err(fault);
    }
    if line.version == Version::Http10 && !rules.accept_http_10 {
        return Err(Violation::LowVersion);
    }
    if !map.authority().is_none_or(is_valid_authority) {
        return Err(Violation::Authority);
    }
    let expect_continue = map
        .get(Known::Expect)
        .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    Ok(RequestHead {
        consumed,
        method: line.method,
        version: line.version,
        framing,
        keep_alive,
        upgrade,
        expect_continue,
        dropped_headers: seen.dropped,
    })
}

/// The target's authority takes the place of `host` (rfc9112#3.2.2); an absolute form without a path
/// means `/`.
#[inline]
fn place_target(line: &RequestLine, map: &mut HeaderMap, rules: &RequestRules) {
    let target = &line.target;
    let Some((at, len)) = target.authority else {
        return;
    };
    map.set_pseudo_loaded(Known::Authority, at as usize, len as usize);
    if let Some(scheme) = target.scheme {
        map.insert(Known::Scheme, scheme.as_str());
        match map.path() {
            None => map.insert(Known::Path, "/"),
            Some(query) if target.is_query_only && !rules.strictness.is_parity() => {
                let path = [b"/", query].concat();
                map.insert(Known::Path, path);
            }
            Some(_) => {}
        }
    }
}

fn choose_framing(
    method: Method,
    announced: Announced,
    upgrade: bool,
    map: &mut HeaderMap,
) -> Result<Framing, Violation> {
    if method.is_connect() {
        return match announced {
            Announced::Chunked => Err(Violation::TransferEncoding),
            Announced::Length(0) | Announced::Nothing => {
                map.remove(Known::ContentLength);
                Ok(Framing::Tunnel)
            }
            Announced::Length(_) => Err(Violation::BodyDisallowed),
        };
    }
    if upgrade {
        map.remove(Known::TransferEncoding);
        return Ok(Framing::Tunnel);
    }
    Ok(match announced {
        Announced::Nothing | Announced::Length(0) => Framing::None,
        Announced::Length(length) => Framing::Length(length),
        Announced::Chunked => Framing::Chunked,
    })
}
