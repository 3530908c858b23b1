//! What a cluster hears from workers about its hosts, and the sweeps of its outlier detection: one task, where there is
//! anything to hear.

use super::{Cluster, Task};
use crate::config::Discovery;
use crate::host::Host;
use crate::outlier::{Detector, Feedback, Rates};
use nuncio_rt::Time;
use nuncio_stats::tables::outlier_detection::OUTLIER_DETECTION;
use std::{
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

impl Cluster {
    /// A wait between health checks, within what the runtime keys of all clusters allow (`health_check.min_interval` and
    /// `.max_interval`, milliseconds).
    pub(crate) fn within_limits(&self, wait: Duration) -> Duration {
        let Some(shared) = self.shared.upgrade() else { return wait };
        let runtime = shared.runtime.values();
        let limit = |key| runtime.get(key).and_then(|value| value.uint()).map(Duration::from_millis);
        let least = limit("health_check.min_interval").unwrap_or_default();
        limit("health_check.max_interval").map_or(wait, |most| wait.min(most)).max(least)
    }

    /// Begins to listen to workers and to sweep, if the configuration wants either.
    pub(super) fn watch(self: &Rc<Self>) {
        let config = self.info.config.clone();
        if let (Some(outlier), Some(shared)) = (&config.outlier, self.shared.upgrade()) {
            let stats = shared.store.scope(&format!("{}outlier_detection.", self.info.stats.prefix()), &OUTLIER_DETECTION);
            *self.detector.borrow_mut() = Some(Detector::new(config.name.clone(), outlier.clone(), stats));
        }
        let on_demand = matches!(config.discovery, Discovery::OriginalDst(_) | Discovery::Dynamic(_));
        if config.outlier.is_none() && config.health_checks.is_empty() && !on_demand {
            return;
        }
        let (tell, heard) = unbounded_channel();
        if self.info.feedback.set(tell).is_ok() {
            *self.watch.borrow_mut() = Some(Task::spawn(listen(Rc::downgrade(self), heard)));
        }
    }

    /// Rates of success in the last interval, where outliers are detected: of answers, and of local origin.
    pub(super) fn success_rates(&self) -> Option<[Rates; 2]> {
        self.detector.borrow().as_ref().map(Detector::rates)
    }

    /// A worker has told something.
    fn heard(self: &Rc<Self>, feedback: Feedback) {
        let now = Time::now();
        let changed = match feedback {
            Feedback::Failing(host, kind) => self.judge(|detector, runtime| detector.failing(&host, kind, now, runtime)),
            Feedback::Degraded(host) => self.judge(|detector, _| detector.degraded(&host, now)),
            Feedback::ImmediateFailure(host) => {
                let checker = self.checker.borrow().clone();
                checker.is_some_and(|checker| checker.failed_passively(&host))
            }
            Feedback::Made(host) => return self.made(host),
            Feedback::Wanted(name) => return self.wanted(&name),
        };
        if changed {
            self.health_changed();
        }
    }

    fn sweep(self: &Rc<Self>) {
        if self.judge(|detector, runtime| detector.sweep(Time::now(), runtime)) {
            self.health_changed();
        }
    }

    /// An active check of a host has passed, which may end its ejection. Answers whether it did.
    pub(super) fn check_passed(&self, host: &Host) -> bool {
        self.judge(|detector, _| detector.check_passed(&host.state, Time::now()))
    }

    /// The hosts are these now.
    pub(super) fn watch_hosts(&self, hosts: &[Arc<Host>]) {
        if let Some(detector) = self.detector.borrow_mut().as_mut() {
            detector.set_hosts(hosts);
        }
    }

    fn sweep_interval(&self) -> Option<Duration> {
        let shared = self.shared.upgrade()?;
        let interval = self.detector.borrow().as_ref()?.interval(&shared.runtime.values());
        Some(interval)
    }

    fn judge(&self, act: impl FnOnce(&mut Detector, &nuncio_core::RuntimeValues) -> bool) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        let mut detector = self.detector.borrow_mut();
        let changed = detector.as_mut().is_some_and(|detector| act(detector, &shared.runtime.values()));
        drop(detector);
        changed
    }
}

async fn listen(cluster: Weak<Cluster>, mut heard: UnboundedReceiver<Feedback>) {
    // Far enough where nothing is swept: a day, and again.
    let after = |interval: Option<Duration>| Instant::now() + interval.unwrap_or(Duration::from_secs(86_400));
    let Some(first) = cluster.upgrade().map(|cluster| cluster.sweep_interval()) else { return };
    let mut next = after(first);
    loop {
        let feedback = tokio::time::timeout_at(next, heard.recv()).await;
        let Some(cluster) = cluster.upgrade() else { return };
        match feedback {
            Ok(Some(feedback)) => cluster.heard(feedback),
            Ok(None) => return,
            Err(_) => {
                cluster.sweep();
                next = after(cluster.sweep_interval());
            }
        }
    }
}
