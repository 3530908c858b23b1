//! Connection pools: one per worker, host and routing priority.
//!
//! * [`Http1Pool`] keeps idle connections in a stack (the warm one is used next), a queue of requests that wait, and
//!   connects when more wait than are being connected and the breaker permits.
//! * `grow`: when it makes connections; `ahead`: those made before anybody asks. [`Http2Pool`] keeps connections that requests share, and makes another only when none
//!   has room. [`Acquire`] is one request's way to a connection.
//! * [`Reaper`] closes idle connections whose peer has gone or whose time is up; one task per worker.
//!
//! A connection belongs to its pool until it is closed, even while a stream has it: the pool counts it, and decides at
//! its return whether it is kept. Statistics are counted as Envoy counts them, here and nowhere else.

mod acquire;
mod ahead;
mod counting;
mod grow;
mod http1;
mod http2;
mod reaper;
mod waiting;

pub use acquire::Acquire;
pub(crate) use counting::Closed;
use counting::{count_closed, count_connect_failed, count_host, count_opened, count_opened_again, host_has_room};
pub(crate) use http1::Http1Pool;
use http2::Http2Pool;
pub(crate) use reaper::Reaper;

use crate::breaker::RoutingPriority;
use crate::host::{HealthFlags, Host, HostCounters, HostStat};
use crate::config::UpstreamProtocol;
use crate::info::ClusterCx;
use crate::transport::{TransportOptions, Wanted};
use nuncio_core::{HostFacts, Protocol};
use nuncio_stats::{Scope, tables::cluster::UPSTREAM_CX_POOL_OVERFLOW};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A host on one worker: the host, and the worker's connections to it.
#[derive(Debug)]
pub struct WorkerHost {
    /// The host.
    pub host: Arc<Host>,
    /// What exchanges show of it.
    pub facts: Rc<HostFacts>,
    pub(crate) cluster: Rc<ClusterCx>,
    pools: Rc<Pools>,
    zone: OnceCell<Option<Arc<Scope>>>,
}

/// The pools of a host, made when first used; they outlive changes of the host's weight or metadata.
#[derive(Debug, Default)]
pub(super) struct Pools {
    default: OnceCell<Rc<Http1Pool>>,
    high: OnceCell<Rc<Http1Pool>>,
    http2_default: OnceCell<Rc<Http2Pool>>,
    http2_high: OnceCell<Rc<Http2Pool>>,
    /// With `auto_config`, what the host was found to speak.
    pub(super) spoken: Cell<Spoken>,
    /// Pools of requests that want connections of their own kind.
    others: RefCell<HashMap<Rc<TransportOptions>, Rc<Pools>>>,
    options: Option<Rc<TransportOptions>>,
    /// As of the last host set, checks or outlier detection say that the host does not work.
    failed: Cell<bool>,
    /// Raw connections that close when it fails.
    raw: RefCell<Vec<Weak<HostFailed>>>,
}

/// What a host was found to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Spoken {
    #[default]
    Unknown,
    Http1,
}

/// Tells the owner of a raw connection that its host has failed.
#[derive(Debug, Default)]
pub(crate) struct HostFailed {
    failed: Cell<bool>,
    owner: RefCell<Option<Waker>>,
}

