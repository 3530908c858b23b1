//! A request that is ended here and whose body goes on as plain bytes (CONNECT with `connect_config`), as Envoy's
//! `TcpUpstream`: the answer is 200 as soon as there is a connection, and its body is what the host says.

use super::UpPiece;
use crate::pool::WorkerHost;
use crate::reset::{Reset, ResetReason};
use crate::tcp::TcpConnection;
use nuncio_codec::headers::HeaderMap;
use nuncio_core::{TlsFacts, WireBytes};
use nuncio_rt::{Buf, OutQueue};
use std::{
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// The request on its connection.
#[derive(Debug)]
pub struct RawStream {
    conn: TcpConnection,
    host: Rc<WorkerHost>,
    out: OutQueue,
    /// The client has said all it has to say.
    ended: bool,
    shut: bool,
    answered: bool,
    /// The host has said all it has to say.
    over: bool,
    bytes: WireBytes,
}

impl RawStream {
    pub(super) fn begin(conn: TcpConnection, host: Rc<WorkerHost>) -> RawStream {
        let out = OutQueue::new(host.cluster().worker.bufs.clone());
        RawStream { conn, host, out, ended: false, shut: false, answered: false, over: false, bytes: WireBytes::default() }
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn send_data(&mut self, data: Buf, end: bool) {
        if !data.is_empty() {
            self.out.push(data);
        }
        self.ended |= end;
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reset>> {
        let mut written = 0;
        let flushed = self.out.poll_flush(cx, &mut self.conn.io, &mut written);
        self.bytes.sent += written;
        self.conn.sent(written);
        if ready!(flushed).is_err() {
            // Reading tells what became of it.
            self.out.clear();
            return Poll::Ready(Ok(()));
        }
        if self.ended && !self.shut {
            // A peer that is gone already has no use for our goodbye.
            let _ = ready!(self.conn.io.poll_shutdown(cx));
            self.shut = true;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn buffered(&self) -> usize {
        self.out.len()
    }

    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>, head: &mut HeaderMap) -> Poll<Result<UpPiece, Reset>> {
        if !self.answered {
            self.answered = true;
            head.set_status(200);
            return Poll::Ready(Ok(UpPiece::Head { status: 200, end: false, tunnel: true }));
        }
        if self.over {
            return Poll::Pending;
        }
        if self.conn.poll_host_failed(cx).is_ready() {
            return Poll::Ready(Err(Reset::new(ResetReason::ConnectionTermination)));
        }
        ready!(self.conn.io.poll_read_ready(cx)).map_err(|_| self.broken())?;
        let pool = self.host.cluster().worker.bufs.clone();
        let mut buf = pool.get();
        match self.conn.io.poll_read(cx, &mut buf) {
            Poll::Pending => {
                pool.put(buf);
                Poll::Pending
            }
            Poll::Ready(Err(_)) => {
                pool.put(buf);
                Poll::Ready(Err(self.broken()))
            }
            Poll::Ready(Ok(read)) => {
                self.bytes.received += read as u64;
                self.conn.received(read as u64);
                self.over = read == 0;
                if self.over && self.shut {
                    // The last word was the host's; else it is we who close.
                    self.conn.closed_by_peer();
                }
                Poll::Ready(Ok(UpPiece::Data(buf, self.over)))
            }
        }
    }

    fn broken(&mut self) -> Reset {
        self.conn.closed_by_peer();
        Reset::new(ResetReason::ConnectionTermination)
    }

    pub(super) fn host(&self) -> &Rc<WorkerHost> {
        &self.host
    }

    pub(super) fn bytes(&self) -> WireBytes {
        self.bytes
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.conn.local
    }

    pub(super) fn tls(&self) -> Option<&Rc<TlsFacts>> {
        self.conn.tls.as_ref()
    }

    pub(super) fn connection_id(&self) -> u64 {
        self.conn.id
    }
}
