//! `envoy.filters.http.admission_control`: while too few requests succeed, some are answered 503 at once.
//!
//! Each worker judges by the requests of its own, second by second over the window, as Envoy does. A request is turned away
//! with the probability `((n - s / threshold) / (n + 1)) ^ (1 / aggression)`, where `s` of `n` requests have succeeded. Requests
//! that were turned away are not counted; nor are health checks.

use crate::read;
use nuncio_api::envoy::config::core::v3::{RuntimeDouble as DoubleProto, RuntimePercent, RuntimeUInt32};
use nuncio_api::envoy::extensions::filters::http::admission_control::v3 as proto;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, RuntimeDouble, RuntimeFlag, RuntimeUint,
    StateSlot, Step, StreamCx, grpc,
};
use nuncio_rt::Time;
use nuncio_stats::{Scope, stats_table};
use proto::admission_control::{EvaluationCriteria, SuccessCriteria};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.admission_control",
    message: "envoy.extensions.filters.http.admission_control.v3.AdmissionControl",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route: super::no_route_config,
};

stats_table! {
    /// `http.<prefix>.admission_control.`
    pub ADMISSION_CONTROL: "admission_control" {
        /// Requests that failed.
        counter RQ_FAILURE = "rq_failure",
        /// Requests that were turned away.
        counter RQ_REJECTED = "rq_rejected",
        /// Requests that succeeded.
        counter RQ_SUCCESS = "rq_success",
    }
}

/// Statuses of gRPC that tell of no trouble, where none are configured: OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, NOT_FOUND,
/// ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED, PERMISSION_DENIED, UNAUTHENTICATED.
const GRPC_SUCCESS: [u32; 11] = [0, 1, 2, 3, 5, 6, 7, 9, 11, 12, 16];

/// One second of a worker's requests.
#[derive(Debug, Default, Clone, Copy)]
struct Second {
    at: u64,
    requests: u64,
    successes: u64,
}

/// What a worker has seen within the window.
#[derive(Debug, Default)]
struct Window {
    seconds: VecDeque<Second>,
    requests: u64,
    successes: u64,
}

impl Window {
    /// Forgets what is older than so many seconds.
    fn forget(&mut self, now: u64, seconds: u64) {
        while let Some(oldest) = self.seconds.front().copied().filter(|oldest| oldest.at + seconds <= now) {
            self.requests -= oldest.requests;
            self.successes -= oldest.successes;
            self.seconds.pop_front();
        }
    }

    fn count(&mut self, now: u64, success: bool) {
        if self.seconds.back().is_none_or(|last| last.at != now) {
            self.seconds.push_back(Second { at: now, ..Second::default() });
        }
        if let Some(last) = self.seconds.back_mut() {
            last.requests += 1;
            last.successes += u64::from(success);
            self.requests += 1;
            self.successes += u64::from(success);
        }
    }
}

thread_local! {
    /// The windows of this worker's filters.
    static WINDOWS: RefCell<HashMap<u64, Window>> = RefCell::default();
}

#[derive(Debug)]
struct AdmissionControl {
    /// Finds its windows.
    id: u64,
    enabled: RuntimeFlag,
    /// In seconds.
    window: u64,
    aggression: RuntimeDouble,
    /// In per cent.
    threshold: RuntimeDouble,
    max_rejection: RuntimeDouble,
    /// Requests a second from which on it acts.
    least_rate: RuntimeUint,
    /// From the first to before the second.
    http_success: Vec<(i64, i64)>,
    grpc_success: Vec<u32>,
    stats: Arc<Scope>,
    state: StateSlot<Option<Outcome>>,
}

/// What is known of an admitted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// No answer yet.
    Open,
    /// Told by trailers.
    GrpcOpen,
    Told(bool),
}

impl Drop for AdmissionControl {
    fn drop(&mut self) {
        // Those of other workers are empty or small, and never looked at again.
        let _ = WINDOWS.try_with(|windows| windows.borrow_mut().remove(&self.id));
    }
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let proto::AdmissionControl { enabled, sampling_window, aggression, sr_threshold, rps_threshold, max_rejection_probability, evaluation_criteria } =
        read::message(config)?;
    let Some(EvaluationCriteria::SuccessCriteria(SuccessCriteria { http_criteria, grpc_criteria })) = evaluation_criteria else {
        return Err(ConfigError::at("success_criteria", "is missing"));
    };
    let double = |from: Option<DoubleProto>, default: f64| {
        let DoubleProto { default_value, runtime_key } = from.unwrap_or(DoubleProto { default_value: default, runtime_key: String::new() });
        RuntimeDouble { default: default_value, key: runtime_key.into() }
    };
    let percent = |from: Option<RuntimePercent>, default: f64| match from {
        None => RuntimeDouble { default, key: Box::default() },
        Some(RuntimePercent { default_value, runtime_key }) => {
            RuntimeDouble { default: default_value.map_or(0.0, |percent| percent.value), key: runtime_key.into() }
        }
    };
    let ranges = http_criteria.map(|criteria| criteria.http_success_status.iter().map(|range| (range.start.into(), range.end.into())).collect());
    let RuntimeUInt32 { default_value, runtime_key } = rps_threshold.unwrap_or_default();
    let threshold = percent(sr_threshold, 95.0);
    if threshold.default < 1.0 {
        return Err(ConfigError::at("sr_threshold.default_value.value", "is at least 1 %"));
    }
    Ok(Arc::new(AdmissionControl {
        id: NEXT.fetch_add(1, Relaxed),
        enabled: read::runtime_flag(enabled.as_ref()),
        window: sampling_window.as_ref().map_or(30, |window| read::duration(window).as_secs()).max(1),
        aggression: double(aggression, 1.0),
        threshold,
        max_rejection: percent(max_rejection_probability, 80.0),
        least_rate: RuntimeUint { default: default_value.into(), key: runtime_key.into() },
        http_success: ranges.unwrap_or_else(|| vec![(100, 500)]),
        grpc_success: grpc_criteria.map_or_else(|| GRPC_SUCCESS.to_vec(), |criteria| criteria.grpc_success_status),
        stats: cx.stats.scope(&format!("{}admission_control.", cx.stat_prefix), &ADMISSION_CONTROL),
        state: cx.state_slot(),
    }))
}

