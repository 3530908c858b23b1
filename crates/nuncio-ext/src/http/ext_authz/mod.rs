//! `envoy.filters.http.ext_authz`: a service decides whether a request may pass, and says what is changed on the way.
//!
//! A service that cannot be asked denies, unless `failure_mode_allow` is set. What is not built of the filter's message is
//! refused when starting: a request never passes because a condition was left out.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod service;
mod verdict;

use crate::service::scopes::{self, ClusterScopes};
use check::Body;
use config::{BodySettings, PerRoute, RouteSettings, Settings};
use nuncio_api::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{Hold, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, ResponseFlags, StateSlot, Step, StreamCx};
use nuncio_rt::{Buf, Time};
use nuncio_stats::{CounterId, Scope, stats_table};
use service::Service;
use std::{collections::HashMap, sync::Arc};
use verdict::{Changes, Flaw, Header, Refusal, Verdict};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.ext_authz",
    message: config::MESSAGE,
    route_message: config::ROUTE_MESSAGE,
    posture: Posture::UntrustedDownstream,
    build: config::build,
    route: config::route,
};

/// Namespace of what services tell as metadata.
const METADATA: &str = "envoy.filters.http.ext_authz";

stats_table! {
    /// `http.<prefix>.ext_authz.`
    pub EXT_AUTHZ: "ext_authz" {
        /// Requests refused by the service.
        counter DENIED = "denied",
        /// Requests that met the filter switched off.
        counter DISABLED = "disabled",
        /// Requests whose service could not say.
        counter ERROR = "error",
        /// Requests let pass though the service could not say.
        counter FAILURE_MODE_ALLOWED = "failure_mode_allowed",
        /// Filter state that was there already.
        counter FILTER_STATE_NAME_COLLISION = "filter_state_name_collision",
        /// Metadata of services that were not taken.
        counter IGNORED_DYNAMIC_METADATA = "ignored_dynamic_metadata",
        /// Answers that asked for what may not be.
        counter INVALID = "invalid",
        /// Requests allowed by the service.
        counter OK = "ok",
        /// Response headers left out.
        counter OMITTED_RESPONSE_HEADERS = "omitted_response_headers",
        /// Requests that would have had too many headers.
        counter REQUEST_HEADER_LIMITS_REACHED = "request_header_limits_reached",
        /// Responses that would have had too many headers.
        counter RESPONSE_HEADER_LIMITS_REACHED = "response_header_limits_reached",
        /// Requests that would have been refused.
        counter SHADOW_DENIED = "shadow_denied",
        /// Requests whose service could not say, without consequence.
        counter SHADOW_ERROR = "shadow_error",
    }
}

stats_table! {
    /// `cluster.<name>.ext_authz.`
    pub CLUSTER_EXT_AUTHZ: "cluster_ext_authz" {
        /// Requests to this cluster that were refused.
        counter CLUSTER_DENIED = "denied" [lazy],
        /// Requests to this cluster whose service could not say.
        counter CLUSTER_ERROR = "error" [lazy],
        /// Requests to this cluster let pass though the service could not say.
        counter CLUSTER_FAILURE_MODE_ALLOWED = "failure_mode_allowed" [lazy],
        /// Answers about requests to this cluster that asked for what may not be.
        counter CLUSTER_INVALID = "invalid" [lazy],
        /// Requests to this cluster that were allowed.
        counter CLUSTER_OK = "ok" [lazy],
    }
}

#[derive(Debug)]
struct ExtAuthz(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    settings: Settings,
    service: Arc<Service>,
    stats: Arc<Scope>,
    of_cluster: ClusterScopes,
    state: StateSlot<State>,
}

/// What is known of one exchange.
#[derive(Debug, Default)]
struct State {
    /// The body so far, while it is waited for.
    body: Option<Collected>,
    /// What the service wants changed of the response.
    response: Vec<(HeaderAppendAction, Header)>,
}

#[derive(Debug)]
struct Collected {
    settings: BodySettings,
    bytes: Vec<u8>,
    all: usize,
}

impl Shared {
    fn count(&self, cx: &StreamCx, cluster: Option<&str>, own: CounterId, of_cluster: CounterId) {
        self.stats.inc(cx.worker.lane, own);
        if let Some(cluster) = cluster {
            self.of_cluster.inc(cx, cluster, of_cluster);
        }
    }

