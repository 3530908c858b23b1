//! A listener's configuration, ready to run: plain values and built filters, no protobuf.
//!
//! A value here never changes once made. Reloading makes new ones and compares: what is equal keeps running. Filters
//! cannot be compared, so whoever builds a filter chain says by its [`Digest`] what it was built from.

use crate::datagrams::Datagrams;
use crate::disabled::{ConnectionMatch, Disabled};
use nuncio_rt::SocketOption;
use crate::{address::ListenAddress, proxy_protocol::ProxyProtocolRules, matching::ChainMatch, tls::{Live, TlsConfig}};
use nuncio_core::matching::tree::MatchTree;
use nuncio_core::metadata::Metadata;
use nuncio_core::{AccessLogger, NetworkFilter, Terminal};
use std::{
    hash::{DefaultHasher, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// A fingerprint of the configuration that something was built from: equal digests mean "the same, leave it running".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(u64, u64);

impl Digest {
    /// Of these bytes, typically the encoded messages. What may be swapped without touching connections (an inline
    /// route configuration) can be left out of them.
    pub fn of(bytes: &[u8]) -> Digest {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(salt);
            hasher.write(bytes);
            hasher.finish()
        };
        Digest(half(0), half(1))
    }

    /// In the form of a UUID: a name for what has none, the same as long as what it was made of is the same.
    pub fn uuid(&self) -> String {
        let Digest(high, low) = *self;
        let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xffff);
        format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
    }

    /// One that equals no other: for filters built by hand.
    pub fn unique() -> Digest {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Digest(NEXT.fetch_add(1, Relaxed), 0)
    }
}

/// `traffic_direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficDirection {
    /// Not said.
    #[default]
    Unspecified,
    /// Towards the local service.
    Inbound,
    /// From the local service.
    Outbound,
}

/// `drain_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DrainType {
    /// Drain on removal, change, `/healthcheck/fail` and shutdown.
    #[default]
    Default,
    /// Drain on removal and change only.
    ModifyOnly,
}

/// `tcp_keepalive`; `None` leaves the system's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keepalive {
    /// `keepalive_probes`.
    pub probes: Option<u32>,
    /// `keepalive_time`.
    pub time: Option<Duration>,
    /// `keepalive_interval`.
    pub interval: Option<Duration>,
}

/// How the listening sockets are made. A change of any of these needs new sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// `enable_reuse_port`: a socket of its own for each worker; otherwise all share one.
    pub reuse_port: bool,
    /// `bind_to_port`: false for listeners that only receive redirected connections.
    pub bind_to_port: bool,
    /// `tcp_backlog_size`; `None` takes the system's `somaxconn`.
    pub backlog: Option<u32>,
    /// `transparent` (`IP_TRANSPARENT`).
    pub transparent: bool,
    /// `freebind` (`IP_FREEBIND`).
    pub freebind: bool,
    /// `tcp_keepalive`.
    pub keepalive: Option<Keepalive>,
    /// `socket_options`.
    pub options: Vec<SocketOption>,
    /// They are for datagrams.
    pub datagrams: bool,
}

impl Default for SocketConfig {
    fn default() -> Self {
        SocketConfig {
            reuse_port: true,
            bind_to_port: true,
            backlog: None,
            transparent: false,
            freebind: false,
            keepalive: None,
            options: Vec::new(),
            datagrams: false,
        }
    }
}

/// The transport socket of a filter chain.
#[derive(Debug, Clone, Default)]
pub enum Transport {
    /// `raw_buffer`.
    #[default]
    Plain,
    /// `DownstreamTlsContext`.
    Tls(Arc<Live<TlsConfig>>),
}

/// One filter chain.
#[derive(Debug, Clone)]
pub struct FilterChainConfig {
    /// `name`; may be empty.
    pub name: Arc<str>,
    /// `metadata`
    pub metadata: Option<Arc<Metadata>>,
    /// `filter_chain_match`.
    pub matches: ChainMatch,
    /// `transport_socket`.
    pub transport: Transport,
    /// `transport_socket_connect_timeout`: the longest a TLS handshake may take.
    pub transport_timeout: Option<Duration>,
    /// The network filters before that, in order.
    pub filters: Arc<[Arc<dyn NetworkFilter>]>,
    /// The network filter that ends the chain.
    pub terminal: Arc<dyn Terminal>,
    /// What transport and filters were built from.
    pub digest: Digest,
}

impl FilterChainConfig {
    /// A chain that takes every connection, in plain text.
    pub fn plain(terminal: Arc<dyn Terminal>) -> FilterChainConfig {
        FilterChainConfig {
            name: Arc::from(""),
            metadata: None,
            matches: ChainMatch::default(),
            transport: Transport::Plain,
            transport_timeout: None,
            filters: Arc::new([]),
            terminal,
            digest: Digest::unique(),
        }
    }

