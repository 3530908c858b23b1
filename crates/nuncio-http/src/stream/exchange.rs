//! Drives one exchange: client, filters, router, timers.
//!
//! One call of [`Exchange::poll`] moves everything that can move, writes once per direction, and leaves wakers
//! with whatever it waits for. It reads from a peer only while the other side keeps up: that is all the
//! back-pressure there is. It knows no protocol: [`ClientSide`] is the client's connection or stream.

use super::engine::{Dir, Ends, Engine, Piece, Verdict};
use super::admit::{note_cluster, resolve};
use super::{admit, duration, redirect, reply, upgrade};
use super::routes::Routes;
use crate::headers::response;
use crate::hcm::HcmWorker;
use crate::tracing;
use crate::router::{Event, Router};
use crate::routes::{Action, BufferLimit, RouteEntry, finalize_response, is_grpc};
use nuncio_core::format::LogMoment;
use nuncio_core::{LocalReply, Protocol, ResponseFlags, StreamCx, StreamInfo};
use nuncio_rt::{BUF_BYTES, Buf, Time};
use nuncio_stats::tables::{http_connection_manager as stat, http2::TX_FLUSH_TIMEOUT, router::RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED};
use std::{
    borrow::Cow,
    rc::Rc,
    task::{Context, Poll},
};

/// gRPC's status of a stream that took too long.
const DEADLINE_EXCEEDED: u32 = 4;
/// Filters that may put another answer in the place of one, one after the other; then the stream is cut off.
const MAX_ANSWERS: u8 = 32;

/// What the client's side has to tell.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    /// Request body.
    Data { bytes: Buf, end: bool },
    /// Request trailers are in `cx.request_trailers`.
    Trailers,
    /// The client broke the protocol: the answer to it.
    Violation(Box<LocalReply>),
    /// The client has gone.
    Gone,
}

/// The client's side of one exchange.
pub(crate) trait ClientSide {
    /// The next piece of the request, or of what becomes of the client. Once the request has ended this only
    /// watches for the client's leaving.
    fn poll_request(&mut self, task: &mut Context<'_>, cx: &mut StreamCx) -> Poll<ClientEvent>;
    /// Sends an informational head (`cx.response`).
    fn informational(&mut self, cx: &StreamCx);
    /// Sends the response's head (`cx.response`), framed for what follows.
    fn head(&mut self, cx: &mut StreamCx, end: bool);
    /// Sends response body.
    fn data(&mut self, bytes: Buf, end: bool);
    /// Sends response trailers.
    fn trailers(&mut self, cx: &StreamCx);
    /// Writes what waits. Ready when nothing waits any more.
    fn poll_flush(&mut self, task: &mut Context<'_>) -> Poll<std::io::Result<()>>;
    /// Bytes that wait to be written.
    fn waiting(&self) -> usize;
    /// The connection shall not carry another exchange (HTTP/1).
    fn close_after(&mut self);
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Response complete; `request_complete` tells whether the connection may carry another.
    Done { request_complete: bool },
    /// The response broke off: the connection must be closed so that the client notices.
    Cut,
    /// The response is complete, and the client has not taken all of it for too long.
    Untaken,
    /// The client has gone.
    Gone,
}

/// One exchange.
pub(crate) struct Exchange {
    pub(crate) cx: StreamCx,
    /// Whose the request is, in the place of the connection's, where that goes by scopes.
    pub(crate) scope: Option<Rc<HcmWorker>>,
    engine: Engine,
    router: Router,
    request_ended: bool,
    request_closed: bool,
    head_sent: bool,
    /// Answers from here so far: a filter may replace one by another.
    answers: u8,
    response_ended: bool,
    end: Option<Outcome>,
    last_progress: Time,
    /// Redirects of upstreams that this request has followed.
    followed: redirect::Followed,
    /// When the stream has lived long enough.
    end_of_life: Option<Time>,
    /// When it is logged next, where that is done while it goes on.
    next_log: Option<Time>,
}

struct Lanes<'a, C> {
    hcm: &'a HcmWorker,
    routes: &'a Rc<Routes>,
    router: &'a mut Router,
    client: &'a mut C,
    head_sent: &'a mut bool,
    response_ended: &'a mut bool,
    refusal: Option<Box<LocalReply>>,
    now: Time,
}

impl<C: ClientSide> Ends for Lanes<'_, C> {
    fn to_upstream(&mut self, cx: &mut StreamCx, piece: Piece) {
        if self.refusal.is_none() {
            self.refusal = self.router.take(cx, self.routes, piece, self.now);
        }
    }

