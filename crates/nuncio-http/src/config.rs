//! The HTTP connection manager's configuration, compiled: plain types, no protos.
//!
//! Source: `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.

pub use crate::headers::client_cert::{ClientCertRules, ForwardClientCert};
pub use crate::headers::detection::{Detector, Trusted};
pub use crate::headers::proxy_status::ProxyStatus;
pub use crate::tracing::Tracing;
use crate::stream::Installed;
use nuncio_codec::headers::Known;
use nuncio_codec::path::EscapedSlashes;
use nuncio_core::AccessLogger;
pub use nuncio_core::matching::Cidr;
use nuncio_core::matching::tree::MatchTree;
use std::{sync::Arc, time::Duration};

/// What the connection manager does with the `server` response header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerHeader {
    /// Ours replaces the upstream's.
    #[default]
    Overwrite,
    /// Ours only if the upstream sent none.
    AppendIfAbsent,
    /// The upstream's, if any.
    PassThrough,
}

/// `strip_port_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StripPort {
    /// Keep the port.
    #[default]
    No,
    /// Strip it when it is the listener's.
    Matching,
    /// Strip any.
    Any,
}

/// `codec_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodecType {
    /// Detect by ALPN and the first bytes.
    #[default]
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// Timeouts of connections and streams; `None` is never.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// Connection without a request (`common_http_protocol_options.idle_timeout`, 1 h).
    pub idle: Option<Duration>,
    /// Life of a connection (`max_connection_duration`, off).
    pub max_connection: Option<Duration>,
    /// Up to so many percent are added to that (`max_connection_duration_jitter`).
    pub max_connection_jitter: f64,
    /// A connection of HTTP/1 that has lived so long ends with its next response, and not before
    /// (`http1_safe_max_connection_duration`).
    pub http1_ends_with_response: bool,
    /// Stream without progress (`stream_idle_timeout`, 5 min).
    pub stream_idle: Option<Duration>,
    /// From the end of a response here to when the client's windows have let it through, on HTTP/2
    /// (`stream_flush_timeout`); zero for none, `None` for the idle timeout's.
    pub stream_flush: Option<Duration>,
    /// From the first byte to the whole request (`request_timeout`, off).
    pub request: Option<Duration>,
    /// From the first byte to the whole head (`request_headers_timeout`, off).
    pub request_headers: Option<Duration>,
    /// Life of a stream (`common_http_protocol_options.max_stream_duration`, off).
    pub max_stream: Option<Duration>,
    /// Between our FIN and the close (`delayed_close_timeout`, 1 s).
    pub delayed_close: Option<Duration>,
    /// Between the drain's announcement and the close (`drain_timeout`, 5 s).
    pub drain: Duration,
    /// Up to so many percent are added to that (`drain_timeout_jitter`).
    pub drain_jitter: f64,
}

impl Timeouts {
    /// How long a connection that begins now may live.
    pub(crate) fn life(&self, rng: &nuncio_rt::Rng) -> Option<Duration> {
        self.max_connection.map(|most| rng.stretched(most, self.max_connection_jitter))
    }

    /// How long a drain that begins now takes.
    pub(crate) fn drain_time(&self, rng: &nuncio_rt::Rng) -> Duration {
        rng.stretched(self.drain, self.drain_jitter)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            idle: Some(Duration::from_secs(3600)),
            max_connection: None,
            max_connection_jitter: 0.0,
            http1_ends_with_response: false,
            stream_idle: Some(Duration::from_secs(300)),
            stream_flush: None,
            request: None,
            request_headers: None,
            max_stream: None,
            delayed_close: Some(Duration::from_secs(1)),
            drain: Duration::from_secs(5),
            drain_jitter: 0.0,
        }
    }
}

/// How the client's address is found and passed on.
#[derive(Debug, Clone, Default)]
pub struct ClientAddress {
    /// `use_remote_address`.
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`.
    pub trusted_hops: u32,
    /// `skip_xff_append`.
    pub skip_xff_append: bool,
    /// `append_x_forwarded_port`.
    pub append_port: bool,
    /// `represent_ipv4_remote_address_as_ipv4_mapped_ipv6`.
    pub ipv4_mapped: bool,
    /// `original_ip_detection_extensions`, asked where `use_remote_address` is off.
    pub detectors: Vec<Detector>,
    /// `internal_address_config.cidr_ranges`; nothing is internal without it.
    pub internal: Vec<Cidr>,
    /// `internal_address_config.unix_sockets`.
    pub internal_unix: bool,
    /// `forward_proto_config.https_destination_ports`.
    pub https_ports: Box<[u16]>,
    /// `forward_proto_config.http_destination_ports`.
    pub http_ports: Box<[u16]>,
}

/// How a request's path and host are cleaned up before anything looks at them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cleaning {
    /// `normalize_path`.
    pub normalize_path: bool,
    /// `merge_slashes`.
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`.
    pub escaped_slashes: EscapedSlashes,
    /// `strip_matching_host_port`, `strip_any_host_port`.
    pub strip_port: StripPort,
    /// `strip_trailing_host_dot`.
    pub strip_trailing_dot: bool,
}

