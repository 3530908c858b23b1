//! `RetryPolicy`: when to try again, how often, how long to wait. Deciding and doing it is the router's.

use nuncio_core::matching::HeaderMatch;
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_upstream::{Host, MetadataMatch};
use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

/// `RetryPolicy` of a route or virtual host.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// What is retried.
    pub retry_on: RetryOn,
    /// Retries after the first attempt. Envoy's default: 1.
    pub num_retries: u32,
    /// Longest time for one attempt; zero is none of its own (the route timeout holds).
    pub per_try_timeout: Duration,
    /// Longest time without a byte in one attempt; zero is none.
    pub per_try_idle_timeout: Duration,
    /// Statuses that `retriable-status-codes` retries.
    pub retriable_status_codes: Box<[u16]>,
    /// Response headers that `retriable-headers` retries.
    pub retriable_headers: Box<[HeaderMatch]>,
    /// Only requests with one of these headers are retried; empty for all.
    pub retriable_request_headers: Box<[HeaderMatch]>,
    /// Host predicates by name, `envoy.retry_host_predicates.previous_hosts`.
    pub host_predicates: Box<[HostPredicate]>,
    /// Draws of a host before a rejected one is taken after all. Envoy's default: 1.
    pub host_selection_retry_max_attempts: u32,
    /// `previous_priorities`: after each so many attempts, the priorities that were tried are avoided.
    pub previous_priorities: Option<u32>,
    /// Waiting between attempts; `None` for the default, which the runtime may change (`upstream.base_retry_backoff_ms`).
    pub back_off: Option<BackOff>,
    /// Waiting as the upstream asks for it.
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// Weighted clusters are picked anew for each retry, those that have not been tried first.
    pub refresh_cluster_on_retry: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            retry_on: RetryOn::NONE,
            num_retries: 1,
            per_try_timeout: Duration::ZERO,
            per_try_idle_timeout: Duration::ZERO,
            retriable_status_codes: Box::default(),
            retriable_headers: Box::default(),
            retriable_request_headers: Box::default(),
            host_predicates: Box::default(),
            host_selection_retry_max_attempts: 1,
            previous_priorities: None,
            back_off: None,
            rate_limited_back_off: None,
            refresh_cluster_on_retry: false,
        }
    }
}

/// A rule that rejects hosts for a retry.
#[derive(Debug, Clone, PartialEq)]
pub enum HostPredicate {
    /// `previous_hosts`: hosts that were tried before.
    PreviousHosts,
    /// `omit_canary_hosts`: hosts marked `envoy.lb: canary`.
    OmitCanaryHosts,
    /// `omit_host_metadata`: hosts whose `envoy.lb` metadata has all these values.
    OmitHostMetadata(Box<MetadataMatch>),
}

impl HostPredicate {
    /// Whether another host should be found for a retry.
    pub fn rejects(&self, host: &Host, tried: &[Arc<Host>]) -> bool {
        match self {
            HostPredicate::PreviousHosts => tried.iter().any(|t| t.address == host.address),
            HostPredicate::OmitCanaryHosts => host.is_canary(),
            HostPredicate::OmitHostMetadata(wanted) => wanted.matches(host.metadata.as_deref()),
        }
    }
}

/// Exponential back-off with full jitter: before retry n a random time below min(max, base·2ⁿ⁻¹).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// Envoy's default: 25 ms.
    pub base: Duration,
    /// Envoy's default: ten times `base`.
    pub max: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        BackOff::from_base(Duration::from_millis(25))
    }
}

impl BackOff {
    /// With Envoy's usual maximum: ten times `base`.
    pub fn from_base(base: Duration) -> BackOff {
        BackOff { base, max: base.saturating_mul(10) }
    }

    /// Upper bound of the wait before retry number `retry`, counted from 1.
    pub fn ceiling(&self, retry: u32) -> Duration {
        let doublings = retry.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.max)
    }
}

/// Waiting as long as a response header says.
#[derive(Debug, Clone)]
pub struct RateLimitedBackOff {
    /// Headers to look at, in this order.
    pub reset_headers: Box<[ResetHeader]>,
    /// A longer wait is not believed. Envoy's default: 300 s.
    pub max: Duration,
}

