//! `HttpConnectionManager` → [`HcmConfig`].
//!
//! `protocol` does codecs and timeouts, `identity` who the client is and what is told about it, `filters` the HTTP filter
//! chain, `early` what is done before everything else, `router` the router's options, `rules` what Envoy refuses beyond the API's rules.

mod discovery;
mod early;
mod filters;
mod identity;
mod local_reply;
mod protocol;
mod router;
mod rules;
mod scopes;

use crate::codes;
use crate::context::CompileCx;
use crate::{access_log, unbuilt};
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use nuncio_http::config::{LogOptions, OwnName, Cleaning, ClientAddress, HcmConfig, RouteSource, ServerHeader, StripPort};
use nuncio_http::routes::{RouteConfig, RouteTable};
use proto::http_connection_manager::{HcmAccessLogOptions, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation, StripPortMode};
use std::sync::Arc;

pub(crate) use identity::request_id;
pub use filters::{FilterKind, check_chain, is_terminal};

/// What the connection manager must know of the listener it is on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings {
    /// `per_connection_buffer_limit_bytes`.
    pub buffer_limit: usize,
    /// The listener is for QUIC.
    pub quic: bool,
    /// The listener is for requests that go out (`traffic_direction`).
    pub egress: bool,
}

/// Full name of the message.
pub const MESSAGE: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// Compiles a connection manager; what cannot be had is reported.
pub fn compile(cx: &mut CompileCx<'_>, from: &proto::HttpConnectionManager, around: Surroundings) -> HcmConfig {
    #[allow(deprecated)]
    let proto::HttpConnectionManager {
        codec_type,
        stat_prefix,
        http_filters,
        add_user_agent,
        tracing,
        common_http_protocol_options,
        http1_safe_max_connection_duration: _,
        http_protocol_options,
        http2_protocol_options: _,
        http3_protocol_options,
        server_name,
        server_header_transformation,
        scheme_header_transformation,
        max_request_headers_kb,
        stream_idle_timeout: _,
        stream_flush_timeout: _,
        request_timeout: _,
        request_headers_timeout: _,
        drain_timeout: _,
        drain_timeout_jitter: _,
        delayed_close_timeout: _,
        access_log,
        access_log_flush_interval,
        flush_access_log_on_new_request,
        access_log_options,
        use_remote_address: _,
        xff_num_trusted_hops: _,
        original_ip_detection_extensions,
        early_header_mutation_extensions,
        internal_address_config: _,
        skip_xff_append: _,
        via,
        generate_request_id,
        preserve_external_request_id,
        always_set_request_id_in_response,
        forward_client_cert_details,
        set_current_client_cert_details,
        forward_client_cert_matcher,
        proxy_100_continue,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6: _,
        upgrade_configs,
        normalize_path,
        merge_slashes,
        path_with_escaped_slashes_action,
        request_id_extension,
        local_reply_config,
        strip_matching_host_port: _,
        stream_error_on_invalid_http_message: _,
        path_normalization_options,
        strip_trailing_host_dot,
        proxy_status_config,
        typed_header_validation_config,
        append_x_forwarded_port: _,
        append_local_overload,
        add_proxy_protocol_connection_state,
        forward_proto_config: _,
        record_route_resolution_stats,
        route_specifier,
        strip_port_mode: _,
    } = from;
    rules::no_header_validators(cx, typed_header_validation_config.as_ref());
    unbuilt!(
        cx,
        http3_protocol_options,
        path_normalization_options,
        append_local_overload,
    );
    let server_name = if server_name.is_empty() { "envoy" } else { server_name };
    rules::check(cx, from, around);
    identity::request_id(cx, request_id_extension.as_ref());
    let chain = filters::compile(cx, http_filters, stat_prefix);
    let timeouts = protocol::timeouts(cx, from);
    let (http1, header_case) = protocol::request_rules(cx, from);
    HcmConfig {
        stat_prefix: stat_prefix.as_str().into(),
        codec: protocol::codec(cx, *codec_type),
        routes: routes(cx, route_specifier.as_ref()),
        filters: chain.filters,
        has_router: chain.has_router,
        router: chain.router,
        access_logs: access_log::compile(cx, "access_log", access_log),
        tracing: tracing.as_ref().map(|tracing| {
            Arc::new(cx.at("tracing", |cx| crate::tracing::compile(cx, tracing, around.egress, request_id_extension.as_ref())))
        }),
        log_options: {
            let old = (access_log_flush_interval.as_ref(), *flush_access_log_on_new_request);
            log_options(cx, old, access_log_options.as_ref())
        },
        proxy_status: proxy_status_config.as_ref().map(|told| Arc::new(identity::proxy_status(cx, told, server_name))),
        local_replies: local_reply::compile(cx, local_reply_config.as_ref()),
        early_header_mutations: early::mutations(cx, early_header_mutation_extensions),
        client_address: ClientAddress {
            detectors: early::detectors(cx, original_ip_detection_extensions),
            ..identity::client_address(cx, from)
        },
        cleaning: Cleaning {
            normalize_path: normalize_path.unwrap_or(false),
            merge_slashes: *merge_slashes,
            escaped_slashes: escaped_slashes(*path_with_escaped_slashes_action),
            strip_port: strip_port(from),
            strip_trailing_dot: *strip_trailing_host_dot,
        },
        timeouts,
        server_name: server_name.into(),
        server_header: match ServerHeaderTransformation::try_from(*server_header_transformation).unwrap_or_default() {
            ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
            ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
            ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
        },
        via: via.as_str().into(),
        scheme_overwrite: identity::scheme(cx, scheme_header_transformation.as_ref()),
        generate_request_id: generate_request_id.unwrap_or(true),
        preserve_external_request_id: *preserve_external_request_id,
        request_id_in_response: *always_set_request_id_in_response,
        proxy_100_continue: *proxy_100_continue,
        client_cert: identity::client_cert(*forward_client_cert_details, set_current_client_cert_details.as_ref()),
        client_cert_matcher: forward_client_cert_matcher.as_ref().and_then(|from| identity::client_cert_matcher(cx, from)),
        tells_clients: add_proxy_protocol_connection_state.unwrap_or(true),
        add_user_agent: add_user_agent.unwrap_or(false)
            .then(|| OwnName { cluster: cx.identity.cluster.clone(), node: cx.identity.id.clone() }),
        max_requests_per_connection: common_http_protocol_options.as_ref().and_then(|c| c.max_requests_per_connection).unwrap_or(0),
        keep_open_on_error: protocol::keep_open_on_error(from),
        http1: nuncio_codec::http1::RequestRules {
            max_head_bytes: max_request_headers_kb.unwrap_or(60) as usize * 1024,
            ..http1
        },
        http2: protocol::http2(cx, from),
        header_case,
        default_host_for_http_10: http_protocol_options.as_ref().map(|o| o.default_host_for_http_10.as_str()).filter(|h| !h.is_empty()).map(Into::into),
        upgrades: filters::upgrades(cx, upgrade_configs, stat_prefix),
        records_route_resolution: *record_route_resolution_stats,
        buffer_limit: around.buffer_limit,
    }
}

