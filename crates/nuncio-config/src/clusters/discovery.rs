//! How a cluster's endpoints are found: `type`, `cluster_type`, the DNS fields.

use crate::codes;
use crate::context::CompileCx;
use super::{dynamic, eds, original_dst};
use crate::{address, unbuilt};
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::clusters::aggregate::v3::ClusterConfig as AggregateConfig;
use nuncio_api::envoy::extensions::clusters::composite::v3::{ClusterConfig as CompositeConfig, cluster_config::ClusterEntry};
use nuncio_api::envoy::extensions::clusters::dns::v3 as dns;
use nuncio_api::envoy::extensions::clusters::dynamic_forward_proxy::v3::ClusterConfig as DynamicProto;
use nuncio_api::envoy::extensions::network::dns_resolver::cares::v3 as cares;
use nuncio_upstream::config::{Discovery, DnsConfig, LookupFamily, ResolverConfig};
use proto::cluster::{ClusterDiscoveryType, DiscoveryType};
use prost::Message as _;
use std::net::SocketAddr;
use std::time::Duration;

/// The cluster's discovery; what is not built is a static cluster.
pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> Discovery {
    match &cluster.cluster_discovery_type {
        None => Discovery::Static,
        Some(ClusterDiscoveryType::Type(number)) => match DiscoveryType::try_from(*number).unwrap_or_default() {
            DiscoveryType::Static => Discovery::Static,
            DiscoveryType::StrictDns => Discovery::StrictDns(of_cluster(cx, cluster)),
            DiscoveryType::LogicalDns => Discovery::LogicalDns(of_cluster(cx, cluster)),
            DiscoveryType::Eds => eds::of_cluster(cx, cluster),
            DiscoveryType::OriginalDst => original_dst::of_cluster(cx, cluster),
        },
        Some(ClusterDiscoveryType::ClusterType(custom)) => cx.at("cluster_type", |cx| custom_type(cx, cluster, custom)),
    }
}

fn custom_type(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, custom: &proto::cluster::CustomClusterType) -> Discovery {
    let proto::cluster::CustomClusterType { name, typed_config } = custom;
    let config = typed_config.as_ref();
    let message = config.map_or("", |c| nuncio_api::schema::type_name(&c.type_url));
    if message == "envoy.extensions.clusters.dns.v3.DnsCluster" {
        let decoded = config.and_then(|c| dns::DnsCluster::decode(c.value.as_slice()).ok()).unwrap_or_default();
        return cx.at("typed_config", |cx| dns_cluster(cx, &decoded));
    }
    if message == "envoy.extensions.clusters.aggregate.v3.ClusterConfig" {
        let decoded = config.and_then(|c| AggregateConfig::decode(c.value.as_slice()).ok()).unwrap_or_default();
        let AggregateConfig { clusters } = decoded;
        return Discovery::Aggregate(clusters.iter().map(|name| name.as_str().into()).collect());
    }
    if message == "envoy.extensions.clusters.composite.v3.ClusterConfig" {
        let decoded = config.and_then(|c| CompositeConfig::decode(c.value.as_slice()).ok()).unwrap_or_default();
        let CompositeConfig { clusters } = decoded;
        return Discovery::Composite(clusters.iter().map(|ClusterEntry { name }| name.as_str().into()).collect());
    }
    if message == original_dst::MESSAGE || (name == "envoy.cluster.original_dst" && config.is_none()) {
        return original_dst::of_type(cx, cluster, config);
    }
    if message == dynamic::MESSAGE {
        let decoded = config.and_then(|c| DynamicProto::decode(c.value.as_slice()).ok()).unwrap_or_default();
        return cx.at("typed_config", |cx| dynamic::compile(cx, cluster, &decoded));
    }
    check_default(cx, name, config);
    match name.as_str() {
        "envoy.cluster.static" if config.is_none() => return Discovery::Static,
        "envoy.cluster.strict_dns" if config.is_none() => return Discovery::StrictDns(DnsConfig::default()),
        "envoy.cluster.logical_dns" if config.is_none() => return Discovery::LogicalDns(DnsConfig::default()),
        _ => {}
    }
    cx.value_without_effect(&format!("the cluster type `{name}`")).note("the cluster has no hosts: its requests are answered 503");
    Discovery::Static
}

/// A type that is only named gets its default configuration, which may be one that it refuses.
fn check_default(cx: &mut CompileCx<'_>, name: &str, config: Option<&prost_types::Any>) {
    let mut types = nuncio_api::extensions().iter().filter(|e| e.category == "envoy.clusters" && e.name == name);
    let Some(extension) = types.next().filter(|_| config.is_none()) else { return };
    let message = extension.main_type();
    if !message.is_empty() && !nuncio_api::validate::admits_empty(message) {
        cx.error(codes::MISSING, format!("`{name}` needs its typed_config, a `{message}`")).envoy("Proto constraint validation failed");
    }
}

