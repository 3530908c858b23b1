//! The hosts of a cluster at one moment, sorted by priority, locality and health.
//!
//! Made on the main thread whenever membership or health changes, then shared by all workers and never changed. Each
//! list of indices points into its priority's `hosts`. With [`HostSet::prepared`] it also has what load balancing works
//! out once for all workers: loads of priorities, hash tables, zones, subsets.

use crate::config::Locality;
use crate::host::{Health, HealthFlags, Host};
use crate::lb::{Plan, PlanCx};
use std::{collections::HashMap, sync::Arc};

/// All hosts of a cluster.
#[derive(Debug, Default)]
pub struct HostSet {
    /// By priority, 0 first. Priorities without hosts are there, and empty.
    pub priorities: Vec<PriorityHosts>,
    /// `overprovisioning_factor`, percent.
    pub overprovisioning_factor: u32,
    /// `weighted_priority_health`.
    pub weighted_priority_health: bool,
    pub(crate) plan: Plan,
}

/// The hosts of one priority.
#[derive(Debug, Default)]
pub struct PriorityHosts {
    /// Every host, in configuration order.
    pub hosts: Vec<Arc<Host>>,
    /// Those that are healthy.
    pub healthy: Vec<u32>,
    /// Those that are degraded.
    pub degraded: Vec<u32>,
    /// How many are left out of reckoning.
    pub excluded: u32,
    /// The same by locality: the local one first, the others in the order of their names.
    pub localities: Vec<LocalityHosts>,
}

/// The hosts of one locality within a priority.
#[derive(Debug, Default)]
pub struct LocalityHosts {
    /// Which locality.
    pub locality: Arc<Locality>,
    /// `load_balancing_weight`, 0 when none was given.
    pub weight: u32,
    /// How many hosts it has, excluded ones not counted.
    pub reckoned: u32,
    /// All its hosts.
    pub all: Vec<u32>,
    /// Those that are healthy.
    pub healthy: Vec<u32>,
    /// Those that are degraded.
    pub degraded: Vec<u32>,
}

impl HostSet {
    /// Sorts hosts, given in configuration order. `weights` are those of localities within a priority.
    pub fn new(
        hosts: Vec<Arc<Host>>,
        weights: &HashMap<(u32, Arc<Locality>), u32>,
        overprovisioning_factor: u32,
        weighted_priority_health: bool,
    ) -> HostSet {
        let mut set =
            HostSet { priorities: Vec::new(), overprovisioning_factor, weighted_priority_health, plan: Plan::default() };
        for host in hosts {
            let at = host.priority as usize;
            if set.priorities.len() <= at {
                set.priorities.resize_with(at + 1, PriorityHosts::default);
            }
            let weight = || weights.get(&(host.priority, host.locality.clone())).copied().unwrap_or(0);
            set.priorities[at].add(&host, weight);
        }
        if set.priorities.is_empty() {
            set.priorities.push(PriorityHosts::default());
        }
        set.shrink();
        set
    }

    /// Gives back what its lists have grown beyond their needs: there may be ten thousand sets, and they do not grow.
    fn shrink(&mut self) {
        self.priorities.shrink_to_fit();
        for tier in &mut self.priorities {
            tier.hosts.shrink_to_fit();
            tier.localities.shrink_to_fit();
            [&mut tier.healthy, &mut tier.degraded].into_iter().for_each(Vec::shrink_to_fit);
            for locality in &mut tier.localities {
                [&mut locality.all, &mut locality.healthy, &mut locality.degraded].into_iter().for_each(Vec::shrink_to_fit);
            }
        }
    }

    /// Works out what workers choose hosts by.
    pub(crate) fn prepared(mut self, cx: &PlanCx<'_>) -> HostSet {
        for tier in &mut self.priorities {
            let local = cx.local.and_then(|local| local.locality.as_ref());
            tier.localities.sort_by(|a, b| {
                let key = |l: &LocalityHosts| (Some(&*l.locality) != local, l.locality.clone());
                key(a).cmp(&key(b))
            });
        }
        self.plan = Plan::new(&self, cx);
        self
    }

    /// Some of the hosts, by priority and in order, as a set of their own: as many priorities, the same factors. Not
    /// prepared.
    pub(crate) fn part(&self, members: &[Vec<u32>]) -> HostSet {
        let part = |(tier, members): (&PriorityHosts, &Vec<u32>)| {
            let mut part = PriorityHosts::default();
            for host in members.iter().filter_map(|&i| tier.hosts.get(i as usize)) {
                let weight = || tier.locality(&host.locality).map_or(0, |l| l.weight);
                part.add(host, weight);
            }
            part
        };
        HostSet {
            priorities: self.priorities.iter().zip(members).map(part).collect(),
            overprovisioning_factor: self.overprovisioning_factor,
            weighted_priority_health: self.weighted_priority_health,
            plan: Plan::default(),
        }
    }

