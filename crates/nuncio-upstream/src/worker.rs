//! Clusters on one worker.
//!
//! [`WorkerClusters`] is the worker's table of clusters, kept current by messages from the main thread. A route keeps
//! a [`ClusterSlot`] and asks it at each request, so that a request costs no lookup by name and sees a cluster that
//! came, changed or went meanwhile. A cluster that no request has asked for costs its slot and nothing else.

use crate::breaker::{Permit, Resource, RoutingPriority};
use crate::config::Discovery;
use crate::host_set::HostSet;
use crate::info::{ClusterCx, ClusterInfo, Parts};
use crate::lb::{Balancer, Choice, PickCx, PickEnv, PriorityLoads};
use crate::pool::{Reaper, WorkerHost};
use crate::names;
use crate::provided::{Member, Provided, unlisted};
use crate::transport::TransportOptions;
use nuncio_core::{ClusterHealth, ClusterHealthPart, NameLookup, NamedClusters, NamedClustersPart, Protocol, Worker};
use nuncio_rt::Address;
use nuncio_stats::tables::cluster as stat;
use nuncio_stats::tables::cluster_manager::{CLUSTERS_INFLATED, THREAD_CLUSTERS};
use nuncio_stats::{Lane, Scope};
use std::{
    borrow::Cow,
    cell::{Cell, OnceCell, RefCell},
    collections::{HashMap, HashSet},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};
use tokio::sync::mpsc::UnboundedReceiver;

/// What the main thread tells the workers.
#[derive(Debug, Clone)]
pub enum ClusterUpdate {
    /// A cluster that is new, or whose configuration changed.
    Put(Arc<ClusterInfo>, Arc<HostSet>),
    /// Other hosts, or other health, for a cluster.
    Hosts(Arc<str>, Arc<HostSet>),
    /// A cluster is gone.
    Remove(Arc<str>),
    /// A name leads nowhere, and why; or nothing is known of it any more.
    Failed(Arc<str>, Arc<str>, Option<Arc<str>>),
}

/// All clusters on one worker.
#[derive(Debug)]
pub struct WorkerClusters {
    worker: Rc<Worker>,
    reaper: Rc<Reaper>,
    scratch: Rc<RefCell<Vec<u8>>>,
    parts: Rc<Parts>,
    slots: RefCell<HashMap<Arc<str>, Rc<ClusterSlot>>>,
    /// Changes with every change of any cluster.
    generation: Rc<Cell<u64>>,
    /// Forsaken slots are swept out when there are this many.
    sweep_at: Cell<usize>,
    /// `thread_local_cluster_manager.<thread>.*`, made with the first cluster.
    stats: OnceCell<Arc<Scope>>,
}

/// The place of a cluster, whether there is one of that name or not.
#[derive(Debug, Default)]
pub struct ClusterSlot {
    cluster: RefCell<Option<Rc<WorkerCluster>>>,
}

impl ClusterSlot {
    /// The cluster as it is now.
    #[inline]
    pub fn get(&self) -> Option<Rc<WorkerCluster>> {
        self.cluster.borrow().clone()
    }
}

/// Clusters as filters ask after them.
struct Healths(std::rc::Weak<WorkerClusters>);

impl ClusterHealth for Healths {
    fn membership(&self, cluster: &str) -> Option<(u64, u64)> {
        let membership = self.0.upgrade()?.by_name(cluster)?.hosts().membership();
        Some((membership.total, membership.healthy + membership.degraded))
    }
}

/// Clusters that go by the names of requests, as filters ask after them.
struct Named(std::rc::Weak<WorkerClusters>);

impl NamedClusters for Named {
    fn lookup(&self, cluster: &str, host: &str, port: Option<u16>) -> NameLookup {
        let Some(cluster) = self.0.upgrade().and_then(|clusters| clusters.by_name(cluster)) else { return NameLookup::NotAsked };
        cluster.lookup(&cluster.with_port(host, port), true)
    }

    fn goes_by_name(&self, cluster: &str) -> bool {
        self.0.upgrade().and_then(|clusters| clusters.by_name(cluster)).is_some_and(|cluster| cluster.provided.dynamic().is_some())
    }
}

impl WorkerClusters {
    /// The clusters of `worker`, empty at first; starts the task that looks after idle connections. Must be called on
    /// the worker's executor. Also to be had by `worker.parts.get()`.
    pub fn start(worker: &Rc<Worker>) -> Rc<WorkerClusters> {
        let (reaper, task) = Reaper::start(worker.timers.clone());
        nuncio_rt::spawn(task);
        let clusters = Rc::new(WorkerClusters {
            worker: worker.clone(),
            reaper,
            scratch: Rc::default(),
            parts: Rc::default(),
            slots: RefCell::default(),
            generation: Rc::default(),
            sweep_at: Cell::new(64),
            stats: OnceCell::new(),
        });
        worker.parts.set(clusters.clone());
        worker.parts.set(Rc::new(ClusterHealthPart(Rc::new(Healths(Rc::downgrade(&clusters))))));
        worker.parts.set(Rc::new(NamedClustersPart(Rc::new(Named(Rc::downgrade(&clusters))))));
        clusters
    }