/// `access_log_options`, or the older fields for the same.
fn log_options(
    cx: &mut CompileCx<'_>,
    (interval, on_new_request): (Option<&prost_types::Duration>, bool),
    options: Option<&HcmAccessLogOptions>,
) -> LogOptions {
    let Some(options) = options else {
        return LogOptions { on_new_request, on_tunnel: false, interval: cx.duration("access_log_flush_interval", interval) };
    };
    for (field, set) in [("flush_access_log_on_new_request", on_new_request), ("access_log_flush_interval", interval.is_some())] {
        if set {
            cx.at(field, |cx| {
                cx.error(codes::CONFLICT, format!("`{field}` stands in access_log_options now; not in both"))
                    .envoy(format!("Only one of {field} or access_log_options can be specified."))
                    .on_key();
            });
        }
    }
    let HcmAccessLogOptions { access_log_flush_interval, flush_access_log_on_new_request, flush_log_on_tunnel_successfully_established } = options;
    LogOptions {
        on_new_request: *flush_access_log_on_new_request,
        on_tunnel: *flush_log_on_tunnel_successfully_established,
        interval: cx.at("access_log_options", |cx| cx.duration("access_log_flush_interval", access_log_flush_interval.as_ref())),
    }
}

fn routes(cx: &mut CompileCx<'_>, from: Option<&RouteSpecifier>) -> RouteSource {
    let table = match from {
        Some(RouteSpecifier::RouteConfig(config)) => cx.at("route_config", |cx| crate::routes::compile(cx, config, crate::routes::Origin::Static)),
        Some(RouteSpecifier::Rds(rds)) => {
            cx.at("rds", |cx| dynamic_routes(cx, rds));
            None
        }
        Some(RouteSpecifier::ScopedRoutes(scoped)) => match cx.at("scoped_routes", |cx| scopes::compile(cx, scoped)) {
            Some(scopes) => return RouteSource::Scoped(Arc::new(scopes)),
            None => None,
        },
        None => None,
    };
    RouteSource::Fixed(table.unwrap_or_else(|| Arc::new(empty_table())))
}

fn dynamic_routes(cx: &mut CompileCx<'_>, rds: &proto::Rds) {
    let proto::Rds { config_source, route_config_name } = rds;
    if config_source.is_none() && !route_config_name.starts_with("xdstp:") {
        cx.error(codes::CONFIG_SOURCE, "routes over RDS need a config_source").envoy(
            "An RDS config must have either a 'config_source' or an xDS-TP based 'route_config_name'. Error while parsing RDS config",
        );
    }
    cx.value_without_effect("`rds`").on_key().note("every request is answered 404");
}

fn empty_table() -> RouteTable {
    // A table without virtual hosts has nothing that could be refused.
    RouteTable::compile(RouteConfig::default()).unwrap_or_else(|_| unreachable!("an empty route table compiles"))
}

fn escaped_slashes(number: i32) -> nuncio_codec::path::EscapedSlashes {
    use nuncio_codec::path::EscapedSlashes;
    match PathWithEscapedSlashesAction::try_from(number).unwrap_or_default() {
        PathWithEscapedSlashesAction::ImplementationSpecificDefault | PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
        PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    }
}

fn strip_port(from: &proto::HttpConnectionManager) -> StripPort {
    match (&from.strip_port_mode, from.strip_matching_host_port) {
        (Some(StripPortMode::StripAnyHostPort(true)), _) => StripPort::Any,
        (_, true) => StripPort::Matching,
        _ => StripPort::No,
    }
}
