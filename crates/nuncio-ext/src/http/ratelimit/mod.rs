//! `envoy.filters.http.ratelimit`: a service that all instances share decides whether a request is one too many.
//!
//! A service that cannot be asked lets requests pass, unless `failure_mode_deny` is set. Requests without descriptors are
//! not asked about.

mod answer;
mod config;

use super::additions::Addition;
use crate::service::{grpc::{GrpcFailure, GrpcService}, scopes::{self, ClusterScopes}};
use config::{Kind, PerRoute};
use nuncio_api::envoy::service::ratelimit::v3::{RateLimitResponse, rate_limit_response::Code};
use nuncio_codec::headers::Known;
use nuncio_core::metadata::MetadataValue;
use nuncio_core::rate_limit::{Descriptor, RateLimitPolicy};
use nuncio_core::{
    HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, ResponseFlags, RuntimeFraction, StateSlot, Step, StreamCx,
};
use nuncio_stats::stats_table;
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.ratelimit",
    message: config::MESSAGE,
    route_message: config::ROUTE_MESSAGE,
    posture: Posture::UntrustedDownstream,
    build: config::build,
    route: config::route,
};

/// The service's method.
pub(crate) const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

stats_table! {
    /// `cluster.<name>.ratelimit.`
    pub CLUSTER_RATE_LIMIT: "cluster_rate_limit" {
        /// Requests to this cluster whose service could not say.
        counter ERROR = "error" [lazy],
        /// Requests to this cluster let pass though the service could not say.
        counter FAILURE_MODE_ALLOWED = "failure_mode_allowed" [lazy],
        /// Requests to this cluster within their limits.
        counter OK = "ok" [lazy],
        /// Requests to this cluster beyond their limits.
        counter OVER_LIMIT = "over_limit" [lazy],
    }
}

/// `VhRateLimitsOptions`: when the virtual host's policies count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VirtualHostLimits {
    /// Where the route has none.
    Override,
    /// Always.
    Include,
    /// Never.
    Ignore,
}

#[derive(Debug)]
struct Settings {
    domain: Box<str>,
    stage: u32,
    kind: Kind,
    deny_on_failure: bool,
    deny_on_failure_share: Option<RuntimeFraction>,
    grpc_status: Option<u32>,
    rate_limit_headers: bool,
    retry_after: bool,
    /// `x-envoy-ratelimited` is sent.
    mark_limited: bool,
    status: u16,
    status_on_error: u16,
    response_headers: Box<[Addition]>,
    enabled: RuntimeFraction,
    enforced: RuntimeFraction,
    /// Instead of the route's.
    policies: Box<[RateLimitPolicy]>,
    metadata: String,
}

#[derive(Debug)]
struct RateLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    settings: Settings,
    service: GrpcService,
    of_cluster: ClusterScopes,
    state: StateSlot<State>,
}

/// What is known of one exchange.
#[derive(Debug, Default)]
struct State {
    /// The filter looked at the request.
    active: bool,
    /// To be added to the response.
    response: Vec<(String, String)>,
}

impl Shared {
    /// What the request counts as, now or when the exchange is over.
    fn descriptors(&self, cx: &StreamCx, at_the_end: bool) -> Vec<Descriptor> {
        let mut made = Vec::new();
        let mut add = |policies: &[RateLimitPolicy], stage: Option<u32>| {
            let counted = policies.iter().filter(|policy| policy.on_stream_done == at_the_end && stage.is_none_or(|stage| policy.stage == stage));
            made.extend(counted.filter_map(|policy| policy.descriptor(cx)));
        };
        let view = cx.route.as_ref().and_then(|route| route.view());
        let own = cx.route_config::<PerRoute>(&self.name);
        // Those of the filter's own kind have no stages.
        if let Some(policies) = own.map(|own| &own.policies).filter(|policies| !policies.is_empty()) {
            add(policies, None);
        } else if !self.settings.policies.is_empty() {
            add(&self.settings.policies, None);
        } else if let Some(view) = view {
            let stage = Some(self.settings.stage);
            add(view.rate_limits(), stage);
            let option = own.map_or(VirtualHostLimits::Override, |own| own.virtual_host);
            let of_host = view.includes_virtual_host_rate_limits()
                || match option {
                    VirtualHostLimits::Include => true,
                    VirtualHostLimits::Ignore => false,
                    VirtualHostLimits::Override => view.rate_limits().is_empty(),
                };
            if of_host {
                add(view.virtual_host_rate_limits(), stage);
            }
        }
        made
    }

