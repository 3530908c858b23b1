//! How connections to hosts are secured (`transport_socket`, `transport_socket_matches`): plain, or TLS.
//!
//! [`ClusterCx::open`] is the one way to a connection that pools, raw connections and nobody else use: it connects,
//! greets where there is TLS, and says in Envoy's words why it could not. What a request wants of its own
//! ([`TransportOptions`]) has pools of its own.

use crate::{
    host::Host,
    info::{ClusterCx, ClusterInfo},
    internal::{InternalTransport, SharedObjects},
    reset::{Reset, ResetReason, connect_failure},
};
use nuncio_core::{
    ConnInfo, TlsFacts,
    metadata::{Metadata, MetadataValue},
    proxy_protocol::{PassThrough, ProxyVersion, attached, encode_v1, encode_v2, may_tell},
};
use nuncio_rt::{Address, BufPool, Io, OutQueue};
use nuncio_tls::{ClientOptions, ClientTls, HandshakeError, Live, NO_SECRET, TlsStats};
use std::{collections::BTreeMap, future::poll_fn, io, net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

/// Where a host's metadata says which transport socket it is for.
const MATCH_NAMESPACE: &str = "envoy.transport_socket_match";

/// A transport socket.
#[derive(Debug, Clone, Default)]
pub enum UpstreamTransport {
    /// `raw_buffer`.
    #[default]
    Plain,
    /// `UpstreamTlsContext`.
    Tls(Arc<Live<ClientTls>>),
    /// `ProxyProtocolUpstreamTransport`: who the client is goes first.
    Proxied(Arc<ProxiedTransport>),
    /// `InternalUpstreamTransport`: metadata and filter state go along to a listener of this process.
    Internal(Arc<InternalTransport>),
}

/// `ProxyProtocolUpstreamTransport`.
#[derive(Debug, PartialEq)]
pub struct ProxiedTransport {
    /// `config.version`.
    pub version: ProxyVersion,
    /// `config.pass_through_tlvs`: which TLVs of the client's own header go on.
    pub pass_through: PassThrough,
    /// `config.added_tlvs`
    pub added: Vec<(u8, Vec<u8>)>,
    /// `transport_socket`: what comes behind the header.
    pub inner: UpstreamTransport,
}

impl ProxiedTransport {
    /// The header for a connection; without a client the proxy speaks for itself, in version 1 by its `own` end and the
    /// host's.
    fn header(&self, client: Option<&ProxiedClient>, own: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
        let addresses = client.map(|client| (client.source, client.destination));
        if self.version == ProxyVersion::V1 {
            return encode_v1(addresses.or(own));
        }
        let kept = client.map_or(&[][..], |client| &client.tlvs).iter().filter(|(kind, _)| self.pass_through.has(*kind));
        let tlvs: Vec<_> = kept.chain(&self.added).cloned().collect();
        encode_v2(addresses, &tlvs)
    }
}

/// The client that a connection is made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProxiedClient {
    /// Its address.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
    /// What its own PROXY header says beyond that.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

impl ProxiedClient {
    /// The client of a connection, unless it has no IP address or is not to be told of.
    pub fn of(conn: &ConnInfo) -> Option<ProxiedClient> {
        let (Address::Ip(source), Address::Ip(destination)) = (&conn.remote, &conn.local) else { return None };
        if !may_tell(conn) {
            return None;
        }
        let tlvs = attached(conn).map(|header| header.tlvs.clone()).unwrap_or_default();
        Some(ProxiedClient { source: *source, destination: *destination, tlvs })
    }
}

impl UpstreamTransport {
    fn tells_client(&self) -> bool {
        match self {
            UpstreamTransport::Proxied(_) => true,
            UpstreamTransport::Internal(internal) => internal.inner.tells_client(),
            UpstreamTransport::Plain | UpstreamTransport::Tls(_) => false,
        }
    }

    fn shares_state(&self) -> bool {
        matches!(self, UpstreamTransport::Internal(_))
    }

    fn tls(&self) -> Option<&Arc<Live<ClientTls>>> {
        match self {
            UpstreamTransport::Tls(tls) => Some(tls),
            UpstreamTransport::Plain => None,
            UpstreamTransport::Proxied(proxied) => proxied.inner.tls(),
            UpstreamTransport::Internal(internal) => internal.inner.tls(),
        }
    }
}

impl PartialEq for UpstreamTransport {
    fn eq(&self, other: &UpstreamTransport) -> bool {
        match (self, other) {
            (UpstreamTransport::Plain, UpstreamTransport::Plain) => true,
            (UpstreamTransport::Tls(a), UpstreamTransport::Tls(b)) => a == b,
            (UpstreamTransport::Proxied(a), UpstreamTransport::Proxied(b)) => a == b,
            (UpstreamTransport::Internal(a), UpstreamTransport::Internal(b)) => a == b,
            _ => false,
        }
    }
}

/// One of `transport_socket_matches`.
#[derive(Debug, Clone, PartialEq)]
pub struct TransportMatch {
    /// `name`.
    pub name: Arc<str>,
    /// `match`: all of them stand in the host's metadata.
    pub criteria: BTreeMap<String, MetadataValue>,
    /// `transport_socket`.
    pub transport: UpstreamTransport,
}

/// The transport sockets of a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transports {
    /// `transport_socket`.
    pub default: UpstreamTransport,
    /// `transport_socket_matches`: the first that fits is taken.
    pub matches: Vec<TransportMatch>,
}

