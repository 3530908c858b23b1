//! One request on one upstream connection, whatever protocol it speaks.
//!
//! An [`UpstreamConn`] is what [`Acquire`](crate::Acquire) yields. The caller queues the request (`send_*`), flushes,
//! and polls the response piece by piece; it reads from the socket only when polled, so that not polling is
//! back-pressure. When both directions are done, [`UpstreamConn::finish`] gives the connection back to its pool;
//! dropping it earlier closes it. The request counts as active for exactly as long as this value lives.

mod http1;
mod http2;
mod raw;

pub(crate) use http1::Http1Connection;
use http1::Http1Stream;
use http2::Http2Stream;
use raw::RawStream;
pub(crate) use http2::{Http2Connection, Terms, drive};

use crate::breaker::Permit;
use crate::host::HostStat;
use crate::pool::{Http1Pool, WorkerHost};
use crate::reset::Reset;
use crate::tcp::TcpConnection;
use nuncio_codec::headers::{HeaderMap, Trailers};
use nuncio_core::{Protocol, TlsFacts, WireBytes};
use nuncio_rt::Buf;
use nuncio_stats::tables::cluster as stat;
use std::{
    net::SocketAddr,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
};

/// How a request's head is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadOptions {
    /// Nothing follows the head.
    pub end: bool,
}

/// A piece of a response.
#[derive(Debug)]
pub enum UpPiece {
    /// A 1xx other than 101; the map holds its head. More comes.
    Informational {
        /// 100, 102, 103, …
        status: u16,
    },
    /// The response's head, in the map.
    Head {
        /// Its status.
        status: u16,
        /// Nothing follows.
        end: bool,
        /// The connection is a tunnel from here on (101, or 2xx to CONNECT): data are opaque both ways.
        tunnel: bool,
    },
    /// Body bytes, and whether they are the last. The buffer is the caller's now. Empty only with `true`.
    Data(Buf, bool),
    /// Trailers, in the map; the end.
    Trailers,
}

/// A request on an upstream connection.
#[derive(Debug)]
pub enum UpstreamConn {
    /// HTTP/1.1: the connection is this request's alone.
    Http1(Http1Stream),
    /// HTTP/2: the connection carries other requests, too.
    Http2(Http2Stream),
    /// No HTTP: the request's body as it is.
    Raw(Box<RawStream>),
}

/// Numbers connections; touched once per connection.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Relaxed)
}

/// A request has a connection.
fn request_begun(host: &WorkerHost) {
    let cluster = host.cluster();
    cluster.inc(stat::UPSTREAM_RQ_TOTAL);
    cluster.gauge(stat::UPSTREAM_RQ_ACTIVE, 1);
    host.count(HostStat::RqTotal);
    host.count(HostStat::RqActive);
    if cluster.info.compares_load() {
        host.host.state.request_began();
    }
}

/// It needs it no more.
fn request_ended(host: &WorkerHost) {
    let cluster = host.cluster();
    cluster.gauge(stat::UPSTREAM_RQ_ACTIVE, -1);
    host.uncount(HostStat::RqActive);
    if cluster.info.compares_load() {
        host.host.state.request_ended();
    }
}

impl UpstreamConn {
    pub(crate) fn http1(
        conn: Box<Http1Connection>,
        host: Rc<WorkerHost>,
        pool: Rc<Http1Pool>,
        permit: Permit,
    ) -> UpstreamConn {
        UpstreamConn::Http1(Http1Stream::begin(conn, host, pool, permit))
    }

    pub(crate) fn http2(conn: Rc<Http2Connection>, host: Rc<WorkerHost>, permit: Permit) -> UpstreamConn {
        UpstreamConn::Http2(Http2Stream::begin(conn, host, permit))
    }

    pub(crate) fn raw(conn: TcpConnection, host: Rc<WorkerHost>) -> UpstreamConn {
        UpstreamConn::Raw(Box::new(RawStream::begin(conn, host)))
    }

    /// Queues the request's head. Call it once, first.
    ///
    /// # Errors
    /// [`ResetReason::LocalReset`](crate::ResetReason::LocalReset) if the head lacks what its start line is made of.
    #[inline]
    pub fn send_head(&mut self, head: &HeaderMap, options: HeadOptions) -> Result<(), Reset> {
        match self {
            UpstreamConn::Http1(stream) => stream.send_head(head, options),
            UpstreamConn::Http2(stream) => stream.send_head(head, options),
            UpstreamConn::Raw(stream) => {
                if options.end {
                    stream.end();
                }
                Ok(())
            }
        }
    }

