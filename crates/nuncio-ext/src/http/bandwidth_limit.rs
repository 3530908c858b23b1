//! `envoy.filters.http.bandwidth_limit`: bodies flow no faster than so many KiB a second, over all exchanges together.
//!
//! One bucket of tokens, a byte each, counts for all workers and both directions, without a lock. It holds a second's worth.

use crate::http::settings;
use crate::read;
use nuncio_api::envoy::extensions::filters::http::bandwidth_limit::v3 as proto;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, Phases, Posture, RuntimeFlag, StateSlot, Step, StreamCx,
};
use nuncio_rt::{Buf, Time};
use nuncio_stats::{CounterId, GaugeId, HistogramId, Scope, stats_table};
use proto::bandwidth_limit::EnableMode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{any::Any, sync::Arc, time::Duration};

/// The message, for routes as well.
const MESSAGE: &str = "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit";

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.bandwidth_limit",
    message: MESSAGE,
    route_message: MESSAGE,
    posture: Posture::UntrustedBoth,
    build,
    route,
};

/// How often waiting bodies get their share, unless told.
const FILL_INTERVAL: Duration = Duration::from_millis(50);

stats_table! {
    /// `<stat_prefix>.http_bandwidth_limit.`
    pub BANDWIDTH_LIMIT: "bandwidth_limit" {
        /// Bytes of the last piece of a request that went on.
        gauge REQUEST_ALLOWED_SIZE(max) = "request_allowed_size",
        /// Bytes of requests that went on.
        counter REQUEST_ALLOWED_TOTAL_SIZE = "request_allowed_total_size",
        /// Requests looked at.
        counter REQUEST_ENABLED = "request_enabled",
        /// Times that a request had to wait.
        counter REQUEST_ENFORCED = "request_enforced",
        /// Bytes of the last piece of a request that came.
        gauge REQUEST_INCOMING_SIZE(max) = "request_incoming_size",
        /// Bytes of requests that came.
        counter REQUEST_INCOMING_TOTAL_SIZE = "request_incoming_total_size",
        /// Requests under way.
        gauge REQUEST_PENDING = "request_pending",
        /// Milliseconds that requests took.
        histogram REQUEST_TRANSFER_DURATION(ms) = "request_transfer_duration",
        /// Bytes of the last piece of a response that went on.
        gauge RESPONSE_ALLOWED_SIZE(max) = "response_allowed_size",
        /// Bytes of responses that went on.
        counter RESPONSE_ALLOWED_TOTAL_SIZE = "response_allowed_total_size",
        /// Responses looked at.
        counter RESPONSE_ENABLED = "response_enabled",
        /// Times that a response had to wait.
        counter RESPONSE_ENFORCED = "response_enforced",
        /// Bytes of the last piece of a response that came.
        gauge RESPONSE_INCOMING_SIZE(max) = "response_incoming_size",
        /// Bytes of responses that came.
        counter RESPONSE_INCOMING_TOTAL_SIZE = "response_incoming_total_size",
        /// Responses under way.
        gauge RESPONSE_PENDING = "response_pending",
        /// Milliseconds that responses took.
        histogram RESPONSE_TRANSFER_DURATION(ms) = "response_transfer_duration",
    }
}

/// What one direction is counted by.
struct Counts {
    allowed_size: GaugeId,
    allowed: CounterId,
    enabled: CounterId,
    enforced: CounterId,
    incoming_size: GaugeId,
    incoming: CounterId,
    pending: GaugeId,
    duration: HistogramId,
}

const COUNTS: [Counts; 2] = [
    Counts {
        allowed_size: REQUEST_ALLOWED_SIZE,
        allowed: REQUEST_ALLOWED_TOTAL_SIZE,
        enabled: REQUEST_ENABLED,
        enforced: REQUEST_ENFORCED,
        incoming_size: REQUEST_INCOMING_SIZE,
        incoming: REQUEST_INCOMING_TOTAL_SIZE,
        pending: REQUEST_PENDING,
        duration: REQUEST_TRANSFER_DURATION,
    },
    Counts {
        allowed_size: RESPONSE_ALLOWED_SIZE,
        allowed: RESPONSE_ALLOWED_TOTAL_SIZE,
        enabled: RESPONSE_ENABLED,
        enforced: RESPONSE_ENFORCED,
        incoming_size: RESPONSE_INCOMING_SIZE,
        incoming: RESPONSE_INCOMING_TOTAL_SIZE,
        pending: RESPONSE_PENDING,
        duration: RESPONSE_TRANSFER_DURATION,
    },
];

