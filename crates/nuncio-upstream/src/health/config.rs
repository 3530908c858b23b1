//! `envoy.config.core.v3.HealthCheck`, as plain values.

use crate::events::EventLog;
use nuncio_core::proxy_protocol::ProxyVersion;
use nuncio_codec::headers::HeaderMap;
use nuncio_core::metadata::Metadata;
use std::{fmt, sync::Arc, time::Duration};

/// How the hosts of a cluster are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheckConfig {
    /// `timeout` of one check.
    pub timeout: Duration,
    /// `interval`.
    pub interval: Duration,
    /// `initial_jitter`: the first check comes within this.
    pub initial_jitter: Duration,
    /// `interval_jitter`: up to this much is added to each wait.
    pub interval_jitter: Duration,
    /// `interval_jitter_percent` of the interval, likewise.
    pub interval_jitter_percent: u32,
    /// `unhealthy_threshold`: this many misses make a host unhealthy (a wrong HTTP status needs only one).
    pub unhealthy_threshold: u32,
    /// `healthy_threshold`: this many passes make it healthy again.
    pub healthy_threshold: u32,
    /// `reuse_connection`.
    pub reuse_connection: bool,
    /// `no_traffic_interval`, while the cluster has never made a connection.
    pub no_traffic_interval: Duration,
    /// `no_traffic_healthy_interval`; `no_traffic_interval` when absent.
    pub no_traffic_healthy_interval: Option<Duration>,
    /// `unhealthy_interval`; `interval` when absent.
    pub unhealthy_interval: Option<Duration>,
    /// `unhealthy_edge_interval`; `unhealthy_interval` when absent.
    pub unhealthy_edge_interval: Option<Duration>,
    /// `healthy_edge_interval`; `interval` when absent.
    pub healthy_edge_interval: Option<Duration>,
    /// Where changes of health are written to: `event_log_path`, and files of `event_logger`.
    pub events: Vec<EventLog>,
    /// `always_log_health_check_failures`.
    pub log_every_failure: bool,
    /// `always_log_health_check_success`.
    pub log_every_success: bool,
    /// `tls_options.alpn_protocols`.
    pub alpn_protocols: Vec<String>,
    /// `transport_socket_match_criteria`, as metadata that stand for the host's.
    pub transport_criteria: Option<Arc<Metadata>>,
    /// What is asked.
    pub kind: HealthCheckKind,
}

impl HealthCheckConfig {
    /// A check with Envoy's defaults for what need not be given.
    pub fn new(timeout: Duration, interval: Duration, kind: HealthCheckKind) -> HealthCheckConfig {
        HealthCheckConfig {
            timeout,
            interval,
            initial_jitter: Duration::ZERO,
            interval_jitter: Duration::ZERO,
            interval_jitter_percent: 0,
            unhealthy_threshold: 1,
            healthy_threshold: 1,
            reuse_connection: true,
            no_traffic_interval: Duration::from_secs(60),
            no_traffic_healthy_interval: None,
            unhealthy_interval: None,
            unhealthy_edge_interval: None,
            healthy_edge_interval: None,
            events: Vec::new(),
            log_every_failure: false,
            log_every_success: false,
            alpn_protocols: Vec::new(),
            transport_criteria: None,
            kind,
        }
    }
}

/// What is asked of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheckKind {
    /// `http_health_check`.
    Http(HttpHealthCheck),
    /// `tcp_health_check`.
    Tcp(TcpHealthCheck),
    /// `grpc_health_check`.
    Grpc(GrpcHealthCheck),
    /// `envoy.health_checkers.redis` of `custom_health_check`.
    Redis(RedisHealthCheck),
}

impl HealthCheckKind {
    /// As the event log calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            HealthCheckKind::Http(_) => "HTTP",
            HealthCheckKind::Tcp(_) => "TCP",
            HealthCheckKind::Grpc(_) => "GRPC",
            HealthCheckKind::Redis(_) => "REDIS",
        }
    }

    /// Whether hosts are asked over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            HealthCheckKind::Http(http) => http.http2,
            HealthCheckKind::Grpc(_) => true,
            HealthCheckKind::Tcp(_) | HealthCheckKind::Redis(_) => false,
        }
    }

    /// `host` or `authority`; may be empty.
    pub(super) fn host(&self) -> &str {
        match self {
            HealthCheckKind::Http(http) => &http.host,
            HealthCheckKind::Grpc(grpc) => &grpc.authority,
            HealthCheckKind::Tcp(_) | HealthCheckKind::Redis(_) => "",
        }
    }
}

