//! `envoy.filters.network.ratelimit`: a service that all instances share decides whether a connection is one too many.
//!
//! A service that cannot be asked lets connections pass, unless `failure_mode_deny` is set.

use crate::read::{self, within};
use crate::service::grpc::{GrpcFailure, GrpcService};
use nuncio_api::envoy::config::ratelimit::v3::RateLimitServiceConfig;
use nuncio_api::envoy::extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry};
use nuncio_api::envoy::extensions::filters::network::ratelimit::v3::RateLimit as Message;
use nuncio_api::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse, rate_limit_response::Code};
use nuncio_core::format::Format;
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Fraction, NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep, Posture,
    RuntimeFraction, StreamCx,
};
use nuncio_stats::{Scope, stats_table};
use std::{sync::Arc, time::Duration};

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.ratelimit",
    message: "envoy.extensions.filters.network.ratelimit.v3.RateLimit",
    posture: Posture::UntrustedDownstream,
    build,
};

/// How long the service may take, unless told.
const TIMEOUT: Duration = Duration::from_millis(20);
const NAMESPACE: &str = "envoy.filters.network.ratelimit";

stats_table! {
    /// `ratelimit.<prefix>.`
    pub NETWORK_RATE_LIMIT: "network_rate_limit" {
        /// Connections that wait for an answer.
        gauge ACTIVE = "active",
        /// Connections closed.
        counter CX_CLOSED = "cx_closed",
        /// Times the service could not say.
        counter ERROR = "error",
        /// Connections let pass though the service could not say.
        counter FAILURE_MODE_ALLOWED = "failure_mode_allowed",
        /// Connections within their limits.
        counter OK = "ok",
        /// Connections beyond their limits.
        counter OVER_LIMIT = "over_limit",
        /// Times the service was asked.
        counter TOTAL = "total",
    }
}

#[derive(Debug)]
struct RateLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    domain: String,
    /// Descriptors, by keys and what their values are made of.
    descriptors: Vec<(RateLimitDescriptor, Vec<Format>)>,
    deny_on_failure: bool,
    service: GrpcService,
    enabled: RuntimeFraction,
    enforced: RuntimeFraction,
    scope: Arc<Scope>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let Message { stat_prefix, domain, descriptors, timeout, failure_mode_deny, rate_limit_service } = read::message(config)?;
    let RateLimitServiceConfig { grpc_service, transport_api_version: _ } = rate_limit_service.unwrap_or_default();
    let grpc = grpc_service.ok_or_else(|| ConfigError::at("rate_limit_service.grpc_service", "is missing"))?;
    let timeout = timeout.as_ref().map_or(TIMEOUT, read::duration);
    let mut service = GrpcService::read("rate_limit_service.grpc_service", &grpc, timeout, cx)?;
    service.set_timeout(timeout);
    let mut made = Vec::with_capacity(descriptors.len());
    for (index, descriptor) in descriptors.into_iter().enumerate() {
        let values = descriptor.entries.iter().map(|entry| read::format(&entry.value, &mut cx.warnings));
        let values = values.collect::<Result<_, _>>().map_err(within(&format!("descriptors[{index}].entries")))?;
        made.push((descriptor, values));
    }
    let always = |key: &str| RuntimeFraction { default: Fraction { numerator: 100, denominator: 100 }, key: key.into() };
    Ok(NetworkPart::Filter(Arc::new(RateLimit(Arc::new(Shared {
        domain,
        descriptors: made,
        deny_on_failure: failure_mode_deny,
        service,
        enabled: always("ratelimit.tcp_filter_enabled"),
        enforced: always("ratelimit.tcp_filter_enforcing"),
        scope: cx.stats.scope(&format!("ratelimit.{stat_prefix}."), &NETWORK_RATE_LIMIT),
    })))))
}

impl Shared {
    /// What the connection counts as. A value that comes out empty leaves its entry out.
    fn question(&self, cx: &StreamCx) -> RateLimitRequest {
        let descriptor = |(from, values): &(RateLimitDescriptor, Vec<Format>)| {
            let entry = |(entry, value): (&Entry, &Format)| {
                let mut text = Vec::new();
                value.write(cx, &mut text);
                Entry { key: entry.key.clone(), value: String::from_utf8_lossy(&text).into_owned() }
            };
            RateLimitDescriptor { entries: from.entries.iter().zip(values).map(entry).collect(), ..from.clone() }
        };
        RateLimitRequest { domain: self.domain.clone(), descriptors: self.descriptors.iter().map(descriptor).collect(), hits_addend: 0 }
    }

    fn decide(&self, cx: &mut StreamCx, answer: Result<RateLimitResponse, GrpcFailure>) -> NetworkStep {
        let lane = cx.worker.lane;
        self.scope.gauge_add(lane, ACTIVE, -1);
        let close = || {
            self.scope.inc(lane, CX_CLOSED);
            NetworkStep::Close
        };
        let Ok(answer) = answer else {
            self.scope.inc(lane, ERROR);
            if self.deny_on_failure {
                return close();
            }
            self.scope.inc(lane, FAILURE_MODE_ALLOWED);
            return NetworkStep::Continue;
        };
        if let Some(told) = answer.dynamic_metadata.as_ref().map(read::fields).filter(|told| !told.is_empty()) {
            cx.metadata.insert(NAMESPACE.to_owned(), MetadataValue::Struct(told));
        }
        if answer.overall_code() != Code::OverLimit {
            self.scope.inc(lane, OK);
            return NetworkStep::Continue;
        }
        self.scope.inc(lane, OVER_LIMIT);
        if !cx.worker.draws(&self.enforced) {
            return NetworkStep::Continue;
        }
        close()
    }
}

impl NetworkFilter for RateLimit {
    fn on_new_connection(&self, cx: &mut StreamCx) -> NetworkStep {
        let shared = &self.0;
        if !cx.worker.draws(&shared.enabled) {
            return NetworkStep::Continue;
        }
        shared.scope.inc(cx.worker.lane, TOTAL);
        shared.scope.gauge_add(cx.worker.lane, ACTIVE, 1);
        let asked = shared.service.call(cx, crate::http::ratelimit::SHOULD_RATE_LIMIT, &shared.question(cx));
        let shared = shared.clone();
        NetworkStep::wait(async move {
            let answer = asked.await;
            move |cx: &mut StreamCx| shared.decide(cx, answer)
        })
    }
}
