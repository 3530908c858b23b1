//! What all pools count alike, as Envoy counts it.

use crate::host::{Host, HostCounters, HostStat};
use crate::info::ClusterCx;
use crate::reset::{Reset, ResetReason};
use nuncio_rt::Time;
use nuncio_stats::tables::cluster as stat;

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// We did.
    Local,
    /// The peer did, or the network.
    Remote,
}

pub(super) fn count_host(cluster: &ClusterCx, host: &Host, count: impl FnOnce(&HostCounters)) {
    if let Some(cells) = host.state.counters(cluster.worker.lane) {
        count(cells);
    }
}

/// Whether a host may have another connection (`per_host_thresholds`).
pub(super) fn host_has_room(cluster: &ClusterCx, host: &Host) -> bool {
    let max = cluster.info.config.circuit_breakers.per_host_max_connections;
    max.is_none_or(|max| host.state.stat(HostStat::CxActive) < u64::from(max))
}

/// A connection is being made.
pub(super) fn count_opened(cluster: &ClusterCx, host: &Host) {
    cluster.inc(stat::UPSTREAM_CX_TOTAL);
    cluster.gauge(stat::UPSTREAM_CX_ACTIVE, 1);
    count_host(cluster, host, |cells| {
        cells.inc(HostStat::CxTotal);
        cells.inc(HostStat::CxActive);
    });
}

/// Another address of the host is tried for a connection that is being made.
pub(super) fn count_opened_again(cluster: &ClusterCx, host: &Host) {
    cluster.inc(stat::UPSTREAM_CX_TOTAL);
    count_host(cluster, host, |cells| cells.inc(HostStat::CxTotal));
}

/// A connection could not be made; says who ended it.
pub(super) fn count_connect_failed(cluster: &ClusterCx, host: &Host, reset: &Reset) -> Closed {
    cluster.inc(stat::UPSTREAM_CX_CONNECT_FAIL);
    count_host(cluster, host, |cells| cells.inc(HostStat::CxConnectFail));
    match reset.reason {
        ResetReason::ConnectionTimeout => {
            cluster.inc(stat::UPSTREAM_CX_CONNECT_TIMEOUT);
            Closed::Local
        }
        _ => Closed::Remote,
    }
}

/// A connection has ended.
pub(super) fn count_closed(cluster: &ClusterCx, host: &Host, by: Closed, with_active_request: bool, created: Time) {
    cluster.inc(stat::UPSTREAM_CX_DESTROY);
    let (total, active) = match by {
        Closed::Local => (stat::UPSTREAM_CX_DESTROY_LOCAL, stat::UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ),
        Closed::Remote => (stat::UPSTREAM_CX_DESTROY_REMOTE, stat::UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ),
    };
    cluster.inc(total);
    if with_active_request {
        cluster.inc(stat::UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ);
        cluster.inc(active);
    }
    cluster.gauge(stat::UPSTREAM_CX_ACTIVE, -1);
    count_host(cluster, host, |cells| cells.dec(HostStat::CxActive));
    cluster.record(stat::UPSTREAM_CX_LENGTH_MS, Time::now().millis_since(created));
}
