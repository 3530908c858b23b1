//! `envoy.config.cluster.v3.Cluster` → [`ClusterConfig`].
//!
//! Each file is a part of the message: how endpoints are found (`discovery`), which there are (`endpoints`), how one is
//! chosen (`balancing`), how much is let through (`limits`), how hosts are checked (`health`) and
//! thrown out (`outlier`), how they are connected
//! to (`connecting`) and spoken to (`protocol`).

mod balancing;
mod connecting;
mod discovery;
mod dynamic;
mod eds;
mod endpoints;
mod health;
mod limits;
mod original_dst;
pub(crate) mod metadata;
mod outlier;
mod policies;
mod protocol;
mod redis;

use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_rt::TcpOptions;
use nuncio_upstream::{ClusterConfig, Transports};
use nuncio_upstream::config::{Assignment, CircuitBreakers, Discovery, HttpOptions, TrackClusterStats};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use connecting::bind;
pub use eds::EdsFiles;
pub(crate) use discovery::{dns_resolution, resolver_addresses, typed_resolver};
pub(crate) use endpoints::place;
pub(crate) use protocol::{name_case, underscores};

/// A cluster's endpoints come over EDS.
pub fn is_eds(cluster: &proto::Cluster) -> bool {
    matches!(&cluster.cluster_discovery_type, Some(proto::cluster::ClusterDiscoveryType::Type(t)) if *t == proto::cluster::DiscoveryType::Eds as i32)
}

/// A cluster's endpoints come over EDS, and not from a file.
pub fn is_eds_over_api(cluster: &proto::Cluster) -> bool {
    use core::config_source::ConfigSourceSpecifier;
    let source = cluster.eds_cluster_config.as_ref().and_then(|c| c.eds_config.as_ref()).and_then(|c| c.config_source_specifier.as_ref());
    #[allow(deprecated)]
    let file = matches!(source, Some(ConfigSourceSpecifier::Path(_) | ConfigSourceSpecifier::PathConfigSource(_)));
    is_eds(cluster) && !file
}

/// What the last cluster had. Clusters mostly say the same of these: one value for all that follow each other.
#[derive(Debug, Default)]
pub(crate) struct LastCluster {
    http: Option<Arc<HttpOptions>>,
    limits: Option<Arc<CircuitBreakers>>,
    socket: Option<Arc<TcpOptions>>,
    transports: Option<Arc<Transports>>,
}

fn shared<T: PartialEq>(made: T, last: &mut Option<Arc<T>>) -> Arc<T> {
    match last {
        Some(last) if **last == made => last.clone(),
        _ => last.insert(Arc::new(made)).clone(),
    }
}

/// What is counted only on request; the older field asks for one thing of it.
fn track(budgets: bool, from: Option<&proto::TrackClusterStats>) -> TrackClusterStats {
    let Some(proto::TrackClusterStats { timeout_budgets, request_response_sizes, per_endpoint_stats }) = from else {
        return TrackClusterStats { timeout_budgets: budgets, ..TrackClusterStats::default() };
    };
    TrackClusterStats { timeout_budgets: budgets || *timeout_budgets, sizes: *request_response_sizes, per_endpoint: *per_endpoint_stats }
}

