//! `envoy.filters.network.set_filter_state` and its brother among the listener filters: leave objects made from the connection for
//! other filters, routes and logs.

use crate::http::set_filter_state::{Object, read_list, set};
use crate::read;
use nuncio_api::envoy::extensions::filters::listener::set_filter_state::v3 as listener;
use nuncio_api::envoy::extensions::filters::network::set_filter_state::v3::Config as Message;
use nuncio_core::{
    BuildCx, ConfigError, DataWatch, FilterConfig, NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep, Posture, StreamCx,
};
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.set_filter_state",
    message: "envoy.extensions.filters.network.set_filter_state.v3.Config",
    posture: Posture::UntrustedBoth,
    build,
};

/// The registry's line of the listener filter: the same, before a chain is chosen.
pub const LISTENER_ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.listener.set_filter_state",
    message: "envoy.extensions.filters.listener.set_filter_state.v3.Config",
    posture: Posture::UntrustedBoth,
    build: build_listener,
};

#[derive(Debug)]
struct SetFilterState {
    on_new_connection: Vec<Object>,
    on_handshake: Vec<Object>,
    on_data: Vec<Object>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let Message { on_new_connection, on_downstream_tls_handshake, on_downstream_data } = read::message(config)?;
    Ok(NetworkPart::Filter(Arc::new(SetFilterState {
        on_new_connection: read_list("on_new_connection", &on_new_connection, cx)?,
        on_handshake: read_list("on_downstream_tls_handshake", &on_downstream_tls_handshake, cx)?,
        on_data: read_list("on_downstream_data", &on_downstream_data, cx)?,
    })))
}

fn build_listener(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let listener::Config { on_accept } = read::message(config)?;
    let on_new_connection = read_list("on_accept", &on_accept, cx)?;
    Ok(NetworkPart::Filter(Arc::new(SetFilterState { on_new_connection, on_handshake: Vec::new(), on_data: Vec::new() })))
}

impl NetworkFilter for SetFilterState {
    fn on_new_connection(&self, cx: &mut StreamCx) -> NetworkStep {
        set(&self.on_new_connection, cx);
        NetworkStep::Continue
    }

    fn on_handshake(&self, cx: &mut StreamCx) {
        set(&self.on_handshake, cx);
    }

    fn watches(&self) -> DataWatch {
        if self.on_data.is_empty() { DataWatch::Never } else { DataWatch::First }
    }

    fn on_data(&self, cx: &mut StreamCx) -> NetworkStep {
        set(&self.on_data, cx);
        NetworkStep::Continue
    }
}