    /// True if connections of `other` may go on under `self`.
    pub fn same(&self, other: &FilterChainConfig) -> bool {
        self.digest == other.digest
            && self.name == other.name
            && self.matches == other.matches
            && self.transport_timeout == other.transport_timeout
    }
}

/// `filter_chain_matcher`.
#[derive(Debug)]
pub struct ChainMatcher {
    /// Leads to the name of a chain.
    pub tree: MatchTree<Arc<str>>,
    /// What it was built from.
    pub digest: Digest,
}

/// Which listener filters look at the first bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspectors {
    /// `tls_inspector`: is it TLS, and what does the greeting ask for.
    pub tls: bool,
    /// `http_inspector`: which HTTP is it, where it is not TLS.
    pub http: bool,
    /// How `tls_inspector` looks.
    pub options: TlsLook,
    /// `max_client_hello_size`: a TLS greeting of more bytes is refused.
    pub greeting_bytes_max: usize,
}

/// How `tls_inspector` looks at greetings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsLook {
    /// `enable_ja3_fingerprinting`.
    pub ja3: bool,
    /// `enable_ja4_fingerprinting`.
    pub ja4: bool,
    /// `close_connection_on_client_hello_parsing_errors`: what is no greeting ends the connection.
    pub required: bool,
}

/// `max_client_hello_size` when not set.
pub const GREETING_BYTES_MAX: usize = 16 * 1024;

impl Default for Inspectors {
    fn default() -> Inspectors {
        Inspectors { tls: false, http: false, options: TlsLook::default(), greeting_bytes_max: GREETING_BYTES_MAX }
    }
}

impl Inspectors {
    /// True if any looks.
    pub fn any(self) -> bool {
        self.tls || self.http
    }
}

/// A listener filter that looks at no bytes.
#[derive(Debug, Clone)]
pub struct AcceptFilter {
    /// What it does.
    pub filter: Arc<dyn NetworkFilter>,
    /// `filter_disabled`
    pub disabled: Option<ConnectionMatch>,
    /// It stands behind filters that look at bytes, and may ask for what they have found.
    pub late: bool,
}

/// A listener.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// `name`: what a reload knows the listener by. Give nameless ones a stable name of their own.
    pub name: Arc<str>,
    /// `metadata`
    pub metadata: Option<Arc<Metadata>>,
    /// `address` and `additional_addresses`; at least one.
    pub addresses: Vec<ListenAddress>,
    /// `stat_prefix`; empty for the first address.
    pub stat_prefix: String,
    /// `filter_chains`.
    pub filter_chains: Vec<Arc<FilterChainConfig>>,
    /// `default_filter_chain`.
    pub default_filter_chain: Option<Arc<FilterChainConfig>>,
    /// `filter_chain_matcher`: leads to the name of a chain, in the place of the chains' own conditions.
    pub chain_matcher: Option<Arc<ChainMatcher>>,
    /// How its sockets are made.
    pub socket: SocketConfig,
    /// `per_connection_buffer_limit_bytes`.
    pub buffer_limit_bytes: u32,
    /// `listener_filters`, those that look at the first bytes.
    pub inspectors: Inspectors,
    /// `listener_filters`: the PROXY protocol, read before all else.
    pub proxy_protocol: Option<ProxyProtocolRules>,
    /// `listener_filters_timeout`; `None` waits for ever.
    pub listener_filters_timeout: Option<Duration>,
    /// `continue_on_listener_filters_timeout`.
    pub continue_on_listener_filters_timeout: bool,
    /// `max_connections_to_accept_per_socket_event`; `None` for as many as there are.
    pub accept_per_event: Option<u32>,
    /// Most connections open at a time, over all workers (`envoy.resource_limits.listener.<name>.connection_limit`).
    pub connection_limit: Option<u64>,
    /// `ignore_global_conn_limit`.
    pub ignore_global_limit: bool,
    /// `listener_filters`: the address that a client wanted is asked of the system.
    pub original_dst: bool,
    /// `use_original_dst`: the listener on the address that the client wanted takes the connection, if there is one.
    pub use_original_dst: bool,
    /// `listener_filters`, those that only let connections in or not, or leave something for others.
    pub accept_filters: Arc<[AcceptFilter]>,
    /// `filter_disabled` of the others.
    pub disabled: Disabled,
    /// `connection_balance_config.exact_balance`: every worker has as many connections as the others.
    pub exact_balance: bool,
    /// `traffic_direction`.
    pub traffic_direction: TrafficDirection,
    /// `drain_type`.
    pub drain_type: DrainType,
    /// `internal_listener`: bytes that may wait in each direction of a connection. It has no sockets then.
    pub internal_buffer_bytes: Option<usize>,
    /// `listener_filters`: who takes datagrams, where the listener is for these. It has no filter chains then.
    pub datagrams: Option<Arc<dyn Datagrams>>,
    /// `access_log`: of connections, not of requests.
    pub access_logs: Vec<Arc<dyn AccessLogger>>,
    /// What the fields that cannot be compared (access logs, filters) were built from.
    pub digest: Digest,
}

