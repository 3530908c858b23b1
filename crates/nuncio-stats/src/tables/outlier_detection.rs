//! `cluster.<name>.outlier_detection.`: ejections, when configured.

use crate::stats_table;

stats_table! {
    /// Outlier detection of one cluster.
    pub OUTLIER_DETECTION: "outlier_detection" {
        /// Hosts that are ejected.
        gauge EJECTIONS_ACTIVE = "ejections_active",
        /// Ejections for errors in a row (superseded by `ejections_detected_…` and `ejections_enforced_…`).
        counter EJECTIONS_CONSECUTIVE_5XX = "ejections_consecutive_5xx",
        /// Hosts found with too many 5xx in a row.
        counter EJECTIONS_DETECTED_CONSECUTIVE_5XX = "ejections_detected_consecutive_5xx",
        /// Hosts found with too many 502, 503, 504 in a row.
        counter EJECTIONS_DETECTED_CONSECUTIVE_GATEWAY_FAILURE = "ejections_detected_consecutive_gateway_failure",
        /// Hosts found with too many local failures in a row.
        counter EJECTIONS_DETECTED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE = "ejections_detected_consecutive_local_origin_failure",
        /// Hosts found degraded.
        counter EJECTIONS_DETECTED_DEGRADATION = "ejections_detected_degradation",
        /// Hosts found with too large a share of failures.
        counter EJECTIONS_DETECTED_FAILURE_PERCENTAGE = "ejections_detected_failure_percentage",
        /// Hosts found with too large a share of local failures.
        counter EJECTIONS_DETECTED_LOCAL_ORIGIN_FAILURE_PERCENTAGE = "ejections_detected_local_origin_failure_percentage",
        /// Hosts found with an outlying rate of local successes.
        counter EJECTIONS_DETECTED_LOCAL_ORIGIN_SUCCESS_RATE = "ejections_detected_local_origin_success_rate",
        /// Hosts found with an outlying success rate.
        counter EJECTIONS_DETECTED_SUCCESS_RATE = "ejections_detected_success_rate",
        /// Hosts ejected for 5xx in a row.
        counter EJECTIONS_ENFORCED_CONSECUTIVE_5XX = "ejections_enforced_consecutive_5xx",
        /// Hosts ejected for 502, 503, 504 in a row.
        counter EJECTIONS_ENFORCED_CONSECUTIVE_GATEWAY_FAILURE = "ejections_enforced_consecutive_gateway_failure",
        /// Hosts ejected for local failures in a row.
        counter EJECTIONS_ENFORCED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE = "ejections_enforced_consecutive_local_origin_failure",
        /// Hosts ejected for their share of failures.
        counter EJECTIONS_ENFORCED_FAILURE_PERCENTAGE = "ejections_enforced_failure_percentage",
        /// Hosts ejected for their share of local failures.
        counter EJECTIONS_ENFORCED_LOCAL_ORIGIN_FAILURE_PERCENTAGE = "ejections_enforced_local_origin_failure_percentage",
        /// Hosts ejected for their rate of local successes.
        counter EJECTIONS_ENFORCED_LOCAL_ORIGIN_SUCCESS_RATE = "ejections_enforced_local_origin_success_rate",
        /// Hosts ejected for their success rate.
        counter EJECTIONS_ENFORCED_SUCCESS_RATE = "ejections_enforced_success_rate",
        /// Hosts ejected.
        counter EJECTIONS_ENFORCED_TOTAL = "ejections_enforced_total",
        /// Hosts not ejected because `max_ejection_percent` was reached.
        counter EJECTIONS_OVERFLOW = "ejections_overflow",
        /// Ejections for the success rate (superseded).
        counter EJECTIONS_SUCCESS_RATE = "ejections_success_rate",
        /// Ejections (superseded by `ejections_enforced_total`).
        counter EJECTIONS_TOTAL = "ejections_total",
    }
}
