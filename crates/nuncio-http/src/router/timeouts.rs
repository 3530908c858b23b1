//! How long an exchange may take: from the route, from `x-envoy-*` headers where they are obeyed.
//! As Envoy's `FilterUtility::finalTimeout`.

use crate::routes::{RetryPolicy, RouteAction};
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
}

fn milliseconds(head: &HeaderMap, name: Known) -> Option<Duration> {
    head.get_str(name)?.parse().ok().map(Duration::from_millis)
}

impl Timeouts {
    /// Works the timeouts out; takes the headers that set them out of the request.
    pub(crate) fn of(head: &mut HeaderMap, route: &RouteAction, retry: Option<&RetryPolicy>) -> Timeouts {
        let mut timeouts = Timeouts {
            global: route.timeout,
            per_try: retry.map_or(Duration::ZERO, |r| r.per_try_timeout),
            per_try_idle: retry.map_or(Duration::ZERO, |r| r.per_try_idle_timeout),
            alt_response: head.remove(Known::XEnvoyUpstreamRqTimeoutAltResponse),
        };
        if let Some(told) = milliseconds(head, Known::XEnvoyUpstreamRqTimeoutMs) {
            timeouts.global = told;
            head.remove(Known::XEnvoyUpstreamRqTimeoutMs);
        }
        if let Some(told) = milliseconds(head, Known::XEnvoyUpstreamRqPerTryTimeoutMs) {
            timeouts.per_try = told;
            head.remove(Known::XEnvoyUpstreamRqPerTryTimeoutMs);
        }
        if !timeouts.global.is_zero() && timeouts.per_try >= timeouts.global {
            timeouts.per_try = Duration::ZERO;
        }
        timeouts
    }

    /// Tells the upstream how long it has: what is left of the whole, or one attempt's time if that is less.
    pub(crate) fn announce(&self, head: &mut HeaderMap, began: Option<Time>, now: Time) {
        let left = match began {
            Some(at) if !self.global.is_zero() => self.global.saturating_sub(now.since(at)),
            _ => self.global,
        };
        let expected = if self.per_try.is_zero() || (!left.is_zero() && left < self.per_try) { left } else { self.per_try };
        if !expected.is_zero() {
            // In 64 bits: as_millis() divides in 128.
            let ms = expected.as_secs().saturating_mul(1000).saturating_add(u64::from(expected.subsec_millis()));
            head.set_with(Known::XEnvoyExpectedRqTimeoutMs, |v| v.decimal(ms));
        }
    }
}
