//! A downstream HTTP/2 connection: one exchange per stream, all of them in the connection's task.
//!
//! A turn reads once, tells streams what came for them, polls those that want it (each may send so much and no more,
//! so that none starves the others), and writes once. A stream is asked again when something came for it, when its own
//! waker fired, or when a window or the queue to the socket has room again. A request's body goes back to the client's
//! windows when the exchange takes it: an exchange that does not is what holds a client back.
//!
//! * `link`: socket and codec; `stream`: one stream as its exchange sees it; `goodbye`: how a connection ends.

mod goodbye;
mod link;
mod stream;

use super::life::Life;
use crate::headers::request::Peer;
use crate::hcm::HcmWorker;
use crate::stream::{Outcome, admit};
use goodbye::{Goodbye, PrematureResets};
use link::Link;
use nuncio_codec::headers::Known;
use nuncio_codec::http2::{ErrorCode, Event, Fault, StreamEnd, upgrade};
use nuncio_core::{ConnInfo, Connection, DrainSignal, PingDue, Pings, Protocol, ResponseFlags};
use nuncio_rt::{Deadline, Time};
use nuncio_stats::tables::{http_connection_manager as stat, http2 as http2_stat};
use std::{
    borrow::Cow,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use stream::{Client, Stream};

/// Body bytes that a stream may send in one turn.
const TURN_BYTES: usize = 32 * 1024;
/// Streams kept for reuse by one connection.
const SPARE_STREAMS: usize = 16;
/// The same once none is open.
const IDLE_SPARE_STREAMS: usize = 2;
/// And none once none has been for so long: an idle connection should be small.
const IDLE: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) fn serve(hcm: Rc<HcmWorker>, connection: Connection, mut life: Life) -> impl Future<Output = ()> {
    hcm.open_http2_stats();
    life.speaks(Protocol::Http2);
    let mut served = Served::new(hcm, connection, life);
    poll_fn(move |task| served.poll(task))
}

struct Served {
    hcm: Rc<HcmWorker>,
    info: Rc<ConnInfo>,
    drain: DrainSignal,
    drain_watched: bool,
    peer: Peer,
    link: Link,
    /// Streams that are open, by rising number.
    #[expect(clippy::vec_box, reason = "streams are taken out, moved along and reused: as pointers")]
    streams: Vec<Box<Stream>>,
    #[expect(clippy::vec_box, reason = "as above")]
    spare: Vec<Box<Stream>>,
    deadline: Deadline,
    /// No stream is due before.
    next_due: Option<Time>,
    idle_since: Time,
    /// When the connection has lived long enough.
    life_ends: Option<Time>,
    requests: u32,
    resets: PrematureResets,
    goodbye: Goodbye,
    pings: Pings,
    life: Life,
}

