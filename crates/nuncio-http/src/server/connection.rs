//! The life of a downstream HTTP/1 connection: waiting for a request, exchanging, closing.

use super::h1::{H1, Headway};
use super::life::Life;
use crate::config::CodecType;
use crate::hcm::HcmWorker;
use crate::headers::request::Peer;
use crate::stream::{ClientSide, Exchange, Outcome, admit};
use nuncio_codec::headers::HeaderMap;
use nuncio_codec::http1::RequestHead;
use nuncio_core::{ConnInfo, Connection, DrainSignal, LocalReply, Protocol, ResponseFlags};
use nuncio_rt::{Deadline, Time};
use nuncio_stats::tables::http_connection_manager as stat;
use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
};

/// Serves a connection to its end, or until it turns out to speak HTTP/2.
pub(super) async fn serve(hcm: Rc<HcmWorker>, connection: Connection, life: Life) -> Option<(Connection, Life)> {
    let buffer_limit_bytes = connection.buffer_limit_bytes;
    let mut served = Served::new(hcm, connection, life);
    poll_fn(|task| served.poll(task)).await;
    if !served.is_http2 {
        return None;
    }
    let Served { h1, info, drain, life, .. } = served;
    let (io, first) = h1.into_parts();
    Some((Connection { io, first, info, drain, buffer_limit_bytes }, life))
}

enum State {
    /// No byte of a request is here.
    Idle,
    /// Part of a head is here.
    Head(Box<Exchange>),
    /// A request is being answered.
    Exchange(Box<Exchange>),
    /// Everything has been said: flush, and where the client may still be sending, give it until then to read.
    Closing(Option<Time>),
}

struct Served {
    hcm: Rc<HcmWorker>,
    info: Rc<ConnInfo>,
    drain: DrainSignal,
    peer: Peer,
    h1: H1,
    state: State,
    deadline: Deadline,
    /// Since when nothing has been going on.
    idle_since: Time,
    requests: u32,
    /// When the connection has lived long enough, until that has been acted upon.
    life_ends: Option<Time>,
    /// Draining: until when the client has time to close.
    parts_at: Option<Time>,
    drain_watched: bool,
    /// The first bytes were those of HTTP/2: somebody else goes on.
    is_http2: bool,
    life: Life,
}

