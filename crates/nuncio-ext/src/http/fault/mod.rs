//! `envoy.filters.http.fault`: delays requests, answers them in the place of the upstream, and slows responses down.
//!
//! How many are hit and how hard may be told by configuration, by the runtime, and where configured so by headers of the
//! request. Which requests are meant, and what happens to them, is decided once when the head comes.

mod config;
mod pace;

use self::config::{AbortWith, DelayBy, LimitBy, Settings};
use self::pace::Pace;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{
    Fraction, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, ResponseFlags, RuntimeFraction, RuntimeValues, StateSlot, Step,
    StreamCx,
};
use nuncio_rt::{Buf, Time};
use nuncio_stats::{Scope, Store, stats_table};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.fault",
    message: config::MESSAGE,
    route_message: config::MESSAGE,
    posture: Posture::UntrustedBoth,
    build: config::build,
    route: config::route,
};

stats_table! {
    /// `http.<prefix>.fault.`
    pub FAULT: "fault" {
        /// Requests answered here.
        counter ABORTS_INJECTED = "aborts_injected",
        /// Requests delayed.
        counter DELAYS_INJECTED = "delays_injected",
        /// Faults that there were too many others for.
        counter FAULTS_OVERFLOW = "faults_overflow",
        /// Responses slowed down.
        counter RESPONSE_RL_INJECTED = "response_rl_injected",
        /// Exchanges that a fault was injected into.
        gauge ACTIVE_FAULTS = "active_faults",
    }
}

stats_table! {
    /// `http.<prefix>.fault.<downstream cluster>.`
    pub FAULT_DOWNSTREAM: "fault_downstream" {
        /// Requests answered here.
        counter DOWNSTREAM_ABORTS = "aborts_injected" [lazy],
        /// Requests delayed.
        counter DOWNSTREAM_DELAYS = "delays_injected" [lazy],
    }
}

/// Downstream clusters with counters of their own: clients choose the names, so there is an end to them.
const MAX_DOWNSTREAM_CLUSTERS: usize = 1000;

#[derive(Debug)]
struct Fault {
    name: String,
    settings: Settings,
    stats: Arc<Scope>,
    downstream: Downstream,
    active: Arc<AtomicU64>,
    state: StateSlot<State>,
}

/// Counters by the cluster that requests say they come from.
#[derive(Debug)]
struct Downstream {
    store: Arc<Store>,
    prefix: String,
    scopes: Mutex<HashMap<Box<str>, Arc<Scope>>>,
}

impl Downstream {
    fn scope(&self, cluster: &str) -> Option<Arc<Scope>> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = scopes.get(cluster) {
            return Some(scope.clone());
        }
        if scopes.len() >= MAX_DOWNSTREAM_CLUSTERS {
            return None;
        }
        let scope = self.store.scope(&format!("{}{cluster}.", self.prefix), &FAULT_DOWNSTREAM);
        scopes.insert(cluster.into(), scope.clone());
        Some(scope)
    }
}

/// What happens to one exchange.
#[derive(Debug, Default)]
struct State {
    active: bool,
    pace: Option<Pace>,
}

/// A number in a request header.
fn number(head: &HeaderMap, name: &str) -> Option<u64> {
    head.get_str(name)?.trim().parse().ok()
}

/// Whether a fault is due: by the fraction, which a header may lower.
fn due(fraction: &RuntimeFraction, header: Option<u64>, random: u64, runtime: &RuntimeValues) -> bool {
    let Fraction { numerator, denominator } = fraction.now(runtime);
    let told = header.map_or(numerator, |told| u32::try_from(told).unwrap_or(u32::MAX).min(numerator));
    Fraction { numerator: told, denominator }.holds(random)
}

impl Settings {
    /// Whether requests like this are meant.
    fn applies(&self, cx: &StreamCx) -> bool {
        let to = |wanted: &str| {
            cx.route.as_ref().and_then(|route| route.cluster_name(cx)) == Some(wanted)
        };
        if !self.upstream_cluster.is_empty() && !to(&self.upstream_cluster) {
            return false;
        }
        let node = cx.request.get(Known::XEnvoyDownstreamServiceNode);
        if !self.downstream_nodes.is_empty() && !node.is_some_and(|node| self.downstream_nodes.iter().any(|n| n.as_bytes() == node)) {
            return false;
        }
        self.headers.iter().all(|header| header.matches(&cx.request))
    }