    /// Applies what is in `feed` already, then all that comes, for as long as the main thread sends. Poll it once
    /// before serving: it first takes in everything that is waiting.
    pub async fn follow(self: Rc<Self>, mut feed: UnboundedReceiver<ClusterUpdate>) {
        while let Some(update) = feed.recv().await {
            self.apply(update);
        }
    }

    /// The cluster of this name.
    pub fn by_name(&self, name: &str) -> Option<Rc<WorkerCluster>> {
        self.slots.borrow().get(name).and_then(|slot| slot.get())
    }

    /// The place of this name, to be kept and asked at each request.
    pub fn slot(&self, name: &str) -> Rc<ClusterSlot> {
        if let Some(slot) = self.slots.borrow().get(name) {
            return slot.clone();
        }
        let slot = Rc::new(ClusterSlot::default());
        let mut slots = self.slots.borrow_mut();
        if slots.len() >= self.sweep_at.get() {
            // Slots that have no cluster and that no route keeps.
            slots.retain(|_, slot| Rc::strong_count(slot) > 1 || slot.cluster.borrow().is_some());
            self.sweep_at.set(2 * slots.len() + 64);
        }
        slots.insert(name.into(), slot.clone());
        slot
    }

    fn count(&self, info: &ClusterInfo, n: i64) {
        // The main thread's clusters are the manager's to count.
        if self.worker.lane == Lane::MAIN {
            return;
        }
        if self.stats.get().is_none()
            && let Some(store) = info.store()
        {
            let prefix = format!("thread_local_cluster_manager.worker_{}.", self.worker.index);
            let scope = store.scope(&prefix, &THREAD_CLUSTERS);
            self.stats.get_or_init(|| scope);
        }
        if let Some(stats) = self.stats.get() {
            stats.gauge_add(self.worker.lane, CLUSTERS_INFLATED, n);
        }
    }

    /// Takes in one change.
    pub fn apply(&self, update: ClusterUpdate) {
        self.generation.set(self.generation.get().wrapping_add(1));
        match update {
            ClusterUpdate::Put(info, hosts) => {
                let slot = self.slot(info.name());
                if slot.get().is_none() {
                    self.count(&info, 1);
                }
                let cx = ClusterCx {
                    facts: info.facts(),
                    info,
                    worker: self.worker.clone(),
                    reaper: self.reaper.clone(),
                    scratch: self.scratch.clone(),
                    parts: self.parts.clone(),
                    tls: OnceCell::new(),
                };
                let provided = Provided::new(&cx.info, &hosts, |name| self.slot(name), &self.generation);
                let (cx, latest) = (Rc::new(cx), RefCell::new(hosts));
                let cluster = WorkerCluster { cx, latest, members: RefCell::default(), provided };
                let before = slot.cluster.replace(Some(Rc::new(cluster)));
                before.inspect(|cluster| cluster.retire());
            }
            ClusterUpdate::Hosts(name, hosts) => {
                if let Some(cluster) = self.by_name(&name) {
                    cluster.set_hosts(hosts);
                }
            }
            ClusterUpdate::Failed(cluster, name, details) => {
                if let Some(dynamic) = self.by_name(&cluster).as_ref().and_then(|cluster| cluster.provided.dynamic()) {
                    dynamic.set_failed(name, details);
                }
            }
            ClusterUpdate::Remove(name) => {
                let slot = self.slots.borrow().get(&name).cloned();
                let before = slot.and_then(|slot| slot.cluster.take());
                if let Some(cluster) = before {
                    self.count(cluster.info(), -1);
                    cluster.retire();
                }
            }
        }
    }
}

/// One cluster on one worker.
#[derive(Debug)]
pub struct WorkerCluster {
    cx: Rc<ClusterCx>,
    latest: RefCell<Arc<HostSet>>,
    /// Made by the first pick.
    members: RefCell<Option<Box<Members>>>,
    /// How hosts are chosen where it is not by balancing.
    provided: Provided,
}

/// The balancer, and the worker's side of the hosts it chooses from.
#[derive(Debug)]
struct Members {
    balancer: Balancer,
    /// As in the host set; a place is filled when the host is first picked.
    hosts: Vec<Vec<Option<Rc<WorkerHost>>>>,
}

