//! The filter's messages, read.

use super::service::{HttpService, Service};
use super::{CLUSTER_EXT_AUTHZ, EXT_AUTHZ, ExtAuthz, Shared};
use crate::read::{self, within};
use crate::service::{self, grpc::GrpcService, rules::MutationRules, scopes::ClusterScopes};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::filters::http::ext_authz::v3 as proto;
use nuncio_api::envoy::r#type::matcher::v3::ListStringMatcher;
use nuncio_core::format::Format;
use nuncio_core::matching::{MetadataMatcher, TextMatch};
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, Fraction, HttpFilter, RuntimeFlag, RuntimeFraction};
use proto::check_settings::ServiceOverride;
use std::{any::Any, collections::HashMap, sync::Arc, time::Duration};

/// The message.
pub(super) const MESSAGE: &str = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz";
/// The message of routes.
pub(super) const ROUTE_MESSAGE: &str = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute";

/// How long a service may take, unless told.
const TIMEOUT: Duration = Duration::from_millis(200);

/// The filter's own settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) enabled: RuntimeFraction,
    pub(super) enabled_metadata: Option<MetadataMatcher>,
    pub(super) deny_at_disable: RuntimeFlag,
    pub(super) failure_mode_allow: bool,
    pub(super) failure_mode_allow_header: bool,
    pub(super) status_on_error: u16,
    pub(super) body: Option<BodySettings>,
    pub(super) clear_route_cache: bool,
    /// The route is looked up again only if one of these changes, where there are any.
    pub(super) clear_route_cache_headers: Box<[Box<str>]>,
    /// Nobody is refused: it is only counted.
    pub(super) shadow: bool,
    /// Of where requests go.
    pub(super) labels: HashMap<String, String>,
    pub(super) validate_mutations: bool,
    pub(super) rules: Option<MutationRules>,
    pub(super) allowed_headers: Box<[TextMatch]>,
    pub(super) disallowed_headers: Box<[TextMatch]>,
    pub(super) metadata: Box<[Box<str>]>,
    pub(super) route_metadata: Box<[Box<str>]>,
    pub(super) tls_session: bool,
    pub(super) peer_certificate: bool,
    pub(super) encode_raw_headers: bool,
    pub(super) charge: bool,
    pub(super) take_metadata: bool,
    /// Of a refusal's body; 0 for all of it.
    pub(super) max_denied_body: usize,
}

/// `BufferSettings`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodySettings {
    pub(super) max: usize,
    pub(super) partial: bool,
    pub(super) as_bytes: bool,
}

/// Which headers a service is told, beside those that the filter allows.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) all_headers: bool,
    /// It is asked by plain HTTP: what makes up a request is always told.
    pub(super) over_http: bool,
    pub(super) headers: Box<[TextMatch]>,
}

impl Told {
    /// Whether this header is told whatever the lists say.
    pub(super) fn always(&self, name: &[u8]) -> bool {
        self.over_http && matches!(name, b":authority" | b":method" | b":path" | b"authorization")
    }
}

/// `ExtAuthzPerRoute`
#[derive(Debug)]
pub(super) enum PerRoute {
    Disabled,
    Settings(RouteSettings),
}

#[derive(Debug)]
pub(super) struct RouteSettings {
    pub(super) extensions: HashMap<String, String>,
    pub(super) no_body: bool,
    pub(super) body: Option<BodySettings>,
    pub(super) service: Option<Arc<Service>>,
}

pub(super) fn texts(field: &str, from: Option<&ListStringMatcher>) -> Result<Box<[TextMatch]>, ConfigError> {
    let patterns = from.map_or(&[][..], |list| &list.patterns);
    read::each("patterns", patterns, read::text).map_err(within(field))
}

fn body(from: &proto::BufferSettings) -> BodySettings {
    let proto::BufferSettings { max_request_bytes, allow_partial_message, pack_as_bytes } = *from;
    BodySettings { max: max_request_bytes as usize, partial: allow_partial_message, as_bytes: pack_as_bytes }
}

fn grpc(from: &core::GrpcService, filters_headers: bool, cx: &mut BuildCx<'_>) -> Result<Service, ConfigError> {
    let told = Told { all_headers: !filters_headers, ..Told::default() };
    Ok(Service::Grpc(GrpcService::read("grpc_service", from, TIMEOUT, cx)?, told))
}