/// Compiles a cluster. What cannot be had is reported; the result is whole enough to go on with.
#[allow(deprecated)]
pub fn compile(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> ClusterConfig {
    let proto::Cluster {
        transport_socket_matches: _,
        transport_socket_matcher,
        name,
        alt_stat_name,
        stats_matcher,
        eds_cluster_config,
        connect_timeout,
        per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout,
        lb_policy: _,
        load_assignment,
        health_checks,
        max_requests_per_connection: _,
        circuit_breakers,
        upstream_http_protocol_options: _,
        common_http_protocol_options: _,
        http_protocol_options: _,
        http2_protocol_options: _,
        typed_extension_protocol_options: _,
        dns_refresh_rate: _,
        dns_jitter: _,
        dns_failure_refresh_rate: _,
        respect_dns_ttl: _,
        dns_lookup_family: _,
        dns_resolvers: _,
        use_tcp_for_dns_lookups: _,
        dns_resolution_config: _,
        typed_dns_resolver_config: _,
        wait_for_warm_on_init,
        outlier_detection,
        cleanup_interval: _,
        upstream_bind_config: _,
        lb_subset_config: _,
        common_lb_config: _,
        transport_socket: _,
        metadata: cluster_metadata,
        protocol_selection: _,
        upstream_connection_options: _,
        close_connections_on_host_health_failure,
        ignore_health_on_host_removal,
        filters,
        load_balancing_policy: _,
        lrs_server,
        lrs_report_endpoint_metrics,
        track_timeout_budgets,
        upstream_config,
        track_cluster_stats,
        preconnect_policy: _,
        connection_pool_per_downstream_connection,
        queuing_policies,
        cluster_discovery_type: _,
        lb_config: _,
    } = cluster;
    unbuilt!(
        cx,
        stats_matcher,
        per_connection_buffer_high_watermark_timeout,
        lrs_server,
        lrs_report_endpoint_metrics,
        queuing_policies,
        filters,
    );
    if let Some(from) = upstream_config {
        cx.at("upstream_config", |cx| connecting::upstream(cx, from));
    }
    if transport_socket_matcher.is_some() {
        cx.unsafe_without("transport_socket_matcher");
    }
    let discovery = discovery::compile(cx, cluster);
    if eds_cluster_config.is_some() && !is_eds(cluster) {
        cx.at("eds_cluster_config", |cx| {
            let finding = cx.error(codes::CONFLICT, "eds_cluster_config is only for clusters of type EDS");
            finding.envoy("eds_cluster_config set in a non-EDS cluster").on_key();
        });
    }
    let assignment = match load_assignment {
        Some(assignment) => cx.at("load_assignment", |cx| endpoints::compile(cx, cluster, endpoints::Names::of(cluster, &discovery), assignment)),
        None => Assignment::default(),
    };
    let assignment = if discovery.has_endpoints() {
        assignment
    } else {
        if load_assignment.is_some() {
            cx.at("load_assignment", |cx| {
                cx.warn(codes::CONFLICT, "a cluster of this type has no endpoints of its own: these are not used").on_key();
            });
        }
        Assignment::default()
    };
    if matches!(discovery, Discovery::LogicalDns(_)) {
        discovery::check_single_endpoint(cx, cluster);
    }
    let balancing::Balancing { lb, orca, common: common_lb, subsets, hash_policy, named_by, selected_key } = balancing::compile(cx, cluster);
    let of_options = protocol::hash_policy(cx, cluster);
    let mut http = protocol::compile(cx, cluster);
    if let Discovery::Dynamic(config) = &discovery {
        dynamic::secure(cx, cluster, config, &mut http);
    }
    let transports = crate::tls::upstream(cx, cluster);
    ClusterConfig {
        alt_stat_name: (!alt_stat_name.is_empty()).then(|| alt_stat_name.as_str().into()),
        assignment: Arc::new(assignment),
        lb,
        orca,
        common_lb,
        subsets,
        // What the balancing itself says goes first.
        hash_policy: hash_policy.or(of_options),
        http_policies: protocol::policies(cx, cluster),
        redis: redis::compile(cx, cluster),
        named_by,
        selected_key,
        connect_timeout: cx.duration("connect_timeout", connect_timeout.as_ref()).unwrap_or(Duration::from_secs(5)),
        per_connection_buffer_limit_bytes: per_connection_buffer_limit_bytes.unwrap_or(1024 * 1024),
        circuit_breakers: {
            let limits = circuit_breakers.as_ref().map(|b| cx.at("circuit_breakers", |cx| limits::compile(cx, b)));
            shared(limits.unwrap_or_default(), &mut cx.last_cluster.limits)
        },
        health_checks: cx.each("health_checks", health_checks, |cx, check| health::compile(cx, cluster, check)),
        outlier: outlier_detection.as_ref().map(|o| Arc::new(cx.at("outlier_detection", |cx| outlier::compile(cx, o)))),
        http: shared(http, &mut cx.last_cluster.http),
        socket: {
            let options = connecting::compile(cx, cluster);
            shared(options, &mut cx.last_cluster.socket)
        },
        preconnect: connecting::preconnect(cx, cluster),
        tells_client: transports.tells_client(),
        shares_state: transports.shares_state(),
        transports: shared(transports, &mut cx.last_cluster.transports),
        metadata: metadata::compile(cx, cluster_metadata.as_ref()),
        pool_per_downstream: *connection_pool_per_downstream_connection,
        track: track(*track_timeout_budgets, track_cluster_stats.as_ref()),
        close_connections_on_host_health_failure: *close_connections_on_host_health_failure,
        ignore_health_on_host_removal: *ignore_health_on_host_removal,
        // A cluster whose hosts never come must not hold up the start.
        wait_for_warm_on_init: wait_for_warm_on_init.unwrap_or(true),
        discovery,
        ..ClusterConfig::named(name)
    }
}
