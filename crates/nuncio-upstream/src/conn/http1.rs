//! HTTP/1 towards an upstream: one connection, and one request on it.
//!
//! In steady state a request costs one write (head and short body together), one read (the response, if it fits a
//! buffer) and no allocation. No buffer is held while nothing is there to read.

use super::{HeadOptions, UpPiece};
use crate::breaker::Permit;
use crate::config::HttpOptions;
use crate::host::HostStat;
use crate::info::ClusterCx;
use crate::pool::{Closed, Http1Pool, WorkerHost};
use crate::reset::{Reset, ResetReason};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_codec::http1::{
    BodyState, CHUNK_SUFFIX, Encoding, Eof, Framing, NameCase, RequestEncoding, ResponseContext, ResponseDecoder,
    ResponseRules, Version, chunk_end, chunk_prefix, connection, encode_request_head, encode_trailers,
};
use nuncio_codec::method::Method;
use nuncio_rt::{Buf, Io, OutQueue, Time};
use nuncio_stats::tables::{cluster as stat, http1 as codec_stat};
use std::{
    net::SocketAddr,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, ready},
};

/// Numbers connections; touched once per connection.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A connection, busy or idle.
#[derive(Debug)]
pub(crate) struct Http1Connection {
    pub(crate) io: Io,
    pub(crate) created: Time,
    /// When it is closed if it is still idle then.
    pub(crate) idle_until: Time,
    /// `max_connection_duration`: not used beyond.
    pub(crate) expires: Time,
    /// Requests carried.
    pub(crate) requests: u32,
    /// The pool's era it was made in.
    pub(crate) era: u32,
    out: OutQueue,
    input: Option<Buf>,
    decoder: ResponseDecoder,
    id: u64,
    /// Our end; asked of the system once.
    local: Option<SocketAddr>,
    /// Not fit for another request.
    spent: bool,
    _permit: Permit,
}

impl Http1Connection {
    pub(crate) fn new(io: Io, cluster: &Rc<ClusterCx>, permit: Permit, created: Time, era: u32) -> Http1Connection {
        let options = &cluster.info.config.http;
        if let Some(codec) = cluster.info.codec_stats() {
            codec.open(cluster.worker.lane, codec_stat::OPEN);
        }
        Http1Connection {
            local: io.local_addr(),
            io,
            created,
            idle_until: Time::NEVER,
            expires: options.max_connection_duration.map_or(Time::NEVER, |d| Time::now() + d),
            requests: 0,
            era,
            out: OutQueue::new(cluster.worker.bufs.clone()),
            input: None,
            decoder: ResponseDecoder::new(rules(options)),
            id: NEXT_ID.fetch_add(1, Relaxed),
            spent: false,
            _permit: permit,
        }
    }

    /// Whether it must not be used again.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    pub(crate) fn has_expired(&self, now: Time) -> bool {
        self.expires <= now
    }
}

fn rules(options: &HttpOptions) -> ResponseRules {
    ResponseRules {
        max_head_bytes: options.max_response_headers_kb as usize * 1024,
        max_headers: options.max_headers_count as usize,
        strictness: options.strictness,
        underscores: options.headers_with_underscores_action,
        allow_chunked_length: options.allow_chunked_length,
        enable_trailers: options.enable_trailers,
        keep_spelling: options.header_case == NameCase::Preserve,
    }
}

/// Where a response stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Body,
    Trailers,
    Done,
}

/// A request on a connection.
#[derive(Debug)]
pub struct Http1Stream {
    /// Taken when the stream ends.
    conn: Option<Box<Http1Connection>>,
    host: Rc<WorkerHost>,
    pool: Rc<Http1Pool>,
    phase: Phase,
    encoding: Encoding,
    request_sent: bool,
    tunnel: bool,
    /// The write side is to be closed once everything is written (tunnels only).
    closing_write: bool,
    peer_closed: bool,
    _permit: Permit,
}

