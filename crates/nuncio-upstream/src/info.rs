//! What is shared about a cluster: its configuration, statistics and breakers.

use crate::breaker::{Breakers, RUNTIME_PREFIX};
use crate::config::ClusterConfig;
use crate::names::CacheInfo;
use crate::outlier::Feedback;
use crate::pool::Reaper;
use crate::transport::TransportMatch;
use nuncio_core::{ClusterFacts, RuntimeValues, Worker, metadata::Metadata};
use nuncio_rt::{Rng, TcpOptions, Time};
use nuncio_stats::{
    Lane, Scope, Store,
    tables::{
        cluster::{CLUSTER, DEFAULT_TOTAL_MATCH_COUNT, REQUEST_RESPONSE_SIZES, TIMEOUT_BUDGETS},
        cluster_part::{INTERNAL_UPSTREAM, PART},
        http1::HTTP1,
        http2::HTTP2,
        tls::{SOCKET_FACTORY, TLS, TOTAL_MATCH_COUNT, TRANSPORT_MATCH, UPSTREAM_CONTEXT_SECRETS_NOT_READY},
    },
};
use nuncio_tls::TlsStats;
use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU8, AtomicU32, Ordering::Relaxed},
    },
};
use tokio::sync::mpsc::UnboundedSender;

/// One cluster as all threads see it. A changed configuration makes a new one; the statistics go on.
#[derive(Debug)]
pub struct ClusterInfo {
    /// Its configuration.
    pub config: Arc<ClusterConfig>,
    /// `cluster.<name>.*`.
    pub stats: Arc<Scope>,
    /// Its limits and what counts against them.
    pub breakers: Breakers,
    /// The zone we are in (`node.locality.zone`), may be empty.
    pub zone: Arc<str>,
    /// `cluster.<name>.http1.*`, made with the first connection.
    codec_stats: OnceLock<Arc<Scope>>,
    /// `cluster.<name>.internal_upstream.*`, where connections take something along.
    pub(crate) internal_stats: Option<Arc<Scope>>,
    /// `cluster.<name>.http2.*`, likewise.
    http2_stats: OnceLock<Arc<Scope>>,
    /// `cluster.<name>.ssl.*` and `cluster.<name>.client_ssl_socket_factory.*`, where there is TLS.
    tls_stats: Vec<Arc<Scope>>,
    /// `cluster.<name>.<match>.*`, one for each of `transport_socket_matches`.
    match_stats: Vec<Arc<Scope>>,
    store: Weak<Store>,
    /// Where workers tell about hosts, where somebody wants to hear it.
    pub(crate) feedback: OnceLock<UnboundedSender<Feedback>>,
    /// Percent of the requests that are refused (`upstream.maintenance_mode.<cluster>` of the runtime).
    maintenance: AtomicU8,
    /// How many of a million requests are dropped (`drop_overloads`).
    drop_overload: AtomicU32,
    /// Its cache of names, where it goes by one.
    pub(crate) names: OnceLock<Arc<CacheInfo>>,
}

/// What the runtime keys that take clusters out of service begin with.
/// Of a million.
const ALL: u32 = 1_000_000;

/// Which requests are dropped, where one is (`drop_overloads`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropOverload {
    /// Some of them.
    Some,
    /// All.
    All,
}

const MAINTENANCE_PREFIX: &str = "upstream.maintenance_mode.";