impl Cleaning {
    /// The rules for paths.
    pub fn of_paths(&self) -> nuncio_codec::path::Cleaning {
        nuncio_codec::path::Cleaning {
            normalize: self.normalize_path,
            merge_slashes: self.merge_slashes,
            escaped_slashes: self.escaped_slashes,
        }
    }

    /// What becomes of a host on a listener at `port`; `None` if it stays.
    pub fn clean_host(&self, host: &[u8], port: Option<u16>) -> Option<Vec<u8>> {
        if self.strip_port == StripPort::No && !self.strip_trailing_dot {
            return None;
        }
        let mut host = host.to_vec();
        let port_at = host.iter().rposition(|&b| b == b':').filter(|at| {
            !host[*at..].contains(&b']') && host[at + 1..].iter().all(u8::is_ascii_digit) && host.len() > at + 1
        });
        if let Some(at) = port_at {
            let told = std::str::from_utf8(&host[at + 1..]).ok().and_then(|p| p.parse::<u16>().ok());
            let strip = match self.strip_port {
                StripPort::No => false,
                StripPort::Any => true,
                StripPort::Matching => told.is_some() && told == port,
            };
            if strip {
                host.truncate(at);
            }
        }
        if self.strip_trailing_dot {
            let name_end = host.iter().rposition(|&b| b == b':').unwrap_or(host.len());
            if name_end > 0 && host[name_end - 1] == b'.' {
                host.remove(name_end - 1);
            }
        }
        Some(host)
    }
}

/// `http2_protocol_options`, and what else the HTTP/2 codec is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Http2Options {
    /// What the codec allows.
    pub codec: nuncio_codec::http2::Options,
    /// `connection_keepalive`.
    pub keepalive: Option<nuncio_core::Keepalive>,
}

/// One HTTP connection manager.
#[derive(Debug, Clone)]
pub struct HcmConfig {
    /// `stat_prefix`, without the `http.` before and the dot behind.
    pub stat_prefix: Arc<str>,
    /// `codec_type`.
    pub codec: CodecType,
    /// Where routes come from.
    pub routes: RouteSource,
    /// The filter chain without its router.
    pub filters: Vec<Installed>,
    /// False when the chain has no router: every request is answered 404 then.
    pub has_router: bool,
    /// The router filter's own options.
    pub router: RouterOptions,
    /// `access_log`.
    pub access_logs: Vec<Arc<dyn AccessLogger>>,
    /// `tracing`.
    pub tracing: Option<Arc<Tracing>>,
    /// `access_log_options`: when exchanges are logged besides at their end.
    pub log_options: LogOptions,
    /// `proxy_status_config`.
    pub proxy_status: Option<Arc<ProxyStatus>>,
    /// `local_reply_config`.
    pub local_replies: Option<Arc<crate::LocalReplies>>,
    /// `early_header_mutation_extensions`: made before anything else looks at the headers.
    pub early_header_mutations: Vec<crate::routes::HeaderMutations>,
    /// Client address handling.
    pub client_address: ClientAddress,
    /// Path and host clean-up.
    pub cleaning: Cleaning,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// `server_name`.
    pub server_name: Arc<str>,
    /// `server_header_transformation`.
    pub server_header: ServerHeader,
    /// `via`; empty for none.
    pub via: Arc<str>,
    /// `scheme_header_transformation.scheme_to_overwrite`.
    pub scheme_overwrite: Option<Arc<str>>,
    /// `generate_request_id`.
    pub generate_request_id: bool,
    /// `preserve_external_request_id`.
    pub preserve_external_request_id: bool,
    /// `always_set_request_id_in_response`.
    pub request_id_in_response: bool,
    /// `proxy_100_continue`.
    pub proxy_100_continue: bool,
    /// `forward_client_cert_details`, `set_current_client_cert_details`.
    pub client_cert: ClientCertRules,
    /// `forward_client_cert_matcher`: what it leads to stands for `client_cert`.
    pub client_cert_matcher: Option<Arc<MatchTree<ClientCertRules>>>,
    /// False where hosts are not told of clients by the PROXY protocol, unless clients' own proxies have told of them
    /// (`add_proxy_protocol_connection_state`).
    pub tells_clients: bool,
    /// `add_user_agent`: who to say that we are.
    pub add_user_agent: Option<OwnName>,
    /// `common_http_protocol_options.max_requests_per_connection`; 0 is no limit.
    pub max_requests_per_connection: u32,
    /// `stream_error_on_invalid_http_message` / `override_stream_error_on_invalid_http_message`.
    pub keep_open_on_error: bool,
    /// HTTP/1 codec options.
    pub http1: nuncio_codec::http1::RequestRules,
    /// HTTP/2 codec options.
    pub http2: Http2Options,
    /// `http_protocol_options.header_key_format`: how names are spelled in responses.
    pub header_case: nuncio_codec::http1::NameCase,
    /// `http_protocol_options.default_host_for_http_10`.
    pub default_host_for_http_10: Option<Arc<str>>,
    /// Protocol upgrades, CONNECT among them, that requests may make; routes may say otherwise.
    pub upgrades: Vec<Upgrade>,
    /// `record_route_resolution_stats`.
    pub records_route_resolution: bool,
    /// Listener's `per_connection_buffer_limit_bytes`.
    pub buffer_limit: usize,
}

