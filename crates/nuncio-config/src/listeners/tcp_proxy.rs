//! `TcpProxy` → [`TcpProxyConfig`].

use crate::context::CompileCx;
use crate::finding::Severity;
use crate::{access_log, unbuilt};
use nuncio_api::envoy::extensions::filters::network::tcp_proxy::v3 as proto;
use nuncio_core::Terminal;
use nuncio_api::envoy::r#type::v3::{HashPolicy, hash_policy};
use nuncio_listen::tcp_proxy::{IDLE_TIMEOUT, TcpCluster, TcpProxy, TcpProxyConfig};
use nuncio_upstream::MetadataMatch;
use proto::tcp_proxy::ClusterSpecifier;
use proto::tcp_proxy::weighted_cluster::ClusterWeight;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::TcpProxy) -> Arc<dyn Terminal> {
    #[allow(deprecated)]
    let proto::TcpProxy {
        stat_prefix,
        on_demand,
        metadata_match,
        idle_timeout,
        downstream_idle_timeout,
        upstream_idle_timeout,
        access_log,
        max_connect_attempts,
        backoff_options,
        hash_policy,
        tunneling_config,
        max_downstream_connection_duration,
        max_downstream_connection_duration_jitter_percentage,
        access_log_flush_interval,
        flush_access_log_on_connected,
        access_log_options,
        proxy_protocol_tlvs,
        proxy_protocol_tlv_merge_policy,
        upstream_connect_mode,
        max_early_data_bytes,
        check_drain_close,
        cluster_specifier,
    } = from;
    unbuilt!(
        cx,
        on_demand,
        downstream_idle_timeout,
        upstream_idle_timeout,
        backoff_options,
        max_downstream_connection_duration_jitter_percentage,
        access_log_flush_interval,
        flush_access_log_on_connected,
        access_log_options,
        proxy_protocol_tlvs,
        proxy_protocol_tlv_merge_policy,
        upstream_connect_mode,
        max_early_data_bytes,
        check_drain_close,
    );
    // Bytes would reach the host outside of the tunnel.
    crate::unsafe_unbuilt!(cx, tunneling_config);
    let idle = cx.duration("idle_timeout", idle_timeout.as_ref()).unwrap_or(IDLE_TIMEOUT);
    let wanted = crate::routes::metadata_match(cx, metadata_match.as_ref(), None);
    let config = TcpProxyConfig {
        stat_prefix: stat_prefix.clone(),
        clusters: clusters(cx, cluster_specifier.as_ref(), wanted.as_deref()),
        hash_source_ip: hashes_source(hash_policy),
        idle_timeout: Some(idle).filter(|t| *t > Duration::ZERO),
        max_duration: cx.duration("max_downstream_connection_duration", max_downstream_connection_duration.as_ref()),
        max_connect_attempts: max_connect_attempts.unwrap_or(1),
        access_logs: access_log::compile(cx, "access_log", access_log),
    };
    TcpProxy::new(config, &cx.stats)
}

/// Whether connections are hashed by the client's address. There are no filter state objects to hash.
fn hashes_source(policies: &[HashPolicy]) -> bool {
    policies.iter().any(|policy| matches!(policy.policy_specifier, Some(hash_policy::PolicySpecifier::SourceIp(_))))
}

fn clusters(cx: &mut CompileCx<'_>, from: Option<&ClusterSpecifier>, wanted: Option<&MetadataMatch>) -> Vec<TcpCluster> {
    let shared = wanted.cloned().map(Arc::new);
    match from {
        Some(ClusterSpecifier::Cluster(name)) => {
            cx.at("cluster", |cx| known(cx, name));
            vec![TcpCluster { name: name.as_str().into(), weight: 1, metadata_match: shared }]
        }
        Some(ClusterSpecifier::WeightedClusters(proto::tcp_proxy::WeightedCluster { clusters })) => {
            cx.at("weighted_clusters", |cx| {
                cx.each("clusters", clusters, |cx, ClusterWeight { name, weight, metadata_match }| {
                    let own = crate::routes::metadata_match(cx, metadata_match.as_ref(), wanted);
                    cx.at("name", |cx| known(cx, name));
                    Some(TcpCluster { name: name.as_str().into(), weight: *weight, metadata_match: own.or_else(|| shared.clone()) })
                })
            })
        }
        // Reported when it was read: one of the two is required.
        None => Vec::new(),
    }
}

/// A TCP proxy may name a cluster that comes later; that nobody declares it is worth a word.
fn known(cx: &mut CompileCx<'_>, name: &str) {
    if cx.cluster(name).is_none() && !cx.dynamic_clusters() {
        cx.unknown_cluster(Severity::Warning, name).note("Envoy accepts this, and closes every connection");
    }
}