    /// Every host, by priority.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.priorities.iter().flat_map(|p| &p.hosts)
    }

    /// What `membership_*` gauges and `max_host_weight` say.
    pub fn membership(&self) -> Membership {
        let mut sum = Membership::default();
        for tier in &self.priorities {
            sum.total += tier.hosts.len() as u64;
            sum.healthy += tier.healthy.len() as u64;
            sum.degraded += tier.degraded.len() as u64;
            sum.excluded += u64::from(tier.excluded);
            let heaviest = tier.hosts.iter().map(|h| u64::from(h.weight)).max().unwrap_or(0);
            sum.max_weight = sum.max_weight.max(heaviest);
        }
        sum
    }
}

/// Counts over a host set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Membership {
    /// Hosts.
    pub total: u64,
    /// Healthy ones.
    pub healthy: u64,
    /// Degraded ones.
    pub degraded: u64,
    /// Excluded ones.
    pub excluded: u64,
    /// The largest weight.
    pub max_weight: u64,
}

impl PriorityHosts {
    fn add(&mut self, host: &Arc<Host>, locality_weight: impl FnOnce() -> u32) {
        let index = self.hosts.len() as u32;
        let flags: HealthFlags = host.state.flags();
        let at = self.localities.iter().position(|l| l.locality == host.locality).unwrap_or_else(|| {
            let locality = host.locality.clone();
            self.localities.push(LocalityHosts { locality, weight: locality_weight(), ..LocalityHosts::default() });
            self.localities.len() - 1
        });
        let locality = &mut self.localities[at];
        locality.all.push(index);
        if flags.is_excluded() {
            self.excluded += 1;
        } else {
            locality.reckoned += 1;
        }
        match flags.health() {
            Health::Healthy => {
                self.healthy.push(index);
                locality.healthy.push(index);
            }
            Health::Degraded => {
                self.degraded.push(index);
                locality.degraded.push(index);
            }
            Health::Unhealthy => {}
        }
        self.hosts.push(host.clone());
    }

    fn locality(&self, of: &Arc<Locality>) -> Option<&LocalityHosts> {
        self.localities.iter().find(|l| l.locality == *of)
    }

    /// Sum of the weights of hosts.
    pub(crate) fn weight_of(&self, indices: &[u32]) -> u64 {
        indices.iter().filter_map(|&i| self.hosts.get(i as usize)).map(|h| u64::from(h.weight)).sum()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::config::{CommonLbConfig, EndpointHealthCheck, LbConfig};
    use crate::host::HostState;
    use nuncio_rt::Address;
    use std::net::{Ipv4Addr, SocketAddr};

    /// A host at 127.0.0.1 with this port.
    pub(crate) fn host(port: u16, weight: u32, priority: u32, flags: HealthFlags) -> Arc<Host> {
        Arc::new(Host {
            address: Arc::new(Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))),
            hostname: "".into(),
            locality: Arc::default(),
            priority,
            weight,
            metadata: None,
            observability_name: None,
            locality_metadata: None,
            health_check: EndpointHealthCheck::none(),
            attempts: Arc::default(),
            state: HostState::new(5, flags),
        })
    }

    /// A host set of priorities with `(healthy, degraded, total)` hosts of weight 1.
    pub(crate) fn tiers(spec: &[(usize, usize, usize)]) -> HostSet {
        let mut hosts = Vec::new();
        for (priority, &(healthy, degraded, total)) in spec.iter().enumerate() {
            for i in 0..total {
                let flags = if i < healthy {
                    HealthFlags::default()
                } else if i < healthy + degraded {
                    HealthFlags::DEGRADED_ACTIVE_HC
                } else {
                    HealthFlags::FAILED_ACTIVE_HC
                };
                hosts.push(host(i as u16 + 1, 1, priority as u32, flags));
            }
        }
        let mut set = HostSet::new(hosts, &HashMap::new(), 140, false);
        set.priorities.resize_with(spec.len().max(1), PriorityHosts::default);
        set
    }

    /// Prepared for this policy.
    pub(crate) fn prepared(set: HostSet, lb: LbConfig, common: &CommonLbConfig) -> Arc<HostSet> {
        Arc::new(set.prepared(&PlanCx { lb: &lb, common, subsets: None, local: None, local_hosts: None, named_hosts: false }))
    }
}
