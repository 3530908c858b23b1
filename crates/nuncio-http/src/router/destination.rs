//! Where a request to a cluster of type ORIGINAL_DST wants to go. As Envoy's `OriginalDstCluster::LoadBalancer`.

use nuncio_core::StreamCx;
use nuncio_core::metadata::MetadataValue;
use nuncio_rt::Address;
use nuncio_stats::tables::cluster::ORIGINAL_DST_HOST_INVALID;
use nuncio_upstream::WorkerCluster;
use nuncio_upstream::config::OriginalDstConfig;
use std::net::SocketAddr;

/// The filter state that says so before anything else.
const FILTER_STATE: &str = "envoy.network.transport_socket.original_dst_address";

/// The address: from filter state, else from metadata, else from the header. No listener filter restores the address
/// that the client connected to, which would come last.
pub(super) fn of(cx: &StreamCx, config: &OriginalDstConfig, cluster: &WorkerCluster) -> Option<Address> {
    let address = cx.filter_state.get(FILTER_STATE).and_then(parse);
    let address = address.or_else(|| checked(cluster, in_metadata(cx, config)?));
    let mut address = address.or_else(|| {
        let value = cx.request.get_bytes(config.header.as_ref()?.as_bytes())?;
        checked(cluster, Some(value).filter(|value| !value.is_empty())?)
    })?;
    if let Some(port) = config.port {
        address.set_port(port);
    }
    Some(Address::Ip(address))
}

fn in_metadata<'a>(cx: &'a StreamCx, config: &OriginalDstConfig) -> Option<&'a [u8]> {
    let (namespace, path) = config.metadata.as_ref()?;
    match cx.metadata.get(&**namespace)?.at(path.iter().map(|key| &**key))? {
        MetadataValue::Text(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn parse(text: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn checked(cluster: &WorkerCluster, text: &[u8]) -> Option<SocketAddr> {
    let address = parse(text);
    if address.is_none() {
        cluster.cx().inc(ORIGINAL_DST_HOST_INVALID);
    }
    address
}
