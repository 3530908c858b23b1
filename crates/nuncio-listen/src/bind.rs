//! Listening sockets: made, bound and set listening, on the main thread.
//!
//! Binding and listening are two steps, so that a configuration whose last address is taken never lets a client
//! connect to the first. Each worker gets a socket of its own (`SO_REUSEPORT`: the kernel spreads connections) unless
//! the listener says otherwise; then, and for unix sockets, all share one.

use crate::{
    address::ListenAddress,
    config::SocketConfig,
};
use nuncio_rt::Address;
use nuncio_rt::SocketState;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::UnixListener,
        },
    },
    path::Path,
};

/// A listening socket on its way to a worker.
#[derive(Debug)]
pub enum ListenSocket {
    /// TCP.
    Tcp(TcpListener),
    /// Unix domain.
    Unix(UnixListener),
    /// Datagrams.
    Udp(UdpSocket),
}

/// The sockets of one address.
#[derive(Debug)]
pub struct BoundAddress {
    /// The address with the port that was taken.
    pub local: Address,
    /// One per worker.
    pub sockets: Vec<ListenSocket>,
    /// True if another socket, not ours to know of, was bound to the address before.
    pub shared: bool,
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address as configured.
    pub address: ListenAddress,
    /// What failed.
    pub step: BindStep,
    /// What the system said.
    pub source: io::Error,
}

/// What failed on the way to a listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindStep {
    /// Making the socket.
    Open,
    /// Setting this option.
    Option(String),
    /// `bind`.
    Bind,
    /// Setting the mode of a unix socket's file.
    Mode,
    /// `listen`.
    Listen,
}

/// What the system says, without Rust's `(os error 13)`.
pub(crate) fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(said, _)| said.to_owned())
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, said) = (&self.address, system_text(&self.source));
        match &self.step {
            BindStep::Open => write!(f, "cannot open a socket for '{address}': {said}"),
            BindStep::Option(option) => write!(f, "cannot set {option} on the socket for '{address}': {said}"),
            BindStep::Bind => write!(f, "cannot bind '{address}': {said}"),
            BindStep::Mode => write!(f, "cannot set the mode of '{address}': {said}"),
            BindStep::Listen => write!(f, "cannot listen on '{address}': {said}"),
        }?;
        match self.source.kind() {
            io::ErrorKind::PermissionDenied if self.is_privileged_port() => {
                f.write_str(" (ports below 1024 need root or CAP_NET_BIND_SERVICE)")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl BindError {
    fn is_privileged_port(&self) -> bool {
        matches!(&self.address, ListenAddress::Ip { socket, .. } if (1..1024).contains(&socket.port()))
    }
}

/// Binds `address` for so many workers; nothing listens yet.
///
/// # Errors
/// What the system says.
pub fn bind(address: &ListenAddress, config: &SocketConfig, workers: usize) -> Result<BoundAddress, BindError> {
    match address {
        ListenAddress::Ip { socket, ipv4_compat } => Tcp { address, config, ipv4_compat: *ipv4_compat }.bind(*socket, workers),
        ListenAddress::Pipe { path, mode } => bind_unix(address, path, *mode, workers),
        ListenAddress::Internal(_) => Ok(BoundAddress { local: address.address(), sockets: Vec::new(), shared: false }),
    }
}

impl BoundAddress {
    /// Starts listening on every socket. What connects from here on waits until a worker accepts it.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&self, address: &ListenAddress, config: &SocketConfig) -> Result<(), BindError> {
        // The kernel cuts what is asked for to net.core.somaxconn, which is also Envoy's default.
        let backlog = config.backlog.and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX);
        for socket in &self.sockets {
            let socket = match socket {
                ListenSocket::Tcp(listener) => SockRef::from(listener),
                ListenSocket::Unix(listener) => SockRef::from(listener),
                // Datagrams come as soon as it is bound.
                ListenSocket::Udp(_) => continue,
            };
            socket
                .listen(backlog)
                .map_err(|source| BindError { address: address.clone(), step: BindStep::Listen, source })?;
            apply_options(&socket, address, config, SocketState::Listening)?;
        }
        Ok(())
    }
}