impl Served {
    fn new(hcm: Rc<HcmWorker>, connection: Connection, life: Life) -> Served {
        Served {
            deadline: Deadline::new(hcm.worker.timers.clone()),
            h1: H1::new(hcm.clone(), connection.io, connection.first),
            peer: Peer::of(&connection.info, &hcm.config),
            life_ends: hcm.config.timeouts.life(&hcm.worker.rng).map(|d| connection.info.start + d),
            info: connection.info,
            drain: connection.drain,
            state: State::Idle,
            idle_since: Time::now(),
            requests: 0,
            parts_at: None,
            drain_watched: false,
            is_http2: false,
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
        loop {
            let next = match std::mem::replace(&mut self.state, State::Idle) {
                State::Idle => self.poll_idle(task, now),
                State::Head(exchange) => self.poll_head(task, exchange, now),
                State::Exchange(exchange) => self.poll_exchange(task, exchange, now),
                State::Closing(until) => self.poll_closing(task, until, now),
            };
            match next {
                Step::Go(state) => self.state = state,
                Step::Stay(state, due) => {
                    self.state = state;
                    self.deadline.set(due);
                    if self.deadline.poll(task, now).is_pending() {
                        return Poll::Pending;
                    }
                    now = self.hcm.worker.clock.read();
                    if self.expired(now) {
                        self.drain.unregister(task.waker());
                        return Poll::Ready(());
                    }
                }
                Step::End => {
                    self.drain.unregister(task.waker());
                    return Poll::Ready(());
                }
            }
        }
    }

    /// When an idle connection closes while draining: at once, but a client that has just connected gets the moment
    /// that its first request may need to arrive.
    fn drained_at(&self, now: Time) -> Time {
        const FIRST_REQUEST: std::time::Duration = std::time::Duration::from_millis(250);
        if self.requests == 0 { self.info.start + FIRST_REQUEST } else { now }
    }

    fn poll_idle(&mut self, task: &mut Context<'_>, now: Time) -> Step {
        // A request that has arrived is answered, drain or not: look before closing.
        match self.h1.poll_input(task) {
            Poll::Ready(Ok(true)) => {
                if self.requests == 0 && self.hcm.config.codec == CodecType::Auto {
                    match self.h1.begins_http2() {
                        Some(true) => {
                            self.is_http2 = true;
                            return Step::End;
                        }
                        Some(false) => {}
                        None => match self.h1.poll_more(task) {
                            Poll::Ready(Ok(n)) if n > 0 => return Step::Go(State::Idle),
                            Poll::Ready(_) => {
                                self.life.remote_close = true;
                                return Step::End;
                            }
                            Poll::Pending => return Step::Stay(State::Idle, self.hcm.config.timeouts.idle.map(|d| self.idle_since + d)),
                        },
                    }
                }
                let mut exchange = self.hcm.take_exchange(&self.info);
                exchange.cx.info.start = now;
                Step::Go(State::Head(exchange))
            }
            Poll::Ready(Ok(false) | Err(_)) => {
                self.life.remote_close = true;
                Step::End
            }
            Poll::Pending => {
                let drained = self.drain.is_closing().then(|| self.drained_at(now));
                if drained.is_some_and(|at| at <= now) {
                    if self.parts_at.is_none() {
                        self.count(stat::DOWNSTREAM_CX_DRAIN_CLOSE);
                    }
                    return Step::Go(State::Closing(None));
                }
                let idle = self.hcm.config.timeouts.idle.map(|d| self.idle_since + d);
                Step::Stay(State::Idle, Time::first([idle, self.life_ends, drained, self.parts_at]))
            }
        }
    }

    fn poll_head(&mut self, task: &mut Context<'_>, mut exchange: Box<Exchange>, now: Time) -> Step {
        match self.h1.poll_head(task, &mut exchange.cx.request) {
            Poll::Pending => {
                let t = &self.hcm.config.timeouts;
                let head = t.request_headers.map(|d| exchange.cx.info.start + d);
                let whole = t.request.map(|d| exchange.cx.info.start + d);
                let idle = t.stream_idle.map(|d| now + d);
                Step::Stay(State::Head(exchange), Time::first([head, whole, idle, self.life_ends]))
            }
            Poll::Ready(Err(_)) | Poll::Ready(Ok(Ok(Headway::End))) => {
                self.left_in_head(exchange, now);
                Step::End
            }
            Poll::Ready(Ok(Ok(Headway::Head(head)))) => self.begin(exchange, head, now),
            Poll::Ready(Ok(Err(violation))) => {
                let reply = self.h1.violated(violation);
                self.refuse(exchange, reply, now)
            }
        }
    }

    /// Answers a request whose head could not be read.
    fn refuse(&mut self, mut exchange: Box<Exchange>, reply: Box<LocalReply>, now: Time) -> Step {
        // Nothing of a head that could not be read is shown anywhere.
        exchange.cx.request.clear();
        self.request_begun(&mut exchange);
        self.h1.speak_as_the_head();
        exchange.begin(&self.hcm, &mut self.h1, true, Some(reply), now);
        Step::Go(State::Exchange(exchange))
    }

    /// The client has gone in the middle of a head: an exchange without a request, as Envoy logs it.
    fn left_in_head(&mut self, mut exchange: Box<Exchange>, now: Time) {
        self.life.remote_close = true;
        exchange.cx.request.clear();
        self.request_begun(&mut exchange);
        self.count(stat::DOWNSTREAM_RQ_RX_RESET);
        self.count(stat::DOWNSTREAM_CX_DESTROY_REMOTE_ACTIVE_RQ);
        self.count(stat::DOWNSTREAM_CX_DESTROY_ACTIVE_RQ);
        exchange.cx.info.flags.set(ResponseFlags::DC);
        exchange.cx.info.details = "downstream_remote_disconnect".into();
        exchange.finish(&self.hcm, now);
        self.hcm.put_exchange(exchange);
    }

    fn request_begun(&mut self, exchange: &mut Exchange) {
        self.requests += 1;
        if self.requests == 1 {
            self.hcm.open_http1_stats();
            self.life.speaks(Protocol::Http11);
        }
        self.hcm.count_request(self.h1.protocol());
        exchange.cx.info.protocol = self.h1.protocol();
        let max = self.hcm.config.max_requests_per_connection;
        if max > 0 && self.requests >= max {
            self.count(stat::DOWNSTREAM_CX_MAX_REQUESTS_REACHED);
            self.h1.take_no_more();
        }
        if self.life.ends_with_response() {
            self.h1.take_no_more();
        }
    }

    fn begin(&mut self, mut exchange: Box<Exchange>, head: RequestHead, now: Time) -> Step {
        self.request_begun(&mut exchange);
        exchange.cx.info.downstream.headers_received = header_bytes(&exchange.cx.request, head.consumed);
        exchange.cx.info.downstream.received = head.consumed as u64;
        self.consider_draining(now);
        if head.expect_continue && !self.hcm.config.proxy_100_continue {
            self.h1.send_continue();
        }
        let default_host = self.hcm.config.default_host_for_http_10.as_deref();
        let default_host = default_host.filter(|_| exchange.cx.info.protocol == nuncio_core::Protocol::Http10);
        let refused = admit(&mut exchange.cx, &mut exchange.scope, &self.hcm, &self.peer, default_host);
        exchange.begin(&self.hcm, &mut self.h1, head.end_stream(), refused, now);
        if exchange.is_answered() && self.hcm.config.http1.strictness.is_parity() {
            // Envoy takes such a request for one that is still coming in.
            self.h1.linger |= !head.keep_alive;
        }
        Step::Go(State::Exchange(exchange))
    }

    /// A draining connection's responses ask for its close. The client gets a while to go first, so that a request which
    /// crosses such a response on its way is still answered; once draining has fully begun it gets none.
    fn consider_draining(&mut self, now: Time) {
        if self.parts_at.is_none() && self.drain.is_draining() {
            self.count(stat::DOWNSTREAM_CX_DRAIN_CLOSE);
            self.part(now);
        }
        self.h1.closing |= self.drain.is_closing();
    }

    fn part(&mut self, now: Time) {
        self.parts_at = Some(now + self.hcm.config.timeouts.drain_time(&self.hcm.worker.rng));
        self.h1.parting = true;
    }

    /// The connection has lived long enough: responses ask for its close from now on, or the next one does.
    fn lived_long(&mut self, now: Time) {
        self.count(stat::DOWNSTREAM_CX_MAX_DURATION_REACHED);
        self.life_ends = None;
        if self.hcm.config.timeouts.http1_ends_with_response {
            self.life.end_with_response();
        } else if self.parts_at.is_none() {
            self.part(now);
        }
    }

    fn poll_exchange(&mut self, task: &mut Context<'_>, mut exchange: Box<Exchange>, now: Time) -> Step {
        if self.drain.is_closing() && !self.h1.closing {
            // Draining began while the request was under way: the response may still say so.
            self.consider_draining(now);
        }
        let outcome = match exchange.poll(task, &self.hcm, &mut self.h1, now) {
            Poll::Pending => {
                let due = Time::first([exchange.deadline(&self.hcm), self.life_ends]);
                return Step::Stay(State::Exchange(exchange), due);
            }
            Poll::Ready(outcome) => outcome,
        };
        let sent_whole_request = matches!(outcome, Outcome::Done { request_complete: true }) && !self.h1.broken;
        exchange.cx.info.downstream.received += self.h1.body_received;
        exchange.cx.info.downstream.sent = self.h1.sent;
        exchange.finish(&self.hcm, now);
        self.hcm.put_exchange(exchange);
        self.idle_since = now;
        match outcome {
            Outcome::Done { .. } if sent_whole_request && !self.h1.closing && !self.h1.client_closes() => Step::Go(State::Idle),
            Outcome::Done { .. } => {
                if !sent_whole_request {
                    // What is left of the request is cut off.
                    self.count(stat::DOWNSTREAM_RQ_RX_RESET);
                }
                let delay = self.hcm.config.timeouts.delayed_close.filter(|_| self.h1.linger || !(sent_whole_request && self.h1.client_closes()));
                Step::Go(State::Closing(delay.map(|d| now + d)))
            }
            Outcome::Cut if self.h1.broken => {
                self.count(stat::DOWNSTREAM_RQ_RX_RESET);
                self.count(stat::DOWNSTREAM_CX_DESTROY_LOCAL_ACTIVE_RQ);
                self.count(stat::DOWNSTREAM_CX_DESTROY_ACTIVE_RQ);
                Step::Go(self.closing(now))
            }
            Outcome::Cut => {
                self.count(stat::DOWNSTREAM_RQ_RX_RESET);
                self.count(stat::DOWNSTREAM_RQ_TX_RESET);
                Step::Go(self.closing(now))
            }
            Outcome::Untaken => Step::Go(self.closing(now)),
            Outcome::Gone => {
                self.life.remote_close = true;
                self.count(stat::DOWNSTREAM_CX_DESTROY_REMOTE_ACTIVE_RQ);
                self.count(stat::DOWNSTREAM_CX_DESTROY_ACTIVE_RQ);
                Step::End
            }
        }
    }

    /// Flushes, then closes; while waiting, whatever the client still sends is thrown away.
    fn poll_closing(&mut self, task: &mut Context<'_>, until: Option<Time>, now: Time) -> Step {
        match self.h1.poll_flush(task) {
            Poll::Ready(Err(_)) => return Step::End,
            Poll::Pending => {
                let patience = until.unwrap_or(now) + std::time::Duration::from_secs(1);
                return Step::Stay(State::Closing(until), Some(patience));
            }
            Poll::Ready(Ok(())) => {}
        }
        let Some(due) = until else {
            return match self.h1.io.poll_shutdown(task) {
                Poll::Pending => Step::Stay(State::Closing(until), None),
                Poll::Ready(_) => Step::End,
            };
        };
        match self.h1.poll_discard(task) {
            Poll::Ready(()) => {
                self.life.remote_close = true;
                Step::End
            }
            Poll::Pending => Step::Stay(State::Closing(until), Some(due)),
        }
    }

    /// A deadline has passed; true if the connection ends with it.
    fn expired(&mut self, now: Time) -> bool {
        if self.life_ends.is_some_and(|at| at <= now) && !matches!(self.state, State::Closing(_)) {
            self.lived_long(now);
            if self.requests == 0 && matches!(self.state, State::Idle) {
                self.state = State::Closing(None);
            }
            return false;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle if self.parts_at.is_some_and(|at| at <= now) => {
                self.state = self.closing(now);
                false
            }
            State::Idle if self.drain.is_closing() => {
                if self.parts_at.is_none() {
                    self.count(stat::DOWNSTREAM_CX_DRAIN_CLOSE);
                }
                self.state = State::Closing(None);
                false
            }
            State::Idle => {
                self.count(stat::DOWNSTREAM_CX_IDLE_TIMEOUT);
                self.state = self.closing(now);
                false
            }
            State::Head(exchange) => {
                let t = &self.hcm.config.timeouts;
                let start = exchange.cx.info.start;
                let (counter, reply) = if t.request_headers.is_some_and(|d| start + d <= now) {
                    (stat::DOWNSTREAM_RQ_HEADER_TIMEOUT, LocalReply::new(408, "request_header_timeout").body("request header timeout"))
                } else {
                    (stat::DOWNSTREAM_RQ_TIMEOUT, LocalReply::new(408, "request_overall_timeout").body("request timeout"))
                };
                self.count(counter);
                self.h1.broken = true;
                self.h1.closing = true;
                if let Step::Go(state) = self.refuse(exchange, Box::new(reply), now) {
                    self.state = state;
                }
                false
            }
            State::Exchange(mut exchange) => {
                exchange.expire(&self.hcm, &mut self.h1, now);
                self.state = State::Exchange(exchange);
                false
            }
            State::Closing(_) => {
                self.count(stat::DOWNSTREAM_CX_DELAYED_CLOSE_TIMEOUT);
                true
            }
        }
    }

    /// Closing, with the time that a client is given to go first.
    fn closing(&self, now: Time) -> State {
        State::Closing(self.hcm.config.timeouts.delayed_close.map(|d| now + d))
    }

    fn count(&self, id: nuncio_stats::CounterId) {
        self.hcm.stats.inc(self.hcm.worker.lane, id);
    }
}

/// Bytes of a head's header lines as Envoy counts received ones: three beside name and value.
fn header_bytes(head: &HeaderMap, consumed: usize) -> u64 {
    let start_line = head.method().map_or(0, <[u8]>::len) + head.path().map_or(0, <[u8]>::len) + " HTTP/1.1\r\n ".len();
    consumed.saturating_sub(start_line + "\r\n".len() + head.len().saturating_sub(2)) as u64
}

/// Where a poll leads.
enum Step {
    /// On, in this state.
    Go(State),
    /// Wait in this state, at most until then.
    Stay(State, Option<Time>),
    /// The connection is over.
    End,
}
