//! Weights that hosts report: the policy `ClientSideWeightedRoundRobin`.

use super::{Balancing, options};
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::extensions::load_balancing_policies::client_side_weighted_round_robin::v3 as proto;
use nuncio_upstream::config::LbConfig;
use nuncio_upstream::orca::OrcaConfig;
use prost::Message as _;
use std::{sync::Arc, time::Duration};

/// The shortest `weight_update_period`.
const OFTENEST: Duration = Duration::from_millis(100);

/// Reads the policy. Reports come with responses; hosts are not asked for them.
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
    unbuilt!(cx, enable_oob_load_report, oob_reporting_period, oob_reporting_config);
    let default = OrcaConfig::default();
    made.orca = Some(Arc::new(OrcaConfig {
        blackout: cx.duration("blackout_period", blackout_period.as_ref()).unwrap_or(default.blackout),
        expiration: cx.duration("weight_expiration_period", weight_expiration_period.as_ref()).unwrap_or(default.expiration),
        update_period: cx.duration("weight_update_period", weight_update_period.as_ref()).unwrap_or(default.update_period).max(OFTENEST),
        error_penalty: error_utilization_penalty.map_or(default.error_penalty, f64::from),
        metrics: metric_names_for_computing_utilization,
    }));
    made.lb = LbConfig::RoundRobin { slow_start: options::typed_slow_start(cx, slow_start_config.as_ref()) };
}
