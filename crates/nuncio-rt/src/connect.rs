//! Opening connections: the socket's options, and several addresses of one host.

use crate::{Address, Io, SocketOption, SocketState};
use socket2::{SockRef, TcpKeepalive};
use std::{
    error::Error,
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Poll, ready},
    time::Duration,
};
use tokio::net::{TcpSocket, UnixStream};

/// Wait for an attempt before the next address is tried, too (rfc8305#5, and Envoy's).
const ATTEMPT_DELAY: Duration = Duration::from_millis(300);

/// How an outgoing connection's socket is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Local addresses to bind (`upstream_bind_config`): the first of the peer's IP version is taken, else the first.
    pub sources: Vec<TcpSource>,
    /// `IP_FREEBIND`: the local address need not exist (`freebind`).
    pub freebind: bool,
    /// `SO_KEEPALIVE` (`upstream_connection_options.tcp_keepalive`).
    pub keepalive: Option<Keepalive>,
    /// `socket_options`.
    pub options: Vec<SocketOption>,
}

/// A local address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSource {
    /// The address; port 0 for any.
    pub address: SocketAddr,
    /// `extra_source_addresses.socket_options`: in the place of those of all.
    pub options: Option<Vec<SocketOption>>,
}

/// `TcpKeepalive`; the system's values where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// `keepalive_probes`
    pub probes: Option<u32>,
    /// `keepalive_time`
    pub time: Option<Duration>,
    /// `keepalive_interval`
    pub interval: Option<Duration>,
}

/// Why a socket could not be set up to connect: a failure of ours, whatever the host.
#[derive(Debug)]
pub struct SetupError {
    /// What was tried, if there is more to say than that it is an option that could not be set.
    pub said: String,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.said.is_empty() { "a socket option cannot be set" } else { &self.said })
    }
}

impl Error for SetupError {}

impl SetupError {
    fn option(_: io::Error) -> io::Error {
        io::Error::other(SetupError { said: String::new() })
    }

    fn bind(to: &SocketAddr, error: &io::Error) -> io::Error {
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        io::Error::other(SetupError { said: format!("failed to bind to {to}: {text}") })
    }
}

impl TcpOptions {
    fn source(&self, to: &SocketAddr) -> Option<&TcpSource> {
        self.sources.iter().find(|source| source.address.is_ipv4() == to.is_ipv4()).or(self.sources.first())
    }

    fn apply(&self, socket: &TcpSocket, to: &SocketAddr, state: SocketState) -> io::Result<()> {
        let own = self.source(to).and_then(|source| source.options.as_ref());
        let mut options = own.unwrap_or(&self.options).iter();
        options.try_for_each(|option| option.apply(&SockRef::from(socket), state, Some(to.ip()))).map_err(SetupError::option)
    }

    fn set(&self, socket: &TcpSocket, to: &SocketAddr) -> io::Result<()> {
        if let Some(Keepalive { probes, time, interval }) = self.keepalive {
            socket.set_keepalive(true)?;
            let mut wanted = TcpKeepalive::new();
            wanted = time.map_or(wanted.clone(), |time| wanted.with_time(time));
            wanted = interval.map_or(wanted.clone(), |interval| wanted.with_interval(interval));
            wanted = probes.map_or(wanted.clone(), |probes| wanted.with_retries(probes));
            SockRef::from(socket).set_tcp_keepalive(&wanted)?;
        }
        self.apply(socket, to, SocketState::Prebind)?;
        let Some(source) = self.source(to) else { return self.apply(socket, to, SocketState::Bound) };
        if self.freebind {
            let socket = SockRef::from(socket);
            if to.is_ipv4() { socket.set_freebind_v4(true)? } else { socket.set_freebind_v6(true)? }
        }
        socket.bind(source.address).map_err(|error| SetupError::bind(&source.address, &error))?;
        self.apply(socket, to, SocketState::Bound)
    }
}

/// Opens a connection, with `TCP_NODELAY` on TCP.
///
/// # Errors
/// What the system says; a [`SetupError`] where the socket could not be set up; [`io::ErrorKind::TimedOut`] after `timeout`.
pub async fn connect(to: &Address, options: &TcpOptions, timeout: Duration) -> io::Result<Io> {
    in_time(timeout, open(to, options)).await
}

