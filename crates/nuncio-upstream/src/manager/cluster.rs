//! One cluster on the main thread: from endpoints to hosts, from hosts and their health to what workers see.

use super::discovery::{Name, keep_resolved};
use super::service::Server;
use super::view::{ClusterView, balancing_stats};
use super::{Shared, Task};
use super::assignment::health_flags;
use crate::config::{Assignment, Discovery, Endpoint, EndpointAddress, LocalityEndpoints, Locality};
use crate::health::Checker;
use crate::host::{HealthFlags, Host, HostState};
use crate::host_set::HostSet;
use crate::info::ClusterInfo;
use crate::lb::PlanCx;
use crate::names::NameCache;
use crate::orca::Follower;
use crate::outlier::Detector;
use nuncio_rt::{Address, Time};
use nuncio_stats::{Lane, tables::cluster as stat};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashMap, HashSet},
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// One cluster on the main thread.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// What is shared with the workers.
    pub(crate) info: Arc<ClusterInfo>,
    pub(super) shared: Weak<Shared>,
    /// The configuration's, or what came in its place over EDS.
    pub(super) assignment: RefCell<Arc<Assignment>>,
    /// One per endpoint of the assignment: the addresses it has now.
    pub(super) targets: RefCell<Vec<Target>>,
    set: RefCell<Arc<HostSet>>,
    pub(super) checker: RefCell<Option<Rc<Checker>>>,
    pub(super) detector: RefCell<Option<Detector>>,
    pub(super) watch: RefCell<Option<Task>>,
    phase: Cell<Phase>,
    /// Hosts whose first check the warming waits for.
    unchecked: RefCell<HashSet<*const HostState>>,
    pub(super) discovery: RefCell<Vec<Task>>,
    /// Waits for what EDS has assigned to be stale.
    pub(super) stale: RefCell<Option<Task>>,
    /// The cache of names that its hosts come from.
    pub(super) names: RefCell<Option<Rc<NameCache>>>,
    merge: RefCell<Merge>,
    pub(super) weighing: RefCell<Option<Task>>,
    /// Asks hosts for their load.
    pub(super) follower: RefCell<Option<Rc<Follower>>>,
}

#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) locality: usize,
    pub(super) endpoint: usize,
    /// What its name has come to.
    pub(super) addresses: Vec<Address>,
    /// Where it is a service: the server of each address.
    pub(super) servers: Vec<Server>,
}

/// How far a cluster has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Names are being resolved.
    Discovering,
    /// Hosts are being checked for the first time.
    Checking,
    /// It can serve.
    Warm,
}

/// Health and weight changes within the merge window, which reach the workers together.
#[derive(Debug, Default)]
struct Merge {
    last: Option<Instant>,
    pending: Option<Task>,
}

impl Cluster {
    pub(super) fn new(info: Arc<ClusterInfo>, shared: &Rc<Shared>) -> Rc<Cluster> {
        Rc::new(Cluster {
            assignment: RefCell::new(info.config.assignment.clone()),
            info,
            shared: Rc::downgrade(shared),
            targets: RefCell::default(),
            set: RefCell::default(),
            checker: RefCell::default(),
            detector: RefCell::default(),
            watch: RefCell::default(),
            phase: Cell::new(Phase::Discovering),
            unchecked: RefCell::default(),
            discovery: RefCell::default(),
            stale: RefCell::default(),
            names: RefCell::default(),
            merge: RefCell::default(),
            weighing: RefCell::default(),
            follower: RefCell::default(),
        })
    }

    /// Its hosts now.
    pub(crate) fn hosts(&self) -> Arc<HostSet> {
        self.set.borrow().clone()
    }

    pub(super) fn view(&self) -> ClusterView {
        ClusterView { info: self.info.clone(), hosts: self.hosts(), success_rates: self.success_rates() }
    }

    /// Begins to find hosts. Those of a STATIC cluster are there when it returns.
    pub(super) fn start(self: &Rc<Self>) {
        let config = self.info.config.clone();
        if let Some(check) = config.health_checks.first() {
            let store = self.shared.upgrade().map(|shared| shared.store.clone());
            *self.checker.borrow_mut() = store.map(|store| Checker::new(self, check.clone(), &store));
        }
        self.info.set_drop_overload(config.assignment.drop_overload);
        self.watch();
        self.weigh_always();
        let names = self.target();
        self.count_transports();
        self.sort_for(Vec::new(), 0);
        self.rebuild();
        self.clean_up_later();
        self.join_cache();
        self.discover(names);
    }

