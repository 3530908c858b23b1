//! How many requests may be under way: the gradient controller.
//!
//! Now and then (`interval`) only a few requests are let through, and their latency is taken for that of an idle upstream. From
//! then on, at every `concurrency_update_interval`, the latency of all requests is compared with it, and the limit grows
//! or shrinks with the quotient. Requests take no lock: what is due is done by the one that comes first.

use super::latency::Latencies;
use super::{BURST_QUEUE_SIZE, CONCURRENCY_LIMIT, GRADIENT, MIN_RTT_CALCULATION_ACTIVE, MIN_RTT_MSECS, RQ_BLOCKED, SAMPLE_RTT_MSECS};
use nuncio_rt::{Rng, Time};
use nuncio_stats::{Lane, Scope};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

/// Updates in a row at the least limit after which the idle latency is measured anew.
const LEAST_IN_A_ROW: u32 = 5;

/// `GradientControllerConfig`
#[derive(Debug)]
pub(super) struct Settings {
    /// 0 to 100.
    pub(super) percentile: f64,
    pub(super) max_limit: u32,
    /// Least that a limit is calculated to.
    pub(super) min_limit: u32,
    pub(super) update_interval: Duration,
    /// How often the idle latency is measured; `None` where it is given.
    pub(super) measure_interval: Option<Duration>,
    /// The idle latency where it is given.
    pub(super) fixed_latency: Duration,
    /// How many requests it is measured with.
    pub(super) request_count: u32,
    /// By how many per cent the interval is lengthened at most.
    pub(super) jitter: f64,
    /// How many requests are let through while it is measured.
    pub(super) measure_limit: u32,
    /// By how many per cent a latency may be longer and count as idle.
    pub(super) buffer: f64,
}

/// What is changed by one at a time.
#[derive(Debug)]
struct State {
    /// In microseconds.
    idle_latency: u64,
    /// What the limit was before it was measured.
    limit_before: u32,
    next_update: u64,
    next_measure: Option<u64>,
    least_in_a_row: u32,
}