struct Tcp<'a> {
    address: &'a ListenAddress,
    config: &'a SocketConfig,
    ipv4_compat: bool,
}

impl Tcp<'_> {
    fn bind(&self, socket: SocketAddr, workers: usize) -> Result<BoundAddress, BindError> {
        // First without SO_REUSEPORT: with it, somebody else's listener on the same port would go unnoticed and share
        // our connections. If there is one, share after all (Envoy would), but say so.
        let (first, shared) = match self.bound(socket, false) {
            Err(e) if self.config.reuse_port && e.source.kind() == io::ErrorKind::AddrInUse => {
                (self.bound(socket, true)?, true)
            }
            first => (first?, false),
        };
        let local = first
            .local_addr()
            .and_then(|a| a.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
            .map_err(|e| self.error(BindStep::Bind, e))?;
        if self.config.reuse_port {
            first.set_reuse_port(true).map_err(|e| self.error(BindStep::Option("SO_REUSEPORT".into()), e))?;
        }
        let mut sockets = vec![first];
        while sockets.len() < workers {
            let next = if self.config.reuse_port {
                self.bound(local, true)?
            } else {
                sockets[0].try_clone().map_err(|e| self.error(BindStep::Open, e))?
            };
            sockets.push(next);
        }
        Ok(BoundAddress {
            local: Address::Ip(local),
            sockets: sockets.into_iter().map(|s| if self.config.datagrams { ListenSocket::Udp(s.into()) } else { ListenSocket::Tcp(s.into()) }).collect(),
            shared,
        })
    }

    /// One socket, bound.
    fn bound(&self, socket: SocketAddr, reuse_port: bool) -> Result<Socket, BindError> {
        let made = self.opened(socket).map_err(|e| self.error(BindStep::Open, e))?;
        if reuse_port {
            made.set_reuse_port(true).map_err(|e| self.error(BindStep::Option("SO_REUSEPORT".into()), e))?;
        }
        if self.config.freebind {
            let set = if socket.is_ipv4() { made.set_freebind_v4(true) } else { made.set_freebind_v6(true) };
            set.map_err(|e| self.error(BindStep::Option("IP_FREEBIND".into()), e))?;
        }
        if self.config.transparent {
            // The IPv4 option also covers IPv6 sockets for what a listener needs: accepting for foreign addresses.
            made.set_ip_transparent_v4(true).map_err(|e| self.error(BindStep::Option("IP_TRANSPARENT".into()), e))?;
        }
        apply_options(&SockRef::from(&made), self.address, self.config, SocketState::Prebind)?;
        made.bind(&socket.into()).map_err(|e| self.error(BindStep::Bind, e))?;
        apply_options(&SockRef::from(&made), self.address, self.config, SocketState::Bound)?;
        Ok(made)
    }

    /// One socket with what accepted connections inherit from it: TCP_NODELAY and keep-alive, set here once instead
    /// of at each of them.
    fn opened(&self, address: SocketAddr) -> io::Result<Socket> {
        let (kind, protocol) = if self.config.datagrams { (Type::DGRAM, Protocol::UDP) } else { (Type::STREAM, Protocol::TCP) };
        let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
        if self.config.datagrams {
            if address.is_ipv6() {
                socket.set_only_v6(!self.ipv4_compat)?;
            }
            return Ok(socket);
        }
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!self.ipv4_compat)?;
        }
        socket.set_tcp_nodelay(true)?;
        if let Some(keepalive) = &self.config.keepalive {
            let mut wanted = socket2::TcpKeepalive::new();
            if let Some(time) = keepalive.time {
                wanted = wanted.with_time(time);
            }
            if let Some(interval) = keepalive.interval {
                wanted = wanted.with_interval(interval);
            }
            if let Some(probes) = keepalive.probes {
                wanted = wanted.with_retries(probes);
            }
            socket.set_tcp_keepalive(&wanted)?;
        }
        Ok(socket)
    }

    fn error(&self, step: BindStep, source: io::Error) -> BindError {
        BindError { address: self.address.clone(), step, source }
    }
}

