//! Choosing a host: priority, then locality where weighted, then the policy.
//!
//! A [`Balancer`] belongs to one worker and one cluster; it is made anew from each published [`HostSet`] and carries
//! over where round robin stands. Its schedules are made when first needed. Choosing costs O(1), or O(log hosts) with
//! unequal weights. Starting points are random, so that workers and proxies do not march in step.

mod edf;
mod least_request;
mod priority;

pub use edf::{DynamicEdf, Edf};
pub use priority::{Availability, PriorityLoads};

use crate::config::{CommonLbConfig, LbConfig};
use crate::host::Host;
use crate::host_set::{HostSet, LocalityHosts, PriorityHosts};
use nuncio_rt::Rng;
use std::sync::Arc;

/// What a request asks of the choice.
#[derive(Default)]
pub struct PickCx<'a> {
    /// Hash of the request, where the route has a hash policy. Random otherwise.
    pub hash: Option<u64>,
    /// Hosts not to take if another can be had (`retry_host_predicate`).
    pub reject: Option<&'a dyn Fn(&Host) -> bool>,
    /// How often a rejected choice is repeated (`host_selection_retry_max_attempts`).
    pub reject_attempts: u32,
}

/// A chosen host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its priority.
    pub priority: usize,
    /// Its place among that priority's hosts.
    pub index: usize,
}

/// What a choice came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The host, if there is one to use.
    pub choice: Option<Choice>,
    /// How often all hosts of a priority were up for choice because too few were healthy (`lb_healthy_panic`).
    pub panics: u32,
}

/// One worker's choice of hosts of one cluster.
#[derive(Debug)]
pub struct Balancer {
    set: Arc<HostSet>,
    policy: LbConfig,
    locality_weighted: bool,
    fail_traffic_on_panic: bool,
    loads: PriorityLoads,
    tiers: Vec<Tier>,
}

/// Schedules of one priority, made when needed.
#[derive(Debug, Default)]
struct Tier {
    all: Option<Source>,
    healthy: Option<Source>,
    degraded: Option<Source>,
    healthy_localities: Option<Localities>,
    degraded_localities: Option<Localities>,
}

/// Weighted choice of a locality, then of its hosts.
#[derive(Debug)]
struct Localities {
    edf: Edf,
    sources: Vec<Option<Source>>,
}

/// Hosts to choose from and where the policy stands with them.
#[derive(Debug)]
struct Source {
    /// Indices into the priority's hosts; `None` stands for all of them.
    hosts: Option<Box<[u32]>>,
    /// Turns taken, from a random start.
    turn: u64,
    schedule: Schedule,
}

#[derive(Debug)]
enum Schedule {
    /// Weights are equal, or the policy has no use for them.
    Even,
    Weighted(Edf),
    Dynamic(DynamicEdf),
}

impl Balancer {
    /// A balancer over `set`; `before` lends its positions.
    pub fn new(set: Arc<HostSet>, policy: LbConfig, common: &CommonLbConfig, before: Option<Balancer>) -> Balancer {
        let loads = PriorityLoads::new(&set, common.healthy_panic_threshold);
        let mut tiers: Vec<Tier> = Vec::with_capacity(set.priorities.len());
        tiers.resize_with(set.priorities.len(), Tier::default);
        if let Some(before) = before {
            for ((tier, old), hosts) in tiers.iter_mut().zip(before.tiers).zip(&set.priorities) {
                tier.all = old.all.map(|s| Source::new(hosts, None, policy, s.turn));
                tier.healthy = old.healthy.map(|s| Source::new(hosts, Some(&hosts.healthy), policy, s.turn));
                tier.degraded = old.degraded.map(|s| Source::new(hosts, Some(&hosts.degraded), policy, s.turn));
            }
        }
        Balancer {
            set,
            policy,
            locality_weighted: common.locality_weighted,
            fail_traffic_on_panic: common.fail_traffic_on_panic,
            loads,
            tiers,
        }
    }

    /// Chooses a host.
    pub fn pick(&mut self, rng: &Rng, cx: &PickCx<'_>) -> Outcome {
        let mut outcome = Outcome { choice: None, panics: 0 };
        let mut attempts = 0;
        loop {
            outcome.choice = self.pick_once(rng, cx.hash, &mut outcome.panics);
            let (Some(choice), Some(reject)) = (outcome.choice, cx.reject) else { return outcome };
            attempts += 1;
            let rejected = self.host(choice).is_some_and(|host| reject(host));
            if !rejected || attempts > cx.reject_attempts {
                return outcome;
            }
        }
    }

    /// The host behind a choice.
    pub fn host(&self, choice: Choice) -> Option<&Arc<Host>> {
        self.set.priorities.get(choice.priority)?.hosts.get(choice.index)
    }

    fn pick_once(&mut self, rng: &Rng, hash: Option<u64>, panics: &mut u32) -> Option<Choice> {
        let draw = hash.unwrap_or_else(|| rng.next_u64());
        let (priority, availability) = self.loads.choose(draw);
        let hosts = self.set.priorities.get(priority)?;
        let policy = self.policy;
        let tier = self.tiers.get_mut(priority)?;
        if self.loads.panic.get(priority).copied().unwrap_or(false) {
            *panics += 1;
            if self.fail_traffic_on_panic {
                return None;
            }
            let source = tier.all.get_or_insert_with(|| Source::new(hosts, None, policy, rng.next_u64()));
            return source.pick(hosts, policy, rng).map(|index| Choice { priority, index });
        }
        let (slot, localities, indices) = match availability {
            Availability::Healthy => (&mut tier.healthy, &mut tier.healthy_localities, &hosts.healthy),
            Availability::Degraded => (&mut tier.degraded, &mut tier.degraded_localities, &hosts.degraded),
        };
        let source = match self.locality_weighted {
            true => {
                let factor = self.set.overprovisioning_factor;
                let localities = localities.get_or_insert_with(|| Localities::new(hosts, availability, factor, rng));
                match localities.next(hosts, availability, policy, rng) {
                    Some(source) => source,
                    None => slot.get_or_insert_with(|| Source::new(hosts, Some(indices), policy, rng.next_u64())),
                }
            }
            false => slot.get_or_insert_with(|| Source::new(hosts, Some(indices), policy, rng.next_u64())),
        };
        source.pick(hosts, policy, rng).map(|index| Choice { priority, index })
    }
}

