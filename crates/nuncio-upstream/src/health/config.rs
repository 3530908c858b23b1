//! `envoy.config.core.v3.HealthCheck`, as plain values.

use std::{sync::Arc, time::Duration};

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
    /// `request_headers_to_add`, names in lower case, in order; `true` appends to what is there.
    pub headers_to_add: Vec<(String, String, bool)>,
    /// `request_headers_to_remove`.
    pub headers_to_remove: Vec<String>,
    /// `expected_statuses`; 200 when empty.
    pub expected_statuses: Vec<StatusRange>,
    /// `retriable_statuses`: wrong, but counted towards the threshold.
    pub retriable_statuses: Vec<StatusRange>,
}

impl HttpHealthCheck {
    /// `GET path`, expecting 200.
    pub fn get(path: &str) -> HttpHealthCheck {
        HttpHealthCheck {
            host: String::new(),
            path: path.to_owned(),
            method: "GET".into(),
            headers_to_add: Vec::new(),
            headers_to_remove: Vec::new(),
            expected_statuses: Vec::new(),
            retriable_statuses: Vec::new(),
        }
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
}

/// Bytes of a TCP health check.
pub type Payload = Arc<[u8]>;
