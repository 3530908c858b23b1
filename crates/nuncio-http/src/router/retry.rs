//! Whether an attempt that failed is made again, when, and where not. As Envoy's `RetryStateImpl`.

use super::{Router, charge::Classes, select};
use crate::routes::{BackOff, RetryOn, RetryPolicy};
use nuncio_codec::headers::{HeaderMap, HeaderName, Known, KnownSet};
use nuncio_core::{ResponseFlags, StreamCx, StreamInfo, Worker};
use nuncio_stats::tables::{cluster as stat, router::route as route_stat};
use nuncio_upstream::{Host, Permit, PriorityLoads, Reset, ResetReason, Resource, RoutingPriority, WorkerCluster, WorkerHost};
use std::{sync::Arc, time::Duration};

/// Headers that steer retries: they are for us, not for the upstream.
const STEERING: KnownSet = KnownSet::of(&[
    Known::XEnvoyRetryOn,
    Known::XEnvoyRetryGrpcOn,
    Known::XEnvoyMaxRetries,
    Known::XEnvoyRetriableStatusCodes,
    Known::XEnvoyRetriableHeaderNames,
    Known::XEnvoyHedgeOnPerTryTimeout,
]);

/// What remains of an exchange's retries.
///
/// Small where nothing is retried: every stream has one, and most streams never look further.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    on: RetryOn,
    left: u32,
    made: u32,
    /// Something may be, or might have been, retried: `plan` is this exchange's.
    planned: bool,
    /// Kept from one exchange to the next.
    plan: Option<Box<Plan>>,
}

/// What is only needed where something may be retried.
#[derive(Debug, Default)]
struct Plan {
    policy: Option<Arc<RetryPolicy>>,
    permit: Option<Permit>,
    /// There were retries, and there may be no more; a hedged one may still succeed.
    exhausted: bool,
    /// Statuses from `x-envoy-retriable-status-codes`.
    statuses: Vec<u16>,
    /// Names from `x-envoy-retriable-header-names`.
    headers: Vec<HeaderName>,
    /// How long the latest response asked us to wait.
    asked: Option<Duration>,
    /// Hosts tried so far, for host predicates.
    tried: Vec<Arc<Host>>,
    /// Priorities of the attempts since the last time all had been tried, for `previous_priorities`.
    been: Vec<u32>,
    /// Which priorities are avoided.
    avoided: Vec<bool>,
    /// How load is spread over those that are left.
    loads: Option<PriorityLoads>,
}

impl Plan {
    fn begin(&mut self, policy: Option<&Arc<RetryPolicy>>, head: &HeaderMap) {
        self.policy = policy.cloned();
        self.permit = None;
        self.exhausted = false;
        self.asked = None;
        self.loads = None;
        self.statuses.clear();
        self.headers.clear();
        self.tried.clear();
        self.been.clear();
        self.avoided.clear();
        if let Some(list) = head.get_str(Known::XEnvoyRetriableStatusCodes) {
            self.statuses.extend(list.split(',').filter_map(|s| s.trim().parse::<u16>().ok()));
        }
        if let Some(list) = head.get_str(Known::XEnvoyRetriableHeaderNames) {
            self.headers.extend(list.split(',').filter_map(|name| HeaderName::new(name.trim())));
        }
    }

    /// See [`Retries::loads`].
    fn loads(&mut self, cluster: &WorkerCluster) -> Option<&PriorityLoads> {
        let frequency = self.policy.as_ref()?.previous_priorities.filter(|n| *n > 0)? as usize;
        if self.been.len() < frequency {
            return None;
        }
        if self.been.len().is_multiple_of(frequency) {
            self.avoided.resize(cluster.priorities(), false);
            for priority in &self.been {
                if let Some(avoid) = self.avoided.get_mut(*priority as usize) {
                    *avoid = true;
                }
            }
            self.loads = cluster.loads_without(&self.avoided);
            if self.loads.is_none() {
                // All have been tried: from the start again.
                self.avoided.fill(false);
                self.been.clear();
            }
        }
        self.loads.as_ref()
    }
}

/// What to do about a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Pass the failure on.
    No,
    /// Pass it on: retries are used up.
    Exhausted,
    /// Pass it on: the retry breaker is open.
    Overflow,
    /// Try again after this time.
    After(Duration),
}

impl Retries {
    /// Reads the policy and the `x-envoy-*` headers that add to it, and takes those out of the request.
    #[inline]
    pub(crate) fn begin(&mut self, policy: Option<&Arc<RetryPolicy>>, head: &mut HeaderMap) {
        self.end();
        self.made = 0;
        self.on = RetryOn::NONE;
        if policy.is_some() || head.contains_any(&STEERING) {
            self.make_plan(policy, head);
        }
    }

