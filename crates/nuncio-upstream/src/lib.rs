//! Upstream clusters: where requests go, and the connections they go by.
//!
//! Two halves. On the main thread [`ClusterManager`] keeps every cluster's hosts current (DNS, health checks) and sends
//! what changes to the workers. On each worker [`WorkerClusters`] answers requests without waiting for anyone:
//!
//! ```text
//! ClusterSlot::get ─▶ WorkerCluster::pick ─▶ WorkerHost::acquire ─▶ Acquire::poll ─▶ UpstreamConn ─▶ finish
//!  (by route)          (priority, policy)     (idle, or in the queue)                 send, poll_piece
//! ```
//!
//! * [`config`]: what a cluster is configured to be; plain values, built elsewhere, compared to find changes.
//! * [`Host`], [`HostSet`]: hosts, their health and counters; a set is immutable and shared by all workers.
//! * `lb`: choosing a host. `breaker`: limits for the whole process. `pool`: connections of one worker to one host.
//! * `conn`: one request on a connection. `reset`: why it came to nothing, in Envoy's words.
//! * `tcp`: a raw connection to a host, not pooled. `transport`: how connections are secured.
//! * `dns`, `health`, `manager`: the main thread's half. `outlier`: hosts that do badly, noted by workers, judged there. `orca`: loads that hosts report.
//!
//! It leaves to others: routes, retries and timeouts of requests (`nuncio-http`), building configurations
//! (`nuncio-config`), showing it all (`nuncio-admin`).

mod breaker;
pub mod config;
mod conn;
pub mod dns;
mod events;
pub mod health;
mod host;
mod host_set;
mod info;
mod internal;
mod lb;
mod manager;
mod names;
pub mod orca;
pub mod outlier;
mod pool;
mod provided;
mod reset;
mod tcp;
mod transport;
mod worker;

pub use breaker::{Breakers, Permit, Resource, RoutingPriority};
pub use config::{ClusterConfig, NamedBy, UpstreamProtocol};
pub use conn::{HeadOptions, UpPiece, UpstreamConn};
pub use events::EventLog;
pub use host::{Health, HealthFlags, Host, HostCounters, HostStat, HostState};
pub use host_set::{HostSet, LocalityHosts, Membership, PriorityHosts};
pub use info::{ClusterCx, ClusterInfo, DropOverload};
pub use lb::{PickCx, PriorityLoads, xxh64};
pub use manager::{Change, ClusterManager, ClusterView, EndpointFiles, FileFault, ReadEndpoints};
pub use nuncio_core::metadata::{Metadata, MetadataMatch, MetadataValue};
pub use pool::{Acquire, WorkerHost};
pub use provided::{Member, MemberChoice};
pub use reset::{PoolFailure, Reset, ResetReason};
pub use tcp::TcpConnection;
pub use internal::{InternalTransport, MetadataOf, SharedObjects};
pub use transport::{ProxiedClient, ProxiedTransport, TransportMatch, TransportOptions, Transports, UpstreamTransport};
pub use worker::{ClusterSlot, ClusterUpdate, WorkerCluster, WorkerClusters};
