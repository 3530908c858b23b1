//! Listeners that are not for TCP: UDP, QUIC, internal, API: all are judged as Envoy judges them; those for QUIC and the API
//! are not opened.

use super::chains::{self, Around};
use super::{is_udp, listen_address};
use crate::codes;
use crate::context::CompileCx;
use crate::finding::Finding;
use nuncio_api::envoy::config::core::v3::TransportSocket;
use nuncio_api::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_listen::BUFFER_LIMIT_BYTES;
use proto::listener::ListenerSpecifier;

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Connections over TCP or a unix domain socket.
    Tcp,
    /// Datagrams.
    Udp,
    /// Connections over QUIC.
    Quic,
    /// Connections made in this process.
    Internal,
    /// Streams made in this process.
    Api,
}

impl Kind {
    pub(super) fn of(from: &proto::Listener) -> Kind {
        let quic = from.udp_listener_config.as_ref().is_some_and(|udp| udp.quic_options.is_some());
        if from.api_listener.is_some() {
            Kind::Api
        } else if matches!(from.listener_specifier, Some(ListenerSpecifier::InternalListener(_))) {
            Kind::Internal
        } else if is_udp(from.address.as_ref()) {
            if quic { Kind::Quic } else { Kind::Udp }
        } else {
            Kind::Tcp
        }
    }

    /// Extensions that may stand in `listener_filters`; Envoy keeps those for QUIC to itself.
    pub(super) fn listener_filters(self) -> &'static str {
        match self {
            Kind::Tcp | Kind::Internal | Kind::Api => "envoy.filters.listener",
            Kind::Udp => "envoy.filters.udp_listener",
            Kind::Quic => "envoy.filters.quic_listener",
        }
    }
}

/// Judges a listener of another kind than TCP.
pub(super) fn judge(cx: &mut CompileCx<'_>, from: &proto::Listener, kind: Kind) {
    match from.listener_filters.first() {
        Some(filter) if kind == Kind::Udp => cx.item("listener_filters", 0, |cx| {
            cx.at("typed_config", |cx| {
                cx.value_without_effect(&format!("the filter `{}`", filter.name)).help("the listener will not be opened");
            });
        }),
        _ => drop(cx.value_without_effect("this kind of listener (QUIC or API, or UDP without a filter)").help("it will not be opened")),
    }
    if kind != Kind::Udp {
        super::inspect::check_category(cx, &from.listener_filters, kind);
    }
    let name = &from.name;
    match kind {
        Kind::Tcp | Kind::Internal => {}
        Kind::Api => {
            cx.at("api_listener", |cx| {
                refuse(cx, "API listeners are for Envoy Mobile", &format!("error adding listener named '{name}': missing the API listener extension"));
            });
        }
        Kind::Udp => datagrams(cx, from),
        Kind::Quic => quic(cx, from),
    }
}

fn refuse<'c>(cx: &'c mut CompileCx<'_>, message: &str, envoy: &str) -> &'c mut Finding {
    let finding = cx.error(codes::BAD_LISTENER, message);
    finding.envoy(envoy).on_key()
}

fn shown_address(cx: &mut CompileCx<'_>, from: &proto::Listener) -> String {
    let address = from.address.as_ref().and_then(|address| cx.at("address", |cx| listen_address(cx, address)));
    address.map_or_else(|| from.name.clone(), |a| a.to_string())
}

/// Says what an internal listener cannot have.
pub(super) fn internal(cx: &mut CompileCx<'_>, from: &proto::Listener) {
    let name = &from.name;
    if cx.internal_listeners.is_none() {
        cx.at("internal_listener", |cx| {
            refuse(cx, "internal listeners need their bootstrap extension", &format!("error adding listener named '{name}': InternalListener bootstrap extension is mandatory"))
                .help("add the extension envoy.bootstrap.internal_listener to bootstrap_extensions");
        });
    }
    if from.address.is_some() || !from.additional_addresses.is_empty() {
        cx.at(if from.address.is_some() { "address" } else { "additional_addresses" }, |cx| {
            let envoy = format!("error adding listener '{name}': address should not be used when an internal listener config is provided");
            refuse(cx, "an internal listener has no address", &envoy);
        });
    }
    let of_sockets = from.freebind.is_some()
        || from.transparent.is_some()
        || from.tcp_backlog_size.is_some()
        || from.tcp_fast_open_queue_length.is_some()
        || from.enable_reuse_port.is_some()
        || from.enable_mptcp
        || from.connection_balance_config.is_some()
        || !from.socket_options.is_empty();
    if of_sockets {
        refuse(cx, "an internal listener has no socket that could have options", &format!("error adding listener named '{name}': has unsupported tcp listener feature"));
    }
}