    fn discover(self: &Rc<Self>, names: Vec<Name>) {
        if let Discovery::Eds(eds) = &self.info.config.discovery {
            return self.follow_endpoints(eds);
        }
        let (Discovery::StrictDns(dns) | Discovery::LogicalDns(dns)) = &self.info.config.discovery else {
            return self.discovered();
        };
        let Some(shared) = self.shared.upgrade() else { return };
        if names.is_empty() {
            return self.discovered();
        }
        let resolver = shared.resolvers.resolver(&dns.resolver);
        let tasks = names.into_iter().map(|name| {
            Task::spawn(keep_resolved(Rc::downgrade(self), name, dns.clone(), resolver.clone()))
        });
        *self.discovery.borrow_mut() = tasks.collect();
    }

    /// A name has these addresses now.
    pub(super) fn resolved(self: &Rc<Self>, target: usize, addresses: Vec<Address>, servers: Vec<Server>) {
        if let Some(target) = self.targets.borrow_mut().get_mut(target) {
            self.count_transport(target, addresses.len());
            (target.addresses, target.servers) = (addresses, servers);
        }
        if !self.rebuild() {
            self.info.stats.inc(Lane::MAIN, stat::UPDATE_NO_REBUILD);
        }
    }

    /// The first answer is in (for any of the names, as Envoy has it): hosts are known.
    pub(super) fn discovered(self: &Rc<Self>) {
        if self.phase.get() != Phase::Discovering {
            return;
        }
        self.phase.set(Phase::Checking);
        if self.checker.borrow().is_some() {
            let set = self.hosts();
            let checked = set.hosts().filter(|host| !host.health_check.disable_active);
            *self.unchecked.borrow_mut() = checked.map(|host| Arc::as_ptr(&host.state)).collect();
        }
        self.warm_if_checked();
    }

    fn warm_if_checked(self: &Rc<Self>) {
        if self.phase.get() == Phase::Checking && self.unchecked.borrow().is_empty() {
            self.phase.set(Phase::Warm);
            if let Some(shared) = self.shared.upgrade() {
                shared.warmed(self);
            }
        }
    }

    /// A health check of a host is done; `changed` if load balancing has to know.
    pub(crate) fn checked(self: &Rc<Self>, host: &Arc<Host>, passed: bool, changed: bool) {
        let healthy = passed && !host.state.flags().has(HealthFlags::FAILED_ACTIVE_HC);
        let returned = healthy && self.check_passed(host);
        if changed || returned {
            let flags = host.state.flags();
            if !flags.has(HealthFlags::FAILED_ACTIVE_HC) {
                host.state.became_healthy(Time::now());
            }
            if flags.has(HealthFlags::PENDING_DYNAMIC_REMOVAL) && flags.has(HealthFlags::FAILED_ACTIVE_HC) {
                self.rebuild();
            } else {
                self.health_changed();
            }
        }
        self.unchecked.borrow_mut().remove(&Arc::as_ptr(&host.state));
        self.warm_if_checked();
    }

