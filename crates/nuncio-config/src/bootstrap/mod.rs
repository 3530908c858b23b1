//! `Bootstrap` → [`Snapshot`]: everything that a process runs by.
//!
//! `admin`, `stats` and `secrets` are parts of the message; `listing` compiles the static clusters and listeners and finds
//! names and addresses that clash; `unused` reports what has no effect.

mod admin;
mod listing;
mod secrets;
mod stats;
mod unused;

use crate::context::{CompileCx, Identity};
use crate::snapshot::Snapshot;
use nuncio_api::envoy::config::bootstrap::v3 as proto;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::bootstrap::internal_listener::v3::InternalListener;
use nuncio_upstream::config::Local;
use prost::{Message as _, Name as _};
use std::sync::Arc;
use std::time::SystemTime;

pub use admin::Admin;
pub use stats::StatsOptions;

/// Full name of the message.
pub const MESSAGE: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// Numbers of the fields that lead to the static clusters. They are compiled from the bytes, one after the other: as messages
/// ten thousand of them would take more memory than everything that is made of them.
pub const CLUSTERS: [u32; 2] = [listing::STATIC_RESOURCES, listing::CLUSTERS];

/// Compiles a bootstrap from its message, of which the clusters may be missing, and the bytes that it was decoded from. What cannot be had is reported; the
/// snapshot may run if there is no error among the findings.
pub fn compile(cx: &mut CompileCx<'_>, from: &proto::Bootstrap, bytes: &Arc<[u8]>) -> Snapshot {
    let node = node(cx, from.node.as_ref());
    unused::report(cx, from);
    cx.runtime = Arc::new(match &from.layered_runtime {
        Some(layered) => cx.at("layered_runtime", |cx| crate::runtime::compile(cx, Some(layered))),
        None => crate::runtime::compile(cx, None),
    });
    defaults(cx, from);
    if from.dynamic_resources.as_ref().is_some_and(|d| d.cds_config.is_some()) {
        cx.set_dynamic_clusters();
    }
    cx.internal_listeners = internal_listeners(from);
    let none = proto::bootstrap::StaticResources::default();
    let static_resources = from.static_resources.as_ref().unwrap_or(&none);
    let (clusters, listeners) = cx.at("static_resources", |cx| {
        secrets::declare(cx, &static_resources.secrets);
        listing::compile(cx, static_resources, bytes)
    });
    cluster_manager(cx, from);
    ads(cx, from);
    let stats = stats::compile(cx, from);
    let admin = from.admin.as_ref().map(|from| cx.at("admin", |cx| admin::compile(cx, from)));
    crate::judge::judge(cx, MESSAGE, bytes);
    crate::lint::report(cx, &clusters, &listeners);
    Snapshot {
        identity: cx.identity.clone(),
        local: local(from, &node),
        node,
        admin,
        clusters,
        listeners,
        runtime: cx.runtime.clone(),
        stats,
        bytes: bytes.clone(),
        updated: SystemTime::now(),
    }
}

/// The node as it is shown and sent: the command line's words over the file's.
fn node(cx: &mut CompileCx<'_>, from: Option<&core::Node>) -> core::Node {
    let mut node = from.cloned().unwrap_or_default();
    let Identity { id, cluster, zone, metadata } = &mut cx.identity;
    *metadata = Arc::new(node.metadata.as_ref().map(nuncio_ext::read::fields).unwrap_or_default());
    for (given, field) in [(id, &mut node.id), (cluster, &mut node.cluster)] {
        if given.is_empty() {
            *given = field.as_str().into();
        } else {
            *field = given.to_string();
        }
    }
    if zone.is_empty() {
        *zone = node.locality.as_ref().map_or("", |l| l.zone.as_str()).into();
    } else {
        node.locality.get_or_insert_default().zone = zone.to_string();
    }
    node
}