/// Opens a connection to the first of these addresses that answers. Each is given a little time before the next one is
/// tried beside it; a failure does not wait. `again` is told of every attempt but the first.
///
/// # Errors
/// What the last attempt came to; [`io::ErrorKind::TimedOut`] after `timeout`.
pub async fn connect_any(to: &[Address], options: &TcpOptions, timeout: Duration, again: impl FnMut()) -> io::Result<Io> {
    in_time(timeout, race(to, options, again)).await
}

async fn in_time(timeout: Duration, attempt: impl Future<Output = io::Result<Io>>) -> io::Result<Io> {
    match tokio::time::timeout(timeout, attempt).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn open(to: &Address, options: &TcpOptions) -> io::Result<Io> {
    match to {
        Address::Ip(to) => {
            let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            options.set(&socket, to)?;
            let stream = socket.connect(*to).await?;
            stream.set_nodelay(true)?;
            Ok(stream.into())
        }
        Address::Pipe(path) => Ok(UnixStream::connect(path).await?.into()),
        // Internal listeners are the business of the workers they are on.
        Address::Internal(_) => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}

async fn race(to: &[Address], options: &TcpOptions, mut again: impl FnMut()) -> io::Result<Io> {
    let mut attempts: Vec<Pin<Box<dyn Future<Output = io::Result<Io>> + '_>>> = Vec::new();
    let mut error = io::ErrorKind::AddrNotAvailable.into();
    let mut rest = to.iter();
    loop {
        match rest.next() {
            Some(next) => {
                if rest.len() + 1 < to.len() {
                    again();
                }
                attempts.push(Box::pin(open(next, options)));
            }
            None if attempts.is_empty() => return Err(error),
            None => {}
        }
        let more = rest.len() > 0;
        let mut delay = pin!(tokio::time::sleep(ATTEMPT_DELAY));
        let done = poll_fn(|cx| {
            for at in 0..attempts.len() {
                if let Poll::Ready(outcome) = attempts[at].as_mut().poll(cx) {
                    drop(attempts.swap_remove(at));
                    return Poll::Ready(Some(outcome));
                }
            }
            if more {
                ready!(delay.as_mut().poll(cx));
                return Poll::Ready(None);
            }
            Poll::Pending
        });
        match done.await {
            Some(Ok(io)) => return Ok(io),
            Some(Err(failed)) => error = failed,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn at(port: u16) -> Address {
        Address::Ip((Ipv4Addr::LOCALHOST, port).into())
    }

    /// An address where nobody listens.
    fn closed() -> Address {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Address::Ip(listener.local_addr().unwrap())
    }

    #[test]
    fn the_source_is_of_the_peers_version_if_there_is_one() {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let from = |address| TcpSource { address, options: None };
        let options = TcpOptions { sources: [v4, v6].map(from).to_vec(), ..TcpOptions::default() };
        let source = |options: &TcpOptions, to| options.source(to).map(|source| source.address);
        assert_eq!((source(&options, &v6), source(&options, &v4)), (Some(v6), Some(v4)));
        let one = TcpOptions { sources: vec![from(v4)], ..TcpOptions::default() };
        assert_eq!((source(&one, &v6), source(&TcpOptions::default(), &v4)), (Some(v4), None));
    }

    #[test]
    fn an_address_that_refuses_gives_way_to_the_next() {
        crate::block_on_worker(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let open = at(listener.local_addr().unwrap().port());
            let keepalive = Some(Keepalive { probes: Some(3), time: Some(Duration::from_secs(60)), interval: None });
            let options = TcpOptions { keepalive, ..TcpOptions::default() };
            let long = Duration::from_secs(10);
            let mut more = 0;
            assert!(connect_any(&[closed(), open], &options, long, || more += 1).await.is_ok());
            assert_eq!(more, 1);
            let refused = connect_any(&[closed(), closed()], &options, long, || {}).await;
            assert_eq!(refused.map(drop).map_err(|e| e.kind()), Err(io::ErrorKind::ConnectionRefused));
            assert!(connect_any(&[], &options, long, || {}).await.is_err());
        })
        .unwrap();
    }
}
