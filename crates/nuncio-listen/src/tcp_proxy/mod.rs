//! The TCP proxy: bytes from the client to a host of a cluster and back.
//!
//! * [`TcpProxyConfig`], [`TcpProxy`]: what is configured, and the filter built from it.
//! * [`Tlvs`]: what hosts are told in the PROXY header.
//! * [`Tunneling`]: how connections go through a tunnel, a request to the next proxy.
//! * `relay`: moving bytes both ways in one task. `session`: one client's connection from begin to log line.

mod relay;
mod session;
mod tlvs;
mod tunnel;

use nuncio_core::{AccessLogger, ConnInfo, Connection, LeftByFilters, LocalFuture, Terminal, TerminalWorker, Worker};
use nuncio_stats::{Scope, Store, tables::tcp_proxy::TCP};
use nuncio_upstream::{ClusterSlot, MetadataMatch, WorkerCluster, WorkerClusters};
pub use tlvs::{TlvMerge, TlvValue, Tlvs};
pub use tunnel::{TunnelHeaders, TunnelRequestId, Tunneling};

use session::Session;
use std::{rc::Rc, sync::Arc, time::Duration};

/// A cluster, and what is asked of its hosts.
type Chosen = (Rc<WorkerCluster>, Option<Arc<MetadataMatch>>);

/// The object of the filter state that names the cluster.
const CLUSTER: &str = "envoy.tcp_proxy.cluster";

/// `idle_timeout` when not set.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A TCP proxy's configuration.
#[derive(Debug)]
pub struct TcpProxyConfig {
    /// `stat_prefix`.
    pub stat_prefix: String,
    /// `cluster`, or `weighted_clusters` with their weights; at least one.
    pub clusters: Vec<TcpCluster>,
    /// `hash_policy`: what consistent balancing goes by.
    pub hash: TcpHash,
    /// `idle_timeout`: closes connections on which nothing moves for so long; `None` never does.
    pub idle_timeout: Option<Duration>,
    /// `max_downstream_connection_duration`.
    pub max_duration: Option<Duration>,
    /// `max_downstream_connection_duration_jitter_percentage`: up to so much is added to that.
    pub max_duration_jitter_percent: f64,
    /// `max_connect_attempts`, at least 1.
    pub max_connect_attempts: u32,
    /// `backoff_options`: what is waited between attempts, at first and at most.
    pub backoff: Option<(Duration, Duration)>,
    /// `upstream_connect_mode` is `ON_DOWNSTREAM_DATA`.
    pub connect_on_data: bool,
    /// `proxy_protocol_tlvs`: what hosts are told of the client in the PROXY header.
    pub tlvs: Option<Tlvs>,
    /// `tunneling_config`.
    pub tunneling: Option<Arc<Tunneling>>,
    /// `check_drain_close`: whoever sends or is sent something while the listener drains is closed.
    pub check_drain_close: bool,
    /// When lines are written beside the one at the end.
    pub moments: LogMoments,
    /// `access_log`.
    pub access_logs: Vec<Arc<dyn AccessLogger>>,
}

/// `hash_policy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TcpHash {
    /// None.
    #[default]
    None,
    /// The client's address.
    SourceIp,
    /// An object of the filter state.
    FilterState(Box<str>),
}

/// `access_log_options`: lines before the last one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogMoments {
    /// `flush_access_log_on_start`
    pub on_start: bool,
    /// `flush_access_log_on_connected`
    pub on_connected: bool,
    /// `access_log_flush_interval`
    pub every: Option<Duration>,
}

/// One of the clusters of a TCP proxy.
#[derive(Debug, Clone)]
pub struct TcpCluster {
    /// `name`.
    pub name: Arc<str>,
    /// `weight`, of the sum of all.
    pub weight: u32,
    /// `metadata_match`: what is asked of hosts' metadata.
    pub metadata_match: Option<Arc<MetadataMatch>>,
}

impl TcpProxyConfig {
    /// Everything to one cluster, with Envoy's defaults.
    pub fn to_cluster(stat_prefix: &str, cluster: &str) -> TcpProxyConfig {
        TcpProxyConfig {
            stat_prefix: stat_prefix.to_owned(),
            clusters: vec![TcpCluster { name: cluster.into(), weight: 1, metadata_match: None }],
            hash: TcpHash::None,
            idle_timeout: Some(IDLE_TIMEOUT),
            max_duration: None,
            max_duration_jitter_percent: 0.0,
            max_connect_attempts: 1,
            backoff: None,
            connect_on_data: false,
            tlvs: None,
            tunneling: None,
            check_drain_close: false,
            moments: LogMoments::default(),
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
        let slots = self.config.clusters.iter().map(|cluster| slot(&cluster.name)).collect();
        Rc::new(TcpProxyWorker { proxy: self, worker: worker.clone(), slots })
    }
}

/// A TCP proxy on one worker.
struct TcpProxyWorker {
    proxy: Arc<TcpProxy>,
    worker: Rc<Worker>,
    /// The clusters, in order.
    slots: Vec<Rc<ClusterSlot>>,
}

impl TerminalWorker for TcpProxyWorker {
    fn serve(self: Rc<Self>, connection: Connection) -> LocalFuture<()> {
        Box::pin(async move {
            let mut session = Session::begin(self.proxy.clone(), &self.worker, connection.info.clone());
            session.run(connection, |info| self.choose(info)).await;
        })
    }

    fn refused(self: Rc<Self>, info: &Rc<ConnInfo>, _: bool) {
        drop(Session::begin(self.proxy.clone(), &self.worker, info.clone()));
    }
}

impl TcpProxyWorker {
    /// A cluster, by weight or as filters say, and what is asked of its hosts; `None` if there is none of the chosen name.
    fn choose(&self, info: &ConnInfo) -> Option<Chosen> {
        if let Some(name) = LeftByFilters::find(info).and_then(|left| left.object(CLUSTER)) {
            return Some((self.worker.parts.get::<WorkerClusters>()?.by_name(&name)?, None));
        }
        let clusters = &self.proxy.config.clusters;
        let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
        let mut ticket = if clusters.len() > 1 { self.worker.rng.below(total.max(1)) } else { 0 };
        for (slot, cluster) in self.slots.iter().zip(clusters) {
            let weight = u64::from(cluster.weight);
            if ticket < weight {
                return Some((slot.get()?, cluster.metadata_match.clone()));
            }
            ticket -= weight;
        }
        None
    }
}
