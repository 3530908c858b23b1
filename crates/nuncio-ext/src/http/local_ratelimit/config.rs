//! The local rate limit filter's message, read.

use crate::bucket::Size;
use super::limiter::{Limited, Limiter, Limits};
use super::{LOCAL_RATE_LIMIT, LocalRateLimit, Settings, VirtualHostLimits};
use crate::http::additions::additions;
use crate::read::{self, within};
use nuncio_api::envoy::extensions::common::ratelimit::v3 as common;
use nuncio_api::envoy::extensions::filters::http::local_ratelimit::v3 as proto;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, Fraction, HttpFilter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{any::Any, sync::Arc};

/// The filter's message, for routes as well.
pub(super) const MESSAGE: &str = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";

/// Envoy's default `max_dynamic_descriptors`.
const MAX_DYNAMIC: u32 = 20;

/// Numbers under which connections keep their buckets.
static NUMBERS: AtomicUsize = AtomicUsize::new(1);

fn limited(from: &common::LocalRateLimitDescriptor) -> Result<Limited, ConfigError> {
    let common::LocalRateLimitDescriptor { entries, token_bucket, shadow_mode } = from;
    let bucket = token_bucket.as_ref().ok_or_else(|| ConfigError::at("token_bucket", "is missing"))?;
    let entries = entries.iter().map(|entry| (entry.key.as_str().into(), entry.value.as_str().into())).collect();
    Ok(Limited { entries, size: Size::read(bucket), shadow: *shadow_mode })
}

fn settings(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Settings, ConfigError> {
    let proto::LocalRateLimit {
        stat_prefix,
        status,
        token_bucket,
        filter_enabled,
        filter_enforced,
        request_headers_to_add_when_not_enforced,
        response_headers_to_add,
        descriptors,
        stage,
        local_rate_limit_per_downstream_connection,
        local_cluster_rate_limit,
        enable_x_ratelimit_headers,
        vh_rate_limits,
        always_consume_default_token_bucket,
        rate_limited_as_resource_exhausted,
        rate_limits,
        max_dynamic_descriptors,
        enable_retry_after_header,
    } = read::message(config)?;
    if local_cluster_rate_limit.is_some() {
        cx.warnings.push(ConfigError::at("local_cluster_rate_limit", "is accepted without effect: the limit is not shared out between instances"));
    }
    let none = Fraction { numerator: 0, denominator: 100 };
    let status = status.and_then(|status| u16::try_from(status.code).ok()).filter(|status| *status >= 400);
    let mut limited = read::each("descriptors", &descriptors, limited)?.into_vec();
    limited.sort_by(|a, b| a.size.per_second.total_cmp(&b.size.per_second));
    let mut policies = Vec::with_capacity(rate_limits.len());
    for (index, from) in rate_limits.iter().enumerate() {
        let policy = crate::rate_limits::policy(from, cx.service_cluster, &mut cx.warnings);
        policies.push(policy.map_err(within(&format!("rate_limits[{index}]")))?);
    }
    let limits = Limits {
        default: token_bucket.as_ref().map(Size::read),
        descriptors: limited,
        always_default: always_consume_default_token_bucket.unwrap_or(true),
        max_dynamic: max_dynamic_descriptors.unwrap_or(MAX_DYNAMIC) as usize,
    };
    Ok(Settings {
        stats: cx.stats.scope(&format!("{stat_prefix}.http_local_rate_limit."), &LOCAL_RATE_LIMIT),
        status: status.unwrap_or(429),
        enabled: read::runtime_fraction(filter_enabled.as_ref(), none),
        enforced: read::runtime_fraction(filter_enforced.as_ref(), none),
        request_headers: additions("request_headers_to_add_when_not_enforced", &request_headers_to_add_when_not_enforced, cx)?,
        response_headers: additions("response_headers_to_add", &response_headers_to_add, cx)?,
        stage,
        limiter: Limiter::new(&limits),
        per_connection: local_rate_limit_per_downstream_connection.then(|| NUMBERS.fetch_add(1, Ordering::Relaxed)),
        limits,
        rate_limit_headers: enable_x_ratelimit_headers != 0,
        virtual_host: match common::VhRateLimitsOptions::try_from(vh_rate_limits) {
            Ok(common::VhRateLimitsOptions::Include) => VirtualHostLimits::Include,
            Ok(common::VhRateLimitsOptions::Ignore) => VirtualHostLimits::Ignore,
            Ok(common::VhRateLimitsOptions::Override) | Err(_) => VirtualHostLimits::Override,
        },
        grpc_status: rate_limited_as_resource_exhausted.then_some(8),
        policies,
        retry_after: enable_retry_after_header,
    })
}

pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let settings = settings(config, cx)?;
    Ok(Arc::new(LocalRateLimit { name: cx.filter_name.to_owned(), settings, state: cx.state_slot() }))
}

pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(settings(config, cx)?))
}