/// With which probability a request is turned away.
fn rejection(requests: u64, successes: u64, threshold: f64, aggression: f64) -> f64 {
    let (n, s) = (requests as f64, successes as f64);
    let probability = ((n - s / threshold) / (n + 1.0)).max(0.0);
    if aggression == 1.0 { probability } else { probability.powf(1.0 / aggression.max(1.0)) }
}

impl AdmissionControl {
    fn with_window<R>(&self, now: u64, use_it: impl FnOnce(&mut Window) -> R) -> R {
        WINDOWS.with_borrow_mut(|windows| {
            let window = windows.entry(self.id).or_default();
            window.forget(now, self.window);
            use_it(window)
        })
    }

    fn rejects(&self, cx: &StreamCx, now: u64) -> bool {
        let (requests, successes) = self.with_window(now, |window| (window.requests, window.successes));
        let runtime = cx.worker.runtime.values();
        if requests / self.window < self.least_rate.now(&runtime) {
            return false;
        }
        let threshold = (self.threshold.now(&runtime) / 100.0).clamp(0.01, 1.0);
        let probability = rejection(requests, successes, threshold, self.aggression.now(&runtime));
        let probability = probability.min(self.max_rejection.now(&runtime) / 100.0);
        (cx.worker.rng.below(10_000) as f64) < probability * 10_000.0
    }

    fn grpc_success(&self, headers: &HeaderMap) -> Option<bool> {
        let status = headers.get_str(Known::GrpcStatus)?;
        Some(status.parse().is_ok_and(|status| self.grpc_success.contains(&status)))
    }
}

fn second(now: Time) -> u64 {
    now.as_millis() / 1_000
}

impl HttpFilter for AdmissionControl {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_HEADERS).and(Phases::RESPONSE_TRAILERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        if cx.info.health_check || !self.enabled.now(&cx.worker.runtime.values()) {
            return Step::Continue;
        }
        if self.rejects(cx, second(Time::now())) {
            self.stats.inc(cx.worker.lane, RQ_REJECTED);
            return Step::reply(LocalReply::new(503, "denied_by_admission_control"));
        }
        *cx.state(&self.state) = Some(Outcome::Open);
        Step::Continue
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let Some(Some(Outcome::Open)) = cx.held_state(&self.state) else { return Step::Continue };
        let outcome = if grpc::is_grpc(&cx.response) {
            match self.grpc_success(&cx.response) {
                Some(success) => Outcome::Told(success),
                None if end => Outcome::Told(false),
                None => Outcome::GrpcOpen,
            }
        } else {
            let status = i64::from(cx.response.status().unwrap_or(0));
            Outcome::Told(self.http_success.iter().any(|(from, to)| (*from..*to).contains(&status)))
        };
        *cx.state(&self.state) = Some(outcome);
        Step::Continue
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        if let Some(Some(Outcome::GrpcOpen)) = cx.held_state(&self.state) {
            let success = self.grpc_success(&cx.response_trailers).unwrap_or(false);
            *cx.state(&self.state) = Some(Outcome::Told(success));
        }
        Step::Continue
    }

    fn done(&self, cx: &mut StreamCx) {
        let Some(outcome) = cx.held_state(&self.state).and_then(Option::take) else { return };
        let success = outcome == Outcome::Told(true);
        self.stats.inc(cx.worker.lane, if success { RQ_SUCCESS } else { RQ_FAILURE });
        let now = second(Time::now());
        self.with_window(now, |window| window.count(now, success));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_fail_the_more_are_turned_away() {
        assert_eq!(rejection(0, 0, 0.95, 1.0), 0.0);
        assert_eq!(rejection(100, 100, 0.95, 1.0), 0.0);
        assert!((rejection(100, 0, 0.95, 1.0) - 100.0 / 101.0).abs() < 1e-9);
        assert!((rejection(99, 38, 0.95, 1.0) - 0.59).abs() < 1e-9);
        assert!((rejection(99, 38, 0.95, 2.0) - 0.59_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_window_forgets() {
        let mut window = Window::default();
        for (now, success) in [(1, true), (1, false), (3, true), (9, false)] {
            window.count(now, success);
        }
        assert_eq!((window.requests, window.successes), (4, 2));
        window.forget(11, 10);
        assert_eq!((window.requests, window.successes), (2, 1));
        window.forget(40, 10);
        assert_eq!((window.requests, window.successes), (0, 0));
    }
}
