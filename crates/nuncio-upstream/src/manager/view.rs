//! What `/clusters` and `/stats` ask about a cluster.

use crate::breaker::{Resource, RoutingPriority};
use crate::host_set::HostSet;
use crate::info::ClusterInfo;
use nuncio_stats::{GaugeId, Lane, tables::cluster as stat};
use std::sync::Arc;

/// A cluster as the main thread sees it now. Hosts carry their own statistics and flags.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// Configuration, statistics, breakers.
    pub info: Arc<ClusterInfo>,
    /// Its hosts.
    pub hosts: Arc<HostSet>,
}

/// Sets the gauges that are read off the breakers' counts.
pub(super) fn breaker_gauges(info: &ClusterInfo) {
    let (stats, breakers) = (&info.stats, &info.breakers);
    for (priority, open, remaining, group) in [
        (RoutingPriority::Default, OPEN[0], REMAINING[0], stat::CIRCUIT_BREAKERS_DEFAULT_REMAINING),
        (RoutingPriority::High, OPEN[1], REMAINING[1], stat::CIRCUIT_BREAKERS_HIGH_REMAINING),
    ] {
        for (resource, gauge) in RESOURCES.into_iter().zip(open) {
            stats.gauge_set(gauge, u64::from(breakers.is_open(priority, resource)));
        }
        if breakers.thresholds(priority).track_remaining {
            stats.open(Lane::MAIN, group);
            for (resource, gauge) in RESOURCES.into_iter().zip(remaining) {
                stats.gauge_set(gauge, breakers.remaining(priority, resource));
            }
        }
    }
    for (priority, gauge) in [
        (RoutingPriority::Default, stat::CIRCUIT_BREAKERS_DEFAULT_REMAINING_CX_POOLS),
        (RoutingPriority::High, stat::CIRCUIT_BREAKERS_HIGH_REMAINING_CX_POOLS),
    ] {
        if breakers.thresholds(priority).track_remaining {
            // There is no limit on pools, and Envoy 1.40 subtracts from the largest number there is.
            stats.gauge_set(gauge, u64::MAX - breakers.pools(priority));
        }
    }
}

const RESOURCES: [Resource; 4] =
    [Resource::Connections, Resource::PendingRequests, Resource::Requests, Resource::Retries];

const OPEN: [[GaugeId; 4]; 2] = [
    [
        stat::CIRCUIT_BREAKERS_DEFAULT_CX_OPEN,
        stat::CIRCUIT_BREAKERS_DEFAULT_RQ_PENDING_OPEN,
        stat::CIRCUIT_BREAKERS_DEFAULT_RQ_OPEN,
        stat::CIRCUIT_BREAKERS_DEFAULT_RQ_RETRY_OPEN,
    ],
    [
        stat::CIRCUIT_BREAKERS_HIGH_CX_OPEN,
        stat::CIRCUIT_BREAKERS_HIGH_RQ_PENDING_OPEN,
        stat::CIRCUIT_BREAKERS_HIGH_RQ_OPEN,
        stat::CIRCUIT_BREAKERS_HIGH_RQ_RETRY_OPEN,
    ],
];

const REMAINING: [[GaugeId; 4]; 2] = [
    [
        stat::CIRCUIT_BREAKERS_DEFAULT_REMAINING_CX,
        stat::CIRCUIT_BREAKERS_DEFAULT_REMAINING_PENDING,
        stat::CIRCUIT_BREAKERS_DEFAULT_REMAINING_RQ,
        stat::CIRCUIT_BREAKERS_DEFAULT_REMAINING_RETRIES,
    ],
    [
        stat::CIRCUIT_BREAKERS_HIGH_REMAINING_CX,
        stat::CIRCUIT_BREAKERS_HIGH_REMAINING_PENDING,
        stat::CIRCUIT_BREAKERS_HIGH_REMAINING_RQ,
        stat::CIRCUIT_BREAKERS_HIGH_REMAINING_RETRIES,
    ],
];
