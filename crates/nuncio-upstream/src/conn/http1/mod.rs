//! HTTP/1 towards an upstream: one connection, and one request on it.
//!
//! In steady state a request costs one write (head and short body together), one read (the response, if it fits a
//! buffer) and no allocation. No buffer is held while nothing is there to read.

mod receive;
mod send;

use crate::breaker::Permit;
use crate::config::HttpOptions;
use crate::info::ClusterCx;
use crate::pool::{Closed, Http1Pool, WorkerHost};
use crate::transport::Opened;
use nuncio_codec::http1::{Encoding, NameCase, ResponseDecoder, ResponseRules};
use nuncio_core::{TlsFacts, WireBytes};
use nuncio_rt::{Buf, Io, OutQueue, Time};
use nuncio_stats::tables::{cluster as stat, http1 as codec_stat};
use std::{net::SocketAddr, rc::Rc};

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
    tls: Option<Rc<TlsFacts>>,
    /// Not fit for another request.
    spent: bool,
    _permit: Permit,
}

impl Http1Connection {
    pub(crate) fn new(opened: Opened, cluster: &Rc<ClusterCx>, permit: Permit, created: Time, era: u32) -> Http1Connection {
        let options = &cluster.info.config.http;
        if let Some(codec) = cluster.info.codec_stats() {
            codec.open(cluster.worker.lane, codec_stat::OPEN);
        }
        Http1Connection {
            local: opened.local,
            io: opened.io,
            tls: opened.tls,
            created,
            idle_until: Time::NEVER,
            expires: cluster.connection_ends(),
            requests: 0,
            era,
            out: OutQueue::new(cluster.worker.bufs.clone()),
            input: None,
            decoder: ResponseDecoder::new(rules(options)),
            id: super::next_id(),
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
        max_head_bytes: options.max_response_headers_kb.unwrap_or(80) as usize * 1024,
        max_headers: options.max_headers_count as usize,
        strictness: options.strictness,
        underscores: options.headers_with_underscores_action,
        allow_chunked_length: options.allow_chunked_length,
        enable_trailers: options.enable_trailers,
        keep_spelling: options.header_case == NameCase::Preserve,
    }
}

/// Bytes of a head's header lines: without the start line and the empty line.
fn header_lines(head: &[u8]) -> u64 {
    let start_line = head.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
    head.len().saturating_sub(start_line + 2) as u64
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
    bytes: WireBytes,
    _permit: Permit,
}

impl Http1Stream {
    pub(in crate::conn) fn begin(
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
        super::request_begun(&host);
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
            bytes: WireBytes::default(),
            _permit: permit,
        }
    }

    #[inline]
    pub(in crate::conn) fn finish(mut self) {
        self.end();
    }

    /// Ends the stream, whether it is complete or not.
    fn end(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        let cluster = self.host.cluster();
        super::request_ended(&self.host);
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
            self.pool.give_back(conn, cluster.worker.clock.recent());
        }
    }

    pub(in crate::conn) fn host(&self) -> &Rc<WorkerHost> {
        &self.host
    }

    pub(in crate::conn) fn bytes(&self) -> WireBytes {
        self.bytes
    }

    pub(in crate::conn) fn local_addr(&self) -> Option<SocketAddr> {
        self.conn.as_ref().and_then(|conn| conn.local)
    }

    pub(in crate::conn) fn tls(&self) -> Option<&Rc<TlsFacts>> {
        self.conn.as_ref().and_then(|conn| conn.tls.as_ref())
    }

    pub(in crate::conn) fn connection_id(&self) -> u64 {
        self.conn.as_ref().map_or(0, |conn| conn.id)
    }

    pub(in crate::conn) fn requests(&self) -> u32 {
        self.conn.as_ref().map_or(0, |conn| conn.requests)
    }
}

impl Drop for Http1Stream {
    fn drop(&mut self) {
        self.end();
    }
}
