//! `OutlierDetection` → [`OutlierConfig`].

use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_upstream::outlier::{Consecutive, Finding, OutlierConfig};
use std::time::Duration;

/// Outlier detection of a cluster; Envoy's defaults for what is not given.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::OutlierDetection) -> OutlierConfig {
    let proto::OutlierDetection {
        consecutive_5xx,
        interval,
        base_ejection_time,
        max_ejection_percent,
        enforcing_consecutive_5xx,
        enforcing_success_rate,
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        split_external_local_origin_errors,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume,
        max_ejection_time,
        max_ejection_time_jitter,
        successful_active_health_check_uneject_host,
        monitors,
        always_eject_one_host,
        detect_degraded_hosts,
    } = from;
    unbuilt!(cx, monitors);
    let mut config = OutlierConfig { events: cx.outlier_events.clone(), ..OutlierConfig::default() };
    let set = |place: &mut u32, value: &Option<u32>| *place = value.unwrap_or(*place);
    for (kind, value) in [
        (Consecutive::Server, consecutive_5xx),
        (Consecutive::Gateway, consecutive_gateway_failure),
        (Consecutive::LocalOrigin, consecutive_local_origin_failure),
    ] {
        set(&mut config.consecutive[kind as usize], value);
    }
    for (finding, value) in [
        (Finding::Consecutive5xx, enforcing_consecutive_5xx),
        (Finding::ConsecutiveGatewayFailure, enforcing_consecutive_gateway_failure),
        (Finding::ConsecutiveLocalOriginFailure, enforcing_consecutive_local_origin_failure),
        (Finding::SuccessRate, enforcing_success_rate),
        (Finding::SuccessRateLocalOrigin, enforcing_local_origin_success_rate),
        (Finding::FailurePercentage, enforcing_failure_percentage),
        (Finding::FailurePercentageLocalOrigin, enforcing_failure_percentage_local_origin),
    ] {
        set(&mut config.enforcing[finding as usize], value);
    }
    set(&mut config.max_ejection_percent, max_ejection_percent);
    set(&mut config.success_rate_minimum_hosts, success_rate_minimum_hosts);
    set(&mut config.success_rate_request_volume, success_rate_request_volume);
    set(&mut config.success_rate_stdev_factor, success_rate_stdev_factor);
    set(&mut config.failure_percentage_threshold, failure_percentage_threshold);
    set(&mut config.failure_percentage_minimum_hosts, failure_percentage_minimum_hosts);
    set(&mut config.failure_percentage_request_volume, failure_percentage_request_volume);
    config.split_local_origin = *split_external_local_origin_errors;
    config.always_eject_one_host = always_eject_one_host.unwrap_or(false);
    config.active_check_unejects = successful_active_health_check_uneject_host.unwrap_or(true);
    config.detect_degraded = detect_degraded_hosts.unwrap_or(false);
    config.interval = cx.duration("interval", interval.as_ref()).unwrap_or(config.interval);
    config.base_ejection_time = cx.duration("base_ejection_time", base_ejection_time.as_ref()).unwrap_or(config.base_ejection_time);
    // Where it is not given, not less than the base.
    config.max_ejection_time =
        cx.duration("max_ejection_time", max_ejection_time.as_ref()).unwrap_or(config.max_ejection_time.max(config.base_ejection_time));
    config.max_ejection_time_jitter =
        cx.duration("max_ejection_time_jitter", max_ejection_time_jitter.as_ref()).unwrap_or(Duration::ZERO);
    config
}