impl RateLimitedBackOff {
    /// The wait that a response asks for; `unix_now` is the time of day in seconds since 1970.
    pub fn asked(&self, head: &HeaderMap, unix_now: u64) -> Option<Duration> {
        let asked = |header: &ResetHeader| {
            let number: u64 = head.get_str(&header.name)?.trim().parse().ok()?;
            let seconds = if header.unix_timestamp { number.checked_sub(unix_now)? } else { number };
            Some(Duration::from_secs(seconds))
        };
        let told = self.reset_headers.iter().filter_map(asked).find(|wait| *wait <= self.max)?;
        (!told.is_zero()).then_some(told)
    }
}

/// A response header that tells when to come back.
#[derive(Debug, Clone)]
pub struct ResetHeader {
    /// Its name.
    pub name: HeaderName,
    /// True for a point in time (seconds since 1970), false for a number of seconds.
    pub unix_timestamp: bool,
}

/// A set of retry conditions.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn(u32);

/// Tokens of `retry_on` and `x-envoy-retry-on`, each with its condition; then those of gRPC.
const TOKENS: [(&str, RetryOn); 16] = [
    ("5xx", RetryOn::FIVE_XX),
    ("gateway-error", RetryOn::GATEWAY_ERROR),
    ("reset", RetryOn::RESET),
    ("reset-before-request", RetryOn::RESET_BEFORE_REQUEST),
    ("connect-failure", RetryOn::CONNECT_FAILURE),
    ("envoy-ratelimited", RetryOn::ENVOY_RATE_LIMITED),
    ("retriable-4xx", RetryOn::RETRIABLE_4XX),
    ("refused-stream", RetryOn::REFUSED_STREAM),
    ("retriable-status-codes", RetryOn::RETRIABLE_STATUS_CODES),
    ("retriable-headers", RetryOn::RETRIABLE_HEADERS),
    ("http3-post-connect-failure", RetryOn::HTTP3_POST_CONNECT_FAILURE),
    ("cancelled", RetryOn::GRPC_CANCELLED),
    ("deadline-exceeded", RetryOn::GRPC_DEADLINE_EXCEEDED),
    ("internal", RetryOn::GRPC_INTERNAL),
    ("resource-exhausted", RetryOn::GRPC_RESOURCE_EXHAUSTED),
    ("unavailable", RetryOn::GRPC_UNAVAILABLE),
];
/// Where the gRPC conditions begin in [`TOKENS`]: `x-envoy-retry-grpc-on` takes these only.
const GRPC_TOKENS: RangeInclusive<usize> = 11..=15;

impl RetryOn {
    /// Nothing.
    pub const NONE: RetryOn = RetryOn(0);
    /// Any 5xx, and no response at all.
    pub const FIVE_XX: RetryOn = RetryOn(1);
    /// 502, 503, 504.
    pub const GATEWAY_ERROR: RetryOn = RetryOn(1 << 1);
    /// No response at all.
    pub const RESET: RetryOn = RetryOn(1 << 2);
    /// No response, and nothing of the request was sent.
    pub const RESET_BEFORE_REQUEST: RetryOn = RetryOn(1 << 3);
    /// No connection.
    pub const CONNECT_FAILURE: RetryOn = RetryOn(1 << 4);
    /// A response with `x-envoy-ratelimited`.
    pub const ENVOY_RATE_LIMITED: RetryOn = RetryOn(1 << 5);
    /// 409.
    pub const RETRIABLE_4XX: RetryOn = RetryOn(1 << 6);
    /// HTTP/2 REFUSED_STREAM.
    pub const REFUSED_STREAM: RetryOn = RetryOn(1 << 7);
    /// Statuses that the policy lists.
    pub const RETRIABLE_STATUS_CODES: RetryOn = RetryOn(1 << 8);
    /// Response headers that the policy lists.
    pub const RETRIABLE_HEADERS: RetryOn = RetryOn(1 << 9);
    /// An HTTP/3 connection that failed after its handshake.
    pub const HTTP3_POST_CONNECT_FAILURE: RetryOn = RetryOn(1 << 10);
    /// gRPC status 1.
    pub const GRPC_CANCELLED: RetryOn = RetryOn(1 << 11);
    /// gRPC status 4.
    pub const GRPC_DEADLINE_EXCEEDED: RetryOn = RetryOn(1 << 12);
    /// gRPC status 13.
    pub const GRPC_INTERNAL: RetryOn = RetryOn(1 << 13);
    /// gRPC status 8.
    pub const GRPC_RESOURCE_EXHAUSTED: RetryOn = RetryOn(1 << 14);
    /// gRPC status 14.
    pub const GRPC_UNAVAILABLE: RetryOn = RetryOn(1 << 15);

