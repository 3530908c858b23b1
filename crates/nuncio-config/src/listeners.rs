//! placeholder
use crate::context::CompileCx;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_listen::{Digest, ListenerConfig};
use prost::Message as _;
pub fn compile(cx: &mut CompileCx<'_>, l: &proto::Listener, _d: Digest) -> Option<ListenerConfig> {
    if l.address.is_none() && l.api_listener.is_none() { cx.error(crate::codes::BAD_LISTENER, "address is necessary"); }
    for (i,c) in l.filter_chains.iter().enumerate() { cx.item("filter_chains", i, |cx| for (j,f) in c.filters.iter().enumerate() { cx.item("filters", j, |cx| {
        if let Some(proto::filter::ConfigType::TypedConfig(any)) = &f.config_type {
            if nuncio_api::any_type(any)==crate::hcm::MESSAGE {
                let m = nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager::decode(any.value.as_slice()).unwrap_or_default();
                cx.at("typed_config", |cx| { crate::hcm::compile(cx, &m, crate::hcm::Surroundings{buffer_limit:1<<20, quic: l.udp_listener_config.as_ref().is_some_and(|u| u.quic_options.is_some())}); });
            }
        }
    }) } ) }
    None
}
