//! `envoy.config.listener.v3.Listener` → [`ListenerConfig`].
//!
//! `chains` compiles filter chains, `matching` their conditions, `transport` their transport sockets, `terminal` and
//! `tcp_proxy` what ends them; `inspect` listener filters, `sockets` how the listening sockets are made.

mod chains;
mod dns_filter;
mod inspect;
pub(crate) use inspect::pass_through;
mod kinds;
mod matching;
mod sockets;
mod redis_proxy;
mod tcp_proxy;
mod terminal;
mod udp;

use crate::address::{self, Parsed};
use crate::codes;
use crate::context::CompileCx;
use crate::{access_log, unbuilt};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::listener::v3 as proto;
use std::sync::Arc;
use nuncio_listen::{BUFFER_LIMIT_BYTES, Digest, DrainType, LISTENER_FILTERS_TIMEOUT, ListenAddress, ListenerConfig, TrafficDirection};
use nuncio_rt::Address;
use kinds::Kind;
use proto::listener::{ConnectionBalanceConfig, connection_balance_config::BalanceType};

/// Compiles a listener; what cannot be had is reported. `digest` stands for the whole message.
pub fn compile(cx: &mut CompileCx<'_>, from: &proto::Listener, digest: Digest) -> Option<ListenerConfig> {
    #[allow(deprecated)]
    let proto::Listener {
        name,
        address,
        additional_addresses,
        stat_prefix,
        stats_matcher,
        filter_chains,
        fcds_config,
        filter_chain_matcher,
        use_original_dst,
        default_filter_chain,
        per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout,
        metadata,
        deprecated_v1,
        drain_type,
        listener_filters,
        listener_filters_timeout,
        continue_on_listener_filters_timeout,
        transparent: _,
        freebind: _,
        socket_options: _,
        tcp_fast_open_queue_length,
        traffic_direction,
        udp_listener_config,
        api_listener: _,
        connection_balance_config,
        reuse_port: _,
        enable_reuse_port: _,
        access_log,
        tcp_backlog_size: _,
        max_connections_to_accept_per_socket_event,
        bind_to_port: _,
        enable_mptcp,
        ignore_global_conn_limit,
        bypass_overload_manager,
        tcp_keepalive: _,
        listener_specifier: _,
    } = from;
    unbuilt!(
        cx,
        stats_matcher,
        fcds_config,
        per_connection_buffer_high_watermark_timeout,
        deprecated_v1,
        tcp_fast_open_queue_length,
        enable_mptcp,
        bypass_overload_manager,
    );
    // For TCP it says nothing.
    let _ = udp_listener_config;
    let kind = Kind::of(from);
    if kind == Kind::Udp && udp::is_built(from) {
        kinds::datagrams(cx, from);
        return udp::compile(cx, from, digest);
    }
    if kind == Kind::Internal {
        kinds::internal(cx, from);
    } else if kind != Kind::Tcp {
        kinds::judge(cx, from, kind);
        return None;
    }
    inspect::check_category(cx, listener_filters, kind);
    let inspect::Filters { mut inspectors, proxy_protocol, original_dst, accept, disabled } = inspect::compile(cx, listener_filters);
    let first = match address {
        _ if kind == Kind::Internal => Some(ListenAddress::Internal(name.as_str().into())),
        Some(address) if is_internal(address) => {
            cx.at("address", |cx| {
                let envoy = format!("error adding listener named '{name}': use internal_listener field instead of address for internal listeners");
                cx.error(codes::BAD_LISTENER, "an internal listener says so in `internal_listener`").envoy(envoy);
            });
            None
        }
        Some(address) => cx.at("address", |cx| listen_address(cx, address)),
        None => {
            cx.at("address", |cx| {
                cx.error(codes::MISSING, "a listener needs an address").envoy(format!("error adding listener named '{name}': address is necessary"));
            });
            None
        }
    };
    let more = cx.each("additional_addresses", additional_addresses, |cx, more| {
        let proto::AdditionalAddress { address, socket_options, tcp_keepalive } = more;
        unbuilt!(cx, socket_options, tcp_keepalive);
        let address = address.as_ref().filter(|_| kind == Kind::Tcp)?;
        cx.at("address", |cx| listen_address(cx, address))
    });
    if *enable_mptcp && matches!(first, Some(ListenAddress::Pipe { .. })) {
        cx.at("enable_mptcp", |cx| {
            cx.error(codes::CONFLICT, "only IP addresses have several paths").envoy(format!("listener {name}: enable_mptcp can only be used with IP addresses"));
        });
    }
    let buffer_limit_bytes = per_connection_buffer_limit_bytes.unwrap_or(BUFFER_LIMIT_BYTES);
    if filter_chains.is_empty() && default_filter_chain.is_none() {
        let shown = first.as_ref().map_or_else(|| name.clone(), ToString::to_string);
        cx.at("filter_chains", |cx| {
            cx.error(codes::MISSING, "a listener needs at least one filter chain")
                .envoy(format!("error adding listener '{shown}': no filter chains specified"));
        });
    }
    // Connection managers name their statistics after the listener, so it is made before its chains.
    let placeholder = ListenAddress::ip(([127, 0, 0, 1], 0).into());
    let mut config = ListenerConfig::new(name, first.clone().unwrap_or(placeholder));
    config.addresses.extend(more);
    config.stat_prefix.clone_from(stat_prefix);
    config.metadata = metadata.as_ref().map(|from| Arc::new(nuncio_ext::read::metadata(from)));
    if name.is_empty() {
        config.name = config.addresses[0].to_string().into();
    }
    let egress = *traffic_direction == core::TrafficDirection::Outbound as i32;
    let around = chains::Around { stat_scope: config.stat_scope(), buffer_limit_bytes, quic: false, egress };
    config.filter_chains = cx.each("filter_chains", filter_chains, |cx, chain| chains::compile(cx, chain, &around));
    config.default_filter_chain =
        default_filter_chain.as_ref().and_then(|chain| cx.at("default_filter_chain", |cx| chains::compile(cx, chain, &around)));
    // With a matcher the chains are told apart by name.
    match filter_chain_matcher {
        Some(matcher) => config.chain_matcher = chains::matcher(cx, matcher, filter_chains, &config.addresses[0].to_string()),
        None => {
            chains::check_matches(cx, &config.filter_chains);
            inspect::complete(cx, &config.filter_chains, &mut inspectors);
        }
    }
    config.inspectors = inspectors;
    config.proxy_protocol = proxy_protocol;
    config.socket = sockets::compile(cx, from);
    if kind == Kind::Internal {
        config.internal_buffer_bytes = cx.internal_listeners;
        config.socket.bind_to_port = false;
    }
    config.buffer_limit_bytes = buffer_limit_bytes;
    config.listener_filters_timeout = match listener_filters_timeout {
        None => Some(LISTENER_FILTERS_TIMEOUT),
        some => cx.duration("listener_filters_timeout", some.as_ref()).filter(|d| !d.is_zero()),
    };
    config.continue_on_listener_filters_timeout = *continue_on_listener_filters_timeout;
    config.accept_per_event = *max_connections_to_accept_per_socket_event;
    config.connection_limit = connection_limit(cx, name);
    config.ignore_global_limit = *ignore_global_conn_limit;
    config.use_original_dst = use_original_dst.unwrap_or(false);
    config.original_dst = original_dst || config.use_original_dst;
    config.accept_filters = accept.into();
    config.disabled = disabled;
    config.exact_balance = connection_balance_config.as_ref().is_some_and(|balance| cx.at("connection_balance_config", |cx| exact_balance(cx, balance)));
    config.traffic_direction = match core::TrafficDirection::try_from(*traffic_direction).unwrap_or_default() {
        core::TrafficDirection::Inbound => TrafficDirection::Inbound,
        core::TrafficDirection::Outbound => TrafficDirection::Outbound,
        core::TrafficDirection::Unspecified => TrafficDirection::Unspecified,
    };
    config.drain_type = match proto::listener::DrainType::try_from(*drain_type).unwrap_or_default() {
        proto::listener::DrainType::ModifyOnly => DrainType::ModifyOnly,
        proto::listener::DrainType::Default => DrainType::Default,
    };
    config.access_logs = access_log::compile(cx, "access_log", access_log);
    // The chains have digests of their own: what is left are logs and filters.
    config.digest = if access_log.is_empty() && config.accept_filters.is_empty() { Digest::of(&[]) } else { digest };
    first.map(|_| config)
}

