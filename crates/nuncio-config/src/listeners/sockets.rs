//! How a listener's sockets are made: `socket_options`, `tcp_keepalive`, `enable_reuse_port`, …

use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_listen::{Keepalive, SocketConfig, SocketOption, SocketState};
use std::time::Duration;

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::Listener) -> SocketConfig {
    SocketConfig {
        reuse_port: from.enable_reuse_port.unwrap_or(true),
        bind_to_port: from.bind_to_port.unwrap_or(true),
        backlog: from.tcp_backlog_size,
        transparent: from.transparent.unwrap_or(false),
        freebind: from.freebind.unwrap_or(false),
        keepalive: from.tcp_keepalive.as_ref().map(keepalive),
        options: cx.each("socket_options", &from.socket_options, option),
    }
}

fn keepalive(from: &core::TcpKeepalive) -> Keepalive {
    let core::TcpKeepalive { keepalive_probes, keepalive_time, keepalive_interval } = from;
    let seconds = |s: &Option<u32>| s.map(|s| Duration::from_secs(u64::from(s)));
    Keepalive { probes: *keepalive_probes, time: seconds(keepalive_time), interval: seconds(keepalive_interval) }
}

fn option(cx: &mut CompileCx<'_>, from: &core::SocketOption) -> Option<SocketOption> {
    use core::socket_option::{SocketState as State, Value};
    let core::SocketOption { description, level, name, state, r#type, ip_version, value } = from;
    unbuilt!(cx, r#type, ip_version);
    let value = match value.as_ref()? {
        Value::IntValue(n) => *n,
        Value::BufValue(_) => {
            cx.without_effect("buf_value");
            return None;
        }
    };
    if !nuncio_listen::socket_option::supported(*level, *name) {
        cx.value_without_effect(&format!("socket option {level}/{name}"));
        return None;
    }
    let state = match State::try_from(*state).unwrap_or_default() {
        State::StatePrebind => SocketState::Prebind,
        State::StateBound => SocketState::Bound,
        State::StateListening => SocketState::Listening,
    };
    Some(SocketOption { level: *level, name: *name, value, state, description: description.clone() })
}