impl Http1Stream {
    pub(super) fn begin(
        mut conn: Box<Http1Connection>,
        host: Rc<WorkerHost>,
        pool: Rc<Http1Pool>,
        permit: Permit,
    ) -> Http1Stream {
        let cluster = host.cluster();
        conn.requests += 1;
        if cluster.info.config.http.max_requests_per_connection.is_some_and(|max| conn.requests >= max) {
            cluster.inc(stat::UPSTREAM_CX_MAX_REQUESTS);
            conn.spent = true;
        }
        cluster.inc(stat::UPSTREAM_RQ_TOTAL);
        cluster.gauge(stat::UPSTREAM_RQ_ACTIVE, 1);
        if let Some(cells) = host.counters() {
            cells.inc(HostStat::RqTotal);
            cells.inc(HostStat::RqActive);
        }
        if cluster.info.compares_load() {
            host.host.state.request_began();
        }
        Http1Stream {
            conn: Some(conn),
            host,
            pool,
            phase: Phase::Head,
            encoding: Encoding::None,
            request_sent: false,
            tunnel: false,
            closing_write: false,
            peer_closed: false,
            _permit: permit,
        }
    }

    pub(super) fn send_head(&mut self, head: &HeaderMap, options: HeadOptions) -> Result<(), Reset> {
        let Some(conn) = self.conn.as_mut() else { return Ok(()) };
        let cluster = self.host.cluster();
        let method = head.method_kind();
        conn.decoder.begin(ResponseContext {
            to_head: method == Method::Head,
            to_connect: method.is_connect(),
            to_upgrade: connection::is_upgrade(head),
        });
        let how = RequestEncoding {
            end_stream: options.end,
            case: cluster.info.config.http.header_case,
            full_url: cluster.info.config.http.send_fully_qualified_url,
        };
        let mut scratch = cluster.scratch.borrow_mut();
        scratch.clear();
        match encode_request_head(head, how, &mut scratch) {
            Ok(encoding) => {
                conn.out.copy(&scratch);
                self.encoding = encoding;
                self.request_sent = options.end;
                Ok(())
            }
            Err(_) => {
                conn.spent = true;
                Err(Reset { details: "missing_required_request_headers", ..Reset::new(ResetReason::LocalReset) })
            }
        }
    }

    #[inline]
    pub(super) fn send_data(&mut self, data: Buf, end: bool) {
        let Some(conn) = self.conn.as_mut() else { return };
        let cluster = self.host.cluster();
        self.request_sent |= end;
        match self.encoding {
            Encoding::Chunked => {
                let mut scratch = cluster.scratch.borrow_mut();
                if !data.is_empty() {
                    scratch.clear();
                    chunk_prefix(data.len(), &mut scratch);
                    conn.out.copy(&scratch);
                    conn.out.push(data);
                    conn.out.copy(CHUNK_SUFFIX);
                } else {
                    cluster.worker.bufs.put(data);
                }
                if end {
                    scratch.clear();
                    chunk_end(&mut scratch);
                    conn.out.copy(&scratch);
                }
            }
            Encoding::Raw | Encoding::UntilClose => {
                conn.out.push(data);
                self.closing_write |= end && self.tunnel;
            }
            Encoding::None => cluster.worker.bufs.put(data),
        }
    }

    pub(super) fn send_trailers(&mut self, trailers: &HeaderMap) {
        let Some(conn) = self.conn.as_mut() else { return };
        let cluster = self.host.cluster();
        self.request_sent = true;
        if self.encoding == Encoding::Chunked {
            let options = &cluster.info.config.http;
            let mut scratch = cluster.scratch.borrow_mut();
            scratch.clear();
            match options.enable_trailers {
                true => encode_trailers(trailers, options.header_case, &mut scratch),
                false => chunk_end(&mut scratch),
            }
            conn.out.copy(&scratch);
        }
    }

    #[inline]
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reset>> {
        let Some(conn) = self.conn.as_mut() else { return Poll::Ready(Ok(())) };
        let mut written = 0;
        let flushed = conn.out.poll_flush(cx, &mut conn.io, &mut written);
        if written > 0 {
            self.host.cluster().add(stat::UPSTREAM_CX_TX_BYTES_TOTAL, written);
        }
        match flushed {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => {
                // The peer takes no more. It may have answered all the same.
                conn.out.clear();
                conn.spent = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) if self.closing_write => {
                let _ = ready!(conn.io.poll_shutdown(cx));
                self.closing_write = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        }
    }

    #[inline]
    pub(super) fn buffered(&self) -> usize {
        self.conn.as_ref().map_or(0, |conn| conn.out.len())
    }

    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut HeaderMap,
    ) -> Poll<Result<UpPiece, Reset>> {
        loop {
            let phase = self.phase;
            let decoded = match phase {
                Phase::Head => self.decode_head(head),
                Phase::Body => self.decode_body(),
                Phase::Trailers => self.decode_trailers(head),
                Phase::Done => return Poll::Pending,
            };
            match decoded {
                Ok(Some(piece)) => return Poll::Ready(Ok(piece)),
                Err(reset) => return Poll::Ready(Err(self.broken(reset))),
                // The body ended without bytes for the caller: the trailers may be here already.
                Ok(None) if self.phase != phase => continue,
                Ok(None) => {}
            }
            if !ready!(self.poll_read(cx))? {
                return Poll::Ready(self.ended());
            }
        }
    }

