//! How a listener's sockets are made: `socket_options`, `tcp_keepalive`, `enable_reuse_port`, …

use crate::context::CompileCx;
use crate::socket_options::socket_options;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_listen::{Keepalive, SocketConfig};
use std::time::Duration;

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::Listener) -> SocketConfig {
    SocketConfig {
        reuse_port: from.enable_reuse_port.unwrap_or(true),
        bind_to_port: from.bind_to_port.unwrap_or(true),
        backlog: from.tcp_backlog_size,
        transparent: from.transparent.unwrap_or(false),
        freebind: from.freebind.unwrap_or(false),
        keepalive: from.tcp_keepalive.as_ref().map(keepalive),
        options: socket_options(cx, &from.socket_options),
        datagrams: false,
    }
}

fn keepalive(from: &core::TcpKeepalive) -> Keepalive {
    let core::TcpKeepalive { keepalive_probes, keepalive_time, keepalive_interval } = from;
    let seconds = |s: &Option<u32>| s.map(|s| Duration::from_secs(u64::from(s)));
    Keepalive { probes: *keepalive_probes, time: seconds(keepalive_time), interval: seconds(keepalive_interval) }
}
