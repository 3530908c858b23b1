//! How long an exchange may take: from the route, from `x-envoy-*` headers where they are obeyed.
//! As Envoy's `FilterUtility::finalTimeout`.

use crate::routes::{GrpcTimeout, RetryPolicy, RouteAction, grpc_timeout, is_grpc, set_grpc_timeout};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_rt::Time;
use std::time::Duration;

/// Timeouts of one exchange; zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Timeouts {
    /// From the end of the request to the end of the response.
    pub(crate) global: Duration,
    /// Of one attempt.
    pub(crate) per_try: Duration,
    /// Without a byte in one attempt.
    pub(crate) per_try_idle: Duration,
    /// The answer to a timeout is 204 (`x-envoy-upstream-rq-timeout-alt-response`).
    pub(crate) alt_response: bool,
    /// Attempts that take too long go on beside others: each has all the time there is.
    pub(crate) hedged: bool,
    /// `grpc-timeout` is to say what is left.
    grpc: bool,
}

fn milliseconds(head: &HeaderMap, name: Known) -> Option<Duration> {
    head.get_str(name)?.parse().ok().map(Duration::from_millis)
}

/// Takes a timeout out of the request, whatever it says; `None` if that is no number.
fn taken(head: &mut HeaderMap, name: Known) -> Option<Duration> {
    let told = milliseconds(head, name);
    head.remove(name);
    told
}

impl Timeouts {
    /// Works the timeouts out; takes the headers that set them out of the request.
    ///
    /// `respect_expected` is the router's `respect_expected_rq_timeout`.
    pub(crate) fn of(head: &mut HeaderMap, route: &RouteAction, retry: Option<&RetryPolicy>, respect_expected: bool) -> Timeouts {
        let more = route.more.as_deref();
        let grpc = more.and_then(|more| more.grpc_timeout).filter(|_| is_grpc(head));
        let mut timeouts = Timeouts {
            global: match grpc {
                // With a limit for the whole stream the route has no other.
                _ if more.is_some_and(|more| more.max_stream_duration.is_some()) => Duration::ZERO,
                Some(limits) => of_grpc(head, limits),
                None => route.timeout,
            },
            hedged: false,
            grpc: grpc.is_some(),
            per_try: retry.map_or(Duration::ZERO, |r| r.per_try_timeout),
            per_try_idle: retry.map_or(Duration::ZERO, |r| r.per_try_idle_timeout),
            alt_response: head.remove(Known::XEnvoyUpstreamRqTimeoutAltResponse),
        };
        if respect_expected && head.contains(Known::XEnvoyExpectedRqTimeoutMs) {
            if let Some(told) = milliseconds(head, Known::XEnvoyExpectedRqTimeoutMs) {
                timeouts.global = told;
            }
        } else if let Some(told) = taken(head, Known::XEnvoyUpstreamRqTimeoutMs) {
            timeouts.global = told;
        }
        if let Some(told) = taken(head, Known::XEnvoyUpstreamRqPerTryTimeoutMs) {
            timeouts.per_try = told;
        }
        if !timeouts.global.is_zero() && timeouts.per_try >= timeouts.global {
            timeouts.per_try = Duration::ZERO;
        }
        timeouts
    }

    /// Tells the upstream how long it has: what is left of the whole, or one attempt's time if that is less.
    /// `expects`: in `x-envoy-expected-rq-timeout-ms`, too.
    pub(crate) fn announce(&self, head: &mut HeaderMap, began: Option<Time>, now: Time, expects: bool) {
        // Zero would be no limit: who is out of time gets the least there is.
        let left = match began {
            Some(at) if !self.global.is_zero() => self.global.saturating_sub(now.since(at)).max(Duration::from_millis(1)),
            _ => self.global,
        };
        let whole = self.per_try.is_zero() || self.hedged || (!left.is_zero() && left < self.per_try);
        let expected = if whole { left } else { self.per_try };
        if expected.is_zero() {
            return;
        }
        // In 64 bits: as_millis() divides in 128.
        let ms = expected.as_secs().saturating_mul(1000).saturating_add(u64::from(expected.subsec_millis()));
        if expects {
            head.set_with(Known::XEnvoyExpectedRqTimeoutMs, |v| v.decimal(ms));
        }
        if self.grpc {
            set_grpc_timeout(head, ms);
        }
    }
}

/// What `grpc-timeout` asks for, within the route's limits; zero for no limit.
fn of_grpc(head: &HeaderMap, limits: GrpcTimeout) -> Duration {
    let told = grpc_timeout(head).unwrap_or_default();
    let told = if limits.offset < told { told - limits.offset } else { told };
    if !limits.max.is_zero() && (told.is_zero() || told > limits.max) { limits.max } else { told }
}
