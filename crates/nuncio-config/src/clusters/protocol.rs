//! How a cluster's hosts are spoken to: `HttpProtocolOptions` of `typed_extension_protocol_options`, or the deprecated
//! fields of the cluster, which count only where the former is missing.

use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3::{Cluster, cluster::ClusterProtocolSelection};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::upstreams::http::v3 as proto;
use nuncio_codec::http1::{NameCase, Strictness, UnderscoreAction};
use nuncio_upstream::config::{Attached, HttpOptions, UpstreamProtocol};
use prost::Message as _;
use proto::http_protocol_options::UpstreamProtocolOptions;
use proto::http_protocol_options::explicit_http_config::ProtocolConfig;

/// Key of the HTTP options; Envoy takes its type's name, too.
const KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// `hash_policy` of `HttpProtocolOptions`.
pub(super) fn hash_policy(cx: &mut CompileCx<'_>, cluster: &Cluster) -> Option<Attached> {
    let options = typed(cluster)?;
    cx.entry("typed_extension_protocol_options", KEY, |cx| super::balancing::hash_policy(cx, &options.hash_policy))
}

/// What `HttpProtocolOptions` says about requests.
pub(super) fn policies(cx: &mut CompileCx<'_>, cluster: &Cluster) -> Option<Attached> {
    let options = typed(cluster)?;
    cx.entry("typed_extension_protocol_options", KEY, |cx| super::policies::compile(cx, &options))
}

fn typed(cluster: &Cluster) -> Option<proto::HttpProtocolOptions> {
    let config = cluster.typed_extension_protocol_options.get(KEY)?;
    proto::HttpProtocolOptions::decode(config.value.as_slice()).ok()
}

/// The cluster's requests may go over HTTP/2.
#[allow(deprecated)]
pub(super) fn speaks_http2(cluster: &Cluster) -> bool {
    match typed(cluster).and_then(|t| t.upstream_protocol_options) {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => {
            matches!(explicit.protocol_config, Some(ProtocolConfig::Http2ProtocolOptions(_)))
        }
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(use_downstream)) => use_downstream.http2_protocol_options.is_some(),
        Some(UpstreamProtocolOptions::AutoConfig(_)) => true,
        None => cluster.http2_protocol_options.is_some(),
    }
}

/// HTTP options of the cluster's connections.
#[allow(deprecated)]
pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &Cluster) -> HttpOptions {
    let mut options = HttpOptions { strictness: strictness(cx), ..HttpOptions::default() };
    check_keys(cx, cluster);
    if let Some(typed) = typed(cluster) {
        if cluster.max_requests_per_connection.is_some()
            && typed.common_http_protocol_options.as_ref().is_some_and(|c| c.max_requests_per_connection.is_some())
        {
            cx.at("max_requests_per_connection", |cx| {
                cx.error(codes::CONFLICT, "max_requests_per_connection is set here and in HttpProtocolOptions")
                    .envoy("Only one of max_requests_per_connection from Cluster or HttpProtocolOptions can be specified");
            });
        }
        options.max_requests_per_connection = cluster.max_requests_per_connection;
        cx.entry("typed_extension_protocol_options", KEY, |cx| of_typed(cx, &typed, &mut options));
        return options;
    }
    options.max_requests_per_connection = cluster.max_requests_per_connection;
    let Cluster { upstream_http_protocol_options, http2_protocol_options, .. } = cluster;
    if let Some(from) = upstream_http_protocol_options {
        cx.at("upstream_http_protocol_options", |cx| of_upstream(cx, from, &mut options));
    }
    if let Some(http2) = http2_protocol_options {
        options.protocol = UpstreamProtocol::Http2;
        cx.at("http2_protocol_options", |cx| of_http2(cx, http2, &mut options));
    }
    if cluster.protocol_selection == ClusterProtocolSelection::UseDownstreamProtocol as i32 {
        options.protocol = UpstreamProtocol::Downstream;
    }
    if let Some(common) = &cluster.common_http_protocol_options {
        cx.at("common_http_protocol_options", |cx| of_common(cx, common, &mut options));
    }
    if let Some(http1) = &cluster.http_protocol_options {
        cx.at("http_protocol_options", |cx| of_http1(cx, http1, &mut options));
    }
    options
}

fn strictness(cx: &CompileCx<'_>) -> Strictness {
    if cx.mode.parity { Strictness::Parity } else { Strictness::Friendly }
}

