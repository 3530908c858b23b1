//! What `/clusters` and `/stats` ask about a cluster.

use crate::breaker::{Resource, RoutingPriority};
use crate::host_set::HostSet;
use crate::config::{HashTableConfig, LbConfig};
use crate::info::ClusterInfo;
use crate::lb::Plan;
use crate::outlier::Rates;
use nuncio_stats::{GaugeId, Lane, tables::cluster as stat};
use std::sync::Arc;

/// A cluster as the main thread sees it now. Hosts carry their own statistics and flags.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// Configuration, statistics, breakers.
    pub info: Arc<ClusterInfo>,
    /// Its hosts.
    pub hosts: Arc<HostSet>,
    /// Rates of success in the last interval of outlier detection, where there is some: of answers, of local origin.
    pub success_rates: Option<[Rates; 2]>,
}

/// Sets the gauges that are read off the breakers' counts.
pub(super) fn breaker_gauges(info: &ClusterInfo) {
    let (stats, breakers) = (&info.stats, &info.breakers);
    let limits = &info.config.circuit_breakers;
    let tracks = |priority| match priority {
        RoutingPriority::Default => limits.default.track_remaining,
        RoutingPriority::High => limits.high.track_remaining,
    };
    for (priority, open, remaining, group) in [
        (RoutingPriority::Default, OPEN[0], REMAINING[0], stat::CIRCUIT_BREAKERS_DEFAULT_REMAINING),
        (RoutingPriority::High, OPEN[1], REMAINING[1], stat::CIRCUIT_BREAKERS_HIGH_REMAINING),
    ] {
        for (resource, gauge) in RESOURCES.into_iter().zip(open) {
            stats.gauge_set(gauge, u64::from(breakers.is_open(priority, resource)));
        }
        if tracks(priority) {
            stats.open(Lane::MAIN, group);
            for (resource, gauge) in RESOURCES.into_iter().zip(remaining) {
                stats.gauge_set(gauge, breakers.remaining(priority, resource));
            }
        }
    }
    for (priority, open, remaining) in [
        (RoutingPriority::Default, stat::CIRCUIT_BREAKERS_DEFAULT_CX_POOL_OPEN, stat::CIRCUIT_BREAKERS_DEFAULT_REMAINING_CX_POOLS),
        (RoutingPriority::High, stat::CIRCUIT_BREAKERS_HIGH_CX_POOL_OPEN, stat::CIRCUIT_BREAKERS_HIGH_REMAINING_CX_POOLS),
    ] {
        let (pools, max) = (breakers.pools(priority), breakers.max_pools(priority));
        stats.gauge_set(open, u64::from(pools > 0 && pools >= max));
        if tracks(priority) {
            // Without a limit Envoy 1.40 subtracts from the largest number there is.
            stats.gauge_set(remaining, max.saturating_sub(pools));
        }
    }
}

/// Counts what a new plan means. Envoy's threads each work it out for themselves, and each counts.
pub(super) fn balancing_stats(info: &ClusterInfo, before: &Plan, now: &Plan, threads: u64) {
    let stats = &info.stats;
    if let (LbConfig::Hash(hash), Some(spread)) = (&info.config.lb, now.spread()) {
        let (group, least, most) = match hash.table {
            HashTableConfig::Ring(_) => {
                stats.gauge_set(stat::RING_HASH_LB_SIZE, spread.size);
                (stat::RING_HASH_LB, stat::RING_HASH_LB_MIN_HASHES_PER_HOST, stat::RING_HASH_LB_MAX_HASHES_PER_HOST)
            }
            HashTableConfig::Maglev { .. } => {
                (stat::MAGLEV_LB, stat::MAGLEV_LB_MIN_ENTRIES_PER_HOST, stat::MAGLEV_LB_MAX_ENTRIES_PER_HOST)
            }
        };
        stats.open(Lane::MAIN, group);
        stats.gauge_set(least, spread.least);
        stats.gauge_set(most, spread.most);
    }
    if let Some(subsets) = &now.subsets {
        let (all, new, gone) = subsets.changes(before.subsets.as_ref());
        stats.open(Lane::MAIN, stat::LB_SUBSET_DUPLICATES);
        stats.gauge_set(stat::LB_SUBSETS_SINGLE_HOST_PER_SUBSET_DUPLICATE, subsets.duplicates);
        stats.gauge_set(stat::LB_SUBSETS_ACTIVE, all * threads);
        stats.add(Lane::MAIN, stat::LB_SUBSETS_CREATED, new * threads);
        stats.add(Lane::MAIN, stat::LB_SUBSETS_REMOVED, gone * threads);
    }
    if let Some(zones) = &now.zones {
        stats.add(Lane::MAIN, stat::LB_RECALCULATE_ZONE_STRUCTURES, threads);
        if let Some(counted) = zones.counted {
            stats.add(Lane::MAIN, counted, threads);
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
