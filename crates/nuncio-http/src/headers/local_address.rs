//! The address other hosts know this host by: what a loopback peer is called in `x-forwarded-for`.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::OnceLock,
};

static LOCAL: OnceLock<IpAddr> = OnceLock::new();

/// The first address that is not loopback, else 127.0.0.1. Asked of the system once.
///
/// Connecting a datagram socket sends nothing; it makes the kernel choose the source address.
pub fn of_this_host() -> IpAddr {
    *LOCAL.get_or_init(|| {
        let chosen = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
            socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
            socket.local_addr()
        });
        match chosen {
            Ok(addr) if !addr.ip().is_unspecified() => addr.ip(),
            _ => Ipv4Addr::LOCALHOST.into(),
        }
    })
}