/// `HttpHealthCheck`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHealthCheck {
    /// `host`; the endpoint's own host name for checks, else the cluster's name when empty.
    pub host: String,
    /// `path`.
    pub path: String,
    /// `method`.
    pub method: Arc<str>,
    /// `send`: the request's body.
    pub send: Option<Payload>,
    /// `receive`: each must be found in the answer's body, in this order.
    pub receive: Vec<Payload>,
    /// `response_buffer_size`: how much of the body is looked through.
    pub response_buffer_size: usize,
    /// `service_name_matcher`: what `x-envoy-upstream-healthchecked-cluster` of the answer must be.
    pub service_name: Option<Predicate>,
    /// `request_headers_to_add`, names in lower case, in order.
    pub headers_to_add: Vec<(String, String, HeaderAppend)>,
    /// `request_headers_to_remove`.
    pub headers_to_remove: Vec<String>,
    /// `expected_statuses`; 200 when empty.
    pub expected_statuses: Vec<StatusRange>,
    /// `retriable_statuses`: wrong, but counted towards the threshold.
    pub retriable_statuses: Vec<StatusRange>,
    /// `codec_client_type: HTTP2`.
    pub http2: bool,
}

impl HttpHealthCheck {
    /// `GET path`, expecting 200.
    pub fn get(path: &str) -> HttpHealthCheck {
        HttpHealthCheck {
            host: String::new(),
            path: path.to_owned(),
            method: "GET".into(),
            send: None,
            receive: Vec::new(),
            response_buffer_size: 1024,
            service_name: None,
            headers_to_add: Vec::new(),
            headers_to_remove: Vec::new(),
            expected_statuses: Vec::new(),
            retriable_statuses: Vec::new(),
            http2: false,
        }
    }
}

/// `HeaderAppendAction`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderAppend {
    /// `APPEND_IF_EXISTS_OR_ADD`
    Append,
    /// `ADD_IF_ABSENT`
    IfAbsent,
    /// `OVERWRITE_IF_EXISTS_OR_ADD`
    Overwrite,
    /// `OVERWRITE_IF_EXISTS`
    IfPresent,
}

/// Adds configured headers to a head.
pub(super) fn add_headers(map: &mut HeaderMap, headers: &[(String, String, HeaderAppend)]) {
    for (name, value, how) in headers {
        let present = map.contains(name.as_str());
        match (how, present) {
            (HeaderAppend::Append, _) => map.append(name.as_str(), value.as_bytes()),
            (HeaderAppend::IfAbsent, true) | (HeaderAppend::IfPresent, false) => {}
            _ => map.insert(name.as_str(), value.as_bytes()),
        }
    }
}

/// A condition on a text. Two are equal that were made of the same bytes.
#[derive(Clone)]
pub struct Predicate {
    source: Arc<[u8]>,
    holds: Arc<dyn Fn(&[u8]) -> bool + Send + Sync>,
}

impl Predicate {
    /// A condition made of `source`.
    pub fn new(source: impl Into<Arc<[u8]>>, holds: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Predicate {
        Predicate { source: source.into(), holds: Arc::new(holds) }
    }

    /// Whether it holds for `text`.
    pub fn holds(&self, text: &[u8]) -> bool {
        (self.holds)(text)
    }
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Predicate) -> bool {
        self.source == other.source
    }
}

impl Eq for Predicate {}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predicate({} bytes)", self.source.len())
    }
}

/// `Int64Range`: from `start`, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// First status of the range.
    pub start: u16,
    /// First status beyond it.
    pub end: u16,
}

/// `TcpHealthCheck`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcpHealthCheck {
    /// `send`; connecting is enough when absent.
    pub send: Option<Payload>,
    /// `receive`: each must be found, in this order.
    pub receive: Vec<Payload>,
    /// `proxy_protocol_config`: a connection begins with a PROXY protocol header, of version 2 without addresses.
    pub proxy: Option<ProxyVersion>,
}

/// Bytes of a TCP health check.
pub type Payload = Arc<[u8]>;

/// `GrpcHealthCheck`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrpcHealthCheck {
    /// `service_name`; the whole server when empty.
    pub service_name: String,
    /// `authority`; the endpoint's own host name for checks, else the cluster's name when empty.
    pub authority: String,
    /// `initial_metadata`, names in lower case, in order.
    pub initial_metadata: Vec<(String, String, HeaderAppend)>,
}

/// `envoy.extensions.health_checkers.redis.v3.Redis`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedisHealthCheck {
    /// `key`: a host that has it is not healthy; without one it is asked for a PONG.
    pub key: String,
}
