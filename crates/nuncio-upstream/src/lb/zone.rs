//! Zone aware routing: requests stay in our own zone as far as the upstream cluster has hosts there.
//!
//! The share of all Envoys that are in our zone (from the local cluster) is compared with the share of the upstream
//! hosts that are: with as many or more hosts everything stays; else so much that these hosts get no more than others,
//! and the rest goes to zones with more hosts than Envoys. Only the first priority is routed so.

use super::priority::in_panic;
use crate::config::{CommonLbConfig, Local};
use crate::host_set::{HostSet, LocalityHosts, PriorityHosts};
use nuncio_rt::Rng;
use nuncio_stats::{CounterId, tables::cluster as stat};

/// How requests are spread over zones.
#[derive(Debug)]
pub(crate) struct Zones {
    routing: Routing,
    /// Percent of requests that this is done for.
    enabled: u64,
    /// Too few Envoys are healthy to compare with.
    local_panics: bool,
    /// What making this counted, besides `lb_recalculate_zone_structures`.
    pub(crate) counted: Option<CounterId>,
}

#[derive(Debug, PartialEq)]
enum Routing {
    /// Zones play no part.
    Off,
    /// Everything stays in the local zone.
    Direct,
    /// Some stays, the rest goes elsewhere.
    Residual {
        /// How much of 10,000 stays.
        stays: u64,
        /// What each zone has left, added up from the first to it.
        left: Box<[u64]>,
    },
}

/// What the zones say to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Any host will do.
    Any,
    /// A host of this locality.
    At(usize),
    /// There is no host to use.
    Nowhere,
}

impl Zones {
    pub fn new(set: &HostSet, local: &Local, local_hosts: &HostSet, common: &CommonLbConfig) -> Zones {
        let config = &common.zone_aware;
        let mut counted = None;
        let empty = PriorityHosts::default();
        let (upstream, here) = (set.priorities.first().unwrap_or(&empty), local_hosts.priorities.first().unwrap_or(&empty));
        let threshold = super::priority::whole_percent(common.healthy_panic_threshold);
        let is_local = |l: &LocalityHosts| Some(&*l.locality) == local.locality.as_ref();
        let few = here.localities.len() < 2 && config.force_local_zone.is_none();
        let routing = if upstream.localities.len() < 2 || few {
            Routing::Off
        } else if !here.localities.first().is_some_and(is_local) {
            counted = Some(stat::LB_LOCAL_CLUSTER_NOT_OK);
            Routing::Off
        } else if (upstream.healthy.len() as u64) < config.min_cluster_size {
            counted = Some(stat::LB_ZONE_CLUSTER_TOO_SMALL);
            Routing::Off
        } else {
            route(upstream, here, upstream.localities.first().is_some_and(is_local), common)
        };
        let enabled = super::priority::whole_percent(config.routing_enabled).into();
        Zones { routing, enabled, local_panics: in_panic(here, threshold), counted }
    }

    /// Where a request to the first priority goes; counts what Envoy counts.
    pub(super) fn choose(&self, rng: &Rng, fail_on_panic: bool, count: &dyn Fn(CounterId)) -> Zone {
        if self.routing == Routing::Off || rng.below(100) >= self.enabled {
            return Zone::Any;
        }
        if self.local_panics {
            count(stat::LB_LOCAL_CLUSTER_NOT_OK);
            return if fail_on_panic { Zone::Nowhere } else { Zone::Any };
        }
        let Routing::Residual { stays, left } = &self.routing else {
            count(stat::LB_ZONE_ROUTING_ALL_DIRECTLY);
            return Zone::At(0);
        };
        if rng.below(10_000) < *stays {
            count(stat::LB_ZONE_ROUTING_SAMPLED);
            return Zone::At(0);
        }
        count(stat::LB_ZONE_ROUTING_CROSS_ZONE);
        let all = left.last().copied().unwrap_or(0);
        if all == 0 {
            count(stat::LB_ZONE_NO_CAPACITY_LEFT);
            return Zone::At(rng.below(left.len() as u64) as usize);
        }
        let mark = rng.below(all);
        Zone::At(left.partition_point(|sum| *sum <= mark))
    }
}

