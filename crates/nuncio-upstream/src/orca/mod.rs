//! What hosts report about their load with their answers (ORCA), and the weights that come of it: the policy
//! `client_side_weighted_round_robin`.
//!
//! * `report`: a report out of a header, in any of its three forms. `json`, `wire`: two of these.
//! * `weights`: what is noted per host, by workers without locks, and the weights of hosts beside each other.
//!
//! Workers note; once per `weight_update_period` the main thread weighs the hosts anew and shows them to the workers as
//! hosts of other weight (`manager/weigh.rs`), so that choosing knows nothing of reports. A cluster of another policy has
//! nothing of this: a host without the place for reports costs one look per answer.

mod json;
mod report;
mod weights;
mod wire;

pub use report::LoadReport;
pub(crate) use weights::{Reported, weigh};

use crate::pool::WorkerHost;
use nuncio_codec::headers::HeaderMap;
use nuncio_rt::Time;
use std::time::Duration;

/// `ClientSideWeightedRoundRobin`.
#[derive(Debug, Clone, PartialEq)]
pub struct OrcaConfig {
    /// `blackout_period`: how long a host has to report before its reports count.
    pub blackout: Duration,
    /// `weight_expiration_period`: how long a report counts.
    pub expiration: Duration,
    /// `weight_update_period`, longer than zero.
    pub update_period: Duration,
    /// `error_utilization_penalty`, at least 0.
    pub error_penalty: f64,
    /// `metric_names_for_computing_utilization`: `cpu_utilization`, `named_metrics.x`, `utilization.*` and the like.
    pub metrics: Vec<String>,
}

impl Default for OrcaConfig {
    fn default() -> Self {
        OrcaConfig {
            blackout: Duration::from_secs(10),
            expiration: Duration::from_secs(180),
            update_period: Duration::from_secs(1),
            error_penalty: 0.0,
            metrics: Vec::new(),
        }
    }
}

impl WorkerHost {
    /// Takes the report in an answer's headers or trailers into account, where the cluster weighs its hosts by reports.
    /// Answers whether there was one that can be read.
    #[inline]
    pub fn note_load(&self, headers: &HeaderMap) -> bool {
        self.host.state.reported().is_some_and(|reported| self.take_report(reported, headers))
    }

    fn take_report(&self, reported: &Reported, headers: &HeaderMap) -> bool {
        let Some(config) = &self.cluster().info.config.orca else { return false };
        let Some(report) = LoadReport::of(headers) else { return false };
        if let Some(weight) = report.weight(config) {
            reported.note(weight, Time::now());
        }
        true
    }
}