/// Options are for extensions, by name: HTTP's, or those of a filter that has some.
fn check_keys(cx: &mut CompileCx<'_>, cluster: &Cluster) {
    for key in cluster.typed_extension_protocol_options.keys().filter(|k| *k != KEY && *k != super::redis::KEY) {
        let known = nuncio_api::extensions().iter().any(|e| {
            e.name == key && matches!(e.category, "envoy.filters.network" | "envoy.filters.http" | "envoy.upstream_options")
        });
        cx.entry("typed_extension_protocol_options", key, |cx| {
            if known {
                cx.value_without_effect(&format!("`{key}`"));
            } else {
                cx.error(codes::UNKNOWN_EXTENSION, format!("no filter or protocol is called `{key}`")).help(format!("for HTTP the key is `{KEY}`")).envoy(
                    format!("Didn't find a registered network or http filter or protocol options implementation for name: '{key}'"),
                );
            }
        });
    }
}

fn of_typed(cx: &mut CompileCx<'_>, typed: &proto::HttpProtocolOptions, options: &mut HttpOptions) {
    let proto::HttpProtocolOptions {
        common_http_protocol_options,
        upstream_http_protocol_options,
        http_filters,
        header_validation_config,
        outlier_detection: _,
        request_mirror_policies: _,
        hash_policy: _,
        retry_policy: _,
        upstream_protocol_options,
    } = typed;
    if let Some(from) = upstream_http_protocol_options {
        cx.at("upstream_http_protocol_options", |cx| of_upstream(cx, from, options));
    }
    unbuilt!(cx, header_validation_config);
    upstream_filters(cx, http_filters);
    if let Some(common) = common_http_protocol_options {
        cx.at("common_http_protocol_options", |cx| of_common(cx, common, options));
    }
    match upstream_protocol_options {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => cx.at("explicit_http_config", |cx| match &explicit.protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(http1)) => cx.at("http_protocol_options", |cx| of_http1(cx, http1, options)),
            Some(ProtocolConfig::Http2ProtocolOptions(http2)) => {
                options.protocol = UpstreamProtocol::Http2;
                cx.at("http2_protocol_options", |cx| of_http2(cx, http2, options));
            }
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                cx.without_effect("http3_protocol_options").note("the hosts are spoken to over HTTP/1.1");
            }
            None => {}
        }),
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => cx.at("use_downstream_protocol_config", |cx| {
            let proto::http_protocol_options::UseDownstreamHttpConfig { http_protocol_options, http2_protocol_options, http3_protocol_options } = config;
            unbuilt!(cx, http3_protocol_options);
            options.protocol = UpstreamProtocol::Downstream;
            if let Some(http2) = http2_protocol_options {
                cx.at("http2_protocol_options", |cx| of_http2(cx, http2, options));
            }
            if let Some(http1) = http_protocol_options {
                cx.at("http_protocol_options", |cx| of_http1(cx, http1, options));
            }
        }),
        Some(UpstreamProtocolOptions::AutoConfig(config)) => cx.at("auto_config", |cx| {
            let proto::http_protocol_options::AutoHttpConfig {
                http_protocol_options,
                http2_protocol_options,
                http3_protocol_options,
                alternate_protocols_cache_options,
            } = config;
            unbuilt!(cx, http3_protocol_options, alternate_protocols_cache_options);
            options.protocol = UpstreamProtocol::Auto;
            if let Some(http2) = http2_protocol_options {
                cx.at("http2_protocol_options", |cx| of_http2(cx, http2, options));
            }
            if let Some(http1) = http_protocol_options {
                cx.at("http_protocol_options", |cx| of_http1(cx, http1, options));
            }
        }),
        None => {}
    }
}

/// What TLS connections take from requests.
fn of_upstream(cx: &mut CompileCx<'_>, from: &core::UpstreamHttpProtocolOptions, options: &mut HttpOptions) {
    let core::UpstreamHttpProtocolOptions { auto_sni, auto_san_validation, override_auto_sni_header } = from;
    options.auto_sni = *auto_sni;
    options.auto_san_validation = *auto_san_validation;
    if !override_auto_sni_header.is_empty() {
        options.override_auto_sni_header = nuncio_codec::headers::HeaderName::new(override_auto_sni_header);
        if options.override_auto_sni_header.is_none() {
            cx.at("override_auto_sni_header", |cx| {
                cx.error(codes::BAD_VALUE, format!("`{override_auto_sni_header}` is not a header name"));
            });
        }
    }
}

/// A chain of its own on the way to the host; it must end in the codec.
fn upstream_filters(cx: &mut CompileCx<'_>, filters: &[nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter]) {
    let Some(last) = filters.last() else { return };
    let name = &last.name;
    let codec = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
    use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
    let is_codec = matches!(&last.config_type, Some(ConfigType::TypedConfig(any)) if nuncio_api::schema::type_name(&any.type_url) == codec);
    if !is_codec && matches!(last.config_type, Some(ConfigType::TypedConfig(_))) {
        cx.item("http_filters", filters.len() - 1, |cx| {
            cx.error(codes::FILTER_ORDER, "a cluster's HTTP filters end with envoy.filters.http.upstream_codec")
                .envoy(format!("Error: non-terminal filter named {name} is the last filter in a http upstream filter chain."));
        });
    }
    if filters.len() > 1 || !is_codec {
        cx.unsafe_without("http_filters");
    }
}

