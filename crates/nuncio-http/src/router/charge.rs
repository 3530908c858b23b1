//! What the router counts per response, on the cluster and the host.

use crate::routes::ClusterPolicies;
use crate::stream::is_grpc;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::grpc;
use nuncio_stats::{CounterId, Lane, Scope, tables::{cluster as stat, cluster_part as part, router::route as route_stat}};
use nuncio_upstream::outlier::Outcome;
use nuncio_upstream::{ClusterCx, HostStat, WorkerHost};
use std::sync::Arc;

/// What a request counts as, beside its cluster: the first two have the same statistics.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    /// `vhost.<v>.vcluster.<n>.`
    pub(crate) virtual_cluster: Option<Arc<Scope>>,
    /// `vhost.<v>.route.<stat_prefix>.`
    pub(crate) route: Option<Arc<Scope>>,
    /// `cluster.<c>.<name>.`, as `x-envoy-upstream-alt-stat-name` names it.
    pub(crate) alternative: Option<Box<str>>,
    /// Neither statuses nor times are counted: `dynamic_stats` is off, or a filter made a health check of it.
    pub(crate) uncharged: bool,
    /// Its answers are counted, their statuses are not: of gRPC, with `suppress_grpc_request_failure_code_stats`.
    pub(crate) suppressed: bool,
}

/// What an answer is counted for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) cluster: &'a ClusterCx,
    /// Who gave it, or did not.
    pub(crate) host: Option<&'a WorkerHost>,
    /// The request came from inside.
    pub(crate) internal: bool,
    /// Its head, if it is the upstream's.
    pub(crate) head: Option<&'a HeaderMap>,
}

impl Answer<'_> {
    fn is_canary(&self) -> bool {
        self.head.and_then(|h| h.get(Known::XEnvoyUpstreamCanary)) == Some(b"true") || self.host.is_some_and(|h| h.host.is_canary())
    }
}

impl Classes {
    fn each(&self, count: impl Fn(&Scope)) {
        [&self.virtual_cluster, &self.route].into_iter().flatten().for_each(|scope| count(scope));
    }

    /// Counts one.
    #[inline]
    pub(crate) fn inc(&self, lane: Lane, id: CounterId) {
        self.each(|scope| scope.inc(lane, id));
    }

    /// Counts a status that an upstream, or we in its place, answered with.
    pub(crate) fn status(&self, code: u16, answer: Answer<'_>) {
        if self.uncharged {
            return;
        }
        let Answer { cluster, host, internal, .. } = answer;
        let lane = cluster.worker.lane;
        // Without a status it counts as completed.
        let plain = if self.suppressed { 0 } else { code };
        cluster.code(stat::UPSTREAM_RQ, plain);
        cluster.code(if internal { stat::INTERNAL_UPSTREAM_RQ } else { stat::EXTERNAL_UPSTREAM_RQ }, code);
        if answer.is_canary() {
            cluster.code(stat::CANARY_UPSTREAM_RQ, code);
        }
        if let Some(zone) = host.and_then(|host| host.zone_stats(cluster)) {
            zone.code(lane, part::UPSTREAM_RQ, code);
        }
        self.each(|scope| scope.code(lane, route_stat::UPSTREAM_RQ, code));
        let Some(name) = &self.alternative else { return };
        if let Some(scope) = cluster.part(name) {
            scope.code(lane, part::UPSTREAM_RQ, plain);
            scope.code(lane, if internal { part::INTERNAL_UPSTREAM_RQ } else { part::EXTERNAL_UPSTREAM_RQ }, code);
            if answer.is_canary() {
                scope.code(lane, part::CANARY_UPSTREAM_RQ, code);
            }
        }
        if let Some(zone) = zone_of(name, host).and_then(|zone| cluster.part(&zone)) {
            zone.code(lane, part::UPSTREAM_RQ, code);
        }
    }

    /// Records how long an upstream took, in milliseconds from the end of the request.
    pub(crate) fn time(&self, ms: u64, answer: Answer<'_>) {
        if self.uncharged {
            return;
        }
        let Answer { cluster, host, internal, .. } = answer;
        let lane = cluster.worker.lane;
        cluster.record(stat::UPSTREAM_RQ_TIME, ms);
        cluster.record(if internal { stat::INTERNAL_UPSTREAM_RQ_TIME } else { stat::EXTERNAL_UPSTREAM_RQ_TIME }, ms);
        if answer.is_canary() {
            cluster.record(stat::CANARY_UPSTREAM_RQ_TIME, ms);
        }
        if let Some(zone) = host.and_then(|host| host.zone_stats(cluster)) {
            zone.record(lane, part::UPSTREAM_RQ_TIME, ms);
        }
        self.each(|scope| scope.record(lane, route_stat::UPSTREAM_RQ_TIME, ms));
        let Some(name) = &self.alternative else { return };
        if let Some(scope) = cluster.part(name) {
            scope.record(lane, part::UPSTREAM_RQ_TIME, ms);
            scope.record(lane, if internal { part::INTERNAL_UPSTREAM_RQ_TIME } else { part::EXTERNAL_UPSTREAM_RQ_TIME }, ms);
            if answer.is_canary() {
                scope.record(lane, part::CANARY_UPSTREAM_RQ_TIME, ms);
            }
        }
        if let Some(zone) = zone_of(name, host).and_then(|zone| cluster.part(&zone)) {
            zone.record(lane, part::UPSTREAM_RQ_TIME, ms);
        }
    }
}

/// The part for the zones of a request that is counted apart.
fn zone_of(name: &str, host: Option<&WorkerHost>) -> Option<String> {
    Some(format!("{name}.{}", host?.zone_part()?))
}

/// Takes the name that a request wants to be counted under out of it.
pub(crate) fn alternative(head: &mut HeaderMap) -> Option<Box<str>> {
    let name = head.get(Known::XEnvoyUpstreamAltStatName).map(|name| String::from_utf8_lossy(name).into());
    if name.is_some() {
        head.remove(Known::XEnvoyUpstreamAltStatName);
    }
    name
}

/// Lets outlier detection and health checks know what a host answered.
pub(crate) fn answer(host: &WorkerHost, request: &HeaderMap, status: u16, head: &HeaderMap) {
    let own = ClusterPolicies::of(&host.cluster().info.config).and_then(|policies| policies.failures.as_ref());
    host.note(Outcome::Status(match own {
        Some(failures) => if failures.matches(head) { 500 } else { 200 },
        None => http_status_of_grpc(head).filter(|_| is_grpc(request)).unwrap_or(status),
    }));
    if head.contains(Known::XEnvoyDegraded) {
        host.note_degraded();
    }
    if head.contains(Known::XEnvoyImmediateHealthCheckFail) {
        host.note_immediate_failure();
    }
}

/// The HTTP status that stands for the gRPC status in a head or trailers.
fn http_status_of_grpc(head: &HeaderMap) -> Option<u16> {
    head.get_str(Known::GrpcStatus)?.parse().ok().map(grpc::http_of_status)
}

/// Counts how an attempt went, in the host's own statistics.
pub(crate) fn outcome(host: &WorkerHost, code: u16) {
    host.count(if code >= 500 { HostStat::RqError } else { HostStat::RqSuccess });
}

/// The same for gRPC, where the last there is of a response tells: its trailers, or the head that is all of it.
pub(crate) fn grpc_outcome(host: &WorkerHost, last: Option<&HeaderMap>) {
    outcome(host, last.and_then(http_status_of_grpc).unwrap_or(500));
}