impl Served {
    fn new(hcm: Rc<HcmWorker>, connection: Connection, life: Life) -> Served {
        let now = Time::now();
        Served {
            deadline: Deadline::new(hcm.worker.timers.clone()),
            link: Link::new(hcm.clone(), connection.io, connection.first),
            peer: Peer::of(&connection.info, &hcm.config),
            life_ends: hcm.config.timeouts.life(&hcm.worker.rng).map(|d| connection.info.start + d),
            info: connection.info,
            drain: connection.drain,
            drain_watched: false,
            streams: Vec::new(),
            spare: Vec::new(),
            next_due: None,
            idle_since: now,
            requests: 0,
            resets: PrematureResets::default(),
            goodbye: Goodbye::default(),
            pings: Pings::new(hcm.config.http2.keepalive, &hcm.worker.rng, now),
            life,
            hcm,
        }
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<()> {
        if !self.drain_watched {
            self.drain_watched = true;
            self.drain.register(task.waker());
        }
        let mut now = self.hcm.worker.clock.read();
        while !self.turn(task, now) {
            self.deadline.set(self.due());
            if self.deadline.poll(task, now).is_pending() {
                return Poll::Pending;
            }
            now = self.hcm.worker.clock.read();
            self.expire(now);
        }
        self.link.count();
        self.drain.unregister(task.waker());
        Poll::Ready(())
    }

    /// Moves everything that can move. True when the connection is over.
    fn turn(&mut self, task: &mut Context<'_>, now: Time) -> bool {
        loop {
            if self.goodbye.is_final() {
                self.link.count();
                return self.poll_closing(task, now);
            }
            let mut moved = self.take_input(task, now);
            if let Poll::Ready(more) = self.read(task, now) {
                if !more {
                    return true;
                }
                moved = true;
            }
            moved |= self.poll_streams(now);
            self.say_goodbye(now);
            let was_full = self.link.is_full();
            let flushed = self.link.poll_flush(task);
            if matches!(flushed, Poll::Ready(Err(_))) {
                self.leave(now);
                return true;
            }
            if was_full && !self.link.is_full() {
                moved = true;
            }
            let room = !self.link.is_full();
            for stream in self.streams.iter_mut().filter(|s| room && s.side.held_back) {
                stream.side.held_back = false;
                stream.want();
                moved = true;
            }
            self.link.count();
            if !moved && !self.goodbye.is_final() {
                return false;
            }
        }
    }

    /// Reads while the client reads, too. Ready with false when the client has gone.
    fn read(&mut self, task: &mut Context<'_>, now: Time) -> Poll<bool> {
        if self.link.input.as_ref().is_some_and(|b| b.room() == 0 && b.len() == b.capacity()) {
            return Poll::Pending;
        }
        match self.link.poll_read(task, now) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(n)) if n > 0 => Poll::Ready(true),
            Poll::Ready(_) => {
                if let Some(id) = self.link.codec.unfinished_head() {
                    self.never_was(task, id, ResponseFlags::DC, "downstream_remote_disconnect", now);
                }
                self.leave(now);
                Poll::Ready(false)
            }
        }
    }

    /// Throws away what has come so far: Envoy has read it already when it finds the fault.
    fn discard_input(&mut self, task: &mut Context<'_>, now: Time) {
        let mut left = self.hcm.config.buffer_limit;
        while let Poll::Ready(Ok(bytes @ 1..)) = self.link.poll_read(task, now) {
            left = left.saturating_sub(bytes);
            if left == 0 {
                break;
            }
            if let Some(input) = self.link.input.take() {
                self.hcm.worker.bufs.put(input);
            }
        }
    }

    /// Hands on what has been read. True if there was any.
    fn take_input(&mut self, task: &mut Context<'_>, now: Time) -> bool {
        let Some(mut input) = self.link.input.take() else { return false };
        let mut moved = false;
        loop {
            match self.link.codec.receive(input.filled()) {
                Ok((taken, event)) => {
                    moved |= taken > 0;
                    let more = event.is_some();
                    if let Some(event) = event {
                        self.happened(task, event, input.filled(), now);
                        if self.link.codec.options().as_envoy {
                            // Each frame has gone on its way before the next one can spoil it.
                            self.poll_streams(now);
                        }
                    }
                    input.consume(taken);
                    if !more || self.goodbye.is_final() {
                        break;
                    }
                }
                Err(fault) => {
                    self.failed(task, fault, now);
                    moved = true;
                    break;
                }
            }
        }
        self.link.queue_output();
        if input.is_empty() || self.goodbye.is_final() {
            self.hcm.worker.bufs.put(input);
        } else {
            self.link.input = Some(input);
        }
        moved
    }

    fn happened(&mut self, task: &mut Context<'_>, event: Event, input: &[u8], now: Time) {
        match event {
            Event::Head { stream, end } => self.begin(task, stream, end, now),
            Event::Informational { .. } => {}
            Event::Trailers { stream } => {
                let mut trailers = self.hcm.worker.take_headers();
                self.link.codec.take_head(&mut trailers);
                if let Some(at) = self.find(stream) {
                    self.streams[at].side.receive_trailers(trailers);
                    self.streams[at].want();
                }
            }
            Event::Data { stream, payload, end } => {
                let bytes = &input[payload];
                match self.find(stream) {
                    Some(at) => {
                        self.streams[at].side.receive(&self.link, bytes, end);
                        self.streams[at].want();
                    }
                    None => self.link.codec.release(stream, bytes.len()),
                }
            }
            Event::End { stream, how } => self.ended(task, stream, how, now),
            Event::Window { stream: 0 } => self.streams.iter().filter(|s| s.side.has_output()).for_each(|s| s.want()),
            Event::Window { stream } => {
                if let Some(at) = self.find(stream) {
                    self.streams[at].want();
                }
            }
            Event::Pong => self.pings.answered(),
            // A client that says goodbye begins no more streams. Envoy waits for it to close all the same.
            Event::Goaway { .. } if self.link.codec.options().as_envoy => {}
            Event::Goaway { .. } => self.goodbye.peer_leaves(),
        }
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.side.id).ok()
    }

    /// A stream with an exchange of its own.
    fn open(&mut self, task: &Context<'_>, id: u32, now: Time) -> Box<Stream> {
        self.requests += 1;
        self.hcm.count_request(Protocol::Http2);
        // A stream that was used before has an exchange of this connection.
        let spare = self.spare.pop();
        let mut stream = spare.unwrap_or_else(|| Stream::new(self.hcm.take_exchange(&self.info), task.waker()));
        stream.exchange.cx.info.start = now;
        stream.exchange.cx.info.protocol = Protocol::Http2;
        stream.side.id = id;
        stream
    }

    /// A request has come.
    fn begin(&mut self, task: &Context<'_>, id: u32, end: bool, now: Time) {
        let mut stream = self.open(task, id, now);
        self.hcm.http2_stats.gauge_add(self.hcm.worker.lane, http2_stat::STREAMS_ACTIVE, 1);
        let max = self.hcm.config.max_requests_per_connection;
        if max > 0 && self.requests >= max && !self.goodbye.has_begun() {
            self.count(stat::DOWNSTREAM_CX_MAX_REQUESTS_REACHED);
            self.start_drain(now);
        }
        let cx = &mut stream.exchange.cx;
        self.link.codec.take_head(&mut cx.request);
        if upgrade::is_extended_connect(&cx.request) {
            upgrade::request_from_http2(&mut cx.request);
            stream.side.upgrading = true;
        }
        let cx = &mut stream.exchange.cx;
        cx.info.downstream.headers_received = cx.request.byte_size() as u64;
        if end {
            stream.side.end_request();
        }
        if !self.hcm.config.proxy_100_continue && stream.exchange.cx.request.get(Known::Expect).is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue")) {
            self.go_on(id);
        }
        let refused = admit(&mut stream.exchange.cx, &mut stream.exchange.scope, &self.hcm, &self.peer, None);
        stream.side.quota = TURN_BYTES;
        if stream.side.upgrading && refused.as_ref().is_some_and(|reply| reply.details == "upgrade_failed") {
            // On HTTP/1 the connection is of no more use, and Envoy makes no difference.
            self.start_drain(now);
        }
        let Stream { exchange, side, .. } = &mut *stream;
        exchange.begin(&self.hcm, &mut Client { link: &mut self.link, side }, end, refused, now);
        stream.want();
        self.streams.push(stream);
    }

    /// Says that the body of a request may come.
    fn go_on(&mut self, id: u32) {
        let mut head = self.hcm.worker.take_headers();
        head.set_status(100);
        self.hcm.count_status(100);
        self.link.codec.respond(id, &head, false);
        self.link.queue_output();
        self.hcm.worker.put_headers(head);
    }

    /// A stream has ended before its time.
    fn ended(&mut self, task: &Context<'_>, id: u32, how: StreamEnd, now: Time) {
        let complete = |at: usize| self.streams[at].side.has_request();
        let (flags, details) = match how {
            // Nothing went wrong, and yet nobody waits for the answer.
            StreamEnd::Reset(ErrorCode::NO_ERROR) if self.find(id).is_some_and(complete) => (ResponseFlags::NONE, ""),
            StreamEnd::Reset(ErrorCode::PROTOCOL_ERROR) | StreamEnd::WrongLength | StreamEnd::WindowOverflow => (ResponseFlags::DPE, "http2.remote_reset"),
            StreamEnd::Reset(ErrorCode::REFUSED_STREAM) => (ResponseFlags::DR, "http2.remote_refuse"),
            StreamEnd::Reset(_) => (ResponseFlags::DR, "http2.remote_reset"),
            StreamEnd::Flawed(flaw) if flaw.is_violation() => (ResponseFlags::DPE, flaw.details()),
            StreamEnd::Flawed(flaw) => (ResponseFlags::DR, flaw.details()),
        };
        match self.find(id) {
            Some(at) => self.cut(at, flags, details, now),
            None if matches!(how, StreamEnd::Flawed(_)) => self.never_was(task, id, flags, details, now),
            None => {}
        }
    }

    /// A request whose head could not be read: an exchange without one, as Envoy logs it.
    fn never_was(&mut self, task: &Context<'_>, id: u32, flags: ResponseFlags, details: impl Into<Cow<'static, str>>, now: Time) {
        let mut stream = self.open(task, id, now);
        stream.exchange.cx.request.clear();
        self.hcm.http2_stats.gauge_add(self.hcm.worker.lane, http2_stat::STREAMS_ACTIVE, 1);
        stream.exchange.cut_off(&self.hcm, flags, details.into());
        self.retire(stream, true, now);
    }

    /// Ends the exchange of a stream that the codec has ended.
    fn cut(&mut self, at: usize, flags: ResponseFlags, details: impl Into<Cow<'static, str>>, now: Time) {
        let mut stream = self.streams.remove(at);
        stream.note_unread();
        stream.exchange.cut_off(&self.hcm, flags, details.into());
        self.retire(stream, true, now);
    }

    /// Logs an exchange and lets go of its stream.
    fn retire(&mut self, mut stream: Box<Stream>, by_client: bool, now: Time) {
        let lifetime = now.since(stream.exchange.cx.info.start);
        let runtime = self.hcm.worker.runtime.values();
        let too_many = self.resets.closed(by_client, lifetime, &runtime);
        drop(runtime);
        let info = &mut stream.exchange.cx.info;
        info.downstream.received = info.downstream.headers_received + stream.side.received;
        info.downstream.sent = stream.side.sent;
        stream.exchange.finish(&self.hcm, now);
        stream.clear(&mut self.link);
        self.spare.push(stream);
        let kept = if self.streams.is_empty() { IDLE_SPARE_STREAMS } else { SPARE_STREAMS };
        self.keep_spare(kept);
        self.hcm.http2_stats.gauge_add(self.hcm.worker.lane, http2_stat::STREAMS_ACTIVE, -1);
        self.idle_since = now;
        if too_many && !self.goodbye.is_final() {
            self.count(stat::DOWNSTREAM_RQ_TOO_MANY_PREMATURE_RESETS);
            self.abandon(ResponseFlags::DR, "too_many_premature_resets", now);
            self.link.out.clear();
            self.goodbye.at_once();
        }
    }

    /// Keeps no more than so many spare streams.
    fn keep_spare(&mut self, kept: usize) {
        self.spare.drain(kept.min(self.spare.len())..).for_each(|stream| self.hcm.put_exchange(stream.exchange));
    }

    /// Polls the streams that want it. True if any did.
    fn poll_streams(&mut self, now: Time) -> bool {
        let mut moved = false;
        let mut at = 0;
        while at < self.streams.len() {
            if !self.streams[at].take_wanted() {
                at += 1;
                continue;
            }
            moved = true;
            let Stream { exchange, side, waker, due, .. } = &mut *self.streams[at];
            side.quota = TURN_BYTES;
            let mut client = Client { link: &mut self.link, side };
            match exchange.poll(&mut Context::from_waker(waker), &self.hcm, &mut client, now) {
                Poll::Pending => {
                    *due = exchange.deadline(&self.hcm);
                    self.next_due = Time::first([self.next_due, *due]);
                    at += 1;
                }
                Poll::Ready(outcome) => {
                    let stream = self.streams.remove(at);
                    self.over(stream, outcome, now);
                }
            }
            if self.goodbye.is_final() {
                break;
            }
        }
        moved
    }

    fn over(&mut self, stream: Box<Stream>, outcome: Outcome, now: Time) {
        let id = stream.side.id;
        match outcome {
            Outcome::Done { request_complete: true } => {}
            Outcome::Done { .. } => {
                self.count(stat::DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE);
                self.count(stat::DOWNSTREAM_RQ_RX_RESET);
                self.link.codec.disregard(id);
            }
            Outcome::Cut => {
                self.count(stat::DOWNSTREAM_RQ_RX_RESET);
                self.count(stat::DOWNSTREAM_RQ_TX_RESET);
                let tunnel = stream.side.upgrading || stream.exchange.cx.request.is_connect();
                self.link.codec.reset(id, if tunnel { ErrorCode::CONNECT_ERROR } else { ErrorCode::INTERNAL_ERROR });
            }
            Outcome::Untaken => self.link.codec.reset(id, ErrorCode::INTERNAL_ERROR),
            Outcome::Gone => {}
        }
        self.link.queue_output();
        self.retire(stream, false, now);
    }

    /// The client has gone, in the middle of whatever was going on.
    fn leave(&mut self, now: Time) {
        self.life.remote_close = true;
        if !self.streams.is_empty() {
            self.count(stat::DOWNSTREAM_CX_DESTROY_REMOTE_ACTIVE_RQ);
            self.count(stat::DOWNSTREAM_CX_DESTROY_ACTIVE_RQ);
        }
        self.abandon(ResponseFlags::DC, "downstream_remote_disconnect", now);
    }

    /// Ends all exchanges: nobody is left to answer.
    fn abandon(&mut self, flags: ResponseFlags, details: &'static str, now: Time) {
        while let Some(mut stream) = self.streams.pop() {
            stream.exchange.cut_off(&self.hcm, flags, details.into());
            self.retire(stream, true, now);
        }
    }

    /// The client broke the protocol, or floods us.
    fn failed(&mut self, task: &mut Context<'_>, fault: Fault, now: Time) {
        if fault.stat().is_none() {
            // Floods are counted by themselves.
            self.count(stat::DOWNSTREAM_CX_PROTOCOL_ERROR);
        }
        if let Fault::Messaging { stream, flaw } = fault {
            self.ended(task, stream, StreamEnd::Flawed(flaw), now);
        }
        if !self.streams.is_empty() {
            self.count(stat::DOWNSTREAM_CX_DESTROY_LOCAL_ACTIVE_RQ);
            self.count(stat::DOWNSTREAM_CX_DESTROY_ACTIVE_RQ);
        }
        if let (Some(id), false) = (self.link.codec.unfinished_head(), matches!(fault, Fault::Messaging { .. })) {
            let details = self.link.codec.details(fault, id);
            self.never_was(task, id, ResponseFlags::DPE, details, now);
        }
        while let Some(mut stream) = self.streams.pop() {
            stream.note_unread();
            let details = self.link.codec.details(fault, stream.side.id);
            stream.exchange.cut_off(&self.hcm, ResponseFlags::DPE, details.into());
            self.retire(stream, true, now);
        }
        self.link.queue_output();
        if self.link.codec.is_speechless() {
            self.link.out.clear();
        }
        if self.link.codec.options().as_envoy {
            self.discard_input(task, now);
        }
        let delay = self.hcm.config.timeouts.delayed_close;
        self.goodbye.end(delay.map(|d| now + d));
    }

    /// When something is due: a stream, or the connection itself.
    fn due(&self) -> Option<Time> {
        let t = &self.hcm.config.timeouts;
        let idle = t.idle.filter(|_| self.streams.is_empty() && !self.goodbye.has_begun()).map(|d| self.idle_since + d);
        let spare = self.streams.is_empty() && !self.spare.is_empty() && !self.goodbye.has_begun();
        let spare = spare.then(|| self.idle_since + IDLE);
        let life = self.life_ends.filter(|_| !self.goodbye.has_begun());
        let pings = if self.goodbye.is_final() { None } else { self.pings.due() };
        Time::first([self.next_due, idle, spare, life, self.goodbye.due(), pings])
    }

    /// Acts on what is due.
    fn expire(&mut self, now: Time) {
        self.expire_streams(now);
        if self.streams.is_empty() && self.idle_since + IDLE <= now {
            self.keep_spare(0);
        }
        let t = self.hcm.config.timeouts;
        if !self.goodbye.has_begun() {
            if self.streams.is_empty() && t.idle.is_some_and(|d| self.idle_since + d <= now) {
                self.count(stat::DOWNSTREAM_CX_IDLE_TIMEOUT);
                self.start_drain(now);
            }
            if self.life_ends.is_some_and(|at| at <= now) {
                self.count(stat::DOWNSTREAM_CX_MAX_DURATION_REACHED);
                self.start_drain(now);
            }
        }
        if self.goodbye.is_final() {
            return;
        }
        match self.pings.expire(&self.hcm.worker.rng, now) {
            PingDue::Nothing => {}
            PingDue::Ping(payload) => {
                self.link.codec.ping(&payload);
                self.link.queue_output();
            }
            PingDue::Dead => {
                self.hcm.http2_stats.inc(self.hcm.worker.lane, http2_stat::KEEPALIVE_TIMEOUT);
                self.abandon(ResponseFlags::DC, "downstream_local_disconnect", now);
                self.link.out.clear();
                self.goodbye.at_once();
            }
        }
    }

    fn expire_streams(&mut self, now: Time) {
        if self.next_due.is_none_or(|at| at > now) {
            return;
        }
        let mut next = None;
        for stream in &mut self.streams {
            if stream.due.is_some_and(|at| at <= now) {
                let Stream { exchange, side, .. } = &mut **stream;
                side.quota = TURN_BYTES;
                exchange.expire(&self.hcm, &mut Client { link: &mut self.link, side }, now);
                stream.want();
            } else {
                next = Time::first([next, stream.due]);
            }
        }
        self.next_due = next;
    }

    fn count(&self, id: nuncio_stats::CounterId) {
        self.hcm.stats.inc(self.hcm.worker.lane, id);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A task that is dropped in the middle of things (shutdown) leaves no exchange unlogged.
        self.abandon(ResponseFlags::DC, "downstream_local_disconnect", Time::now());
    }
}