/// Tokens that come back with time.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    /// The moment at which the bucket was empty, as if all that was taken had been taken evenly.
    empty_at: AtomicU64,
}

impl Bucket {
    /// Takes as many of `wanted` tokens as there are.
    fn take(&self, wanted: u64, now: Time) -> u64 {
        let second = 1_000_000_000;
        let mut taken = 0;
        let _ = self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
            let empty_at = empty_at.max(now.as_nanos().saturating_sub(second));
            let held = u128::from(now.as_nanos().saturating_sub(empty_at)) * u128::from(self.per_second) / u128::from(second);
            taken = wanted.min(u64::try_from(held).unwrap_or(u64::MAX));
            let time = u128::from(taken) * u128::from(second) / u128::from(self.per_second.max(1));
            Some(empty_at + u64::try_from(time).unwrap_or(u64::MAX))
        });
        taken
    }
}

/// What holds on a route, or where no route says otherwise.
#[derive(Debug)]
struct Settings {
    directions: [bool; 2],
    enabled: RuntimeFlag,
    interval: Duration,
    bucket: Bucket,
    trailers: bool,
    trailer_prefix: String,
    stats: Arc<Scope>,
}

#[derive(Debug)]
struct BandwidthLimit {
    name: String,
    settings: Settings,
    state: StateSlot<[Option<Transfer>; 2]>,
}

/// A body under way.
#[derive(Debug, Default)]
struct Transfer {
    /// Counted among those under way.
    pending: bool,
    began: Option<Time>,
    /// Bytes that have waited, and are shown again.
    waiting: usize,
    waits: u32,
    /// Milliseconds from the first to the last byte.
    taken: u64,
}

fn read_settings(config: FilterConfig<'_>, cx: &mut BuildCx<'_>, of_route: bool) -> Result<Settings, ConfigError> {
    let from: proto::BandwidthLimit = read::message(config)?;
    let mode = from.enable_mode();
    let proto::BandwidthLimit {
        stat_prefix,
        enable_mode: _,
        limit_kbps,
        fill_interval,
        runtime_enabled,
        enable_response_trailers,
        response_trailer_prefix,
    } = from;
    if of_route && limit_kbps.is_none() {
        return Err(ConfigError::at("limit_kbps", "limit must be set for per route filter config"));
    }
    let directions = match mode {
        EnableMode::Disabled => [false, false],
        EnableMode::Request => [true, false],
        EnableMode::Response => [false, true],
        EnableMode::RequestAndResponse => [true, true],
    };
    // Without a limit nothing is limited.
    let directions = if limit_kbps.is_none() { [false, false] } else { directions };
    Ok(Settings {
        directions,
        enabled: read::runtime_flag(runtime_enabled.as_ref()),
        interval: fill_interval.as_ref().map_or(FILL_INTERVAL, read::duration),
        bucket: Bucket { per_second: limit_kbps.unwrap_or(1).saturating_mul(1024), empty_at: AtomicU64::new(0) },
        trailers: enable_response_trailers,
        trailer_prefix: if response_trailer_prefix.is_empty() { String::new() } else { format!("{response_trailer_prefix}-") },
        stats: cx.stats.scope(&format!("{stat_prefix}.http_bandwidth_limit."), &BANDWIDTH_LIMIT),
    })
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let settings = read_settings(config, cx, false)?;
    Ok(Arc::new(BandwidthLimit { name: cx.filter_name.to_owned(), settings, state: cx.state_slot() }))
}

fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(read_settings(config, cx, true)?))
}

impl BandwidthLimit {
    fn begin(&self, cx: &mut StreamCx, direction: usize, end: bool) {
        let route = cx.configured_route();
        let settings = settings(&route, &self.name, &self.settings);
        if !settings.directions[direction] || !settings.enabled.now(&cx.worker.runtime.values()) {
            return;
        }
        settings.stats.inc(cx.worker.lane, COUNTS[direction].enabled);
        if !end {
            settings.stats.gauge_add(cx.worker.lane, COUNTS[direction].pending, 1);
            cx.state(&self.state)[direction] = Some(Transfer { pending: true, ..Transfer::default() });
        }
    }

