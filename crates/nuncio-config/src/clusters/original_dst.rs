//! Clusters whose hosts are where requests want to go: `type: ORIGINAL_DST`, or the extension of that name.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::extensions::clusters::original_dst::v3::OriginalDstCluster;
use nuncio_api::envoy::r#type::metadata::v3::MetadataKey;
use nuncio_upstream::config::{Discovery, OriginalDstConfig};
use proto::cluster::{LbConfig as ProtoLbConfig, OriginalDstLbConfig};
use prost::Message as _;
use std::time::Duration;

/// The extension's message.
pub(super) const MESSAGE: &str = "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster";

/// Where `use_http_header` looks.
const DEFAULT_HEADER: &str = "x-envoy-original-dst-host";

/// What both messages say.
struct Fields<'a> {
    use_header: bool,
    header: &'a str,
    port: Option<u32>,
    metadata: Option<&'a MetadataKey>,
}

/// `type: ORIGINAL_DST` with its `original_dst_lb_config`.
pub(super) fn of_cluster(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> Discovery {
    let none = OriginalDstLbConfig::default();
    let from = match &cluster.lb_config {
        Some(ProtoLbConfig::OriginalDstLbConfig(from)) => from,
        _ => &none,
    };
    let OriginalDstLbConfig { use_http_header, http_header_name, upstream_port_override, metadata_key } = from;
    let fields =
        Fields { use_header: *use_http_header, header: http_header_name, port: *upstream_port_override, metadata: metadata_key.as_ref() };
    let interval = interval(cx, cluster);
    cx.at("original_dst_lb_config", |cx| discovery(cx, fields, interval))
}

/// The extension; by its name alone it has its defaults.
pub(super) fn of_type(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, config: Option<&prost_types::Any>) -> Discovery {
    if cluster.load_assignment.is_some() {
        cx.error(codes::CONFLICT, "a cluster that goes by original destinations has no load_assignment")
            .envoy("ORIGINAL_DST clusters must have no load assignment configured");
    }
    let from = config.and_then(|c| OriginalDstCluster::decode(c.value.as_slice()).ok()).unwrap_or_default();
    let OriginalDstCluster { use_http_header, http_header_name, upstream_port_override, metadata_key } = &from;
    let fields =
        Fields { use_header: *use_http_header, header: http_header_name, port: *upstream_port_override, metadata: metadata_key.as_ref() };
    let interval = interval(cx, cluster);
    cx.at("typed_config", |cx| discovery(cx, fields, interval))
}

fn interval(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> Duration {
    cx.duration("cleanup_interval", cluster.cleanup_interval.as_ref()).unwrap_or(Duration::from_secs(5))
}

fn discovery(cx: &mut CompileCx<'_>, from: Fields<'_>, cleanup_interval: Duration) -> Discovery {
    let header = if from.header.is_empty() { DEFAULT_HEADER } else { from.header }.to_ascii_lowercase();
    if !from.use_header && !from.header.is_empty() {
        cx.at("http_header_name", |cx| {
            cx.error(codes::CONFLICT, "`http_header_name` needs `use_http_header: true`").envoy(format!(
                "ORIGINAL_DST cluster: invalid config http_header_name={} and use_http_header is false. Set use_http_header to true if \
                 http_header_name is desired.",
                from.header
            ));
        });
    }
    let metadata = from.metadata.and_then(|key| {
        cx.at("metadata_key", |cx| {
            let read = nuncio_ext::read::metadata_key(key);
            read.map_err(|error| { cx.extension_error(codes::BAD_VALUE, error); }).ok()
        })
    });
    Discovery::OriginalDst(Box::new(OriginalDstConfig {
        header: from.use_header.then_some(header),
        metadata,
        // Its rules keep it within a port's range.
        port: from.port.and_then(|port| u16::try_from(port).ok()),
        cleanup_interval,
    }))
}
