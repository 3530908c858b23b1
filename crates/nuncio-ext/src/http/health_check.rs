//! `envoy.filters.http.health_check`: answers health checks, by what the server was told and how its clusters are.
//!
//! In pass-through mode checks go to the upstream, unless the server was told to fail them or an answer is cached.

use crate::read;
use nuncio_api::envoy::extensions::filters::http::health_check::v3 as proto;
use nuncio_codec::headers::Known;
use nuncio_core::matching::HeaderMatch;
use nuncio_core::{
    BuildCx, ClusterHealthPart, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, ResponseFlags,
    StateSlot, Step, StreamCx,
};
use nuncio_rt::{Buf, Time};
use nuncio_stats::{Scope, stats_table};
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{sync::Arc, time::Duration};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.health_check",
    message: "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

stats_table! {
    /// `http.<prefix>.health_check.`
    pub HEALTH_CHECK: "health_check" {
        /// Answers from the cache.
        counter CACHED_RESPONSE = "cached_response",
        /// Answers that say that the service is degraded.
        counter DEGRADED = "degraded",
        /// Checks answered with a failure.
        counter FAILED = "failed",
        /// Those because a cluster has no hosts.
        counter FAILED_CLUSTER_EMPTY = "failed_cluster_empty",
        /// Those because there is no such cluster.
        counter FAILED_CLUSTER_NOT_FOUND = "failed_cluster_not_found",
        /// Those because too few hosts of a cluster are healthy.
        counter FAILED_CLUSTER_UNHEALTHY = "failed_cluster_unhealthy",
        /// Checks answered with success.
        counter OK = "ok",
        /// Checks answered here.
        counter REQUEST_TOTAL = "request_total",
    }
}

#[derive(Debug)]
struct HealthCheck {
    stats: Arc<Scope>,
    pass_through: bool,
    headers: Box<[HeaderMatch]>,
    /// Clusters, and how many percent of their hosts must be available.
    clusters: Vec<(String, f64)>,
    cache: Option<Cache>,
    service_cluster: String,
    /// Whether the request is a health check, and whether it is answered here.
    state: StateSlot<State>,
}

#[derive(Debug, Default)]
struct State {
    check: bool,
    here: bool,
}

/// The last answer of the upstream.
#[derive(Debug)]
struct Cache {
    time: Duration,
    until: AtomicU64,
    /// Its status; beyond the first 16 bits, whether it was degraded.
    answer: AtomicU64,
}

impl Cache {
    fn set(&self, status: u16, degraded: bool) {
        self.answer.store(u64::from(status) | u64::from(degraded) << 16, Ordering::Relaxed);
        self.until.store((Time::now() + self.time).as_nanos(), Ordering::Relaxed);
    }

    fn get(&self) -> Option<(u16, bool)> {
        let fresh = Time::now().as_nanos() < self.until.load(Ordering::Relaxed);
        let answer = self.answer.load(Ordering::Relaxed);
        fresh.then_some((answer as u16, answer >> 16 != 0))
    }
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::HealthCheck { pass_through_mode, cache_time, cluster_min_healthy_percentages, headers } = read::message(config)?;
    let pass_through = pass_through_mode.unwrap_or(false);
    let time = cache_time.as_ref().map(read::duration).filter(|time| !time.is_zero());
    if time.is_some() && !pass_through {
        return Err(ConfigError::at("cache_time", "is only for pass_through_mode"));
    }
    let mut clusters: Vec<_> = cluster_min_healthy_percentages.into_iter().map(|(cluster, percent)| (cluster, percent.value)).collect();
    clusters.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Arc::new(HealthCheck {
        stats: cx.stats.scope(&format!("{}health_check.", cx.stat_prefix), &HEALTH_CHECK),
        pass_through,
        headers: read::headers("headers", &headers)?,
        clusters,
        cache: time.map(|time| Cache { time, until: AtomicU64::new(0), answer: AtomicU64::new(0) }),
        service_cluster: cx.service_cluster.to_owned(),
        state: cx.state_slot(),
    }))
}

