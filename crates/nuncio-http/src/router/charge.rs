//! What the router counts per response, on the cluster and the host.

use crate::stream::is_grpc;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_rt::Time;
use nuncio_stats::{CounterId, Lane, Scope, tables::{cluster as stat, router::route as route_stat}};
use nuncio_upstream::outlier::Outcome;
use nuncio_upstream::{ClusterCx, HostStat, WorkerHost};
use std::sync::Arc;

/// What a request counts as, beside its cluster: both have the same statistics.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    /// `vhost.<v>.vcluster.<n>.`
    pub(crate) virtual_cluster: Option<Arc<Scope>>,
    /// `vhost.<v>.route.<stat_prefix>.`
    pub(crate) route: Option<Arc<Scope>>,
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

    /// Counts a status.
    #[inline]
    pub(crate) fn status(&self, lane: Lane, status: u16) {
        self.each(|scope| scope.code(lane, route_stat::UPSTREAM_RQ, status));
    }

    /// Records how long the upstream took.
    #[inline]
    pub(crate) fn time(&self, lane: Lane, ms: u64) {
        self.each(|scope| scope.record(lane, route_stat::UPSTREAM_RQ_TIME, ms));
    }
}

/// Counts a status that an upstream, or we in its place, answered with.
pub(crate) fn status(cluster: &ClusterCx, host: Option<&WorkerHost>, code: u16, internal: bool, head: Option<&HeaderMap>) {
    cluster.code(stat::UPSTREAM_RQ, code);
    cluster.code(if internal { stat::INTERNAL_UPSTREAM_RQ } else { stat::EXTERNAL_UPSTREAM_RQ }, code);
    if is_canary(host, head) {
        cluster.code(stat::CANARY_UPSTREAM_RQ, code);
    }
}

/// Lets outlier detection and health checks know what a host answered.
pub(crate) fn answer(host: &WorkerHost, request: &HeaderMap, status: u16, head: &HeaderMap) {
    let grpc = head.get(Known::GrpcStatus).filter(|_| is_grpc(request)).and_then(http_status_of_grpc);
    host.note(Outcome::Status(grpc.unwrap_or(status)));
    if head.contains(Known::XEnvoyDegraded) {
        host.note_degraded();
    }
    if head.contains(Known::XEnvoyImmediateHealthCheckFail) {
        host.note_immediate_failure();
    }
}

/// The HTTP status that stands for a gRPC status (google.rpc.Code).
fn http_status_of_grpc(status: &[u8]) -> Option<u16> {
    let number: u8 = std::str::from_utf8(status).ok()?.parse().ok()?;
    Some(match number {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    })
}

/// Counts how an attempt went, in the host's own statistics.
pub(crate) fn outcome(host: &WorkerHost, code: u16) {
    host.count(if code >= 500 { HostStat::RqError } else { HostStat::RqSuccess });
}

/// Records how long an upstream took, in milliseconds from the end of the request.
pub(crate) fn time(cluster: &ClusterCx, host: Option<&WorkerHost>, internal: bool, head: Option<&HeaderMap>, began: Time, now: Time) {
    let ms = now.millis_since(began);
    cluster.record(stat::UPSTREAM_RQ_TIME, ms);
    cluster.record(if internal { stat::INTERNAL_UPSTREAM_RQ_TIME } else { stat::EXTERNAL_UPSTREAM_RQ_TIME }, ms);
    if is_canary(host, head) {
        cluster.record(stat::CANARY_UPSTREAM_RQ_TIME, ms);
    }
}

fn is_canary(host: Option<&WorkerHost>, head: Option<&HeaderMap>) -> bool {
    head.and_then(|h| h.get(Known::XEnvoyUpstreamCanary)) == Some(b"true") || host.is_some_and(|h| h.host.is_canary())
}
