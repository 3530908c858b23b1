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
}

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange {
            decoder: RequestDecoder::new(RequestRules::default()),
            headers: HeaderMap::new(),
            reading: None,
        }
    }
}

impl Exchange {
    /// Answers every request that is complete in `input`, taking it from there; appends the answers to `out`.
    pub fn advance(
        &mut self,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
        now_unix: u64,
        mut answer: impl FnMut(AdminRequest) -> AdminResponse,
    ) -> Next {
        loop {
            match self.next_request(input) {
                Ok(None) => {
                    self.invite_body(out);
                    return Next::Read;
                }
                Ok(Some((head, body))) => {
                    let response = answer(self.request(&body));
                    write_response(out, &response, &head, now_unix);
                    if !head.keep_alive {
                        return Next::Close;
                    }
                    if out.len() >= FLUSH_BYTES {
                        return Next::Write;
                    }
                }
                Err(violation) => {
                    write_violation(out, violation, now_unix);
                    return Next::Close;
                }
            }
        }
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
fn write_response(out: &mut Vec<u8>, response: &AdminResponse, head: &RequestHead, now_unix: u64) {
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
    match encode_response_head(&headers, how, out) {
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
}

/// Appends the answer to what is no request, after which the connection closes.
fn write_violation(out: &mut Vec<u8>, violation: Violation, now_unix: u64) {
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
    if encode_response_head(&headers, how, out).is_ok() {
        out.extend_from_slice(violation.body().as_bytes());
    }
}