/// `per_connection_buffer_limit_bytes` when not set.
pub const BUFFER_LIMIT_BYTES: u32 = 1024 * 1024;

/// `listener_filters_timeout` when not set.
pub const LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);

impl ListenerConfig {
    /// A listener with Envoy's defaults and no filter chain yet.
    pub fn new(name: &str, address: ListenAddress) -> ListenerConfig {
        ListenerConfig {
            name: name.into(),
            metadata: None,
            addresses: vec![address],
            stat_prefix: String::new(),
            filter_chains: Vec::new(),
            default_filter_chain: None,
            chain_matcher: None,
            socket: SocketConfig::default(),
            buffer_limit_bytes: BUFFER_LIMIT_BYTES,
            inspectors: Inspectors::default(),
            proxy_protocol: None,
            listener_filters_timeout: Some(LISTENER_FILTERS_TIMEOUT),
            continue_on_listener_filters_timeout: false,
            accept_per_event: None,
            connection_limit: None,
            ignore_global_limit: false,
            original_dst: false,
            use_original_dst: false,
            accept_filters: Arc::new([]),
            disabled: Disabled::default(),
            exact_balance: false,
            traffic_direction: TrafficDirection::Unspecified,
            drain_type: DrainType::Default,
            internal_buffer_bytes: None,
            datagrams: None,
            access_logs: Vec::new(),
            digest: Digest::of(&[]),
        }
    }

    /// Every chain, the default one last.
    pub fn chains(&self) -> impl Iterator<Item = &Arc<FilterChainConfig>> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }

    /// The TLS contexts of its chains.
    pub fn tls_contexts(&self) -> impl Iterator<Item = &Arc<Live<TlsConfig>>> {
        self.chains().filter_map(|chain| match &chain.transport {
            Transport::Tls(context) => Some(context),
            Transport::Plain => None,
        })
    }

    /// What stands before the names of its statistics: `listener.0.0.0.0_10000.`.
    pub fn stat_scope(&self) -> String {
        let name = match (self.stat_prefix.as_str(), self.addresses.first()) {
            ("", Some(ListenAddress::Internal(name))) => format!("envoy_internal_{name}"),
            ("", Some(address)) => address.to_string(),
            (prefix, _) => prefix.to_owned(),
        };
        format!("listener.{}.", crate::address::stat_name(&name))
    }

    /// True if the sockets of `self` serve `other` too.
    pub fn same_sockets(&self, other: &ListenerConfig) -> bool {
        self.addresses == other.addresses
            && self.socket == other.socket
            && self.exact_balance == other.exact_balance
            && self.stat_scope() == other.stat_scope()
            // Whoever takes datagrams has the socket to himself.
            && (!self.socket.datagrams || self.digest == other.digest)
    }

    /// True if they differ in nothing but filter chains: then connections of unchanged chains go on undisturbed.
    pub fn same_but_for_chains(&self, other: &ListenerConfig) -> bool {
        self.same_sockets(other)
            && self.buffer_limit_bytes == other.buffer_limit_bytes
            && self.inspectors == other.inspectors
            && self.proxy_protocol == other.proxy_protocol
            && self.disabled == other.disabled
            && self.listener_filters_timeout == other.listener_filters_timeout
            && self.continue_on_listener_filters_timeout == other.continue_on_listener_filters_timeout
            && self.internal_buffer_bytes == other.internal_buffer_bytes
            && self.accept_per_event == other.accept_per_event
            && self.connection_limit == other.connection_limit
            && self.ignore_global_limit == other.ignore_global_limit
            && self.original_dst == other.original_dst
            && self.use_original_dst == other.use_original_dst
            && self.traffic_direction == other.traffic_direction
            && self.drain_type == other.drain_type
            && self.chain_matcher.as_ref().map(|m| m.digest) == other.chain_matcher.as_ref().map(|m| m.digest)
            && self.digest == other.digest
    }

    /// True if nothing differs.
    pub fn same(&self, other: &ListenerConfig) -> bool {
        self.same_but_for_chains(other)
            && self.default_filter_chain.is_some() == other.default_filter_chain.is_some()
            && self.filter_chains.len() == other.filter_chains.len()
            && self.chains().zip(other.chains()).all(|(a, b)| a.same(b))
    }
}