fn http(from: &proto::HttpService, cx: &mut BuildCx<'_>) -> Result<Service, ConfigError> {
    let proto::HttpService { server_uri, path_prefix, path_override, authorization_request, authorization_response, retry_policy } = from;
    let uri = server_uri.clone().unwrap_or_default();
    let Some(core::http_uri::HttpUpstreamType::Cluster(cluster)) = uri.http_upstream_type else {
        return Err(ConfigError::at("http_service.server_uri.cluster", "is missing"));
    };
    if !path_prefix.is_empty() && !path_override.is_empty() {
        return Err(ConfigError::at("http_service.path_override", "does not go together with path_prefix"));
    }
    #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
    let proto::AuthorizationRequest { allowed_headers, headers_to_add } = authorization_request.clone().unwrap_or_default();
    let mut added = Vec::with_capacity(headers_to_add.len());
    for (index, core::HeaderValue { key, value, raw_value }) in headers_to_add.iter().enumerate() {
        let place = format!("http_service.authorization_request.headers_to_add[{index}]");
        let raw = String::from_utf8_lossy(raw_value);
        let text = if value.is_empty() { &raw } else { value.as_str() };
        let format: Format = read::format(text, &mut cx.warnings).map_err(within(&place))?;
        added.push((read::header_name(key).map_err(within(&place))?, format));
    }
    let response = authorization_response.clone().unwrap_or_default();
    let list = |field: &str, from: Option<&ListStringMatcher>| texts(&format!("http_service.authorization_response.{field}"), from);
    let proto::AuthorizationResponse {
        allowed_upstream_headers,
        allowed_upstream_headers_to_append,
        allowed_client_headers,
        allowed_client_headers_on_success,
        dynamic_metadata_from_headers,
    } = &response;
    let headers = texts("http_service.authorization_request.allowed_headers", allowed_headers.as_ref())?;
    Ok(Service::Http(Box::new(HttpService {
        cluster: cluster.as_str().into(),
        timeout: uri.timeout.as_ref().map_or(TIMEOUT, read::duration),
        path_prefix: path_prefix.as_str().into(),
        path_override: path_override.as_str().into(),
        added: added.into(),
        retry: service::retry("http_service.retry_policy", retry_policy.as_ref(), &mut cx.warnings),
        told: Told { all_headers: false, over_http: true, headers },
        upstream: list("allowed_upstream_headers", allowed_upstream_headers.as_ref())?,
        append: list("allowed_upstream_headers_to_append", allowed_upstream_headers_to_append.as_ref())?,
        client: list("allowed_client_headers", allowed_client_headers.as_ref())?,
        client_on_success: list("allowed_client_headers_on_success", allowed_client_headers_on_success.as_ref())?,
        metadata: list("dynamic_metadata_from_headers", dynamic_metadata_from_headers.as_ref())?,
    })))
}

fn refuse(cx: &mut BuildCx<'_>, field: &str, set: bool) {
    if set {
        cx.unsafe_without.push(ConfigError::at(field, "is not built yet"));
    }
}

fn names(from: &[String]) -> Box<[Box<str>]> {
    from.iter().map(|name| name.as_str().into()).collect()
}

/// What the bootstrap's node says under a key of its metadata, as labels of where requests go.
pub(crate) fn labels(cx: &BuildCx<'_>, key: &str) -> HashMap<String, String> {
    match cx.node_metadata.and_then(|metadata| metadata.get(key)).filter(|_| !key.is_empty()) {
        Some(MetadataValue::Struct(fields)) => {
            let text = |value: &MetadataValue| match value {
                MetadataValue::Text(text) => text.clone(),
                _ => String::new(),
            };
            fields.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        }
        _ => HashMap::new(),
    }
}

pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::ExtAuthz {
        transport_api_version: _,
        failure_mode_allow,
        failure_mode_allow_header_add,
        with_request_body,
        clear_route_cache,
        status_on_error,
        validate_mutations,
        metadata_context_namespaces,
        typed_metadata_context_namespaces,
        route_metadata_context_namespaces,
        route_typed_metadata_context_namespaces,
        filter_enabled,
        filter_enabled_metadata,
        deny_at_disable,
        include_peer_certificate,
        stat_prefix,
        bootstrap_metadata_labels_key,
        allowed_headers,
        disallowed_headers,
        include_tls_session,
        charge_cluster_response_stats,
        encode_raw_headers,
        decoder_header_mutation_rules,
        enable_dynamic_metadata_ingestion,
        filter_metadata,
        emit_filter_state_stats,
        max_denied_response_body_bytes,
        enforce_response_header_limits,
        shadow_mode,
        emit_client_span,
        clear_route_cache_headers,
        services,
    } = read::message(config)?;
    refuse(cx, "typed_metadata_context_namespaces", !typed_metadata_context_namespaces.is_empty());
    refuse(cx, "route_typed_metadata_context_namespaces", !route_typed_metadata_context_namespaces.is_empty());
    for (field, set) in [
        ("filter_metadata", filter_metadata.is_some()),
        ("emit_filter_state_stats", emit_filter_state_stats),
        ("enforce_response_header_limits", enforce_response_header_limits),
        ("emit_client_span", emit_client_span == Some(true)),
    ] {
        if set {
            cx.warnings.push(ConfigError::at(field, "is accepted without effect: it is not built yet"));
        }
    }
    let service = match &services {
        Some(proto::ext_authz::Services::GrpcService(from)) => grpc(from, allowed_headers.is_some(), cx)?,
        Some(proto::ext_authz::Services::HttpService(from)) => http(from, cx)?,
        None => {
            cx.unsafe_without.push(ConfigError::at("", "this names neither grpc_service nor http_service: nobody can be asked"));
            let nobody = core::grpc_service::EnvoyGrpc::default();
            let target_specifier = Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(nobody));
            grpc(&core::GrpcService { target_specifier, ..core::GrpcService::default() }, false, cx)?
        }
    };
    let all = Fraction { numerator: 100, denominator: 100 };
    let settings = Settings {
        enabled: read::runtime_fraction(filter_enabled.as_ref(), all),
        enabled_metadata: filter_enabled_metadata.as_ref().map(read::metadata_matcher).transpose().map_err(within("filter_enabled_metadata"))?,
        deny_at_disable: match &deny_at_disable {
            Some(flag) => read::runtime_flag(Some(flag)),
            None => RuntimeFlag { default: false, key: Box::default() },
        },
        failure_mode_allow,
        failure_mode_allow_header: failure_mode_allow_header_add,
        status_on_error: status_on_error.and_then(|status| u16::try_from(status.code).ok()).unwrap_or(403),
        body: with_request_body.as_ref().map(body),
        clear_route_cache,
        clear_route_cache_headers: names(&clear_route_cache_headers),
        shadow: shadow_mode,
        labels: labels(cx, &bootstrap_metadata_labels_key),
        validate_mutations,
        rules: decoder_header_mutation_rules.as_ref().map(MutationRules::read).transpose().map_err(within("decoder_header_mutation_rules"))?,
        allowed_headers: texts("allowed_headers", allowed_headers.as_ref())?,
        disallowed_headers: texts("disallowed_headers", disallowed_headers.as_ref())?,
        metadata: names(&metadata_context_namespaces),
        route_metadata: names(&route_metadata_context_namespaces),
        tls_session: include_tls_session,
        peer_certificate: include_peer_certificate,
        encode_raw_headers,
        charge: charge_cluster_response_stats.unwrap_or(true),
        take_metadata: enable_dynamic_metadata_ingestion.unwrap_or(true),
        max_denied_body: max_denied_response_body_bytes as usize,
    };
    let suffix = if stat_prefix.is_empty() { "ext_authz.".to_owned() } else { format!("ext_authz.{stat_prefix}.") };
    Ok(Arc::new(ExtAuthz(Arc::new(Shared {
        name: cx.filter_name.to_owned(),
        settings,
        service: Arc::new(service),
        stats: cx.stats.scope(&format!("{}{suffix}", cx.stat_prefix), &EXT_AUTHZ),
        of_cluster: ClusterScopes::new(cx.stats, &CLUSTER_EXT_AUTHZ, &suffix),
        state: cx.state_slot(),
    }))))
}

pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    use proto::ext_authz_per_route::Override;
    let from: proto::ExtAuthzPerRoute = read::message(config)?;
    Ok(Arc::new(match from.r#override {
        Some(Override::Disabled(_)) => PerRoute::Disabled,
        Some(Override::CheckSettings(settings)) => {
            let proto::CheckSettings { context_extensions, disable_request_body_buffering, with_request_body, emit_client_span, service_override } =
                settings;
            if emit_client_span == Some(true) {
                let text = "is accepted without effect: it is not built yet";
                cx.warnings.push(ConfigError::at("check_settings.emit_client_span", text));
            }
            if disable_request_body_buffering && with_request_body.is_some() {
                return Err(ConfigError::at("check_settings.with_request_body", "does not go together with disable_request_body_buffering"));
            }
            let service = match &service_override {
                Some(ServiceOverride::GrpcService(from)) => Some(grpc(from, false, cx).map_err(within("check_settings"))?),
                Some(ServiceOverride::HttpService(from)) => Some(http(from, cx).map_err(within("check_settings"))?),
                None => None,
            };
            PerRoute::Settings(RouteSettings {
                extensions: context_extensions,
                no_body: disable_request_body_buffering,
                body: with_request_body.as_ref().map(body),
                service: service.map(Arc::new),
            })
        }
        None => return Err(ConfigError::at("override", "is missing")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn labels_are_what_the_node_has_under_the_key() {
        let store = nuncio_stats::Store::new(1);
        let mut cx = BuildCx::new(&store, "");
        assert!(labels(&cx, "l").is_empty());
        let fields = BTreeMap::from([("app".to_owned(), MetadataValue::Text("shop".to_owned())), ("n".to_owned(), MetadataValue::Number(3.0))]);
        let metadata = BTreeMap::from([("l".to_owned(), MetadataValue::Struct(fields)), (String::new(), MetadataValue::Null)]);
        cx.node_metadata = Some(&metadata);
        assert_eq!(labels(&cx, "l"), HashMap::from([("app".to_owned(), "shop".to_owned()), ("n".to_owned(), String::new())]));
        assert!(labels(&cx, "").is_empty());
    }
}