    /// Reads a list as in `retry_on`; unknown tokens are handed to `unknown` and otherwise ignored, as on Envoy.
    pub fn parse(list: &str, unknown: impl FnMut(&str)) -> RetryOn {
        Self::parse_with(list, &TOKENS, unknown)
    }

    /// Reads a list as in the header `x-envoy-retry-on`: conditions of HTTP only.
    pub fn parse_header(list: &str) -> RetryOn {
        Self::parse_header_with(list, |_| {})
    }

    /// The same, telling what is not one of them.
    pub fn parse_header_with(list: &str, unknown: impl FnMut(&str)) -> RetryOn {
        Self::parse_with(list, &TOKENS[..*GRPC_TOKENS.start()], unknown)
    }

    /// Reads a list as in the header `x-envoy-retry-grpc-on`: conditions of gRPC only.
    pub fn parse_grpc_header(list: &str) -> RetryOn {
        Self::parse_grpc_header_with(list, |_| {})
    }

    /// The same, telling what is not one of them.
    pub fn parse_grpc_header_with(list: &str, unknown: impl FnMut(&str)) -> RetryOn {
        Self::parse_with(list, &TOKENS[GRPC_TOKENS], unknown)
    }

    fn parse_with(list: &str, tokens: &[(&str, RetryOn)], mut unknown: impl FnMut(&str)) -> RetryOn {
        let mut set = RetryOn::NONE;
        for token in list.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            match tokens.iter().find(|(name, _)| *name == token) {
                Some((_, one)) => set = set.and(*one),
                None => unknown(token),
            }
        }
        set
    }

    /// All tokens that mean something, for suggestions.
    pub fn tokens() -> impl Iterator<Item = &'static str> {
        TOKENS.iter().map(|(name, _)| *name)
    }

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: RetryOn) -> RetryOn {
        RetryOn(self.0 | other.0)
    }

    /// Whether the sets share a condition.
    #[inline]
    pub const fn has(self, other: RetryOn) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is retried.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// As in `retry_on`: `5xx,reset`.
impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = TOKENS.iter().filter(|(_, one)| self.has(*one)).map(|(name, _)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RetryOn({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_unknown_tokens_told() {
        let mut unknown = Vec::new();
        let set = RetryOn::parse("5xx, reset,bogus,,unavailable", |token| unknown.push(token.to_owned()));
        assert_eq!(set, RetryOn::FIVE_XX.and(RetryOn::RESET).and(RetryOn::GRPC_UNAVAILABLE));
        assert_eq!(unknown, ["bogus"]);
    }

    #[test]
    fn each_header_takes_its_own_conditions() {
        assert_eq!(RetryOn::parse_header("5xx,unavailable"), RetryOn::FIVE_XX);
        assert_eq!(RetryOn::parse_grpc_header("5xx,unavailable"), RetryOn::GRPC_UNAVAILABLE);
        for (name, one) in &TOKENS[GRPC_TOKENS] {
            assert!(one.0 >= RetryOn::GRPC_CANCELLED.0, "{name}");
        }
    }

    #[test]
    fn a_reset_header_asks_for_a_wait() {
        let header = |name: &str, unix_timestamp| ResetHeader { name: HeaderName::new(name).unwrap(), unix_timestamp };
        let back_off = RateLimitedBackOff {
            reset_headers: [header("x-at", true), header("retry-after", false)].into(),
            max: Duration::from_secs(60),
        };
        let asked = |lines: &[(&str, &str)]| {
            let mut head = HeaderMap::default();
            lines.iter().for_each(|(name, value)| head.append(name.as_bytes(), *value));
            back_off.asked(&head, 1000).map(|wait| wait.as_secs())
        };
        assert_eq!(asked(&[("retry-after", "5")]), Some(5));
        assert_eq!(asked(&[("x-at", "1007"), ("retry-after", "5")]), Some(7));
        assert_eq!(asked(&[("x-at", "999"), ("retry-after", "5")]), Some(5), "the past");
        assert_eq!(asked(&[("x-at", "2000"), ("retry-after", "5")]), Some(5), "too far away");
        assert_eq!(asked(&[("retry-after", "0")]), None);
        assert_eq!(asked(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn back_off_doubles_up_to_its_maximum() {
        let back_off = BackOff::default();
        let ceilings: Vec<u128> = [1, 2, 3, 4, 5, 99].map(|n| back_off.ceiling(n).as_millis()).into();
        assert_eq!(ceilings, [25, 50, 100, 200, 250, 250]);
    }
}