impl WorkerCluster {
    /// The cluster.
    #[inline]
    pub fn info(&self) -> &Arc<ClusterInfo> {
        &self.cx.info
    }

    /// The cluster with the worker: what counts statistics and takes permits.
    #[inline]
    pub fn cx(&self) -> &Rc<ClusterCx> {
        &self.cx
    }

    /// The hosts as of now.
    pub fn hosts(&self) -> Arc<HostSet> {
        self.latest.borrow().clone()
    }

    /// Its host at this address.
    pub fn host_at(&self, address: &Address) -> Option<Rc<WorkerHost>> {
        self.choose(|balancer, _| balancer.find(|host| *host.address == *address))
    }

    /// A host at an address where it has none: nobody else knows of it, and it goes with whoever holds it.
    pub fn unlisted_host(&self, address: &Address) -> Rc<WorkerHost> {
        WorkerHost::new(unlisted(&self.cx, address), self.cx.clone())
    }

    /// Which cluster the host for a request is to come from, where load is spread over priorities by `loads` or as usual.
    #[inline]
    pub fn member(&self, loads: Option<&PriorityLoads>) -> Member {
        match self.provided.aggregate() {
            None => Member::Own,
            Some(aggregate) => aggregate.choose(loads, &self.cx.worker.rng),
        }
    }

    /// The cluster that an attempt goes to first, where attempts go to different ones.
    #[inline]
    pub fn member_for(&self, attempt: u32) -> Option<Rc<WorkerCluster>> {
        self.provided.composite()?.member(attempt)
    }

    /// Chooses a host, of a member where the cluster is an aggregate. `None`: there is none to use
    /// (`upstream_cx_none_healthy` has been counted).
    pub fn pick(&self, cx: &PickCx<'_>) -> Option<Rc<WorkerHost>> {
        let host = match self.member(cx.loads) {
            Member::Own => self.find(cx),
            Member::Of(member) => member.cluster().find(&PickCx { loads: Some(member.loads()), ..*cx }),
            Member::Nowhere => None,
        };
        if host.is_none() {
            self.cx.inc(stat::UPSTREAM_CX_NONE_HEALTHY);
        }
        host
    }

    /// Chooses one of its own hosts. Who finds none counts that, for whom it was to be.
    pub fn find(&self, cx: &PickCx<'_>) -> Option<Rc<WorkerHost>> {
        if let Ok(host) = self.provided.find(&self.cx, cx) {
            return host;
        }
        self.choose(|balancer, env| balancer.pick(env, cx))
    }

