//! `envoy.filters.network.ext_authz`: a service decides whether a connection may go on.
//!
//! It is asked when the first bytes arrive: over TLS the client is known then.

use crate::http::ext_authz::check::{address, principal};
use crate::http::ext_authz::config::labels;
use crate::http::ext_authz::service::CHECK;
use crate::read::{self, within};
use crate::service::{
    grpc::{GrpcFailure, GrpcService},
    value,
};
use nuncio_api::envoy::extensions::filters::network::ext_authz::v3::ExtAuthz as Message;
use nuncio_api::envoy::service::auth::v3::attribute_context::{Peer, TlsSession};
use nuncio_api::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse, check_response::HttpResponse};
use nuncio_core::matching::MetadataMatcher;
use nuncio_core::metadata::MetadataValue;
use nuncio_core::network::set_object;
use nuncio_core::{
    BuildCx, ConfigError, DataWatch, FilterConfig, NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep, Posture, ResponseFlags, StreamCx,
};
use nuncio_stats::{Scope, stats_table};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.ext_authz",
    message: "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
    posture: Posture::UntrustedBoth,
    build,
};

/// How long the service may take, unless told.
const TIMEOUT: Duration = Duration::from_millis(200);
const NAMESPACE: &str = "envoy.filters.network.ext_authz";

stats_table! {
    /// `ext_authz.<prefix>.`
    pub NETWORK_EXT_AUTHZ: "network_ext_authz" {
        /// Connections that wait for an answer.
        gauge ACTIVE = "active",
        /// Connections closed.
        counter CX_CLOSED = "cx_closed",
        /// Connections that the service refused.
        counter DENIED = "denied",
        /// Connections that metadata exempt.
        counter DISABLED = "disabled",
        /// Times the service could not say.
        counter ERROR = "error",
        /// Connections let pass though the service could not say.
        counter FAILURE_MODE_ALLOWED = "failure_mode_allowed",
        /// Connections that the service let pass.
        counter OK = "ok",
        /// Times the service was asked.
        counter TOTAL = "total",
    }
}

#[derive(Debug)]
struct ExtAuthz(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: GrpcService,
    allow_on_failure: bool,
    /// Nothing is ever closed: the verdict is only counted and left as metadata.
    shadow: bool,
    peer_certificate: bool,
    tls_session: bool,
    enabled: Option<MetadataMatcher>,
    metadata: Box<[Box<str>]>,
    labels: HashMap<String, String>,
    scope: Arc<Scope>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let Message {
        stat_prefix,
        grpc_service,
        failure_mode_allow,
        include_peer_certificate,
        transport_api_version: _,
        filter_enabled_metadata,
        bootstrap_metadata_labels_key,
        include_tls_session,
        send_tls_alert_on_denial,
        metadata_context_namespaces,
        typed_metadata_context_namespaces,
        shadow_mode,
    } = read::message(config)?;
    for (field, set) in [
        ("send_tls_alert_on_denial", send_tls_alert_on_denial),
        ("typed_metadata_context_namespaces", !typed_metadata_context_namespaces.is_empty()),
    ] {
        if set {
            cx.warnings.push(ConfigError::at(field, "is accepted without effect: it is not built yet"));
        }
    }
    let grpc = grpc_service.ok_or_else(|| ConfigError::at("grpc_service", "is missing"))?;
    Ok(NetworkPart::Filter(Arc::new(ExtAuthz(Arc::new(Shared {
        service: GrpcService::read("grpc_service", &grpc, TIMEOUT, cx)?,
        allow_on_failure: failure_mode_allow,
        shadow: shadow_mode,
        peer_certificate: include_peer_certificate,
        tls_session: include_tls_session,
        enabled: filter_enabled_metadata.as_ref().map(read::metadata_matcher).transpose().map_err(within("filter_enabled_metadata"))?,
        metadata: metadata_context_namespaces.iter().map(|name| name.as_str().into()).collect(),
        labels: labels(cx, &bootstrap_metadata_labels_key),
        scope: cx.stats.scope(&format!("ext_authz.{stat_prefix}."), &NETWORK_EXT_AUTHZ),
    })))))
}

