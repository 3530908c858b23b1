//! What the router would make of a request's timeouts and retries, for who explains it beforehand.

use super::{hedge, retry::Retries, timeouts::Timeouts};
use crate::config::HcmConfig;
use crate::routes::{BackOff, MaxStreamDuration, RetryPolicy, RouteAction, RouteEntry};
use nuncio_codec::headers::HeaderMap;
use std::{sync::Arc, time::Duration};

/// Times of a request, and how often it is tried; zero is no limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// For the whole response.
    pub timeout: Duration,
    /// For one attempt.
    pub per_try: Duration,
    /// Attempts that take too long go on beside others.
    pub hedged: bool,
    /// Without a byte in one attempt.
    pub per_try_idle: Duration,
    /// Without a byte on the stream.
    pub idle: Duration,
    /// The stream's life.
    pub max_stream: Duration,
    /// What is retried; empty for nothing.
    pub retry_on: String,
    /// Retries at most; none where nothing is retried.
    pub retries: u32,
    /// The waits between attempts.
    pub back_off: BackOff,
}

impl Outlook {
    /// Of a request that this route forwards. `policy` is the retry policy that counts for it.
    pub fn of(head: &HeaderMap, entry: &RouteEntry, action: &RouteAction, policy: Option<&Arc<RetryPolicy>>, config: &HcmConfig) -> Outlook {
        let hedged = hedge::hedged(action, entry, head);
        // The router takes out of the head what it obeys.
        let mut head = head.clone();
        let timeouts = Timeouts::of(&mut head, action, policy.map(|policy| &**policy), config.router.respect_expected_rq_timeout);
        let mut retries = Retries::default();
        retries.begin(policy, &mut head);
        let (on, count) = retries.planned();
        let of_route = action.more.as_ref().and_then(|more| more.max_stream_duration);
        let max_stream = of_route.and_then(|MaxStreamDuration { max, .. }| max).or(config.timeouts.max_stream);
        Outlook {
            timeout: timeouts.global,
            per_try: timeouts.per_try,
            hedged,
            per_try_idle: timeouts.per_try_idle,
            idle: action.idle_timeout.or(config.timeouts.stream_idle).unwrap_or_default(),
            max_stream: max_stream.unwrap_or_default(),
            retry_on: on.to_string(),
            retries: count,
            back_off: policy.and_then(|policy| policy.back_off).unwrap_or_default(),
        }
    }

    /// The longest a client waits for the end of the response; `None` is for ever.
    pub fn worst(&self) -> Option<Duration> {
        // Beyond the doublings no wait grows any more.
        let growing: Duration = (1..=self.retries.min(32)).map(|retry| self.back_off.ceiling(retry)).sum();
        let waits = growing.saturating_add(self.back_off.max.saturating_mul(self.retries.saturating_sub(32)));
        let attempts = self.per_try.saturating_mul(self.retries.saturating_add(1));
        let tries = (!self.per_try.is_zero() && !self.hedged).then(|| attempts.saturating_add(waits));
        let limits = [self.timeout, self.max_stream].into_iter().filter(|limit| !limit.is_zero());
        tries.into_iter().chain(limits).min()
    }
}
