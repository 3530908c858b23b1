//! `envoy.filters.http.adaptive_concurrency`: only so many requests are under way at a time as latency allows.
//!
//! The limit is that of the filter, over all workers. Health checks do not count.

mod controller;
mod latency;

use crate::read::{self, within};
use controller::{Controller, Settings};
use nuncio_api::envoy::extensions::filters::http::adaptive_concurrency::v3 as proto;
use nuncio_api::envoy::r#type::v3::Percent;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, RuntimeFlag, StateSlot, Step, StreamCx,
};
use nuncio_rt::Time;
use nuncio_stats::stats_table;
use std::sync::Arc;
use std::time::Duration;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.adaptive_concurrency",
    message: "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route: super::no_route_config,
};

stats_table! {
    /// `http.<prefix>.adaptive_concurrency.gradient_controller.`
    pub ADAPTIVE_CONCURRENCY: "adaptive_concurrency" {
        /// How many requests the limit leaves room for above what latency allows.
        gauge BURST_QUEUE_SIZE = "burst_queue_size",
        /// The limit.
        gauge CONCURRENCY_LIMIT = "concurrency_limit",
        /// Idle latency by latency, in thousandths.
        gauge GRADIENT = "gradient",
        /// Whether the idle latency is being measured.
        gauge MIN_RTT_CALCULATION_ACTIVE = "min_rtt_calculation_active",
        /// The idle latency.
        gauge MIN_RTT_MSECS = "min_rtt_msecs",
        /// Requests that were one too many.
        counter RQ_BLOCKED = "rq_blocked",
        /// The latency when the limit was last calculated.
        gauge SAMPLE_RTT_MSECS = "sample_rtt_msecs",
    }
}

#[derive(Debug)]
struct AdaptiveConcurrency {
    controller: Controller,
    enabled: RuntimeFlag,
    /// Status of the answer to requests that are one too many.
    status: u16,
    /// When a request that was admitted began.
    state: StateSlot<Option<Time>>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    use proto::adaptive_concurrency::ConcurrencyControllerConfig as Kind;
    let proto::AdaptiveConcurrency { enabled, concurrency_limit_exceeded_status, concurrency_controller_config } = read::message(config)?;
    let Some(Kind::GradientControllerConfig(gradient)) = concurrency_controller_config else {
        return Err(ConfigError::at("gradient_controller_config", "is missing"));
    };
    // As on Envoy: what is no error is not told.
    let status = concurrency_limit_exceeded_status.and_then(|status| u16::try_from(status.code).ok()).filter(|code| *code >= 400);
    let stats = cx.stats.scope(&format!("{}adaptive_concurrency.gradient_controller.", cx.stat_prefix), &ADAPTIVE_CONCURRENCY);
    Ok(Arc::new(AdaptiveConcurrency {
        controller: Controller::new(settings(&gradient).map_err(within("gradient_controller_config"))?, stats),
        enabled: read::runtime_flag(enabled.as_ref()),
        status: status.unwrap_or(503),
        state: cx.state_slot(),
    }))
}

fn settings(from: &proto::GradientControllerConfig) -> Result<Settings, ConfigError> {
    use proto::gradient_controller_config::{ConcurrencyLimitCalculationParams as Limit, MinimumRttCalculationParams as Idle};
    let proto::GradientControllerConfig { sample_aggregate_percentile, concurrency_limit_params, min_rtt_calc_params } = from;
    let missing = |field| ConfigError::at(field, "is missing");
    let percent = |from: &Option<Percent>, default: f64| from.as_ref().map_or(default, |percent| percent.value);
    let Limit { max_concurrency_limit, concurrency_update_interval, min_concurrency_limit } =
        concurrency_limit_params.as_ref().ok_or_else(|| missing("concurrency_limit_params"))?;
    let Idle { interval, fixed_value, request_count, jitter, min_concurrency, buffer } =
        min_rtt_calc_params.as_ref().ok_or_else(|| missing("min_rtt_calc_params"))?;
    let interval = interval.as_ref().map(read::duration);
    let fixed = fixed_value.as_ref().map(read::duration);
    if interval.is_none() && fixed.is_none() {
        return Err(ConfigError::at("min_rtt_calc_params", "one of `interval` and `fixed_value` is needed"));
    }
    let measure_limit = min_concurrency.unwrap_or(3);
    Ok(Settings {
        percentile: percent(sample_aggregate_percentile, 50.0),
        max_limit: max_concurrency_limit.unwrap_or(1_000),
        min_limit: min_concurrency_limit.unwrap_or(measure_limit),
        update_interval: concurrency_update_interval.as_ref().map_or(Duration::ZERO, read::duration),
        measure_interval: if fixed.is_some() { None } else { interval },
        fixed_latency: fixed.unwrap_or_default(),
        request_count: request_count.unwrap_or(50),
        jitter: percent(jitter, 15.0),
        measure_limit,
        buffer: percent(buffer, 25.0),
    })
}

impl HttpFilter for AdaptiveConcurrency {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        if cx.info.health_check || !self.enabled.now(&cx.worker.runtime.values()) {
            return Step::Continue;
        }
        let now = Time::now();
        if !self.controller.admits(now, &cx.worker.rng, cx.worker.lane) {
            return Step::reply(LocalReply::new(self.status, "reached_concurrency_limit").body("reached concurrency limit"));
        }
        *cx.state(&self.state) = Some(now);
        Step::Continue
    }

    fn done(&self, cx: &mut StreamCx) {
        let Some(began) = cx.held_state(&self.state).and_then(Option::take) else { return };
        // What was broken off says nothing of the upstream.
        let complete = cx.info.timings.response_last_tx.is_some();
        self.controller.finished(complete.then_some(began), Time::now(), &cx.worker.rng);
    }
}
