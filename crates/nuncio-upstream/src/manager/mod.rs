//! All clusters, on the main thread: they come, warm, change and go; workers hear of it.
//!
//! [`ClusterManager::put`] takes a configuration. A cluster warms first (names resolved, every host checked once) and
//! only then replaces what there was; until then the old one serves. Each worker gets every change as one small
//! message, and only the touched cluster is copied. Nothing here is on the path of a request.

mod assignment;
mod cluster;
mod discovery;
mod eds;
mod named;
mod on_demand;
mod service;
mod view;
mod watch;
mod weigh;

pub use eds::{EndpointFiles, FileFault, ReadEndpoints};
pub use view::ClusterView;
pub(crate) use cluster::Cluster;
pub(crate) use discovery::Backoff;

use crate::config::{ClusterConfig, Local};
use crate::host_set::HostSet;
use crate::dns::Resolvers;
use crate::info::ClusterInfo;
use crate::names::NameCache;
use crate::worker::ClusterUpdate;
use nuncio_core::{RuntimeValues, RuntimeView};
use nuncio_stats::{Lane, Scope, Store, tables::cluster_manager as stat};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap},
    future::poll_fn,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, Waker},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The main thread's half of all clusters. Clones are the same manager.
#[derive(Debug, Clone)]
pub struct ClusterManager(Rc<Shared>);

pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) resolvers: Rc<dyn Resolvers>,
    stats: Arc<Scope>,
    workers: RefCell<Vec<UnboundedSender<ClusterUpdate>>>,
    clusters: RefCell<BTreeMap<Arc<str>, Entry>>,
    pub(crate) local: RefCell<Local>,
    pub(crate) runtime: RuntimeView,
    /// Who reads files of endpoints.
    files: RefCell<Option<Rc<dyn EndpointFiles>>>,
    /// Caches of names that clusters share.
    caches: RefCell<HashMap<Arc<str>, Weak<NameCache>>>,
    waiting: RefCell<Vec<Waker>>,
    /// All clusters of the first configuration have warmed.
    started: Cell<bool>,
    tally: Cell<Tally>,
    /// `thread_local_cluster_manager.main_thread.*`.
    main_thread: Arc<Scope>,
}

/// How many clusters there are of each kind, kept by the way: there may be ten thousand.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    active: u64,
    warming: u64,
    /// Those warming that start-up waits for.
    awaited: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} clusters", self.clusters.borrow().len())
    }
}

/// A name: the cluster that serves, and the one that is to replace it.
#[derive(Debug, Default)]
struct Entry {
    active: Option<Rc<Cluster>>,
    warming: Option<Rc<Cluster>>,
}

/// What a configuration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There was no cluster of that name.
    Added,
    /// It replaces another configuration.
    Modified,
    /// It is what there is already.
    None,
}

impl ClusterManager {
    /// A manager without clusters. Must be made, and used, on the main thread's executor.
    pub fn new(store: Arc<Store>, resolvers: Rc<dyn Resolvers>) -> ClusterManager {
        let stats = store.scope("cluster_manager.", &stat::CLUSTER_MANAGER);
        let main_thread = store.scope("thread_local_cluster_manager.main_thread.", &stat::THREAD_CLUSTERS);
        ClusterManager(Rc::new(Shared {
            store,
            resolvers,
            stats,
            workers: RefCell::default(),
            clusters: RefCell::default(),
            local: RefCell::default(),
            runtime: RuntimeView::default(),
            files: RefCell::default(),
            caches: RefCell::default(),
            waiting: RefCell::default(),
            started: Cell::new(false),
            tally: Cell::default(),
            main_thread,
        }))
    }

    /// A feed for one worker: all clusters there are, then every change. Give it to
    /// [`WorkerClusters::follow`](crate::WorkerClusters::follow).
    pub fn subscribe(&self) -> UnboundedReceiver<ClusterUpdate> {
        let (feed, updates) = unbounded_channel();
        for entry in self.0.clusters.borrow().values() {
            if let Some(cluster) = &entry.active {
                // Fails only if the receiver is gone, and it is here.
                let _ = feed.send(ClusterUpdate::Put(cluster.info.clone(), cluster.hosts()));
            }
        }
        self.0.workers.borrow_mut().push(feed);
        updates
    }

