//! Connections that the system has brought here on their way to somewhere else: by `REDIRECT`, which remembers where
//! that was, or by `TPROXY`, which leaves it in place as the local address.

use nuncio_rt::Io;
use socket2::SockRef;
use std::net::SocketAddr;

/// Where the client wanted to go, if that is known.
pub(crate) fn of(io: &Io) -> Option<SocketAddr> {
    let Io::Socket(socket) = io else { return None };
    let stream = socket.tcp()?;
    let (socket, local) = (SockRef::from(stream), stream.local_addr().ok()?);
    let asked = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    if let Ok(asked) = asked {
        return asked.as_socket();
    }
    let transparent = if local.is_ipv4() { socket.ip_transparent_v4() } else { socket.ip_transparent_v6() };
    transparent.unwrap_or(false).then_some(local)
}
