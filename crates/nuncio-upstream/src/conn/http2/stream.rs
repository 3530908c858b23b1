//! One request on a connection that others share.

use super::{Http2Connection, Item, Side, move_output};
use crate::breaker::Permit;
use crate::conn::{HeadOptions, UpPiece, request_begun, request_ended};
use crate::pool::WorkerHost;
use crate::reset::{Reset, ResetReason};
use nuncio_codec::headers::{HeaderMap, Trailers};
use nuncio_codec::http2::upgrade;
use nuncio_core::WireBytes;
use nuncio_rt::Buf;
use nuncio_stats::tables::cluster as stat;
use std::{
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll},
};

/// A request on an HTTP/2 connection.
#[derive(Debug)]
pub struct Http2Stream {
    conn: Rc<Http2Connection>,
    host: Rc<WorkerHost>,
    /// Known once the head has been sent.
    id: Option<u32>,
    /// The place on the connection is still only promised.
    promised: bool,
    /// What was queued has been handed to the connection.
    handed_over: bool,
    head_told: bool,
    ended: bool,
    bytes: WireBytes,
    /// The protocol that it asks for, where it is an upgrade.
    upgrade: Option<Box<[u8]>>,
    _permit: Permit,
}

impl Http2Stream {
    /// A request that has been promised a place.
    pub(in crate::conn) fn begin(conn: Rc<Http2Connection>, host: Rc<WorkerHost>, permit: Permit) -> Http2Stream {
        let cluster = host.cluster();
        conn.requests.set(conn.requests.get() + 1);
        if cluster.info.config.http.max_requests_per_connection.is_some_and(|max| conn.requests.get() == max) {
            cluster.inc(stat::UPSTREAM_CX_MAX_REQUESTS);
            conn.drain();
        }
        request_begun(&host);
        Http2Stream {
            conn,
            host,
            id: None,
            promised: true,
            handed_over: false,
            head_told: false,
            ended: false,
            bytes: WireBytes::default(),
            upgrade: None,
            _permit: permit,
        }
    }

    pub(in crate::conn) fn send_head(&mut self, head: &HeaderMap, options: HeadOptions) -> Result<(), Reset> {
        let mut shared = self.conn.shared.borrow_mut();
        let shared = &mut *shared;
        if std::mem::take(&mut self.promised) {
            self.conn.promised.set(self.conn.promised.get().saturating_sub(1));
        }
        if shared.dead {
            return Err(Reset::new(ResetReason::ConnectionTermination));
        }
        // A connection that was told goodbye meanwhile has refused the request before looking at it.
        let turned = upgrade::request_to_http2(head);
        let opened = match turned {
            Some((turned, protocol)) => {
                self.upgrade = Some(protocol.into());
                shared.codec.request(&turned, options.end)
            }
            None => shared.codec.request(head, options.end),
        };
        let id = opened.map_err(|_| Reset::new(ResetReason::RemoteRefusedStreamReset))?;
        let bytes = move_output(&mut shared.codec, &mut shared.out);
        self.bytes.sent += bytes;
        self.bytes.headers_sent = bytes.saturating_sub(9);
        shared.sides.insert(id, Side::default());
        self.id = Some(id);
        if let Some(driver) = &shared.driver {
            driver.wake_by_ref();
        }
        Ok(())
    }

    /// Does something with what waits on the stream, and has the connection look at it.
    fn with_side(&mut self, act: impl FnOnce(&mut Side)) {
        let mut shared = self.conn.shared.borrow_mut();
        let shared = &mut *shared;
        if let Some(side) = self.id.and_then(|id| shared.sides.get_mut(&id)) {
            act(side);
            if let Some(driver) = &shared.driver {
                driver.wake_by_ref();
            }
        }
    }

    pub(in crate::conn) fn send_data(&mut self, data: Buf, end: bool) {
        self.bytes.sent += data.len() as u64;
        self.with_side(|side| {
            side.out_bytes += data.len();
            side.out_end |= end;
            side.outbox.push_back(data);
        });
    }

    pub(in crate::conn) fn send_trailers(&mut self, trailers: &HeaderMap) {
        self.with_side(|side| side.out_trailers = Some(trailers.clone()));
    }

