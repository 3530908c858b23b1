//! Choosing from one host set: priority, then locality where those count, then the policy.

use super::edf::Edf;
use super::priority::{Availability, PriorityLoads};
use super::source::Source;
use super::zone::Zone;
use super::{Choice, PickCx, PickEnv};
use crate::config::LbConfig;
use crate::host::Host;
use crate::host_set::{HostSet, LocalityHosts, PriorityHosts};
use nuncio_rt::{Rng, Time};
use nuncio_stats::tables::cluster as stat;
use std::sync::Arc;

/// One worker's choice of hosts of one set.
#[derive(Debug)]
pub(super) struct Chooser {
    pub set: Arc<HostSet>,
    policy: LbConfig,
    /// Some host of the set is in slow start.
    slow: bool,
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

/// Choice of a locality, then of its hosts.
#[derive(Debug)]
struct Localities {
    turns: Edf,
    sources: Vec<Option<Source>>,
}

/// Where the hosts for a request come from.
enum From {
    All,
    Of(Availability),
    Locality(Availability, usize),
}

impl Chooser {
    /// A chooser over a prepared set; `before` lends its positions.
    pub fn new(set: Arc<HostSet>, policy: LbConfig, before: Option<Chooser>) -> Chooser {
        let mut tiers: Vec<Tier> = Vec::with_capacity(set.priorities.len());
        tiers.resize_with(set.priorities.len(), Tier::default);
        let slow = set.plan.slow_start_until > Time::ORIGIN && Time::now() <= set.plan.slow_start_until;
        if let Some(before) = before {
            for ((tier, old), hosts) in tiers.iter_mut().zip(before.tiers).zip(&set.priorities) {
                tier.all = old.all.map(|s| Source::new(hosts, None, policy, slow, s.turn));
                tier.healthy = old.healthy.map(|s| Source::new(hosts, Some(&hosts.healthy), policy, slow, s.turn));
                tier.degraded = old.degraded.map(|s| Source::new(hosts, Some(&hosts.degraded), policy, slow, s.turn));
            }
        }
        Chooser { set, policy, slow, tiers }
    }

    /// Chooses a host, again if it is rejected.
    pub fn pick(&mut self, env: &PickEnv<'_>, cx: &PickCx<'_>) -> Option<Choice> {
        if let LbConfig::Hash(_) = self.policy {
            return self.pick_by_hash(env, cx);
        }
        let mut attempt = 0;
        loop {
            let choice = self.pick_once(env, cx.loads, false)?;
            attempt += 1;
            if attempt > cx.reject_attempts || !self.is_rejected(choice, cx) {
                return Some(choice);
            }
        }
    }

    /// Chooses a host for later; `None` where the policy goes by what is the case then.
    pub fn look_ahead(&mut self, env: &PickEnv<'_>) -> Option<Choice> {
        self.pick_once(env, None, true)
    }

    fn host(&self, choice: Choice) -> Option<&Arc<Host>> {
        self.set.priorities.get(choice.priority)?.hosts.get(choice.index)
    }

    fn is_rejected(&self, choice: Choice, cx: &PickCx<'_>) -> bool {
        let Some(reject) = cx.reject else { return false };
        self.host(choice).is_some_and(|host| reject(host))
    }

    fn pick_by_hash(&self, env: &PickEnv<'_>, cx: &PickCx<'_>) -> Option<Choice> {
        let hash = cx.hash.unwrap_or_else(|| env.rng.next_u64());
        let plan = &self.set.plan;
        let (priority, _) = cx.loads.unwrap_or(&plan.loads).choose(hash);
        if plan.loads.panic.get(priority).copied().unwrap_or(false) {
            (env.count)(stat::LB_HEALTHY_PANIC);
        }
        let (table, tier) = (plan.tables.get(priority)?, self.set.priorities.get(priority)?);
        let mut attempt = 0;
        loop {
            let index = table.pick(&tier.hosts, hash, attempt, env.in_flight)? as usize;
            let choice = Choice { priority, index };
            attempt += 1;
            if attempt > cx.reject_attempts || !self.is_rejected(choice, cx) {
                return Some(choice);
            }
        }
    }

    fn pick_once(&mut self, env: &PickEnv<'_>, loads: Option<&PriorityLoads>, ahead: bool) -> Option<Choice> {
        let (priority, availability) = loads.unwrap_or(&self.set.plan.loads).choose(env.rng.next_u64());
        let from = self.from(priority, availability, env)?;
        let Chooser { set, policy, slow, tiers } = self;
        let (hosts, policy) = (set.priorities.get(priority)?, *policy);
        let tier = tiers.get_mut(priority)?;
        let new = |indices: Option<&[u32]>| Source::new(hosts, indices, policy, *slow, env.rng.next_u64());
        let source = match from {
            From::All => tier.all.get_or_insert_with(|| new(None)),
            From::Of(Availability::Healthy) => tier.healthy.get_or_insert_with(|| new(Some(&hosts.healthy))),
            From::Of(Availability::Degraded) => tier.degraded.get_or_insert_with(|| new(Some(&hosts.degraded))),
            From::Locality(availability, at) => {
                let localities = tier.localities(availability).as_mut()?;
                let indices = members(hosts.localities.get(at)?, availability);
                localities.sources.get_mut(at)?.get_or_insert_with(|| new(Some(indices)))
            }
        };
        if ahead && matches!(policy, LbConfig::LeastRequest { .. }) && !source.takes_turns() {
            return None;
        }
        source.pick(hosts, policy, env.rng).map(|index| Choice { priority, index })
    }

    /// Which hosts of a priority are up for choice.
    fn from(&mut self, priority: usize, availability: Availability, env: &PickEnv<'_>) -> Option<From> {
        let plan = &self.set.plan;
        let hosts = self.set.priorities.get(priority)?;
        if plan.loads.panic.get(priority).copied().unwrap_or(false) {
            (env.count)(stat::LB_HEALTHY_PANIC);
            return (!plan.fail_traffic_on_panic).then_some(From::All);
        }
        let zones = plan.zones.as_ref().filter(|_| priority == 0);
        if !plan.locality_weighted && zones.is_none() {
            return Some(From::Of(availability));
        }
        let factor = self.set.overprovisioning_factor;
        let slot = self.tiers.get_mut(priority)?.localities(availability);
        let localities = slot.get_or_insert_with(|| Localities::new(hosts, availability, factor, env.rng));
        let turn = if plan.locality_weighted { localities.turns.next() } else { None };
        let at = match (turn, zones) {
            (Some(at), _) => Some(at as usize),
            (None, None) => None,
            (None, Some(zones)) => match zones.choose(env.rng, plan.fail_traffic_on_panic, env.count) {
                Zone::Any => None,
                Zone::At(at) => Some(at),
                Zone::Nowhere => return None,
            },
        };
        Some(at.map_or(From::Of(availability), |at| From::Locality(availability, at)))
    }
}

impl Tier {
    fn localities(&mut self, availability: Availability) -> &mut Option<Localities> {
        match availability {
            Availability::Healthy => &mut self.healthy_localities,
            Availability::Degraded => &mut self.degraded_localities,
        }
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
        let turns = Edf::new(entries, rng.next_u64());
        Localities { turns, sources: hosts.localities.iter().map(|_| None).collect() }
    }
}

fn members(locality: &LocalityHosts, availability: Availability) -> &[u32] {
    match availability {
        Availability::Healthy => &locality.healthy,
        Availability::Degraded => &locality.degraded,
    }
}