    /// The settings of the route, the most specific last; `None` where the filter is off.
    fn levels<'c>(&self, cx: &'c StreamCx) -> Option<Vec<&'c RouteSettings>> {
        let mut levels = Vec::new();
        for level in cx.route.iter().flat_map(|route| route.filter_configs::<PerRoute>(&self.name)) {
            match level {
                PerRoute::Disabled if levels.is_empty() => return None,
                PerRoute::Settings(settings) => levels.push(settings),
                PerRoute::Disabled => {}
            }
        }
        levels.reverse();
        Some(levels)
    }

    fn is_enabled(&self, cx: &StreamCx) -> bool {
        let settings = &self.settings;
        cx.worker.draws(&settings.enabled)
            && settings.enabled_metadata.as_ref().is_none_or(|matcher| matcher.matches(&cx.metadata))
    }

    /// Asks the service; the request waits for its word.
    fn ask(self: &Arc<Self>, cx: &StreamCx, body: Option<Body>) -> Step {
        let levels = self.levels(cx).unwrap_or_default();
        let mut extensions = HashMap::new();
        for settings in &levels {
            extensions.extend(settings.extensions.clone());
        }
        let service = levels.iter().rev().find_map(|settings| settings.service.as_ref()).unwrap_or(&self.service).clone();
        let asked = service::ask(service, cx, &self.settings, extensions, body);
        let (shared, cluster, began) = (self.clone(), scopes::cluster_of(cx), Time::now());
        Step::wait(async move {
            let verdict = asked.await;
            move |cx: &mut StreamCx| shared.decide(cx, verdict, cluster.as_deref(), began)
        })
    }

    fn decide(&self, cx: &mut StreamCx, verdict: Verdict, cluster: Option<&str>, began: Time) -> Step {
        match verdict {
            Verdict::Ok(changes) => self.pass(cx, *changes, cluster, began),
            Verdict::Denied(refusal) => self.refuse(cx, refusal, cluster),
            Verdict::Error(refusal) => {
                self.count(cx, cluster, ERROR, CLUSTER_ERROR);
                if self.settings.shadow {
                    self.stats.inc(cx.worker.lane, SHADOW_ERROR);
                    return Step::Continue;
                }
                if self.settings.failure_mode_allow {
                    self.count(cx, cluster, FAILURE_MODE_ALLOWED, CLUSTER_FAILURE_MODE_ALLOWED);
                    if self.settings.failure_mode_allow_header {
                        cx.request.append("x-envoy-auth-failure-mode-allowed", "true");
                    }
                    return Step::Continue;
                }
                let status = if refusal.status == 0 { self.settings.status_on_error } else { refusal.status };
                Step::reply(refusal.reply(status, "ext_authz_error", self.settings.max_denied_body))
            }
        }
    }

    fn pass(&self, cx: &mut StreamCx, mut changes: Changes, cluster: Option<&str>, began: Time) -> Step {
        let mut told = std::mem::take(&mut changes.metadata);
        if !told.is_empty() {
            let ms = Time::now().millis_since(began);
            told.insert("ext_authz_duration".to_owned(), MetadataValue::Number(ms as f64));
        }
        self.take_metadata(cx, told);
        let settings = &self.settings;
        if settings.validate_mutations && !changes.are_valid() {
            return self.invalid(cx, cluster);
        }
        match changes.apply(&mut cx.request, settings.rules.as_ref()) {
            Ok(()) => {}
            Err(Flaw::Invalid) => return self.invalid(cx, cluster),
            Err(Flaw::Name(name)) => {
                self.count(cx, cluster, OK, CLUSTER_OK);
                let details = format!("filter_removed_required_request_headers{{invalid_header_name:_{}}}", name.replace(' ', "_"));
                let reply = LocalReply::new(503, details).body(format!("invalid header name: {name}"));
                return Step::reply(reply.flags(ResponseFlags::DPE));
            }
        }
        if settings.clear_route_cache && changes.change_the_request() && changes.concern(&settings.clear_route_cache_headers) {
            cx.route_is_stale = true;
        }
        self.count(cx, cluster, OK, CLUSTER_OK);
        if !changes.response.is_empty() {
            cx.state(&self.state).response = changes.response;
        }
        Step::Continue
    }

    fn refuse(&self, cx: &mut StreamCx, mut refusal: Refusal, cluster: Option<&str>) -> Step {
        self.take_metadata(cx, std::mem::take(&mut refusal.metadata));
        let status = if refusal.status == 0 { 403 } else { refusal.status };
        self.count(cx, cluster, DENIED, CLUSTER_DENIED);
        if let (true, Some(cluster), Some(client)) = (self.settings.charge, cluster, cx.worker.http_client()) {
            client.charge(cluster, status, true);
        }
        if self.settings.shadow {
            self.stats.inc(cx.worker.lane, SHADOW_DENIED);
            return Step::Continue;
        }
        if self.settings.validate_mutations && !refusal.is_valid() {
            return self.invalid(cx, cluster);
        }
        Step::reply(refusal.reply(status, "ext_authz_denied", self.settings.max_denied_body))
    }

    fn take_metadata(&self, cx: &mut StreamCx, told: std::collections::BTreeMap<String, MetadataValue>) {
        if self.settings.take_metadata {
            verdict::tell(cx, told);
        } else if !told.is_empty() {
            self.stats.inc(cx.worker.lane, IGNORED_DYNAMIC_METADATA);
        }
    }

    fn invalid(&self, cx: &StreamCx, cluster: Option<&str>) -> Step {
        self.count(cx, cluster, INVALID, CLUSTER_INVALID);
        Step::reply(LocalReply::new(500, "ext_authz_invalid").flags(ResponseFlags::UAEX))
    }

    /// The body is here, or as much of it as is told.
    fn collected(self: &Arc<Self>, cx: &mut StreamCx) -> Step {
        let Some(Collected { settings, bytes, all }) = cx.held_state(&self.state).and_then(|state| state.body.take()) else {
            return Step::Continue;
        };
        let partial = bytes.len() < all;
        self.ask(cx, Some(Body { bytes, partial, as_bytes: settings.as_bytes }))
    }
}

