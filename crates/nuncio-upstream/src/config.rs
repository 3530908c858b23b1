//! What a cluster is configured to be: plain values, built from the proto by `nuncio-config`.
//!
//! Nothing here acts. Two configurations that are equal make no difference to a running cluster, which is how a
//! reload finds out what to leave alone. Field names follow `envoy.config.cluster.v3.Cluster`; defaults are Envoy's.

mod balancing;

pub use balancing::{
    Attached, CommonLbConfig, HashFunction, HashLb, HashTableConfig, HealthStatuses, LbConfig, Local, RingHashConfig, SelectorFallback, SlowStart,
    SubsetConfig, SubsetFallback, SubsetSelector, ZoneAware,
};

use crate::health::HealthCheckConfig;
use crate::orca::OrcaConfig;
use crate::outlier::OutlierConfig;
use crate::transport::Transports;
use nuncio_core::metadata::Metadata;
use nuncio_codec::http1::{NameCase, Strictness, UnderscoreAction};
use nuncio_core::Protocol;
use nuncio_rt::{Address, TcpOptions};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// One cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// `name`.
    pub name: Arc<str>,
    /// `alt_stat_name`: stands for the name in stats and `%UPSTREAM_CLUSTER%`.
    pub alt_stat_name: Option<Arc<str>>,
    /// `type`: how endpoints are found.
    pub discovery: Discovery,
    /// `load_assignment`.
    pub assignment: Arc<Assignment>,
    /// `lb_policy` and the policy's own options.
    pub lb: LbConfig,
    /// Hosts' weights are what they report: `ClientSideWeightedRoundRobin`.
    pub orca: Option<Arc<OrcaConfig>>,
    /// `common_lb_config`.
    pub common_lb: CommonLbConfig,
    /// `lb_subset_config`.
    pub subsets: Option<Arc<SubsetConfig>>,
    /// How requests are hashed whatever their route says: `hash_policy` of the policy or of `HttpProtocolOptions`.
    pub hash_policy: Option<Attached>,
    /// What `HttpProtocolOptions` says about requests, for who routes them: retries, mirrors, what a failure is.
    pub http_policies: Option<Attached>,
    /// What protocols other than HTTP say of it, for those who speak them: options of the Redis proxy.
    pub redis: Option<Attached>,
    /// What names hosts to take before any other (`OverrideHost`).
    pub named_by: Vec<NamedBy>,
    /// `selected_host_key`: where in an exchange's metadata the chosen host's address is written.
    pub selected_key: Option<Arc<MetadataPath>>,
    /// `connect_timeout`.
    pub connect_timeout: Duration,
    /// `per_connection_buffer_limit_bytes`, soft.
    pub per_connection_buffer_limit_bytes: u32,
    /// `circuit_breakers`.
    pub circuit_breakers: Arc<CircuitBreakers>,
    /// `health_checks`.
    pub health_checks: Vec<HealthCheckConfig>,
    /// `outlier_detection`.
    pub outlier: Option<Arc<OutlierConfig>>,
    /// `common_http_protocol_options` and the HTTP/1 options, of the cluster or of `HttpProtocolOptions`.
    pub http: Arc<HttpOptions>,
    /// `upstream_bind_config`, `upstream_connection_options.tcp_keepalive`.
    pub socket: Arc<TcpOptions>,
    /// `preconnect_policy`.
    pub preconnect: Preconnect,
    /// `transport_socket`, `transport_socket_matches`.
    pub transports: Arc<Transports>,
    /// Its transport sockets tell hosts who the client is.
    pub tells_client: bool,
    /// Its transport sockets share filter state with listeners of this process.
    pub shares_state: bool,
    /// `metadata`.
    pub metadata: Option<Arc<Metadata>>,
    /// `connection_pool_per_downstream_connection`.
    pub pool_per_downstream: bool,
    /// `track_cluster_stats`.
    pub track: TrackClusterStats,
    /// `close_connections_on_host_health_failure`.
    pub close_connections_on_host_health_failure: bool,
    /// `ignore_health_on_host_removal`.
    pub ignore_health_on_host_removal: bool,
    /// `wait_for_warm_on_init`: whether start-up waits for this cluster.
    pub wait_for_warm_on_init: bool,
    /// True if it came over xDS rather than from the bootstrap.
    pub added_via_api: bool,
}