impl Localities {
    fn new(hosts: &PriorityHosts, availability: Availability, factor: u32, rng: &Rng) -> Localities {
        let weight = |l: &LocalityHosts| {
            let usable = members(l, availability).len() as f64;
            if l.reckoned == 0 {
                return 0;
            }
            let share = (f64::from(factor) / 100.0 * usable / f64::from(l.reckoned)).min(1.0);
            // Fixed point: a ten-thousandth of a weight is the finest difference that matters.
            (f64::from(l.weight) * share * 10_000.0).round() as u64
        };
        let entries = hosts.localities.iter().enumerate().map(|(i, l)| (i as u32, weight(l)));
        let edf = Edf::new(entries, rng.next_u64());
        Localities { edf, sources: hosts.localities.iter().map(|_| None).collect() }
    }

    /// The hosts of the locality whose turn it is; `None` when no locality has weight.
    fn next(
        &mut self,
        hosts: &PriorityHosts,
        availability: Availability,
        policy: LbConfig,
        rng: &Rng,
    ) -> Option<&mut Source> {
        let at = self.edf.next()? as usize;
        let indices = members(hosts.localities.get(at)?, availability);
        let slot = self.sources.get_mut(at)?;
        Some(slot.get_or_insert_with(|| Source::new(hosts, Some(indices), policy, rng.next_u64())))
    }
}

fn members(locality: &LocalityHosts, availability: Availability) -> &[u32] {
    match availability {
        Availability::Healthy => &locality.healthy,
        Availability::Degraded => &locality.degraded,
    }
}

impl Source {
    fn new(hosts: &PriorityHosts, indices: Option<&[u32]>, policy: LbConfig, turn: u64) -> Source {
        let indices = indices.filter(|list| list.len() != hosts.hosts.len()).map(Box::from);
        let mut source = Source { hosts: indices, turn, schedule: Schedule::Even };
        let members = source.members(hosts);
        if members.len() < 2 || members.weights_are_equal() {
            return source;
        }
        let entries = 0..members.len();
        source.schedule = match policy {
            LbConfig::RoundRobin => Schedule::Weighted(Edf::new(entries.map(|e| (e, u64::from(members.weight(e)))), turn)),
            LbConfig::LeastRequest { active_request_bias: bias, .. } => {
                let weight = |e| members.host(e).map_or(0.0, |h| least_request::weight(h, bias));
                Schedule::Dynamic(DynamicEdf::new(entries, weight, turn))
            }
            LbConfig::Random => Schedule::Even,
        };
        source
    }

    fn members<'a>(&'a self, hosts: &'a PriorityHosts) -> Members<'a> {
        Members { hosts: &hosts.hosts, list: self.hosts.as_deref() }
    }

    #[inline]
    fn pick(&mut self, hosts: &PriorityHosts, policy: LbConfig, rng: &Rng) -> Option<usize> {
        let Source { hosts: list, turn, schedule } = self;
        let members = Members { hosts: &hosts.hosts, list: list.as_deref() };
        let n = members.len();
        if n < 2 {
            return (n == 1).then(|| members.index(0));
        }
        let active = |e| members.host(e).map_or(u32::MAX, |h| h.state.active_requests());
        let entry = match (schedule, policy) {
            (Schedule::Weighted(edf), _) => edf.next()?,
            (Schedule::Dynamic(edf), LbConfig::LeastRequest { active_request_bias: bias, .. }) => {
                edf.next(|e| members.host(e).map_or(0.0, |h| least_request::weight(h, bias)))?
            }
            (_, LbConfig::LeastRequest { full_scan: true, .. }) => least_request::scan(n, active, rng),
            (_, LbConfig::LeastRequest { choice_count, .. }) => least_request::choose(n, choice_count, active, rng),
            (_, LbConfig::RoundRobin) => {
                let entry = *turn % u64::from(n);
                *turn = turn.wrapping_add(1);
                entry as u32
            }
            (_, LbConfig::Random) => rng.below(u64::from(n)) as u32,
        };
        Some(members.index(entry))
    }
}

/// The hosts of a source: some of a priority's, or all.
#[derive(Clone, Copy)]
struct Members<'a> {
    hosts: &'a [Arc<Host>],
    list: Option<&'a [u32]>,
}

impl<'a> Members<'a> {
    #[inline]
    fn len(self) -> u32 {
        self.list.map_or(self.hosts.len(), <[u32]>::len) as u32
    }

    #[inline]
    fn index(self, entry: u32) -> usize {
        match self.list {
            Some(list) => list.get(entry as usize).map_or(0, |i| *i as usize),
            None => entry as usize,
        }
    }

    fn host(self, entry: u32) -> Option<&'a Host> {
        self.hosts.get(self.index(entry)).map(|h| &**h)
    }

    fn weight(self, entry: u32) -> u32 {
        self.host(entry).map_or(0, |h| h.weight)
    }

    fn weights_are_equal(self) -> bool {
        let first = self.weight(0);
        (1..self.len()).all(|e| self.weight(e) == first)
    }
}

#[cfg(test)]
mod tests;
