//! Outlier detection: hosts that do worse than the others are not used for a while.
//!
//! * `config`: `OutlierDetection` as plain values.
//! * `monitor`: what workers note about a host, without locks.
//! * `detector`: the judge on the main thread, without clock or tasks.
//!
//! A worker that sees a row of errors become long enough sends [`Feedback`] to the cluster, which lets the detector judge
//! and publishes the hosts' health. Where no outlier detection is configured hosts have no monitor, and noting an outcome
//! is one look at that.

mod config;
mod detector;
mod monitor;
#[cfg(test)]
mod tests;

pub use config::{Consecutive, Finding, OutlierConfig};
pub(crate) use detector::Detector;
pub use detector::Rates;
pub use monitor::Outcome;
pub(crate) use monitor::{Monitor, Origin};

use crate::host::{HealthFlags, Host, HostState};
use crate::pool::WorkerHost;
use std::sync::Arc;

/// What workers tell a cluster about its hosts.
#[derive(Debug)]
pub(crate) enum Feedback {
    /// A row of errors is long enough.
    Failing(Arc<HostState>, Consecutive),
    /// It answered with `x-envoy-degraded`.
    Degraded(Arc<HostState>),
    /// It answered with `x-envoy-immediate-health-check-fail`.
    ImmediateFailure(Arc<HostState>),
    /// A request wants to go where no host was: this one has been made.
    Made(Arc<Host>),
    /// Requests ask for a name that is not known.
    Wanted(Arc<str>),
}

impl WorkerHost {
    /// Takes into account how an attempt to use the host went.
    #[inline]
    pub fn note(&self, outcome: Outcome) {
        if let Some(monitor) = self.host.state.monitor() {
            let worker = &self.cluster().worker;
            let found = monitor.note(worker.lane, outcome, &worker.runtime.values());
            for kind in found.into_iter().flatten() {
                self.tell(Feedback::Failing(self.host.state.clone(), kind));
            }
        }
    }

    /// The host's answer had `x-envoy-degraded`.
    pub fn note_degraded(&self) {
        let state = &self.host.state;
        let concerned = state.monitor().is_some_and(|monitor| monitor.detects_degraded());
        if concerned && !state.flags().has(HealthFlags::DEGRADED_OUTLIER_DETECTION) {
            self.tell(Feedback::Degraded(state.clone()));
        }
    }

    /// The host's answer had `x-envoy-immediate-health-check-fail`: where it is checked actively, it has failed.
    pub fn note_immediate_failure(&self) {
        if !self.cluster().info.config.health_checks.is_empty() {
            self.tell(Feedback::ImmediateFailure(self.host.state.clone()));
        }
    }

    fn tell(&self, feedback: Feedback) {
        self.cluster().info.tell(feedback);
    }
}
