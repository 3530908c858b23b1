//! The router: where the request lane ends and the response lane begins.
//!
//! It picks cluster and host, keeps the request for another attempt where the route retries, speaks with the
//! upstream through one [`UpstreamConn`] at a time, watches the route's timeouts, and turns whatever goes wrong
//! into Envoy's answer. It moves nothing through filters: it hands [`Event`]s to the exchange.

mod attempt;
mod charge;
mod choose;
mod destination;
mod client;
mod failure;
mod hedge;
mod log;
mod outlook;
mod redirect;
mod replay;
mod retry;
mod select;
mod shadow;
mod strict;
mod timeouts;
mod track;

use crate::config::RouterOptions;
use crate::routes::{Action, BufferLimit, ClusterPolicies, Finalize, RouteAction, RouteEntry, finalize_request, finalize_response};
use crate::stream::{Piece, Routes, is_grpc, upgrade};
use attempt::{Attempt, Phase};
use charge::{Answer, Classes};
use failure::Failure;
use nuncio_codec::headers::Known;
use nuncio_core::{LocalReply, ResponseFlags, RouteId, StreamCx};
use nuncio_rt::{Buf, Time};
use nuncio_stats::tables::{cluster as stat, router::route as route_stat};
use nuncio_upstream::{HostStat, Reset, RoutingPriority, WorkerCluster, WorkerHost, outlier};
use replay::Replay;
use retry::{Decision, Retries};
use shadow::Shadow;
use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};
use timeouts::Timeouts;

pub use outlook::Outlook;
pub use client::{install as install_client, install_on_demand as install_client_on_demand};

/// What the router has for the exchange.
#[derive(Debug)]
pub(crate) enum Event {
    /// An informational head is in `cx.response`: to be sent at once, it is not the response yet.
    Informational,
    /// The response's head is in `cx.response`.
    Head { end: bool },
    /// The head in `cx.response` is a redirect that the route may want followed: [`Router::redirected`] or
    /// [`Router::pass_head`] is called next.
    Redirect { end: bool },
    /// Response body.
    Data { bytes: Buf, end: bool },
    /// Response trailers are in `cx.response_trailers`.
    Trailers,
    /// There is no response from upstream; this is the answer instead.
    Reply(Box<LocalReply>),
    /// The response broke off after it had begun.
    Cut,
}

/// One exchange's router.
#[derive(Debug, Default)]
pub(crate) struct Router {
    attempt: Attempt,
    /// Attempts that took too long and go on beside it.
    others: Option<Box<hedge::Others>>,
    routes: Option<Rc<Routes>>,
    id: RouteId,
    /// Which of the weighted clusters was picked.
    choice: Option<usize>,
    /// Those picked so far, where retries pick anew.
    choices: Vec<usize>,
    cluster: Option<Rc<WorkerCluster>>,
    /// Statistics of the request's virtual cluster and route.
    classes: Classes,
    priority: RoutingPriority,
    timeouts: Timeouts,
    retries: Retries,
    replay: Replay,
    /// Copies of the request that go to other clusters.
    shadows: Vec<Shadow>,
    /// Cookies for the client, made to keep it with a host: values of `set-cookie`.
    cookies: Vec<String>,
    /// How many of the hosts that the request names have been tried.
    named_hosts: usize,
    /// The request's head, to be encoded for each attempt, is complete in `cx.request`.
    started: bool,
    /// The whole request has come.
    request_ended: Option<Time>,
    /// Bytes of the request's body so far.
    request_body: u64,
    /// Bytes of the response's body so far, once there is a response.
    response_body: Option<u64>,
    /// The upstream has said how loaded it is.
    load_reported: bool,
    /// A 1xx response has come: from then on nothing is retried.
    informed: bool,
    /// Some of the response has gone to the exchange.
    responding: bool,
    /// The response is complete.
    finished: bool,
    buffer_limit: usize,
    /// The request's body is kept for redirects.
    keeps_body: bool,
    /// The request's body grew beyond what may be kept.
    body_lost: bool,
    attempt_count_upstream: bool,
    attempt_count_in_response: bool,
    timeout_retry_upstream: bool,
    suppress_envoy_headers: bool,
    respect_expected: bool,
    /// Headers that must be valid, if any.
    strict: Option<Arc<[Known]>>,
    /// See [`Classes::uncharged`].
    uncharged: bool,
    /// `reject_connect_request_early_data`.
    no_early_data: bool,
    /// `suppress_grpc_request_failure_code_stats`.
    suppress_grpc_codes: bool,
    /// Who is answering a gRPC request, and has not told yet how it went.
    grpc_host: Option<Rc<WorkerHost>>,
    /// Where attempts are logged, if they are.
    log: Option<log::Log>,
}

