//! `envoy.filters.http.local_ratelimit`: answers 429 to requests beyond a rate that this process (or each connection) takes.
//!
//! One bucket counts for all workers. Requests that count as a configured descriptor take from that descriptor's bucket,
//! and from the common one.


mod config;
mod limiter;

use super::additions::Addition;
use crate::bucket::Bucket;
use limiter::{Limiter, Limits};
use nuncio_core::rate_limit::{Descriptor, RateLimitPolicy};
use nuncio_core::{
    HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, ResponseFlags, RouteView, RuntimeFraction, StateSlot, Step, StreamCx,
};
use nuncio_stats::{Scope, stats_table};
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.local_ratelimit",
    message: config::MESSAGE,
    route_message: config::MESSAGE,
    posture: Posture::UntrustedBoth,
    build: config::build,
    route: config::route,
};

stats_table! {
    /// `<stat_prefix>.http_local_rate_limit.`
    pub LOCAL_RATE_LIMIT: "local_rate_limit" {
        /// Requests that were looked at.
        counter ENABLED = "enabled",
        /// Requests refused.
        counter ENFORCED = "enforced",
        /// Requests within the rate.
        counter OK = "ok",
        /// Requests beyond the rate.
        counter RATE_LIMITED = "rate_limited",
        /// Requests that a limit which is only counted would have refused.
        counter SHADOW_MODE = "shadow_mode",
    }
}

/// `VhRateLimitsOptions`: when the virtual host's policies count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VirtualHostLimits {
    /// Where the route has none.
    Override,
    /// Always.
    Include,
    /// Never.
    Ignore,
}

#[derive(Debug)]
struct Settings {
    stats: Arc<Scope>,
    status: u16,
    enabled: RuntimeFraction,
    enforced: RuntimeFraction,
    request_headers: Box<[Addition]>,
    response_headers: Box<[Addition]>,
    stage: u32,
    limits: Limits,
    limiter: Limiter,
    /// The number under which connections keep their own buckets.
    per_connection: Option<usize>,
    rate_limit_headers: bool,
    virtual_host: VirtualHostLimits,
    grpc_status: Option<u32>,
    /// Instead of the route's.
    policies: Vec<RateLimitPolicy>,
    retry_after: bool,
}

#[derive(Debug)]
struct LocalRateLimit {
    name: String,
    settings: Settings,
    /// The bucket that the response tells of.
    state: StateSlot<Option<Arc<Bucket>>>,
}

impl Settings {
    /// What the request counts as.
    fn descriptors(&self, cx: &StreamCx) -> Vec<Descriptor> {
        if self.limits.descriptors.is_empty() {
            return Vec::new();
        }
        let mut made = Vec::new();
        let mut add = |policies: &[RateLimitPolicy]| {
            made.extend(policies.iter().filter(|policy| policy.stage == self.stage).filter_map(|policy| policy.descriptor(cx)));
        };
        if !self.policies.is_empty() {
            self.policies.iter().for_each(|policy| add(std::slice::from_ref(policy)));
            return made;
        }
        let Some(view) = cx.route.as_ref().and_then(|route| route.view()) else { return made };
        add(view.rate_limits());
        if self.counts_virtual_host(view) {
            add(view.virtual_host_rate_limits());
        }
        made
    }

    fn counts_virtual_host(&self, view: &dyn RouteView) -> bool {
        match self.virtual_host {
            _ if view.includes_virtual_host_rate_limits() => true,
            VirtualHostLimits::Include => true,
            VirtualHostLimits::Ignore => false,
            VirtualHostLimits::Override => view.rate_limits().is_empty(),
        }
    }

    fn refusal(&self, cx: &StreamCx, bucket: Option<&Bucket>) -> LocalReply {
        let mut reply = LocalReply::new(self.status, "local_rate_limited").body("local_rate_limited").flags(ResponseFlags::RL);
        reply.grpc_status = self.grpc_status.or(Some(14));
        for (name, value) in self.response_headers.iter().filter_map(|addition| addition.made(cx)) {
            reply = reply.header(name, value);
        }
        if self.retry_after
            && let Some(bucket) = bucket
        {
            reply = reply.header("retry-after", bucket.wait(crate::bucket::now()).to_string());
        }
        reply
    }
}

impl HttpFilter for LocalRateLimit {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_HEADERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let settings = super::settings(&route, &self.name, &self.settings);
        if !cx.worker.draws(&settings.enabled) {
            return Step::Continue;
        }
        let lane = cx.worker.lane;
        settings.stats.inc(lane, ENABLED);
        let descriptors = settings.descriptors(cx);
        let outcome = match settings.per_connection {
            None => settings.limiter.take(&settings.limits, &descriptors, crate::bucket::now()),
            Some(number) => {
                let own = cx.conn.attached.get(number, || Limiter::new(&settings.limits));
                own.take(&settings.limits, &descriptors, crate::bucket::now())
            }
        };
        if outcome.shadowed {
            settings.stats.inc(lane, SHADOW_MODE);
        }
        let bucket = outcome.bucket;
        if settings.rate_limit_headers {
            cx.state(&self.state).clone_from(&bucket);
        }
        if outcome.allowed {
            settings.stats.inc(lane, OK);
            return Step::Continue;
        }
        settings.stats.inc(lane, RATE_LIMITED);
        if !cx.worker.draws(&settings.enforced) {
            settings.request_headers.iter().for_each(|addition| addition.add_to_request(cx));
            return Step::Continue;
        }
        settings.stats.inc(lane, ENFORCED);
        Step::reply(settings.refusal(cx, bucket.as_deref()))
    }

    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let Some(bucket) = cx.held_state(&self.state).and_then(Option::take) else { return Step::Continue };
        let now = crate::bucket::now();
        for (name, number) in [
            ("x-ratelimit-limit", bucket.size.max as u64),
            ("x-ratelimit-remaining", bucket.left(now)),
            ("x-ratelimit-reset", bucket.wait(now)),
        ] {
            cx.response.set_with(name, |v| v.decimal(number));
        }
        Step::Continue
    }
}