impl HttpFilter for ExtAuthz {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA).and(Phases::REQUEST_TRAILERS).and(Phases::RESPONSE_HEADERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let shared = &self.0;
        let Some(levels) = shared.levels(cx) else { return Step::Continue };
        let nearest = levels.last();
        let body = match nearest {
            Some(settings) if settings.no_body => None,
            _ => nearest.and_then(|settings| settings.body).or(shared.settings.body),
        };
        if !shared.is_enabled(cx) {
            shared.stats.inc(cx.worker.lane, DISABLED);
            if shared.settings.deny_at_disable.now(&cx.worker.runtime.values()) {
                return Step::reply(LocalReply::new(shared.settings.status_on_error, "ext_authz_error").flags(ResponseFlags::UAEX));
            }
            return Step::Continue;
        }
        match body {
            Some(settings) if !end && !cx.info.upgraded => {
                if !settings.partial {
                    cx.request_buffer_limit = Some(settings.max);
                }
                cx.state(&shared.state).body = Some(Collected { settings, bytes: Vec::new(), all: 0 });
                Step::Hold(Hold::Buffer)
            }
            _ => shared.ask(cx, None),
        }
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(body) = cx.held_state(&self.0.state).and_then(|state| state.body.as_mut()) else { return Step::Continue };
        let room = body.settings.max.saturating_sub(body.bytes.len()).min(data.len());
        body.bytes.extend_from_slice(&data.filled()[..room]);
        body.all += data.len();
        let full = body.all >= body.settings.max;
        // A body that is told whole, and too long for that, is refused by the engine.
        let too_long = body.all > body.settings.max && !body.settings.partial;
        match (end || full && body.settings.partial) && !too_long {
            true => self.0.collected(cx),
            false => Step::Hold(Hold::Buffer),
        }
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        self.0.collected(cx)
    }

    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        if let Some(changes) = cx.held_state(&self.0.state).map(|state| std::mem::take(&mut state.response)) {
            verdict::apply_to_response(&changes, &mut cx.response);
        }
        Step::Continue
    }
}