    fn reroute(&mut self, cx: &mut StreamCx) {
        if let Some(reply) = resolve(cx, self.routes) {
            self.refusal = Some(reply);
        }
    }

    fn to_client(&mut self, cx: &mut StreamCx, piece: Piece) {
        match piece {
            Piece::Head { end } => {
                let upgrade = cx.response.status() == Some(101) && upgrade::is_tunnel(cx);
                if let Some(tracing) = &self.hcm.config.tracing {
                    tracing::response(cx, tracing);
                }
                response::condition(cx, &self.hcm.config, &mut self.hcm.date.borrow_mut(), self.now, upgrade);
                if let Some(told) = &self.hcm.config.proxy_status {
                    told.tell(cx);
                }
                cx.info.status = cx.response.status().unwrap_or(0);
                cx.info.timings.response_first_tx.get_or_insert(self.now);
                *self.head_sent = true;
                *self.response_ended = end;
                self.client.head(cx, end);
                if self.hcm.config.log_options.on_tunnel && cx.info.upgraded && upgrade::is_tunnel(cx) {
                    self.hcm.log(cx, LogMoment::DownstreamTunnelSuccessfullyEstablished);
                }
            }
            Piece::Data { bytes, end } => {
                cx.info.bytes_sent += bytes.len() as u64;
                *self.response_ended = end;
                self.client.data(bytes, end);
            }
            Piece::Trailers => {
                *self.response_ended = true;
                self.client.trailers(cx);
            }
        }
        if *self.response_ended {
            cx.info.timings.response_last_tx = Some(self.now);
        }
    }
}

impl Exchange {
    pub(crate) fn new(cx: StreamCx) -> Exchange {
        Exchange {
            cx,
            scope: None,
            engine: Engine::default(),
            router: Router::default(),
            request_ended: false,
            request_closed: false,
            head_sent: false,
            answers: 0,
            response_ended: false,
            end: None,
            last_progress: Time::default(),
            followed: redirect::Followed::default(),
            end_of_life: None,
            next_log: None,
        }
    }

