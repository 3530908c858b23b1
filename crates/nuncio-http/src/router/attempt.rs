//! One attempt at a request: the wait for a connection, then the exchange on it.

use super::log::Record;
use super::replay::Replay;
use nuncio_core::{LocalFuture, NameLookup, Protocol, Resolved, StreamCx, WireBytes};
use nuncio_rt::{Buf, Time};
use nuncio_upstream::{
    Acquire, HeadOptions, PoolFailure, Reset, RoutingPriority, TransportOptions, UpPiece, UpstreamConn, WorkerCluster, WorkerHost,
};
use std::{
    collections::VecDeque,
    fmt,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// None is being made.
    #[default]
    Idle,
    /// The next one is made at this time.
    BackingOff(Time),
    /// Waiting for a name to be looked up.
    Choosing,
    /// Waiting for a connection.
    Connecting,
    /// Exchanging on a connection.
    Live,
}

/// What came from the upstream.
#[derive(Debug)]
pub(crate) enum Read {
    /// 1xx; its head is in `cx.response`.
    Informational,
    /// The head, in `cx.response`.
    Head { end: bool },
    /// Body.
    Data { bytes: Buf, end: bool },
    /// Trailers, in `cx.response_trailers`.
    Trailers,
}

/// Which timeout of an attempt has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// `per_try_timeout`
    PerTry,
    /// `per_try_idle_timeout`
    PerTryIdle,
    /// `max_stream_duration` of the cluster
    Stream,
}

/// A name that the cluster has no host for.
enum Name {
    Pending(LocalFuture<Resolved>),
    /// Why it could not be looked up.
    Failed(Arc<str>),
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name")
    }
}

/// The current attempt.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    phase: Phase,
    /// A name that is being looked up, or could not be.
    name: Option<Box<Name>>,
    host: Option<Rc<WorkerHost>>,
    acquire: Option<Acquire>,
    conn: Option<UpstreamConn>,
    /// Request data that came before the connection.
    queue: VecDeque<(Buf, bool)>,
    queued: usize,
    trailers_queued: bool,
    /// The head is all there is.
    head_ends: bool,
    per_try: Option<Time>,
    per_try_armed: bool,
    idle: Option<Duration>,
    idle_at: Option<Time>,
    /// When it has lasted as long as the cluster's streams may.
    ends_at: Option<Time>,
    sent: bool,
    /// When a connection was asked for.
    asked_at: Time,
    /// Bytes of the connection that have been written down.
    noted: WireBytes,
    /// What will be logged of it.
    record: Option<Box<Record>>,
}

impl Attempt {
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// When its connection was asked for.
    pub(crate) fn asked_at(&self) -> Time {
        self.asked_at
    }

    pub(crate) fn host(&self) -> Option<&Rc<WorkerHost>> {
        self.host.as_ref()
    }

    /// Writes down what the attempt has moved since this was called last.
    pub(crate) fn note_bytes(&mut self, cx: &mut StreamCx) {
        if let Some(conn) = &self.conn {
            let now = conn.bytes();
            cx.info.upstream.bytes.add_since(self.noted, now);
            self.noted = now;
        }
    }

    /// What will be logged of it, where attempts are.
    pub(super) fn record(&mut self) -> Option<&mut Record> {
        self.record.as_deref_mut()
    }

    /// It is to be logged.
    pub(super) fn set_record(&mut self, record: Record) {
        self.record = Some(Box::new(record));
    }

    /// Another attempt at the same request, not begun.
    pub(crate) fn another(&self) -> Attempt {
        Attempt { head_ends: self.head_ends, ..Attempt::default() }
    }

    /// Writes down which connection the attempt is made on.
    pub(crate) fn note_connection(&self, cx: &mut StreamCx) {
        if let Some(conn) = &self.conn {
            cx.info.upstream.local = conn.local_addr();
            cx.info.upstream.connection_id = conn.connection_id();
            cx.info.upstream.tls = conn.tls().cloned();
            cx.info.upstream.protocol = conn.protocol();
        }
    }

    /// The request is its head only.
    pub(crate) fn end_with_head(&mut self, end: bool) {
        self.head_ends = end;
    }

    /// Gives up whatever is under way; a connection in use is closed.
    pub(crate) fn clear(&mut self) {
        self.conn = None;
        self.finish();
    }

