//! `envoy.config.cluster.v3.OutlierDetection`, as plain values with Envoy's defaults.

use crate::events::EventLog;
use nuncio_core::{RuntimeValue, RuntimeValues};
use std::time::Duration;

/// How outliers among a cluster's hosts are found, and for how long they are ejected.
///
/// Every number may be replaced while the process runs, by the runtime key `outlier_detection.<name>`.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlierConfig {
    /// `interval` between sweeps.
    pub interval: Duration,
    /// `base_ejection_time`, multiplied by how often the host has been ejected of late.
    pub base_ejection_time: Duration,
    /// `max_ejection_time`.
    pub max_ejection_time: Duration,
    /// `max_ejection_time_jitter`: up to this much is added.
    pub max_ejection_time_jitter: Duration,
    /// `max_ejection_percent` of the hosts.
    pub max_ejection_percent: u32,
    /// `always_eject_one_host`, whatever the percentage says.
    pub always_eject_one_host: bool,
    /// `split_external_local_origin_errors`.
    pub split_local_origin: bool,
    /// `consecutive_5xx`, `consecutive_gateway_failure`, `consecutive_local_origin_failure`, by [`Consecutive`].
    pub consecutive: [u32; 3],
    /// `success_rate_minimum_hosts`.
    pub success_rate_minimum_hosts: u32,
    /// `success_rate_request_volume`.
    pub success_rate_request_volume: u32,
    /// `success_rate_stdev_factor`, thousandths.
    pub success_rate_stdev_factor: u32,
    /// `failure_percentage_threshold`.
    pub failure_percentage_threshold: u32,
    /// `failure_percentage_minimum_hosts`.
    pub failure_percentage_minimum_hosts: u32,
    /// `failure_percentage_request_volume`.
    pub failure_percentage_request_volume: u32,
    /// `enforcing_*`: percent of the findings that are acted upon, by [`Finding`].
    pub enforcing: [u32; 7],
    /// `successful_active_health_check_uneject_host`.
    pub active_check_unejects: bool,
    /// `detect_degraded_hosts`: hosts that answer with `x-envoy-degraded` are degraded.
    pub detect_degraded: bool,
    /// Where ejections are written to (`event_log_path` of the cluster manager).
    pub events: Option<EventLog>,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        OutlierConfig {
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_time_jitter: Duration::ZERO,
            max_ejection_percent: 10,
            always_eject_one_host: false,
            split_local_origin: false,
            consecutive: [5; 3],
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1900,
            failure_percentage_threshold: 85,
            failure_percentage_minimum_hosts: 5,
            failure_percentage_request_volume: 50,
            enforcing: [100, 0, 100, 100, 100, 0, 0],
            active_check_unejects: true,
            detect_degraded: false,
            events: None,
        }
    }
}

/// Errors that are counted in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Consecutive {
    /// Statuses from 500 on.
    Server,
    /// 502, 503 and 504.
    Gateway,
    /// Connections that fail, timeouts; told apart from the others only when split.
    LocalOrigin,
}

impl Consecutive {
    /// The finding that enough of them are.
    pub(super) fn finding(self) -> Finding {
        match self {
            Consecutive::Server => Finding::Consecutive5xx,
            Consecutive::Gateway => Finding::ConsecutiveGatewayFailure,
            Consecutive::LocalOrigin => Finding::ConsecutiveLocalOriginFailure,
        }
    }

    /// The number of errors that ejects.
    pub(super) fn limit(self, config: &OutlierConfig, runtime: &RuntimeValues) -> u64 {
        let key = match self {
            Consecutive::Server => "outlier_detection.consecutive_5xx",
            Consecutive::Gateway => "outlier_detection.consecutive_gateway_failure",
            Consecutive::LocalOrigin => "outlier_detection.consecutive_local_origin_failure",
        };
        number(runtime, key, u64::from(config.consecutive[self as usize]))
    }
}

/// Why a host is thought to be an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Finding {
    /// `CONSECUTIVE_5XX`
    Consecutive5xx,
    /// `CONSECUTIVE_GATEWAY_FAILURE`
    ConsecutiveGatewayFailure,
    /// `CONSECUTIVE_LOCAL_ORIGIN_FAILURE`
    ConsecutiveLocalOriginFailure,
    /// `SUCCESS_RATE`
    SuccessRate,
    /// `SUCCESS_RATE_LOCAL_ORIGIN`
    SuccessRateLocalOrigin,
    /// `FAILURE_PERCENTAGE`
    FailurePercentage,
    /// `FAILURE_PERCENTAGE_LOCAL_ORIGIN`
    FailurePercentageLocalOrigin,
}

impl Finding {
    /// The runtime key of the percentage that is acted upon.
    pub(super) fn enforcing_key(self) -> &'static str {
        match self {
            Finding::Consecutive5xx => "outlier_detection.enforcing_consecutive_5xx",
            Finding::ConsecutiveGatewayFailure => "outlier_detection.enforcing_consecutive_gateway_failure",
            Finding::ConsecutiveLocalOriginFailure => "outlier_detection.enforcing_consecutive_local_origin_failure",
            Finding::SuccessRate => "outlier_detection.enforcing_success_rate",
            Finding::SuccessRateLocalOrigin => "outlier_detection.enforcing_local_origin_success_rate",
            Finding::FailurePercentage => "outlier_detection.enforcing_failure_percentage",
            Finding::FailurePercentageLocalOrigin => "outlier_detection.enforcing_failure_percentage_local_origin",
        }
    }

    /// As the event log calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Finding::Consecutive5xx => "CONSECUTIVE_5XX",
            Finding::ConsecutiveGatewayFailure => "CONSECUTIVE_GATEWAY_FAILURE",
            Finding::ConsecutiveLocalOriginFailure => "CONSECUTIVE_LOCAL_ORIGIN_FAILURE",
            Finding::SuccessRate => "SUCCESS_RATE",
            Finding::SuccessRateLocalOrigin => "SUCCESS_RATE_LOCAL_ORIGIN",
            Finding::FailurePercentage => "FAILURE_PERCENTAGE",
            Finding::FailurePercentageLocalOrigin => "FAILURE_PERCENTAGE_LOCAL_ORIGIN",
        }
    }
}

/// A number that the runtime may replace.
pub(super) fn number(runtime: &RuntimeValues, key: &str, default: u64) -> u64 {
    runtime.get(key).and_then(RuntimeValue::uint).unwrap_or(default)
}