    /// The key of a runtime value that counts for requests from a downstream cluster only.
    fn fraction(&self, cluster: Option<&str>, own: &RuntimeFraction, what: &str, runtime: &RuntimeValues) -> RuntimeFraction {
        let mut fraction = own.clone();
        if let Some(cluster) = cluster {
            let key = format!("fault.http.{cluster}.{what}");
            if runtime.get(&key).is_some() {
                fraction.key = key.into();
            }
        }
        fraction
    }

    fn delay(&self, cx: &StreamCx, cluster: Option<&str>) -> Option<Duration> {
        let delay = self.delay.as_ref()?;
        let runtime = cx.worker.runtime.values();
        let of_header = matches!(delay.by, DelayBy::Header);
        let percentage = of_header.then(|| number(&cx.request, "x-envoy-fault-delay-request-percentage")).flatten();
        let fraction = self.fraction(cluster, &delay.fraction, "delay.fixed_delay_percent", &runtime);
        if !due(&fraction, percentage, cx.worker.rng.next_u64(), &runtime) {
            return None;
        }
        let configured = match &delay.by {
            DelayBy::Fixed(time) => *time,
            DelayBy::Header => Duration::from_millis(number(&cx.request, "x-envoy-fault-delay-request")?),
        };
        let changed = |key: &str| runtime.get(key).and_then(nuncio_core::RuntimeValue::uint).map(Duration::from_millis);
        let of_cluster = cluster.and_then(|cluster| changed(&format!("fault.http.{cluster}.delay.fixed_duration_ms")));
        let time = of_cluster.or_else(|| changed(&delay.duration_key)).unwrap_or(configured);
        (!time.is_zero()).then_some(time)
    }

    /// HTTP status, and gRPC status where that is what was asked for.
    fn abort(&self, cx: &StreamCx, cluster: Option<&str>) -> Option<(u16, Option<u32>)> {
        let abort = self.abort.as_ref()?;
        let runtime = cx.worker.runtime.values();
        let of_header = matches!(abort.with, AbortWith::Header);
        let percentage = of_header.then(|| number(&cx.request, "x-envoy-fault-abort-request-percentage")).flatten();
        let fraction = self.fraction(cluster, &abort.fraction, "abort.abort_percent", &runtime);
        if !due(&fraction, percentage, cx.worker.rng.next_u64(), &runtime) {
            return None;
        }
        let changed = |key: &str| runtime.get(key).and_then(nuncio_core::RuntimeValue::uint);
        let http = |configured: u64| {
            let of_cluster = cluster.and_then(|cluster| changed(&format!("fault.http.{cluster}.abort.http_status")));
            let status = of_cluster.or_else(|| changed(&abort.http_key)).unwrap_or(configured);
            u16::try_from(status).ok().filter(|status| (200..600).contains(status))
        };
        let grpc = |configured: u64| u32::try_from(changed(&abort.grpc_key).unwrap_or(configured)).ok();
        match abort.with {
            AbortWith::Http(status) => http(u64::from(status)).map(|status| (status, None)),
            AbortWith::Grpc(status) => grpc(u64::from(status)).map(|status| (200, Some(status))),
            AbortWith::Header => {
                let told = number(&cx.request, "x-envoy-fault-abort-request").filter(|status| (200..600).contains(status));
                if let Some(status) = told.and_then(http) {
                    return Some((status, None));
                }
                let told = number(&cx.request, "x-envoy-fault-abort-grpc-request")?;
                grpc(told).map(|status| (200, Some(status)))
            }
        }
    }

    /// Bytes per second of the response.
    fn response_limit(&self, cx: &StreamCx) -> Option<u64> {
        let limit = self.response_limit.as_ref()?;
        let runtime = cx.worker.runtime.values();
        let of_header = matches!(limit.by, LimitBy::Header);
        let percentage = of_header.then(|| number(&cx.request, "x-envoy-fault-throughput-response-percentage")).flatten();
        if !due(&limit.fraction, percentage, cx.worker.rng.next_u64(), &runtime) {
            return None;
        }
        let kib = match limit.by {
            LimitBy::Fixed(kib) => kib,
            LimitBy::Header => number(&cx.request, "x-envoy-fault-throughput-response")?,
        };
        (kib > 0).then(|| kib.saturating_mul(1024))
    }
}

