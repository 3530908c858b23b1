//! HTTP health checks: one request, one answer, on a connection kept between checks. Over HTTP/1.1 here, over HTTP/2 by `http2`.

use super::config::{HttpHealthCheck, StatusRange, add_headers};
use super::door::Door;
use super::http2::{Http2Answer, Http2Client};
use super::tally::Verdict;
use super::tcp::finds_in_order;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_codec::http1::{
    BodyState, Eof, RequestEncoding, ResponseContext, ResponseDecoder, ResponseRules, encode_request_head,
};
use nuncio_codec::method::Method;
use nuncio_rt::{Buf, Io, OutQueue};
use std::{future::poll_fn, rc::Rc, sync::Arc};

/// Largest answer head taken; bodies are read through, whatever their size.
const HEAD_BYTES: usize = 80 * 1024;

/// Asks one host.
#[derive(Debug)]
pub(super) struct HttpProbe {
    check: HttpHealthCheck,
    wire: Wire,
}

/// How it is asked.
#[derive(Debug)]
enum Wire {
    Http1(Http1),
    Http2(Box<HeaderMap>, Http2Client),
}

/// Asks over HTTP/1.1.
#[derive(Debug)]
struct Http1 {
    request: Vec<u8>,
    door: Door,
    open: Option<Io>,
}

/// An answer, as much of it as matters.
struct Answer {
    status: u16,
    degraded: bool,
    /// It says that the host is to be left out at once.
    immediate_failure: bool,
    /// It comes from the service that is wanted.
    right_service: bool,
    /// As much of it as is looked through.
    body: Vec<u8>,
    keep_alive: bool,
}

impl HttpProbe {
    pub(super) fn new(check: HttpHealthCheck, host: Arc<str>, door: Door) -> HttpProbe {
        let wire = if check.http2 {
            let mut head = head(&check, &host);
            head.insert(Known::Scheme, b"http");
            Wire::Http2(Box::new(head), Http2Client::new(door))
        } else {
            Wire::Http1(Http1 { request: request(&check, &host), door, open: None })
        };
        HttpProbe { check, wire }
    }

    /// Closes what is open: the last check came to no end.
    pub(super) fn forget(&mut self) {
        match &mut self.wire {
            Wire::Http1(http1) => http1.open = None,
            Wire::Http2(_, client) => client.forget(),
        }
    }

    pub(super) async fn check(&mut self) -> Verdict {
        let check = &self.check;
        let answer = match &mut self.wire {
            Wire::Http1(http1) => http1.ask(check).await,
            Wire::Http2(head, client) => {
                client.exchange(head, check.send.as_deref(), wanted(check), |_| false).await.map(|answer| Answer::of_http2(check, answer))
            }
        };
        let Some(answer) = answer else { return Verdict::NetworkFailure };
        let expected = match check.expected_statuses.as_slice() {
            [] => answer.status == 200,
            ranges => is_in(answer.status, ranges),
        };
        if expected && answer.right_service && finds_in_order(&answer.body, &check.receive) {
            return Verdict::Pass { degraded: answer.degraded };
        }
        let retriable = !expected && is_in(answer.status, &check.retriable_statuses);
        Verdict::Fail { retriable, status: answer.status, immediate: answer.immediate_failure }
    }
}

/// Bytes of an answer's body that are looked through.
fn wanted(check: &HttpHealthCheck) -> usize {
    if check.receive.is_empty() { 0 } else { check.response_buffer_size }
}

impl Answer {
    /// What a head says.
    fn of(check: &HttpHealthCheck, status: u16, map: &HeaderMap) -> Answer {
        let service = || map.get(Known::XEnvoyUpstreamHealthCheckedCluster).unwrap_or_default();
        Answer {
            status,
            degraded: map.contains(Known::XEnvoyDegraded),
            immediate_failure: map.contains(Known::XEnvoyImmediateHealthCheckFail),
            right_service: check.service_name.as_ref().is_none_or(|name| name.holds(service())),
            body: Vec::new(),
            keep_alive: true,
        }
    }

    fn of_http2(check: &HttpHealthCheck, answer: Http2Answer) -> Answer {
        Answer { body: answer.body, ..Answer::of(check, answer.head.status().unwrap_or(0), &answer.head) }
    }
}

impl Http1 {
    async fn ask(&mut self, check: &HttpHealthCheck) -> Option<Answer> {
        let mut io = self.door.enter(&mut self.open).await.ok()?;
        let answer = self.exchange(check, &mut io).await?;
        if self.door.reuse && answer.keep_alive {
            self.open = Some(io);
        }
        Some(answer)
    }

