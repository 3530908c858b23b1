//! What is worked out once per host set, on the main thread, for all workers to choose by.

use super::Choice;
use super::priority::PriorityLoads;
use super::slow_start;
use super::subset::Subsets;
use super::table::{HashTable, Spread};
use super::zone::Zones;
use crate::config::{CommonLbConfig, LbConfig, Local, SubsetConfig};
use crate::host_set::HostSet;
use nuncio_rt::Time;
use std::{collections::HashMap, sync::Arc};

/// What a plan is made by.
#[derive(Clone, Copy)]
pub(crate) struct PlanCx<'a> {
    pub lb: &'a LbConfig,
    pub common: &'a CommonLbConfig,
    pub subsets: Option<&'a Arc<SubsetConfig>>,
    /// Requests may name hosts.
    pub named_hosts: bool,
    pub local: Option<&'a Local>,
    /// Hosts of the local cluster, where there is one.
    pub local_hosts: Option<&'a HostSet>,
}

/// What workers choose hosts by.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// How load is spread over priorities.
    pub loads: PriorityLoads,
    /// Localities take turns by their weights.
    pub locality_weighted: bool,
    /// Priorities that panic have no host to give.
    pub fail_traffic_on_panic: bool,
    /// One per priority where the policy hashes.
    pub tables: Vec<HashTable>,
    /// Where requests should stay in our zone.
    pub zones: Option<Zones>,
    /// Until then some host is in slow start.
    pub slow_start_until: Time,
    /// Hosts by what their metadata say.
    pub subsets: Option<Subsets>,
    /// Hosts by address, where requests may name them.
    pub by_address: HashMap<String, Choice>,
}

impl Plan {
    pub fn new(set: &HostSet, cx: &PlanCx<'_>) -> Plan {
        let loads = PriorityLoads::new(set, cx.common.healthy_panic_threshold);
        let tables = match cx.lb {
            // Subsets have their own, and nobody chooses from the whole.
            LbConfig::Hash(config) if cx.subsets.is_none() => (set.priorities.iter().zip(&loads.panic))
                .map(|(tier, &panic)| HashTable::new(tier, config, panic, cx.common.locality_weighted))
                .collect(),
            _ => Vec::new(),
        };
        let zones = cx.local.zip(cx.local_hosts).filter(|_| !cx.lb.is_hashing());
        Plan {
            locality_weighted: cx.common.locality_weighted,
            fail_traffic_on_panic: cx.common.zone_aware.fail_traffic_on_panic,
            zones: zones.map(|(local, hosts)| Zones::new(set, local, hosts, cx.common)),
            slow_start_until: cx.lb.slow_start().map_or(Time::ORIGIN, |config| slow_start::begin(set, config, Time::now())),
            subsets: cx.subsets.map(|subsets| Subsets::new(set, cx, subsets)),
            by_address: if cx.named_hosts { by_address(set) } else { HashMap::new() },
            loads,
            tables,
        }
    }

    /// What the statistics say about the tables; Envoy shows the last that it made, which is the last priority's.
    pub fn spread(&self) -> Option<Spread> {
        let of_subsets = || self.subsets.as_ref()?.last()?.plan.spread();
        self.tables.last().map(|table| table.spread).or_else(of_subsets)
    }
}

fn by_address(set: &HostSet) -> HashMap<String, Choice> {
    let tiers = set.priorities.iter().enumerate().rev();
    let places = tiers.flat_map(|(priority, tier)| (0..tier.hosts.len()).rev().map(move |index| Choice { priority, index }));
    // Backwards, so that of two hosts at one address the first is found.
    places.filter_map(|at| Some((set.priorities.get(at.priority)?.hosts.get(at.index)?.address.to_string(), at))).collect()
}
