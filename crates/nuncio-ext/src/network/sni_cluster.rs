//! `envoy.filters.network.sni_cluster`: the TCP proxy's cluster is the one that the TLS greeting asks for.

use crate::read;
use nuncio_api::envoy::extensions::filters::network::sni_cluster::v3::SniCluster as Message;
use nuncio_core::{NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep, Posture, StreamCx, network::set_object};
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.sni_cluster",
    message: "envoy.extensions.filters.network.sni_cluster.v3.SniCluster",
    posture: Posture::UntrustedDownstream,
    build: |config, _| {
        let Message {} = read::message(config)?;
        Ok(NetworkPart::Filter(Arc::new(SniCluster)))
    },
};

#[derive(Debug)]
struct SniCluster;

impl NetworkFilter for SniCluster {
    fn on_new_connection(&self, cx: &mut StreamCx) -> NetworkStep {
        if let Some(name) = cx.conn.server_name.clone() {
            set_object(cx, "envoy.tcp_proxy.cluster", name.as_bytes());
        }
        NetworkStep::Continue
    }
}
