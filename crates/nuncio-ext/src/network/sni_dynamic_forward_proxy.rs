//! `envoy.filters.network.sni_dynamic_forward_proxy`: the TCP proxy's host is the one that the TLS greeting asks for.
//!
//! The filter says which port; the TCP proxy has the name looked up by its cluster, a dynamic forward proxy's. The filter's
//! `dns_cache_config` must be that cluster's, word by word (`nuncio-config` sees to it), so that only the cluster's is read.

use crate::read;
use nuncio_api::envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3::{FilterConfig as Message, filter_config::PortSpecifier};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep, Posture, StreamCx,
    names::{DYNAMIC_HOST, DYNAMIC_PORT},
    network::set_object,
};
use std::sync::Arc;

/// `port_value` when not set.
const PORT: u32 = 443;

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.sni_dynamic_forward_proxy",
    message: "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig",
    posture: Posture::UntrustedDownstream,
    build,
};

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let Message { dns_cache_config: _, save_upstream_address, port_specifier } = read::message(config)?;
    if save_upstream_address {
        cx.warnings.push(ConfigError::at("save_upstream_address", "is accepted without effect: nothing reads it yet"));
    }
    let port = port_specifier.map_or(PORT, |PortSpecifier::PortValue(port)| port);
    Ok(NetworkPart::Filter(Arc::new(SniDynamicForwardProxy { port: port.to_string() })))
}

#[derive(Debug)]
struct SniDynamicForwardProxy {
    port: String,
}

impl NetworkFilter for SniDynamicForwardProxy {
    fn on_new_connection(&self, cx: &mut StreamCx) -> NetworkStep {
        let names_a_host = cx.conn.server_name.is_some() || cx.filter_state.get(DYNAMIC_HOST).is_some();
        if names_a_host && cx.filter_state.get(DYNAMIC_PORT).is_none() {
            set_object(cx, DYNAMIC_PORT, self.port.as_bytes());
        }
        NetworkStep::Continue
    }
}