/// `HcmAccessLogOptions`: when exchanges are logged besides at their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// `flush_access_log_on_new_request`.
    pub on_new_request: bool,
    /// `flush_log_on_tunnel_successfully_established`.
    pub on_tunnel: bool,
    /// `access_log_flush_interval`: again and again while it goes on.
    pub interval: Option<Duration>,
}

/// Who we are, by the command line or `node`.
#[derive(Debug, Clone)]
pub struct OwnName {
    /// `--service-cluster`, `node.cluster`.
    pub cluster: Arc<str>,
    /// `--service-node`, `node.id`; may be empty.
    pub node: Arc<str>,
}

/// The router filter's options (`envoy.extensions.filters.http.router.v3.Router`).
#[derive(Debug, Clone, Default)]
pub struct RouterOptions {
    /// `suppress_envoy_headers`.
    pub suppress_envoy_headers: bool,
    /// `respect_expected_rq_timeout`.
    pub respect_expected_rq_timeout: bool,
    /// `strict_check_headers`: requests in which one of these is not valid are refused.
    pub strict_check_headers: Arc<[Known]>,
    /// False when `dynamic_stats` is off.
    pub dynamic_stats: bool,
    /// `reject_connect_request_early_data`.
    pub reject_connect_early_data: bool,
    /// `suppress_grpc_request_failure_code_stats`.
    pub suppress_grpc_codes: bool,
    /// `start_child_span`: attempts have spans of their own, whatever the connection manager says.
    pub start_child_span: bool,
    /// `upstream_log`, where there is any.
    pub upstream_log: Option<Arc<UpstreamLog>>,
}

/// How attempts at upstreams are logged.
#[derive(Debug)]
pub struct UpstreamLog {
    /// `upstream_log`.
    pub logs: Vec<Arc<dyn AccessLogger>>,
    /// `flush_upstream_log_on_upstream_stream`: when an attempt has its connection, too.
    pub on_stream: bool,
    /// `upstream_log_flush_interval`: again and again while an attempt goes on.
    pub interval: Option<Duration>,
}

/// `HttpConnectionManager.UpgradeConfig`.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// `websocket`, `CONNECT`…; compared in any letter case.
    pub kind: Box<str>,
    /// Allowed on routes that say nothing.
    pub enabled: bool,
    /// Filters of such requests; `None` for those of all.
    pub filters: Option<Vec<Installed>>,
}

/// Where a connection manager's routes come from.
#[derive(Debug, Clone)]
pub enum RouteSource {
    /// `route_config`.
    Fixed(Arc<crate::routes::RouteTable>),
    /// `scoped_routes`
    Scoped(Arc<crate::routes::Scopes>),
}

impl RouteSource {
    /// All route tables; one, unless there are scopes.
    pub fn tables(&self) -> &[Arc<crate::routes::RouteTable>] {
        match self {
            RouteSource::Fixed(table) => std::slice::from_ref(table),
            RouteSource::Scoped(scopes) => &scopes.tables,
        }
    }
}
