//! Hedging: an attempt that takes too long goes on beside the next one, and the first good answer wins. As Envoy's
//! `hedge_on_per_try_timeout`; the other fields of `hedge_policy` have no effect there either.
//!
//! An attempt that has been overtaken is never retried again: its bad answer, or its end, is dropped while another one may
//! still do better.

use super::attempt::{self, Attempt, Phase, Read};
use super::charge::{self, Answer};
use super::failure::reset_reply;
use super::{Decision, Event, Router, retry};
use crate::routes::{RouteAction, RouteEntry};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{ResponseFlags, StreamCx};
use nuncio_rt::Time;
use nuncio_stats::tables::{cluster as stat, router::route as route_stat};
use nuncio_upstream::outlier::Outcome;
use nuncio_upstream::{HostStat, Reset, ResetReason, WorkerCluster};
use std::task::{Context, Poll};

/// Attempts that have been overtaken, all with a connection.
#[derive(Debug, Default)]
pub(super) struct Others(Vec<Attempt>);

/// Whether attempts of a request are hedged: the policy's word, or the request's.
pub(super) fn hedged(action: &RouteAction, entry: &RouteEntry, head: &HeaderMap) -> bool {
    let policy = action.more.as_ref().and_then(|more| more.hedge_policy.as_ref()).or(entry.host.hedge_policy.as_ref());
    match head.get(Known::XEnvoyHedgeOnPerTryTimeout) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => policy.is_some_and(|policy| policy.hedge_on_per_try_timeout),
    }
}

impl Router {
    /// The attempt takes too long: it goes on, and another one begins if there may be one.
    pub(super) fn overtake(&mut self, cx: &mut StreamCx, now: Time) {
        self.attempt.host().inspect(|host| host.note(Outcome::TimedOut(504)));
        self.attempt.arm_per_try(None);
        self.attempt.record().into_iter().for_each(|record| record.failed(ResponseFlags::UT));
        if !self.retries.enabled() {
            return;
        }
        match self.decide(cx, true) {
            Decision::After(wait) => {
                self.note_timeout_retry(cx, true);
                let next = self.attempt.another();
                let slow = std::mem::replace(&mut self.attempt, next);
                self.others.get_or_insert_default().0.push(slow);
                self.attempt.back_off(now + wait);
            }
            Decision::Exhausted => retry::mark_exhausted(&mut cx.info),
            Decision::Overflow => cx.info.flags.set(ResponseFlags::UO),
            Decision::No => {}
        }
    }

    /// Moves the attempts on that have been overtaken.
    #[cold]
    pub(super) fn poll_others(&mut self, task: &mut Context<'_>, cx: &mut StreamCx, now: Time) -> Option<Event> {
        let mut others = self.others.take()?;
        let mut at = 0;
        while let Some(attempt) = others.0.get_mut(at) {
            let found = match attempt.poll_write(task, cx, now) {
                Poll::Ready(Err(reset)) => Err(reset),
                _ => match attempt.poll_read(task, cx, now) {
                    Poll::Ready(Ok(Read::Head { end })) => Ok(end),
                    Poll::Ready(Ok(Read::Informational)) => {
                        cx.response.clear();
                        continue;
                    }
                    Poll::Ready(Ok(Read::Data { .. } | Read::Trailers)) | Poll::Pending => {
                        at += 1;
                        continue;
                    }
                    Poll::Ready(Err(reset)) => Err(reset),
                },
            };
            let mut attempt = others.0.swap_remove(at);
            if let Err(reset) = &found {
                attempt.note_bytes(cx);
                attempt.record().into_iter().for_each(|record| record.reset(reset));
            }
            let more = !others.0.is_empty() || self.attempt.phase() != Phase::Idle;
            match found {
                Ok(end) if !self.is_dropped(cx, &attempt, more) => {
                    self.attempt = attempt;
                    attempt::note_host(cx, self.attempt.host().map(|host| &**host));
                    self.attempt.note_connection(cx);
                    return self.answered(cx, end, now);
                }
                Ok(_) => {
                    attempt.note_bytes(cx);
                    cx.response.clear();
                }
                Err(reset) => {
                    if let Some(event) = self.other_reset(cx, &reset, &attempt, more) {
                        return Some(event);
                    }
                }
            }
        }
        self.others = (!others.0.is_empty()).then_some(others);
        None
    }

    /// The attempts that have been overtaken are not wanted any more.
    #[inline]
    pub(super) fn drop_others(&mut self, cx: &mut StreamCx) {
        if let Some(mut others) = self.others.take() {
            others.0.iter_mut().for_each(|attempt| attempt.note_bytes(cx));
        }
    }

    /// Whether an answer, in `cx.response`, is bad and not wanted because there may be a better one.
    fn is_dropped(&self, cx: &StreamCx, attempt: &Attempt, more: bool) -> bool {
        let status = cx.response.status().unwrap_or(0);
        let host = attempt.host();
        host.inspect(|host| charge::answer(host, &cx.request, status, &cx.response));
        let dropped = more && self.retries.wanted_for_response(status, &cx.response);
        host.filter(|_| dropped).inspect(|host| host.count(HostStat::RqError));
        dropped
    }

    fn other_reset(&mut self, cx: &mut StreamCx, reset: &Reset, attempt: &Attempt, more: bool) -> Option<Event> {
        let cluster = self.cluster.clone()?;
        cx.info.upstream.transport_failure = reset.transport_failure.clone();
        let host = attempt.host();
        host.filter(|_| reset.reason != ResetReason::Overflow).inspect(|host| host.note(Outcome::ConnectFailed));
        let reply = reset_reply(reset, true, self.informed);
        let answer = Answer { cluster: cluster.cx(), host: host.map(|host| &**host), internal: cx.info.internal, head: None };
        self.classes.status(reply.status, answer);
        host.inspect(|host| host.count(HostStat::RqError));
        if more {
            return None;
        }
        self.finished = true;
        Some(Event::Reply(self.counted(cx, reply)))
    }

    /// The whole has taken too long: what that means for each attempt that has been overtaken. The last of them stands for
    /// the current one if there is none.
    pub(super) fn others_timed_out(&mut self, cx: &mut StreamCx, cluster: &WorkerCluster, status: u16) {
        let Some(mut others) = self.others.take() else { return };
        if self.attempt.phase() == Phase::Idle
            && let Some(last) = others.0.pop()
        {
            self.attempt = last;
        }
        for mut attempt in others.0 {
            attempt.note_bytes(cx);
            cluster.cx().inc(stat::UPSTREAM_RQ_TIMEOUT);
            self.classes.inc(cx.worker.lane, route_stat::UPSTREAM_RQ_TIMEOUT);
            let host = attempt.host();
            if let Some(host) = host {
                host.count(HostStat::RqTimeout);
                host.count(HostStat::RqError);
            }
            let answer = Answer { cluster: cluster.cx(), host: host.map(|host| &**host), internal: cx.info.internal, head: None };
            self.classes.status(status, answer);
        }
    }
}