impl Transports {
    /// The one for a host with this metadata, in a locality with that.
    pub fn of(&self, metadata: Option<&Metadata>, locality: Option<&Metadata>) -> &UpstreamTransport {
        self.index_of(metadata, locality).and_then(|index| self.matches.get(index)).map_or(&self.default, |of| &of.transport)
    }

    /// Which of `transport_socket_matches` a host with this metadata fits, if any; else which its locality's metadata fit.
    pub(crate) fn index_of(&self, metadata: Option<&Metadata>, locality: Option<&Metadata>) -> Option<usize> {
        if self.matches.is_empty() {
            return None;
        }
        self.first_fit(metadata).or_else(|| self.first_fit(locality))
    }

    fn first_fit(&self, metadata: Option<&Metadata>) -> Option<usize> {
        let own = match metadata.and_then(|metadata| metadata.get(MATCH_NAMESPACE)) {
            Some(MetadataValue::Struct(own)) => Some(own),
            _ => None,
        };
        let fits = |of: &TransportMatch| of.criteria.iter().all(|(key, wanted)| own.and_then(|own| own.get(key)) == Some(wanted));
        self.matches.iter().position(fits)
    }

    /// Every TLS context.
    pub fn tls(&self) -> impl Iterator<Item = &Arc<Live<ClientTls>>> {
        let all = std::iter::once(&self.default).chain(self.matches.iter().map(|of| &of.transport));
        all.filter_map(UpstreamTransport::tls)
    }

    /// Filter state goes along with connections.
    pub fn shares_state(&self) -> bool {
        self.default.shares_state() || self.matches.iter().any(|of| of.transport.shares_state())
    }

    /// Hosts are told who the client is: its connections are its own.
    pub fn tells_client(&self) -> bool {
        self.default.tells_client() || self.matches.iter().any(|of| of.transport.tells_client())
    }
}

/// What a request wants of its connection: connections are shared only by those who want the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TransportOptions {
    /// Stands for the context's server name (`auto_sni`).
    pub server_name: Option<String>,
    /// Names of which the server's certificate must have one (`auto_san_validation`).
    pub expected_names: Vec<String>,
    /// The client that hosts are told of (PROXY protocol).
    pub client: Option<ProxiedClient>,
    /// The client's connection that it is for alone (`connection_pool_per_downstream_connection`).
    pub downstream: Option<u64>,
    /// What goes along to a listener of this process.
    pub shared: SharedObjects,
}

/// What a pool wants of its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) options: Option<Rc<TransportOptions>>,
    /// Application protocols that are offered where the context names none.
    pub(crate) protocols: &'static [&'static str],
}

/// An open connection.
pub(crate) struct Opened {
    pub(crate) io: Io,
    /// Our end.
    pub(crate) local: Option<SocketAddr>,
    /// What the handshake came to.
    pub(crate) tls: Option<Rc<TlsFacts>>,
}

impl Opened {
    /// HTTP/2 was agreed on.
    pub(crate) fn agreed_on_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.protocol.as_deref() == Some("h2"))
    }
}

impl ClusterCx {
    /// Opens a connection to a host within `connect_timeout`, the greeting included. `again` is told of every attempt but
    /// the first, which are several where the host has several addresses.
    pub(crate) async fn open(&self, host: &Host, wanted: &Wanted, again: impl FnMut()) -> Result<Opened, Reset> {
        let config = &self.info.config;
        let timeout = config.connect_timeout;
        let begun = Instant::now();
        let mut transport = config.transports.of(host.metadata.as_deref(), host.locality_metadata.as_deref());
        let options = wanted.options.as_deref();
        let mut io = match &*host.address {
            Address::Internal(to) => self.open_internal(to, host, transport, options)?,
            _ => host.connect(&self.info.tcp_options(), timeout, again).await.map_err(|e| connect_failure(&e, &host.address))?,
        };
        let local = io.local_addr();
        if let UpstreamTransport::Internal(internal) = transport {
            transport = &internal.inner;
        }
        if let UpstreamTransport::Proxied(proxied) = transport {
            let client = options.and_then(|options| options.client.as_ref());
            let own = match *host.address {
                Address::Ip(of_host) => local.map(|local| (local, of_host)),
                Address::Pipe(_) | Address::Internal(_) => None,
            };
            write_all(&mut io, &proxied.header(client, own)).await.map_err(|e| connect_failure(&e, &host.address))?;
            transport = &proxied.inner;
        }
        let UpstreamTransport::Tls(tls) = transport else { return Ok(Opened { io, local, tls: None }) };
        let Some(tls) = tls.get() else {
            self.info.count_secret_missing(self.worker.lane);
            let transport_failure = NO_SECRET.into();
            return Err(Reset { transport_failure, ..Reset::new(ResetReason::RemoteConnectionFailure) });
        };
        let options = ClientOptions {
            server_name: options.and_then(|options| options.server_name.as_deref()),
            expected_names: options.map_or(&[], |options| &options.expected_names),
            host_name: &host.hostname,
            protocols: wanted.protocols,
        };
        let Some(stats) = self.tls_stats() else { return Err(Reset::new(ResetReason::LocalConnectionFailure)) };
        let left = timeout.saturating_sub(begun.elapsed());
        let greeted = tokio::time::timeout(left, tls.connect(io, options, stats, &self.worker.bufs)).await;
        match greeted {
            Ok(Ok(connected)) => Ok(Opened { io: connected.io, local, tls: Some(connected.facts) }),
            Ok(Err((HandshakeError::TimedOut, _))) | Err(_) => Err(Reset::new(ResetReason::ConnectionTimeout)),
            Ok(Err((_, text))) => {
                Err(Reset { transport_failure: text.into(), ..Reset::new(ResetReason::RemoteConnectionFailure) })
            }
        }
    }
}

