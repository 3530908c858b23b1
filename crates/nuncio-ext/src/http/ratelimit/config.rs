//! The rate limit filter's messages, read.

use super::{CLUSTER_RATE_LIMIT, RateLimit, Settings, Shared, VirtualHostLimits};
use crate::http::additions::additions;
use crate::read::{self, within};
use crate::service::{grpc::GrpcService, scopes::ClusterScopes};
use nuncio_api::envoy::config::ratelimit::v3::RateLimitServiceConfig;
use nuncio_api::envoy::config::route::v3 as route_proto;
use nuncio_api::envoy::extensions::filters::http::ratelimit::v3 as proto;
use nuncio_core::rate_limit::RateLimitPolicy;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, Fraction, HttpFilter, RuntimeFraction};
use proto::rate_limit_per_route::VhRateLimitsOptions;
use std::{any::Any, sync::Arc, time::Duration};

/// The message.
pub(super) const MESSAGE: &str = "envoy.extensions.filters.http.ratelimit.v3.RateLimit";
/// The message of routes.
pub(super) const ROUTE_MESSAGE: &str = "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute";

/// How long the service may take, unless told.
const TIMEOUT: Duration = Duration::from_millis(20);

/// `RateLimitPerRoute`
#[derive(Debug)]
pub(super) struct PerRoute {
    pub(super) virtual_host: VirtualHostLimits,
    pub(super) policies: Box<[RateLimitPolicy]>,
    pub(super) domain: Option<Box<str>>,
}

/// Which requests are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Internal,
    External,
    Both,
}

fn policies(from: &[route_proto::RateLimit], cx: &mut BuildCx<'_>) -> Result<Box<[RateLimitPolicy]>, ConfigError> {
    let mut made = Vec::with_capacity(from.len());
    for (index, from) in from.iter().enumerate() {
        let policy = crate::rate_limits::policy(from, cx.service_cluster, &mut cx.warnings);
        made.push(policy.map_err(within(&format!("rate_limits[{index}]")))?);
    }
    Ok(made.into())
}

pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::RateLimit {
        domain,
        stage,
        request_type,
        timeout,
        failure_mode_deny,
        rate_limited_as_resource_exhausted,
        rate_limit_service,
        enable_x_ratelimit_headers,
        disable_x_envoy_ratelimited_header,
        rate_limited_status,
        response_headers_to_add,
        status_on_error,
        stat_prefix,
        filter_enabled,
        filter_enforced,
        failure_mode_deny_percent,
        rate_limits,
        metadata_namespace,
        enable_retry_after_header,
    } = read::message(config)?;
    let RateLimitServiceConfig { grpc_service, transport_api_version: _ } = rate_limit_service.unwrap_or_default();
    let grpc = grpc_service.ok_or_else(|| ConfigError::at("rate_limit_service.grpc_service", "is missing"))?;
    let timeout = timeout.as_ref().map_or(TIMEOUT, read::duration);
    let mut service = GrpcService::read("rate_limit_service.grpc_service", &grpc, timeout, cx)?;
    service.set_timeout(timeout);
    let by_default = |key: &str| RuntimeFraction { default: Fraction { numerator: 100, denominator: 100 }, key: key.into() };
    let fraction = |from: Option<&_>, key: &str| from.map_or_else(|| by_default(key), |from| read::runtime_fraction(Some(from), Fraction { numerator: 100, denominator: 100 }));
    let status = |from: Option<nuncio_api::envoy::r#type::v3::HttpStatus>, least: u16, default: u16| {
        from.and_then(|status| u16::try_from(status.code).ok()).filter(|status| *status >= least).unwrap_or(default)
    };
    let suffix = if stat_prefix.is_empty() { "ratelimit.".to_owned() } else { format!("ratelimit.{stat_prefix}.") };
    Ok(Arc::new(RateLimit(Arc::new(Shared {
        name: cx.filter_name.to_owned(),
        settings: Settings {
            domain: domain.as_str().into(),
            stage,
            kind: match request_type.as_str() {
                "internal" => Kind::Internal,
                "external" => Kind::External,
                _ => Kind::Both,
            },
            deny_on_failure: failure_mode_deny,
            deny_on_failure_share: failure_mode_deny_percent.as_ref().map(|from| read::runtime_fraction(Some(from), Fraction { numerator: 0, denominator: 100 })),
            grpc_status: rate_limited_as_resource_exhausted.then_some(8),
            rate_limit_headers: enable_x_ratelimit_headers != 0,
            retry_after: enable_retry_after_header,
            mark_limited: !disable_x_envoy_ratelimited_header,
            status: status(rate_limited_status, 400, 429),
            status_on_error: status(status_on_error, 0, 500),
            response_headers: additions("response_headers_to_add", &response_headers_to_add, cx)?,
            enabled: fraction(filter_enabled.as_ref(), "ratelimit.http_filter_enabled"),
            enforced: fraction(filter_enforced.as_ref(), "ratelimit.http_filter_enforcing"),
            policies: policies(&rate_limits, cx)?,
            metadata: if metadata_namespace.is_empty() { "envoy.filters.http.ratelimit".to_owned() } else { metadata_namespace },
        },
        service,
        of_cluster: ClusterScopes::new(cx.stats, &CLUSTER_RATE_LIMIT, &suffix),
        state: cx.state_slot(),
    }))))
}

pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::RateLimitPerRoute { vh_rate_limits, override_option, rate_limits, domain } = read::message(config)?;
    if override_option != 0 {
        cx.warnings.push(ConfigError::at("override_option", "is accepted without effect, as on Envoy"));
    }
    Ok(Arc::new(PerRoute {
        virtual_host: match VhRateLimitsOptions::try_from(vh_rate_limits) {
            Ok(VhRateLimitsOptions::Include) => VirtualHostLimits::Include,
            Ok(VhRateLimitsOptions::Ignore) => VirtualHostLimits::Ignore,
            Ok(VhRateLimitsOptions::Override) | Err(_) => VirtualHostLimits::Override,
        },
        policies: policies(&rate_limits, cx)?,
        domain: (!domain.is_empty()).then(|| domain.into()),
    }))
}
