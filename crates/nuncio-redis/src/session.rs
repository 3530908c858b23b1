//! One client's connection: commands are taken as they come, and answered in that order.

use crate::{RedisWorker, answer::Pending, dispatch::Dispatch, transaction::Transaction};
use nuncio_codec::resp::{Decoder, Role, Value};
use nuncio_core::{Connection, LeftByFilters, StreamCx};
use nuncio_stats::tables::redis::{
    DOWNSTREAM_CX_ACTIVE, DOWNSTREAM_CX_DRAIN_CLOSE, DOWNSTREAM_CX_PROTOCOL_ERROR, DOWNSTREAM_CX_RX_BYTES_TOTAL, DOWNSTREAM_CX_TOTAL,
    DOWNSTREAM_CX_TX_BYTES_TOTAL, DOWNSTREAM_RQ_ACTIVE, DOWNSTREAM_RQ_TOTAL,
};
use std::{
    collections::VecDeque,
    future::poll_fn,
    io::IoSlice,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// Commands of one client that may be under way; it is not read on before one of them is answered.
const MAX_PIPELINED: usize = 8192;

/// The runtime's key for the share of connections that close when the listener drains, in percent.
const DRAIN_CLOSE: &str = "redis.drain_close_enabled";

/// What a connection has come to.
pub(crate) struct State {
    /// It has said who it is, or does not have to.
    pub(crate) allowed: bool,
    /// It has said QUIT.
    pub(crate) quit: bool,
    pub(crate) transaction: Transaction,
    /// A transaction's last answer has to come before the next command goes out, which takes another connection.
    pub(crate) waits: bool,
    /// For formats.
    pub(crate) stream: StreamCx,
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<RedisWorker>, connection: Connection) {
    let mut session = Session::begin(worker, connection);
    poll_fn(|cx| session.poll(cx)).await;
}

struct Session {
    worker: Rc<RedisWorker>,
    connection: Connection,
    state: State,
    decoder: Decoder,
    /// What came behind a transaction's end.
    rest: Vec<u8>,
    /// In the order they came.
    pending: VecDeque<Pending>,
    /// Being written, and how much of it has gone.
    out: Vec<u8>,
    gone: usize,
    /// Nothing more is read; it ends when all is written.
    closing: bool,
    /// The end of what is written has been told.
    told: bool,
}

impl Session {
    fn begin(worker: Rc<RedisWorker>, connection: Connection) -> Session {
        let config = &worker.proxy.config;
        let allowed = config.username.is_empty() && config.passwords.is_empty();
        let mut stream = StreamCx::new(worker.worker.clone(), connection.info.clone());
        if let Some(left) = LeftByFilters::find(&connection.info) {
            left.objects(&mut stream);
        }
        let state = State { allowed, quit: false, transaction: Transaction::default(), waits: false, stream };
        let (scope, lane) = (&worker.proxy.scope, worker.worker.lane);
        scope.inc(lane, DOWNSTREAM_CX_TOTAL);
        scope.gauge_add(lane, DOWNSTREAM_CX_ACTIVE, 1);
        let decoder = Decoder::new(Role::Client);
        Session { worker, connection, state, decoder, rest: Vec::new(), pending: VecDeque::new(), out: Vec::new(), gone: 0, closing: false, told: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let more = self.answer(cx);
            if ready!(self.poll_write(cx)).is_err() {
                return Poll::Ready(());
            }
            if more {
                continue;
            }
            if self.closing && self.pending.is_empty() {
                if !self.told {
                    // A client that is gone already has no use for our goodbye.
                    let _ = ready!(self.connection.io.poll_shutdown(cx));
                    self.told = true;
                }
                return Poll::Ready(());
            }
            if self.closing || self.pending.len() >= MAX_PIPELINED || self.state.waits {
                return Poll::Pending;
            }
            if !self.rest.is_empty() {
                let rest = std::mem::take(&mut self.rest);
                self.take(&rest);
                continue;
            }
            if ready!(self.poll_read(cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// Writes answers that are there, as far as those before them are, too; whether there may be more that had no room.
    fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.worker.proxy.config.faults.is_empty() {
            // A delay begins with the answer, whoever waits before it.
            for pending in &mut self.pending {
                let _ = pending.poll(cx);
            }
        }
        let limit = (self.connection.buffer_limit_bytes as usize).max(1);
        let mut answered = false;
        while self.out.len() < limit && self.pending.front_mut().is_some_and(|pending| pending.poll(cx).is_ready()) {
            let Some(pending) = self.pending.pop_front() else { break };
            pending.into_value().encode(&mut self.out);
            self.worker.proxy.scope.gauge_add(self.worker.worker.lane, DOWNSTREAM_RQ_ACTIVE, -1);
            answered = true;
        }
        if answered && self.pending.is_empty() {
            self.state.waits = false;
            if !self.state.quit && self.drains() {
                self.worker.proxy.scope.inc(self.worker.worker.lane, DOWNSTREAM_CX_DRAIN_CLOSE);
                self.closing = true;
            }
        }
        self.out.len() >= limit
    }

    fn drains(&self) -> bool {
        let worker = &self.worker.worker;
        self.connection.drain.is_draining() && {
            let share = worker.runtime.values().get(DRAIN_CLOSE).and_then(|value| value.uint()).unwrap_or(100);
            worker.rng.below(100) < share
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while self.gone < self.out.len() {
            let written = ready!(self.connection.io.poll_writev(cx, &[IoSlice::new(&self.out[self.gone..])]))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.worker.proxy.scope.add(self.worker.worker.lane, DOWNSTREAM_CX_TX_BYTES_TOTAL, written as u64);
            self.gone += written;
        }
        if self.gone > 0 {
            ready!(self.connection.io.poll_flush(cx))?;
            self.out.clear();
            self.gone = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes in what has come; an error ends the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let pool = self.worker.worker.bufs.clone();
        let buf = match self.connection.first.take() {
            Some(first) => first,
            None => {
                let mut buf = pool.get();
                let read = self.connection.io.poll_read(cx, &mut buf);
                if !matches!(read, Poll::Ready(Ok(1..))) {
                    pool.put(buf);
                    return read.map(|_| Err(()));
                }
                buf
            }
        };
        self.worker.proxy.scope.add(self.worker.worker.lane, DOWNSTREAM_CX_RX_BYTES_TOTAL, buf.len() as u64);
        self.take(buf.filled());
        pool.put(buf);
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, mut bytes: &[u8]) {
        let worker = self.worker.clone();
        let (scope, lane) = (&worker.proxy.scope, worker.worker.lane);
        while !self.state.quit {
            match self.decoder.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(value)) => {
                    scope.inc(lane, DOWNSTREAM_RQ_TOTAL);
                    scope.gauge_add(lane, DOWNSTREAM_RQ_ACTIVE, 1);
                    let pending = Dispatch { worker: &worker }.start(&mut self.state, value);
                    self.pending.push_back(pending);
                    if self.state.waits {
                        self.rest.extend_from_slice(bytes);
                        return;
                    }
                }
                Err(_) => {
                    scope.inc(lane, DOWNSTREAM_CX_PROTOCOL_ERROR);
                    // What is answered goes first; what is under way has no answer any more.
                    while let Some(Pending::Ready(_)) = self.pending.front() {
                        self.pending.pop_front().into_iter().for_each(|done| done.into_value().encode(&mut self.out));
                        scope.gauge_add(lane, DOWNSTREAM_RQ_ACTIVE, -1);
                    }
                    scope.gauge_add(lane, DOWNSTREAM_RQ_ACTIVE, -(self.pending.len() as i64));
                    self.pending.clear();
                    Value::error("downstream protocol error").encode(&mut self.out);
                    break;
                }
            }
        }
        self.closing = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (scope, lane) = (&self.worker.proxy.scope, self.worker.worker.lane);
        scope.gauge_add(lane, DOWNSTREAM_RQ_ACTIVE, -(self.pending.len() as i64));
        scope.gauge_add(lane, DOWNSTREAM_CX_ACTIVE, -1);
    }
}