/// Writes what stands in front of everything else.
async fn write_all(io: &mut Io, bytes: &[u8]) -> io::Result<()> {
    let mut out = OutQueue::new(Rc::default());
    out.copy(bytes);
    let mut written = 0;
    poll_fn(|cx| out.poll_flush(cx, io, &mut written)).await
}

/// How health checks come to a host.
pub(crate) struct Dial {
    transport: UpstreamTransport,
    host_name: Arc<str>,
    /// `tls_options.alpn_protocols`.
    protocols: Vec<String>,
    stats: Option<TlsStats>,
    bufs: Rc<BufPool>,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dial({:?})", self.transport)
    }
}

impl Dial {
    /// As connections of the cluster do; `criteria` stand for the host's own metadata
    /// (`transport_socket_match_criteria`).
    pub(crate) fn new(info: &ClusterInfo, host: &Host, protocols: &[String], criteria: Option<&Metadata>) -> Dial {
        let transport = match criteria {
            Some(criteria) => info.config.transports.of(Some(criteria), None),
            None => info.config.transports.of(host.metadata.as_deref(), host.locality_metadata.as_deref()),
        };
        let store = info.store().filter(|_| !matches!(transport, UpstreamTransport::Plain));
        Dial {
            transport: transport.clone(),
            host_name: host.hostname.clone(),
            protocols: protocols.to_vec(),
            stats: store.map(|store| TlsStats::new(&store, info.stats.prefix(), nuncio_stats::Lane::MAIN)),
            bufs: Rc::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn plain() -> Dial {
        let transport = UpstreamTransport::Plain;
        Dial { transport, host_name: Arc::default(), protocols: Vec::new(), stats: None, bufs: Rc::default() }
    }

    /// Secures a connection that was just opened.
    pub(crate) async fn secure(&self, mut io: Io) -> io::Result<Io> {
        let mut transport = &self.transport;
        if let UpstreamTransport::Internal(internal) = transport {
            transport = &internal.inner;
        }
        if let UpstreamTransport::Proxied(proxied) = transport {
            write_all(&mut io, &proxied.header(None, None)).await?;
            transport = &proxied.inner;
        }
        let (UpstreamTransport::Tls(tls), Some(stats)) = (transport, &self.stats) else { return Ok(io) };
        let Some(tls) = tls.get() else { return Err(io::Error::new(io::ErrorKind::ConnectionAborted, NO_SECRET)) };
        let protocols: Vec<&str> = self.protocols.iter().map(String::as_str).collect();
        let options = ClientOptions { host_name: &self.host_name, protocols: &protocols, ..ClientOptions::default() };
        match tls.connect(io, options, stats, &self.bufs).await {
            Ok(connected) => Ok(connected.io),
            Err((_, text)) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_a_host_fits_is_taken() {
        let text = |text: &str| MetadataValue::Text(text.into());
        let of = |name: &str, criteria: &[(&str, &str)]| TransportMatch {
            name: name.into(),
            criteria: criteria.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect(),
            transport: UpstreamTransport::Plain,
        };
        let transports = Transports { matches: vec![of("a", &[("tls", "yes"), ("x", "1")]), of("b", &[("tls", "yes")])], ..Transports::default() };
        let named = |own: &[(&str, &str)]| {
            let own = own.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect();
            let metadata = Metadata::from([(MATCH_NAMESPACE.to_owned(), MetadataValue::Struct(own))]);
            transports.index_of(Some(&metadata), None)
        };
        assert_eq!(named(&[("tls", "yes"), ("x", "1")]), Some(0));
        assert_eq!(named(&[("tls", "yes"), ("x", "2")]), Some(1));
        assert_eq!(named(&[("tls", "no")]), None);
        assert_eq!(transports.index_of(None, None), None);
    }
}
