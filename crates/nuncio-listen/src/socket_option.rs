//! `socket_options`: the ones that can be set, by level and name as Linux numbers them.
//!
//! There is no way to set an arbitrary option without `unsafe`; these are the ones that people set on listeners.
//! [`supported`] lets the configuration say so up front.

use crate::config::SocketOption;
use socket2::Socket;
use std::{io, time::Duration};

const SOL_IP: i64 = 0;
const SOL_SOCKET: i64 = 1;
const SOL_TCP: i64 = 6;
const SOL_IPV6: i64 = 41;

type Setter = fn(&Socket, i64) -> io::Result<()>;

fn small(value: i64) -> io::Result<u32> {
    u32::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn size(value: i64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn seconds(value: i64) -> io::Result<Duration> {
    small(value).map(|n| Duration::from_secs(n.into()))
}

/// (level, name, how).
static OPTIONS: &[(i64, i64, Setter)] = &[
    (SOL_SOCKET, 2, |s, v| s.set_reuse_address(v != 0)),
    (SOL_SOCKET, 7, |s, v| s.set_send_buffer_size(size(v)?)),
    (SOL_SOCKET, 8, |s, v| s.set_recv_buffer_size(size(v)?)),
    (SOL_SOCKET, 9, |s, v| s.set_keepalive(v != 0)),
    (SOL_SOCKET, 15, |s, v| s.set_reuse_port(v != 0)),
    (SOL_SOCKET, 36, |s, v| s.set_mark(small(v)?)),
    (SOL_TCP, 1, |s, v| s.set_tcp_nodelay(v != 0)),
    (SOL_TCP, 4, |s, v| s.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(seconds(v)?))),
    (SOL_TCP, 5, |s, v| s.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_interval(seconds(v)?))),
    (SOL_TCP, 6, |s, v| s.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_retries(small(v)?))),
    (SOL_TCP, 12, |s, v| s.set_tcp_quickack(v != 0)),
    (SOL_TCP, 18, |s, v| s.set_tcp_user_timeout(Some(Duration::from_millis(small(v)?.into())))),
    (SOL_IP, 1, |s, v| s.set_tos_v4(small(v)?)),
    (SOL_IP, 2, |s, v| s.set_ttl_v4(small(v)?)),
    (SOL_IP, 15, |s, v| s.set_freebind_v4(v != 0)),
    (SOL_IP, 19, |s, v| s.set_ip_transparent_v4(v != 0)),
    (SOL_IPV6, 16, |s, v| s.set_unicast_hops_v6(small(v)?)),
    (SOL_IPV6, 26, |s, v| s.set_only_v6(v != 0)),
    (SOL_IPV6, 67, |s, v| s.set_tclass_v6(small(v)?)),
];

fn setter(option: &SocketOption) -> Option<Setter> {
    OPTIONS.iter().find(|(level, name, _)| (*level, *name) == (option.level, option.name)).map(|(_, _, set)| *set)
}

/// Whether an option of this level and name can be set.
pub fn supported(level: i64, name: i64) -> bool {
    OPTIONS.iter().any(|(l, n, _)| (*l, *n) == (level, name))
}

/// Sets `option`; one that is not [`supported`] was reported when the configuration was read and is left out.
pub(crate) fn apply(socket: &Socket, option: &SocketOption) -> io::Result<()> {
    setter(option).map_or(Ok(()), |set| set(socket, option.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SocketState;
    use socket2::{Domain, Type};

    #[test]
    fn listed_options_are_set_and_others_are_left_out() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        let option =
            |level, name, value| SocketOption { level, name, value, state: SocketState::Prebind, description: String::new() };
        apply(&socket, &option(SOL_TCP, 1, 1)).expect("TCP_NODELAY");
        assert!(socket.tcp_nodelay().expect("read back"));
        apply(&socket, &option(SOL_SOCKET, 9, 1)).expect("SO_KEEPALIVE");
        assert!(socket.keepalive().expect("read back"));
        assert!(!supported(SOL_TCP, 9999));
        apply(&socket, &option(SOL_TCP, 9999, 1)).expect("left out");
        assert!(apply(&socket, &option(SOL_SOCKET, 8, -1)).is_err());
    }
}
