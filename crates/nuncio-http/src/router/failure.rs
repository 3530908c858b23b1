//! What goes wrong on the way to a response, and what the client is told. Texts, flags and details are Envoy's.

use super::{Decision, Event, Router, attempt, charge::Answer, retry};
use nuncio_core::{LocalReply, ResponseFlags, StreamCx};
use nuncio_rt::Time;
use nuncio_stats::tables::{cluster as stat, router::route as route_stat};
use nuncio_upstream::outlier::Outcome;
use nuncio_upstream::{DropOverload, HostStat, PoolFailure, Reset, ResetReason, WorkerHost};

/// Why there is no response from upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The route's timeout passed.
    GlobalTimeout,
    /// One attempt's timeout passed.
    PerTry,
    /// One attempt was silent for too long.
    PerTryIdle,
}

/// The cluster that the route names does not exist.
pub(crate) fn no_cluster() -> Box<LocalReply> {
    Box::new(LocalReply::new(503, "cluster_not_found").flags(ResponseFlags::NC))
}

/// No host of the cluster can be used.
pub(crate) fn no_healthy_host() -> Box<LocalReply> {
    let reply = LocalReply::new(503, "no_healthy_upstream").body("no healthy upstream");
    Box::new(reply.flags(ResponseFlags::UH))
}

fn timed_out(details: &'static str, flags: ResponseFlags) -> Box<LocalReply> {
    Box::new(LocalReply::new(504, details).body("upstream request timeout").flags(flags))
}

/// An attempt came to nothing, after others or not, after a 1xx response or not.
pub(super) fn reset_reply(reset: &Reset, retried: bool, informed: bool) -> Box<LocalReply> {
    let status = if reset.reason == ResetReason::ProtocolError { 502 } else { 503 };
    let how = if retried { "retried and the latest reset reason: " } else { "reset reason: " };
    let body = format!("upstream connect error or disconnect/reset before headers. {how}{}", reset.reason.text());
    let when = if informed { "after" } else { "before" };
    let details = format!("upstream_reset_{when}_response_started{{{}}}", reset.code_details());
    let mut reply = LocalReply::new(status, details).body(body).flags(reset.reason.flag());
    if reset.reason == ResetReason::Overflow {
        reply = reply.header("x-envoy-overloaded", "true");
    }
    Box::new(reply)
}

impl Router {
    /// The cluster is out of service for this request.
    pub(super) fn maintenance(&self, cx: &StreamCx) -> Box<LocalReply> {
        if let Some(cluster) = &self.cluster {
            self.classes.status(503, Answer { cluster: cluster.cx(), host: None, internal: cx.info.internal, head: None });
            cluster.cx().inc(stat::UPSTREAM_RQ_MAINTENANCE_MODE);
        }
        let reply = LocalReply::new(503, "maintenance_mode").body("maintenance mode").flags(ResponseFlags::UO);
        Box::new(if self.suppress_envoy_headers { reply } else { reply.header("x-envoy-overloaded", "true") })
    }

    /// The endpoints' assignment has requests dropped, and this is one.
    pub(super) fn dropped(&self, cx: &StreamCx, drops: DropOverload) -> Box<LocalReply> {
        if let Some(cluster) = &self.cluster {
            self.classes.status(503, Answer { cluster: cluster.cx(), host: None, internal: cx.info.internal, head: None });
        }
        let (details, body, flag, header) = match drops {
            DropOverload::Some => ("drop_overload", "drop overload", ResponseFlags::DO, "x-envoy-drop-overload"),
            DropOverload::All => {
                ("unconditional_drop_overload", "unconditional drop overload", ResponseFlags::UDO, "x-envoy-unconditional-drop-overload")
            }
        };
        let reply = LocalReply::new(503, details).body(body).flags(flag);
        Box::new(if self.suppress_envoy_headers { reply } else { reply.header(header, "true") })
    }