    /// Makes hosts of the targets' addresses and publishes them if anything is different. Returns whether it was.
    pub(super) fn rebuild(self: &Rc<Self>) -> bool {
        let mut before: HashMap<(Arc<Address>, u32), Vec<Arc<Host>>> = HashMap::new();
        let old = self.hosts();
        let (config, assignment) = (&self.info.config, self.assignment.borrow().clone());
        // Over EDS a host stays what it is where it moves to another priority.
        let place = |priority| if let Discovery::Eds(_) = config.discovery { 0 } else { priority };
        for host in old.hosts() {
            before.entry((host.address.clone(), place(host.priority))).or_default().push(host.clone());
        }
        before.values_mut().for_each(|hosts| hosts.reverse());
        let (mut hosts, mut changed) = (Vec::with_capacity(self.targets.borrow().len()), false);
        // Priorities that hosts came to or went from.
        let mut membership = BTreeSet::new();
        let mut seen = HashSet::new();
        for target in self.targets.borrow().iter() {
            let Some(locality) = assignment.localities.get(target.locality) else { continue };
            let Some(endpoint) = locality.endpoints.get(target.endpoint) else { continue };
            for (at, address) in target.now(&assignment).iter().enumerate() {
                let server = target.servers.get(at);
                let priority = locality.priority + server.map_or(0, |server| server.rank);
                let address = Arc::new(address.clone());
                // Several names may lead to one address: it is one host.
                if config.discovery != Discovery::Static && !seen.insert(address.clone()) {
                    continue;
                }
                let known = before.get_mut(&(address.clone(), place(priority))).and_then(Vec::pop);
                if let Some(known) = &known {
                    known.state.set_flags(HealthFlags::PENDING_DYNAMIC_REMOVAL, false);
                }
                let host = self.host(address, locality, endpoint, server, known.as_ref());
                changed |= !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &host));
                match &known {
                    Some(known) if known.priority == host.priority => {}
                    moved => membership.extend(moved.iter().map(|known| known.priority).chain([host.priority])),
                }
                hosts.push(host);
            }
        }
        for host in before.into_values().flatten() {
            if self.keeps(&host) {
                hosts.push(host);
            } else {
                changed = true;
                membership.insert(host.priority);
            }
        }
        if changed {
            self.publish(hosts, membership.len() as u64);
        }
        changed
    }

    /// Whether a host that is no longer resolved stays for as long as its checks pass.
    fn keeps(&self, host: &Host) -> bool {
        let keeps = self.checker.borrow().is_some()
            && !self.info.config.ignore_health_on_host_removal
            && !host.state.flags().has(HealthFlags::FAILED_ACTIVE_HC);
        if keeps {
            host.state.set_flags(HealthFlags::PENDING_DYNAMIC_REMOVAL, true);
        }
        keeps
    }

    fn host(
        &self,
        address: Arc<Address>,
        locality: &LocalityEndpoints,
        endpoint: &Endpoint,
        server: Option<&Server>,
        known: Option<&Arc<Host>>,
    ) -> Arc<Host> {
        let priority = locality.priority + server.map_or(0, |server| server.rank);
        let hostname = match &endpoint.address {
            _ if !endpoint.hostname.is_empty() => endpoint.hostname.clone(),
            EndpointAddress::Service(_) => server.map_or_else(Arc::default, |server| server.name.clone()),
            EndpointAddress::Name { host, .. } if matches!(self.info.config.discovery, Discovery::StrictDns(_) | Discovery::LogicalDns(_)) => host.as_str().into(),
            _ => Arc::default(),
        };
        // What a host has reported outlives what the configuration says.
        let own = known.filter(|_| self.info.config.orca.is_some()).map(|known| known.weight);
        let weight = own.unwrap_or(server.map_or(endpoint.weight, |server| server.weight)).max(1);
        if let Some(known) = known
            && known.hostname == hostname
            && known.weight == weight
            && known.priority == priority
            && known.metadata == endpoint.metadata
            && known.locality_metadata == locality.metadata
            && known.observability_name == endpoint.observability_name
            && known.locality == locality.locality
        {
            return known.clone();
        }
        let state = known.map_or_else(|| self.fresh_state(endpoint), |known| known.state.clone());
        Arc::new(Host {
            address,
            hostname,
            locality: locality.locality.clone(),
            priority,
            weight,
            metadata: endpoint.metadata.clone(),
            observability_name: endpoint.observability_name.clone(),
            locality_metadata: locality.metadata.clone(),
            health_check: endpoint.health_check.clone(),
            attempts: endpoint.attempts.clone(),
            state,
        })
    }

    fn fresh_state(&self, endpoint: &Endpoint) -> Arc<HostState> {
        let mut flags = health_flags(endpoint.health);
        if self.checker.borrow().is_some() && !endpoint.health_check.disable_active {
            // Not to be used before its first check has passed.
            flags |= HealthFlags::FAILED_ACTIVE_HC.0;
            if self.info.config.common_lb.ignore_new_hosts_until_first_hc {
                flags |= HealthFlags::PENDING_ACTIVE_HC.0;
            }
        }
        let lanes = self.shared.upgrade().map_or(1, |shared| shared.store.lanes());
        HostState::of_cluster(lanes, HealthFlags(flags), &self.info.config)
    }

    /// Sorts the hosts anew and shows them to the workers at once.
    pub(super) fn publish(self: &Rc<Self>, hosts: Vec<Arc<Host>>, membership: u64) {
        self.info.stats.add(Lane::MAIN, stat::MEMBERSHIP_CHANGE, membership);
        if let Some(checker) = self.checker.borrow().as_ref() {
            checker.set_hosts(&hosts);
        }
        self.watch_hosts(&hosts);
        if let Some(follower) = self.follower.borrow().as_ref() {
            follower.set_hosts(self, &hosts);
        }
        self.sort(hosts);
        let mut merge = self.merge.borrow_mut();
        merge.last = self.merges_from_now();
        if merge.pending.take().is_some() {
            self.count(nuncio_stats::tables::cluster_manager::UPDATE_MERGE_CANCELLED);
        }
        drop(merge);
        self.tell();
    }

    /// A merge window begins with an update, but not with one that nobody sees yet.
    fn merges_from_now(&self) -> Option<Instant> {
        (self.phase.get() == Phase::Warm).then(Instant::now)
    }

    /// Health changed, membership did not: workers hear of it at once, or with others at the end of the window.
    pub(super) fn health_changed(self: &Rc<Self>) {
        let hosts = self.hosts().hosts().cloned().collect();
        self.sort(hosts);
        let window = self.info.config.common_lb.update_merge_window;
        let mut merge = self.merge.borrow_mut();
        let since = merge.last.map(|last| last.elapsed());
        if since.is_some_and(|since| since < window) && self.phase.get() == Phase::Warm {
            if merge.pending.is_none() {
                merge.pending = Some(Task::spawn(Cluster::merge_later(Rc::downgrade(self), window)));
            }
            return;
        }
        merge.last = self.merges_from_now();
        merge.pending = None;
        drop(merge);
        if self.phase.get() == Phase::Warm {
            self.count(nuncio_stats::tables::cluster_manager::UPDATE_OUT_OF_MERGE_WINDOW);
        }
        self.tell();
    }

    async fn merge_later(cluster: Weak<Cluster>, window: Duration) {
        tokio::time::sleep(window).await;
        if let Some(cluster) = cluster.upgrade() {
            cluster.count(nuncio_stats::tables::cluster_manager::CLUSTER_UPDATED_VIA_MERGE);
            cluster.merge.borrow_mut().last = Some(Instant::now());
            cluster.tell();
            // Last, for it ends this very task.
            drop(cluster.merge.borrow_mut().pending.take());
        }
    }

    fn count(&self, id: nuncio_stats::CounterId) {
        if let Some(shared) = self.shared.upgrade() {
            shared.stats.inc(Lane::MAIN, id);
        }
    }

    pub(super) fn sort(&self, hosts: Vec<Arc<Host>>) {
        let threads = self.shared.upgrade().map_or(1, |shared| 1 + shared.workers.borrow().len());
        self.sort_for(hosts, threads as u64);
    }

    /// Sorts hosts, counted as often as Envoy's threads would count it.
    fn sort_for(&self, hosts: Vec<Arc<Host>>, threads: u64) {
        let assignment = self.assignment.borrow().clone();
        let weights: HashMap<(u32, Arc<Locality>), u32> = (assignment.localities.iter())
            .filter_map(|l| Some(((l.priority, l.locality.clone()), l.weight?)))
            .collect();
        let set = HostSet::new(hosts, &weights, assignment.overprovisioning_factor, assignment.weighted_priority_health);
        let set = Arc::new(self.prepare(set));
        balancing_stats(&self.info, &self.hosts().plan, &set.plan, threads);
        let stats = &self.info.stats;
        let membership = set.membership();
        stats.gauge_set(stat::MEMBERSHIP_TOTAL, membership.total);
        stats.gauge_set(stat::MEMBERSHIP_HEALTHY, membership.healthy);
        stats.gauge_set(stat::MEMBERSHIP_DEGRADED, membership.degraded);
        stats.gauge_set(stat::MEMBERSHIP_EXCLUDED, membership.excluded);
        if matches!(self.info.config.discovery, Discovery::StrictDns(_) | Discovery::Eds(_)) {
            // Without hosts it is that of the least there may be, once they are known.
            let heaviest = self.configured_weight().unwrap_or(membership.max_weight);
            stats.gauge_set(stat::MAX_HOST_WEIGHT, if threads > 0 { heaviest.max(1) } else { 0 });
        }
        *self.set.borrow_mut() = set;
    }

    /// Works out what workers choose hosts by.
    fn prepare(&self, set: HostSet) -> HostSet {
        let config = &self.info.config;
        let shared = self.shared.upgrade();
        let local = shared.as_ref().map(|shared| shared.local.borrow().clone()).unwrap_or_default();
        // Until the local cluster is there, it is one without hosts.
        let hosts_of = |name: &str| shared.as_ref().and_then(|shared| shared.hosts_of(name)).unwrap_or_default();
        let local_hosts = local.cluster.as_deref().map(hosts_of);
        let common = match &shared {
            Some(shared) => config.common_lb.now(&shared.runtime.values()),
            None => Cow::Borrowed(&config.common_lb),
        };
        set.prepared(&PlanCx {
            lb: &config.lb,
            common: &common,
            subsets: config.subsets.as_ref(),
            named_hosts: !config.named_by.is_empty(),
            local: Some(&local),
            local_hosts: local_hosts.as_deref(),
        })
    }

    /// The local cluster has changed: zones are compared anew.
    pub(super) fn zones_changed(&self) -> bool {
        let config = &self.info.config;
        let concerned = !config.lb.is_hashing() && self.phase.get() == Phase::Warm;
        if concerned {
            self.sort(self.hosts().hosts().cloned().collect());
        }
        concerned
    }

    fn tell(self: &Rc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.hosts_changed(self);
        }
    }
}