fn route(upstream: &PriorityHosts, here: &PriorityHosts, has_local: bool, common: &CommonLbConfig) -> Routing {
    let config = &common.zone_aware;
    let size = |tier: &PriorityHosts, l: &LocalityHosts| match config.by_weight {
        true => tier.weight_of(&l.healthy),
        false => l.healthy.len() as u64,
    };
    let sum = |tier: &PriorityHosts| tier.localities.iter().map(|l| size(tier, l)).sum::<u64>();
    let share = |part: u64, all: u64| (10_000 * part).checked_div(all).unwrap_or(0);
    let (upstream_all, here_all) = (sum(upstream), sum(here));
    // Of 10,000: our part of the Envoys and of the upstream hosts, zone by zone of the upstream.
    let shares: Vec<(u64, u64)> = (upstream.localities.iter())
        .map(|zone| {
            if zone.healthy.is_empty() {
                return (0, 0);
            }
            let envoys = here.localities.iter().find(|l| l.locality == zone.locality).map_or(0, |l| size(here, l));
            (share(envoys, here_all), share(size(upstream, zone), upstream_all))
        })
        .collect();
    let (envoys, hosts) = shares.first().copied().unwrap_or_default();
    let in_zone = upstream.localities.first().map_or(0, |l| l.healthy.len() as u64);
    let forced = config.force_local_zone.is_some_and(|least| in_zone >= u64::from(least));
    if has_local && ((hosts > 0 && hosts >= envoys) || forced) {
        return Routing::Direct;
    }
    let stays = if has_local && envoys > 0 { hosts * 10_000 / envoys } else { 0 };
    let mut sum = 0;
    let left = shares.iter().enumerate().map(|(i, (envoys, hosts))| {
        if i > 0 || !has_local {
            sum += hosts.saturating_sub(*envoys);
        }
        sum
    });
    Routing::Residual { stays, left: left.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LbConfig, Locality, ZoneAware};
    use crate::host::{HealthFlags, Host};
    use crate::host_set::testing::host;
    use crate::lb::PlanCx;
    use std::collections::HashMap;
    use std::sync::Arc;

    fn zone(name: &str) -> Locality {
        Locality { zone: name.into(), ..Locality::default() }
    }

    /// Hosts per zone `a`, `b`, `c`.
    fn hosts(spec: [usize; 3]) -> Vec<Arc<Host>> {
        let mut port = 0;
        let mut list = Vec::new();
        for (n, name) in spec.into_iter().zip(["a", "b", "c"]) {
            let locality = Arc::new(zone(name));
            for _ in 0..n {
                port += 1;
                let mut made = Arc::into_inner(host(port, 1, 0, HealthFlags::default())).expect("only owner");
                made.locality = locality.clone();
                list.push(Arc::new(made));
            }
        }
        list
    }

    fn zones(local: [usize; 3], upstream: [usize; 3], at: &str, zone_aware: ZoneAware) -> Zones {
        let here = Local { cluster: Some("local".into()), locality: Some(zone(at)) };
        let common = CommonLbConfig { zone_aware, ..CommonLbConfig::default() };
        let lb = LbConfig::ROUND_ROBIN;
        let cx = PlanCx { lb: &lb, common: &common, subsets: None, local: Some(&here), local_hosts: None, named_hosts: false };
        let set = |spec| HostSet::new(hosts(spec), &HashMap::new(), 140, false).prepared(&cx);
        Zones::new(&set(upstream), &here, &set(local), &common)
    }

    #[test]
    fn as_many_hosts_as_envoys_in_the_zone_keep_everything_there() {
        let z = zones([2, 2, 2], [4, 2, 2], "a", ZoneAware::default());
        assert_eq!(z.routing, Routing::Direct);
        assert_eq!(z.choose(&Rng::seeded(1, 1), false, &|_| ()), Zone::At(0));
    }

    #[test]
    fn fewer_hosts_than_envoys_spill_over_to_zones_with_room() {
        // Envoys 40 40 20, hosts 25 50 25: what is left is 0, 10 and 5.
        let z = zones([4, 4, 2], [2, 4, 2], "a", ZoneAware::default());
        assert_eq!(z.routing, Routing::Residual { stays: 6250, left: [0, 1000, 1500].into() });
        let (seed, rng) = ((3, 4), Rng::seeded(3, 4));
        let mut seen = [0u32; 3];
        for _ in 0..16_000 {
            if let Zone::At(at) = z.choose(&rng, false, &|_| ()) {
                seen[at] += 1;
            }
        }
        // 62.5 % stay; of 37.5 % two thirds go to b.
        let wanted = [10_000.0, 4_000.0, 2_000.0];
        let chi: f64 = seen.iter().zip(wanted).map(|(&s, w)| (f64::from(s) - w).powi(2) / w).sum();
        println!("seed {seed:?}: {seen:?}, chi square {chi:.2}");
        assert!(chi < 13.8, "p < 0.001: {seen:?}");
    }

    #[test]
    fn small_clusters_and_unknown_places_do_not_take_part() {
        let z = zones([2, 2, 2], [1, 1, 1], "a", ZoneAware::default());
        assert_eq!((z.routing, z.counted), (Routing::Off, Some(stat::LB_ZONE_CLUSTER_TOO_SMALL)));
        let z = zones([2, 2, 0], [3, 3, 3], "c", ZoneAware::default());
        assert_eq!((z.routing, z.counted), (Routing::Off, Some(stat::LB_LOCAL_CLUSTER_NOT_OK)));
        let z = zones([2, 0, 0], [3, 3, 3], "a", ZoneAware::default());
        assert_eq!((z.routing, z.counted), (Routing::Off, None));
    }

    #[test]
    fn a_forced_local_zone_takes_all_it_can() {
        let forced = ZoneAware { force_local_zone: Some(2), ..ZoneAware::default() };
        assert_eq!(zones([4, 1, 1], [2, 4, 4], "a", forced).routing, Routing::Direct);
        let forced = ZoneAware { force_local_zone: Some(3), ..ZoneAware::default() };
        assert_ne!(zones([4, 1, 1], [2, 4, 4], "a", forced).routing, Routing::Direct);
    }
}