impl HostFailed {
    /// Ready when the host has failed.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.failed.get() {
            return Poll::Ready(());
        }
        let mut owner = self.owner.borrow_mut();
        if !owner.as_ref().is_some_and(|owner| owner.will_wake(cx.waker())) {
            *owner = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl WorkerHost {
    pub(crate) fn new(host: Arc<Host>, cluster: Rc<ClusterCx>) -> Rc<WorkerHost> {
        let worker_host = Rc::new(WorkerHost { facts: host.facts(), host, cluster, pools: Rc::default(), zone: OnceCell::new() });
        worker_host.has_failed_since();
        worker_host
    }

    /// Whether the host does not work any more, where it did when this was asked last.
    pub(crate) fn has_failed_since(&self) -> bool {
        let flags = self.host.state.flags();
        let failed = flags.has(HealthFlags::FAILED_ACTIVE_HC) || flags.has(HealthFlags::FAILED_OUTLIER_CHECK);
        !self.pools.failed.replace(failed) && failed
    }

    /// The same host with other facts, keeping the connections.
    pub(crate) fn with_host(&self, host: Arc<Host>) -> Rc<WorkerHost> {
        Rc::new(WorkerHost { facts: host.facts(), host, cluster: self.cluster.clone(), pools: self.pools.clone(), zone: OnceCell::new() })
    }

    /// Asks for a connection. Poll what is returned. `downstream` is what the client speaks, where the cluster goes by
    /// that.
    #[inline]
    pub fn acquire(self: &Rc<Self>, priority: RoutingPriority, downstream: Protocol) -> Acquire {
        self.acquire_from(&self.pools, priority, downstream)
    }

    /// Asks for a connection of a kind of its own.
    pub fn acquire_with(self: &Rc<Self>, options: TransportOptions, priority: RoutingPriority, downstream: Protocol) -> Acquire {
        let pools = self.pools_for(options);
        self.acquire_from(&pools, priority, downstream)
    }

    #[inline]
    fn acquire_from(self: &Rc<Self>, pools: &Rc<Pools>, priority: RoutingPriority, downstream: Protocol) -> Acquire {
        if self.speaks_http2(pools, downstream) {
            Acquire::http2(self.clone(), self.http2_pool(pools, priority).clone())
        } else {
            Acquire::http1(self.clone(), self.pool(pools, priority).clone())
        }
    }

    #[inline]
    fn speaks_http2(&self, pools: &Pools, downstream: Protocol) -> bool {
        let http = &self.cluster.info.config.http;
        let known_to_be_http1 = http.protocol == UpstreamProtocol::Auto && pools.spoken.get() == Spoken::Http1;
        http.speaks_http2(downstream) && !known_to_be_http1
    }

    fn pools_for(&self, options: TransportOptions) -> Rc<Pools> {
        /// Kinds kept at most while nobody uses them.
        const UNUSED_MAX: usize = 256;
        let mut others = self.pools.others.borrow_mut();
        if let Some(pools) = others.get(&options) {
            return pools.clone();
        }
        if others.len() >= UNUSED_MAX {
            others.retain(|_, pools| pools.is_used());
        }
        let options = Rc::new(options);
        let pools = Rc::new(Pools { options: Some(options.clone()), ..Pools::default() });
        others.insert(options, pools.clone());
        pools
    }

    /// Asks for a connection of the request's own, for its body as it is.
    pub fn acquire_raw(self: &Rc<Self>, options: Option<TransportOptions>, priority: RoutingPriority) -> Acquire {
        Acquire::raw(self.clone(), options, priority)
    }

    /// Whether there may be a pool for it: false (and `upstream_cx_pool_overflow` counted) when there are
    /// `max_connection_pools` of other hosts.
    pub fn may_have_pool(self: &Rc<Self>, priority: RoutingPriority) -> bool {
        let may = self.cluster.info.breakers.max_pools(priority) == u64::MAX || match self.cluster.info.config.http.protocol {
            UpstreamProtocol::Http2 => self.http2_pool(&self.pools, priority).enter(),
            _ => self.pool(&self.pools, priority).enter(),
        };
        if !may {
            self.cluster.inc(UPSTREAM_CX_POOL_OVERFLOW);
        }
        may
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &Rc<ClusterCx> {
        &self.cluster
    }

    /// The part of its cluster's statistics that requests from our zone to its zone have: `zone.<from>.<to>`. `None` where
    /// either is not known.
    pub fn zone_part(&self) -> Option<String> {
        let (from, to) = (&*self.cluster.info.zone, &self.host.locality.zone);
        (!from.is_empty() && !to.is_empty()).then(|| format!("zone.{from}.{to}"))
    }

    /// The statistics of [`WorkerHost::zone_part`] of a cluster: its own, or one that its own is a member of.
    #[inline]
    pub fn zone_stats(&self, cluster: &ClusterCx) -> Option<Arc<Scope>> {
        if std::ptr::eq(cluster, &*self.cluster) {
            return self.zone.get_or_init(|| cluster.part(&self.zone_part()?)).clone();
        }
        cluster.part(&self.zone_part()?)
    }

    /// Counts one in the host's own statistics (`rq_success`, `rq_error`, `rq_timeout` are the router's to count).
    #[inline]
    pub fn count(&self, stat: HostStat) {
        if let Some(cells) = self.counters() {
            cells.inc(stat);
        }
    }

    /// Takes one from a gauge of the host's own statistics.
    pub fn uncount(&self, stat: HostStat) {
        if let Some(cells) = self.counters() {
            cells.dec(stat);
        }
    }

    #[inline]
    pub(crate) fn counters(&self) -> Option<&HostCounters> {
        self.host.state.counters(self.cluster.worker.lane)
    }

    #[inline]
    pub(super) fn pool<'p>(&self, pools: &'p Pools, priority: RoutingPriority) -> &'p Rc<Http1Pool> {
        let slot = match priority {
            RoutingPriority::Default => &pools.default,
            RoutingPriority::High => &pools.high,
        };
        slot.get_or_init(|| {
            let wanted = Wanted { options: pools.options.clone(), protocols: &["http/1.1"] };
            Http1Pool::new(self.cluster.clone(), self.host.clone(), priority, wanted)
        })
    }

    #[inline]
    fn http2_pool<'p>(&self, pools: &'p Rc<Pools>, priority: RoutingPriority) -> &'p Rc<Http2Pool> {
        let slot = match priority {
            RoutingPriority::Default => &pools.http2_default,
            RoutingPriority::High => &pools.http2_high,
        };
        slot.get_or_init(|| {
            let auto = self.cluster.info.config.http.protocol == UpstreamProtocol::Auto;
            let protocols: &[&str] = if auto { &["h2", "http/1.1"] } else { &["h2"] };
            let wanted = Wanted { options: pools.options.clone(), protocols };
            // With ALPN a connection may turn out to be for the other pool.
            let http1 = auto.then(|| (self.pool(pools, priority).clone(), Rc::downgrade(pools)));
            Http2Pool::new(self.cluster.clone(), self.host.clone(), priority, wanted, http1)
        })
    }

    /// For a raw connection that is to close when the host fails, where that is wanted.
    pub(crate) fn watch_failure(&self) -> Option<Rc<HostFailed>> {
        if !self.cluster.info.config.close_connections_on_host_health_failure {
            return None;
        }
        let watch = Rc::new(HostFailed::default());
        let mut raw = self.pools.raw.borrow_mut();
        raw.retain(|other| other.strong_count() > 0);
        raw.push(Rc::downgrade(&watch));
        Some(watch)
    }

    /// The host has failed: raw connections that watch for it close.
    pub(crate) fn close_raw(&self) {
        let watching = std::mem::take(&mut *self.pools.raw.borrow_mut());
        for watch in watching.iter().filter_map(Weak::upgrade) {
            watch.failed.set(true);
            watch.owner.take().inspect(Waker::wake_by_ref);
        }
    }

    /// Closes idle connections and lets busy ones end; nothing is kept from now on.
    pub(crate) fn retire(&self) {
        self.pools.each(&Http1Pool::retire, &Http2Pool::retire);
    }

    /// Closes idle connections and has busy ones closed when they are done; new ones may be made.
    pub(crate) fn drain(&self) {
        self.pools.each(&Http1Pool::drain, &Http2Pool::drain);
    }
}

impl Pools {
    fn each(&self, http1: &dyn Fn(&Rc<Http1Pool>), http2: &dyn Fn(&Rc<Http2Pool>)) {
        [&self.default, &self.high].into_iter().filter_map(OnceCell::get).for_each(http1);
        [&self.http2_default, &self.http2_high].into_iter().filter_map(OnceCell::get).for_each(http2);
        self.others.borrow().values().for_each(|other| other.each(http1, http2));
    }

    /// It has connections, or requests that wait for one.
    fn is_used(&self) -> bool {
        let used = Cell::new(false);
        self.each(&|pool| used.set(used.get() || pool.is_used()), &|pool| used.set(used.get() || pool.is_used()));
        used.get()
    }
}