/// `PreconnectPolicy`: how many connections a request is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Preconnect {
    /// `per_upstream_preconnect_ratio`: at its own host; 1 for none in advance.
    pub per_upstream: f64,
    /// `predictive_preconnect_ratio`: at the hosts that are likely next; 1 for none in advance.
    pub predictive: f64,
    /// `preconnect_enabled_metadata`, a [`MetadataMatcher`]: only hosts whose metadata agree are connected to in advance.
    ///
    /// [`MetadataMatcher`]: nuncio_core::matching::MetadataMatcher
    pub only: Option<Attached>,
}

impl Default for Preconnect {
    fn default() -> Self {
        Preconnect { per_upstream: 1.0, predictive: 1.0, only: None }
    }
}

/// `TrackClusterStats`: what is counted only where somebody asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackClusterStats {
    /// `timeout_budgets`.
    pub timeout_budgets: bool,
    /// `request_response_sizes`.
    pub sizes: bool,
    /// `per_endpoint_stats`: what hosts count is among the statistics.
    pub per_endpoint: bool,
}

/// A place in metadata: the namespace, and keys from the outside in.
pub type MetadataPath = (Box<str>, Box<[Box<str>]>);

/// Where a request names hosts.
#[derive(Debug, Clone, PartialEq)]
pub enum NamedBy {
    /// A request header.
    Header(String),
    /// A text in the exchange's metadata.
    Metadata {
        /// Namespace.
        namespace: Box<str>,
        /// Keys from the outside in.
        path: Box<[Box<str>]>,
    },
}

impl ClusterConfig {
    /// A cluster with Envoy's defaults and no endpoints.
    pub fn named(name: &str) -> ClusterConfig {
        ClusterConfig {
            name: name.into(),
            alt_stat_name: None,
            discovery: Discovery::Static,
            assignment: Arc::default(),
            lb: LbConfig::ROUND_ROBIN,
            orca: None,
            common_lb: CommonLbConfig::default(),
            subsets: None,
            hash_policy: None,
            http_policies: None,
            redis: None,
            named_by: Vec::new(),
            selected_key: None,
            connect_timeout: Duration::from_secs(5),
            per_connection_buffer_limit_bytes: 1024 * 1024,
            circuit_breakers: Arc::default(),
            health_checks: Vec::new(),
            outlier: None,
            http: Arc::default(),
            socket: Arc::default(),
            preconnect: Preconnect::default(),
            transports: Arc::default(),
            tells_client: false,
            shares_state: false,
            metadata: None,
            pool_per_downstream: false,
            track: TrackClusterStats::default(),
            close_connections_on_host_health_failure: false,
            ignore_health_on_host_removal: false,
            wait_for_warm_on_init: true,
            added_via_api: false,
        }
    }

    /// The name that stats and people see.
    pub fn display_name(&self) -> &Arc<str> {
        self.alt_stat_name.as_ref().unwrap_or(&self.name)
    }
}

/// How a cluster's endpoints become addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// `STATIC`: endpoints are addresses.
    Static,
    /// `STRICT_DNS`: every address of every name is a host.
    StrictDns(DnsConfig),
    /// `LOGICAL_DNS`: one host, at the first address of the name whenever a connection is made.
    LogicalDns(DnsConfig),
    /// `EDS` from a file.
    Eds(Box<EdsConfig>),
    /// `envoy.clusters.aggregate`: the priorities of other clusters in a row.
    Aggregate(Arc<[Arc<str>]>),
    /// `envoy.clusters.composite`: each attempt goes to the next of other clusters.
    Composite(Arc<[Arc<str>]>),
    /// `envoy.clusters.dynamic_forward_proxy`: hosts are the names that requests ask for.
    Dynamic(Box<DynamicConfig>),
    /// `ORIGINAL_DST`: hosts are where requests want to go.
    OriginalDst(Box<OriginalDstConfig>),
}

impl Discovery {
    /// Whether the configuration, or what stands for it, lists endpoints.
    pub fn has_endpoints(&self) -> bool {
        match self {
            Discovery::Static | Discovery::Eds(_) | Discovery::StrictDns(_) | Discovery::LogicalDns(_) => true,
            Discovery::Aggregate(_) | Discovery::Composite(_) | Discovery::OriginalDst(_) | Discovery::Dynamic(_) => false,
        }
    }
}

/// `OriginalDstLbConfig`, and what else concerns hosts made on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalDstConfig {
    /// `http_header_name`, in lower case, where `use_http_header` is set.
    pub header: Option<String>,
    /// `metadata_key`.
    pub metadata: Option<(Box<str>, Box<[Box<str>]>)>,
    /// `upstream_port_override`.
    pub port: Option<u16>,
    /// `cleanup_interval`: hosts not used for that long go.
    pub cleanup_interval: Duration,
}

