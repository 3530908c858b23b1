//! The fault filter's messages, read.

use super::{Downstream, FAULT, Fault};
use crate::read;
use nuncio_api::envoy::extensions::filters::common::fault::v3 as common;
use nuncio_api::envoy::extensions::filters::http::fault::v3 as proto;
use nuncio_core::matching::HeaderMatch;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, Fraction, HttpFilter, RuntimeFraction, RuntimeUint};
use std::sync::atomic::AtomicU64;
use std::{any::Any, sync::Arc, time::Duration};

/// The filter's message, for routes as well.
pub(super) const MESSAGE: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";

/// Which requests are meant, and what may happen to them.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) delay: Option<Delay>,
    pub(super) abort: Option<Abort>,
    pub(super) response_limit: Option<ResponseLimit>,
    pub(super) upstream_cluster: String,
    pub(super) headers: Box<[HeaderMatch]>,
    pub(super) downstream_nodes: Vec<String>,
    pub(super) max_active: RuntimeUint,
    pub(super) disable_downstream_cluster_stats: bool,
}

#[derive(Debug)]
pub(super) struct Delay {
    pub(super) by: DelayBy,
    pub(super) fraction: RuntimeFraction,
    pub(super) duration_key: Box<str>,
}

#[derive(Debug)]
pub(super) enum DelayBy {
    Fixed(Duration),
    Header,
}

#[derive(Debug)]
pub(super) struct Abort {
    pub(super) with: AbortWith,
    pub(super) fraction: RuntimeFraction,
    pub(super) http_key: Box<str>,
    pub(super) grpc_key: Box<str>,
    pub(super) body: String,
}

#[derive(Debug)]
pub(super) enum AbortWith {
    Http(u32),
    Grpc(u32),
    Header,
}

#[derive(Debug)]
pub(super) struct ResponseLimit {
    pub(super) by: LimitBy,
    pub(super) fraction: RuntimeFraction,
}

#[derive(Debug)]
pub(super) enum LimitBy {
    /// KiB per second.
    Fixed(u64),
    Header,
}

impl Settings {
    /// Nothing ever happens.
    pub(super) fn is_idle(&self) -> bool {
        self.delay.is_none() && self.abort.is_none() && self.response_limit.is_none()
    }
}

fn or(key: &str, default: &str) -> Box<str> {
    if key.is_empty() { default.into() } else { key.into() }
}

fn percentage(from: Option<&nuncio_api::envoy::r#type::v3::FractionalPercent>, key: Box<str>) -> RuntimeFraction {
    let default = from.map_or(Fraction { numerator: 0, denominator: 100 }, read::fraction);
    RuntimeFraction { default, key }
}

fn settings(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Settings, ConfigError> {
    let proto::HttpFault {
        delay,
        abort,
        upstream_cluster,
        headers,
        downstream_nodes,
        max_active_faults,
        response_rate_limit,
        delay_percent_runtime,
        abort_percent_runtime,
        delay_duration_runtime,
        abort_http_status_runtime,
        max_active_faults_runtime,
        response_rate_limit_percent_runtime,
        abort_grpc_status_runtime,
        disable_downstream_cluster_stats,
        filter_metadata,
    } = read::message(config)?;
    if filter_metadata.is_some() {
        cx.warnings.push(ConfigError::at("filter_metadata", "is accepted without effect: it is not built yet"));
    }
    let delay = delay.and_then(|from| {
        let by = match from.fault_delay_secifier? {
            common::fault_delay::FaultDelaySecifier::FixedDelay(time) => DelayBy::Fixed(read::duration(&time)),
            common::fault_delay::FaultDelaySecifier::HeaderDelay(common::fault_delay::HeaderDelay {}) => DelayBy::Header,
        };
        let fraction = percentage(from.percentage.as_ref(), or(&delay_percent_runtime, "fault.http.delay.fixed_delay_percent"));
        Some(Delay { by, fraction, duration_key: or(&delay_duration_runtime, "fault.http.delay.fixed_duration_ms") })
    });
    let abort = abort.and_then(|from| {
        let with = match from.error_type? {
            proto::fault_abort::ErrorType::HttpStatus(status) => AbortWith::Http(status),
            proto::fault_abort::ErrorType::GrpcStatus(status) => AbortWith::Grpc(status),
            proto::fault_abort::ErrorType::HeaderAbort(proto::fault_abort::HeaderAbort {}) => AbortWith::Header,
        };
        Some(Abort {
            with,
            fraction: percentage(from.percentage.as_ref(), or(&abort_percent_runtime, "fault.http.abort.abort_percent")),
            http_key: or(&abort_http_status_runtime, "fault.http.abort.http_status"),
            grpc_key: or(&abort_grpc_status_runtime, "fault.http.abort.grpc_status"),
            body: from.response_body,
        })
    });
    let response_limit = response_rate_limit.and_then(|from| {
        let by = match from.limit_type? {
            common::fault_rate_limit::LimitType::FixedLimit(common::fault_rate_limit::FixedLimit { limit_kbps }) => LimitBy::Fixed(limit_kbps),
            common::fault_rate_limit::LimitType::HeaderLimit(common::fault_rate_limit::HeaderLimit {}) => LimitBy::Header,
        };
        let key = or(&response_rate_limit_percent_runtime, "fault.http.rate_limit.response_percent");
        Some(ResponseLimit { by, fraction: percentage(from.percentage.as_ref(), key) })
    });
    Ok(Settings {
        delay,
        abort,
        response_limit,
        upstream_cluster,
        headers: read::headers("headers", &headers)?,
        downstream_nodes,
        max_active: RuntimeUint {
            default: max_active_faults.map_or(u64::MAX, u64::from),
            key: or(&max_active_faults_runtime, "fault.http.max_active_faults"),
        },
        disable_downstream_cluster_stats,
    })
}

pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let settings = settings(config, cx)?;
    let prefix = format!("{}fault.", cx.stat_prefix);
    Ok(Arc::new(Fault {
        name: cx.filter_name.to_owned(),
        settings,
        stats: cx.stats.scope(&prefix, &FAULT),
        downstream: Downstream { store: cx.stats.clone(), prefix, scopes: Default::default() },
        active: Arc::new(AtomicU64::new(0)),
        state: cx.state_slot(),
    }))
}

pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(settings(config, cx)?))
}