    /// The upstream stream ended before its time.
    pub(super) fn reset(&mut self, cx: &mut StreamCx, reset: Reset, now: Time) -> Option<Event> {
        let host = self.attempt.host().cloned();
        let sent = self.attempt.has_sent();
        self.attempt.note_bytes(cx);
        self.track_attempt(cx, None, now);
        self.attempt.record().into_iter().for_each(|record| record.reset(&reset));
        self.attempt.clear();
        self.failed(cx, reset, host.as_deref(), sent, now)
    }

    pub(super) fn connect_failed(&mut self, cx: &mut StreamCx, failure: PoolFailure, now: Time) -> Option<Event> {
        let host = self.attempt.host().cloned().filter(|_| failure.host.is_some());
        if host.is_none() {
            cx.info.upstream.host = None;
        }
        self.track_attempt(cx, None, now);
        self.attempt.record().into_iter().for_each(|record| record.reset(&failure.reset));
        self.attempt.clear();
        self.failed(cx, failure.reset, host.as_deref(), false, now)
    }

    /// An attempt failed before its response: tries again, or answers. After the response began, it is cut.
    pub(super) fn failed(&mut self, cx: &mut StreamCx, reset: Reset, host: Option<&WorkerHost>, sent: bool, now: Time) -> Option<Event> {
        let cluster = self.cluster.clone()?;
        cx.info.upstream.transport_failure = reset.transport_failure.clone();
        // A full cluster says nothing about the host.
        if reset.reason != ResetReason::Overflow {
            host.inspect(|h| h.note(Outcome::ConnectFailed));
        }
        if self.responding {
            cx.info.flags.set(reset.reason.flag());
            cx.info.details = format!("upstream_reset_after_response_started{{{}}}", reset.code_details()).into();
            host.inspect(|h| h.count(HostStat::RqError));
            self.finished = true;
            return Some(Event::Cut);
        }
        let wanted = self.retries.wanted_for_reset(&reset, sent);
        match self.decide(cx, wanted) {
            Decision::After(wait) => {
                self.note_timeout_retry(cx, false);
                host.inspect(|h| h.count(HostStat::RqError));
                self.attempt.back_off(now + wait);
                return None;
            }
            Decision::Exhausted => retry::mark_exhausted(&mut cx.info),
            Decision::Overflow => cx.info.flags.set(ResponseFlags::UO),
            Decision::No => {}
        }
        let reply = reset_reply(&reset, self.retries.made() > 0, self.informed);
        self.classes.status(reply.status, Answer { cluster: cluster.cx(), host, internal: cx.info.internal, head: None });
        host.inspect(|h| h.count(HostStat::RqError));
        if self.others.is_some() {
            // One of the others may do better.
            return None;
        }
        self.finished = true;
        Some(Event::Reply(self.counted(cx, reply)))
    }

    /// Acts on timeouts that have passed.
    pub(super) fn check_deadlines(&mut self, cx: &mut StreamCx, now: Time) -> Option<Event> {
        if self.log.is_some() {
            self.attempt.log_if_due(cx, now);
        }
        if let Some(at) = self.request_ended
            && !self.timeouts.global.is_zero()
            && at + self.timeouts.global <= now
        {
            return self.timed_out(cx, Failure::GlobalTimeout, now);
        }
        match self.attempt.expired(now)? {
            attempt::Expired::PerTry if self.timeouts.hedged => {
                self.overtake(cx, now);
                None
            }
            attempt::Expired::PerTry => self.timed_out(cx, Failure::PerTry, now),
            attempt::Expired::PerTryIdle => self.timed_out(cx, Failure::PerTryIdle, now),
            attempt::Expired::Stream => self.lasted_too_long(cx, now),
        }
    }