/// `eds_cluster_config` with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdsConfig {
    /// `service_name`, else the cluster's name: what the assignment must be for.
    pub service_name: Arc<str>,
    /// `path_config_source.path`
    pub path: PathBuf,
    /// `poll_interval`: how often the file is looked at.
    pub poll_interval: Duration,
}

/// `dynamic_forward_proxy.v3.ClusterConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicConfig {
    /// `dns_cache_config`.
    pub cache: DnsCacheConfig,
    /// The port of names that have none: 443 where hosts are spoken to over TLS, else 80.
    pub default_port: u16,
    /// `allow_insecure_cluster_options`
    pub insecure: bool,
}

/// `DnsCacheConfig`: names that requests ask for, and how they are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCacheConfig {
    /// `name`: clusters share a cache by it.
    pub name: Arc<str>,
    /// `dns_lookup_family`, `dns_refresh_rate` and what else says how.
    pub dns: DnsConfig,
    /// `host_ttl`: a name that nobody asks for goes after this time.
    pub host_ttl: Duration,
    /// `max_hosts`.
    pub max_hosts: u32,
    /// `disable_dns_refresh_on_failure`: a name that leads nowhere is forgotten at once.
    pub disable_refresh_on_failure: bool,
    /// `dns_cache_circuit_breaker.max_pending_requests`.
    pub max_pending_requests: u32,
    /// `preresolve_hostnames`, with their ports.
    pub preresolve: Vec<String>,
    /// `dns_query_timeout`; zero for none.
    pub query_timeout: Duration,
}

impl OriginalDstConfig {
    /// The host's address, where a request wants to go to this one.
    pub fn over(&self, mut address: SocketAddr) -> Address {
        if let Some(port) = self.port {
            address.set_port(port);
        }
        Address::Ip(address)
    }
}

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// `dns_refresh_rate`.
    pub refresh_rate: Duration,
    /// `dns_failure_refresh_rate`, `(base, max)`; the refresh rate for both when absent.
    pub failure_refresh_rate: Option<(Duration, Duration)>,
    /// `dns_min_refresh_rate`: the shortest time to live that is honoured.
    pub min_refresh_rate: Duration,
    /// `respect_dns_ttl`.
    pub respect_ttl: bool,
    /// `dns_jitter`: up to this much is added to each refresh.
    pub jitter: Duration,
    /// `dns_lookup_family`.
    pub lookup_family: LookupFamily,
    /// Who is asked.
    pub resolver: ResolverConfig,
}

impl Default for DnsConfig {
    fn default() -> Self {
        DnsConfig {
            refresh_rate: Duration::from_secs(5),
            failure_refresh_rate: None,
            min_refresh_rate: Duration::from_secs(1),
            respect_ttl: false,
            jitter: Duration::ZERO,
            lookup_family: LookupFamily::Auto,
            resolver: ResolverConfig::default(),
        }
    }
}

/// Which DNS servers are asked, and how (`typed_dns_resolver_config`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ResolverConfig {
    /// Servers; those of `/etc/resolv.conf` when empty.
    pub servers: Vec<SocketAddr>,
    /// `use_tcp_for_dns_lookups`.
    pub use_tcp: bool,
    /// `no_default_search_domain`.
    pub no_default_search_domain: bool,
    /// `use_resolvers_as_fallback`: the servers are asked only where `/etc/resolv.conf` names none.
    pub servers_are_fallback: bool,
    /// `filter_unroutable_families`: no addresses of an IP version that this machine has no way to.
    pub routable_only: bool,
    /// `query_timeout_seconds`: how long one server is waited for; as `/etc/resolv.conf` says if it is not said.
    pub query_timeout: Option<Duration>,
    /// `query_tries`: how often every server is asked; likewise.
    pub query_tries: Option<u32>,
    /// `rotate_nameservers`: every question begins with the next server.
    pub rotate: bool,
}

/// `DnsLookupFamily`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LookupFamily {
    /// IPv6 if there is any, else IPv4.
    #[default]
    Auto,
    /// IPv4.
    V4Only,
    /// IPv6.
    V6Only,
    /// IPv4 if there is any, else IPv6.
    V4Preferred,
    /// Both.
    All,
}

/// `ClusterLoadAssignment`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Groups of endpoints, in order.
    pub localities: Vec<LocalityEndpoints>,
    /// `policy.overprovisioning_factor`, percent.
    pub overprovisioning_factor: u32,
    /// `policy.weighted_priority_health`.
    pub weighted_priority_health: bool,
    /// `policy.drop_overloads`: how many of a million requests are dropped.
    pub drop_overload: u32,
}

