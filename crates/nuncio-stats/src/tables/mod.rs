//! Envoy's statistics: a file per table, each telling the prefixes it is used with.
//!
//! Names, kinds and what appears when are those of Envoy 1.40.

pub mod cluster;
pub mod cluster_manager;
pub mod cluster_part;
pub mod control_plane;
pub mod dispatcher;
pub mod dns;
pub mod dns_cache;
pub mod dns_filter;
pub mod filesystem;
pub mod grpc_access_log;
pub mod health_check;
pub mod http1;
pub mod http2;
pub mod http_connection_manager;
pub mod listener;
pub mod listener_filters;
pub mod listener_http;
pub mod listener_manager;
pub mod listener_worker;
pub mod open_telemetry_access_log;
pub mod opentelemetry;
pub mod orca;
pub mod outlier_detection;
pub mod overload;
pub mod redis;
pub mod router;
pub mod runtime;
pub mod server;
pub mod subscription;
pub mod tcp_proxy;
pub mod tls;
pub mod udp;
pub mod watchdog;
