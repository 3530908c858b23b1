//! What a listener listens on, and the forms its address takes in messages and stat names.

use nuncio_rt::{Address, InternalAddress};
use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

/// One address of a listener, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `socket_address`: an IP address and port; port 0 takes a free one.
    Ip {
        /// Address and port.
        socket: SocketAddr,
        /// `ipv4_compat`: an IPv6 wildcard also accepts IPv4 (mapped addresses).
        ipv4_compat: bool,
    },
    /// `pipe`: a unix domain socket; a leading `@` means the abstract namespace (Linux).
    Pipe {
        /// Path, or `@name`.
        path: PathBuf,
        /// Permission bits to set on the socket file; 0 leaves the umask's.
        mode: u32,
    },
    /// `internal_listener`, by its name: only this process connects.
    Internal(Arc<str>),
}

impl ListenAddress {
    /// An IP address without `ipv4_compat`.
    pub fn ip(socket: SocketAddr) -> ListenAddress {
        ListenAddress::Ip { socket, ipv4_compat: false }
    }

    /// The same without what only matters for binding.
    pub fn address(&self) -> Address {
        match self {
            ListenAddress::Ip { socket, .. } => Address::Ip(*socket),
            ListenAddress::Pipe { path, .. } => Address::Pipe(path.clone()),
            ListenAddress::Internal(name) => Address::Internal(Arc::new(InternalAddress { listener: name.clone(), endpoint: "".into() })),
        }
    }

    /// True if the port is chosen when binding.
    pub fn any_port(&self) -> bool {
        matches!(self, ListenAddress::Ip { socket, .. } if socket.port() == 0)
    }

    /// Whether two listeners may not both have these.
    pub fn collides(&self, other: &ListenAddress) -> bool {
        !self.any_port() && self.address() == other.address()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Ip { socket, .. } => socket.fmt(f),
            ListenAddress::Pipe { path, .. } => path.display().fmt(f),
            ListenAddress::Internal(_) => self.address().fmt(f),
        }
    }
}

/// A name as it stands inside a stat name: Envoy replaces what would not survive there.
pub fn stat_name(raw: &str) -> String {
    raw.replace("://", "_").replace(":/", "_").replace([':', '\0'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_stat_names_have_no_colons() {
        assert_eq!(stat_name("0.0.0.0:10000"), "0.0.0.0_10000");
        assert_eq!(stat_name("[::1]:18881"), "[__1]_18881");
        assert_eq!(stat_name("/run/e.sock"), "/run/e.sock");
    }

    #[test]
    fn port_zero_never_collides() {
        let any = ListenAddress::ip(([127, 0, 0, 1], 0).into());
        assert!(!any.collides(&any));
        let one = ListenAddress::ip(([127, 0, 0, 1], 80).into());
        assert!(one.collides(&ListenAddress::Ip { socket: ([127, 0, 0, 1], 80).into(), ipv4_compat: true }));
        assert!(!one.collides(&ListenAddress::ip(([0, 0, 0, 0], 80).into())));
    }
}