    async fn exchange(&self, check: &HttpHealthCheck, io: &mut Io) -> Option<Answer> {
        let mut out = OutQueue::new(Rc::default());
        out.copy(&self.request);
        let mut written = 0;
        poll_fn(|cx| out.poll_flush(cx, io, &mut written)).await.ok()?;
        let rules = ResponseRules { max_head_bytes: HEAD_BYTES, ..ResponseRules::default() };
        let mut decoder = ResponseDecoder::new(rules);
        let to_head = &*check.method == "HEAD";
        decoder.begin(ResponseContext { to_head, ..ResponseContext::default() });
        let (mut input, mut map) = (Buf::with_capacity(HEAD_BYTES + 1), HeaderMap::default());
        let head = loop {
            if !input.is_empty()
                && let Some(head) = decoder.decode_head(input.filled(), &mut map).ok()?
            {
                input.consume(head.consumed);
                if !head.is_interim() {
                    break head;
                }
            } else if read(io, &mut input).await? == 0 {
                return None;
            }
        };
        let mut answer = Answer { keep_alive: head.keep_alive, ..Answer::of(check, head.status, &map) };
        let wanted = wanted(check);
        let mut in_trailers = false;
        while !head.end_stream() {
            if in_trailers {
                if let Some(n) = decoder.decode_trailers(input.filled(), &mut map).ok()? {
                    input.consume(n);
                    break;
                }
            } else if !input.is_empty() {
                let body = decoder.decode_body(input.filled_mut()).ok()?;
                let room = wanted.saturating_sub(answer.body.len());
                let payload = input.filled().get(body.payload).unwrap_or_default();
                answer.body.extend_from_slice(&payload[..payload.len().min(room)]);
                input.consume(body.consumed);
                match body.state {
                    BodyState::Done => break,
                    BodyState::Trailers => {
                        in_trailers = true;
                        continue;
                    }
                    BodyState::More => {}
                }
            }
            if read(io, &mut input).await? == 0 {
                if decoder.eof() != Eof::Completes {
                    return None;
                }
                answer.keep_alive = false;
                break;
            }
        }
        answer.keep_alive &= input.is_empty();
        Some(answer)
    }
}

pub(super) async fn read(io: &mut Io, input: &mut Buf) -> Option<usize> {
    input.compact();
    match input.room() {
        0 => None,
        _ => poll_fn(|cx| io.poll_read(cx, input)).await.ok(),
    }
}

fn is_in(status: u16, ranges: &[StatusRange]) -> bool {
    ranges.iter().any(|range| (range.start..range.end).contains(&status))
}

/// The head of each check's request.
fn head(check: &HttpHealthCheck, host: &str) -> HeaderMap {
    let mut map = HeaderMap::default();
    map.insert(Known::Method, check.method.as_bytes());
    map.insert(Known::Path, check.path.as_bytes());
    map.insert(Known::Authority, host.as_bytes());
    map.insert("user-agent", b"Envoy/HC");
    add_headers(&mut map, &check.headers_to_add);
    for name in &check.headers_to_remove {
        map.remove(name.as_str());
    }
    if let Some(body) = &check.send {
        map.insert(Known::ContentLength, body.len().to_string().as_bytes());
    }
    map
}

/// The bytes sent at each check over HTTP/1.1.
fn request(check: &HttpHealthCheck, host: &str) -> Vec<u8> {
    let map = head(check, host);
    let mut out = Vec::new();
    let end_stream = check.send.is_none();
    let how = RequestEncoding { end_stream, ..RequestEncoding::default() };
    if encode_request_head(&map, how, &mut out).is_err() || Method::of(check.method.as_bytes()).is_connect() {
        // The configuration has been checked; what is left cannot be asked, and every check fails.
        out.clear();
    } else if let Some(body) = &check.send {
        out.extend_from_slice(body);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::config::HeaderAppend;
    use super::*;

    #[test]
    fn the_request_is_envoys() {
        let mut check = HttpHealthCheck::get("/healthz");
        assert_eq!(
            request(&check, "backend_v1"),
            b"GET /healthz HTTP/1.1\r\nhost: backend_v1\r\nuser-agent: Envoy/HC\r\n\r\n"
        );
        check.headers_to_add.push(("x-a".into(), "1".into(), HeaderAppend::Append));
        check.headers_to_remove.push("user-agent".into());
        assert_eq!(request(&check, "h"), b"GET /healthz HTTP/1.1\r\nhost: h\r\nx-a: 1\r\n\r\n");
        check.headers_to_add.push(("x-a".into(), "2".into(), HeaderAppend::IfAbsent));
        check.headers_to_add.push(("x-b".into(), "2".into(), HeaderAppend::IfPresent));
        check.send = Some(b"ping"[..].into());
        check.method = "POST".into();
        assert_eq!(request(&check, "h"), b"POST /healthz HTTP/1.1\r\nhost: h\r\nx-a: 1\r\ncontent-length: 4\r\n\r\nping");
    }

    #[test]
    fn status_ranges_leave_out_their_end() {
        let ok = [StatusRange { start: 200, end: 300 }];
        assert!(is_in(200, &ok) && is_in(299, &ok) && !is_in(300, &ok));
    }
}