    /// Lets go of host and connection; a connection whose exchange is complete goes back to its pool.
    #[inline]
    pub(crate) fn finish(&mut self) {
        if self.phase != Phase::Idle || self.host.is_some() || !self.queue.is_empty() || self.trailers_queued {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        self.phase = Phase::Idle;
        self.name = None;
        self.acquire = None;
        if let Some(conn) = self.conn.take() {
            conn.finish();
        }
        self.host = None;
        self.noted = WireBytes::default();
        self.record = None;
        self.per_try = None;
        self.per_try_armed = false;
        self.idle_at = None;
        self.ends_at = None;
        self.queue.clear();
        self.queued = 0;
        self.trailers_queued = false;
        self.sent = false;
    }

    /// Lets go of a response that is not wanted: the connection survives if the head was all of it.
    pub(crate) fn discard(&mut self, complete: bool) {
        if complete {
            self.finish();
        } else {
            self.clear();
        }
    }

    /// Waits before the next attempt.
    pub(crate) fn back_off(&mut self, until: Time) {
        self.phase = Phase::BackingOff(until);
    }

    /// Why the name could not be looked up that the attempt waited for.
    pub(crate) fn unresolved(&mut self) -> Option<Arc<str>> {
        match *self.name.take()? {
            Name::Failed(details) => Some(details),
            Name::Pending(_) => None,
        }
    }

    /// Has a name looked up that the cluster has no host for. Says why that is in vain, if it is.
    pub(crate) fn resolve(&mut self, name: &str, cluster: &WorkerCluster) -> Option<Arc<str>> {
        match cluster.lookup(name, false) {
            NameLookup::Pending(lookup) => {
                self.name = Some(Box::new(Name::Pending(lookup)));
                self.phase = Phase::Choosing;
                None
            }
            NameLookup::Known(Err(details)) => Some(details),
            NameLookup::NotAsked | NameLookup::Known(Ok(_)) | NameLookup::TooManyNames | NameLookup::TooManyWait => {
                Some("dns_cache_overflow".into())
            }
        }
    }

    /// Ready when the name has been looked up.
    pub(crate) fn poll_choosing(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let Some(Name::Pending(lookup)) = self.name.as_deref_mut() else { return Poll::Ready(()) };
        let resolved = std::task::ready!(lookup.as_mut().poll(task));
        self.name = resolved.err().map(|details| Box::new(Name::Failed(details)));
        Poll::Ready(())
    }

    /// Asks for a connection to `host`.
    pub(crate) fn acquire(
        &mut self,
        host: Rc<WorkerHost>,
        wanted: Option<TransportOptions>,
        priority: RoutingPriority,
        downstream: Protocol,
        now: Time,
    ) {
        self.asked_at = now;
        self.acquire = Some(match wanted {
            None => host.acquire(priority, downstream),
            Some(wanted) => host.acquire_with(wanted, priority, downstream),
        });
        self.host = Some(host);
        self.phase = Phase::Connecting;
    }

    /// Asks for a connection to `host` for the request's body as it is.
    pub(crate) fn acquire_raw(&mut self, host: Rc<WorkerHost>, wanted: Option<TransportOptions>, priority: RoutingPriority, now: Time) {
        self.asked_at = now;
        self.acquire = Some(host.acquire_raw(wanted, priority));
        self.host = Some(host);
        self.phase = Phase::Connecting;
    }

    /// Queues the request's body once more.
    pub(crate) fn refill(&mut self, replay: &Replay, request_ended: bool, cx: &StreamCx) {
        self.queue.clear();
        self.queued = 0;
        self.trailers_queued = !cx.request_trailers.is_empty();
        let body = replay.bytes();
        if self.head_ends || (body.is_empty() && !request_ended) {
            return;
        }
        let end = request_ended && !self.trailers_queued;
        self.queued = body.len();
        self.queue.push_back((Buf::copy_of(body), end));
    }

    /// Waits for the connection. Says whether the task is registered for what comes on it (see [`Acquire::is_watched`]).
    pub(crate) fn poll_connect(&mut self, task: &mut Context<'_>) -> Poll<Result<bool, PoolFailure>> {
        let Some(acquire) = &mut self.acquire else { return Poll::Pending };
        match acquire.poll(task) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(conn)) => {
                let watched = acquire.is_watched();
                self.acquire = None;
                self.conn = Some(conn);
                Poll::Ready(Ok(watched))
            }
            Poll::Ready(Err(failure)) => {
                self.acquire = None;
                Poll::Ready(Err(failure))
            }
        }
    }

    /// Sends the head and what has queued up behind it.
    pub(crate) fn begin(&mut self, cx: &mut StreamCx, idle: Option<Duration>, now: Time) -> Result<(), Reset> {
        self.phase = Phase::Live;
        self.idle = idle;
        self.idle_at = idle.map(|d| now + d);
        let limit = self.host.as_ref().and_then(|host| host.cluster().info.config.http.max_stream_duration);
        self.ends_at = limit.map(|limit| now + limit);
        self.note_connection(cx);
        let Some(conn) = &mut self.conn else { return Ok(()) };
        cx.info.timings.upstream_pool_wait = Some(now.since(self.asked_at));
        cx.info.timings.upstream_first_tx = Some(now);
        self.record.iter_mut().for_each(|record| record.connected(cx, now));
        conn.send_head(&cx.request, HeadOptions { end: self.head_ends })?;
        while let Some((bytes, end)) = self.queue.pop_front() {
            conn.send_data(bytes, end);
        }
        self.record.iter_mut().for_each(|record| record.sent(self.queued));
        self.queued = 0;
        if std::mem::take(&mut self.trailers_queued) {
            conn.send_trailers(&cx.request_trailers);
        }
        Ok(())
    }

    pub(crate) fn send_data(&mut self, bytes: Buf, end: bool) {
        match &mut self.conn {
            Some(conn) if self.phase == Phase::Live => {
                self.record.iter_mut().for_each(|record| record.sent(bytes.len()));
                conn.send_data(bytes, end);
            }
            _ => {
                self.queued += bytes.len();
                self.queue.push_back((bytes, end));
            }
        }
    }

    pub(crate) fn send_trailers(&mut self, cx: &StreamCx) {
        match &mut self.conn {
            Some(conn) if self.phase == Phase::Live => conn.send_trailers(&cx.request_trailers),
            _ => self.trailers_queued = true,
        }
    }

    /// Bytes of the request not yet taken by the upstream's socket.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.queued + self.conn.as_ref().map_or(0, UpstreamConn::buffered)
    }

    /// True once anything was written to the upstream.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent
    }

    #[inline]
    pub(crate) fn poll_write(&mut self, task: &mut Context<'_>, cx: &mut StreamCx, now: Time) -> Poll<Result<(), Reset>> {
        let Some(conn) = &mut self.conn else { return Poll::Pending };
        let before = conn.buffered();
        let written = conn.poll_flush(task);
        if before > 0 && conn.buffered() < before {
            cx.info.timings.upstream_last_tx = Some(now);
            self.record.iter_mut().for_each(|record| record.wrote(now));
            self.sent = true;
            self.touch(now);
        }
        written
    }

    #[inline]
    pub(crate) fn poll_read(&mut self, task: &mut Context<'_>, cx: &mut StreamCx, now: Time) -> Poll<Result<Read, Reset>> {
        let Some(conn) = &mut self.conn else { return Poll::Pending };
        let piece = match conn.poll_piece(task, &mut cx.response, &mut cx.response_trailers) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(reset)) => return Poll::Ready(Err(reset)),
            Poll::Ready(Ok(piece)) => piece,
        };
        self.touch(now);
        self.record.iter_mut().for_each(|record| record.received(&piece, cx, now));
        cx.info.timings.upstream_first_rx.get_or_insert(now);
        Poll::Ready(Ok(match piece {
            UpPiece::Informational { .. } => Read::Informational,
            UpPiece::Head { end, .. } => Read::Head { end },
            UpPiece::Data(bytes, end) => Read::Data { bytes, end },
            UpPiece::Trailers => Read::Trailers,
        }))
    }

    #[inline]
    fn touch(&mut self, now: Time) {
        if let Some(idle) = self.idle {
            self.idle_at = Some(now + idle);
        }
    }

    /// True once, when the per-try timeout is to begin: connected, and the request complete.
    #[inline]
    pub(crate) fn needs_per_try(&self, request_ended: bool) -> bool {
        request_ended && !self.per_try_armed && self.phase == Phase::Live
    }

    #[inline]
    pub(crate) fn arm_per_try(&mut self, at: Option<Time>) {
        self.per_try_armed = true;
        self.per_try = at;
    }

    /// The next moment something of this attempt is due.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Time> {
        let until = if let Phase::BackingOff(until) = self.phase { Some(until) } else { None };
        let logged = self.record.as_ref().and_then(|record| record.next());
        Time::first([until, self.per_try, self.idle_at, self.ends_at, logged])
    }

    /// The timeout that has passed at `now`.
    #[inline]
    pub(crate) fn expired(&self, now: Time) -> Option<Expired> {
        if self.per_try.is_some_and(|at| at <= now) {
            Some(Expired::PerTry)
        } else if self.idle_at.is_some_and(|at| at <= now) {
            Some(Expired::PerTryIdle)
        } else if self.ends_at.is_some_and(|at| at <= now) {
            Some(Expired::Stream)
        } else {
            None
        }
    }
}

/// Writes down which host is being tried.
pub(crate) fn note_host(cx: &mut StreamCx, host: Option<&WorkerHost>) {
    if let Some(host) = host {
        cx.info.upstream.turn_to(host.facts.clone());
    }
}