/// See the module. Moments are nanoseconds of [`Time`].
#[derive(Debug)]
pub(super) struct Controller {
    settings: Settings,
    stats: Arc<Scope>,
    latencies: Latencies,
    limit: AtomicU32,
    under_way: AtomicU32,
    measuring: AtomicBool,
    /// Only requests that began later are measured.
    since: AtomicU64,
    /// Before then there is nothing to do.
    due: AtomicU64,
    state: Mutex<State>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Controller {
    pub(super) fn new(settings: Settings, stats: Arc<Scope>) -> Controller {
        let measuring = settings.measure_interval.is_some();
        let idle_latency = u64::try_from(settings.fixed_latency.as_micros()).unwrap_or(u64::MAX);
        let limit = settings.measure_limit;
        stats.gauge_set(CONCURRENCY_LIMIT, u64::from(limit));
        stats.gauge_set(MIN_RTT_CALCULATION_ACTIVE, u64::from(measuring));
        let state = State { idle_latency, limit_before: limit, next_update: 0, next_measure: None, least_in_a_row: 0 };
        Controller {
            settings,
            stats,
            latencies: Latencies::new(),
            limit: AtomicU32::new(limit),
            under_way: AtomicU32::new(0),
            measuring: AtomicBool::new(measuring),
            since: AtomicU64::new(0),
            due: AtomicU64::new(if measuring { u64::MAX } else { 0 }),
            state: Mutex::new(state),
        }
    }

    /// Whether one more request may be under way; it is then, until it is [`Controller::finished`].
    pub(super) fn admits(&self, now: Time, rng: &Rng, lane: Lane) -> bool {
        self.look_after(now, rng);
        let limit = self.limit.load(Relaxed);
        let admitted = self.under_way.fetch_update(Relaxed, Relaxed, |n| (n < limit).then_some(n + 1)).is_ok();
        if !admitted {
            self.stats.inc(lane, RQ_BLOCKED);
        }
        admitted
    }

    /// A request that was admitted is over. `began`: when, if its latency counts.
    pub(super) fn finished(&self, began: Option<Time>, now: Time, rng: &Rng) {
        self.under_way.fetch_sub(1, Relaxed);
        let Some(began) = began else { return };
        let measuring = self.measuring.load(Relaxed);
        if measuring && began.as_nanos() < self.since.load(Relaxed) {
            return;
        }
        let count = self.latencies.add(nanos(now.since(began)) / 1_000);
        if measuring && count >= self.settings.request_count {
            self.due.store(0, Relaxed);
            self.look_after(now, rng);
        }
    }

    /// Does what is due, unless somebody else does it.
    fn look_after(&self, now: Time, rng: &Rng) {
        let now = now.as_nanos();
        if now < self.due.load(Relaxed) {
            return;
        }
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if now < self.due.load(Relaxed) {
            return;
        }
        if self.measuring.load(Relaxed) {
            self.measured(&mut state, now, rng);
        } else if state.next_measure.is_some_and(|at| now >= at) {
            return self.measure(&mut state, now);
        } else if now >= state.next_update {
            if self.update(&mut state) {
                return self.measure(&mut state, now);
            }
            state.next_update = now.saturating_add(nanos(self.settings.update_interval));
        }
        self.due.store(state.next_update.min(state.next_measure.unwrap_or(u64::MAX)), Relaxed);
    }

    fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Relaxed);
        self.stats.gauge_set(CONCURRENCY_LIMIT, u64::from(limit));
    }

    /// Begins to measure the idle latency.
    fn measure(&self, state: &mut State, now: u64) {
        state.limit_before = self.limit.load(Relaxed);
        state.least_in_a_row = 0;
        self.set_limit(self.settings.measure_limit);
        self.latencies.take(0.0);
        self.since.store(now, Relaxed);
        self.measuring.store(true, Relaxed);
        self.stats.gauge_set(MIN_RTT_CALCULATION_ACTIVE, 1);
        self.due.store(u64::MAX, Relaxed);
    }

    /// The idle latency has been measured.
    fn measured(&self, state: &mut State, now: u64, rng: &Rng) {
        let settings = &self.settings;
        if let Some(latency) = self.latencies.take(settings.percentile) {
            state.idle_latency = latency;
            self.stats.gauge_set(MIN_RTT_MSECS, latency / 1_000);
        }
        self.measuring.store(false, Relaxed);
        self.stats.gauge_set(MIN_RTT_CALCULATION_ACTIVE, 0);
        self.set_limit(state.limit_before.max(settings.measure_limit));
        let interval = nanos(settings.measure_interval.unwrap_or_default());
        let jitter = interval as f64 * settings.jitter / 100.0;
        let jitter = if jitter >= 1.0 { rng.below(jitter as u64) } else { 0 };
        state.next_measure = Some(now.saturating_add(interval).saturating_add(jitter));
        state.next_update = now.saturating_add(nanos(settings.update_interval));
    }

    /// Calculates the limit; true if the idle latency shall be measured anew.
    fn update(&self, state: &mut State) -> bool {
        let settings = &self.settings;
        let Some(latency) = self.latencies.take(settings.percentile) else { return false };
        self.stats.gauge_set(SAMPLE_RTT_MSECS, latency / 1_000);
        let idle = state.idle_latency as f64;
        let gradient = ((idle + idle * settings.buffer / 100.0) / latency as f64).clamp(0.5, 2.0);
        let gradient = if gradient.is_nan() { 2.0 } else { gradient };
        let limit = f64::from(self.limit.load(Relaxed)) * gradient;
        let burst = limit.sqrt();
        self.stats.gauge_set(GRADIENT, (gradient * 1_000.0) as u64);
        self.stats.gauge_set(BURST_QUEUE_SIZE, burst as u64);
        let limit = ((limit + burst) as u32).clamp(settings.min_limit, settings.max_limit.max(settings.min_limit));
        self.set_limit(limit);
        state.least_in_a_row = if limit == settings.min_limit { state.least_in_a_row + 1 } else { 0 };
        settings.measure_interval.is_some() && state.least_in_a_row >= LEAST_IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::super::ADAPTIVE_CONCURRENCY;
    use super::*;
    use nuncio_stats::Store;

    fn controller(measure: bool) -> (Controller, Rng, Lane) {
        let settings = Settings {
            percentile: 50.0,
            max_limit: 100,
            min_limit: 3,
            update_interval: Duration::from_millis(100),
            measure_interval: measure.then_some(Duration::from_secs(60)),
            fixed_latency: Duration::from_millis(if measure { 0 } else { 10 }),
            request_count: 5,
            jitter: 0.0,
            measure_limit: 3,
            buffer: 25.0,
        };
        let store = Store::new(1);
        let lane = Lane::MAIN;
        (Controller::new(settings, store.scope("x.", &ADAPTIVE_CONCURRENCY)), Rng::seeded(1, 2), lane)
    }

    fn at(millis: u64) -> Time {
        Time::default() + Duration::from_millis(millis)
    }

    #[test]
    fn the_limit_follows_the_latency() {
        let (controller, rng, lane) = controller(false);
        let limit = || controller.limit.load(Relaxed);
        let mut now = 1_000;
        let mut round = |latency: u64| {
            for _ in 0..3 {
                assert!(controller.admits(at(now), &rng, lane));
                controller.finished(Some(at(now)), at(now + latency), &rng);
            }
            now += 200;
        };
        for _ in 0..20 {
            round(5);
        }
        assert_eq!(limit(), 100, "twice as fast as idle");
        for _ in 0..40 {
            round(100);
        }
        assert_eq!(limit(), 3);
    }

    #[test]
    fn no_more_than_the_limit_are_under_way_and_the_idle_latency_is_measured_first() {
        let (controller, rng, lane) = controller(true);
        let admit = |now| controller.admits(at(now), &rng, lane);
        assert!(admit(0) && admit(0) && admit(0) && !admit(0));
        controller.finished(None, at(1), &rng);
        assert!(admit(1) && !admit(1));
        for _ in 0..3 {
            controller.finished(Some(at(0)), at(10), &rng);
        }
        assert!(controller.measuring.load(Relaxed), "three of five");
        for _ in 0..2 {
            assert!(admit(20));
            controller.finished(Some(at(20)), at(30), &rng);
        }
        assert!(!controller.measuring.load(Relaxed));
        assert!((9_000..11_000).contains(&controller.state.lock().expect("free").idle_latency));
        assert!(admit(61_000) && controller.measuring.load(Relaxed), "it is time again");
    }
}