fn route(_: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Err(ConfigError::at("", "this filter has no settings for routes"))
}

impl HealthCheck {
    fn answer(&self, cx: &StreamCx) -> LocalReply {
        let lane = cx.worker.lane;
        let reply = self.judge(cx);
        let good = (200..300).contains(&reply.status);
        self.stats.inc(lane, REQUEST_TOTAL);
        self.stats.inc(lane, if good { OK } else { FAILED });
        if good { reply } else { reply.flags(ResponseFlags::LH) }
    }

    fn judge(&self, cx: &StreamCx) -> LocalReply {
        let lane = cx.worker.lane;
        if cx.worker.fails_health_checks() {
            return LocalReply::new(503, "health_check_failed");
        }
        if let Some((status, degraded)) = self.cache.as_ref().and_then(Cache::get) {
            self.stats.inc(lane, CACHED_RESPONSE);
            let reply = LocalReply::new(status, "health_check_cached");
            if !degraded {
                return reply;
            }
            self.stats.inc(lane, DEGRADED);
            return reply.header("x-envoy-degraded", "");
        }
        if self.clusters.is_empty() {
            return LocalReply::new(200, "health_check_ok");
        }
        let failed = |id, details: &'static str| {
            self.stats.inc(lane, id);
            LocalReply::new(503, details)
        };
        let health = cx.worker.parts.get::<ClusterHealthPart>();
        for (cluster, percent) in &self.clusters {
            let Some((total, available)) = health.as_ref().and_then(|health| health.0.membership(cluster)) else {
                return failed(FAILED_CLUSTER_NOT_FOUND, "health_check_failed_no_cluster_found");
            };
            if total == 0 && *percent > 0.0 {
                return failed(FAILED_CLUSTER_EMPTY, "health_check_failed_cluster_empty");
            }
            if 100.0 * (available as f64) < total as f64 * percent {
                return failed(FAILED_CLUSTER_UNHEALTHY, "health_check_failed_cluster_unhealthy");
            }
        }
        LocalReply::new(200, "health_check_ok_cluster_healthy")
    }

    fn here(&self, cx: &mut StreamCx) -> bool {
        cx.held_state(&self.state).is_some_and(|state| state.here)
    }
}

impl HttpFilter for HealthCheck {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA).and(Phases::REQUEST_TRAILERS).and(Phases::RESPONSE_HEADERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        if !self.headers.iter().all(|header| header.matches(&cx.request)) {
            return Step::Continue;
        }
        cx.info.health_check = true;
        let cached = self.cache.as_ref().is_some_and(|cache| cache.get().is_some());
        let here = !self.pass_through || cached || cx.worker.fails_health_checks();
        *cx.state(&self.state) = State { check: true, here };
        match (here, end) {
            (false, _) => Step::Continue,
            (true, true) => Step::reply(self.answer(cx)),
            (true, false) => Step::Hold(Hold::Discard),
        }
    }

    fn request_data(&self, cx: &mut StreamCx, _data: &mut Buf, end: bool) -> Step {
        match (self.here(cx), end) {
            (false, _) => Step::Continue,
            (true, true) => Step::reply(self.answer(cx)),
            (true, false) => Step::Hold(Hold::Discard),
        }
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        if self.here(cx) { Step::reply(self.answer(cx)) } else { Step::Continue }
    }

    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let check = cx.held_state(&self.state).is_some_and(|state| state.check);
        if check {
            if let Some(cache) = &self.cache {
                cache.set(cx.response.status().unwrap_or(0), cx.response.contains(Known::XEnvoyDegraded));
            }
            cx.response.insert(Known::XEnvoyUpstreamHealthCheckedCluster, &self.service_cluster);
        } else if cx.worker.fails_health_checks() {
            cx.response.insert(Known::XEnvoyImmediateHealthCheckFail, "true");
        }
        Step::Continue
    }
}