/// The status that HTTP would answer with.
fn refused_with(answer: &CheckResponse) -> i32 {
    match &answer.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied.status.as_ref().map_or(403, |status| status.code),
        _ => 403,
    }
}

impl Shared {
    fn question(&self, cx: &StreamCx) -> CheckRequest {
        let tls = cx.conn.tls_facts.as_deref();
        let (peer, own) = (tls.and_then(|tls| tls.peer_certificate()), tls.and_then(|tls| tls.local.as_ref()));
        let sni = || TlsSession { sni: tls.and_then(|tls| tls.server_name.as_deref()).unwrap_or_default().to_owned() };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(Peer {
                    address: Some(address(&cx.conn.remote)),
                    principal: peer.map(|peer| principal(peer)).unwrap_or_default(),
                    certificate: peer.filter(|_| self.peer_certificate).map(|peer| peer.url_encoded_pem()).unwrap_or_default(),
                    ..Peer::default()
                }),
                destination: Some(Peer {
                    address: Some(address(&cx.conn.local)),
                    principal: own.map(|own| principal(own)).unwrap_or_default(),
                    labels: self.labels.clone(),
                    ..Peer::default()
                }),
                metadata_context: Some(value::namespaces(Some(&cx.metadata), &self.metadata)),
                tls_session: self.tls_session.then(sni),
                ..AttributeContext::default()
            }),
        }
    }

    fn decide(&self, cx: &mut StreamCx, answer: Result<CheckResponse, GrpcFailure>) -> NetworkStep {
        let lane = cx.worker.lane;
        self.scope.gauge_add(lane, ACTIVE, -1);
        if let Some(told) = answer.as_ref().ok().and_then(|answer| answer.dynamic_metadata.as_ref()).map(read::fields)
            && !told.is_empty()
        {
            cx.metadata.insert(NAMESPACE.to_owned(), MetadataValue::Struct(told));
        }
        let (counter, result, details) = match &answer {
            Ok(answer) if answer.status.as_ref().is_none_or(|status| status.code == 0) => (OK, r#"{"check_result":"OK"}"#.to_owned(), None),
            Ok(answer) => (DENIED, format!(r#"{{"check_result":"DENIED","status_code":{}}}"#, refused_with(answer)), Some("ext_authz_denied")),
            Err(_) => (ERROR, r#"{"check_result":"ERROR"}"#.to_owned(), Some("ext_authz_error")),
        };
        self.scope.inc(lane, counter);
        if self.shadow {
            set_object(cx, NAMESPACE, result);
            return NetworkStep::Continue;
        }
        let Some(details) = details else { return NetworkStep::Continue };
        if answer.is_err() && self.allow_on_failure {
            self.scope.inc(lane, FAILURE_MODE_ALLOWED);
            return NetworkStep::Continue;
        }
        self.scope.inc(lane, CX_CLOSED);
        cx.info.flags.set(ResponseFlags::UAEX);
        cx.info.details = details.into();
        NetworkStep::Close
    }
}

impl NetworkFilter for ExtAuthz {
    fn watches(&self) -> DataWatch {
        DataWatch::First
    }

    fn on_data(&self, cx: &mut StreamCx) -> NetworkStep {
        let shared = &self.0;
        if shared.enabled.as_ref().is_some_and(|wanted| !wanted.matches(&cx.metadata)) {
            shared.scope.inc(cx.worker.lane, DISABLED);
            return NetworkStep::Continue;
        }
        shared.scope.inc(cx.worker.lane, TOTAL);
        shared.scope.gauge_add(cx.worker.lane, ACTIVE, 1);
        let asked = shared.service.call(cx, CHECK, &shared.question(cx));
        let shared = shared.clone();
        NetworkStep::wait(async move {
            let answer = asked.await;
            move |cx: &mut StreamCx| shared.decide(cx, answer)
        })
    }
}