    /// Begins an exchange whose head is in `cx.request`. `refused` is an answer found before routing.
    pub(crate) fn begin<C: ClientSide>(&mut self, hcm: &HcmWorker, client: &mut C, end: bool, refused: Option<Box<LocalReply>>, now: Time) {
        let scope = self.scope.clone();
        let hcm = scope.as_deref().unwrap_or(hcm);
        let plain = || hcm.chains.of(hcm.routes.table(), self.cx.route.as_ref());
        let chain = upgrade::chain(&self.cx, hcm).unwrap_or_else(plain);
        self.cx.buffer_limit = hcm.config.buffer_limit;
        self.engine.begin(chain, hcm.config.buffer_limit);
        let entry = self.cx.route.as_ref().and_then(|route| hcm.routes.table().get(route.id));
        if let Some(BufferLimit::Body(limit)) = entry.and_then(RouteEntry::buffer_limit) {
            self.engine.allow_request_bytes(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        self.router.begin(hcm.config.buffer_limit, &hcm.config.router);
        self.request_ended = end;
        self.request_closed = false;
        self.head_sent = false;
        self.answers = 0;
        self.response_ended = false;
        self.end = None;
        self.last_progress = now;
        self.end_of_life = duration::end_of_life(&mut self.cx, hcm);
        if end {
            self.cx.info.timings.request_received = Some(now);
        }
        self.next_log = hcm.config.log_options.interval.map(|interval| now + interval);
        match refused {
            Some(reply) => {
                tracing::refused(&mut self.cx, hcm);
                self.answer(hcm, client, *reply, now);
            }
            None => {
                if hcm.config.log_options.on_new_request {
                    note_cluster(&mut self.cx, hcm);
                    hcm.log(&mut self.cx, LogMoment::DownstreamStart);
                }
                self.arrive(hcm, client, Dir::Request, Piece::Head { end }, now);
            }
        }
    }

    /// True once the whole response has been made.
    #[inline]
    pub(crate) fn is_answered(&self) -> bool {
        self.response_ended
    }

    /// Moves everything that can move.
    pub(crate) fn poll<C: ClientSide>(&mut self, task: &mut Context<'_>, hcm: &HcmWorker, client: &mut C, now: Time) -> Poll<Outcome> {
        let scope = self.scope.clone();
        let hcm = scope.as_deref().unwrap_or(hcm);
        let limit = hcm.config.buffer_limit.max(1);
        let mut client_is_quiet = false;
        loop {
            let mut moved = self.poll_filters(task, hcm, client, now);
            let sending = !(self.request_ended || self.request_closed);
            if sending {
                moved |= self.poll_client(task, hcm, client, now, limit);
            }
            if self.end.is_none() && !self.router.is_finished() {
                let may_read = client.waiting() < limit && !self.engine.is_full(Dir::Response);
                if let Poll::Ready(event) = self.router.poll(task, &mut self.cx, now, may_read) {
                    self.on_event(hcm, client, event, now);
                    moved = true;
                }
            }
            // A client whose request is here is only watched for its leaving, when there is nothing better to do. Once
            // it has nothing to say, its waker stands.
            if !sending && !moved && !client_is_quiet {
                moved = self.poll_client(task, hcm, client, now, limit);
                client_is_quiet = !moved;
            }
            if moved {
                self.last_progress = now;
            }
            if moved && client.waiting() < BUF_BYTES && self.end.is_none() {
                continue;
            }
            let before = client.waiting();
            let flushed = client.poll_flush(task);
            if client.waiting() < before {
                self.last_progress = now;
            }
            match (flushed, self.end) {
                (Poll::Ready(Err(_)), _) => return Poll::Ready(self.gone(hcm)),
                (_, Some(outcome @ (Outcome::Cut | Outcome::Untaken | Outcome::Gone))) => return Poll::Ready(outcome),
                (Poll::Ready(Ok(())), _) if self.response_ended => {
                    self.router.end();
                    let request_complete = self.request_ended;
                    return Poll::Ready(Outcome::Done { request_complete });
                }
                (Poll::Pending, _) if !moved || client.waiting() >= limit => return Poll::Pending,
                (Poll::Ready(Ok(())), _) if !moved && before < limit => return Poll::Pending,
                _ => {}
            }
        }
    }

    /// The next moment at which something is due.
    pub(crate) fn deadline(&self, hcm: &HcmWorker) -> Option<Time> {
        let hcm = self.scope.as_deref().unwrap_or(hcm);
        let t = &hcm.config.timeouts;
        let start = self.cx.info.start;
        let request = t.request.filter(|_| !self.request_ended && !self.head_sent).map(|d| start + d);
        let idle = self.idle_timeout(hcm).map(|d| self.last_progress + d);
        Time::first([request, self.end_of_life, idle, self.next_log, self.router.deadline()])
    }

    /// Acts on the connection manager's own timeouts that have passed; the router's are seen to by its poll.
    pub(crate) fn expire<C: ClientSide>(&mut self, hcm: &HcmWorker, client: &mut C, now: Time) {
        let scope = self.scope.clone();
        let hcm = scope.as_deref().unwrap_or(hcm);
        if self.next_log.is_some_and(|at| at <= now) {
            self.next_log = hcm.config.log_options.interval.map(|interval| now + interval);
            hcm.log(&mut self.cx, LogMoment::DownstreamPeriodic);
        }
        let t = &hcm.config.timeouts;
        let start = self.cx.info.start;
        let lane = self.cx.worker.lane;
        if !self.request_ended && !self.head_sent && t.request.is_some_and(|d| start + d <= now) {
            hcm.stats.inc(lane, stat::DOWNSTREAM_RQ_TIMEOUT);
            self.answer(hcm, client, LocalReply::new(408, "request_overall_timeout").body("request timeout"), now);
        } else if self.end_of_life.is_some_and(|at| at <= now) {
            hcm.stats.inc(lane, stat::DOWNSTREAM_RQ_MAX_DURATION_REACHED);
            let status = if self.request_ended { 504 } else { 408 };
            let mut reply = LocalReply::new(status, "max_duration_timeout").body("downstream duration timeout");
            reply.grpc_status = Some(DEADLINE_EXCEEDED);
            self.answer(hcm, client, reply, now);
        } else if self.idle_timeout(hcm).is_some_and(|d| self.last_progress + d <= now) {
            if self.response_ended {
                // Nothing is wrong but that nobody takes the rest of it.
                if self.cx.info.protocol == Protocol::Http2 {
                    hcm.http2_stats.inc(lane, TX_FLUSH_TIMEOUT);
                }
                self.end = Some(Outcome::Untaken);
                return;
            }
            hcm.stats.inc(lane, stat::DOWNSTREAM_RQ_IDLE_TIMEOUT);
            let status = if self.request_ended { 504 } else { 408 };
            let reply = LocalReply::new(status, "stream_idle_timeout").body("stream timeout");
            self.answer(hcm, client, reply.flags(ResponseFlags::SI), now);
        }
    }

    /// How long nothing may move; once the response has ended here, until the client has taken it.
    fn idle_timeout(&self, hcm: &HcmWorker) -> Option<std::time::Duration> {
        let entry = self.cx.route.as_ref().and_then(|r| hcm.routes.table().get(r.id));
        let action = entry.and_then(|entry| match &entry.route.action {
            Action::Forward(action) => Some(action),
            _ => None,
        });
        let told = if self.response_ended {
            action.and_then(|action| action.flush_timeout).or(hcm.config.timeouts.stream_flush)
        } else {
            action.and_then(|action| action.idle_timeout)
        };
        match told {
            Some(told) => (!told.is_zero()).then_some(told),
            None => hcm.config.timeouts.stream_idle,
        }
    }

    fn poll_filters<C: ClientSide>(&mut self, task: &mut Context<'_>, hcm: &HcmWorker, client: &mut C, now: Time) -> bool {
        if !self.engine.is_waiting() {
            return false;
        }
        let limit = hcm.config.buffer_limit.max(1);
        let room = [self.router.waiting() < limit, client.waiting() < limit];
        let (engine, mut lanes) = lanes(&mut self.engine, &mut self.router, &mut self.head_sent, &mut self.response_ended, hcm, client, now);
        let moved = engine.poll_answers(task, &mut self.cx, &mut lanes, room);
        let refusal = lanes.refusal.take();
        self.settle(hcm, client, refusal, now);
        moved
    }

    /// Takes what the client sends while there is room for it, and watches for its leaving.
    fn poll_client<C: ClientSide>(&mut self, task: &mut Context<'_>, hcm: &HcmWorker, client: &mut C, now: Time, limit: usize) -> bool {
        if self.end.is_some() || self.response_ended {
            return false;
        }
        let wanted = self.request_ended || self.request_closed || (self.router.waiting() < limit && !self.engine.is_full(Dir::Request));
        if !wanted {
            return false;
        }
        let Poll::Ready(event) = client.poll_request(task, &mut self.cx) else { return false };
        match event {
            ClientEvent::Data { bytes, end } => {
                self.cx.info.bytes_received += bytes.len() as u64;
                self.ended(end, now);
                self.arrive(hcm, client, Dir::Request, Piece::Data { bytes, end }, now);
            }
            ClientEvent::Trailers => {
                self.ended(true, now);
                self.arrive(hcm, client, Dir::Request, Piece::Trailers, now);
            }
            ClientEvent::Violation(reply) => {
                self.request_closed = true;
                // What came before the flaw has gone on its way, as on Envoy.
                let _ = self.router.poll(task, &mut self.cx, now, false);
                self.answer(hcm, client, *reply, now);
            }
            ClientEvent::Gone => {
                let _ = self.router.poll(task, &mut self.cx, now, false);
                self.end = Some(self.gone(hcm));
            }
        }
        true
    }

    fn ended(&mut self, end: bool, now: Time) {
        if end {
            self.request_ended = true;
            self.cx.info.timings.request_received = Some(now);
        }
    }

    fn on_event<C: ClientSide>(&mut self, hcm: &HcmWorker, client: &mut C, event: Event, now: Time) {
        match event {
            Event::Informational => {
                let status = self.cx.response.status().unwrap_or(0);
                if hcm.config.proxy_100_continue && status != 101 && !self.head_sent {
                    client.informational(&self.cx);
                }
                self.cx.response.clear();
            }
            Event::Head { end } => {
                let end = end || self.cx.request.is_head();
                self.arrive(hcm, client, Dir::Response, Piece::Head { end }, now);
            }
            Event::Redirect { end } => {
                let followed = self.router.may_redirect() && redirect::follow(&mut self.cx, hcm, &mut self.followed);
                self.router.count_redirect(followed);
                if followed {
                    self.begin_again(hcm, client, end, now);
                } else if let Some(event) = self.router.pass_head(&mut self.cx, end, now) {
                    self.on_event(hcm, client, event, now);
                }
            }
            Event::Data { bytes, end } => self.arrive(hcm, client, Dir::Response, Piece::Data { bytes, end }, now),
            Event::Trailers => self.arrive(hcm, client, Dir::Response, Piece::Trailers, now),
            Event::Reply(reply) => self.answer(hcm, client, *reply, now),
            Event::Cut => {
                // Only of gRPC, whose verdict would have come in the trailers.
                if is_grpc(&self.cx.request) && is_grpc(&self.cx.response) && !self.cx.response.contains("grpc-status") {
                    hcm.routes.router_stats.inc(self.cx.worker.lane, RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED);
                }
                self.end = Some(Outcome::Cut);
            }
        }
    }

    /// The request in `cx` is another now: this exchange ends, and one with that request begins. `end` tells whether the
    /// response that redirected it is complete.
    fn begin_again<C: ClientSide>(&mut self, hcm: &HcmWorker, client: &mut C, end: bool, now: Time) {
        let body = self.router.redirected(&mut self.cx, end);
        let status = self.cx.response.status();
        let body = if status == Some(303) { Vec::new() } else { body };
        // The log shows the new request already.
        let request = self.cx.request.clone();
        let trailers = std::mem::take(&mut self.cx.request_trailers);
        let info = &self.cx.info;
        let kept = StreamInfo { start: now, protocol: info.protocol, internal: info.internal, remote: info.remote.clone(), bytes_received: info.bytes_received, ..StreamInfo::default() };
        let followed = std::mem::take(&mut self.followed);
        self.cx.info.details = Cow::Borrowed("internal_redirect");
        self.conclude(hcm, now, status);
        self.followed = followed;
        self.cx.request = request;
        self.cx.request_trailers = trailers;
        self.cx.info = kept;
        hcm.count_request(self.cx.info.protocol);
        let refused = admit::readmit(&mut self.cx, hcm);
        let bodiless = body.is_empty() && self.cx.request_trailers.is_empty();
        self.begin(hcm, client, bodiless, refused, now);
        if !body.is_empty() && self.end.is_none() {
            let end = self.cx.request_trailers.is_empty();
            self.cx.info.bytes_received += body.len() as u64;
            self.ended(end, now);
            self.arrive(hcm, client, Dir::Request, Piece::Data { bytes: Buf::copy_of(&body), end }, now);
        }
        if !self.cx.request_trailers.is_empty() {
            self.ended(true, now);
            self.arrive(hcm, client, Dir::Request, Piece::Trailers, now);
        }
    }

    fn arrive<C: ClientSide>(&mut self, hcm: &HcmWorker, client: &mut C, dir: Dir, piece: Piece, now: Time) {
        let (engine, mut lanes) = lanes(&mut self.engine, &mut self.router, &mut self.head_sent, &mut self.response_ended, hcm, client, now);
        engine.arrive(&mut self.cx, &mut lanes, dir, piece);
        let refusal = lanes.refusal.take();
        if refusal.is_some() || self.engine.has_verdict() {
            self.settle(hcm, client, refusal, now);
        }
    }

    /// Carries out what a filter or the router decided about the whole stream.
    fn settle<C: ClientSide>(&mut self, hcm: &HcmWorker, client: &mut C, refusal: Option<Box<LocalReply>>, now: Time) {
        match (self.engine.take_verdict(), refusal) {
            (Some(Verdict::Reply(reply)), _) | (None, Some(reply)) => self.answer(hcm, client, *reply, now),
            (Some(Verdict::Reset), _) => self.end = Some(Outcome::Cut),
            (None, None) => {}
        }
    }

    /// Answers the client from here; cuts the response instead when one has begun.
    fn answer<C: ClientSide>(&mut self, hcm: &HcmWorker, client: &mut C, mut answer: LocalReply, now: Time) {
        self.engine.close_request();
        self.engine.drop_response();
        self.router.abort(&mut self.cx);
        self.answers = self.answers.saturating_add(1);
        if self.head_sent || self.answers > MAX_ANSWERS {
            self.cx.info.flags.set(answer.flags);
            self.cx.info.details = answer.details;
            self.end = Some(Outcome::Cut);
            return;
        }
        if self.cx.info.upstream.cluster.is_none() {
            note_cluster(&mut self.cx, hcm);
        }
        if answer.closes || answer.status == 400 && !hcm.config.keep_open_on_error {
            client.close_after();
        }
        reply::prepare(&mut self.cx, &answer);
        // Whoever made it: a route that forwards has its say. One that answers itself has it on its own answer.
        if let Some(route) = &self.cx.route
            && let Some(entry) = hcm.routes.table().get(route.id)
            && (answer.details == "direct_response" || matches!(entry.route.action, Action::Forward(_)))
        {
            let choice = route.choice.map(|choice| choice as usize);
            finalize_response(&mut self.cx, hcm.routes.table(), entry, choice);
        }
        if let Some(rules) = &hcm.config.local_replies {
            rules.rewrite(&mut self.cx, &mut answer);
        }
        let body = reply::seal(&mut self.cx, &answer);
        let answers = self.answers;
        self.arrive(hcm, client, Dir::Response, Piece::Head { end: body.is_none() }, now);
        // Unless a filter has put another answer in its place.
        if let Some(bytes) = body
            && self.answers == answers
        {
            self.arrive(hcm, client, Dir::Response, Piece::Data { bytes, end: true }, now);
        }
    }

    fn gone(&mut self, hcm: &HcmWorker) -> Outcome {
        if !self.response_ended {
            self.cut_off(hcm, ResponseFlags::DC, Cow::Borrowed("downstream_remote_disconnect"));
        }
        self.router.abort(&mut self.cx);
        Outcome::Gone
    }

    /// The client's side has ended before its time: nothing more can be said to it. [`Exchange::finish`] comes next.
    pub(crate) fn cut_off(&mut self, hcm: &HcmWorker, flags: ResponseFlags, details: Cow<'static, str>) {
        let scope = self.scope.clone();
        let hcm = scope.as_deref().unwrap_or(hcm);
        hcm.stats.inc(self.cx.worker.lane, stat::DOWNSTREAM_RQ_RX_RESET);
        if self.cx.info.upstream.cluster.is_none() {
            note_cluster(&mut self.cx, hcm);
        }
        self.cx.info.flags.set(flags);
        self.cx.info.details = details;
        self.router.abort(&mut self.cx);
    }

    /// Ends the exchange: filters are told, it is logged and counted, and everything is let go of.
    pub(crate) fn finish(&mut self, hcm: &HcmWorker, now: Time) {
        let scope = self.scope.clone();
        let hcm = scope.as_deref().unwrap_or(hcm);
        self.conclude(hcm, now, None);
        self.scope = None;
    }

    /// Ends the exchange; `unsent` is the status of a response that the client does not get.
    fn conclude(&mut self, hcm: &HcmWorker, now: Time, unsent: Option<u16>) {
        self.router.end();
        self.engine.done(&mut self.cx);
        self.cx.info.end = Some(now);
        if self.cx.info.upgraded {
            hcm.stats.gauge_add(self.cx.worker.lane, stat::DOWNSTREAM_CX_UPGRADES_ACTIVE, -1);
        }
        hcm.count_response(&self.cx, now);
        if let Some(status) = unsent {
            self.cx.info.status = status;
        }
        self.router.log_attempts(&mut self.cx);
        self.cx.worker.failures.note(&self.cx);
        hcm.log(&mut self.cx, LogMoment::DownstreamEnd);
        tracing::end(&mut self.cx, hcm, now);
        self.cx.reset();
        self.followed = redirect::Followed::default();
    }
}

#[allow(clippy::too_many_arguments)]
fn lanes<'a, C>(
    engine: &'a mut Engine,
    router: &'a mut Router,
    head_sent: &'a mut bool,
    response_ended: &'a mut bool,
    hcm: &'a HcmWorker,
    client: &'a mut C,
    now: Time,
) -> (&'a mut Engine, Lanes<'a, C>) {
    (engine, Lanes { hcm, routes: &hcm.routes, router, client, head_sent, response_ended, refusal: None, now })
}
