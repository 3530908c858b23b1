//! A worker's connections: one to each host, made when it is first needed.

use crate::{
    RedisProxy,
    client::{Client, Counts},
    commands,
};
use nuncio_core::Worker;
use nuncio_rt::{Address, Time};
use nuncio_stats::{
    CounterId, Scope,
    tables::redis::{CONNECTION_RATE_LIMITED, MAX_UPSTREAM_UNKNOWN_CONNECTIONS_REACHED, REDIS_CLUSTER, UPSTREAM_COMMAND},
};
use nuncio_upstream::{ClusterSlot, HostState, PickCx, WorkerCluster, WorkerClusters, WorkerHost};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

/// One proxy's connections on one worker.
pub(crate) struct Pool {
    worker: Rc<Worker>,
    proxy: Arc<RedisProxy>,
    clusters: RefCell<HashMap<Arc<str>, Rc<Upstream>>>,
}

/// Connections to the hosts of a cluster.
pub(crate) struct Upstream {
    slot: Rc<ClusterSlot>,
    proxy: Arc<RedisProxy>,
    worker: Rc<Worker>,
    clients: RefCell<HashMap<*const HostState, Rc<Client>>>,
    /// To hosts that the cluster does not have.
    unknown: RefCell<HashMap<SocketAddr, (Rc<WorkerHost>, Rc<Client>)>>,
    stats: OnceCell<Arc<Scope>>,
    commands: RefCell<HashMap<&'static str, Arc<Scope>>>,
    /// Connections that may be made at once, and since when it is so many.
    tokens: Cell<(f64, Time)>,
}

impl Pool {
    pub(crate) fn new(worker: Rc<Worker>, proxy: Arc<RedisProxy>) -> Pool {
        let pool = Pool { worker, proxy, clusters: RefCell::default() };
        // Names are known, and clusters are looked for in their places from the start.
        let config = &pool.proxy.clone().config;
        for route in config.routes.iter().chain(&config.catch_all) {
            let mirrors = route.mirrors.iter().map(|mirror| &mirror.cluster);
            [&route.cluster].into_iter().chain(&route.read_cluster).chain(mirrors).for_each(|name| drop(pool.upstream(name)));
        }
        pool
    }

    /// The cluster of this name.
    pub(crate) fn upstream(&self, name: &Arc<str>) -> Rc<Upstream> {
        if let Some(known) = self.clusters.borrow().get(name) {
            return known.clone();
        }
        let slot = self.worker.parts.get::<WorkerClusters>().map(|clusters| clusters.slot(name)).unwrap_or_default();
        let tokens = f64::from(self.proxy.config.connections_per_second.unwrap_or_default());
        let upstream = Rc::new(Upstream {
            slot,
            proxy: self.proxy.clone(),
            worker: self.worker.clone(),
            clients: RefCell::default(),
            unknown: RefCell::default(),
            stats: OnceCell::new(),
            commands: RefCell::default(),
            tokens: Cell::new((tokens, Time::now())),
        });
        // The statistics are there before the first command.
        upstream.slot.get().inspect(|cluster| drop(upstream.stats(cluster)));
        self.clusters.borrow_mut().insert(name.clone(), upstream.clone());
        upstream
    }
}

impl Upstream {
    fn stats(&self, cluster: &WorkerCluster) -> Option<Arc<Scope>> {
        if let Some(stats) = self.stats.get() {
            return Some(stats.clone());
        }
        let info = cluster.info();
        let scope = info.store()?.scope(&format!("{}redis_cluster.", info.stats.prefix()), &REDIS_CLUSTER);
        Some(self.stats.get_or_init(|| scope).clone())
    }

    /// How many hosts there are.
    pub(crate) fn hosts(&self) -> usize {
        self.slot.get().map_or(0, |cluster| cluster.hosts().hosts().count())
    }

    /// The connection to the host of a hash, shared; `None`: there is no host, or it would be one connection too many.
    pub(crate) fn shared(&self, hash: u64) -> Option<Rc<Client>> {
        let (cluster, host) = self.host(hash)?;
        self.shared_to(&cluster, host)
    }

