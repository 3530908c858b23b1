//! `FilterChain`: its conditions, its transport socket, and the network filter that ends it.

use super::{matching, transport};
use crate::codes;
use crate::context::CompileCx;
use crate::hcm;
use crate::unbuilt;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use nuncio_core::Terminal;
use nuncio_http::Hcm;
use nuncio_listen::{Digest, FilterChainConfig};
use prost::Message;
use std::sync::Arc;

/// What a chain must know of its listener.
pub(super) struct Around {
    /// `listener.0.0.0.0_10000.`
    pub(super) stat_scope: String,
    /// `per_connection_buffer_limit_bytes`
    pub(super) buffer_limit_bytes: u32,
}

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::FilterChain, around: &Around) -> Option<Arc<FilterChainConfig>> {
    #[allow(deprecated)]
    let proto::FilterChain {
        filter_chain_match,
        filters,
        use_proxy_proto,
        metadata,
        transport_socket,
        transport_socket_connect_timeout,
        name,
    } = from;
    // Metadata is for logs to read; none of ours does.
    let _ = metadata;
    unbuilt!(cx, use_proxy_proto);
    let matches = filter_chain_match.as_ref().map(|m| cx.at("filter_chain_match", |cx| matching::compile(cx, m)));
    let socket = transport_socket.as_ref().map(|socket| cx.at("transport_socket", |cx| transport::compile(cx, socket)));
    let transport_timeout = cx.duration("transport_socket_connect_timeout", transport_socket_connect_timeout.as_ref());
    let terminal = terminal(cx, filters, around);
    let digest = Digest::of(&[from.encode_to_vec(), around.stat_scope.clone().into_bytes(), around.buffer_limit_bytes.to_le_bytes().into()].concat());
    Some(Arc::new(FilterChainConfig {
        name: name.as_str().into(),
        matches: matches.unwrap_or_default(),
        transport: match socket {
            Some(socket) => socket?,
            None => nuncio_listen::Transport::Plain,
        },
        transport_timeout,
        terminal: terminal?,
        digest,
    }))
}

/// The network filters of a chain: all but the last may not end it, the last must.
fn terminal(cx: &mut CompileCx<'_>, filters: &[proto::Filter], around: &Around) -> Option<Arc<dyn Terminal>> {
    let mut found = None;
    for (index, filter) in filters.iter().enumerate() {
        let made = cx.item("filters", index, |cx| network_filter(cx, filter, around));
        found = found.or(made);
    }
    if filters.is_empty() {
        cx.value_without_effect("a filter chain without filters").help("connections to it are closed at once, as on Envoy");
    }
    found
}

fn network_filter(cx: &mut CompileCx<'_>, from: &proto::Filter, around: &Around) -> Option<Arc<dyn Terminal>> {
    let proto::Filter { name, config_type } = from;
    let any = match config_type {
        Some(proto::filter::ConfigType::TypedConfig(any)) => any,
        Some(proto::filter::ConfigType::ConfigDiscovery(_)) => {
            cx.unsafe_without("config_discovery");
            return None;
        }
        None => return None,
    };
    let message = nuncio_api::schema::type_name(&any.type_url);
    cx.at("typed_config", |cx| {
        if message != hcm::MESSAGE {
            cx.value_unsafe_without(&format!("the network filter `{name}`"));
            return None;
        }
        let manager = match HttpConnectionManager::decode(&*any.value) {
            Ok(manager) => manager,
            Err(error) => {
                cx.error(codes::BAD_VALUE, format!("this message cannot be read: {error}"));
                return None;
            }
        };
        let surroundings = hcm::Surroundings { buffer_limit: around.buffer_limit_bytes as usize, quic: false };
        let config = hcm::compile(cx, &manager, surroundings);
        Some(Arc::new(Hcm::new(config, &cx.stats, &around.stat_scope)) as Arc<dyn Terminal>)
    })
}

/// Chains that cannot be told apart, and conditions that only listener filters can find out about.
pub(super) fn check_matches(cx: &mut CompileCx<'_>, chains: &[Arc<FilterChainConfig>], filters: &[proto::ListenerFilter]) {
    for (index, chain) in chains.iter().enumerate() {
        if let Some(first) = chains[..index].iter().position(|other| other.matches == chain.matches) {
            let path = cx.path();
            cx.item("filter_chains", index, |cx| {
                cx.error(codes::CONFLICT, "two filter chains take the same connections")
                    .also(format!("{path}.filter_chains[{first}]"), "this one already takes them")
                    .envoy(format!("error adding listener: filter chain '{}' has the same matching rules defined as '{}'", chain.name, chains[first].name));
            });
        } else if chain.matches.needs_inspection() && filters.is_empty() {
            cx.item("filter_chains", index, |cx| {
                cx.at("filter_chain_match", |cx| {
                    cx.warn(codes::WITHOUT_EFFECT, "this condition needs a listener filter that looks at the first bytes (tls_inspector)");
                });
            });
        }
    }
}