impl Router {
    /// Ready for a new exchange.
    pub(crate) fn begin(&mut self, buffer_limit: usize, options: &RouterOptions) {
        self.attempt.clear();
        self.others = None;
        self.routes = None;
        self.cluster = None;
        self.classes = Classes::default();
        self.retries.end();
        self.replay.clear();
        self.drop_shadows();
        self.cookies.clear();
        self.named_hosts = 0;
        self.choices.clear();
        self.started = false;
        self.request_ended = None;
        self.request_body = 0;
        self.response_body = None;
        self.load_reported = false;
        self.informed = false;
        self.responding = false;
        self.finished = false;
        self.buffer_limit = buffer_limit;
        self.keeps_body = false;
        self.body_lost = false;
        self.suppress_envoy_headers = options.suppress_envoy_headers;
        self.respect_expected = options.respect_expected_rq_timeout;
        self.strict = (!options.strict_check_headers.is_empty()).then(|| options.strict_check_headers.clone());
        self.uncharged = !options.dynamic_stats;
        self.no_early_data = options.reject_connect_early_data;
        self.suppress_grpc_codes = options.suppress_grpc_codes;
        self.grpc_host = None;
        self.log = options.upstream_log.clone().map(log::Log::new);
    }

    fn entry(&self) -> Option<&RouteEntry> {
        self.routes.as_ref().and_then(|r| r.table().get(self.id))
    }

    fn action(&self) -> Option<&RouteAction> {
        match &self.entry()?.route.action {
            Action::Forward(action) => Some(action),
            _ => None,
        }
    }

    /// A piece of the request has passed the filters. Returns an answer if there is nobody to send it to.
    pub(crate) fn take(&mut self, cx: &mut StreamCx, routes: &Rc<Routes>, piece: Piece, now: Time) -> Option<Box<LocalReply>> {
        if let Piece::Head { end } = piece {
            if end {
                self.request_ended = Some(now);
            }
            return self.start(cx, routes, end, now).err();
        }
        if let Piece::Data { bytes, .. } = &piece
            && self.no_early_data
            && !self.responding
            && !bytes.is_empty()
            && cx.request.method() == Some(b"CONNECT")
        {
            return Some(Box::new(LocalReply::new(400, "early_connect_data")));
        }
        self.forward(cx, piece, now);
        None
    }

    /// Hands a piece of the request's body on, or its trailers.
    fn forward(&mut self, cx: &StreamCx, piece: Piece, now: Time) {
        let end = matches!(piece, Piece::Data { end: true, .. } | Piece::Trailers);
        if end && self.request_ended.is_none() {
            self.request_ended = Some(now);
        }
        match piece {
            Piece::Head { .. } => {}
            Piece::Data { bytes, end } => {
                self.request_body += bytes.len() as u64;
                self.shadows.iter_mut().for_each(|shadow| shadow.data(&bytes, end, self.buffer_limit));
                let wanted = self.retries.enabled() || (self.keeps_body && !self.body_lost);
                if wanted && !self.replay.keep(&bytes, self.buffer_limit) {
                    self.body_lost = true;
                    if let Some(cluster) = &self.cluster {
                        cluster.cx().inc(stat::RETRY_OR_SHADOW_ABANDONED);
                    }
                    self.retries.give_up();
                }
                self.attempt.send_data(bytes, end);
            }
            Piece::Trailers => {
                self.shadows.iter_mut().for_each(|shadow| shadow.trailers(&cx.request_trailers));
                self.attempt.send_trailers(cx);
            }
        }
    }