fn no_chains(cx: &mut CompileCx<'_>, address: &str) {
    cx.at("filter_chains", |cx| {
        cx.error(codes::MISSING, "a listener needs at least one filter chain").envoy(format!("error adding listener '{address}': no filter chains specified"));
    });
}

pub(super) fn datagrams(cx: &mut CompileCx<'_>, from: &proto::Listener) {
    super::inspect::check_category(cx, &from.listener_filters, Kind::Udp);
    let address = shown_address(cx, from);
    let chains = from.filter_chains.len();
    if chains > 0 {
        cx.at("filter_chains", |cx| {
            let envoy = format!("error adding listener '{address}': {chains} filter chain(s) specified for connection-less UDP listener.");
            refuse(cx, "datagrams make no connections, and so have no filter chains", &envoy).help("a listener for UDP works with listener_filters: envoy.filters.udp_listener.udp_proxy");
        });
    }
}

/// Transport socket of a QUIC filter chain.
const QUIC: &str = "envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport";

fn quic(cx: &mut CompileCx<'_>, from: &proto::Listener) {
    let address = shown_address(cx, from);
    if from.connection_balance_config.is_some() {
        cx.at("connection_balance_config", |cx| {
            refuse(cx, "connections over QUIC cannot be balanced", "connection_balance_config is configured for QUIC listener which doesn't work with connection balancer.");
        });
    }
    if from.filter_chains.is_empty() && from.default_filter_chain.is_none() {
        no_chains(cx, &address);
    }
    for (index, chain) in from.filter_chains.iter().enumerate() {
        cx.item("filter_chains", index, |cx| quic_chain(cx, chain, &address));
    }
    if let Some(chain) = &from.default_filter_chain {
        cx.at("default_filter_chain", |cx| quic_chain(cx, chain, &address));
    }
    each_chain(cx, from, true);
}

fn quic_chain(cx: &mut CompileCx<'_>, chain: &proto::FilterChain, address: &str) {
    if !chain.filters.last().is_some_and(|last| super::terminal::is_http(std::slice::from_ref(last))) {
        cx.at("filters", |cx| {
            let envoy = "error building network filter chain for quic listener: requires http_connection_manager filter to be last in the chain.";
            refuse(cx, "over QUIC only HTTP/3 is spoken: the last filter is the HTTP connection manager", envoy);
        });
    }
    let wrong = |cx: &mut CompileCx<'_>, envoy: &str| {
        let finding = refuse(cx, "a filter chain of a QUIC listener has a QuicDownstreamTransport as its transport socket", envoy);
        finding.help(format!("\"@type\": type.googleapis.com/{QUIC}"));
    };
    match &chain.transport_socket {
        None => wrong(cx, &format!("error adding listener '{address}': no transport socket specified for connection oriented UDP listener")),
        Some(TransportSocket { name, config_type: Some(SocketConfig::TypedConfig(any)) }) if nuncio_api::any_type(any) != QUIC => {
            let envoy = format!("wrong transport socket config specified for quic transport socket: {name}. Use QuicDownstreamTransport instead.");
            cx.at("transport_socket", |cx| wrong(cx, &envoy));
        }
        Some(_) => {}
    }
}

/// Compiles the chains for what is to be found in them.
fn each_chain(cx: &mut CompileCx<'_>, from: &proto::Listener, quic: bool) {
    let buffer_limit_bytes = from.per_connection_buffer_limit_bytes.unwrap_or(BUFFER_LIMIT_BYTES);
    let around = Around { stat_scope: format!("listener.{}.", from.name), buffer_limit_bytes, quic, egress: false };
    cx.each("filter_chains", &from.filter_chains, |cx, chain| {
        chains::judge(cx, chain, &around);
        None::<()>
    });
    if let Some(chain) = &from.default_filter_chain {
        cx.at("default_filter_chain", |cx| chains::judge(cx, chain, &around));
    }
}