impl Default for Assignment {
    fn default() -> Self {
        Assignment { localities: Vec::new(), overprovisioning_factor: 140, weighted_priority_health: false, drop_overload: 0 }
    }
}

/// `LocalityLbEndpoints`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalityEndpoints {
    /// `locality`.
    pub locality: Arc<Locality>,
    /// `priority`, 0 is served first.
    pub priority: u32,
    /// `metadata` of the locality.
    pub metadata: Option<Arc<Metadata>>,
    /// `load_balancing_weight` of the locality.
    pub weight: Option<u32>,
    /// `lb_endpoints`.
    pub endpoints: Vec<Endpoint>,
}

/// Where a host stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Locality {
    /// `region`.
    pub region: String,
    /// `zone`.
    pub zone: String,
    /// `sub_zone`.
    pub sub_zone: String,
}

/// `LbEndpoint`.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// `endpoint.address`.
    pub address: EndpointAddress,
    /// `endpoint.hostname`; the name looked up where that is absent and there is one.
    pub hostname: Arc<str>,
    /// `load_balancing_weight`, at least 1.
    pub weight: u32,
    /// `health_status`.
    pub health: EndpointHealth,
    /// `metadata`.
    pub metadata: Option<Arc<Metadata>>,
    /// `endpoint.observability_name`.
    pub observability_name: Option<Arc<str>>,
    /// `endpoint.health_check_config`.
    pub health_check: Arc<EndpointHealthCheck>,
    /// Where there are `additional_addresses`: all of them, and its own, in the order in which they are tried.
    pub attempts: Arc<[Address]>,
}

impl Endpoint {
    /// An endpoint with Envoy's defaults.
    pub fn at(address: EndpointAddress) -> Endpoint {
        Endpoint {
            address,
            hostname: Arc::default(),
            weight: 1,
            health: EndpointHealth::Unknown,
            metadata: None,
            observability_name: None,
            health_check: EndpointHealthCheck::none(),
            attempts: Arc::default(),
        }
    }
}

/// An address, or a name that becomes one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAddress {
    /// Ready to connect to.
    Resolved(Address),
    /// The servers of a service, looked up as `_http._tcp.example.com` (written `srv://_http._tcp.example.com`).
    Service(Arc<str>),
    /// To be looked up, unless the name is an IP address.
    Name {
        /// Host name or IP literal.
        host: String,
        /// Port.
        port: u16,
    },
}

/// `HealthStatus` as the configuration or EDS says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndpointHealth {
    /// Not said: healthy unless checks disagree.
    #[default]
    Unknown,
    /// `HEALTHY`.
    Healthy,
    /// `UNHEALTHY`.
    Unhealthy,
    /// `TIMEOUT`: unhealthy, too.
    Timeout,
    /// `DRAINING`.
    Draining,
    /// `DEGRADED`.
    Degraded,
}

/// How one endpoint is health checked differently from its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointHealthCheck {
    /// `port_value`, 0 for the endpoint's own.
    pub port: u16,
    /// `address`: check there instead.
    pub address: Option<Address>,
    /// `hostname`: sent as host.
    pub hostname: Option<Arc<str>>,
    /// `disable_active_health_check`.
    pub disable_active: bool,
}

impl EndpointHealthCheck {
    /// As its cluster: one value for all endpoints.
    pub fn none() -> Arc<EndpointHealthCheck> {
        static NONE: LazyLock<Arc<EndpointHealthCheck>> = LazyLock::new(Arc::default);
        NONE.clone()
    }
}

/// `CircuitBreakers`, one set of limits per routing priority.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CircuitBreakers {
    /// For `DEFAULT`.
    pub default: Thresholds,
    /// For `HIGH`.
    pub high: Thresholds,
    /// `per_host_thresholds[].max_connections` for `DEFAULT`.
    pub per_host_max_connections: Option<u32>,
}

/// `CircuitBreakers.Thresholds`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// `max_connections`.
    pub max_connections: u32,
    /// `max_pending_requests`.
    pub max_pending_requests: u32,
    /// `max_requests`.
    pub max_requests: u32,
    /// `max_retries`.
    pub max_retries: u32,
    /// `max_connection_pools`, over all hosts and workers.
    pub max_connection_pools: u64,
    /// `retry_budget`: replaces `max_retries`.
    pub retry_budget: Option<RetryBudget>,
    /// `track_remaining`: publishes the `remaining_*` gauges.
    pub track_remaining: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            max_connection_pools: u64::MAX,
            retry_budget: None,
            track_remaining: false,
        }
    }
}