    /// Adds a cluster, or changes one: it warms, then serves.
    pub fn put(&self, config: impl Into<Arc<ClusterConfig>>) -> Change {
        let config = config.into();
        let name = config.name.clone();
        let mut clusters = self.0.clusters.borrow_mut();
        let entry = clusters.entry(name).or_default();
        let latest = entry.warming.as_ref().or(entry.active.as_ref());
        if latest.is_some_and(|cluster| cluster.info.config == config) {
            return Change::None;
        }
        let change = if latest.is_none() { Change::Added } else { Change::Modified };
        let zone = self.0.local.borrow().locality.as_ref().map(|here| here.zone.as_str().into()).unwrap_or_default();
        let info = ClusterInfo::new(config, &self.0.store, zone);
        if ClusterInfo::concerns(&self.0.runtime.values()) {
            info.apply(&self.0.runtime.values());
        }
        let cluster = Cluster::new(info, &self.0);
        self.0.retally(entry, |entry| entry.warming = Some(cluster.clone()));
        drop(clusters);
        let count = match change {
            Change::Added => stat::CLUSTER_ADDED,
            _ => stat::CLUSTER_MODIFIED,
        };
        self.0.stats.inc(Lane::MAIN, count);
        cluster.start();
        change
    }

    /// Removes a cluster. Requests in flight end undisturbed.
    pub fn remove(&self, name: &str) -> bool {
        let Some(mut entry) = self.0.clusters.borrow_mut().remove(name) else { return false };
        let active = entry.active.clone();
        self.0.retally(&mut entry, |entry| *entry = Entry::default());
        self.0.stats.inc(Lane::MAIN, stat::CLUSTER_REMOVED);
        if let Some(cluster) = active {
            self.0.tell(&ClusterUpdate::Remove(cluster.info.name().clone()));
        }
        self.0.settle();
        true
    }

    /// Says which cluster we are of and where we stand. Zone aware routing needs both.
    pub fn set_local(&self, local: Local) {
        if self.0.local.replace(local.clone()) != local {
            self.0.zones_changed();
        }
    }

    /// Says who reads files of endpoints: before the first cluster that has one.
    pub fn set_endpoint_files(&self, files: Rc<dyn EndpointFiles>) {
        *self.0.files.borrow_mut() = Some(files);
    }

    /// Puts runtime values in force on the main thread.
    pub fn set_runtime(&self, values: Arc<RuntimeValues>) {
        if ClusterInfo::concerns(&self.0.runtime.values()) || ClusterInfo::concerns(&values) {
            let clusters = self.0.clusters.borrow();
            clusters.values().flat_map(|entry| [&entry.active, &entry.warming]).flatten().for_each(|c| c.info.apply(&values));
        }
        self.0.runtime.set(values);
    }

    /// Makes the clusters be those of `configs` and no others but the ones that came over xDS.
    pub fn replace_static(&self, configs: Vec<impl Into<Arc<ClusterConfig>>>) {
        let mut configs: Vec<Arc<ClusterConfig>> = configs.into_iter().map(Into::into).collect();
        let wanted: BTreeSet<Arc<str>> = configs.iter().map(|config| config.name.clone()).collect();
        let gone: Vec<Arc<str>> = (self.0.clusters.borrow().iter())
            .filter(|(name, entry)| !wanted.contains(*name) && !entry.added_via_api())
            .map(|(name, _)| name.clone())
            .collect();
        gone.iter().for_each(|name| _ = self.remove(name));
        // By name as in Envoy, which shows in what the clusters after the local one count of their zones.
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        configs.into_iter().for_each(|config| _ = self.put(config));
    }

