//! Where a request wants to go, for clusters that make hosts of that: an address (ORIGINAL_DST) or a name (the dynamic
//! forward proxy). As Envoy's `OriginalDstCluster::LoadBalancer` and the proxy's.

use nuncio_codec::headers::Known;
use nuncio_core::StreamCx;
use nuncio_core::metadata::MetadataValue;
use nuncio_core::names::{DYNAMIC_HOST, DYNAMIC_PORT};
use nuncio_rt::Address;
use nuncio_stats::tables::cluster::ORIGINAL_DST_HOST_INVALID;
use nuncio_upstream::WorkerCluster;
use nuncio_upstream::config::OriginalDstConfig;
use std::{borrow::Cow, net::SocketAddr};

/// The filter state that says so before anything else.
const FILTER_STATE: &str = "envoy.network.transport_socket.original_dst_address";

/// The address: from filter state, else from metadata, else from the header, else where the client connected to if a proxy
/// in front says so.
pub(super) fn of(cx: &StreamCx, config: &OriginalDstConfig, cluster: &WorkerCluster) -> Option<Address> {
    let address = cx.filter_state.get(FILTER_STATE).and_then(parse);
    let address = address.or_else(|| checked(cluster, in_metadata(cx, config)?));
    let address = address.or_else(|| {
        let value = cx.request.get_bytes(config.header.as_ref()?.as_bytes())?;
        checked(cluster, Some(value).filter(|value| !value.is_empty())?)
    });
    let address = address.or_else(|| nuncio_core::original_dst::restored(&cx.conn))?;
    Some(config.over(address))
}

/// The name that a request asks for, with its port: from filter state, else its host. `None` where there is none.
pub(super) fn name<'a>(cx: &'a StreamCx, cluster: &WorkerCluster) -> Option<Cow<'a, str>> {
    let state = |key: &str| cx.filter_state.get(key).and_then(|value| std::str::from_utf8(value).ok());
    let host = state(DYNAMIC_HOST).or_else(|| cx.request.get_str(Known::Authority)).filter(|host| !host.is_empty())?;
    let port = state(DYNAMIC_PORT).and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
    Some(cluster.with_port(host, port))
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
