//! `TcpProxy` → [`TcpProxyConfig`].

mod tunneling;

use crate::context::CompileCx;
use crate::finding::Severity;
use crate::{access_log, codes, unbuilt};
use nuncio_api::envoy::config::core::v3::{
    BackoffStrategy, DataSource, SubstitutionFormatString, TlvEntry, data_source::Specifier, substitution_format_string,
};
use nuncio_api::envoy::extensions::filters::network::tcp_proxy::v3 as proto;
use nuncio_core::Terminal;
use nuncio_api::envoy::r#type::v3::{HashPolicy, hash_policy};
use nuncio_core::format::Format;
use nuncio_listen::tcp_proxy::{IDLE_TIMEOUT, LogMoments, TcpCluster, TcpHash, TcpProxy, TcpProxyConfig, TlvMerge, TlvValue, Tlvs};
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
    unbuilt!(cx, on_demand, downstream_idle_timeout, upstream_idle_timeout);
    let idle = cx.duration("idle_timeout", idle_timeout.as_ref()).unwrap_or(IDLE_TIMEOUT);
    let wanted = crate::routes::metadata_match(cx, metadata_match.as_ref(), None);
    let config = TcpProxyConfig {
        stat_prefix: stat_prefix.clone(),
        clusters: clusters(cx, cluster_specifier.as_ref(), wanted.as_deref()),
        hash: hash(hash_policy),
        idle_timeout: Some(idle).filter(|t| *t > Duration::ZERO),
        max_duration: cx.duration("max_downstream_connection_duration", max_downstream_connection_duration.as_ref()),
        max_duration_jitter_percent: max_downstream_connection_duration_jitter_percentage.as_ref().map_or(0.0, |percent| percent.value),
        max_connect_attempts: max_connect_attempts.unwrap_or(1),
        backoff: backoff_options.as_ref().and_then(|from| cx.at("backoff_options", |cx| backoff(cx, from))),
        connect_on_data: connects_on_data(cx, *upstream_connect_mode, max_early_data_bytes.as_ref()),
        tlvs: tlvs(cx, proxy_protocol_tlvs, *proxy_protocol_tlv_merge_policy),
        tunneling: tunneling_config.as_ref().and_then(|from| cx.at("tunneling_config", |cx| tunneling::compile(cx, from))),
        check_drain_close: check_drain_close.unwrap_or(false),
        moments: moments(cx, access_log_options.as_ref(), access_log_flush_interval.as_ref(), *flush_access_log_on_connected),
        access_logs: access_log::compile(cx, "access_log", access_log),
    };
    TcpProxy::new(config, &cx.stats)
}

/// `BackoffStrategy`
fn backoff(cx: &mut CompileCx<'_>, from: &BackoffStrategy) -> Option<(Duration, Duration)> {
    let BackoffStrategy { base_interval, max_interval } = from;
    let base = cx.duration("base_interval", base_interval.as_ref())?;
    Some((base, cx.duration("max_interval", max_interval.as_ref()).unwrap_or(base * 10)))
}

/// Whether a host is connected to when the client has sent something. After a handshake it always is.
fn connects_on_data(cx: &mut CompileCx<'_>, mode: i32, early: Option<&u32>) -> bool {
    if mode != proto::UpstreamConnectMode::Immediate as i32 && early.is_none() {
        cx.at("upstream_connect_mode", |cx| {
            cx.error(codes::MISSING, "this needs max_early_data_bytes").envoy("max_early_data_bytes must be set when upstream_connect_mode is not IMMEDIATE");
        });
    }
    mode == proto::UpstreamConnectMode::OnDownstreamData as i32
}

fn tlvs(cx: &mut CompileCx<'_>, from: &[TlvEntry], merge: i32) -> Option<Tlvs> {
    if from.is_empty() {
        return None;
    }
    let merge = match proto::ProxyProtocolTlvMergePolicy::try_from(merge).unwrap_or_default() {
        proto::ProxyProtocolTlvMergePolicy::AddIfAbsent => TlvMerge::AddIfAbsent,
        proto::ProxyProtocolTlvMergePolicy::OverwriteByTypeIfExistsOrAdd => TlvMerge::Overwrite,
        proto::ProxyProtocolTlvMergePolicy::AppendIfExistsOrAdd => TlvMerge::Append,
    };
    let entries = cx.each("proxy_protocol_tlvs", from, |cx, TlvEntry { r#type, value, format_string }| {
        let value = match format_string {
            None => TlvValue::Bytes(value.clone()),
            Some(format) => TlvValue::Format(cx.at("format_string", |cx| text(cx, format))?),
        };
        Some((u8::try_from(*r#type).ok()?, value))
    });
    Some(Tlvs { entries, merge })
}

/// A format that is a text.
fn text(cx: &mut CompileCx<'_>, from: &SubstitutionFormatString) -> Option<Format> {
    #[allow(deprecated)]
    let text = match &from.format {
        Some(substitution_format_string::Format::TextFormat(text)) => text,
        Some(substitution_format_string::Format::TextFormatSource(DataSource { specifier: Some(Specifier::InlineString(text)), .. })) => text,
        // Reported when it was read.
        None => return None,
        _ => {
            cx.value_without_effect("a format that is no text in the configuration itself");
            return None;
        }
    };
    match Format::compile(text) {
        Ok((format, _)) => Some(format),
        Err(error) => {
            let said = error.to_string();
            cx.error(codes::BAD_VALUE, &said).envoy(said);
            None
        }
    }
}

/// When lines are written, by the options and by the older fields that they have replaced.
fn moments(
    cx: &mut CompileCx<'_>,
    options: Option<&proto::tcp_proxy::TcpAccessLogOptions>,
    interval: Option<&prost_types::Duration>,
    on_connected: bool,
) -> LogMoments {
    match options {
        Some(options) => cx.at("access_log_options", |cx| {
            let proto::tcp_proxy::TcpAccessLogOptions { access_log_flush_interval, flush_access_log_on_connected, flush_access_log_on_start } = options;
            let every = cx.duration("access_log_flush_interval", access_log_flush_interval.as_ref());
            LogMoments { on_start: *flush_access_log_on_start, on_connected: *flush_access_log_on_connected, every }
        }),
        None => LogMoments { on_start: false, on_connected, every: cx.duration("access_log_flush_interval", interval) },
    }
}

/// What connections are hashed by: there is one policy.
fn hash(policies: &[HashPolicy]) -> TcpHash {
    match policies.first().and_then(|policy| policy.policy_specifier.as_ref()) {
        Some(hash_policy::PolicySpecifier::SourceIp(_)) => TcpHash::SourceIp,
        Some(hash_policy::PolicySpecifier::FilterState(hash_policy::FilterState { key })) => TcpHash::FilterState(key.as_str().into()),
        None => TcpHash::None,
    }
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
pub(super) fn known(cx: &mut CompileCx<'_>, name: &str) {
    if cx.cluster(name).is_none() && !cx.dynamic_clusters() {
        cx.unknown_cluster(Severity::Warning, name).note("Envoy accepts this, and closes every connection");
    }
}