#[allow(deprecated)]
fn of_cluster(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> DnsConfig {
    let failure = cluster.dns_failure_refresh_rate.as_ref().and_then(|rate| {
        cx.at("dns_failure_refresh_rate", |cx| failure_rate(cx, rate.base_interval.as_ref(), rate.max_interval.as_ref()))
    });
    let family = lookup_family(cluster.dns_lookup_family);
    let defaults = DnsConfig::default();
    DnsConfig {
        refresh_rate: cx.duration("dns_refresh_rate", cluster.dns_refresh_rate.as_ref()).unwrap_or(defaults.refresh_rate),
        failure_refresh_rate: failure,
        min_refresh_rate: defaults.min_refresh_rate,
        respect_ttl: cluster.respect_dns_ttl,
        jitter: cx.duration("dns_jitter", cluster.dns_jitter.as_ref()).unwrap_or_default(),
        lookup_family: family,
        resolver: resolver_of_cluster(cx, cluster),
    }
}

/// `Cluster.DnsLookupFamily`.
pub(super) fn lookup_family(number: i32) -> LookupFamily {
    match proto::cluster::DnsLookupFamily::try_from(number).unwrap_or_default() {
        proto::cluster::DnsLookupFamily::Auto => LookupFamily::Auto,
        proto::cluster::DnsLookupFamily::V4Only => LookupFamily::V4Only,
        proto::cluster::DnsLookupFamily::V6Only => LookupFamily::V6Only,
        proto::cluster::DnsLookupFamily::V4Preferred => LookupFamily::V4Preferred,
        proto::cluster::DnsLookupFamily::All => LookupFamily::All,
    }
}

pub(super) fn failure_rate(cx: &mut CompileCx<'_>, base: Option<&prost_types::Duration>, max: Option<&prost_types::Duration>) -> Option<(Duration, Duration)> {
    let base = cx.duration("base_interval", base)?;
    // Envoy's default is ten times the base.
    let max = cx.duration("max_interval", max).unwrap_or(base * 10);
    if max < base {
        cx.at("max_interval", |cx| {
            cx.error(codes::CONFLICT, "max_interval must not be shorter than base_interval")
                .envoy("dns_failure_refresh_rate must have max_interval greater than or equal to the base_interval");
        });
    }
    Some((base, max))
}

/// The resolver in order of precedence: the typed one, the deprecated options, the deprecated list, the bootstrap's.
#[allow(deprecated)]
fn resolver_of_cluster(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> ResolverConfig {
    if let Some(typed) = &cluster.typed_dns_resolver_config {
        return cx.at("typed_dns_resolver_config", |cx| typed_resolver(cx, typed));
    }
    if let Some(config) = &cluster.dns_resolution_config {
        return cx.at("dns_resolution_config", |cx| dns_resolution(cx, config));
    }
    if cluster.dns_resolvers.is_empty() {
        let default = cx.default_resolver.clone();
        return ResolverConfig { use_tcp: cluster.use_tcp_for_dns_lookups || default.use_tcp, ..default };
    }
    ResolverConfig { servers: resolver_addresses(cx, "dns_resolvers", &cluster.dns_resolvers), use_tcp: cluster.use_tcp_for_dns_lookups, ..ResolverConfig::default() }
}

/// The deprecated `dns_resolution_config`.
pub(crate) fn dns_resolution(cx: &mut CompileCx<'_>, from: &core::DnsResolutionConfig) -> ResolverConfig {
    let core::DnsResolutionConfig { resolvers, dns_resolver_options } = from;
    ResolverConfig {
        servers: resolver_addresses(cx, "resolvers", resolvers),
        use_tcp: dns_resolver_options.is_some_and(|o| o.use_tcp_for_dns_lookups),
        no_default_search_domain: dns_resolver_options.is_some_and(|o| o.no_default_search_domain),
        ..ResolverConfig::default()
    }
}

pub(crate) fn resolver_addresses(cx: &mut CompileCx<'_>, field: &'static str, list: &[core::Address]) -> Vec<SocketAddr> {
    cx.each(field, list, |cx, item| match &item.address {
        Some(core::address::Address::SocketAddress(address)) => cx.at("socket_address", |cx| {
            let mut server = address::socket_addr(cx, address)?;
            if server.port() == 0 {
                server.set_port(53);
            }
            Some(server)
        }),
        _ => {
            cx.error(codes::BAD_ADDRESS, "a DNS server is an IP address and a port");
            None
        }
    })
}

/// The typed resolver: c-ares' options are ours as far as they concern what is asked and whom.
pub(crate) fn typed_resolver(cx: &mut CompileCx<'_>, typed: &core::TypedExtensionConfig) -> ResolverConfig {
    let core::TypedExtensionConfig { name: _, typed_config } = typed;
    let Some(config) = typed_config else { return ResolverConfig::default() };
    match nuncio_api::schema::type_name(&config.type_url) {
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig" => {
            let decoded = cares::CaresDnsResolverConfig::decode(config.value.as_slice()).unwrap_or_default();
            cx.at("typed_config", |cx| cares_resolver(cx, &decoded))
        }
        // The system's resolver, asked in another way; names resolve the same.
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig" => ResolverConfig::default(),
        _ => {
            cx.without_effect("typed_config");
            ResolverConfig::default()
        }
    }
}

fn cares_resolver(cx: &mut CompileCx<'_>, config: &cares::CaresDnsResolverConfig) -> ResolverConfig {
    let cares::CaresDnsResolverConfig {
        resolvers,
        use_resolvers_as_fallback,
        filter_unroutable_families,
        dns_resolver_options,
        // Every question has a socket of its own, and `/etc/resolv.conf` is read again when it changes: what these are for.
        udp_max_queries: _,
        max_udp_channel_duration: _,
        reinit_channel_on_timeout: _,
        query_timeout_seconds,
        query_tries,
        rotate_nameservers,
        edns0_max_payload_size,
        qcache_max_ttl,
    } = config;
    unbuilt!(cx, edns0_max_payload_size, qcache_max_ttl);
    ResolverConfig {
        servers: resolver_addresses(cx, "resolvers", resolvers),
        use_tcp: dns_resolver_options.is_some_and(|o| o.use_tcp_for_dns_lookups),
        no_default_search_domain: dns_resolver_options.is_some_and(|o| o.no_default_search_domain),
        servers_are_fallback: *use_resolvers_as_fallback,
        routable_only: *filter_unroutable_families,
        query_timeout: query_timeout_seconds.map(Duration::from_secs),
        query_tries: *query_tries,
        rotate: *rotate_nameservers,
    }
}

/// `envoy.clusters.dns`: strict, or logical with `all_addresses_in_single_endpoint`.
fn dns_cluster(cx: &mut CompileCx<'_>, cluster: &dns::DnsCluster) -> Discovery {
    let dns::DnsCluster {
        dns_refresh_rate,
        dns_failure_refresh_rate,
        respect_dns_ttl,
        dns_jitter,
        typed_dns_resolver_config,
        dns_lookup_family,
        all_addresses_in_single_endpoint,
        dns_min_refresh_rate,
    } = cluster;
    let failure = dns_failure_refresh_rate
        .as_ref()
        .and_then(|rate| cx.at("dns_failure_refresh_rate", |cx| failure_rate(cx, rate.base_interval.as_ref(), rate.max_interval.as_ref())));
    use nuncio_api::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily as Family;
    let family = match Family::try_from(*dns_lookup_family).unwrap_or_default() {
        Family::Unspecified | Family::Auto => LookupFamily::Auto,
        Family::V4Only => LookupFamily::V4Only,
        Family::V6Only => LookupFamily::V6Only,
        Family::V4Preferred => LookupFamily::V4Preferred,
        Family::All => LookupFamily::All,
    };
    let defaults = DnsConfig::default();
    let config = DnsConfig {
        refresh_rate: cx.duration("dns_refresh_rate", dns_refresh_rate.as_ref()).unwrap_or(defaults.refresh_rate),
        failure_refresh_rate: failure,
        min_refresh_rate: cx.duration("dns_min_refresh_rate", dns_min_refresh_rate.as_ref()).unwrap_or(defaults.min_refresh_rate),
        respect_ttl: *respect_dns_ttl,
        jitter: cx.duration("dns_jitter", dns_jitter.as_ref()).unwrap_or_default(),
        lookup_family: family,
        resolver: match typed_dns_resolver_config {
            Some(typed) => cx.at("typed_dns_resolver_config", |cx| typed_resolver(cx, typed)),
            None => cx.default_resolver.clone(),
        },
    };
    if *all_addresses_in_single_endpoint { Discovery::LogicalDns(config) } else { Discovery::StrictDns(config) }
}

/// A logical DNS cluster has exactly one endpoint, whose name is looked up.
pub(super) fn check_single_endpoint(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) {
    let Some(assignment) = &cluster.load_assignment else {
        cx.error(codes::CONFLICT, "a cluster of type LOGICAL_DNS has one endpoint, in load_assignment")
            .envoy("LOGICAL_DNS clusters must have a single host");
        return;
    };
    let localities = &assignment.endpoints[..];
    if matches!(localities, [locality] if locality.lb_endpoints.len() == 1) {
        return;
    }
    cx.at("load_assignment", |cx| {
        cx.error(codes::CONFLICT, "a cluster of type LOGICAL_DNS has one locality with one endpoint")
            .envoy("LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint")
            .help("STRICT_DNS takes any number of names");
    });
}