    fn ask(&self, cx: &StreamCx, descriptors: Vec<Descriptor>) -> nuncio_core::LocalFuture<Result<RateLimitResponse, GrpcFailure>> {
        let domain = cx.route_config::<PerRoute>(&self.name).and_then(|own| own.domain.as_deref()).unwrap_or(&self.settings.domain);
        self.service.call(cx, SHOULD_RATE_LIMIT, &answer::request(domain, descriptors))
    }

    fn decide(&self, cx: &mut StreamCx, answer: Result<RateLimitResponse, GrpcFailure>, cluster: Option<&str>) -> Step {
        let count = |cx: &StreamCx, id| {
            if let Some(cluster) = cluster {
                self.of_cluster.inc(cx, cluster, id);
            }
        };
        let settings = &self.settings;
        let Ok(mut answer) = answer else {
            count(cx, ERROR);
            let deny = settings.deny_on_failure_share.as_ref().map_or(settings.deny_on_failure, |share| cx.worker.draws(share));
            if deny {
                return Step::reply(LocalReply::new(settings.status_on_error, "rate_limiter_error").flags(ResponseFlags::RLSE));
            }
            count(cx, FAILURE_MODE_ALLOWED);
            return Step::Continue;
        };
        if let Some(told) = answer.dynamic_metadata.as_ref().map(crate::read::fields).filter(|told| !told.is_empty()) {
            match cx.metadata.entry(settings.metadata.clone()).or_insert_with(|| MetadataValue::Struct(Default::default())) {
                MetadataValue::Struct(fields) => fields.extend(told),
                other => *other = MetadataValue::Struct(told),
            }
        }
        let limited = answer.overall_code() == Code::OverLimit;
        let mut response: Vec<(String, String)> = answer::headers(std::mem::take(&mut answer.response_headers_to_add)).collect();
        if limited && settings.mark_limited {
            response.push(("x-envoy-ratelimited".to_owned(), "true".to_owned()));
        }
        response.extend(answer::told(settings, &answer, limited));
        if limited {
            count(cx, OVER_LIMIT);
            if let (Some(cluster), Some(client)) = (cluster, cx.worker.http_client()) {
                client.charge(cluster, settings.status, true);
            }
            if cx.worker.draws(&settings.enforced) {
                return Step::reply(self.refusal(cx, &answer.raw_body, response));
            }
        } else {
            count(cx, OK);
        }
        answer::add_to_request(&mut cx.request, answer.request_headers_to_add);
        cx.state(&self.state).response = response;
        Step::Continue
    }

    fn refusal(&self, cx: &StreamCx, body: &[u8], headers: Vec<(String, String)>) -> LocalReply {
        let settings = &self.settings;
        let body = String::from_utf8_lossy(body).into_owned();
        let mut reply = LocalReply::new(settings.status, "request_rate_limited").body(body).flags(ResponseFlags::RL);
        reply.grpc_status = settings.grpc_status.or(Some(14));
        let own = settings.response_headers.iter().filter_map(|addition| addition.made(cx));
        for (name, value) in headers.into_iter().chain(own) {
            reply = reply.header(name, value);
        }
        reply
    }
}

impl HttpFilter for RateLimit {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_HEADERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let shared = &self.0;
        if !cx.worker.draws(&shared.settings.enabled) {
            return Step::Continue;
        }
        let internal = cx.request.get(Known::XEnvoyInternal) == Some(b"true");
        if internal && shared.settings.kind == Kind::External || !internal && shared.settings.kind == Kind::Internal {
            return Step::Continue;
        }
        cx.state(&shared.state).active = true;
        let descriptors = shared.descriptors(cx, false);
        if descriptors.is_empty() {
            return Step::Continue;
        }
        let asked = shared.ask(cx, descriptors);
        let (shared, cluster) = (shared.clone(), scopes::cluster_of(cx));
        Step::wait(async move {
            let answer = asked.await;
            move |cx: &mut StreamCx| shared.decide(cx, answer, cluster.as_deref())
        })
    }

    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        if let Some(headers) = cx.held_state(&self.0.state).map(|state| std::mem::take(&mut state.response)) {
            headers.into_iter().for_each(|(name, value)| cx.response.append(name.as_bytes(), value));
        }
        Step::Continue
    }

    fn done(&self, cx: &mut StreamCx) {
        if !cx.held_state(&self.0.state).is_some_and(|state| state.active) {
            return;
        }
        let descriptors = self.0.descriptors(cx, true);
        if !descriptors.is_empty() {
            let asked = self.0.ask(cx, descriptors);
            // Nobody waits for this answer: it only counts.
            nuncio_rt::spawn(async move { drop(asked.await) });
        }
    }
}
