//! One admin connection without I/O: bytes in, requests out, answers in, bytes out.
//!
//! HTTP/1.1 with keep-alive and pipelining, by the proxy's own codec; every answer has the headers that Envoy's admin
//! sends. A request's body is kept only where it may be a form.

use crate::request::AdminRequest;
use crate::response::AdminResponse;
use nuncio_codec::date::imf_fixdate;
use nuncio_codec::http1::{
    BodyState, Encoding, RequestDecoder, RequestHead, RequestRules, ResponseEncoding, Version,
    Violation, chunk_end, chunk_prefix, encode_response_head,
};
use nuncio_codec::{HeaderMap, Known, Method};

/// The largest body that is kept, in bytes: forms of `/runtime_modify` are small.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A client that sends many requests at once gets its answers written whenever there are this many bytes.
const FLUSH_BYTES: usize = 256 * 1024;

/// Between two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read more.
    Read,
    /// Write what there is and come again: more requests are waiting.
    Write,
    /// Write what there is and close.
    Close,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Exchange {
    decoder: RequestDecoder,
    headers: HeaderMap,
    /// The request whose body is being read, and what came of it.
    reading: Option<(RequestHead, Vec<u8>)>,
    /// Bytes of its body on the wire.
    body_received: usize,
    /// What was answered, where somebody wants to know.
    notes: Option<Vec<Answered>>,
    /// A request that is being answered, and the bytes of its body.
    asked: Option<(RequestHead, usize)>,
}

/// A request and its answer, for access logs.
#[derive(Debug)]
pub struct Answered {
    /// The request's head; empty where there was none that could be read.
    pub request: HeaderMap,
    /// The answer's head.
    pub response: HeaderMap,
    /// What was wrong with the request's head or framing.
    pub violation: Option<Violation>,
    /// HTTP version of the request.
    pub version: Version,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the request on the wire.
    pub received_wire: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Bytes of the answer on the wire.
    pub sent_wire: u64,
    /// Of those, bytes of header lines.
    pub headers_sent: u64,
}

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange {
            decoder: RequestDecoder::new(RequestRules::default()),
            headers: HeaderMap::new(),
            reading: None,
            body_received: 0,
            notes: None,
            asked: None,
        }
    }
}

impl Exchange {
    /// Keeps note of what is answered, for [`Exchange::answered`].
    pub fn take_notes(&mut self) {
        self.notes.get_or_insert_default();
    }

    /// What was answered since the last time.
    pub fn answered(&mut self) -> Vec<Answered> {
        self.notes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, of: &RequestHead, received: usize, (response, lines): (HeaderMap, usize), sent: usize, wire: usize) {
        let Some(notes) = &mut self.notes else { return };
        notes.push(Answered {
            request: self.headers.clone(),
            response,
            violation: None,
            version: of.version,
            received: received as u64,
            received_wire: (of.consumed + self.body_received) as u64,
            sent: sent as u64,
            sent_wire: wire as u64,
            headers_sent: lines as u64,
        });
    }

    fn note_violation(&mut self, violation: Violation, received: usize, (response, lines): (HeaderMap, usize), wire: usize) {
        let Some(notes) = &mut self.notes else { return };
        notes.push(Answered {
            request: HeaderMap::new(),
            response,
            violation: Some(violation),
            version: Version::Http11,
            received: 0,
            received_wire: received as u64,
            sent: violation.body().len() as u64,
            sent_wire: wire as u64,
            headers_sent: lines as u64,
        });
    }

    /// Answers every request that is complete in `input`, taking it from there; appends the answers to `out`.
    pub fn advance(
        &mut self,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
        now_unix: u64,
        mut answer: impl FnMut(AdminRequest) -> AdminResponse,
    ) -> Next {
        loop {
            let response = match self.ask(input, out, now_unix) {
                Ok(request) => answer(request),
                Err(next) => return next,
            };
            if let Some(next) = self.reply(&response, out, now_unix) {
                return next;
            }
        }
    }

    /// The next request that is complete in `input`, taken from there; to be answered with [`Exchange::reply`].
    ///
    /// # Errors
    /// What is to be done when there is none.
    pub fn ask(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>, now_unix: u64) -> Result<AdminRequest, Next> {
        match self.next_request(input) {
            Ok(None) => {
                self.invite_body(out);
                Err(Next::Read)
            }
            Ok(Some((head, body))) => {
                let request = self.request(&body);
                self.asked = Some((head, body.len()));
                Ok(request)
            }
            Err(violation) => {
                let before = out.len();
                let headers = write_violation(out, violation, now_unix);
                self.note_violation(violation, input.len(), headers, out.len() - before);
                Err(Next::Close)
            }
        }
    }

