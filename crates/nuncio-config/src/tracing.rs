//! What is configured of tracing: the connection manager's `tracing`, tags and names of operations.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::trace::v3::tracing::{Http, http};
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing as TracingProto;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::RequestIdExtension;
use nuncio_api::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use nuncio_api::envoy::r#type::tracing::v3::CustomTag as TagProto;
use nuncio_api::envoy::r#type::v3::Percent;
use nuncio_core::format::Format;
use nuncio_core::{BuildCx, CustomTag, FilterConfig, Fraction, RuntimeFraction, Tracer};
use nuncio_http::config::Tracing;
use prost::{Message as _, Name as _};
use std::sync::Arc;

/// Bytes of a path in a tag, where nothing is said.
const MAX_PATH_TAG_BYTES: u32 = 256;

/// `HttpConnectionManager.tracing`; `ids` is its `request_id_extension`.
pub(crate) fn compile(cx: &mut CompileCx<'_>, from: &TracingProto, egress: bool, ids: Option<&RequestIdExtension>) -> Tracing {
    let TracingProto {
        client_sampling,
        random_sampling,
        overall_sampling,
        verbose,
        max_path_tag_length,
        custom_tags,
        provider,
        spawn_upstream_span,
        operation,
        upstream_operation,
        no_context_propagation,
    } = from;
    let (operation, upstream_operation) = operations(cx, operation, upstream_operation);
    let UuidRequestIdConfig { pack_trace_reason, use_request_id_for_trace_sampling } = request_ids(ids);
    Tracing {
        tracer: provider.as_ref().and_then(|provider| cx.at("provider", |cx| tracer(cx, provider))),
        client_sampling: sampling("tracing.client_enabled", client_sampling.as_ref()),
        random_sampling: sampling("tracing.random_sampling", random_sampling.as_ref()),
        overall_sampling: sampling("tracing.global_enabled", overall_sampling.as_ref()),
        verbose: *verbose,
        max_path_tag_length: max_path_tag_length.unwrap_or(MAX_PATH_TAG_BYTES) as usize,
        custom_tags: self::custom_tags(cx, custom_tags),
        spawn_upstream_span: spawn_upstream_span.unwrap_or(false),
        operation,
        upstream_operation,
        propagates: !no_context_propagation,
        egress,
        node: cx.identity.id.clone(),
        zone: cx.identity.zone.clone(),
        marks_ids: pack_trace_reason.unwrap_or(true),
        draws_by_id: use_request_id_for_trace_sampling.unwrap_or(true),
    }
}

fn request_ids(extension: Option<&RequestIdExtension>) -> UuidRequestIdConfig {
    let config = extension.and_then(|extension| extension.typed_config.as_ref());
    let config = config.filter(|config| nuncio_api::schema::type_name(&config.type_url) == UuidRequestIdConfig::full_name());
    config.and_then(|config| UuidRequestIdConfig::decode(config.value.as_slice()).ok()).unwrap_or_default()
}

fn sampling(key: &str, from: Option<&Percent>) -> RuntimeFraction {
    // A percentage with two digits behind the point, as Envoy keeps it.
    let numerator = from.map_or(10_000, |percent| (percent.value * 100.0).clamp(0.0, 10_000.0) as u32);
    RuntimeFraction { default: Fraction { numerator, denominator: 10_000 }, key: key.into() }
}

fn tracer(cx: &mut CompileCx<'_>, from: &Http) -> Option<Arc<dyn Tracer>> {
    let Http { name, config_type } = from;
    let Some(http::ConfigType::TypedConfig(config)) = config_type else {
        cx.value_without_effect(&format!("the tracer `{name}`"));
        return None;
    };
    let message = nuncio_api::schema::type_name(&config.type_url);
    cx.at("typed_config", |cx| {
        let Some(entry) = nuncio_ext::registry::TRACERS.iter().find(|entry| entry.message == message) else {
            cx.value_without_effect(&format!("the tracer `{name}`"));
            return None;
        };
        let stats = cx.stats.clone();
        let service_cluster = cx.identity.cluster.clone();
        let node_metadata = cx.identity.metadata.clone();
        let mut build = BuildCx::new(&stats, "");
        build.service_cluster = &service_cluster;
        build.node_metadata = Some(&node_metadata);
        let built = (entry.build)(FilterConfig { type_url: &config.type_url, value: &config.value }, &mut build);
        let warnings = std::mem::take(&mut build.warnings);
        cx.extension_findings(warnings);
        cx.extension_refusals(std::mem::take(&mut build.unsafe_without));
        built.map_err(|error| { cx.extension_error(codes::BAD_VALUE, error); }).ok()
    })
}

/// `operation` and `upstream_operation`.
pub(crate) fn operations(cx: &mut CompileCx<'_>, own: &str, upstream: &str) -> (Option<Arc<Format>>, Option<Arc<Format>>) {
    let mut one = |field, text: &str| if text.is_empty() { None } else { cx.at(field, |cx| format(cx, text)).map(Arc::new) };
    (one("operation", own), one("upstream_operation", upstream))
}

fn format(cx: &mut CompileCx<'_>, text: &str) -> Option<Format> {
    match Format::compile(text) {
        Ok((format, warnings)) => {
            for warning in warnings {
                cx.warn(codes::WITHOUT_EFFECT, warning.to_string());
            }
            Some(format.omit_empty())
        }
        Err(error) => {
            cx.error(codes::BAD_FORMAT, format!("not a format: {error}")).envoy(error.message);
            None
        }
    }
}

/// The list `custom_tags`.
pub(crate) fn custom_tags(cx: &mut CompileCx<'_>, list: &[TagProto]) -> Box<[CustomTag]> {
    let mut warnings = Vec::new();
    let tags = cx.each("custom_tags", list, |cx, from| {
        let tag = nuncio_ext::custom_tags::read(from, &mut warnings);
        cx.extension_findings(std::mem::take(&mut warnings));
        match tag {
            Ok(tag) => tag,
            Err(error) => {
                let said = error.message.clone();
                cx.extension_error(codes::BAD_FORMAT, error).envoy(said);
                None
            }
        }
    });
    tags.into()
}