    /// The stream to the host has lasted as long as the cluster's may: as if we had reset it, but for the answer. Nothing is
    /// counted but that.
    fn lasted_too_long(&mut self, cx: &mut StreamCx, now: Time) -> Option<Event> {
        const DETAILS: &str = "upstream_max_stream_duration_reached";
        let cluster = self.cluster.clone()?;
        cluster.cx().inc(stat::UPSTREAM_RQ_MAX_DURATION_REACHED);
        let host = self.attempt.host().cloned();
        let wanted = !self.responding && self.retries.wanted_for_reset(&Reset::new(ResetReason::LocalReset), self.attempt.has_sent());
        self.attempt.note_bytes(cx);
        self.track_attempt(cx, None, now);
        self.attempt.clear();
        match self.decide(cx, wanted) {
            Decision::After(wait) => {
                self.note_timeout_retry(cx, false);
                host.inspect(|host| host.count(HostStat::RqError));
                self.attempt.back_off(now + wait);
                return None;
            }
            Decision::Exhausted => retry::mark_exhausted(&mut cx.info),
            Decision::Overflow => cx.info.flags.set(ResponseFlags::UO),
            Decision::No => {}
        }
        if self.others.is_some() {
            return None;
        }
        self.finished = true;
        if self.responding {
            cx.info.flags.set(ResponseFlags::UMSDR);
            cx.info.details = DETAILS.into();
            return Some(Event::Cut);
        }
        let reply = LocalReply::new(504, DETAILS).body("upstream max stream duration reached").flags(ResponseFlags::UMSDR);
        Some(Event::Reply(self.counted(cx, Box::new(reply))))
    }

    fn timed_out(&mut self, cx: &mut StreamCx, failure: Failure, now: Time) -> Option<Event> {
        let cluster = self.cluster.clone()?;
        if failure == Failure::GlobalTimeout {
            self.others_timed_out(cx, &cluster, if self.timeouts.alt_response { 204 } else { 504 });
        }
        let host = self.attempt.host().cloned();
        self.attempt.note_bytes(cx);
        let per_try = failure != Failure::GlobalTimeout;
        let (counter, details) = match failure {
            Failure::GlobalTimeout => (stat::UPSTREAM_RQ_TIMEOUT, "response_timeout"),
            Failure::PerTry => (stat::UPSTREAM_RQ_PER_TRY_TIMEOUT, "upstream_per_try_timeout"),
            Failure::PerTryIdle => (stat::UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT, "upstream_per_try_idle_timeout"),
        };
        cluster.cx().inc(counter);
        if !per_try {
            self.classes.inc(cx.worker.lane, route_stat::UPSTREAM_RQ_TIMEOUT);
        }
        if let Some(host) = &host {
            host.count(HostStat::RqTimeout);
            host.count(HostStat::RqError);
            if !self.responding {
                host.note(Outcome::TimedOut(if self.timeouts.alt_response { 204 } else { 504 }));
            }
        }
        self.track_attempt(cx, Some(failure), now);
        let flag = match failure {
            Failure::GlobalTimeout => ResponseFlags::NONE,
            Failure::PerTry => ResponseFlags::UT,
            Failure::PerTryIdle => ResponseFlags::SI,
        };
        self.attempt.record().into_iter().for_each(|record| record.failed(flag));
        self.attempt.clear();
        if self.responding {
            self.track_whole(now);
            cx.info.flags.set(ResponseFlags::UT);
            cx.info.details = details.into();
            self.finished = true;
            return Some(Event::Cut);
        }
        if per_try {
            let wanted = self.retries.wanted_for_timeout();
            match self.decide(cx, wanted) {
                Decision::After(wait) => {
                    self.note_timeout_retry(cx, true);
                    self.attempt.back_off(now + wait);
                    return None;
                }
                Decision::Exhausted => retry::mark_exhausted(&mut cx.info),
                Decision::Overflow => cx.info.flags.set(ResponseFlags::UO),
                Decision::No => {}
            }
        }
        self.track_whole(now);
        let mut reply = timed_out(details, ResponseFlags::UT);
        if self.timeouts.alt_response {
            reply.status = 204;
            reply.body = "".into();
        }
        let answer = Answer { cluster: cluster.cx(), host: host.as_deref(), internal: cx.info.internal, head: None };
        self.classes.status(reply.status, answer);
        self.finished = true;
        Some(Event::Reply(self.counted(cx, reply)))
    }
}