    fn make_plan(&mut self, policy: Option<&Arc<RetryPolicy>>, head: &mut HeaderMap) {
        self.on = policy.map_or(RetryOn::NONE, |p| p.retry_on);
        self.left = policy.map_or(1, |p| p.num_retries);
        if let Some(list) = head.get_str(Known::XEnvoyRetryOn) {
            self.on = self.on.and(RetryOn::parse_header(list));
        }
        if let Some(list) = head.get_str(Known::XEnvoyRetryGrpcOn) {
            self.on = self.on.and(RetryOn::parse_grpc_header(list));
        }
        if !self.on.is_empty()
            && let Some(max) = head.get_str(Known::XEnvoyMaxRetries).and_then(|v| v.parse().ok())
        {
            self.left = max;
        }
        if let Some(p) = policy
            && !p.retriable_request_headers.is_empty()
            && !p.retriable_request_headers.iter().any(|m| m.matches(head))
        {
            self.on = RetryOn::NONE;
        }
        self.planned = !self.on.is_empty();
        if self.planned {
            self.plan.get_or_insert_default().begin(policy, head);
        }
        head.remove_all(&STEERING);
    }

    /// What is retried, and how often; never where that is nothing.
    pub(super) fn planned(&self) -> (RetryOn, u32) {
        (self.on, if self.on.is_empty() { 0 } else { self.left })
    }

    fn plan(&self) -> Option<&Plan> {
        self.plan.as_deref().filter(|_| self.planned)
    }

    fn plan_mut(&mut self) -> Option<&mut Plan> {
        self.plan.as_deref_mut().filter(|_| self.planned)
    }

    /// True if anything might be retried, so that the request must be kept.
    #[inline]
    pub(crate) fn enabled(&self) -> bool {
        !self.on.is_empty()
    }

    /// Retries made so far.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Whether the next retry, if there is one, may go to another cluster.
    pub(crate) fn refreshes_cluster(&self) -> bool {
        self.left > 0 && self.policy().is_some_and(|policy| policy.refresh_cluster_on_retry)
    }

    /// The policy, if there is one.
    pub(crate) fn policy(&self) -> Option<&RetryPolicy> {
        self.plan()?.policy.as_deref()
    }

    /// Whether a retry should look for another host than this.
    pub(crate) fn rejects(&self, host: &Host) -> bool {
        let Some(plan) = self.plan() else { return false };
        plan.policy.as_ref().is_some_and(|policy| policy.host_predicates.iter().any(|p| p.rejects(host, &plan.tried)))
    }

    /// How the next attempt, which is a retry, spreads over priorities if not as usual (`previous_priorities`).
    pub(crate) fn loads(&mut self, cluster: &WorkerCluster) -> Option<&PriorityLoads> {
        self.plan_mut()?.loads(cluster)
    }

    /// An attempt is made at a host of the cluster.
    pub(crate) fn attempted(&mut self, cluster: &WorkerCluster, host: &WorkerHost) {
        if let Some(plan) = self.plan_mut()
            && let Some(policy) = &plan.policy
        {
            plan.tried.push(host.host.clone());
            if policy.previous_priorities.is_some() {
                plan.been.push(cluster.priority_of(host));
            }
        }
    }

    /// Nothing is retried from now on (the request could not be kept).
    pub(crate) fn give_up(&mut self) {
        self.on = RetryOn::NONE;
    }

    /// Whether a response calls for another attempt.
    pub(crate) fn wanted_for_response(&self, status: u16, head: &HeaderMap) -> bool {
        let on = self.on;
        let Some(plan) = self.plan().filter(|_| !on.is_empty()) else { return false };
        if head.contains(Known::XEnvoyRateLimited) {
            return on.has(RetryOn::ENVOY_RATE_LIMITED);
        }
        let grpc = head.get_str(Known::GrpcStatus).and_then(|v| v.parse::<u32>().ok());
        on.has(RetryOn::FIVE_XX) && (500..600).contains(&status)
            || on.has(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&status)
            || on.has(RetryOn::RETRIABLE_4XX) && status == 409
            || on.has(RetryOn::RETRIABLE_STATUS_CODES)
                && (plan.statuses.contains(&status)
                    || plan.policy.as_ref().is_some_and(|p| p.retriable_status_codes.contains(&status)))
            || on.has(RetryOn::RETRIABLE_HEADERS)
                && (plan.headers.iter().any(|name| head.contains(name))
                    || plan.policy.as_ref().is_some_and(|p| p.retriable_headers.iter().any(|m| m.matches(head))))
            || grpc.is_some_and(|code| match code {
                1 => on.has(RetryOn::GRPC_CANCELLED),
                4 => on.has(RetryOn::GRPC_DEADLINE_EXCEEDED),
                8 => on.has(RetryOn::GRPC_RESOURCE_EXHAUSTED),
                13 => on.has(RetryOn::GRPC_INTERNAL),
                14 => on.has(RetryOn::GRPC_UNAVAILABLE),
                _ => false,
            })
    }

    /// Whether an attempt without a response calls for another. `sent`: part of the request was written.
    pub(crate) fn wanted_for_reset(&self, reset: &Reset, sent: bool) -> bool {
        let on = self.on;
        if reset.reason == ResetReason::Overflow {
            return false;
        }
        on.has(RetryOn::RESET)
            || on.has(RetryOn::RESET_BEFORE_REQUEST) && !sent
            || on.has(RetryOn::FIVE_XX.and(RetryOn::GATEWAY_ERROR))
            || on.has(RetryOn::CONNECT_FAILURE) && reset.reason.is_connect_failure()
            || on.has(RetryOn::REFUSED_STREAM) && reset.reason == ResetReason::RemoteRefusedStreamReset
    }

