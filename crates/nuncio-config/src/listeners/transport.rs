//! Transport sockets of listeners: `raw_buffer` and `DownstreamTlsContext`.

use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_listen::Transport;

const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/// Compiles a transport socket; `None` after a report.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &core::TransportSocket) -> Option<Transport> {
    let core::TransportSocket { name, config_type } = from;
    let message = match config_type {
        Some(core::transport_socket::ConfigType::TypedConfig(any)) => nuncio_api::schema::type_name(&any.type_url),
        None => "",
    };
    if message == RAW_BUFFER {
        return Some(Transport::Plain);
    }
    cx.value_unsafe_without(&format!("the transport socket `{name}`"));
    None
}
