//! The data that endpoints show, in the words of the configuration.

use nuncio_api::Json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Whether the server takes traffic (`envoy.admin.v3.ServerInfo.State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Listening, and healthy.
    Live,
    /// Told to fail health checks, or about to stop.
    Draining,
    /// Waiting for the first clusters.
    PreInitializing,
    /// Waiting for what the listeners need.
    Initializing,
}

impl State {
    /// As `/ready` and `/server_info` spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Live => "LIVE",
            State::Draining => "DRAINING",
            State::PreInitializing => "PRE_INITIALIZING",
            State::Initializing => "INITIALIZING",
        }
    }
}

/// What `/server_info` tells.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Revision, version, state of the tree, build type, TLS library, with slashes between.
    pub version: String,
    /// Since this process started.
    pub uptime_current_epoch: Duration,
    /// Since the first process of a chain of hot restarts started.
    pub uptime_all_epochs: Duration,
    /// `disabled`, or the version of the hot restart protocol.
    pub hot_restart_version: String,
    /// `envoy.admin.v3.CommandLineOptions`, serialized.
    pub command_line_options: Vec<u8>,
    /// `envoy.config.core.v3.Node`, serialized.
    pub node: Vec<u8>,
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// IP address and port.
    Socket(SocketAddr),
    /// A Unix domain socket, and its mode.
    Pipe(PathBuf, u32),
    /// An internal listener, and an endpoint id.
    Internal(String, String),
}

/// A listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Where it listens; the real port where the configured one is 0.
    pub address: Address,
    /// `additional_addresses`.
    pub more_addresses: Vec<Address>,
}

/// A cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its name in statistics and logs (`alt_stat_name`).
    pub observability_name: String,
    /// Came by xDS.
    pub added_via_api: bool,
    /// `eds_cluster_config.service_name`.
    pub eds_service_name: String,
    /// Outlier detection, where configured.
    pub outlier: Option<OutlierRates>,
    /// Circuit breakers: default and high priority.
    pub limits: [Limits; 2],
    /// Every host, by priority.
    pub hosts: Vec<Host>,
}

/// Success rates of a cluster, in percent; −1 where there were too few requests.
#[derive(Clone, Copy, Debug)]
pub struct OutlierRates {
    /// Mean over hosts, of answers from upstream.
    pub success_rate_average: f64,
    /// Below it a host is ejected.
    pub success_rate_ejection_threshold: f64,
    /// Mean over hosts, of locally seen outcomes.
    pub local_origin_success_rate_average: f64,
    /// Below it a host is ejected.
    pub local_origin_success_rate_ejection_threshold: f64,
}

/// Circuit breaker thresholds of one priority.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// `max_connections`.
    pub max_connections: u64,
    /// `max_pending_requests`.
    pub max_pending_requests: u64,
    /// `max_requests`.
    pub max_requests: u64,
    /// `max_retries`.
    pub max_retries: u64,
}

/// A host of a cluster.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where it is.
    pub address: Address,
    /// Its name: what was resolved, or `endpoint.hostname`.
    pub hostname: String,
    /// What it counted.
    pub counts: HostCounts,
    /// Its health.
    pub health: HostHealth,
    /// `load_balancing_weight`.
    pub weight: u32,
    /// Priority, 0 being the highest.
    pub priority: u32,
    /// Region, zone, sub-zone.
    pub locality: [String; 3],
    /// Marked as canary by its metadata.
    pub canary: bool,
    /// Success rate in percent; −1 where unknown.
    pub success_rate: f64,
    /// The same of locally seen outcomes.
    pub local_origin_success_rate: f64,
}

/// What is counted per host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostCounts {
    /// Connections open.
    pub cx_active: u64,
    /// Connections that failed.
    pub cx_connect_fail: u64,
    /// Connections made or tried.
    pub cx_total: u64,
    /// Requests in flight.
    pub rq_active: u64,
    /// Requests that failed or were answered with 5xx.
    pub rq_error: u64,
    /// Requests waiting for a connection.
    pub rq_pending_active: u64,
    /// Requests answered without a 5xx.
    pub rq_success: u64,
    /// Requests that timed out.
    pub rq_timeout: u64,
    /// Requests.
    pub rq_total: u64,
}

/// Why a host may not be used; several reasons may hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostHealth {
    /// Active health checks failed.
    pub failed_active_hc: bool,
    /// Ejected by outlier detection.
    pub failed_outlier_check: bool,
    /// EDS says unhealthy.
    pub failed_eds_health: bool,
    /// Active health checks found it degraded.
    pub degraded_active_hc: bool,
    /// EDS says degraded.
    pub degraded_eds_health: bool,
    /// Removed by discovery, kept because it is still healthy.
    pub pending_dynamic_removal: bool,
    /// Not yet checked.
    pub pending_active_hc: bool,
    /// Taken out because an answer asked for it.
    pub excluded_via_immediate_hc_fail: bool,
    /// The last check timed out.
    pub active_hc_timeout: bool,
    /// EDS says draining.
    pub eds_status_draining: bool,
    /// Outlier detection found it degraded.
    pub degraded_outlier_detection: bool,
}

/// A section of `/config_dump`: one message of `envoy.admin.v3`, its lists kept apart.
#[derive(Clone, Debug)]
pub struct ConfigSection {
    /// `envoy.admin.v3.ClustersConfigDump`, for example.
    pub type_name: &'static str,
    /// The message without what is in `lists`, serialized.
    pub message: Vec<u8>,
    /// The repeated fields that have items, in order of field number.
    pub lists: Vec<ConfigList>,
}

/// A repeated field of a section.
#[derive(Clone, Debug)]
pub struct ConfigList {
    /// `static_clusters`, for example.
    pub field: &'static str,
    /// `envoy.admin.v3.ClustersConfigDump.StaticCluster`, for example.
    pub type_name: &'static str,
    /// The items.
    pub items: Vec<ConfigItem>,
}

/// An item of a section.
#[derive(Clone, Debug)]
pub struct ConfigItem {
    /// The resource's name, for `name_regex`.
    pub name: String,
    /// The message, serialized.
    pub message: Vec<u8>,
}

/// What start-up waits for: unready targets of one init manager.
#[derive(Clone, Debug)]
pub struct UnreadyTargets {
    /// `init manager Server`, `init manager Listener-local-init-manager …`.
    pub name: String,
    /// What is not ready.
    pub targets: Vec<String>,
    /// Belongs to a listener (`?mask=listener`).
    pub listener: bool,
}

/// Memory in use, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// In use.
    pub allocated: u64,
    /// Taken from the system for the heap.
    pub heap_size: u64,
    /// Of that, given back.
    pub pageheap_unmapped: u64,
    /// Of that, free.
    pub pageheap_free: u64,
    /// Cached by threads.
    pub total_thread_cache: u64,
    /// Resident.
    pub total_physical_bytes: u64,
}

/// Runtime layers and keys.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    /// Names of the layers, lowest first.
    pub layers: Vec<String>,
    /// Keys, each with a value per layer (empty where the layer has none) and the value that wins.
    pub entries: Vec<RuntimeEntry>,
}

/// A runtime key.
#[derive(Clone, Debug)]
pub struct RuntimeEntry {
    /// The key.
    pub key: String,
    /// Per layer.
    pub layer_values: Vec<String>,
    /// The value that wins.
    pub final_value: String,
}

/// Certificates of one TLS context.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    /// Trusted authorities.
    pub ca_cert: Vec<Certificate>,
    /// Own certificates.
    pub cert_chain: Vec<Certificate>,
}

/// A certificate.
#[derive(Clone, Debug, Default)]
pub struct Certificate {
    /// The file, or `<inline>`.
    pub path: String,
    /// Serial number in hexadecimal digits.
    pub serial_number: String,
    /// Alternative names: `dns`, `uri` or `ip_address`, and the name.
    pub subject_alt_names: Vec<(&'static str, String)>,
    /// Whole days until it expires; 0 afterwards.
    pub days_until_expiration: u64,
    /// RFC 3339.
    pub valid_from: String,
    /// RFC 3339.
    pub expiration_time: String,
}

/// A component that logs.
#[derive(Clone, Debug)]
pub struct Logger {
    /// `main`, `http`, …
    pub name: &'static str,
    /// `info`, …
    pub level: &'static str,
}

/// How to drain listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Go on accepting for the drain time, asking clients to leave.
    pub graceful: bool,
    /// With `graceful`: never stop accepting.
    pub skip_exit: bool,
    /// Only listeners whose `traffic_direction` is inbound.
    pub inbound_only: bool,
}

impl Address {
    /// As lists print it: `127.0.0.1:80`, `[::1]:80`, a path.
    pub fn text(&self) -> String {
        match self {
            Address::Socket(address) => address.to_string(),
            Address::Pipe(path, _) => path.display().to_string(),
            Address::Internal(name, id) => format!("envoy://{name}/{id}"),
        }
    }

    /// `envoy.config.core.v3.Address` as JSON.
    pub(crate) fn json(&self) -> Json {
        match self {
            Address::Socket(address) => {
                let ip = Json::text(address.ip().to_string());
                let mut members = vec![("address", ip)];
                // protobuf leaves a zero out, but the port is a member of a oneof.
                members.push(("port_value", Json::from(u64::from(address.port()))));
                Json::object(vec![("socket_address", Json::object(members))])
            }
            Address::Pipe(path, mode) => {
                let mut members = vec![("path", Json::text(path.display().to_string()))];
                if *mode != 0 {
                    members.push(("mode", Json::from(u64::from(*mode))));
                }
                Json::object(vec![("pipe", Json::object(members))])
            }
            Address::Internal(name, id) => {
                let mut members = vec![("server_listener_name", Json::text(name))];
                if !id.is_empty() {
                    members.push(("endpoint_id", Json::text(id)));
                }
                Json::object(vec![("envoy_internal_address", Json::object(members))])
            }
        }
    }
}

/// A connection to the admin interface.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Number of the connection, from 0.
    pub id: u64,
    /// The client's address; none on a Unix domain socket.
    pub remote: Option<SocketAddr>,
    /// The address it connected to.
    pub local: Option<SocketAddr>,
    /// When it connected.
    pub connected: Instant,
    /// When the last bytes of the request came.
    pub since: Instant,
}