fn abort_reply(settings: &Settings, (status, grpc): (u16, Option<u32>)) -> LocalReply {
    let told = settings.abort.as_ref().map_or("", |abort| &abort.body);
    let body = if told.is_empty() { "fault filter abort".to_owned() } else { told.to_owned() };
    let mut reply = LocalReply::new(status, "fault_filter_abort").body(body).flags(ResponseFlags::FI);
    reply.grpc_status = grpc;
    reply
}

impl Fault {
    /// Takes the exchange among those with faults; false if there are too many.
    fn activate(&self, cx: &mut StreamCx, settings: &Settings) -> bool {
        if cx.state(&self.state).active {
            return true;
        }
        let max = settings.max_active.now(&cx.worker.runtime.values());
        if self.active.fetch_add(1, Ordering::Relaxed) >= max {
            self.active.fetch_sub(1, Ordering::Relaxed);
            self.stats.inc(cx.worker.lane, FAULTS_OVERFLOW);
            return false;
        }
        self.stats.gauge_add(cx.worker.lane, ACTIVE_FAULTS, 1);
        cx.state(&self.state).active = true;
        true
    }

    fn count(&self, cx: &StreamCx, cluster: Option<&str>, own: nuncio_stats::CounterId, downstream: nuncio_stats::CounterId) {
        self.stats.inc(cx.worker.lane, own);
        if let Some(scope) = cluster.and_then(|cluster| self.downstream.scope(cluster)) {
            scope.inc(cx.worker.lane, downstream);
        }
    }
}

impl HttpFilter for Fault {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_DATA)
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let settings = crate::http::settings(&route, &self.name, &self.settings);
        if settings.is_idle() || !settings.applies(cx) {
            return Step::Continue;
        }
        let cluster = match settings.disable_downstream_cluster_stats {
            true => None,
            false => cx.request.get_str(Known::XEnvoyDownstreamServiceCluster).filter(|name| !name.is_empty()).map(str::to_owned),
        };
        let cluster = cluster.as_deref();
        if let Some(bytes) = settings.response_limit(cx)
            && self.activate(cx, settings)
        {
            self.stats.inc(cx.worker.lane, RESPONSE_RL_INJECTED);
            cx.state(&self.state).pace = Some(Pace::new(bytes));
        }
        let delay = settings.delay(cx, cluster).filter(|_| self.activate(cx, settings));
        if delay.is_some() {
            self.count(cx, cluster, DELAYS_INJECTED, DOWNSTREAM_DELAYS);
            cx.info.flags.set(ResponseFlags::DI);
        }
        let abort = settings.abort(cx, cluster).filter(|_| self.activate(cx, settings));
        if abort.is_some() {
            self.count(cx, cluster, ABORTS_INJECTED, DOWNSTREAM_ABORTS);
        }
        let reply = abort.map(|abort| abort_reply(settings, abort));
        match (delay, reply) {
            (None, None) => Step::Continue,
            (None, Some(reply)) => Step::reply(reply),
            (Some(time), reply) => {
                let timers = cx.worker.timers.clone();
                Step::wait(async move {
                    timers.sleep(time).await;
                    move |_: &mut StreamCx| reply.map_or(Step::Continue, Step::reply)
                })
            }
        }
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, _end: bool) -> Step {
        let Some(pace) = cx.held_state(&self.state).and_then(|state| state.pace.as_mut()) else { return Step::Continue };
        let part = pace.take(data.len(), Time::now());
        if part >= data.len() {
            return Step::Continue;
        }
        let timers = cx.worker.timers.clone();
        Step::part(part, async move { timers.sleep(pace::INTERVAL).await })
    }

    fn done(&self, cx: &mut StreamCx) {
        if cx.held_state(&self.state).is_some_and(|state| std::mem::take(&mut state.active)) {
            self.active.fetch_sub(1, Ordering::Relaxed);
            self.stats.gauge_add(cx.worker.lane, ACTIVE_FAULTS, -1);
        }
    }
}