    fn data(&self, cx: &mut StreamCx, direction: usize, data: &mut Buf, end: bool) -> Step {
        let now = Time::now();
        let lane = cx.worker.lane;
        let counts = &COUNTS[direction];
        let route = cx.configured_route();
        let settings = settings(&route, &self.name, &self.settings);
        let Some(Some(transfer)) = cx.held_state(&self.state).map(|state| state[direction].as_mut()) else { return Step::Continue };
        transfer.began.get_or_insert(now);
        let new = data.len().saturating_sub(std::mem::take(&mut transfer.waiting)) as u64;
        if new > 0 {
            settings.stats.add(lane, counts.incoming, new);
            settings.stats.gauge_set_in(lane, counts.incoming_size, new);
        }
        let allowed = settings.bucket.take(data.len() as u64, now) as usize;
        settings.stats.add(lane, counts.allowed, allowed as u64);
        settings.stats.gauge_set_in(lane, counts.allowed_size, allowed as u64);
        if allowed < data.len() {
            transfer.waiting = data.len() - allowed;
            transfer.waits += 1;
            settings.stats.inc(lane, counts.enforced);
            let (timers, interval) = (cx.worker.timers.clone(), settings.interval);
            return Step::part(allowed, async move { timers.sleep(interval).await });
        }
        if !end {
            return Step::Continue;
        }
        self.ended(cx, direction);
        match direction == 1 && self.tell(cx) {
            true => Step::AddTrailers(None),
            false => Step::Continue,
        }
    }

    /// All of a body has gone on.
    fn ended(&self, cx: &mut StreamCx, direction: usize) {
        let route = cx.configured_route();
        let settings = settings(&route, &self.name, &self.settings);
        let lane = cx.worker.lane;
        let Some(Some(transfer)) = cx.held_state(&self.state).map(|state| state[direction].as_mut()) else { return };
        transfer.taken = transfer.began.map_or(0, |began| Time::now().millis_since(began));
        settings.stats.record(lane, COUNTS[direction].duration, transfer.taken);
        settings.stats.gauge_add(lane, COUNTS[direction].pending, -1);
        transfer.pending = false;
    }

    /// Tells in trailers what waiting there was. False if there was none, or nobody wants to know.
    fn tell(&self, cx: &mut StreamCx) -> bool {
        let route = cx.configured_route();
        let settings = settings(&route, &self.name, &self.settings);
        if !settings.trailers {
            return false;
        }
        let interval = u64::try_from(settings.interval.as_millis()).unwrap_or(u64::MAX);
        let transfers = cx.held_state(&self.state).map(|state| [0, 1].map(|at| state[at].as_ref().map_or((0, 0), |t| (t.taken, u64::from(t.waits)))));
        let mut told = false;
        for ((taken, waits), kind) in transfers.unwrap_or_default().into_iter().zip(["request", "response"]) {
            for (what, ms) in [("delay", taken), ("filter-delay", waits * interval)] {
                if ms > 0 {
                    told = true;
                    let name = format!("{}bandwidth-{kind}-{what}-ms", settings.trailer_prefix);
                    cx.response_trailers.insert(name.to_ascii_lowercase().as_bytes(), ms.to_string());
                }
            }
        }
        told
    }
}

impl HttpFilter for BandwidthLimit {
    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        self.begin(cx, 0, end);
        Step::Continue
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        self.data(cx, 0, data, end)
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        self.ended(cx, 0);
        Step::Continue
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        self.begin(cx, 1, end);
        Step::Continue
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        self.data(cx, 1, data, end)
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        self.ended(cx, 1);
        self.tell(cx);
        Step::Continue
    }

    fn done(&self, cx: &mut StreamCx) {
        for direction in [0, 1] {
            // What broke off is no longer under way.
            if cx.held_state(&self.state).is_some_and(|state| state[direction].as_ref().is_some_and(|transfer| transfer.pending)) {
                self.ended(cx, direction);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_saved_up_and_no_more() {
        let bucket = Bucket { per_second: 1000, empty_at: AtomicU64::new(0) };
        let at = |ms: u64| Time::from_nanos((5000 + ms) * 1_000_000);
        assert_eq!(bucket.take(1500, at(0)), 1000);
        assert_eq!(bucket.take(500, at(0)), 0);
        assert_eq!(bucket.take(500, at(100)), 100);
        assert_eq!(bucket.take(60, at(200)), 60);
        assert_eq!(bucket.take(5000, at(9000)), 1000);
    }
}