    fn shared_to(&self, cluster: &WorkerCluster, host: Rc<WorkerHost>) -> Option<Rc<Client>> {
        let key = Arc::as_ptr(&host.host.state);
        if let Some(client) = self.clients.borrow().get(&key)
            && !client.is_closed()
        {
            return Some(client.clone());
        }
        let client = self.connect(cluster, host)?;
        self.clients.borrow_mut().retain(|_, client| !client.is_closed());
        self.clients.borrow_mut().insert(key, client.clone());
        Some(client)
    }

    /// Whether hosts may send commands elsewhere.
    pub(crate) fn redirects(&self) -> bool {
        self.proxy.config.redirection.is_some()
    }

    /// Counts something of the cluster's.
    pub(crate) fn inc(&self, id: CounterId) {
        self.slot.get().inspect(|cluster| cluster.cx().inc(id));
    }

    /// The connection to the host at an address, whether the cluster has it or not; `None`: it would be one unknown too many.
    pub(crate) fn at(&self, to: SocketAddr) -> Option<Rc<Client>> {
        let cluster = self.slot.get()?;
        let address = Address::Ip(to);
        if let Some(host) = cluster.host_at(&address) {
            return self.shared_to(&cluster, host);
        }
        if let Some((_, client)) = self.unknown.borrow().get(&to).filter(|(_, client)| !client.is_closed()) {
            return Some(client.clone());
        }
        self.unknown.borrow_mut().retain(|_, (_, client)| !client.is_closed());
        if self.unknown.borrow().len() >= self.proxy.config.redirection.unwrap_or_default() as usize {
            self.stats(&cluster)?.inc(self.worker.lane, MAX_UPSTREAM_UNKNOWN_CONNECTIONS_REACHED);
            return None;
        }
        let host = cluster.unlisted_host(&address);
        let client = self.connect(&cluster, host.clone())?;
        self.unknown.borrow_mut().insert(to, (host, client.clone()));
        Some(client)
    }

    /// A connection of somebody's own.
    pub(crate) fn dedicated(&self, hash: u64) -> Option<Rc<Client>> {
        let (cluster, host) = self.host(hash)?;
        self.connect(&cluster, host)
    }

    fn host(&self, hash: u64) -> Option<(Rc<WorkerCluster>, Rc<WorkerHost>)> {
        let cluster = self.slot.get()?;
        let host = cluster.pick(&PickCx { hash: Some(hash), ..PickCx::default() })?;
        Some((cluster, host))
    }

    fn connect(&self, cluster: &WorkerCluster, host: Rc<WorkerHost>) -> Option<Rc<Client>> {
        let stats = self.stats(cluster)?;
        if !self.may_connect() {
            stats.inc(self.worker.lane, CONNECTION_RATE_LIMITED);
            return None;
        }
        Some(Client::connect(host, stats, self.counts("auth"), &self.proxy.config))
    }

    /// Takes a token for a connection, where there is a limit.
    fn may_connect(&self) -> bool {
        let Some(rate) = self.proxy.config.connections_per_second.map(f64::from) else { return true };
        let (tokens, since) = self.tokens.get();
        let now = Time::now();
        let tokens = (tokens + now.since(since).as_secs_f64() * rate).min(rate);
        let may = tokens >= 1.0;
        self.tokens.set((if may { tokens - 1.0 } else { tokens }, now));
        may
    }

    /// Where a command is counted, if it is.
    pub(crate) fn counts(&self, command: &str) -> Option<Counts> {
        if !self.proxy.config.command_stats {
            return None;
        }
        let cluster = self.slot.get()?;
        let stats = self.stats(&cluster)?;
        let name = commands::stat_name(command);
        if let Some(known) = self.commands.borrow().get(name) {
            return Some(Counts { command: known.clone(), cluster: stats });
        }
        let prefix = format!("{}redis_cluster.upstream_commands.{name}.", cluster.info().stats.prefix());
        let scope = cluster.info().store()?.scope(&prefix, &UPSTREAM_COMMAND);
        self.commands.borrow_mut().insert(name, scope.clone());
        Some(Counts { command: scope, cluster: stats })
    }
}
