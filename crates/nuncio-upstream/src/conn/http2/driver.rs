//! The task of one connection: reads, tells streams what came for them, writes, and sees the connection to its end.

use super::{Http2Connection, Item, Shared, Side, move_output};
use crate::info::ClusterCx;
use crate::pool::Closed;
use crate::reset::{Reset, ResetReason};
use nuncio_codec::headers::HeaderMap;
use nuncio_codec::http2::{ErrorCode, Event, StreamEnd};
use nuncio_core::{PingDue, Pings, count_http2};
use nuncio_rt::{Buf, Deadline, Io, Time};
use nuncio_stats::{
    Scope,
    tables::{cluster as stat, http2 as codec_stat},
};
use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// How long a connection may live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Without a request (`idle_timeout`).
    pub(crate) idle: Option<Duration>,
    /// At which it takes no more requests (`max_connection_duration`).
    pub(crate) expires: Time,
}

/// Drives a connection to its end; says who ended it, and whether requests were under way. `changed` is called when
/// there may be room for more requests, or never will be again.
pub(crate) async fn drive(
    conn: Rc<Http2Connection>,
    io: Io,
    cluster: Rc<ClusterCx>,
    terms: Terms,
    changed: impl Fn(),
) -> (Closed, bool) {
    let codec_stats = cluster.info.http2_stats().cloned();
    if let Some(scope) = &codec_stats {
        scope.open(cluster.worker.lane, codec_stat::OPEN);
    }
    let now = Time::now();
    let mut driver = Driver {
        deadline: Deadline::new(cluster.worker.timers.clone()),
        pings: Pings::new(cluster.info.config.http.keepalive, &cluster.worker.rng, now),
        io,
        input: None,
        conn,
        cluster,
        codec_stats,
        terms,
        streams: 0,
    };
    poll_fn(|task| driver.poll(task, &changed)).await
}

struct Driver {
    io: Io,
    input: Option<Buf>,
    conn: Rc<Http2Connection>,
    cluster: Rc<ClusterCx>,
    codec_stats: Option<Arc<Scope>>,
    terms: Terms,
    deadline: Deadline,
    pings: Pings,
    /// Streams that the gauge knows of.
    streams: i64,
}

impl Driver {
    fn poll(&mut self, task: &mut Context<'_>, changed: &impl Fn()) -> Poll<(Closed, bool)> {
        let conn = self.conn.clone();
        conn.shared.borrow_mut().driver.get_or_insert_with(|| task.waker().clone());
        loop {
            let mut more = false;
            let done = self.turn(task, &mut conn.shared.borrow_mut(), &mut more);
            if more {
                changed();
            }
            if let Some(closed) = done {
                changed();
                return Poll::Ready(closed);
            }
            let now = Time::now();
            self.deadline.set(self.due(&conn.shared.borrow()));
            if self.deadline.poll(task, now).is_pending() {
                return Poll::Pending;
            }
            if let Some(closed) = self.expire(&mut conn.shared.borrow_mut(), Time::now()) {
                changed();
                return Poll::Ready(closed);
            }
        }
    }

    fn turn(&mut self, task: &mut Context<'_>, shared: &mut Shared, changed: &mut bool) -> Option<(Closed, bool)> {
        loop {
            let read = self.read(task);
            if let Poll::Ready(Err(())) = read {
                return Some(self.end(shared, Closed::Remote, &Reset::new(ResetReason::ConnectionTermination)));
            }
            if let Err(fault) = self.take_input(shared, changed) {
                self.cluster.inc(stat::UPSTREAM_CX_PROTOCOL_ERROR);
                let _ = self.flush(task, shared);
                return Some(self.end(shared, Closed::Local, &Reset::protocol_error(fault)));
            }
            let Shared { codec, out, sides, .. } = shared;
            for (id, side) in sides.iter_mut() {
                if !(side.outbox.is_empty() && side.out_trailers.is_none()) {
                    let before = side.out_bytes;
                    if side.pump(*id, codec, out) || side.out_bytes < before {
                        side.wake();
                    }
                }
            }
            if matches!(self.flush(task, shared), Poll::Ready(Err(_))) && read.is_pending() {
                return Some(self.end(shared, Closed::Remote, &Reset::new(ResetReason::ConnectionTermination)));
            }
            self.count(shared);
            if self.conn.is_spent_in(shared) && shared.sides.is_empty() && self.conn.promised.get() == 0 {
                return Some(self.end(shared, Closed::Local, &Reset::new(ResetReason::LocalReset)));
            }
            if read.is_pending() {
                return None;
            }
        }
    }

