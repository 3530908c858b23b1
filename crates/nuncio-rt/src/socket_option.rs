//! `socket_options`: the ones that can be set, by level and name as Linux numbers them.
//!
//! There is no way to set an arbitrary option without `unsafe`; these are the ones that people set.
//! [`SocketOption::is_supported`] lets the configuration say so up front.

use socket2::Socket;
use std::{io, net::IpAddr, time::Duration};

/// When a socket option is set (`SocketOption.SocketState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    /// Before `bind`.
    Prebind,
    /// After `bind`, before `listen` or `connect`.
    Bound,
    /// After `listen`.
    Listening,
}

/// The value of a socket option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketValue {
    /// `int_value`.
    Int(i64),
    /// `buf_value`.
    Bytes(Box<[u8]>),
}

/// One of `socket_options`: `setsockopt(level, name, value)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOption {
    /// `level`, for example 6 for TCP.
    pub level: i64,
    /// `name`, for example 1 for `TCP_NODELAY`.
    pub name: i64,
    /// `int_value`, `buf_value`.
    pub value: SocketValue,
    /// `state`.
    pub state: SocketState,
    /// `ip_version`: true for sockets of IPv6 only, false for those of IPv4 only.
    pub only_v6: Option<bool>,
    /// `description`, for messages.
    pub description: String,
}

const SOL_IP: i64 = 0;
const SOL_SOCKET: i64 = 1;
const SOL_TCP: i64 = 6;
const SOL_IPV6: i64 = 41;

/// How an option is set.
enum Setter {
    Int(fn(&Socket, i64) -> io::Result<()>),
    Bytes(fn(&Socket, &[u8]) -> io::Result<()>),
}

use Setter::{Bytes, Int};

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
    (SOL_SOCKET, 2, Int(|s, v| s.set_reuse_address(v != 0))),
    (SOL_SOCKET, 7, Int(|s, v| s.set_send_buffer_size(size(v)?))),
    (SOL_SOCKET, 8, Int(|s, v| s.set_recv_buffer_size(size(v)?))),
    (SOL_SOCKET, 9, Int(|s, v| s.set_keepalive(v != 0))),
    (SOL_SOCKET, 15, Int(|s, v| s.set_reuse_port(v != 0))),
    (SOL_SOCKET, 25, Bytes(|s, name| s.bind_device(Some(name)))),
    (SOL_SOCKET, 36, Int(|s, v| s.set_mark(small(v)?))),
    (SOL_TCP, 1, Int(|s, v| s.set_tcp_nodelay(v != 0))),
    (SOL_TCP, 4, Int(|s, v| s.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(seconds(v)?)))),
    (SOL_TCP, 5, Int(|s, v| s.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_interval(seconds(v)?)))),
    (SOL_TCP, 6, Int(|s, v| s.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_retries(small(v)?)))),
    (SOL_TCP, 12, Int(|s, v| s.set_tcp_quickack(v != 0))),
    (SOL_TCP, 13, Bytes(|s, name| s.set_tcp_congestion(name))),
    (SOL_TCP, 18, Int(|s, v| s.set_tcp_user_timeout(Some(Duration::from_millis(small(v)?.into()))))),
    (SOL_IP, 1, Int(|s, v| s.set_tos_v4(small(v)?))),
    (SOL_IP, 2, Int(|s, v| s.set_ttl_v4(small(v)?))),
    (SOL_IP, 15, Int(|s, v| s.set_freebind_v4(v != 0))),
    (SOL_IP, 19, Int(|s, v| s.set_ip_transparent_v4(v != 0))),
    (SOL_IPV6, 16, Int(|s, v| s.set_unicast_hops_v6(small(v)?))),
    (SOL_IPV6, 26, Int(|s, v| s.set_only_v6(v != 0))),
    (SOL_IPV6, 67, Int(|s, v| s.set_tclass_v6(small(v)?))),
];

impl SocketOption {
    fn setter(&self) -> Option<&'static Setter> {
        OPTIONS.iter().find(|(level, name, _)| (*level, *name) == (self.level, self.name)).map(|(_, _, set)| set)
    }

    /// Whether it can be set.
    pub fn is_supported(&self) -> bool {
        matches!((self.setter(), &self.value), (Some(Int(_)), SocketValue::Int(_)) | (Some(Bytes(_)), SocketValue::Bytes(_)))
    }

    /// Sets it, where this is its moment and it is for sockets of this address. One that is not supported is left out.
    ///
    /// # Errors
    /// What the system says.
    pub fn apply(&self, socket: &Socket, state: SocketState, ip: Option<IpAddr>) -> io::Result<()> {
        if self.state != state || self.only_v6.is_some_and(|v6| ip.is_some_and(|ip| ip.is_ipv6() != v6)) {
            return Ok(());
        }
        match (self.setter(), &self.value) {
            (Some(Int(set)), SocketValue::Int(value)) => set(socket, *value),
            (Some(Bytes(set)), SocketValue::Bytes(value)) => set(socket, value),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn option(level: i64, name: i64, value: SocketValue) -> SocketOption {
        SocketOption { level, name, value, state: SocketState::Prebind, only_v6: None, description: String::new() }
    }

    fn set(socket: &Socket, option: &SocketOption) -> io::Result<()> {
        option.apply(socket, SocketState::Prebind, Some(Ipv4Addr::LOCALHOST.into()))
    }

    #[test]
    fn listed_options_are_set_and_others_are_left_out() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        set(&socket, &option(SOL_TCP, 1, SocketValue::Int(1))).expect("TCP_NODELAY");
        assert!(socket.tcp_nodelay().expect("read back"));
        set(&socket, &option(SOL_SOCKET, 9, SocketValue::Int(1))).expect("SO_KEEPALIVE");
        assert!(socket.keepalive().expect("read back"));
        set(&socket, &option(SOL_TCP, 13, SocketValue::Bytes((*b"reno").into()))).expect("TCP_CONGESTION");
        assert_eq!(socket.tcp_congestion().expect("read back").split(|b| *b == 0).next(), Some(&b"reno"[..]));
        let unknown = option(SOL_TCP, 9999, SocketValue::Int(1));
        assert!(!unknown.is_supported());
        set(&socket, &unknown).expect("left out");
        assert!(!option(SOL_TCP, 1, SocketValue::Bytes((*b"1").into())).is_supported());
        assert!(set(&socket, &option(SOL_SOCKET, 8, SocketValue::Int(-1))).is_err());
    }

    #[test]
    fn an_option_has_its_moment_and_its_ip_version() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        let nodelay = SocketOption { state: SocketState::Bound, only_v6: Some(false), ..option(SOL_TCP, 1, SocketValue::Int(1)) };
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        nodelay.apply(&socket, SocketState::Prebind, Some(v4)).expect("not yet");
        nodelay.apply(&socket, SocketState::Bound, Some(v6)).expect("not here");
        assert!(!socket.tcp_nodelay().expect("read back"));
        nodelay.apply(&socket, SocketState::Bound, Some(v4)).expect("now");
        assert!(socket.tcp_nodelay().expect("read back"));
    }
}