/// What clusters take where they say nothing themselves.
#[allow(deprecated)]
fn defaults(cx: &mut CompileCx<'_>, from: &proto::Bootstrap) {
    if let Some(typed) = &from.typed_dns_resolver_config {
        cx.default_resolver = cx.at("typed_dns_resolver_config", |cx| crate::clusters::typed_resolver(cx, typed));
    } else if let Some(config) = &from.dns_resolution_config {
        cx.default_resolver = cx.at("dns_resolution_config", |cx| crate::clusters::dns_resolution(cx, config));
    }
    cx.default_resolver.use_tcp |= from.use_tcp_for_dns_lookups;
    if let Some(bind) = from.cluster_manager.as_ref().and_then(|m| m.upstream_bind_config.as_ref()) {
        cx.default_bind = cx.at("cluster_manager", |cx| cx.at("upstream_bind_config", |cx| crate::clusters::bind(cx, bind)));
    }
    let outlier = from.cluster_manager.as_ref().and_then(|manager| manager.outlier_detection.as_ref());
    let path = outlier.map_or("", |outlier| &outlier.event_log_path);
    cx.outlier_events = (!path.is_empty()).then(|| nuncio_upstream::EventLog(cx.log_files.file(path)));
}

fn cluster_manager(cx: &mut CompileCx<'_>, from: &proto::Bootstrap) {
    let Some(manager) = &from.cluster_manager else { return };
    let proto::ClusterManager { local_cluster_name, outlier_detection, upstream_bind_config: _, load_stats_config, enable_deferred_cluster_creation } =
        manager;
    cx.at("cluster_manager", |cx| {
        crate::unbuilt!(cx, load_stats_config, enable_deferred_cluster_creation);
        if let Some(proto::cluster_manager::OutlierDetection { event_log_path: _, event_service }) = outlier_detection {
            cx.at("outlier_detection", |cx| crate::unbuilt!(cx, event_service));
        }
        if !local_cluster_name.is_empty() && cx.cluster(local_cluster_name).is_none() && !cx.dynamic_clusters() {
            let name = local_cluster_name;
            cx.at("local_cluster_name", |cx| {
                cx.unknown_cluster(crate::Severity::Error, name).envoy(format!("local cluster '{name}' must be defined"));
            });
        }
    });
}

/// What zone aware routing compares with.
fn local(from: &proto::Bootstrap, node: &core::Node) -> Local {
    let cluster = from.cluster_manager.as_ref().map_or("", |manager| manager.local_cluster_name.as_str());
    Local {
        cluster: (!cluster.is_empty()).then(|| cluster.into()),
        locality: node.locality.as_ref().map(|from| crate::clusters::place(Some(from))),
    }
}

/// The one stream that all aggregated sources share.
fn ads(cx: &mut CompileCx<'_>, from: &proto::Bootstrap) {
    use core::api_config_source::ApiType;
    let Some(ads) = from.dynamic_resources.as_ref().and_then(|d| d.ads_config.as_ref()) else { return };
    cx.at("dynamic_resources", |cx| {
        cx.at("ads_config", |cx| {
            let kind = ApiType::try_from(ads.api_type).unwrap_or_default();
            if matches!(kind, ApiType::Rest | ApiType::AggregatedGrpc | ApiType::AggregatedDeltaGrpc) {
                cx.error(crate::codes::CONFIG_SOURCE, "ads_config is of api_type GRPC or DELTA_GRPC")
                    .envoy("envoy.config.core.v3.ApiConfigSource type must be of non-aggregated gRPC:");
            }
            crate::judge::rules::needs_node(cx);
        });
    });
}

/// Bytes that may wait on the way to an internal listener, where the extension is there that lets these be.
fn internal_listeners(from: &proto::Bootstrap) -> Option<usize> {
    /// `buffer_size_kb` when not set.
    const BUFFER_KB: u32 = 1024;
    let mut configs = from.bootstrap_extensions.iter().filter_map(|extension| extension.typed_config.as_ref());
    let config = configs.find(|config| nuncio_api::any_type(config) == InternalListener::full_name())?;
    let InternalListener { buffer_size_kb } = InternalListener::decode(config.value.as_slice()).unwrap_or_default();
    Some(buffer_size_kb.unwrap_or(BUFFER_KB) as usize * 1024)
}
