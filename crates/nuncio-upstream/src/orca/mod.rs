//! What hosts report about their load with their answers (ORCA), and the weights that come of it: the policy
//! `client_side_weighted_round_robin`.
//!
//! * `report`: a report out of a header, in any of its three forms. `json`, `wire`: two of these.
//! * `follow`: reports that hosts are asked for beside requests.
//! * `weights`: what is noted per host, by workers without locks, and the weights of hosts beside each other.
//!
//! Workers note; once per `weight_update_period` the main thread weighs the hosts anew and shows them to the workers as
//! hosts of other weight (`manager/weigh.rs`), so that choosing knows nothing of reports. A cluster of another policy has
//! nothing of this: a host without the place for reports costs one look per answer.

mod follow;
mod json;
mod report;
mod weights;
mod wire;

pub(crate) use follow::Follower;
pub use report::LoadReport;
pub(crate) use weights::{Reported, weigh};

use crate::pool::WorkerHost;
use nuncio_codec::headers::HeaderMap;
use nuncio_core::metadata::Metadata;
use nuncio_rt::Time;
use std::{sync::Arc, time::Duration};

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
    /// `enable_oob_load_report`: hosts are asked for reports, too.
    pub out_of_band: Option<OutOfBand>,
}

/// How hosts are asked for reports.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfBand {
    /// `oob_reporting_period`: how often they are to report.
    pub period: Duration,
    /// `oob_reporting_config.port_value`, where it is not the host's own.
    pub port: Option<u16>,
    /// `oob_reporting_config.authority`; the host's name, or its address, where that is empty.
    pub authority: String,
    /// `oob_reporting_config.transport_socket_match_criteria`, as metadata that stand for the host's.
    pub transport_criteria: Option<Arc<Metadata>>,
}

impl Default for OrcaConfig {
    fn default() -> Self {
        OrcaConfig {
            blackout: Duration::from_secs(10),
            expiration: Duration::from_secs(180),
            update_period: Duration::from_secs(1),
            error_penalty: 0.0,
            metrics: Vec::new(),
            out_of_band: None,
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
        note(reported, &report, config);
        true
    }
}

/// Takes a report into account; false if no weight can be made of it.
fn note(reported: &Reported, report: &LoadReport, config: &OrcaConfig) -> bool {
    let weight = report.weight(config);
    if let Some(weight) = weight {
        reported.note(weight, Time::now());
    }
    weight.is_some()
}
