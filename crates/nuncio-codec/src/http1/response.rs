//! Responses from an upstream.

use super::body::{Body, BodyDecoder, Eof};
use super::connection;
use super::fields::{FieldRules, Part, Seen};
use super::framing::{Announced, announced};
use super::head::{Progress, join_values, read_head};

use super::rules::ResponseRules;
use super::status_line::{StatusLine, parse_status_line};
use super::violation::Violation;
use super::{Framing, Version};
use crate::headers::{HeaderMap, Known};

/// What the request was, as far as it changes how its response is read (rfc9112#6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResponseContext {
    /// The request was HEAD: the response has no body whatever its headers say.
    pub to_head: bool,
    /// The request was CONNECT: a 2xx opens a tunnel.
    pub to_connect: bool,
    /// The request asked for another protocol: 101 opens a tunnel.
    pub to_upgrade: bool,
}

/// What a response's head says beside its headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    /// Bytes of input the head took.
    pub consumed: usize,
    /// The status.
    pub status: u16,
    /// The version of the status line.
    pub version: Version,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the upstream lets the connection live after this exchange; false with
    /// [`Framing::UntilClose`] and [`Framing::Tunnel`].
    pub keep_alive: bool,
    /// Headers left out for an underscore.
    pub dropped_headers: u32,
}

impl ResponseHead {
    /// A 1xx other than 101: the real response is still to come.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Whether nothing of this response follows the head; never for interim ones.
    pub fn end_stream(&self) -> bool {
        self.framing == Framing::None && !self.is_interim()
    }
}

/// Turns an upstream's bytes into responses; one per connection.
///
/// Call [`begin`](Self::begin) when a request is sent, then [`decode_head`](Self::decode_head) until it answers (again after an
/// interim response), then body and trailers as with requests.
#[derive(Debug)]
pub struct ResponseDecoder {
    rules: ResponseRules,
    context: ResponseContext,
    progress: Progress,
    body: BodyDecoder,
}

impl ResponseDecoder {
    /// A decoder for a new connection.
    pub fn new(rules: ResponseRules) -> ResponseDecoder {
        let body = BodyDecoder::new(rules.strictness);
        ResponseDecoder {
            rules,
            context: ResponseContext::default(),
            progress: Progress::default(),
            body,
        }
    }

    /// The rules it was made with.
    pub fn rules(&self) -> &ResponseRules {
        &self.rules
    }

    /// Gets ready for the response to a request of this kind.
    #[inline]
    pub fn begin(&mut self, context: ResponseContext) {
        self.context = context;
        self.progress = Progress::default();
        self.body.begin(Framing::None);
    }

    /// Reads a head from the front of `input`, which holds everything of it that came so far. `None`:
    /// keep the bytes, read more, come again. The map is emptied first.
    pub fn decode_head(
        &mut self,
        input: &[u8],
        map: &mut HeaderMap,
    ) -> Result<Option<ResponseHead>, Violation> {
        let rules = self.rules;
        if input.is_empty() {
            return Ok(None);
        }
        let field_rules = FieldRules {
            part: Part::Response,
            max_headers: rules.max_headers,
            strictness: rules.strictness,
            underscores: rules.underscores,
        };
        let limits = (rules.max_head_bytes, rules.keep_spelling);
        let found = read_head(
            &mut self.progress,
            input,
            map,
            limits,
            &field_rules,
            |bytes, map| parse_status_line(bytes, map, rules.strictness),
        )?;
        let Some((line, seen)) = found else {
            return Ok(None);
        };
        let head = self.finish_head(line, &seen, seen.end, map)?;
        self.body.begin(if head.is_interim() {
            Framing::None
        } else {
            head.framing
        });
        Ok(Some(head))
    }

    /// Reads body from the front of `input`. See [`Body`].
    #[inline]
    pub fn decode_body(&mut self, input: &mut [u8]) -> Result<Body, Violation> {
        self.body.decode(input)
    }

    /// Reads the trailers; see [`super::RequestDecoder::decode_trailers`].
    pub fn decode_trailers(
        &mut self,
        input: &[u8],
        map: &mut HeaderMap,
    ) -> Result<Option<usize>, Violation> {
        let limits = (self.rules.max_head_bytes, self.rules.max_headers);
        self.body
            .decode_trailers(input, map, limits, self.rules.enable_trailers)
    }

    /// The upstream sends no more. See [`Eof`].
    pub fn eof(&mut self) -> Eof {
        match self.body.eof() {
            Eof::Idle if self.progress.has_begun() => Eof::Truncated,
            eof => eof,
        }
    }

    fn finish_head(
        &self,
        line: StatusLine,
        seen: &Seen,
        consumed: usize,
        map: &mut HeaderMap,
    ) -> Result<ResponseHead, Violation> {
        if seen.joinable {
            join_values(map, Part::Response);
        }
        let StatusLine { version, status } = line;
        let framing = self.choose_framing(status, seen, map)?;
        let open_ended = status == 101 || matches!(framing, Framing::UntilClose | Framing::Tunnel);
        Ok(ResponseHead {
            consumed,
            status,
            version,
            framing,
            keep_alive: !open_ended && connection::keeps_alive(map, version),
            dropped_headers: seen.dropped,
        })
    }

    fn choose_framing(
        &self,
        status: u16,
        seen: &Seen,
        map: &mut HeaderMap,
    ) -> Result<Framing, Violation> {
        let context = self.context;
        if (100..200).contains(&status) || status == 204 {
            return self.bodyless_framing(status, seen, map);
        }
        let announced = announced(map, seen, self.rules.allow_chunked_length)?;
        if context.to_connect && (200..300).contains(&status) {
            map.remove(Known::TransferEncoding);
            map.remove(Known::ContentLength);
            return Ok(Framing::Tunnel);
        }
        if context.to_head || status == 304 {
            return Ok(Framing::None);
        }
        Ok(match announced {
            Announced::Length(0) => Framing::None,
            Announced::Length(length) => Framing::Length(length),
            Announced::Chunked => Framing::Chunked,
            Announced::Nothing => Framing::UntilClose,
        })
    }

    /// 1xx and 204 have no body and may announce none (rfc9110#8.6, rfc9112#6.1).
    fn bodyless_framing(
        &self,
        status: u16,
        seen: &Seen,
        map: &mut HeaderMap,
    ) -> Result<Framing, Violation> {
        if seen.transfer_encodings > 0 {
            return Err(Violation::TransferEncodingNotAllowed);
        }
        match announced(map, seen, false)? {
            Announced::Length(0) => {
                map.remove(Known::ContentLength);
            }
            Announced::Nothing => {}
            _ => return Err(Violation::ContentLengthNotAllowed),
        }
        if status != 101 {
            return Ok(Framing::None);
        }
        // Envoy passes an unasked 101 on and ends the response there.
        match self.context.to_upgrade && connection::is_upgrade(map) {
            true => Ok(Framing::Tunnel),
            false if self.rules.strictness.is_parity() => Ok(Framing::None),
            false => Err(Violation::UnaskedUpgrade),
        }
    }
}