    fn flush(&mut self, task: &mut Context<'_>, shared: &mut Shared) -> Poll<std::io::Result<()>> {
        move_output(&mut shared.codec, &mut shared.out);
        let mut written = 0;
        let done = shared.out.poll_flush(task, &mut self.io, &mut written);
        if written > 0 {
            shared.codec.sent(written);
            self.cluster.add(stat::UPSTREAM_CX_TX_BYTES_TOTAL, written);
        }
        done
    }

    fn read(&mut self, task: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let bufs = &self.cluster.worker.bufs;
        let buf = self.input.get_or_insert_with(|| bufs.get());
        buf.compact();
        let read = self.io.poll_read(task, buf);
        if let Some(empty) = self.input.take_if(|buf| buf.is_empty()) {
            bufs.put(empty);
        }
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(n)) if n > 0 => {
                self.cluster.add(stat::UPSTREAM_CX_RX_BYTES_TOTAL, n as u64);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(())),
        }
    }

    /// Hands on what has been read.
    fn take_input(&mut self, shared: &mut Shared, changed: &mut bool) -> Result<(), &'static str> {
        let Some(mut input) = self.input.take() else { return Ok(()) };
        let done = loop {
            match shared.codec.receive(input.filled()) {
                Err(fault) => break Err(fault.text()),
                Ok((taken, event)) => {
                    let more = event.is_some();
                    if let Some(event) = event {
                        self.happened(shared, event, input.filled(), changed);
                    }
                    input.consume(taken);
                    if !more {
                        break Ok(());
                    }
                }
            }
        };
        if input.is_empty() {
            self.cluster.worker.bufs.put(input);
        } else {
            self.input = Some(input);
        }
        done
    }

    fn happened(&mut self, shared: &mut Shared, event: Event, input: &[u8], changed: &mut bool) {
        let worker = &self.cluster.worker;
        let Shared { codec, sides, .. } = shared;
        match event {
            Event::Head { stream, end } => {
                let mut head = worker.take_headers();
                codec.take_head(&mut head);
                if let Some(side) = sides.get_mut(&stream) {
                    side.ended |= end;
                    side.push(Item::Head(head, end));
                }
            }
            Event::Informational { stream } => {
                let mut head = worker.take_headers();
                codec.take_head(&mut head);
                if let Some(side) = sides.get_mut(&stream) {
                    side.push(Item::Informational(head));
                }
            }
            Event::Trailers { stream } => {
                let mut trailers = HeaderMap::new();
                codec.take_head(&mut trailers);
                if let Some(side) = sides.get_mut(&stream) {
                    side.ended = true;
                    side.push(Item::Trailers(trailers));
                }
            }
            Event::Data { stream, payload, end } => {
                let bytes = &input[payload];
                match sides.get_mut(&stream) {
                    Some(side) => side.receive(bytes, end, &worker.bufs),
                    None => codec.release(stream, bytes.len()),
                }
            }
            Event::End { stream, how } => {
                let reset = reset(how);
                match reset.reason {
                    ResetReason::RemoteReset => self.cluster.inc(stat::UPSTREAM_RQ_RX_RESET),
                    ResetReason::ProtocolError => self.cluster.inc(stat::UPSTREAM_RQ_TX_RESET),
                    _ => {}
                }
                if let Some(side) = sides.get_mut(&stream) {
                    side.reset = Some(reset);
                    side.wake();
                }
                *changed = true;
            }
            Event::Goaway { last, .. } => {
                self.cluster.inc(stat::UPSTREAM_CX_CLOSE_NOTIFY);
                for (_, side) in sides.range_mut(last.saturating_add(1)..) {
                    side.reset = Some(Reset::new(ResetReason::RemoteRefusedStreamReset));
                    side.wake();
                }
                *changed = true;
            }
            Event::Window { stream: 0 } => *changed = true,
            Event::Window { .. } => {}
            Event::Pong => self.pings.answered(),
        }
    }

    fn due(&self, shared: &Shared) -> Option<Time> {
        let idle = self.terms.idle.filter(|_| shared.sides.is_empty()).map(|d| shared.idle_since + d);
        let expires = (!self.conn.draining.get() && self.terms.expires != Time::NEVER).then_some(self.terms.expires);
        Time::first([idle, expires, self.pings.due()])
    }

    fn expire(&mut self, shared: &mut Shared, now: Time) -> Option<(Closed, bool)> {
        if shared.sides.is_empty() && self.terms.idle.is_some_and(|d| shared.idle_since + d <= now) {
            self.cluster.inc(stat::UPSTREAM_CX_IDLE_TIMEOUT);
            return Some(self.end(shared, Closed::Local, &Reset::new(ResetReason::LocalReset)));
        }
        if self.terms.expires <= now && !self.conn.draining.get() {
            self.cluster.inc(stat::UPSTREAM_CX_MAX_DURATION_REACHED);
            self.conn.draining.set(true);
        }
        match self.pings.expire(&self.cluster.worker.rng, now) {
            PingDue::Nothing => None,
            PingDue::Ping(payload) => {
                shared.codec.ping(&payload);
                None
            }
            PingDue::Dead => {
                if let Some(scope) = &self.codec_stats {
                    scope.inc(self.cluster.worker.lane, codec_stat::KEEPALIVE_TIMEOUT);
                }
                Some(self.end(shared, Closed::Local, &Reset::new(ResetReason::ConnectionTermination)))
            }
        }
    }

    fn count(&mut self, shared: &mut Shared) {
        let Some(scope) = &self.codec_stats else { return };
        let lane = self.cluster.worker.lane;
        count_http2(&mut shared.codec, scope, lane);
        let streams = shared.codec.streams() as i64;
        if streams != self.streams {
            scope.gauge_add(lane, codec_stat::STREAMS_ACTIVE, streams - self.streams);
            self.streams = streams;
        }
    }

    /// The connection is over: streams that are open learn why.
    fn end(&mut self, shared: &mut Shared, by: Closed, why: &Reset) -> (Closed, bool) {
        shared.dead = true;
        self.conn.draining.set(true);
        let mut active = false;
        for side in shared.sides.values_mut().filter(|side| !side.ended && side.reset.is_none()) {
            active = true;
            if why.reason == ResetReason::ConnectionTermination {
                self.cluster.inc(stat::UPSTREAM_RQ_PENDING_FAILURE_EJECT);
            } else if why.reason == ResetReason::ProtocolError {
                self.cluster.inc(stat::UPSTREAM_RQ_TX_RESET);
            }
            side.reset = Some(why.clone());
            side.wake();
        }
        self.count(shared);
        if let Some(scope) = &self.codec_stats {
            scope.gauge_add(self.cluster.worker.lane, codec_stat::STREAMS_ACTIVE, -std::mem::take(&mut self.streams));
        }
        (by, active)
    }
}