    /// Whether an attempt that took too long calls for another.
    pub(crate) fn wanted_for_timeout(&self) -> bool {
        self.on.has(RetryOn::FIVE_XX.and(RetryOn::GATEWAY_ERROR).and(RetryOn::RESET))
    }

    /// Looks for how long a response that is going to be retried asks us to wait.
    pub(crate) fn note_wait(&mut self, head: &HeaderMap, unix_now: impl FnOnce() -> u64) {
        if let Some(plan) = self.plan_mut()
            && let Some(back_off) = plan.policy.as_ref().and_then(|p| p.rate_limited_back_off.as_ref())
        {
            plan.asked = back_off.asked(head, unix_now());
        }
    }

    /// Takes a retry, if one is left and the breaker permits.
    pub(crate) fn decide(
        &mut self,
        wanted: bool,
        cluster: &WorkerCluster,
        priority: RoutingPriority,
        classes: &Classes,
        worker: &Worker,
    ) -> Decision {
        let Some(plan) = self.plan.as_deref_mut().filter(|_| self.planned) else { return Decision::No };
        let before = plan.permit.take();
        let asked = plan.asked.take();
        let lane = cluster.cx().worker.lane;
        if !wanted {
            if before.is_some() || std::mem::take(&mut plan.exhausted) {
                cluster.cx().inc(stat::UPSTREAM_RQ_RETRY_SUCCESS);
                classes.inc(lane, route_stat::UPSTREAM_RQ_RETRY_SUCCESS);
            }
            return Decision::No;
        }
        let retried = before.is_some();
        drop(before);
        let (rng, runtime) = (&worker.rng, worker.runtime.values());
        let number = |key| runtime.get(key).and_then(|value| value.uint());
        if number("upstream.use_retry").is_some_and(|percent| percent < 100 && rng.below(100) >= percent) {
            return Decision::No;
        }
        if self.left == 0 {
            cluster.cx().inc(stat::UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED);
            classes.inc(lane, route_stat::UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED);
            plan.exhausted |= retried;
            return Decision::Exhausted;
        }
        self.left -= 1;
        let Some(permit) = cluster.breaker(priority, Resource::Retries) else {
            cluster.cx().inc(stat::UPSTREAM_RQ_RETRY_OVERFLOW);
            classes.inc(lane, route_stat::UPSTREAM_RQ_RETRY_OVERFLOW);
            return Decision::Overflow;
        };
        plan.permit = Some(permit);
        self.made += 1;
        cluster.cx().inc(stat::UPSTREAM_RQ_RETRY);
        classes.inc(lane, route_stat::UPSTREAM_RQ_RETRY);
        if let Some(asked) = asked {
            cluster.cx().inc(stat::UPSTREAM_RQ_RETRY_BACKOFF_RATELIMITED);
            // At least what was asked for, at most half as much again.
            let half = u64::try_from(asked.as_nanos() / 2).unwrap_or(u64::MAX);
            return Decision::After(asked + Duration::from_nanos(rng.below(half.max(1))));
        }
        cluster.cx().inc(stat::UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL);
        let general = || match number("upstream.base_retry_backoff_ms") {
            Some(ms) => BackOff::from_base(Duration::from_millis(ms.max(1))),
            None => BackOff::default(),
        };
        let ceiling = plan.policy.as_ref().and_then(|policy| policy.back_off).unwrap_or_else(general).ceiling(self.made);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Decision::After(Duration::from_nanos(rng.below(nanos.max(1))))
    }

    /// The exchange is over.
    #[inline]
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.planned)
            && let Some(plan) = &mut self.plan
        {
            plan.permit = None;
            plan.policy = None;
            plan.tried.clear();
        }
    }
}

impl Router {
    /// Decides whether there is another attempt. What a retry counts as is its own cluster's to count.
    pub(super) fn decide(&mut self, cx: &mut StreamCx, wanted: bool) -> Decision {
        if wanted && self.retries.refreshes_cluster() {
            self.refresh_cluster(cx);
        }
        let Some(cluster) = self.cluster.clone() else { return Decision::No };
        self.retries.decide(wanted, &cluster, self.priority, &self.classes, &cx.worker)
    }

    /// A retry goes to another of the weighted clusters, where there are some.
    fn refresh_cluster(&mut self, cx: &mut StreamCx) {
        if self.choices.is_empty() {
            self.choices.extend(self.choice);
        }
        let Some(routes) = self.routes.clone() else { return };
        if let Some(target) = select::another(cx, &routes, self.id, &mut self.choices) {
            (self.choice, self.cluster) = (target.choice, Some(target.cluster));
        }
    }
}

/// Marks an exchange whose retries were used up.
pub(crate) fn mark_exhausted(info: &mut StreamInfo) {
    info.flags.set(ResponseFlags::URX);
}