/// Whether connections are spread evenly over the workers.
fn exact_balance(cx: &mut CompileCx<'_>, from: &ConnectionBalanceConfig) -> bool {
    match from.balance_type {
        Some(BalanceType::ExactBalance(_)) => return true,
        Some(BalanceType::ExtendBalance(_)) => cx.without_effect("extend_balance"),
        Some(BalanceType::CpuLocalityBalance(_)) => cx.without_effect("cpu_locality_balance"),
        None => return false,
    };
    false
}

/// `envoy.resource_limits.listener.<name>.connection_limit` of the runtime.
fn connection_limit(cx: &CompileCx<'_>, name: &str) -> Option<u64> {
    cx.runtime.get(&format!("envoy.resource_limits.listener.{name}.connection_limit"))?.text.parse().ok()
}

fn is_internal(address: &core::Address) -> bool {
    matches!(address.address, Some(core::address::Address::EnvoyInternalAddress(_)))
}

/// The listener is for datagrams.
fn is_udp(address: Option<&core::Address>) -> bool {
    let socket = address.and_then(|a| a.address.as_ref());
    matches!(socket, Some(core::address::Address::SocketAddress(a)) if a.protocol == core::socket_address::Protocol::Udp as i32)
}

/// An address to listen on: an IP address, never a name.
fn listen_address(cx: &mut CompileCx<'_>, from: &core::Address) -> Option<ListenAddress> {
    let compat = match &from.address {
        Some(core::address::Address::SocketAddress(address)) => address.ipv4_compat,
        _ => false,
    };
    let plain = without_ipv4_compat(from);
    match address::parse(cx, &plain)? {
        Parsed::Ready(Address::Ip(socket)) => Some(ListenAddress::Ip { socket, ipv4_compat: compat }),
        // Reported before: the field says so in its own way.
        Parsed::Ready(Address::Internal(_)) => None,
        Parsed::Ready(Address::Pipe(path)) => {
            let mode = match &from.address {
                Some(core::address::Address::Pipe(pipe)) => pipe.mode,
                _ => 0,
            };
            if mode != 0 && path.to_string_lossy().starts_with('@') {
                cx.at("pipe", |cx| {
                    cx.error(codes::CONFLICT, "an abstract socket is no file, and has no mode").envoy("Cannot set mode for Abstract AF_UNIX sockets");
                });
            }
            Some(ListenAddress::Pipe { path, mode })
        }
        Parsed::Name { host, .. } => {
            cx.at("socket_address", |cx| address::not_an_ip(cx, &host, ""));
            None
        }
    }
}

/// The same address for the shared parser, which reports `ipv4_compat` because only listeners have it.
fn without_ipv4_compat(from: &core::Address) -> core::Address {
    let mut plain = from.clone();
    if let Some(core::address::Address::SocketAddress(address)) = &mut plain.address {
        address.ipv4_compat = false;
    }
    plain
}
