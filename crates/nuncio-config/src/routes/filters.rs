//! `typed_per_filter_config`: settings of HTTP filters for a route, a virtual host, a weighted cluster.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_api::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use nuncio_core::{BuildCx, FilterConfig};
use nuncio_ext::http::cors::CORS_OF_ROUTES;
use nuncio_http::routes::{FilterOverride, FilterOverrides};
use prost::{Message, Name};
use std::collections::HashMap;

/// Compiles the map; entries are looked at in the order of their names, so that reports are the same every time.
pub(super) fn compile(cx: &mut CompileCx<'_>, map: &HashMap<String, prost_types::Any>) -> FilterOverrides {
    with_cors(cx, map, None)
}

/// The same where `cors` of a virtual host or route stands for settings of the CORS filter.
pub(super) fn with_cors(cx: &mut CompileCx<'_>, map: &HashMap<String, prost_types::Any>, cors: Option<&proto::CorsPolicy>) -> FilterOverrides {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(name, _)| name.as_str());
    let made = entries.into_iter().filter_map(|(name, config)| {
        let made = cx.entry("typed_per_filter_config", name, |cx| entry(cx, name, config));
        Some((name.as_str().into(), made?))
    });
    let mut made: Vec<_> = made.collect();
    if let Some(cors) = cors.map(CorsPolicy::from_route) {
        let config = cx.at("cors", |cx| settings(cx, CORS_OF_ROUTES, &cors, false));
        made.extend(config.map(|config| (CORS_OF_ROUTES.into(), FilterOverride { config: Some(config), disabled: None })));
    }
    FilterOverrides::new(made)
}

/// The older message as the filter's own.
trait FromRoute {
    fn from_route(from: &proto::CorsPolicy) -> prost_types::Any;
}

impl FromRoute for CorsPolicy {
    fn from_route(from: &proto::CorsPolicy) -> prost_types::Any {
        let proto::CorsPolicy {
            allow_origin_string_match,
            allow_methods,
            allow_headers,
            expose_headers,
            max_age,
            allow_credentials,
            shadow_enabled,
            allow_private_network_access,
            forward_not_matching_preflights,
            enabled_specifier,
        } = from.clone();
        let policy = CorsPolicy {
            allow_origin_string_match,
            allow_methods,
            allow_headers,
            expose_headers,
            max_age,
            allow_credentials,
            filter_enabled: enabled_specifier.map(|proto::cors_policy::EnabledSpecifier::FilterEnabled(part)| part),
            shadow_enabled,
            allow_private_network_access,
            forward_not_matching_preflights,
        };
        prost_types::Any { type_url: CorsPolicy::type_url(), value: policy.encode_to_vec() }
    }
}

fn entry(cx: &mut CompileCx<'_>, name: &str, config: &prost_types::Any) -> Option<FilterOverride> {
    if message_name(&config.type_url) != proto::FilterConfig::full_name() {
        return Some(FilterOverride { config: Some(settings(cx, name, config, false)?), disabled: None });
    }
    let proto::FilterConfig { config, is_optional, disabled } = proto::FilterConfig::decode(&*config.value).ok()?;
    if !disabled && config.is_none() {
        cx.error(codes::MISSING, format!("this says nothing of the filter `{name}`: set `config` or `disabled`"))
            .envoy(format!("Empty route/virtual host per filter configuration for {name} filter"));
        return None;
    }
    let config = config.filter(|config| !config.type_url.is_empty());
    let config = config.and_then(|config| cx.at("config", |cx| settings(cx, name, &config, is_optional)));
    Some(FilterOverride { config, disabled: Some(disabled) })
}

fn message_name(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}

fn settings(
    cx: &mut CompileCx<'_>,
    name: &str,
    config: &prost_types::Any,
    is_optional: bool,
) -> Option<std::sync::Arc<dyn std::any::Any + Send + Sync>> {
    let message = message_name(&config.type_url);
    let Some(entry) = cx.http_filters.iter().find(|entry| entry.route_message == message) else {
        if !is_optional && cx.http_filters.iter().any(|entry| entry.message == message) {
            cx.error(codes::UNKNOWN_EXTENSION, format!("the filter `{name}` has no settings for routes of the type {message}"))
                .envoy(format!("The filter {name} doesn't support virtual host or route specific configurations"));
        } else {
            cx.value_without_effect(&format!("the setting of the filter `{name}`"));
        }
        return None;
    };
    let stats = cx.stats.clone();
    let service_cluster = cx.identity.cluster.clone();
    let node_metadata = cx.identity.metadata.clone();
    let mut build = BuildCx::new(&stats, "");
    build.service_cluster = &service_cluster;
    build.node_metadata = Some(&node_metadata);
    build.generic_secrets = cx.generic_secrets();
    build.filter_name = name;
    let built = (entry.route)(FilterConfig { type_url: &config.type_url, value: &config.value }, &mut build);
    cx.extension_warnings(&mut build);
    let refusals = std::mem::take(&mut build.unsafe_without);
    cx.extension_refusals(refusals);
    built
        .map_err(|error| {
            cx.extension_error(codes::BAD_VALUE, error);
        })
        .ok()
}
