//! `envoy.filters.http.dynamic_forward_proxy`: looks up the host that a request asks for, before its cluster chooses.
//!
//! The lookup is the business of the cluster that the route names; requests to clusters of other kinds pass. The filter's
//! `dns_cache_config` must be the cluster's, word by word (`nuncio-config` sees to it), so that only the cluster's is read.

use crate::read;
use nuncio_api::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as proto;
use nuncio_codec::headers::{HeaderName, Known};
use nuncio_core::names::{DYNAMIC_HOST, DYNAMIC_PORT};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, NameLookup, NamedClustersPart, Phases, Posture, Resolved,
    ResponseFlags, Step, StreamCx,
};
use proto::{filter_config::ImplementationSpecifier, per_route_config::HostRewriteSpecifier};
use std::{any::Any, borrow::Cow, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.dynamic_forward_proxy",
    message: "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
    route_message: "envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

#[derive(Debug)]
struct DynamicForwardProxy {
    name: String,
    /// `allow_dynamic_host_from_filter_state`
    from_filter_state: bool,
}

/// `host_rewrite_literal`, `host_rewrite_header`.
#[derive(Debug)]
enum HostRewrite {
    None,
    Literal(String),
    Header(HeaderName),
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::FilterConfig { save_upstream_address, allow_dynamic_host_from_filter_state, implementation_specifier } = read::message(config)?;
    if save_upstream_address {
        cx.warnings.push(ConfigError::at("save_upstream_address", "is accepted without effect: nothing reads it yet"));
    }
    if let Some(ImplementationSpecifier::SubClusterConfig(_)) = implementation_specifier {
        cx.warnings.push(ConfigError::at("sub_cluster_config", "is accepted without effect: it is not built yet"));
    }
    Ok(Arc::new(DynamicForwardProxy { name: cx.filter_name.to_owned(), from_filter_state: allow_dynamic_host_from_filter_state }))
}

fn route(config: FilterConfig<'_>, _cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::PerRouteConfig { host_rewrite_specifier } = read::message(config)?;
    Ok(Arc::new(match host_rewrite_specifier {
        None => HostRewrite::None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => HostRewrite::Literal(host),
        Some(HostRewriteSpecifier::HostRewriteHeader(header)) => {
            HeaderName::new(&header).map_or(HostRewrite::None, HostRewrite::Header)
        }
    }))
}

impl HostRewrite {
    fn apply(&self, cx: &mut StreamCx) {
        let host = match self {
            HostRewrite::None => return,
            HostRewrite::Literal(host) => host.clone(),
            HostRewrite::Header(header) => match cx.request.get_str(header) {
                Some(host) => host.to_owned(),
                None => return,
            },
        };
        if !host.is_empty() {
            cx.request.insert(Known::Authority, host);
        }
    }
}

impl HttpFilter for DynamicForwardProxy {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let Some(clusters) = cx.worker.parts.get::<NamedClustersPart>() else { return Step::Continue };
        let route = cx.route.clone();
        let Some(route) = &route else { return Step::Continue };
        let Some(cluster) = route.cluster_name(cx).map(str::to_owned).filter(|cluster| clusters.0.goes_by_name(cluster)) else {
            return Step::Continue;
        };
        if let Some(rewrite) = route.filter_config::<HostRewrite>(&self.name) {
            rewrite.apply(cx);
        }
        let state = |key: &str| {
            let held = cx.filter_state.get(key).filter(|_| self.from_filter_state);
            held.and_then(|value| std::str::from_utf8(value).ok())
        };
        let host = state(DYNAMIC_HOST).filter(|host| !host.is_empty()).or_else(|| cx.request.get_str(Known::Authority));
        let port = state(DYNAMIC_PORT).and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        if host.is_none_or(str::is_empty) {
            return Step::reply(LocalReply::new(400, "empty_host_header").body("Empty host header"));
        }
        match clusters.0.lookup(&cluster, host.unwrap_or_default(), port) {
            NameLookup::NotAsked => Step::Continue,
            NameLookup::Known(resolved) => proceed(&resolved),
            NameLookup::Pending(lookup) => Step::wait(async move {
                let resolved = lookup.await;
                move |_: &mut StreamCx| proceed(&resolved)
            }),
            NameLookup::TooManyNames => refused("dns_cache_overflow", "DNS cache overflow", ResponseFlags::NONE),
            NameLookup::TooManyWait => refused(
                "dynamic_forward_proxy_pending_request_overflow",
                "Dynamic forward proxy pending request overflow",
                ResponseFlags::NONE,
            ),
        }
    }
}

fn proceed(resolved: &Resolved) -> Step {
    match resolved {
        Ok(_) => Step::Continue,
        Err(details) if **details == *"dns_cache_overflow" => refused("dns_cache_overflow", "DNS cache overflow", ResponseFlags::NONE),
        Err(details) => refused(format!("dns_resolution_failure{{{details}}}"), "DNS resolution failure", ResponseFlags::DF),
    }
}

fn refused(details: impl Into<Cow<'static, str>>, body: &'static str, flags: ResponseFlags) -> Step {
    Step::reply(LocalReply::new(503, details).body(body).flags(flags))
}
