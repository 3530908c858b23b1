//! Weights that hosts report: the policy `ClientSideWeightedRoundRobin`.

use super::{Balancing, options};
use crate::context::CompileCx;
use nuncio_api::envoy::extensions::load_balancing_policies::client_side_weighted_round_robin::v3 as proto;
use nuncio_upstream::config::LbConfig;
use nuncio_api::envoy::extensions::load_balancing_policies::common::v3::OrcaOobReportingConfig;
use nuncio_upstream::orca::{OrcaConfig, OutOfBand};
use prost::Message as _;
use std::{sync::Arc, time::Duration};

/// The shortest `weight_update_period`.
const OFTENEST: Duration = Duration::from_millis(100);

/// `oob_reporting_period`, where it is not said.
const OUT_OF_BAND: Duration = Duration::from_secs(10);

/// Reads the policy.
pub(super) fn compile(cx: &mut CompileCx<'_>, bytes: &[u8], made: &mut Balancing) {
    let proto::ClientSideWeightedRoundRobin {
        enable_oob_load_report,
        oob_reporting_period,
        blackout_period,
        weight_expiration_period,
        weight_update_period,
        error_utilization_penalty,
        metric_names_for_computing_utilization,
        slow_start_config,
        oob_reporting_config,
    } = proto::ClientSideWeightedRoundRobin::decode(bytes).unwrap_or_default();
    let out_of_band = enable_oob_load_report.unwrap_or(false).then(|| {
        let OrcaOobReportingConfig { port_value, authority, transport_socket_match_criteria } = oob_reporting_config.unwrap_or_default();
        OutOfBand {
            period: cx.duration("oob_reporting_period", oob_reporting_period.as_ref()).filter(|period| !period.is_zero()).unwrap_or(OUT_OF_BAND),
            port: u16::try_from(port_value).ok().filter(|port| *port != 0),
            authority,
            transport_criteria: transport_socket_match_criteria.as_ref().map(crate::clusters::metadata::transport_criteria),
        }
    });
    let default = OrcaConfig::default();
    made.orca = Some(Arc::new(OrcaConfig {
        blackout: cx.duration("blackout_period", blackout_period.as_ref()).unwrap_or(default.blackout),
        expiration: cx.duration("weight_expiration_period", weight_expiration_period.as_ref()).unwrap_or(default.expiration),
        update_period: cx.duration("weight_update_period", weight_update_period.as_ref()).unwrap_or(default.update_period).max(OFTENEST),
        error_penalty: error_utilization_penalty.map_or(default.error_penalty, f64::from),
        metrics: metric_names_for_computing_utilization,
        out_of_band,
    }));
    made.lb = LbConfig::RoundRobin { slow_start: options::typed_slow_start(cx, slow_start_config.as_ref()) };
}