    fn decode_head(&mut self, head: &mut HeaderMap) -> Result<Option<UpPiece>, Reset> {
        let Some(conn) = self.conn.as_mut() else { return Ok(None) };
        let Some(input) = conn.input.as_mut().filter(|input| !input.is_empty()) else { return Ok(None) };
        let decoded = conn.decoder.decode_head(input.filled(), head);
        let Some(found) = decoded.map_err(|v| Reset::protocol_error(v.details()))? else { return Ok(None) };
        input.consume(found.consumed);
        if found.dropped_headers > 0
            && let Some(codec) = self.host.cluster().info.codec_stats()
        {
            let lane = self.host.cluster().worker.lane;
            codec.add(lane, codec_stat::DROPPED_HEADERS_WITH_UNDERSCORES, u64::from(found.dropped_headers));
        }
        if found.is_interim() {
            return Ok(Some(UpPiece::Informational { status: found.status }));
        }
        if !found.keep_alive {
            conn.spent = true;
            if announces_close(head, found.version) {
                self.host.cluster().inc(stat::UPSTREAM_CX_CLOSE_NOTIFY);
            }
        }
        self.tunnel = found.framing == Framing::Tunnel;
        let end = found.end_stream();
        self.phase = if end { Phase::Done } else { Phase::Body };
        Ok(Some(UpPiece::Head { status: found.status, end, tunnel: self.tunnel }))
    }

    /// Hands on what is there of the body: the buffer that was read into, with the framing taken out.
    fn decode_body(&mut self) -> Result<Option<UpPiece>, Reset> {
        let Some(conn) = self.conn.as_mut() else { return Ok(None) };
        let Some(mut input) = conn.input.take_if(|input| !input.is_empty()) else { return Ok(None) };
        let body = conn.decoder.decode_body(input.filled_mut()).map_err(|v| Reset::protocol_error(v.details()))?;
        if body.consumed < input.len() {
            let mut rest = self.host.cluster().worker.bufs.get();
            let left = &input.filled()[body.consumed..];
            if left.len() > rest.room() {
                rest = Buf::copy_of(left);
            } else {
                rest.append(left);
            }
            conn.input = Some(rest);
        }
        input.consume(body.payload.start);
        input.truncate(body.payload.len());
        let end = match body.state {
            BodyState::More => false,
            BodyState::Trailers => {
                self.phase = Phase::Trailers;
                false
            }
            BodyState::Done => {
                self.phase = Phase::Done;
                true
            }
        };
        if input.is_empty() && !end {
            self.host.cluster().worker.bufs.put(input);
            return Ok(None);
        }
        Ok(Some(UpPiece::Data(input, end)))
    }

    fn decode_trailers(&mut self, head: &mut HeaderMap) -> Result<Option<UpPiece>, Reset> {
        let Some(conn) = self.conn.as_mut() else { return Ok(None) };
        let Some(input) = conn.input.as_mut().filter(|input| !input.is_empty()) else { return Ok(None) };
        let decoded = conn.decoder.decode_trailers(input.filled(), head);
        let Some(consumed) = decoded.map_err(|v| Reset::protocol_error(v.details()))? else { return Ok(None) };
        input.consume(consumed);
        self.phase = Phase::Done;
        Ok(Some(match head.is_empty() {
            true => UpPiece::Data(Buf::with_capacity(0), true),
            false => UpPiece::Trailers,
        }))
    }

