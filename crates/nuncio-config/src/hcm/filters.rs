//! The HTTP filter chain: through the registry, the router at its end.

use super::router;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::extensions::filters::http::router::v3::Router;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use nuncio_core::{BuildCx, FilterConfig};
use nuncio_http::Installed;
use nuncio_http::config::{RouterOptions, Upgrade};
use prost::Message as _;
use proto::http_connection_manager::UpgradeConfig;
use proto::http_filter::ConfigType;

/// The router's message.
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

/// A compiled chain.
#[derive(Debug, Default)]
pub(super) struct FilterChain {
    pub filters: Vec<Installed>,
    pub has_router: bool,
    pub router: RouterOptions,
}

/// What an unbuilt filter would do, and so what leaving it out means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterKind {
    /// It decides who may pass, or may do anything: requests must not go on without it.
    Guard,
    /// Requests go on without it, and lack what it adds.
    Helper,
}

/// Filters that requests must not go on without. Scripts and modules may do anything, access control among it.
const GUARDS: [&str; 16] = [
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    "envoy.extensions.filters.http.basic_auth.v3.BasicAuth",
    "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
    "envoy.extensions.filters.http.oauth2.v3.OAuth2",
    "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
    "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
    "envoy.extensions.filters.http.lua.v3.Lua",
    "envoy.extensions.filters.http.wasm.v3.Wasm",
    "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
    "envoy.extensions.filters.http.composite.v3.Composite",
    "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig",
    "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
    "envoy.extensions.filters.http.cdn_loop.v3.CdnLoopConfig",
    "envoy.extensions.filters.http.proto_api_scrubber.v3.ProtoApiScrubberConfig",
];

impl FilterKind {
    /// By the full name of its message.
    pub fn of(message: &str) -> FilterKind {
        if GUARDS.contains(&message) { FilterKind::Guard } else { FilterKind::Helper }
    }
}

/// A filter that ends an HTTP filter chain.
pub fn is_terminal(message: &str, value: &[u8]) -> bool {
    use nuncio_api::envoy::extensions::filters::http::dynamic_modules::v3::DynamicModuleFilter;
    match message {
        ROUTER | "envoy.extensions.filters.http.mcp_router.v3.McpRouter" | "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" => true,
        "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter" => {
            DynamicModuleFilter::decode(value).is_ok_and(|f| f.terminal_filter)
        }
        _ => false,
    }
}

/// Checks that the filters of the field end with one that ends the chain, and that no other does.
pub fn check_chain(cx: &mut CompileCx<'_>, field: &'static str, filters: &[proto::HttpFilter], kind: &str) {
    for (index, filter) in filters.iter().enumerate() {
        let last = index + 1 == filters.len();
        let config = match &filter.config_type {
            Some(ConfigType::TypedConfig(config)) => config,
            Some(ConfigType::ConfigDiscovery(source)) => match &source.default_config {
                Some(config) => config,
                None => continue,
            },
            None => continue,
        };
        let message = nuncio_api::schema::type_name(&config.type_url);
        // Whether it exists at all is somebody else's finding.
        let Some(extension) = extension(message) else { continue };
        let terminal = is_terminal(message, &config.value);
        if terminal && filter.disabled {
            let name = &filter.name;
            cx.item(field, index, |cx| {
                cx.at("disabled", |cx| {
                    cx.error(codes::CONFLICT, format!("`{name}` ends the chain, and cannot be off"))
                        .envoy(format!("Error: the last (terminal) filter ({name}) in the chain cannot be disabled by default."));
                });
            });
        }
        if terminal == last {
            continue;
        }
        let name = &filter.name;
        cx.item(field, index, |cx| {
            if terminal {
                let behind = filters.len() - index - 1;
                let plural = if behind == 1 { "filter follows" } else { "filters follow" };
                cx.error(codes::FILTER_ORDER, format!("`{name}` ends the chain, but {behind} {plural} it"))
                    .help(format!("move it to the end of {field}, and have it once"))
                    .envoy(format!(
                        "Error: terminal filter named {name} of type {extension} must be the last filter in a {kind} filter chain."
                    ));
            } else {
                cx.error(codes::NO_ROUTER, format!("`{name}` is the last filter, and does not end the chain"))
                    .help("put the router behind it: { name: envoy.filters.http.router, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }")
                    .envoy(format!("Error: non-terminal filter named {name} of type {extension} is the last filter in a {kind} filter chain."));
            }
        });
    }
}

pub(super) fn extension(message: &str) -> Option<&'static str> {
    let mut all = nuncio_api::extensions().iter();
    all.find(|e| e.category == "envoy.filters.http" && e.types.split(',').any(|t| t == message)).map(|e| e.name)
}