fn of_http2(cx: &mut CompileCx<'_>, from: &core::Http2ProtocolOptions, options: &mut HttpOptions) {
    options.http2.as_envoy = cx.mode.parity;
    options.keepalive = crate::http2::options(cx, from, &mut options.http2);
}

fn of_common(cx: &mut CompileCx<'_>, from: &core::HttpProtocolOptions, options: &mut HttpOptions) {
    let core::HttpProtocolOptions {
        idle_timeout,
        max_connection_duration,
        max_connection_duration_jitter,
        max_headers_count,
        max_response_headers_kb,
        max_stream_duration,
        headers_with_underscores_action,
        max_requests_per_connection,
    } = from;
    options.max_connection_duration_jitter = max_connection_duration_jitter.as_ref().map_or(0.0, |percent| percent.value.clamp(0.0, 100.0));
    options.max_stream_duration = cx.duration("max_stream_duration", max_stream_duration.as_ref()).filter(|d| !d.is_zero());
    if let Some(idle) = cx.duration("idle_timeout", idle_timeout.as_ref()) {
        options.idle_timeout = (!idle.is_zero()).then_some(idle);
    }
    options.max_connection_duration = cx.duration("max_connection_duration", max_connection_duration.as_ref()).filter(|d| !d.is_zero());
    if let Some(count) = max_headers_count {
        options.max_headers_count = *count;
    }
    if let Some(size) = max_response_headers_kb {
        options.max_response_headers_kb = Some(*size);
    }
    options.headers_with_underscores_action = underscores(*headers_with_underscores_action);
    // Zero is no limit.
    if let Some(max) = max_requests_per_connection {
        options.max_requests_per_connection = (*max > 0).then_some(*max);
    }
}

/// `HeadersWithUnderscoresAction`.
pub(crate) fn underscores(number: i32) -> UnderscoreAction {
    use core::http_protocol_options::HeadersWithUnderscoresAction as Action;
    match Action::try_from(number).unwrap_or_default() {
        Action::Allow => UnderscoreAction::Allow,
        Action::RejectRequest => UnderscoreAction::Reject,
        Action::DropHeader => UnderscoreAction::Drop,
    }
}

fn of_http1(cx: &mut CompileCx<'_>, from: &core::Http1ProtocolOptions, options: &mut HttpOptions) {
    #[allow(deprecated)]
    let core::Http1ProtocolOptions {
        // What concerns requests only has no meaning towards a host, in Envoy neither.
        allow_absolute_url: _,
        accept_http_10: _,
        default_host_for_http_10: _,
        header_key_format,
        enable_trailers,
        allow_chunked_length,
        override_stream_error_on_invalid_http_message: _,
        send_fully_qualified_url,
        use_balsa_parser: _,
        allow_custom_methods: _,
        ignore_http_11_upgrade: _,
    } = from;
    options.header_case = header_key_format.as_ref().map(|f| cx.at("header_key_format", |cx| name_case(cx, f))).unwrap_or_default();
    options.enable_trailers = *enable_trailers;
    options.allow_chunked_length = *allow_chunked_length;
    options.send_fully_qualified_url = *send_fully_qualified_url;
}

/// How header names are spelled on the wire.
pub(crate) fn name_case(cx: &mut CompileCx<'_>, from: &core::http1_protocol_options::HeaderKeyFormat) -> NameCase {
    use core::http1_protocol_options::header_key_format::HeaderFormat;
    const PRESERVE: &str = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";
    match &from.header_format {
        None => NameCase::Lower,
        Some(HeaderFormat::ProperCaseWords(_)) => NameCase::Proper,
        Some(HeaderFormat::StatefulFormatter(formatter)) => {
            let preserve = formatter.typed_config.as_ref().filter(|c| nuncio_api::schema::type_name(&c.type_url) == PRESERVE);
            let Some(config) = preserve else {
                cx.without_effect("stateful_formatter");
                return NameCase::Lower;
            };
            use nuncio_api::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
            let PreserveCaseFormatterConfig { forward_reason_phrase, formatter_type_on_envoy_headers } =
                PreserveCaseFormatterConfig::decode(config.value.as_slice()).unwrap_or_default();
            cx.at("stateful_formatter", |cx| cx.at("typed_config", |cx| unbuilt!(cx, forward_reason_phrase, formatter_type_on_envoy_headers)));
            NameCase::Preserve
        }
    }
}
