//! The running server as the main thread holds it: managers, statistics, what was loaded, and how it is doing.

use crate::cli::Options;
use nuncio_admin::State;
use nuncio_config::{Snapshot, runtime::Runtime};
use nuncio_core::{FailureLog, HttpFilterEntry, RuntimeValues, Worker};
use nuncio_ext::access_log::BackgroundFiles;
use nuncio_listen::{ConnectionBudget, DrainPace, ListenerManager};
use nuncio_rt::Time;
use nuncio_stats::{Lane, OutputRules, Scope, Store, tables::server as stat};
use nuncio_upstream::ClusterManager;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Everything the main thread needs at hand. Shared on the main thread only.
pub(super) struct Running {
    pub(super) options: Options,
    pub(super) filters: Vec<HttpFilterEntry>,
    pub(super) store: Arc<Store>,
    pub(super) output: Arc<OutputRules>,
    pub(super) clusters: ClusterManager,
    pub(super) listeners: ListenerManager,
    /// The limit of connections over all listeners.
    pub(super) connections: Arc<ConnectionBudget>,
    pub(super) files: Arc<BackgroundFiles>,
    pub(super) snapshot: RefCell<Arc<Snapshot>>,
    pub(super) runtime: RefCell<Arc<Runtime>>,
    /// The main thread as a worker, for what takes one.
    pub(super) main_worker: Rc<Worker>,
    /// What went wrong of late, by worker.
    pub(super) failures: RefCell<Vec<Arc<FailureLog>>>,
    /// What of it the workers are told.
    pub(super) runtime_news: watch::Sender<Arc<RuntimeValues>>,
    pub(super) server_stats: Arc<Scope>,
    pub(super) started: Time,
    /// `/reload`: to whom the outcome is told.
    pub(super) reload_asked: mpsc::UnboundedSender<ReloadAnswer>,
    /// `/quitquitquit`.
    pub(super) quit: Notify,
    pub(super) phase: Cell<Phase>,
    pub(super) failing_health_checks: Arc<AtomicBool>,
}

/// Takes the outcome of a reload: what changed, or why it was refused.
pub(super) type ReloadAnswer = oneshot::Sender<Result<String, String>>;

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first clusters are not warm yet.
    Starting,
    /// Serving.
    Serving,
    /// About to end.
    Ending,
}

impl Running {
    /// How `/ready` and `server.state` show it.
    pub(super) fn state(&self) -> State {
        match self.phase.get() {
            Phase::Starting => State::PreInitializing,
            Phase::Serving if self.failing_health_checks.load(Relaxed) => State::Draining,
            Phase::Serving => State::Live,
            Phase::Ending => State::Draining,
        }
    }

    /// How listeners drain when they change or the process ends.
    pub(super) fn pace(&self) -> DrainPace {
        pace(&self.options)
    }

    /// How what a reload changed or removed drains: connections end with their next response, so that the new
    /// configuration is in force soon and no request is cut off. As the flags say when compared with Envoy.
    pub(super) fn reload_pace(&self) -> DrainPace {
        let pace = self.pace();
        if self.options.parity {
            return pace;
        }
        DrainPace { strategy: nuncio_listen::DrainStrategy::NextResponse, ..pace }
    }

    /// Brings statistics up to date that are computed when somebody looks.
    pub(super) fn refresh(&self) {
        self.clusters.refresh_gauges();
        let memory = super::process::memory();
        let stats = &self.server_stats;
        stats.gauge_set(stat::UPTIME, Time::now().since(self.started).as_secs());
        stats.gauge_set(stat::MEMORY_ALLOCATED, memory.allocated);
        stats.gauge_set(stat::MEMORY_HEAP_SIZE, memory.heap_size);
        stats.gauge_set(stat::MEMORY_PHYSICAL_SIZE, memory.total_physical_bytes);
        stats.gauge_set(stat::TOTAL_CONNECTIONS, self.listeners.active_connections());
        stats.gauge_set(stat::CONCURRENCY, u64::from(self.options.workers()));
        stats.gauge_set(stat::DAYS_UNTIL_FIRST_CERT_EXPIRING, self.days_until_first_cert_expiring());
        stats.gauge_set(stat::LIVE, u64::from(self.state() == State::Live));
        stats.gauge_set(stat::STATE, self.state() as u64);
        stats.gauge_set_in(Lane::MAIN, stat::HOT_RESTART_EPOCH, u64::from(self.options.restart_epoch));
    }

    /// Without any certificate, Envoy's idea of never.
    fn days_until_first_cert_expiring(&self) -> u64 {
        let contexts = super::secrets::certificates(self);
        let certificates = contexts.iter().flat_map(|(own, trusted)| own.iter().chain(trusted));
        certificates.map(|facts| super::views::days_left(facts.expires)).min().unwrap_or(u64::from(u32::MAX))
    }

    /// Puts a new runtime in force, here and on the workers.
    pub(super) fn set_runtime(&self, runtime: Arc<Runtime>) {
        let values = runtime.values();
        self.main_worker.runtime.set(values.clone());
        self.clusters.set_runtime(values.clone());
        self.connections.set_limit(values.get(MOST_CONNECTIONS).and_then(|most| most.uint()).unwrap_or(u64::MAX));
        self.runtime_news.send_replace(values);
        self.runtime.replace(runtime);
    }

    /// The configuration in force.
    pub(super) fn loaded(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }
}

/// The most connections that may be open at a time, over all listeners but those that ignore it.
const MOST_CONNECTIONS: &str = "overload.global_downstream_max_connections";

/// How listeners drain, by the flags.
pub(super) fn pace(options: &Options) -> DrainPace {
    DrainPace {
        strategy: match options.drain_strategy {
            crate::cli::DrainStrategy::Gradual => nuncio_listen::DrainStrategy::Gradual,
            crate::cli::DrainStrategy::Immediate => nuncio_listen::DrainStrategy::Immediate,
        },
        time: options.drain_time,
    }
}

/// A shared handle to the running server.
pub(super) type Shared = Rc<Running>;