    /// Queues body bytes; `end` says that they are the last. Mind [`UpstreamConn::buffered`].
    #[inline]
    pub fn send_data(&mut self, data: Buf, end: bool) {
        match self {
            UpstreamConn::Http1(stream) => stream.send_data(data, end),
            UpstreamConn::Http2(stream) => stream.send_data(data, end),
            UpstreamConn::Raw(stream) => stream.send_data(data, end),
        }
    }

    /// Queues trailers; the end of the request.
    pub fn send_trailers(&mut self, trailers: &HeaderMap) {
        match self {
            UpstreamConn::Http1(stream) => stream.send_trailers(trailers),
            UpstreamConn::Http2(stream) => stream.send_trailers(trailers),
            UpstreamConn::Raw(stream) => stream.end(),
        }
    }

    /// Writes what is queued. Ready when nothing is queued any more.
    ///
    /// A peer that no longer takes bytes is not an error here: it may have answered. Reading tells.
    ///
    /// # Errors
    /// When the stream is reset.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reset>> {
        match self {
            UpstreamConn::Http1(stream) => stream.poll_flush(cx),
            UpstreamConn::Http2(stream) => stream.poll_flush(cx),
            UpstreamConn::Raw(stream) => stream.poll_flush(cx),
        }
    }

    /// Bytes queued and not yet written, against `per_connection_buffer_limit_bytes`.
    #[inline]
    pub fn buffered(&self) -> usize {
        match self {
            UpstreamConn::Http1(stream) => stream.buffered(),
            UpstreamConn::Http2(stream) => stream.buffered(),
            UpstreamConn::Raw(stream) => stream.buffered(),
        }
    }

    /// The next piece of the response. `head` receives the head of [`UpPiece::Informational`] and [`UpPiece::Head`],
    /// and the trailers of [`UpPiece::Trailers`]: after the head, pass the map that is to hold the trailers.
    ///
    /// # Errors
    /// [`Reset`] when the response cannot be completed. Drop the connection then.
    #[inline]
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, head: &mut HeaderMap, trailers: &mut Trailers) -> Poll<Result<UpPiece, Reset>> {
        match self {
            UpstreamConn::Http1(stream) => stream.poll_piece(cx, head, trailers),
            UpstreamConn::Http2(stream) => stream.poll_piece(cx, head, trailers),
            UpstreamConn::Raw(stream) => stream.poll_piece(cx, head),
        }
    }

    /// Ends the request: the connection goes back to its pool if it can carry another, else it is closed.
    #[inline]
    pub fn finish(self) {
        match self {
            UpstreamConn::Http1(stream) => stream.finish(),
            UpstreamConn::Http2(stream) => drop(stream),
            UpstreamConn::Raw(stream) => drop(stream),
        }
    }

    /// The host.
    #[inline]
    pub fn host(&self) -> &Rc<WorkerHost> {
        match self {
            UpstreamConn::Http1(stream) => stream.host(),
            UpstreamConn::Http2(stream) => stream.host(),
            UpstreamConn::Raw(stream) => stream.host(),
        }
    }

    /// What is spoken, if it is HTTP.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            UpstreamConn::Http1(_) => Some(Protocol::Http11),
            UpstreamConn::Http2(_) => Some(Protocol::Http2),
            UpstreamConn::Raw(_) => None,
        }
    }

    /// Bytes that this request has moved so far.
    pub fn bytes(&self) -> WireBytes {
        match self {
            UpstreamConn::Http1(stream) => stream.bytes(),
            UpstreamConn::Http2(stream) => stream.bytes(),
            UpstreamConn::Raw(stream) => stream.bytes(),
        }
    }

    /// Our end of the connection.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            UpstreamConn::Http1(stream) => stream.local_addr(),
            UpstreamConn::Http2(stream) => stream.local_addr(),
            UpstreamConn::Raw(stream) => stream.local_addr(),
        }
    }

    /// What the TLS handshake of the connection came to.
    pub fn tls(&self) -> Option<&Rc<TlsFacts>> {
        match self {
            UpstreamConn::Http1(stream) => stream.tls(),
            UpstreamConn::Http2(stream) => stream.tls(),
            UpstreamConn::Raw(stream) => stream.tls(),
        }
    }

    /// Number of the connection, unique in the process.
    pub fn connection_id(&self) -> u64 {
        match self {
            UpstreamConn::Http1(stream) => stream.connection_id(),
            UpstreamConn::Http2(stream) => stream.connection_id(),
            UpstreamConn::Raw(stream) => stream.connection_id(),
        }
    }

    /// Requests this connection has carried, this one included.
    pub fn requests(&self) -> u32 {
        match self {
            UpstreamConn::Http1(stream) => stream.requests(),
            UpstreamConn::Http2(stream) => stream.requests(),
            UpstreamConn::Raw(_) => 1,
        }
    }
}