    /// Waits until every cluster that start-up waits for has warmed (`wait_for_warm_on_init`).
    pub async fn ready(&self) {
        poll_fn(|cx| {
            if self.0.tally.get().awaited == 0 {
                self.0.started.set(true);
                return Poll::Ready(());
            }
            self.0.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether a cluster of this name serves or warms.
    pub fn contains(&self, name: &str) -> bool {
        self.0.clusters.borrow().contains_key(name)
    }

    /// Every cluster that serves, by name, for `/clusters` and `/config_dump`.
    pub fn view(&self) -> Vec<ClusterView> {
        let clusters = self.0.clusters.borrow();
        clusters.values().filter_map(|entry| entry.active.as_ref()).map(|cluster| cluster.view()).collect()
    }

    /// Every cluster that warms, by name.
    pub fn warming(&self) -> Vec<ClusterView> {
        let clusters = self.0.clusters.borrow();
        clusters.values().filter_map(|entry| entry.warming.as_ref()).map(|cluster| cluster.view()).collect()
    }

    /// Brings the circuit breakers' gauges up to date. Call it before statistics are read.
    pub fn refresh_gauges(&self) {
        let clusters = self.0.clusters.borrow();
        clusters.values().filter_map(|entry| entry.active.as_ref()).for_each(|c| view::breaker_gauges(&c.info));
    }
}

impl Entry {
    fn tally(&self) -> Tally {
        let awaited = self.warming.as_ref().is_some_and(|cluster| cluster.info.config.wait_for_warm_on_init);
        Tally {
            active: u64::from(self.active.is_some()),
            warming: u64::from(self.warming.is_some()),
            awaited: u64::from(awaited),
        }
    }

    fn added_via_api(&self) -> bool {
        self.warming.as_ref().or(self.active.as_ref()).is_some_and(|c| c.info.config.added_via_api)
    }
}

impl Shared {
    /// A cluster has warmed: it serves from now on.
    fn warmed(&self, cluster: &Rc<Cluster>) {
        let name = cluster.info.name();
        {
            let mut clusters = self.clusters.borrow_mut();
            let Some(entry) = clusters.get_mut(name) else { return };
            if !entry.warming.as_ref().is_some_and(|warming| Rc::ptr_eq(warming, cluster)) {
                return;
            }
            self.retally(entry, |entry| entry.active = entry.warming.take());
        }
        self.tell(&ClusterUpdate::Put(cluster.info.clone(), cluster.hosts()));
        self.if_local(name);
        self.settle();
    }

    /// A serving cluster has other hosts, or knows better how they are.
    fn hosts_changed(&self, cluster: &Rc<Cluster>) {
        if self.serves(cluster) {
            self.stats.inc(Lane::MAIN, stat::CLUSTER_UPDATED);
            self.tell(&ClusterUpdate::Hosts(cluster.info.name().clone(), cluster.hosts()));
            self.if_local(cluster.info.name());
        }
    }

    /// Whether it is the one of its name that serves.
    fn serves(&self, cluster: &Rc<Cluster>) -> bool {
        let clusters = self.clusters.borrow();
        let active = clusters.get(cluster.info.name()).and_then(|entry| entry.active.as_ref());
        active.is_some_and(|active| Rc::ptr_eq(active, cluster))
    }

    /// The hosts of a cluster that serves.
    pub(crate) fn hosts_of(&self, name: &str) -> Option<Arc<HostSet>> {
        Some(self.clusters.borrow().get(name)?.active.as_ref()?.hosts())
    }

    fn if_local(&self, changed: &str) {
        if self.local.borrow().cluster.as_deref() == Some(changed) {
            self.zones_changed();
        }
    }

    /// The local cluster is another, or has other hosts: every cluster's zones are compared anew.
    fn zones_changed(&self) {
        let active: Vec<Rc<Cluster>> = self.clusters.borrow().values().filter_map(|e| e.active.clone()).collect();
        for cluster in active.iter().filter(|cluster| cluster.zones_changed()) {
            self.tell(&ClusterUpdate::Hosts(cluster.info.name().clone(), cluster.hosts()));
        }
    }

    fn tell(&self, update: &ClusterUpdate) {
        self.workers.borrow_mut().retain(|worker| worker.send(update.clone()).is_ok());
    }

    /// Wakes those who wait for clusters to be ready.
    fn settle(&self) {
        if self.tally.get().awaited == 0 {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Changes an entry, and the counts with it.
    fn retally(&self, entry: &mut Entry, change: impl FnOnce(&mut Entry)) {
        let before = entry.tally();
        change(entry);
        let (after, sum) = (entry.tally(), self.tally.get());
        let sum = Tally {
            active: sum.active + after.active - before.active,
            warming: sum.warming + after.warming - before.warming,
            awaited: sum.awaited + after.awaited - before.awaited,
        };
        self.tally.set(sum);
        self.stats.gauge_set(stat::ACTIVE_CLUSTERS, sum.active);
        self.main_thread.gauge_set(stat::CLUSTERS_INFLATED, sum.active);
        // The clusters that start-up waits for are not called warming.
        self.stats.gauge_set(stat::WARMING_CLUSTERS, if self.started.get() { sum.warming } else { 0 });
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) -> Task {
        Task(tokio::task::spawn_local(task))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