impl ClusterInfo {
    /// A cluster nobody uses yet.
    pub fn new(config: Arc<ClusterConfig>, store: &Arc<Store>, zone: Arc<str>) -> Arc<ClusterInfo> {
        let name = config.display_name().replace(':', "_");
        let stats = store.scope(&format!("cluster.{name}."), &CLUSTER);
        let breakers = Breakers::new(&config.circuit_breakers);
        let tls = config.transports.tls().next().map(|_| {
            let scope = |part: &str, table| store.scope(&format!("{}{part}.", stats.prefix()), table);
            vec![scope("client_ssl_socket_factory", &SOCKET_FACTORY), scope("ssl", &TLS)]
        });
        let of_match = |of: &TransportMatch| store.scope(&format!("{}{}.", stats.prefix(), of.name), &TRANSPORT_MATCH);
        let internal = config.shares_state.then(|| store.scope(&format!("{}internal_upstream.", stats.prefix()), &INTERNAL_UPSTREAM));
        let matches = config.transports.matches.iter().map(of_match).collect();
        if config.track.timeout_budgets {
            stats.open(Lane::MAIN, TIMEOUT_BUDGETS);
        }
        if config.track.sizes {
            stats.open(Lane::MAIN, REQUEST_RESPONSE_SIZES);
        }
        Arc::new(ClusterInfo {
            config,
            tls_stats: tls.unwrap_or_default(),
            match_stats: matches,
            internal_stats: internal,
            stats,
            breakers,
            zone,
            codec_stats: OnceLock::new(),
            http2_stats: OnceLock::new(),
            store: Arc::downgrade(store),
            feedback: OnceLock::new(),
            maintenance: AtomicU8::new(0),
            drop_overload: AtomicU32::new(0),
            names: OnceLock::new(),
        })
    }

    /// Whether any cluster may be different for these runtime values.
    pub(crate) fn concerns(runtime: &RuntimeValues) -> bool {
        runtime.has_prefix(RUNTIME_PREFIX) || runtime.has_prefix(MAINTENANCE_PREFIX)
    }

    /// Puts runtime values in force.
    pub(crate) fn apply(&self, runtime: &RuntimeValues) {
        self.breakers.apply(&self.config.circuit_breakers, self.name(), runtime);
        let told = runtime.get(&format!("{MAINTENANCE_PREFIX}{}", self.name())).and_then(|value| value.uint());
        self.maintenance.store(told.map_or(0, |percent| percent.min(100) as u8), Relaxed);
    }

    /// Whether a request is refused because the cluster is out of service.
    #[inline]
    pub fn in_maintenance(&self, rng: &Rng) -> bool {
        let percent = self.maintenance.load(Relaxed);
        percent > 0 && rng.below(100) < u64::from(percent)
    }

    /// The endpoints' assignment says how many of a million requests are dropped.
    pub(crate) fn set_drop_overload(&self, of_a_million: u32) {
        self.drop_overload.store(of_a_million, Relaxed);
    }

    /// Whether a request is dropped: the flag says whether all are.
    #[inline]
    pub fn drops(&self, rng: &Rng) -> Option<DropOverload> {
        match self.drop_overload.load(Relaxed) {
            0 => None,
            ALL => Some(DropOverload::All),
            some => (rng.below(u64::from(ALL)) < u64::from(some)).then_some(DropOverload::Some),
        }
    }

    /// Tells the main thread something.
    pub(crate) fn tell(&self, feedback: Feedback) {
        if let Some(cluster) = self.feedback.get() {
            // Fails only when the cluster is gone.
            let _ = cluster.send(feedback);
        }
    }

    /// `name`.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// What exchanges show of it.
    pub(crate) fn facts(&self) -> Rc<ClusterFacts> {
        let metadata = self.config.metadata.clone();
        Rc::new(ClusterFacts { name: self.name().clone(), display_name: self.display_name().clone(), metadata })
    }

    /// The name that stats and `%UPSTREAM_CLUSTER%` show.
    pub fn display_name(&self) -> &Arc<str> {
        self.config.display_name()
    }

