//! `envoy.clusters.dynamic_forward_proxy`: hosts are the names that requests ask for.

use super::discovery;
use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::core::v3::{socket_address::PortSpecifier, transport_socket::ConfigType};
use nuncio_api::envoy::extensions::clusters::dynamic_forward_proxy::v3::{ClusterConfig, cluster_config::ClusterImplementationSpecifier};
use nuncio_api::envoy::extensions::common::dynamic_forward_proxy::v3::{DnsCacheCircuitBreakers, DnsCacheConfig as ProtoCache};
use nuncio_upstream::config::{Discovery, DnsCacheConfig, DnsConfig, DynamicConfig, HttpOptions, ResolverConfig};
use std::time::Duration;

/// The extension's message.
pub(super) const MESSAGE: &str = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig";

/// The extension's configuration.
pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, from: &ClusterConfig) -> Discovery {
    let ClusterConfig { allow_insecure_cluster_options, allow_coalesced_connections, cluster_implementation_specifier } = from;
    unbuilt!(cx, allow_coalesced_connections);
    let none = ProtoCache::default();
    let from = match cluster_implementation_specifier {
        Some(ClusterImplementationSpecifier::DnsCacheConfig(from)) => from,
        Some(ClusterImplementationSpecifier::SubClustersConfig(_)) => {
            cx.without_effect("sub_clusters_config").note("the cluster has no hosts: its requests are answered 503");
            return Discovery::Static;
        }
        None => &none,
    };
    let cache = cx.at("dns_cache_config", |cx| self::cache(cx, from));
    let default_port = if speaks_tls(cluster) { 443 } else { 80 };
    Discovery::Dynamic(Box::new(DynamicConfig { cache, default_port, insecure: *allow_insecure_cluster_options }))
}

/// Hosts are whoever the client says: over TLS they must at least be that, unless the configuration wants it otherwise.
pub(super) fn secure(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, config: &DynamicConfig, http: &mut HttpOptions) {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    #[allow(deprecated)]
    let told = cluster.upstream_http_protocol_options.is_some() || cluster.typed_extension_protocol_options.contains_key(OPTIONS);
    if !told {
        (http.auto_sni, http.auto_san_validation) = (true, true);
    } else if !config.insecure && !(http.auto_sni && http.auto_san_validation) {
        cx.at("cluster_type", |cx| {
            cx.error(codes::CONFLICT, "a dynamic forward proxy needs `auto_sni` and `auto_san_validation`, or `allow_insecure_cluster_options`")
                .envoy("dynamic_forward_proxy cluster must have auto_sni and auto_san_validation true unless allow_insecure_cluster_options is set.");
        });
    }
}

#[allow(deprecated)]
fn cache(cx: &mut CompileCx<'_>, from: &ProtoCache) -> DnsCacheConfig {
    let ProtoCache {
        name,
        dns_lookup_family,
        dns_refresh_rate,
        dns_min_refresh_rate,
        host_ttl,
        max_hosts,
        disable_dns_refresh_on_failure,
        dns_failure_refresh_rate,
        dns_cache_circuit_breaker,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        preresolve_hostnames,
        dns_query_timeout,
        key_value_config,
        resolved_address_filter,
    } = from;
    unbuilt!(cx, key_value_config, resolved_address_filter);
    let failure = dns_failure_refresh_rate.as_ref().and_then(|rate| {
        cx.at("dns_failure_refresh_rate", |cx| discovery::failure_rate(cx, rate.base_interval.as_ref(), rate.max_interval.as_ref()))
    });
    let resolver = match (typed_dns_resolver_config, dns_resolution_config) {
        (Some(typed), _) => cx.at("typed_dns_resolver_config", |cx| discovery::typed_resolver(cx, typed)),
        (None, Some(config)) => cx.at("dns_resolution_config", |cx| discovery::dns_resolution(cx, config)),
        (None, None) => {
            let default = cx.default_resolver.clone();
            ResolverConfig { use_tcp: *use_tcp_for_dns_lookups || default.use_tcp, ..default }
        }
    };
    let seconds = Duration::from_secs;
    let dns = DnsConfig {
        refresh_rate: cx.duration("dns_refresh_rate", dns_refresh_rate.as_ref()).unwrap_or(seconds(60)),
        failure_refresh_rate: failure,
        min_refresh_rate: cx.duration("dns_min_refresh_rate", dns_min_refresh_rate.as_ref()).unwrap_or(seconds(5)),
        // The records' own time always counts.
        respect_ttl: true,
        jitter: Duration::ZERO,
        lookup_family: discovery::lookup_family(*dns_lookup_family),
        resolver,
    };
    let preresolve = preresolve_hostnames.iter().map(|name| {
        let port = match name.port_specifier {
            Some(PortSpecifier::PortValue(port)) => port,
            _ => 0,
        };
        format!("{}:{port}", name.address)
    });
    let pending = dns_cache_circuit_breaker.as_ref().and_then(|DnsCacheCircuitBreakers { max_pending_requests }| *max_pending_requests);
    DnsCacheConfig {
        name: name.as_str().into(),
        dns,
        host_ttl: cx.duration("host_ttl", host_ttl.as_ref()).unwrap_or(seconds(300)),
        max_hosts: max_hosts.unwrap_or(1024),
        disable_refresh_on_failure: *disable_dns_refresh_on_failure,
        max_pending_requests: pending.unwrap_or(1024),
        preresolve: preresolve.collect(),
        query_timeout: cx.duration("dns_query_timeout", dns_query_timeout.as_ref()).unwrap_or(seconds(5)),
    }
}

/// Whether hosts are spoken to over TLS.
fn speaks_tls(cluster: &proto::Cluster) -> bool {
    let config = cluster.transport_socket.as_ref().and_then(|socket| socket.config_type.as_ref());
    config.is_some_and(|ConfigType::TypedConfig(config)| config.type_url.ends_with(".UpstreamTlsContext"))
}
