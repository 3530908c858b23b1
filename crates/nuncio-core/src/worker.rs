//! What belongs to one worker thread.

use crate::{FailureLog, RuntimeFraction, RuntimeView};
use nuncio_codec::headers::HeaderMap;
use nuncio_rt::{BufPool, Clock, Rng, Timers};
use nuncio_stats::Lane;
use std::{
    any::{Any, TypeId},
    cell::RefCell,
    collections::HashMap,
    fmt,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Header maps kept for reuse by one worker.
const POOLED_HEADER_MAPS: usize = 512;

/// What a worker shares with the main thread.
#[derive(Debug, Clone, Default)]
pub struct Common {
    /// Where failures are noted.
    pub failures: Arc<FailureLog>,
    /// Health checks are to fail (`/healthcheck/fail`). Not sent as news: who has been told so may ask at once.
    pub failing_health_checks: Arc<AtomicBool>,
}

/// A worker's own things: its stats lane, timers, buffers, clock. Shared by `Rc`, never sent.
pub struct Worker {
    /// Where this thread writes its stats.
    pub lane: Lane,
    /// Index of the worker, from 0; the main thread has none of these.
    pub index: usize,
    /// The timer wheel.
    pub timers: Timers,
    /// Free buffers.
    pub bufs: Rc<BufPool>,
    /// Random numbers.
    pub rng: Rng,
    /// Cached wall clock.
    pub clock: Clock,
    /// Values that may be changed while the process runs.
    pub runtime: RuntimeView,
    /// The server was told to fail health checks (`/healthcheck/fail`).
    pub failing_health_checks: Arc<AtomicBool>,
    /// What other crates keep per worker (clusters, listeners), by type.
    pub parts: Parts,
    /// What went wrong of late.
    pub failures: Arc<FailureLog>,
    header_maps: RefCell<Vec<HeaderMap>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Worker {
    /// Draws whether something is to be done that is done to a part of all requests.
    #[inline]
    pub fn draws(&self, part: &RuntimeFraction) -> bool {
        let part = part.now(&self.runtime.values());
        part.is_all() || part.holds(self.rng.next_u64())
    }

    /// The things of worker number `index`, which writes to `lane`.
    pub fn new(index: usize, lane: Lane) -> Rc<Worker> {
        Worker::sharing(index, lane, Common::default())
    }

    /// The same, with what it shares with others.
    pub fn sharing(index: usize, lane: Lane, common: Common) -> Rc<Worker> {
        Rc::new(Worker {
            lane,
            index,
            timers: Timers::default(),
            bufs: Rc::default(),
            rng: Rng::default(),
            clock: Clock::default(),
            runtime: RuntimeView::default(),
            failing_health_checks: common.failing_health_checks,
            parts: Parts::default(),
            failures: common.failures,
            header_maps: RefCell::default(),
        })
    }

    /// True if the server was told to fail health checks.
    #[inline]
    pub fn fails_health_checks(&self) -> bool {
        self.failing_health_checks.load(Relaxed)
    }

    /// An empty header map, reused where possible.
    #[inline]
    pub fn take_headers(&self) -> HeaderMap {
        self.header_maps.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a header map back.
    #[inline]
    pub fn put_headers(&self, mut map: HeaderMap) {
        let mut pool = self.header_maps.borrow_mut();
        if pool.len() < POOLED_HEADER_MAPS {
            map.clear();
            pool.push(map);
        }
    }
}

/// The node as services are told of it: `core.v3.Node`, encoded. Among a worker's parts.
pub struct NodePart(pub Arc<[u8]>);

/// How healthy clusters are, as filters may ask. Among a worker's parts, as [`ClusterHealthPart`].
pub trait ClusterHealth {
    /// Hosts of a cluster, and how many of them are healthy or degraded; `None` if there is no such cluster.
    fn membership(&self, cluster: &str) -> Option<(u64, u64)>;
}

/// The worker's clusters, for filters.
pub struct ClusterHealthPart(pub Rc<dyn ClusterHealth>);

/// A worker's parts by type: each crate of the data path keeps one there.
#[derive(Default)]
pub struct Parts(RefCell<HashMap<TypeId, Rc<dyn Any>>>);

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parts({})", self.0.borrow().len())
    }
}

impl Parts {
    /// Adds or replaces the part of type `T`.
    pub fn set<T: 'static>(&self, part: Rc<T>) {
        self.0.borrow_mut().insert(TypeId::of::<T>(), part);
    }

    /// The part of type `T`. Look it up when a listener or filter starts, not per request.
    pub fn get<T: 'static>(&self) -> Option<Rc<T>> {
        self.0.borrow().get(&TypeId::of::<T>()).cloned().and_then(|part| part.downcast().ok())
    }
}