    /// Hands over what is queued as far as windows allow; the connection writes it.
    pub(in crate::conn) fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<Result<(), Reset>> {
        self.handed_over = true;
        let mut shared = self.conn.shared.borrow_mut();
        let shared = &mut *shared;
        let Some((id, side)) = self.id.and_then(|id| Some((id, shared.sides.get_mut(&id)?))) else {
            return Poll::Ready(Ok(()));
        };
        if side.outbox.is_empty() && side.out_trailers.is_none() {
            return Poll::Ready(Ok(()));
        }
        let done = shared.out.len() < OUT_BYTES && side.pump(id, &mut shared.codec, &mut shared.out);
        if let Some(driver) = &shared.driver {
            driver.wake_by_ref();
        }
        if done {
            return Poll::Ready(Ok(()));
        }
        side.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(in crate::conn) fn buffered(&self) -> usize {
        let shared = self.conn.shared.borrow();
        let waiting = self.id.and_then(|id| shared.sides.get(&id)).map_or(0, |side| side.out_bytes);
        // A head counts until it is handed over.
        waiting + usize::from(!self.handed_over)
    }

    pub(in crate::conn) fn poll_piece(
        &mut self,
        cx: &Context<'_>,
        head: &mut HeaderMap,
        trailers: &mut Trailers,
    ) -> Poll<Result<UpPiece, Reset>> {
        let mut shared = self.conn.shared.borrow_mut();
        let shared = &mut *shared;
        let Some((id, side)) = self.id.and_then(|id| Some((id, shared.sides.get_mut(&id)?))) else {
            return Poll::Ready(Err(Reset::new(ResetReason::LocalReset)));
        };
        let worker = &self.host.cluster().worker;
        let Some(item) = side.inbox.pop_front() else {
            if let Some(reset) = side.reset.take() {
                return Poll::Ready(Err(reset));
            }
            if side.ended && !self.ended {
                self.ended = true;
                return Poll::Ready(Ok(UpPiece::Data(Buf::with_capacity(0), true)));
            }
            match &mut side.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        let piece = match item {
            Item::Informational(mut map) => {
                std::mem::swap(head, &mut map);
                worker.put_headers(map);
                UpPiece::Informational { status: head.status().unwrap_or(0) }
            }
            Item::Head(mut map, end) => {
                std::mem::swap(head, &mut map);
                worker.put_headers(map);
                self.head_told = true;
                self.ended = end;
                self.bytes.headers_received = head.byte_size() as u64;
                if let Some(protocol) = &self.upgrade {
                    upgrade::response_from_http2(head, protocol);
                }
                UpPiece::Head { status: head.status().unwrap_or(0), end, tunnel: self.upgrade.is_some() && head.status() == Some(101) }
            }
            Item::Data(buf) => {
                let end = side.ended && side.inbox.is_empty();
                self.ended = end;
                shared.codec.release(id, buf.len());
                if !shared.codec.output().is_empty()
                    && let Some(driver) = &shared.driver
                {
                    driver.wake_by_ref();
                }
                UpPiece::Data(buf, end)
            }
            Item::Trailers(mut map) => {
                std::mem::swap(&mut **trailers, &mut map);
                worker.put_headers(map);
                self.ended = true;
                UpPiece::Trailers
            }
        };
        self.bytes.received = self.bytes.headers_received + side.received;
        Poll::Ready(Ok(piece))
    }

    pub(in crate::conn) fn host(&self) -> &Rc<WorkerHost> {
        &self.host
    }

    pub(in crate::conn) fn bytes(&self) -> WireBytes {
        self.bytes
    }

    pub(in crate::conn) fn local_addr(&self) -> Option<SocketAddr> {
        self.conn.local
    }

    pub(in crate::conn) fn tls(&self) -> Option<&Rc<nuncio_core::TlsFacts>> {
        self.conn.tls.as_ref()
    }

    pub(in crate::conn) fn connection_id(&self) -> u64 {
        self.conn.id
    }

    pub(in crate::conn) fn requests(&self) -> u32 {
        self.conn.requests.get()
    }
}

/// Bytes in the connection's queue beyond which streams keep what they have.
const OUT_BYTES: usize = 256 * 1024;

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if std::mem::take(&mut self.promised) {
            self.conn.release_promise();
        }
        if let Some(id) = self.id.take() {
            let cluster = self.host.cluster();
            if self.conn.end_stream(id, &cluster.worker.bufs) {
                cluster.inc(stat::UPSTREAM_RQ_TX_RESET);
            }
        }
        request_ended(&self.host);
    }
}