    /// Appends the answer to the request that was asked last. `None`: ask for the next.
    pub fn reply(&mut self, response: &AdminResponse, out: &mut Vec<u8>, now_unix: u64) -> Option<Next> {
        let (head, received) = self.asked.take()?;
        let before = out.len();
        let headers = write_response(out, response, &head, now_unix);
        self.note(&head, received, headers, response.body.len(), out.len() - before);
        if !head.keep_alive {
            return Some(Next::Close);
        }
        (out.len() >= FLUSH_BYTES).then_some(Next::Write)
    }

    /// Takes the next complete request from `input`.
    fn next_request(
        &mut self,
        input: &mut Vec<u8>,
    ) -> Result<Option<(RequestHead, Vec<u8>)>, Violation> {
        if self.reading.is_none() {
            let Some(head) = self.decoder.decode_head(input, &mut self.headers)? else {
                return Ok(None);
            };
            input.drain(..head.consumed);
            self.body_received = 0;
            if head.end_stream() {
                return Ok(Some((head, Vec::new())));
            }
            self.reading = Some((head, Vec::new()));
        }
        let Some((_, kept)) = &mut self.reading else {
            return Ok(None);
        };
        let piece = self.decoder.decode_body(input)?;
        let payload = input.get(piece.payload.clone()).unwrap_or_default();
        let room = MAX_BODY_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&payload[..payload.len().min(room)]);
        input.drain(..piece.consumed);
        self.body_received += piece.consumed;
        match piece.state {
            BodyState::More => return Ok(None),
            BodyState::Trailers => {
                let taken = self.decoder.decode_trailers(input, &mut HeaderMap::new())?;
                let Some(taken) = taken else { return Ok(None) };
                input.drain(..taken);
            }
            BodyState::Done => {}
        }
        Ok(self.reading.take())
    }

    /// Tells a client that waits for it to go on (rfc9110#10.1.1), once.
    fn invite_body(&mut self, out: &mut Vec<u8>) {
        if let Some((head, _)) = &mut self.reading
            && std::mem::take(&mut head.expect_continue)
        {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    fn request(&self, body: &[u8]) -> AdminRequest {
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let mut request =
            AdminRequest::new(&text(self.headers.method()), &text(self.headers.path()));
        request.accept = text(self.headers.get(Known::Accept));
        request.with_body(&text(self.headers.get(Known::ContentType)), body)
    }
}

/// Appends an answer with Envoy's headers in Envoy's order.
fn write_response(out: &mut Vec<u8>, response: &AdminResponse, head: &RequestHead, now_unix: u64) -> (HeaderMap, usize) {
    let before = out.len();
    let mut headers = HeaderMap::new();
    headers.set_status(response.status);
    headers.insert(Known::ContentType, response.content_type);
    headers.insert(Known::CacheControl, "no-cache, max-age=0");
    headers.insert("x-content-type-options", "nosniff");
    headers.insert(Known::Date, imf_fixdate(now_unix));
    headers.insert(Known::Server, "envoy");
    if !head.keep_alive {
        headers.insert(Known::Connection, "close");
    }
    let how = ResponseEncoding {
        version: head.version,
        to_head: head.method == Method::Head,
        ..ResponseEncoding::default()
    };
    let encoding = encode_response_head(&headers, how, out);
    let lines = header_lines(&out[before..]);
    match encoding {
        Ok(Encoding::Chunked) => {
            if !response.body.is_empty() {
                chunk_prefix(response.body.len(), out);
                out.extend_from_slice(response.body.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            chunk_end(out);
        }
        Ok(Encoding::Raw | Encoding::UntilClose) => out.extend_from_slice(response.body.as_bytes()),
        // Nothing is to be written to a HEAD; the map has a status, so there is always a head.
        Ok(Encoding::None) | Err(_) => {}
    }
    (headers, lines)
}

/// Appends the answer to what is no request, after which the connection closes.
fn write_violation(out: &mut Vec<u8>, violation: Violation, now_unix: u64) -> (HeaderMap, usize) {
    let before = out.len();
    let mut headers = HeaderMap::new();
    headers.set_status(violation.status());
    headers.insert(Known::ContentLength, violation.body().len().to_string());
    headers.insert(Known::ContentType, "text/plain");
    headers.insert(Known::Date, imf_fixdate(now_unix));
    headers.insert(Known::Server, "envoy");
    headers.insert(Known::Connection, "close");
    let how = ResponseEncoding {
        version: Version::Http11,
        ..ResponseEncoding::default()
    };
    let encoded = encode_response_head(&headers, how, out).is_ok();
    let lines = header_lines(&out[before..]);
    if encoded {
        out.extend_from_slice(violation.body().as_bytes());
    }
    (headers, lines)
}

/// Bytes of a head without its first and its empty line.
fn header_lines(head: &[u8]) -> usize {
    let first = head.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    head.len().saturating_sub(first + 2)
}