impl Http2Connection {
    fn is_spent_in(&self, shared: &Shared) -> bool {
        self.draining.get() || shared.codec.openings().is_err()
    }
}

impl Side {
    fn push(&mut self, item: Item) {
        self.inbox.push_back(item);
        self.wake();
    }

    /// Keeps body bytes; small pieces share a buffer.
    fn receive(&mut self, mut bytes: &[u8], end: bool, bufs: &nuncio_rt::BufPool) {
        self.received += bytes.len() as u64;
        self.ended |= end;
        while !bytes.is_empty() {
            if !matches!(self.inbox.back(), Some(Item::Data(buf)) if buf.room() > 0) {
                self.inbox.push_back(Item::Data(bufs.get()));
            }
            if let Some(Item::Data(buf)) = self.inbox.back_mut() {
                let taken = buf.append(bytes);
                bytes = &bytes[taken..];
            }
        }
        self.wake();
    }
}

/// Why a stream came to nothing.
fn reset(how: StreamEnd) -> Reset {
    match how {
        StreamEnd::Reset(ErrorCode::REFUSED_STREAM) => Reset::new(ResetReason::RemoteRefusedStreamReset),
        StreamEnd::Reset(ErrorCode::PROTOCOL_ERROR) => Reset::protocol_error("http2.remote_reset"),
        StreamEnd::Reset(ErrorCode::CONNECT_ERROR) => Reset::new(ResetReason::ConnectError),
        // What is too much for us is our affair, and yet the host's, as Envoy has it.
        StreamEnd::Flawed(flaw) if !flaw.is_violation() => Reset::new(ResetReason::RemoteReset),
        StreamEnd::Reset(_) => Reset::new(ResetReason::RemoteReset),
        StreamEnd::Flawed(flaw) => Reset::protocol_error(flaw.details()),
        StreamEnd::WindowOverflow => Reset::protocol_error("http2.flow_control"),
        StreamEnd::WrongLength => Reset::protocol_error("http2.violation.of.messaging.rule"),
    }
}