pub(super) fn compile(cx: &mut CompileCx<'_>, filters: &[proto::HttpFilter], stat_prefix: &str) -> FilterChain {
    if filters.is_empty() {
        cx.at("http_filters", |cx| {
            cx.refused_unless_parity(codes::NO_ROUTER, "there is no router filter: no request would be answered")
                .note("Envoy accepts this, and every request hangs")
                .help("add http_filters: [{ name: envoy.filters.http.router, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]")
                .on_key();
        });
    }
    check_chain(cx, "http_filters", filters, "http");
    let mut chain = FilterChain { router: RouterOptions { dynamic_stats: true, ..RouterOptions::default() }, ..FilterChain::default() };
    let prefix = format!("http.{stat_prefix}.");
    let stats = cx.stats.clone();
    let service_cluster = cx.identity.cluster.clone();
    let node_metadata = cx.identity.metadata.clone();
    let mut build = BuildCx::new(&stats, &prefix);
    build.service_cluster = &service_cluster;
    build.node_metadata = Some(&node_metadata);
    build.generic_secrets = cx.generic_secrets();
    build.http_filters = cx.http_filters;
    for (index, filter) in filters.iter().enumerate() {
        cx.item("http_filters", index, |cx| one(cx, filter, &mut build, &mut chain));
    }
    chain
}

/// The list `upgrade_configs`, each with its filters where it has any.
pub(super) fn upgrades(cx: &mut CompileCx<'_>, list: &[UpgradeConfig], stat_prefix: &str) -> Vec<Upgrade> {
    let prefix = format!("http.{stat_prefix}.");
    let stats = cx.stats.clone();
    cx.each("upgrade_configs", list, |cx, from| {
        let UpgradeConfig { upgrade_type, filters, enabled } = from;
        let mut chain = FilterChain::default();
        let mut build = BuildCx::new(&stats, &prefix);
        build.generic_secrets = cx.generic_secrets();
        build.http_filters = cx.http_filters;
        for (index, filter) in filters.iter().enumerate() {
            cx.item("filters", index, |cx| one(cx, filter, &mut build, &mut chain));
        }
        let filters = (!filters.is_empty()).then_some(chain.filters);
        Some(Upgrade { kind: upgrade_type.as_str().into(), enabled: enabled.unwrap_or(true), filters })
    })
}

fn one<'f>(cx: &mut CompileCx<'_>, filter: &'f proto::HttpFilter, build: &mut BuildCx<'f>, chain: &mut FilterChain) {
    let proto::HttpFilter { name, is_optional: _, disabled, config_type } = filter;
    let config = match config_type {
        Some(ConfigType::TypedConfig(config)) => config,
        Some(ConfigType::ConfigDiscovery(source)) => {
            // What would arrive is unknown, so it may be a guard.
            cx.unsafe_without("config_discovery");
            cx.at("config_discovery", |cx| super::discovery::check(cx, name, source));
            return;
        }
        None => return,
    };
    let message = nuncio_api::schema::type_name(&config.type_url);
    if message == ROUTER {
        chain.has_router = true;
        let decoded = Router::decode(config.value.as_slice()).unwrap_or_default();
        chain.router = cx.at("typed_config", |cx| router::compile(cx, &decoded));
        return;
    }
    let Some(entry) = cx.http_filters.iter().find(|e| e.message == message) else {
        missing(cx, name, message, *disabled);
        return;
    };
    let built = cx.at("typed_config", |cx| {
        build.filter_name = name;
        let built = (entry.build)(FilterConfig { type_url: &config.type_url, value: &config.value }, build);
        let warnings = std::mem::take(&mut build.warnings);
        cx.extension_findings(warnings);
        cx.extension_refusals(std::mem::take(&mut build.unsafe_without));
        built
            .map_err(|error| {
                cx.extension_error(codes::BAD_VALUE, error);
            })
            .ok()
    });
    chain.filters.extend(built.map(|filter| Installed { name: name.as_str().into(), filter, disabled: *disabled }));
}

/// A filter that is not built.
fn missing(cx: &mut CompileCx<'_>, name: &str, message: &str, disabled: bool) {
    if extension(message).is_none() {
        // Reported where extensions are judged.
        return;
    }
    let what = format!("the filter `{name}`");
    let guard = FilterKind::of(message) == FilterKind::Guard && !disabled;
    let finding = if guard { cx.value_unsafe_without(&what) } else { cx.value_without_effect(&what) };
    finding.note(format!("its type is {message}"));
}