/// `CircuitBreakers.Thresholds.RetryBudget`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    /// `budget_percent` of active and pending requests.
    pub percent: f64,
    /// `min_retry_concurrency`.
    pub min_retry_concurrency: u32,
    /// `budget_interval`: the requests of this last time count, if they are more. Zero: those in flight only.
    pub interval: Duration,
}

impl Default for RetryBudget {
    fn default() -> Self {
        RetryBudget { percent: 20.0, min_retry_concurrency: 3, interval: Duration::ZERO }
    }
}

/// HTTP options of upstream connections.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpOptions {
    /// `idle_timeout` of pooled connections; `None` when disabled (0 s).
    pub idle_timeout: Option<Duration>,
    /// `max_connection_duration`.
    pub max_connection_duration: Option<Duration>,
    /// `max_connection_duration_jitter`: how much longer a connection may be kept, at most, in percent.
    pub max_connection_duration_jitter: f64,
    /// `max_stream_duration`, longer than zero.
    pub max_stream_duration: Option<Duration>,
    /// `max_requests_per_connection`; `None` for no limit.
    pub max_requests_per_connection: Option<u32>,
    /// `max_response_headers_kb`; without it 80 on HTTP/1 and 60 on HTTP/2.
    pub max_response_headers_kb: Option<u32>,
    /// `max_headers_count`.
    pub max_headers_count: u32,
    /// `http_protocol_options.header_key_format`.
    pub header_case: NameCase,
    /// `http_protocol_options.send_fully_qualified_url`.
    pub send_fully_qualified_url: bool,
    /// `http_protocol_options.enable_trailers`.
    pub enable_trailers: bool,
    /// `http_protocol_options.allow_chunked_length`.
    pub allow_chunked_length: bool,
    /// `headers_with_underscores_action`.
    pub headers_with_underscores_action: UnderscoreAction,
    /// Whether Envoy's leniencies on the wire are wanted.
    pub strictness: Strictness,
    /// What hosts are spoken to in.
    pub protocol: UpstreamProtocol,
    /// `http2_protocol_options`; limits on heads are taken from the fields above.
    pub http2: nuncio_codec::http2::Options,
    /// `http2_protocol_options.connection_keepalive`.
    pub keepalive: Option<nuncio_core::Keepalive>,
    /// `upstream_http_protocol_options.auto_sni`: the server name is the request's host.
    pub auto_sni: bool,
    /// `upstream_http_protocol_options.auto_san_validation`: the certificate must be for the request's host.
    pub auto_san_validation: bool,
    /// `upstream_http_protocol_options.override_auto_sni_header`: the header to take the host from, where it is there.
    pub override_auto_sni_header: Option<nuncio_codec::headers::HeaderName>,
}

/// What a cluster's hosts are spoken to in (`HttpProtocolOptions.upstream_protocol_options`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, without asking first.
    Http2,
    /// What the client speaks.
    Downstream,
    /// HTTP/2 where the host agrees to it by ALPN, else HTTP/1.1 (`auto_config`).
    Auto,
}

impl HttpOptions {
    /// Whether a request of a client that speaks `downstream` goes over HTTP/2, as far as that is known before a
    /// connection is made.
    pub fn speaks_http2(&self, downstream: Protocol) -> bool {
        match self.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 | UpstreamProtocol::Auto => true,
            UpstreamProtocol::Downstream => downstream == Protocol::Http2,
        }
    }

    /// Requests want connections of their own kind: server name or names of the certificate come from them.
    #[inline]
    pub fn asks_requests(&self) -> bool {
        self.auto_sni || self.auto_san_validation
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            idle_timeout: Some(Duration::from_secs(3600)),
            max_connection_duration: None,
            max_connection_duration_jitter: 0.0,
            max_stream_duration: None,
            max_requests_per_connection: None,
            max_response_headers_kb: None,
            max_headers_count: 100,
            header_case: NameCase::Lower,
            send_fully_qualified_url: false,
            enable_trailers: false,
            allow_chunked_length: false,
            headers_with_underscores_action: UnderscoreAction::Allow,
            strictness: Strictness::Friendly,
            protocol: UpstreamProtocol::Http1,
            http2: nuncio_codec::http2::Options::default(),
            keepalive: None,
            auto_sni: false,
            auto_san_validation: false,
            override_auto_sni_header: None,
        }
    }
}