    fn choose(&self, choose: impl FnOnce(&mut Balancer, &PickEnv<'_>) -> Option<Choice>) -> Option<Rc<WorkerHost>> {
        let mut members = self.members.borrow_mut();
        let members = members.get_or_insert_with(|| Box::new(self.inflate(None)));
        let cluster = &self.cx;
        let env = PickEnv {
            rng: &cluster.worker.rng,
            count: &|id| cluster.inc(id),
            in_flight: &|| cluster.info.stats.gauge(stat::UPSTREAM_RQ_ACTIVE),
        };
        let choice = choose(&mut members.balancer, &env)?;
        let place = members.hosts.get_mut(choice.priority)?.get_mut(choice.index)?;
        if let Some(host) = place {
            return Some(host.clone());
        }
        let host = WorkerHost::new(members.balancer.host(choice)?.clone(), self.cx.clone());
        *place = Some(host.clone());
        Some(host)
    }

    /// A request is about to ask for a connection: begins some at the hosts that the next requests will get, where those are
    /// to be ready (`predictive_preconnect_ratio`).
    #[inline]
    pub fn preconnect(&self, options: Option<&TransportOptions>, priority: RoutingPriority, downstream: Protocol) {
        let config = &self.cx.info.config;
        if config.preconnect.predictive > 1.0 && config.discovery.has_endpoints() {
            self.connect_ahead(config.preconnect.predictive, options, priority, downstream);
        }
    }

    fn connect_ahead(&self, ratio: f64, options: Option<&TransportOptions>, priority: RoutingPriority, downstream: Protocol) {
        /// Connections begun for one request.
        const AT_ONCE: usize = 3;
        for _ in 0..AT_ONCE {
            if !self.cx.reaper.wants_connection(ratio) {
                return;
            }
            let next = self.choose(|balancer, env| balancer.look_ahead(env));
            if !next.is_some_and(|host| host.preconnect(ratio, options, priority, downstream)) {
                return;
            }
        }
    }

    /// The host with this address, if it is as well as `override_host_status` wants it.
    pub fn find_address(&self, address: &str) -> Option<Rc<WorkerHost>> {
        let wanted: SocketAddr = address.parse().ok()?;
        let host = self.host_at(&Address::Ip(wanted))?;
        self.cx.info.config.common_lb.override_host_status.has(host.host.state.flags().status()).then_some(host)
    }

    /// What is known of a name that a request asks for, where the cluster goes by names; if nothing is, it is looked up.
    pub fn lookup(&self, name: &str, limited: bool) -> NameLookup {
        self.provided.dynamic().map_or(NameLookup::NotAsked, |dynamic| dynamic.lookup(&self.cx, name, limited))
    }

    /// The name of a host that requests ask for, with its port: `default` where it has none, or what the cluster speaks by.
    pub fn with_port<'a>(&self, host: &'a str, default: Option<u16>) -> Cow<'a, str> {
        match &self.cx.info.config.discovery {
            Discovery::Dynamic(config) => names::with_port(host, default.unwrap_or(config.default_port)),
            _ => host.into(),
        }
    }

    /// How many priorities it has.
    pub fn priorities(&self) -> usize {
        self.provided.aggregate().map_or_else(|| self.latest.borrow().priorities.len(), |aggregate| aggregate.priorities())
    }

    /// How load is spread over priorities without those that are `avoided`. `None`: nothing could be had from the others.
    pub fn loads_without(&self, avoided: &[bool]) -> Option<PriorityLoads> {
        match self.provided.aggregate() {
            Some(aggregate) => aggregate.loads_without(avoided),
            None => PriorityLoads::without(&self.latest.borrow(), avoided),
        }
    }

    /// The priority of a host as this cluster counts, which may be an aggregate of the host's.
    pub fn priority_of(&self, host: &WorkerHost) -> u32 {
        let own = host.host.priority;
        self.provided.aggregate().map_or(own, |aggregate| aggregate.priority_of(host.cluster().info.name(), own))
    }

    /// Asks the breaker for one more. `None`: it is open. Connections, pending requests and requests are the pool's to
    /// ask for; retries are the router's.
    pub fn breaker(&self, priority: RoutingPriority, resource: Resource) -> Option<Permit> {
        Permit::take(&self.cx, priority, resource)
    }

    fn inflate(&self, before: Option<Members>) -> Members {
        let set = self.latest.borrow().clone();
        let config = &self.cx.info.config;
        let hosts = set.priorities.iter().map(|tier| vec![None; tier.hosts.len()]).collect();
        let balancer = Balancer::new(set, config.lb, before.map(|members| members.balancer));
        Members { balancer, hosts }
    }

    /// Takes in another host set: hosts that stay keep their connections, those that went close theirs.
    fn set_hosts(&self, set: Arc<HostSet>) {
        let previous = self.latest.replace(set.clone());
        if self.provided.set_hosts(&set) {
            return;
        }
        let mut members = self.members.borrow_mut();
        let Some(mut before) = members.take().map(|before| *before) else { return };
        let mut known: HashMap<*const _, Rc<WorkerHost>> = HashMap::new();
        for host in before.hosts.iter_mut().flatten().filter_map(Option::take) {
            known.insert(Arc::as_ptr(&host.host.state), host);
        }
        let mut now = self.inflate(Some(before));
        for (tier, places) in set.priorities.iter().zip(&mut now.hosts) {
            for (host, place) in tier.hosts.iter().zip(places) {
                if known.is_empty() {
                    break;
                }
                *place = known.remove(&Arc::as_ptr(&host.state)).map(|old| match Arc::ptr_eq(&old.host, host) {
                    true => old,
                    false => old.with_host(host.clone()),
                });
            }
        }
        let config = &self.cx.info.config;
        let disturbed = config.common_lb.close_connections_on_host_set_change && !same_members(&previous, &set);
        known.into_values().for_each(|host| host.retire());
        for host in now.hosts.iter().flatten().flatten() {
            // New connections may do better, whatever `close_connections_on_host_health_failure` says of raw ones.
            let failed = host.has_failed_since();
            if failed {
                host.close_raw();
            }
            if failed || disturbed {
                host.drain();
            }
        }
        *members = Some(Box::new(now));
    }

    /// The cluster is gone or replaced: its connections close as they become idle.
    fn retire(&self) {
        self.provided.retire();
        if let Some(members) = self.members.borrow_mut().take() {
            members.hosts.iter().flatten().flatten().for_each(|host| host.retire());
        }
    }
}

/// Whether two sets have the same hosts, whatever has become of their health or weight.
fn same_members(a: &HostSet, b: &HostSet) -> bool {
    let members = |set: &HostSet| set.hosts().map(|host| Arc::as_ptr(&host.state)).collect::<HashSet<_>>();
    members(a) == members(b)
}
