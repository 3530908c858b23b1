//! What the service says: `RateLimitResponse`, and the headers that tell clients of it.

use super::Settings;
use nuncio_api::envoy::config::core::v3::HeaderValue;
use nuncio_api::envoy::extensions::common::ratelimit::v3 as common;
use nuncio_api::envoy::r#type::v3::RateLimitUnit;
use nuncio_api::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse, rate_limit_response as response};
use nuncio_core::rate_limit::Descriptor;
use nuncio_codec::headers::{HeaderMap, HeaderName};
use response::DescriptorStatus;
use response::rate_limit::Unit;
use std::fmt::Write;

/// The question: does this count as too much?
pub(super) fn request(domain: &str, descriptors: Vec<Descriptor>) -> RateLimitRequest {
    let descriptor = |from: Descriptor| {
        let entry = |(key, value): (Box<str>, String)| common::rate_limit_descriptor::Entry { key: key.into(), value };
        common::RateLimitDescriptor {
            entries: from.entries.into_iter().map(entry).collect(),
            limit: from.limit.map(|limit| common::rate_limit_descriptor::RateLimitOverride {
                requests_per_unit: limit.requests_per_unit,
                unit: RateLimitUnit::from_str_name(&limit.unit).unwrap_or(RateLimitUnit::Unknown) as i32,
                unit_multiplier: None,
            }),
            hits_addend: from.hits,
            is_negative_hits: from.negative_hits,
        }
    };
    RateLimitRequest { domain: domain.to_owned(), descriptors: descriptors.into_iter().map(descriptor).collect(), hits_addend: 0 }
}

/// Headers that the service names, without those that cannot be sent.
pub(super) fn headers(from: Vec<HeaderValue>) -> impl Iterator<Item = (String, String)> {
    from.into_iter().filter_map(|HeaderValue { key, value, raw_value }| {
        let value = if value.is_empty() { String::from_utf8_lossy(&raw_value).into_owned() } else { value };
        let name = HeaderName::new(&key)?;
        let framing = matches!(name.as_str(), "content-length" | "transfer-encoding") || key.starts_with(':');
        let sendable = value.bytes().all(|b| b == b'\t' || b >= 0x20 && b != 0x7f);
        (sendable && !framing).then(|| (name.as_str().to_owned(), value))
    })
}

/// Adds the service's headers to the request.
pub(super) fn add_to_request(head: &mut HeaderMap, from: Vec<HeaderValue>) {
    for (name, value) in headers(from) {
        head.append(name.as_bytes(), value);
    }
}

fn seconds(unit: Unit, multiplier: u32) -> u64 {
    let one: u64 = match unit {
        Unit::Unknown => 0,
        Unit::Second => 1,
        Unit::Minute => 60,
        Unit::Hour => 3600,
        Unit::Day => 86_400,
        Unit::Week => 604_800,
        Unit::Month => 2_592_000,
        Unit::Year => 31_536_000,
    };
    one * u64::from(multiplier.max(1))
}

/// The status with the least left.
fn nearest(statuses: &[DescriptorStatus]) -> Option<(&DescriptorStatus, &response::RateLimit)> {
    statuses.iter().filter_map(|status| Some((status, status.current_limit.as_ref()?))).min_by_key(|(status, _)| status.limit_remaining)
}

/// `x-ratelimit-*` and `retry-after`, as far as they are wanted.
pub(super) fn told(settings: &Settings, answer: &RateLimitResponse, limited: bool) -> Vec<(String, String)> {
    let mut made = Vec::new();
    let Some((status, limit)) = nearest(&answer.statuses) else { return made };
    let reset = status.duration_until_reset.as_ref().map_or(0, |time| time.seconds.max(0)).to_string();
    if settings.rate_limit_headers {
        let mut text = limit.requests_per_unit.to_string();
        for limit in answer.statuses.iter().filter_map(|status| status.current_limit.as_ref()) {
            let window = seconds(limit.unit(), limit.unit_multiplier.unwrap_or(1));
            // Writing to a String cannot fail.
            let _ = write!(text, ", {};w={window}", limit.requests_per_unit);
            if !limit.name.is_empty() {
                let _ = write!(text, ";name=\"{}\"", limit.name);
            }
        }
        if text.bytes().all(|b| b >= 0x20 && b != 0x7f) {
            made.push(("x-ratelimit-limit".to_owned(), text));
        }
        made.push(("x-ratelimit-remaining".to_owned(), status.limit_remaining.to_string()));
        made.push(("x-ratelimit-reset".to_owned(), reset.clone()));
    }
    if settings.retry_after && limited {
        made.push(("retry-after".to_owned(), reset));
    }
    made
}
