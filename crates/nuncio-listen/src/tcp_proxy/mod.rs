//! The TCP proxy: bytes from the client to a host of a cluster and back.
//!
//! * [`TcpProxyConfig`], [`TcpProxy`]: what is configured, and the filter built from it.
//! * `relay`: moving bytes both ways in one task. `session`: one client's connection from begin to log line.

mod relay;
mod session;

use nuncio_core::{AccessLogger, Connection, LocalFuture, Terminal, TerminalWorker, Worker};
use nuncio_stats::{Scope, Store, tables::tcp_proxy::TCP};
use nuncio_upstream::{ClusterSlot, WorkerCluster, WorkerClusters};
use session::Session;
use std::{rc::Rc, sync::Arc, time::Duration};

/// `idle_timeout` when not set.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A TCP proxy's configuration.
#[derive(Debug)]
pub struct TcpProxyConfig {
    /// `stat_prefix`.
    pub stat_prefix: String,
    /// `cluster`, or `weighted_clusters` with their weights; at least one.
    pub clusters: Vec<(Arc<str>, u32)>,
    /// `idle_timeout`: closes connections on which nothing moves for so long; `None` never does.
    pub idle_timeout: Option<Duration>,
    /// `max_downstream_connection_duration`.
    pub max_duration: Option<Duration>,
    /// `max_connect_attempts`, at least 1.
    pub max_connect_attempts: u32,
    /// `access_log`.
    pub access_logs: Vec<Arc<dyn AccessLogger>>,
}

impl TcpProxyConfig {
    /// Everything to one cluster, with Envoy's defaults.
    pub fn to_cluster(stat_prefix: &str, cluster: &str) -> TcpProxyConfig {
        TcpProxyConfig {
            stat_prefix: stat_prefix.to_owned(),
            clusters: vec![(cluster.into(), 1)],
            idle_timeout: Some(IDLE_TIMEOUT),
            max_duration: None,
            max_connect_attempts: 1,
            access_logs: Vec::new(),
        }
    }
}

/// A TCP proxy.
#[derive(Debug)]
pub struct TcpProxy {
    config: TcpProxyConfig,
    scope: Arc<Scope>,
}

impl TcpProxy {
    /// A proxy that counts under `tcp.<stat_prefix>.`.
    pub fn new(config: TcpProxyConfig, store: &Store) -> Arc<TcpProxy> {
        let scope = store.scope(&format!("tcp.{}.", crate::stat_name(&config.stat_prefix)), &TCP);
        Arc::new(TcpProxy { config, scope })
    }
}

impl Terminal for TcpProxy {
    fn on_worker(self: Arc<Self>, worker: &Rc<Worker>) -> Rc<dyn TerminalWorker> {
        let known = worker.parts.get::<WorkerClusters>();
        let slot = |name: &Arc<str>| known.as_ref().map(|clusters| clusters.slot(name)).unwrap_or_default();
        let slots = self.config.clusters.iter().map(|(name, weight)| (slot(name), u64::from(*weight))).collect();
        Rc::new(TcpProxyWorker { proxy: self, worker: worker.clone(), slots })
    }
}

/// A TCP proxy on one worker.
struct TcpProxyWorker {
    proxy: Arc<TcpProxy>,
    worker: Rc<Worker>,
    /// The clusters with their weights.
    slots: Vec<(Rc<ClusterSlot>, u64)>,
}

impl TerminalWorker for TcpProxyWorker {
    fn serve(self: Rc<Self>, connection: Connection) -> LocalFuture<()> {
        Box::pin(async move {
            let mut session = Session::begin(self.proxy.clone(), &self.worker, connection.info.clone());
            session.run(connection, self.choose()).await;
        })
    }
}

impl TcpProxyWorker {
    /// A cluster, by weight; `None` if there is none of the chosen name.
    fn choose(&self) -> Option<Rc<WorkerCluster>> {
        let total: u64 = self.slots.iter().map(|(_, weight)| weight).sum();
        let mut ticket = if self.slots.len() > 1 { self.worker.rng.below(total.max(1)) } else { 0 };
        for (slot, weight) in &self.slots {
            if ticket < *weight {
                return slot.get();
            }
            ticket -= weight;
        }
        None
    }
}
