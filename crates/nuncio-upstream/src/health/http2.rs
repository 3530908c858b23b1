//! One request at a time over HTTP/2, for health checks and load reports: a connection that may be kept between them.
//!
//! Everything that goes wrong with the connection is `None`. What comes between checks (PINGs, SETTINGS, a goodbye) is
//! taken in when the next one begins.

use super::door::Door;
use super::http::read;
use nuncio_codec::headers::HeaderMap;
use nuncio_codec::http2::{Connection, ErrorCode, Event, Options, Role};
use nuncio_rt::{Buf, Io, OutQueue};
use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

/// Room for what one read brings.
const INPUT_BYTES: usize = 32 * 1024;

/// Asks one host over HTTP/2.
#[derive(Debug)]
pub(crate) struct Http2Client {
    door: Door,
    open: Option<Open>,
}

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Http2Answer {
    pub(crate) head: HeaderMap,
    /// As much of it as is looked through.
    pub(super) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

#[derive(Debug)]
struct Open {
    io: Io,
    codec: Connection,
    out: OutQueue,
    input: Buf,
    /// The host has said goodbye.
    leaving: bool,
}

impl Http2Client {
    pub(crate) fn new(door: Door) -> Http2Client {
        Http2Client { door, open: None }
    }

    /// Closes what is open.
    pub(super) fn forget(&mut self) {
        self.open = None;
    }

    /// Sends a request and waits for the answer, of whose body `most` bytes are kept. When the head is `enough`, the rest is
    /// not waited for.
    pub(super) async fn exchange(
        &mut self,
        head: &HeaderMap,
        body: Option<&[u8]>,
        most: usize,
        enough: impl Fn(&HeaderMap) -> bool,
    ) -> Option<Http2Answer> {
        let kept = match self.open.take() {
            Some(mut open) => open.catch_up().await.then_some(open),
            None => None,
        };
        let mut open = match kept {
            Some(open) => open,
            None => Open::on(self.door.open().await.ok()?),
        };
        let mut kept = Vec::new();
        let take = |bytes: &[u8]| {
            kept.extend_from_slice(&bytes[..bytes.len().min(most - kept.len())]);
            true
        };
        let mut answer = open.exchange(head, body, take, enough).await?;
        answer.body = kept;
        self.open = (self.door.reuse && !open.leaving).then_some(open);
        Some(answer)
    }

    /// Sends a request on a connection of its own, made within `limit`, and tells of the answer's body as it comes, to its
    /// end or until that is not `wanted` any more.
    pub(crate) async fn follow(
        &self,
        limit: Duration,
        head: &HeaderMap,
        body: &[u8],
        wanted: impl FnMut(&[u8]) -> bool,
    ) -> Option<Http2Answer> {
        let io = tokio::time::timeout(limit, self.door.open()).await.ok()?.ok()?;
        Open::on(io).exchange(head, Some(body), wanted, |_| false).await
    }
}

impl Open {
    fn on(io: Io) -> Open {
        let codec = Connection::new(Role::Client, Options::default());
        Open { io, codec, out: OutQueue::new(Rc::default()), input: Buf::with_capacity(INPUT_BYTES), leaving: false }
    }

    /// Takes in what has come while nobody asked anything. False if the connection is of no more use.
    async fn catch_up(&mut self) -> bool {
        loop {
            self.input.compact();
            // Only what is there already.
            let read = poll_fn(|cx| Poll::Ready(self.io.poll_read(cx, &mut self.input))).await;
            if !matches!(read, Poll::Pending | Poll::Ready(Ok(1..))) {
                return false;
            }
            while let Ok((taken, event)) = self.codec.receive(self.input.filled()) {
                self.leaving |= matches!(event, Some(Event::Goaway { .. }));
                self.input.consume(taken);
                if event.is_none() {
                    break;
                }
            }
            if read.is_pending() {
                return !self.leaving && self.codec.openings().is_ok_and(|n| n > 0);
            }
        }
    }

    async fn flush(&mut self) -> Option<()> {
        self.move_output();
        let mut written = 0;
        poll_fn(|cx| self.out.poll_flush(cx, &mut self.io, &mut written)).await.ok()?;
        self.codec.sent(written);
        Some(())
    }

    fn move_output(&mut self) {
        let output = self.codec.output();
        self.out.copy(output);
        output.clear();
    }

    /// Sends as much of the body as windows allow.
    fn send<'b>(&mut self, stream: u32, body: &'b [u8]) -> &'b [u8] {
        let mut rest = body;
        while !rest.is_empty() {
            let n = self.codec.capacity(stream).min(rest.len());
            if n == 0 {
                break;
            }
            let (now, later) = rest.split_at(n);
            self.codec.begin_data(stream, n, later.is_empty());
            self.move_output();
            self.out.copy(now);
            rest = later;
        }
        rest
    }

    async fn exchange(
        &mut self,
        head: &HeaderMap,
        body: Option<&[u8]>,
        mut take: impl FnMut(&[u8]) -> bool,
        enough: impl Fn(&HeaderMap) -> bool,
    ) -> Option<Http2Answer> {
        let ours = self.codec.request(head, body.is_none()).ok()?;
        let mut unsent = body.unwrap_or_default();
        let mut answer = Http2Answer::default();
        loop {
            unsent = self.send(ours, unsent);
            self.flush().await?;
            let mut over = false;
            while !over {
                let (taken, event) = self.codec.receive(self.input.filled()).ok()?;
                let Some(event) = event else {
                    self.input.consume(taken);
                    break;
                };
                match event {
                    Event::Head { stream, end } if stream == ours => {
                        self.codec.take_head(&mut answer.head);
                        over = end;
                        if !end && enough(&answer.head) {
                            self.codec.reset(ours, ErrorCode::CANCEL);
                            over = true;
                        }
                    }
                    Event::Head { .. } | Event::Informational { .. } => self.codec.take_head(&mut HeaderMap::new()),
                    Event::Data { stream, payload, end } => {
                        let bytes = self.input.filled().get(payload).unwrap_or_default();
                        if !take(bytes) {
                            return None;
                        }
                        self.codec.release(stream, bytes.len());
                        over = end && stream == ours;
                    }
                    Event::Trailers { stream } => {
                        self.codec.take_head(&mut answer.trailers);
                        over = stream == ours;
                    }
                    Event::End { stream, .. } if stream == ours => return None,
                    Event::Goaway { last, code } => {
                        self.leaving = true;
                        if code != ErrorCode::NO_ERROR || last < ours {
                            return None;
                        }
                    }
                    Event::End { .. } | Event::Window { .. } | Event::Pong => {}
                }
                self.input.consume(taken);
            }
            if over {
                // What is still to be said, perhaps a reset, is said; whether it arrives is the next check's business.
                self.flush().await?;
                return Some(answer);
            }
            if read(&mut self.io, &mut self.input).await? == 0 {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{GrpcHealthCheck, HttpHealthCheck, StatusRange};
    use super::super::grpc::GrpcProbe;
    use super::super::http::HttpProbe;
    use super::super::tally::Verdict;
    use super::*;
    use nuncio_codec::headers::Known;
    use nuncio_rt::Address;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    const PASS: Verdict = Verdict::Pass { degraded: false };

    /// A host that answers as `answer` has it.
    fn host(listener: &TcpListener, mut answer: impl FnMut(&mut Connection, u32, &HeaderMap)) {
        while let Ok((mut io, _)) = listener.accept() {
            let mut codec = Connection::new(Role::Server, Options::default());
            let (mut input, mut head) = (Vec::new(), HeaderMap::new());
            let mut piece = [0; 4096];
            'connection: while let Ok(n @ 1..) = io.read(&mut piece) {
                input.extend_from_slice(&piece[..n]);
                loop {
                    let Ok((taken, event)) = codec.receive(&input) else { break 'connection };
                    input.drain(..taken);
                    match event {
                        None => break,
                        Some(Event::Head { stream, end }) => {
                            codec.take_head(&mut head);
                            if end {
                                answer(&mut codec, stream, &head);
                            }
                        }
                        Some(Event::Data { stream, end: true, .. }) => answer(&mut codec, stream, &head),
                        Some(_) => {}
                    }
                }
                let said = std::mem::take(codec.output());
                if io.write_all(&said).is_err() || codec.is_leaving() {
                    break;
                }
            }
        }
    }

    fn head(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().copied().collect()
    }

    /// Runs `checks` against a host that answers so.
    fn against<F: Future>(answer: impl FnMut(&mut Connection, u32, &HeaderMap) + Send + 'static, checks: impl FnOnce(Address) -> F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).expect("a runtime");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = Address::Ip(listener.local_addr().expect("an address"));
        std::thread::spawn(move || host(&listener, answer));
        runtime.block_on(checks(to))
    }

    #[test]
    fn a_grpc_server_that_serves_passes_on_a_connection_that_is_kept() {
        let grpc = head(&[(":status", "200"), ("content-type", "application/grpc")]);
        let ended = head(&[("grpc-status", "0")]);
        let mut asked = 0;
        let answer = move |codec: &mut Connection, stream: u32, request: &HeaderMap| {
            asked += 1;
            assert_eq!(request.get_str(Known::Path), Some("/grpc.health.v1.Health/Check"));
            assert_eq!(request.get_str(Known::GrpcTimeout), Some("1500m"));
            // The third is the first of a new connection: the second came with a goodbye.
            assert_eq!(stream, [1, 3, 1][asked - 1]);
            codec.respond(stream, &grpc, false);
            codec.begin_data(stream, 7, false);
            codec.output().extend_from_slice(b"\0\0\0\0\x02\x08\x01");
            codec.trailers(stream, &ended);
            if asked == 2 {
                codec.goaway(ErrorCode::NO_ERROR);
            }
        };
        let verdicts = against(answer, |to| async move {
            let check = GrpcHealthCheck { service_name: "svc".into(), ..GrpcHealthCheck::default() };
            let mut probe = GrpcProbe::new(&check, "h", Duration::from_millis(1500), Door::to(to));
            [probe.check().await, probe.check().await, probe.check().await]
        });
        assert_eq!(verdicts, [PASS; 3]);
    }

    #[test]
    fn resets_are_the_networks_fault_and_wrong_heads_decide_at_once() {
        let mut asked = 0;
        let answer = move |codec: &mut Connection, stream: u32, _: &HeaderMap| {
            asked += 1;
            match asked {
                1 => codec.reset(stream, ErrorCode::INTERNAL_ERROR),
                // More would follow, and is not waited for.
                _ => codec.respond(stream, &head(&[(":status", "503")]), false),
            }
        };
        let verdicts = against(answer, |to| async move {
            let mut probe = GrpcProbe::new(&GrpcHealthCheck::default(), "h", Duration::from_secs(1), Door::to(to));
            [probe.check().await, probe.check().await]
        });
        assert_eq!(verdicts, [Verdict::NetworkFailure, Verdict::Fail { retriable: false, status: 0, immediate: false }]);
    }

    #[test]
    fn http_checks_may_go_over_http2() {
        let answer = |codec: &mut Connection, stream: u32, request: &HeaderMap| {
            assert_eq!(request.get_str(Known::Authority), Some("h"));
            codec.respond(stream, &head(&[(":status", "204"), ("x-envoy-degraded", "1")]), true);
        };
        let verdict = against(answer, |to| async move {
            let check = HttpHealthCheck {
                http2: true,
                expected_statuses: vec![StatusRange { start: 200, end: 300 }],
                ..HttpHealthCheck::get("/health")
            };
            HttpProbe::new(check, "h".into(), Door::to(to)).check().await
        });
        assert_eq!(verdict, Verdict::Pass { degraded: true });
    }
}