    /// Bytes of the request that wait for the upstream.
    pub(crate) fn waiting(&self) -> usize {
        self.attempt.waiting()
    }

    /// True once the upstream's response is complete and handed over.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The next moment at which something times out.
    pub(crate) fn deadline(&self) -> Option<Time> {
        if self.finished || !self.started {
            return None;
        }
        let global = self
            .request_ended
            .filter(|_| !self.timeouts.global.is_zero())
            .map(|at| at + self.timeouts.global);
        Time::first([global, self.attempt.deadline()])
    }

    /// Moves things on. `may_read` is false while the client cannot take more of the response.
    pub(crate) fn poll(&mut self, task: &mut Context<'_>, cx: &mut StreamCx, now: Time, may_read: bool) -> Poll<Event> {
        if !self.started || self.finished {
            return Poll::Pending;
        }
        let polled = self.advance(task, cx, now, may_read);
        if self.log.is_some() && matches!(polled, Poll::Ready(Event::Reply(_))) {
            self.log_attempts(cx);
        }
        polled
    }

    fn advance(&mut self, task: &mut Context<'_>, cx: &mut StreamCx, now: Time, may_read: bool) -> Poll<Event> {
        if let Some(event) = self.check_deadlines(cx, now) {
            return Poll::Ready(event);
        }
        if self.others.is_some()
            && let Some(event) = self.poll_others(task, cx, now)
        {
            return Poll::Ready(event);
        }
        // No use in reading from a connection that this very poll has found quiet.
        let mut quiet = false;
        loop {
            match self.attempt.phase() {
                Phase::Idle => return Poll::Pending,
                Phase::BackingOff(until) if now < until => return Poll::Pending,
                Phase::Choosing if self.attempt.poll_choosing(task).is_pending() => return Poll::Pending,
                Phase::BackingOff(_) | Phase::Choosing => {
                    if let Err(reply) = self.next_attempt(cx, now) {
                        self.finished = true;
                        return Poll::Ready(Event::Reply(self.counted(cx, reply)));
                    }
                }
                Phase::Connecting => match self.attempt.poll_connect(task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(watched)) => {
                        quiet = watched;
                        if let Err(reset) = self.connected(cx, now)
                            && let Some(event) = self.reset(cx, reset, now)
                        {
                            return Poll::Ready(event);
                        }
                    }
                    Poll::Ready(Err(failure)) => {
                        if let Some(event) = self.connect_failed(cx, failure, now) {
                            return Poll::Ready(event);
                        }
                    }
                },
                Phase::Live => match self.poll_live(task, cx, now, may_read && !quiet) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(event)) => return Poll::Ready(event),
                    Poll::Ready(None) => {}
                },
            }
        }
    }

    /// The exchange needs no more of this: the client has gone, or has been answered otherwise.
    pub(crate) fn abort(&mut self, cx: &mut StreamCx) {
        self.attempt.note_bytes(cx);
        self.attempt.clear();
        self.drop_others(cx);
        self.drop_shadows();
        self.finished = true;
        self.retries.end();
    }

    /// The exchange is over and logged: lets go of everything.
    pub(crate) fn end(&mut self) {
        self.attempt.finish();
        self.others = None;
        self.drop_shadows();
        self.retries.end();
        self.replay.clear();
        self.grpc_host = None;
        self.cluster = None;
        self.routes = None;
    }

    fn poll_live(&mut self, task: &mut Context<'_>, cx: &mut StreamCx, now: Time, may_read: bool) -> Poll<Option<Event>> {
        if let Poll::Ready(Err(reset)) = self.attempt.poll_write(task, cx, now) {
            return Poll::Ready(self.reset(cx, reset, now));
        }
        if self.attempt.needs_per_try(self.request_ended.is_some()) {
            let per_try = self.timeouts.per_try;
            self.attempt.arm_per_try((!per_try.is_zero()).then(|| now + per_try));
        }
        if !may_read {
            return Poll::Pending;
        }
        match self.attempt.poll_read(task, cx, now) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(attempt::Read::Informational)) => {
                if let (Some(cluster), Some(status)) = (&self.cluster, cx.response.status()) {
                    let host = self.attempt.host().map(|host| &**host);
                    self.classes.status(status, Answer { cluster: cluster.cx(), host, internal: cx.info.internal, head: Some(&cx.response) });
                }
                if matches!(cx.response.status(), Some(100 | 102..=104)) {
                    self.informed = true;
                    self.retries.give_up();
                }
                Poll::Ready(Some(Event::Informational))
            }
            Poll::Ready(Ok(attempt::Read::Head { end })) => Poll::Ready(self.response_head(cx, end, now)),
            Poll::Ready(Ok(attempt::Read::Data { bytes, end })) => {
                if let Some(body) = &mut self.response_body {
                    *body += bytes.len() as u64;
                }
                if end {
                    self.grpc_host.take().inspect(|host| charge::grpc_outcome(host, None));
                    self.complete(cx, now);
                }
                Poll::Ready(Some(Event::Data { bytes, end }))
            }
            Poll::Ready(Ok(attempt::Read::Trailers)) => {
                if !self.load_reported
                    && let Some(host) = self.attempt.host()
                {
                    self.load_reported = host.note_load(&cx.response_trailers);
                }
                self.grpc_host.take().inspect(|host| charge::grpc_outcome(host, Some(&cx.response_trailers)));
                self.complete(cx, now);
                Poll::Ready(Some(Event::Trailers))
            }
            Poll::Ready(Err(reset)) => Poll::Ready(self.reset(cx, reset, now)),
        }
    }

    /// The head of a request: finds out where it goes and begins the first attempt.
    fn start(&mut self, cx: &mut StreamCx, routes: &Rc<Routes>, end: bool, now: Time) -> Result<(), Box<LocalReply>> {
        let target = select::target(cx, routes, self.suppress_envoy_headers)?;
        if let Some(strict) = &self.strict {
            strict::check(&cx.request, strict)?;
        }
        self.id = target.id;
        self.choice = target.choice;
        self.cluster = Some(target.cluster);
        self.routes = Some(routes.clone());
        let table = routes.table();
        if let Some(entry) = table.get(self.id)
            && let Action::Forward(action) = &entry.route.action
        {
            self.classes = Classes {
                virtual_cluster: routes.class(self.id, &cx.request),
                route: routes.route_stats(self.id),
                alternative: charge::alternative(&mut cx.request),
                uncharged: self.uncharged || cx.info.health_check,
                suppressed: self.suppress_grpc_codes && is_grpc(&cx.request),
            };
            self.buffer_limit = buffer_limit(entry, self.buffer_limit);
            self.keeps_body = action.more.as_ref().is_some_and(|more| more.internal_redirect.is_some());
            self.priority = if action.high_priority { RoutingPriority::High } else { RoutingPriority::Default };
            let of_cluster = self.cluster.as_ref().and_then(|cluster| ClusterPolicies::of(&cluster.info().config)?.retry.as_ref());
            let policy = of_cluster.or(action.retry_policy.as_ref()).or(entry.host.retry_policy.as_ref());
            self.attempt_count_upstream = entry.host.include_request_attempt_count;
            self.attempt_count_in_response = entry.host.include_attempt_count_in_response;
            self.timeout_retry_upstream = entry.host.include_is_timeout_retry_header;
            self.timeouts = Timeouts::of(&mut cx.request, action, policy.map(|p| &**p), self.respect_expected);
            self.timeouts.hedged = hedge::hedged(action, entry, &cx.request);
            if self.cluster.as_ref().is_some_and(|cluster| cluster.info().in_maintenance(&cx.worker.rng)) {
                return Err(self.maintenance(cx));
            }
            if let Some(drops) = self.cluster.as_ref().and_then(|cluster| cluster.info().drops(&cx.worker.rng)) {
                return Err(self.dropped(cx, drops));
            }
            self.retries.begin(policy, &mut cx.request);
            // What the first attempt is told can be changed, and shown, by the route's own headers.
            self.announce_first(cx, now, |cx, this| {
                let how = Finalize { choice: this.choice, keep_original: !this.suppress_envoy_headers };
                finalize_request(cx, table, entry, how);
            });
        }
        self.started = true;
        self.attempt.end_with_head(end);
        self.next_attempt(cx, now)?;
        if let Some(entry) = table.get(self.id)
            && let Some(cluster) = self.cluster.clone()
        {
            for policy in shadow::policies(&cluster, routes, entry) {
                if let Some(copy) = shadow::mirror(cx, self, routes, policy, end) {
                    self.shadows.push(copy);
                }
            }
        }
        Ok(())
    }

    /// Tells the upstream which attempt this is, where the virtual host wants it told.
    fn tell_attempt(&self, cx: &mut StreamCx) {
        if self.attempt_count_upstream {
            let n = u64::from(cx.info.attempts);
            cx.request.set_with(Known::XEnvoyAttemptCount, |v| v.decimal(n));
        }
    }

    /// Tells the upstream of the attempt that comes first; `then` sees the request with that.
    fn announce_first(&self, cx: &mut StreamCx, now: Time, then: impl FnOnce(&mut StreamCx, &Router)) {
        cx.info.attempts = 1;
        self.tell_attempt(cx);
        self.timeouts.announce(&mut cx.request, None, now, !self.suppress_envoy_headers);
        then(cx, self);
        cx.info.attempts = 0;
    }

    /// Sends a request that no route has led here: a copy, or one of our own.
    fn start_unrouted(&mut self, cx: &mut StreamCx, now: Time) -> Result<(), Box<LocalReply>> {
        self.started = true;
        self.announce_first(cx, now, |_, _| {});
        self.next_attempt(cx, now)
    }

    /// A connection stands: sends the head.
    fn connected(&mut self, cx: &mut StreamCx, now: Time) -> Result<(), Reset> {
        if cx.info.attempts > 1 {
            self.timeouts.announce(&mut cx.request, self.request_ended, now, !self.suppress_envoy_headers);
        }
        if let Some(trace) = &cx.trace {
            trace.inject(&mut cx.request);
        }
        self.classes.inc(cx.worker.lane, route_stat::UPSTREAM_RQ_TOTAL);
        self.attempt.host().inspect(|host| host.note(outlier::Outcome::Connected));
        let idle = self.timeouts.per_try_idle;
        self.attempt.begin(cx, (!idle.is_zero()).then_some(idle), now)
    }

    fn response_head(&mut self, cx: &mut StreamCx, end: bool, now: Time) -> Option<Event> {
        let status = cx.response.status().unwrap_or(0);
        let cluster = self.cluster.clone()?;
        if status == 200 && upgrade::is_websocket(&cx.request) {
            self.attempt.note_bytes(cx);
            self.attempt.clear();
            self.finished = true;
            return Some(Event::Reply(Box::new(LocalReply::new(200, "websocket_handshake_unsuccessful"))));
        }
        self.track_head(cx);
        let host = self.attempt.host().cloned();
        if let Some(host) = &host {
            charge::answer(host, &cx.request, status, &cx.response);
            self.load_reported = self.load_reported || host.note_load(&cx.response);
        }
        let wanted = self.retries.wanted_for_response(status, &cx.response);
        if wanted {
            self.retries.note_wait(&cx.response, || cx.worker.clock.unix_seconds(now));
        }
        match self.decide(cx, wanted) {
            Decision::After(wait) => {
                self.note_timeout_retry(cx, false);
                self.track_attempt(cx, None, now);
                cluster.cx().code(stat::RETRY_UPSTREAM_RQ, status);
                if let Some(host) = &host {
                    host.count(HostStat::RqError);
                }
                cx.response.clear();
                self.attempt.note_bytes(cx);
                self.attempt.discard(end);
                self.attempt.back_off(now + wait);
                return None;
            }
            Decision::Exhausted => retry::mark_exhausted(&mut cx.info),
            Decision::Overflow => cx.info.flags.set(ResponseFlags::UO),
            Decision::No => {}
        }
        if wanted && self.others.is_some() {
            // One of the others may do better.
            host.inspect(|host| host.count(HostStat::RqError));
            cx.response.clear();
            self.attempt.note_bytes(cx);
            self.attempt.clear();
            return None;
        }
        self.answered(cx, end, now)
    }

    /// The answer in `cx.response` is the one for the client.
    fn answered(&mut self, cx: &mut StreamCx, end: bool, now: Time) -> Option<Event> {
        self.drop_others(cx);
        let status = cx.response.status().unwrap_or(0);
        if self.redirects().is_some_and(|policy| policy.statuses.contains(&status)) {
            return Some(Event::Redirect { end });
        }
        self.pass_head(cx, end, now)
    }

    /// The response is to be passed on.
    pub(crate) fn pass_head(&mut self, cx: &mut StreamCx, end: bool, now: Time) -> Option<Event> {
        let status = cx.response.status().unwrap_or(0);
        let cluster = self.cluster.clone()?;
        let host = self.attempt.host().cloned();
        let answer = Answer { cluster: cluster.cx(), host: host.as_deref(), internal: cx.info.internal, head: Some(&cx.response) };
        self.classes.status(status, answer);
        if let Some(host) = &host {
            match is_grpc(&cx.request) && status < 500 {
                true if end => charge::grpc_outcome(host, Some(&cx.response)),
                true => self.grpc_host = Some(host.clone()),
                false => charge::outcome(host, status),
            }
        }
        cx.info.details = "via_upstream".into();
        cx.info.status = status;
        self.responding = true;
        self.replay.clear();
        self.decorate(cx, now);
        self.cookies.drain(..).for_each(|cookie| cx.response.append(Known::SetCookie, cookie));
        if let Some(routes) = self.routes.clone()
            && let Some(entry) = routes.table().get(self.id)
        {
            finalize_response(cx, routes.table(), entry, self.choice);
        }
        if end {
            self.complete(cx, now);
        }
        Some(Event::Head { end })
    }

    /// An answer from here, with the number of attempts where the virtual host wants it told.
    fn counted(&self, cx: &StreamCx, reply: Box<LocalReply>) -> Box<LocalReply> {
        if !self.attempt_count_in_response {
            return reply;
        }
        Box::new(reply.header("x-envoy-attempt-count", cx.info.attempts.to_string()))
    }

    /// Tells the upstream whether the next attempt is made because the one before took too long.
    fn note_timeout_retry(&self, cx: &mut StreamCx, timed_out: bool) {
        if self.timeout_retry_upstream {
            cx.request.insert(Known::XEnvoyIsTimeoutRetry, if timed_out { "true" } else { "false" });
        }
    }

    fn decorate(&mut self, cx: &mut StreamCx, now: Time) {
        if self.suppress_envoy_headers {
            return;
        }
        // A response that comes before the request is complete has no service time.
        if let Some(began) = self.request_ended {
            let ms = now.millis_since(began);
            cx.response.set_with(Known::XEnvoyUpstreamServiceTime, |v| v.decimal(ms));
        }
        if self.attempt_count_in_response {
            let n = u64::from(cx.info.attempts);
            cx.response.set_with(Known::XEnvoyAttemptCount, |v| v.decimal(n));
        }
    }

    /// The upstream's response is complete.
    fn complete(&mut self, cx: &mut StreamCx, now: Time) {
        cx.info.timings.upstream_last_rx = Some(now);
        self.attempt.note_bytes(cx);
        if let (Some(cluster), Some(began)) = (&self.cluster, self.request_ended) {
            let host = self.attempt.host().map(|host| &**host);
            let answer = Answer { cluster: cluster.cx(), host, internal: cx.info.internal, head: Some(&cx.response) };
            self.classes.time(now.millis_since(began), answer);
        }
        self.track_attempt(cx, None, now);
        self.track_whole(now);
        self.finished = true;
        self.attempt.finish();
        self.retries.end();
    }
}

/// Bytes of a request's body that are kept for another attempt: the route's word, the virtual host's, or what the
/// connection may hold.
fn buffer_limit(entry: &RouteEntry, of_connection: usize) -> usize {
    match entry.buffer_limit() {
        Some(BufferLimit::Body(limit)) => usize::try_from(limit).unwrap_or(usize::MAX),
        Some(BufferLimit::PerRequest(limit)) => of_connection.min(limit as usize),
        None => of_connection,
    }
}
