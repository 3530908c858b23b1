//! `cluster.<name>.outlier_detection.`: ejections, when configured.

use crate::stats_table;

stats_table! {
    /// Outlier detection of one cluster.
    pub OUTLIER_DETECTION: "outlier_detection" {
        gauge EJECTIONS_ACTIVE = "ejections_active",
        counter EJECTIONS_CONSECUTIVE_5XX = "ejections_consecutive_5xx",
        counter EJECTIONS_DETECTED_CONSECUTIVE_5XX = "ejections_detected_consecutive_5xx",
        counter EJECTIONS_DETECTED_CONSECUTIVE_GATEWAY_FAILURE = "ejections_detected_consecutive_gateway_failure",
        counter EJECTIONS_DETECTED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE = "ejections_detected_consecutive_local_origin_failure",
        counter EJECTIONS_DETECTED_DEGRADATION = "ejections_detected_degradation",
        counter EJECTIONS_DETECTED_FAILURE_PERCENTAGE = "ejections_detected_failure_percentage",
        counter EJECTIONS_DETECTED_LOCAL_ORIGIN_FAILURE_PERCENTAGE = "ejections_detected_local_origin_failure_percentage",
        counter EJECTIONS_DETECTED_LOCAL_ORIGIN_SUCCESS_RATE = "ejections_detected_local_origin_success_rate",
        counter EJECTIONS_DETECTED_SUCCESS_RATE = "ejections_detected_success_rate",
        counter EJECTIONS_ENFORCED_CONSECUTIVE_5XX = "ejections_enforced_consecutive_5xx",
        counter EJECTIONS_ENFORCED_CONSECUTIVE_GATEWAY_FAILURE = "ejections_enforced_consecutive_gateway_failure",
        counter EJECTIONS_ENFORCED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE = "ejections_enforced_consecutive_local_origin_failure",
        counter EJECTIONS_ENFORCED_FAILURE_PERCENTAGE = "ejections_enforced_failure_percentage",
        counter EJECTIONS_ENFORCED_LOCAL_ORIGIN_FAILURE_PERCENTAGE = "ejections_enforced_local_origin_failure_percentage",
        counter EJECTIONS_ENFORCED_LOCAL_ORIGIN_SUCCESS_RATE = "ejections_enforced_local_origin_success_rate",
        counter EJECTIONS_ENFORCED_SUCCESS_RATE = "ejections_enforced_success_rate",
        counter EJECTIONS_ENFORCED_TOTAL = "ejections_enforced_total",
        counter EJECTIONS_OVERFLOW = "ejections_overflow",
        counter EJECTIONS_SUCCESS_RATE = "ejections_success_rate",
        counter EJECTIONS_TOTAL = "ejections_total",
    }
}