fn apply_options(
    socket: &Socket,
    address: &ListenAddress,
    config: &SocketConfig,
    state: SocketState,
) -> Result<(), BindError> {
    let ip = match address {
        ListenAddress::Ip { socket, .. } => Some(socket.ip()),
        _ => None,
    };
    for option in &config.options {
        option.apply(socket, state, ip).map_err(|source| BindError {
            address: address.clone(),
            step: BindStep::Option(format!("socket option {}/{}", option.level, option.name)),
            source,
        })?;
    }
    Ok(())
}

fn bind_unix(address: &ListenAddress, path: &Path, mode: u32, workers: usize) -> Result<BoundAddress, BindError> {
    let error = |step, source| BindError { address: address.clone(), step, source };
    let listener = match path.to_str().and_then(|p| p.strip_prefix('@')) {
        Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name).and_then(|a| UnixListener::bind_addr(&a)),
        None => {
            // A socket file that an earlier run left behind is in the way; anything else there is not ours to remove.
            if std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
                std::fs::remove_file(path).map_err(|e| error(BindStep::Bind, e))?;
            }
            UnixListener::bind(path)
        }
    }
    .map_err(|e| error(BindStep::Bind, e))?;
    listener.set_nonblocking(true).map_err(|e| error(BindStep::Open, e))?;
    if mode != 0 && !path.to_string_lossy().starts_with('@') {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(|e| error(BindStep::Mode, e))?;
    }
    let mut sockets = vec![];
    for _ in 1..workers {
        sockets.push(listener.try_clone().map_err(|e| error(BindStep::Open, e))?);
    }
    sockets.push(listener);
    Ok(BoundAddress {
        local: Address::Pipe(path.to_owned()),
        sockets: sockets.into_iter().map(ListenSocket::Unix).collect(),
        shared: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> ListenAddress {
        ListenAddress::ip(([127, 0, 0, 1], 0).into())
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_port_that_was_taken() {
        let config = SocketConfig::default();
        let bound = bind(&loopback(), &config, 4).expect("loopback");
        bound.listen(&loopback(), &config).expect("listen");
        let Address::Ip(local) = bound.local else { unreachable!("an IP address") };
        assert_ne!(local.port(), 0);
        assert_eq!(bound.sockets.len(), 4);
        for socket in &bound.sockets {
            let ListenSocket::Tcp(socket) = socket else { unreachable!("TCP") };
            assert_eq!(socket.local_addr().expect("bound"), local);
        }
        assert!(!bound.shared);
        let again = bind(&ListenAddress::ip(local), &config, 1).expect("reuse_port lets it");
        assert!(again.shared);
    }

    #[test]
    fn a_taken_address_is_named_with_what_the_system_says() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = ListenAddress::ip(taken.local_addr().expect("bound"));
        let error = bind(&address, &SocketConfig::default(), 2).expect_err("it is taken");
        assert_eq!(error.to_string(), format!("cannot bind '{address}': Address already in use"));
    }

    #[test]
    fn a_privileged_port_comes_with_advice() {
        let address = ListenAddress::ip(([0, 0, 0, 0], 80).into());
        let source = io::Error::from_raw_os_error(13);
        let error = BindError { address, step: BindStep::Bind, source };
        assert_eq!(
            error.to_string(),
            "cannot bind '0.0.0.0:80': Permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
        );
    }

    #[test]
    fn a_unix_socket_left_behind_is_replaced_and_gets_its_mode() {
        let path = std::env::temp_dir().join(format!("nuncio-bind-{}.sock", std::process::id()));
        let address = ListenAddress::Pipe { path: path.clone(), mode: 0o600 };
        drop(bind(&address, &SocketConfig::default(), 1).expect("first"));
        let bound = bind(&address, &SocketConfig::default(), 2).expect("second");
        assert_eq!(bound.sockets.len(), 2);
        let mode = std::fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_file(&path).expect("clean up");
        std::fs::write(&path, "precious").expect("file");
        assert!(bind(&address, &SocketConfig::default(), 1).is_err());
        std::fs::remove_file(&path).expect("clean up");
    }
}