    /// Where its statistics are; `None` once they are gone.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.store.upgrade()
    }

    /// Statistics of the HTTP/1 codec, which exist once there is a connection.
    pub(crate) fn codec_stats(&self) -> Option<&Arc<Scope>> {
        if let Some(stats) = self.codec_stats.get() {
            return Some(stats);
        }
        let stats = self.store.upgrade()?.scope(&format!("{}http1.", self.stats.prefix()), &HTTP1);
        Some(self.codec_stats.get_or_init(|| stats))
    }

    /// A connection cannot be made because a secret has not come.
    pub(crate) fn count_secret_missing(&self, lane: Lane) {
        if let Some(factory) = self.tls_stats.first() {
            factory.inc(lane, UPSTREAM_CONTEXT_SECRETS_NOT_READY);
        }
    }

    /// Counts hosts by the transport socket that they fit.
    pub(crate) fn count_transport(&self, metadata: Option<&Metadata>, locality: Option<&Metadata>, hosts: usize) {
        match self.config.transports.index_of(metadata, locality).and_then(|index| self.match_stats.get(index)) {
            Some(scope) => scope.add(Lane::MAIN, TOTAL_MATCH_COUNT, hosts as u64),
            None => self.stats.add(Lane::MAIN, DEFAULT_TOTAL_MATCH_COUNT, hosts as u64),
        }
    }

    /// How connections to its hosts are made.
    pub(crate) fn tcp_options(&self) -> Arc<TcpOptions> {
        self.config.socket.clone()
    }

    /// Statistics of the HTTP/2 codec, which exist once there is a connection.
    pub(crate) fn http2_stats(&self) -> Option<&Arc<Scope>> {
        if let Some(stats) = self.http2_stats.get() {
            return Some(stats);
        }
        let stats = self.store.upgrade()?.scope(&format!("{}http2.", self.stats.prefix()), &HTTP2);
        Some(self.http2_stats.get_or_init(|| stats))
    }

    /// Whether the policy compares hosts by their requests in flight.
    pub(crate) fn compares_load(&self) -> bool {
        self.config.lb.compares_load()
    }
}

/// A cluster on one worker: what its pools and connections need at hand.
#[derive(Debug)]
pub struct ClusterCx {
    /// The cluster.
    pub info: Arc<ClusterInfo>,
    /// What exchanges show of it.
    pub facts: Rc<ClusterFacts>,
    /// The worker.
    pub worker: Rc<Worker>,
    pub(crate) reaper: Rc<Reaper>,
    /// Where heads are written before they are queued.
    pub(crate) scratch: Rc<RefCell<Vec<u8>>>,
    pub(crate) parts: Rc<Parts>,
    /// Made with the first TLS connection.
    pub(crate) tls: OnceCell<TlsStats>,
}

/// The most parts of clusters that a worker counts apart: their names come with requests.
const MAX_PARTS: usize = 10_000;

/// Statistics of parts of clusters' requests on one worker, by prefix. They outlive changes of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Parts(RefCell<HashMap<Box<str>, Arc<Scope>>>);

impl ClusterCx {
    /// When a connection that is made now has been kept long enough.
    pub(crate) fn connection_ends(&self) -> Time {
        let http = &self.info.config.http;
        let Some(limit) = http.max_connection_duration else { return Time::NEVER };
        Time::now() + self.worker.rng.stretched(limit, http.max_connection_duration_jitter)
    }

    /// `cluster.<name>.<part>.*`; `None` when there are ten thousand of them, over all clusters.
    pub fn part(&self, part: &str) -> Option<Arc<Scope>> {
        let prefix = format!("{}{part}.", self.info.stats.prefix());
        let mut parts = self.parts.0.borrow_mut();
        if let Some(scope) = parts.get(prefix.as_str()) {
            return Some(scope.clone());
        }
        if parts.len() >= MAX_PARTS {
            return None;
        }
        let scope = self.info.store()?.scope(&prefix, &PART);
        parts.insert(prefix.into(), scope.clone());
        Some(scope)
    }

    /// Statistics of TLS connections.
    pub(crate) fn tls_stats(&self) -> Option<&TlsStats> {
        if let Some(stats) = self.tls.get() {
            return Some(stats);
        }
        let stats = TlsStats::new(&self.info.store()?, self.info.stats.prefix(), self.worker.lane);
        Some(self.tls.get_or_init(|| stats))
    }
}

macro_rules! counting {
    ($($(#[$doc:meta])* $name:ident($id:ident: $type:ident $(, $n:ident: $arg:ty)?) = $method:ident),* $(,)?) => {
        impl ClusterCx {
            $($(#[$doc])* #[inline] pub fn $name(&self, $id: nuncio_stats::$type $(, $n: $arg)?) {
                self.info.stats.$method(self.worker.lane, $id $(, $n)?);
            })*
        }
    };
}

counting! {
    /// Counts one.
    inc(id: CounterId) = inc,
    /// Counts `n`.
    add(id: CounterId, n: u64) = add,
    /// Moves a gauge.
    gauge(id: GaugeId, n: i64) = gauge_add,
    /// Records a value.
    record(id: HistogramId, n: u64) = record,
    /// Counts a response status.
    code(id: CodesId, status: u16) = code,
}