    /// Reads once, appending to what is there. `false`: the peer has closed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Reset>> {
        let Some(conn) = self.conn.as_mut() else { return Poll::Ready(Ok(false)) };
        let bufs = &self.host.cluster().worker.bufs;
        // Borrowing a buffer costs less than asking for readiness first; it goes back at once when there is nothing.
        match &mut conn.input {
            Some(input) if input.is_empty() => input.clear(),
            Some(_) => {}
            None => conn.input = Some(bufs.get()),
        }
        let Some(input) = conn.input.as_mut() else { return Poll::Pending };
        if input.room() == 0 {
            make_room(input, conn.decoder.rules().max_head_bytes);
        }
        match conn.io.poll_read(cx, input) {
            Poll::Pending => {
                if let Some(empty) = conn.input.take_if(|input| input.is_empty()) {
                    bufs.put(empty);
                }
                Poll::Pending
            }
            Poll::Ready(Ok(n)) => {
                self.host.cluster().add(stat::UPSTREAM_CX_RX_BYTES_TOTAL, n as u64);
                Poll::Ready(Ok(n > 0))
            }
            Poll::Ready(Err(_)) => {
                self.peer_closed = true;
                Poll::Ready(Err(self.broken(Reset::new(ResetReason::ConnectionTermination))))
            }
        }
    }

    /// The peer has closed: that may be how the body ends, or it cuts the response off.
    fn ended(&mut self) -> Result<UpPiece, Reset> {
        self.peer_closed = true;
        let Some(conn) = self.conn.as_mut() else { return Err(Reset::new(ResetReason::ConnectionTermination)) };
        conn.spent = true;
        if self.phase == Phase::Head && conn.input.as_ref().is_some_and(|input| !input.is_empty()) {
            return Err(self.broken(Reset::protocol_error("http1.truncated_response")));
        }
        match conn.decoder.eof() {
            Eof::Completes => {
                self.phase = Phase::Done;
                Ok(UpPiece::Data(Buf::with_capacity(0), true))
            }
            Eof::Idle => Err(Reset::new(ResetReason::ConnectionTermination)),
            Eof::Truncated => Err(self.broken(Reset::protocol_error("http1.truncated_response"))),
        }
    }

    fn broken(&mut self, reset: Reset) -> Reset {
        if let Some(conn) = self.conn.as_mut() {
            conn.spent = true;
        }
        if reset.reason == ResetReason::ProtocolError {
            self.host.cluster().inc(stat::UPSTREAM_CX_PROTOCOL_ERROR);
        }
        reset
    }

    #[inline]
    pub(super) fn finish(mut self) {
        self.end();
    }

    /// Ends the stream, whether it is complete or not.
    fn end(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        let cluster = self.host.cluster();
        cluster.gauge(stat::UPSTREAM_RQ_ACTIVE, -1);
        if let Some(cells) = self.host.counters() {
            cells.dec(HostStat::RqActive);
        }
        if cluster.info.compares_load() {
            self.host.host.state.request_ended();
        }
        let leftover = conn.input.take().is_some_and(|input| {
            let leftover = !input.is_empty();
            cluster.worker.bufs.put(input);
            leftover
        });
        let complete = self.phase == Phase::Done && self.request_sent && conn.out.is_empty();
        if complete && leftover && !self.tunnel {
            // Bytes after a complete response belong to nothing.
            cluster.inc(stat::UPSTREAM_CX_PROTOCOL_ERROR);
            conn.spent = true;
        }
        let by = if self.peer_closed { Closed::Remote } else { Closed::Local };
        if !complete {
            self.pool.close_busy(conn, by, true);
        } else if self.peer_closed || conn.is_spent() {
            self.pool.close_busy(conn, by, false);
        } else {
            self.pool.give_back(conn);
        }
    }

    pub(super) fn host(&self) -> &Rc<WorkerHost> {
        &self.host
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.conn.as_ref().and_then(|conn| conn.local)
    }

    pub(super) fn connection_id(&self) -> u64 {
        self.conn.as_ref().map_or(0, |conn| conn.id)
    }

    pub(super) fn requests(&self) -> u32 {
        self.conn.as_ref().map_or(0, |conn| conn.requests)
    }
}

impl Drop for Http1Stream {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether the response says that the connection will close, rather than its framing implying it.
fn announces_close(head: &HeaderMap, version: Version) -> bool {
    let says = |token| head.get(Known::Connection).is_some_and(|value| connection::has_token(value, token));
    says("close") || (version == Version::Http10 && !says("keep-alive"))
}

/// A head that fills its buffer gets more room, up to the limit on heads, at which the decoder will complain.
fn make_room(input: &mut Buf, max_head_bytes: usize) {
    input.compact();
    if input.room() == 0 {
        let larger = (input.capacity() * 2).min(max_head_bytes + 1).max(input.len() + 1);
        *input = input.enlarged(larger);
    }
}
