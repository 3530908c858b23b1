//! Hosts to choose from, and where the policy stands with them.

use super::edf::{DynamicEdf, Edf};
use super::{least_request, slow_start};
use crate::config::LbConfig;
use crate::host::Host;
use crate::host_set::PriorityHosts;
use nuncio_rt::{Rng, Time};
use std::sync::Arc;

/// Hosts to choose from and where the policy stands with them.
#[derive(Debug)]
pub(super) struct Source {
    /// Indices into the priority's hosts; `None` stands for all of them.
    hosts: Option<Box<[u32]>>,
    /// Turns taken, from a random start.
    pub turn: u64,
    schedule: Schedule,
}

#[derive(Debug)]
enum Schedule {
    /// Weights are equal, or the policy has no use for them.
    Even,
    Weighted(Edf),
    /// Weights change with the load or with time.
    Dynamic(DynamicEdf),
}

impl Source {
    /// Hosts with these indices, or all. `slow` while some host of the set is in slow start.
    pub fn new(hosts: &PriorityHosts, indices: Option<&[u32]>, policy: LbConfig, slow: bool, turn: u64) -> Source {
        let indices = indices.filter(|list| list.len() != hosts.hosts.len()).map(Box::from);
        let mut source = Source { hosts: indices, turn, schedule: Schedule::Even };
        let members = source.members(hosts);
        if members.len() < 2 || (!slow && members.weights_are_equal()) {
            return source;
        }
        let entries = 0..members.len();
        source.schedule = match policy {
            LbConfig::RoundRobin { .. } if !slow => {
                Schedule::Weighted(Edf::new(entries.map(|e| (e, u64::from(members.weight(e)))), turn))
            }
            LbConfig::RoundRobin { .. } | LbConfig::LeastRequest { .. } => {
                let now = Time::now();
                Schedule::Dynamic(DynamicEdf::new(entries, |e| members.share(e, policy, now), turn))
            }
            LbConfig::Random | LbConfig::Hash(_) => Schedule::Even,
        };
        source
    }

    fn members<'a>(&'a self, hosts: &'a PriorityHosts) -> Members<'a> {
        Members { hosts: &hosts.hosts, list: self.hosts.as_deref() }
    }

    /// Hosts are chosen by a schedule, for their weights differ.
    pub fn takes_turns(&self) -> bool {
        !matches!(self.schedule, Schedule::Even)
    }

    #[inline]
    pub fn pick(&mut self, hosts: &PriorityHosts, policy: LbConfig, rng: &Rng) -> Option<usize> {
        let Source { hosts: list, turn, schedule } = self;
        let members = Members { hosts: &hosts.hosts, list: list.as_deref() };
        let n = members.len();
        if n < 2 {
            return (n == 1).then(|| members.index(0));
        }
        let active = |e| members.host(e).map_or(u32::MAX, |h| h.state.active_requests());
        let entry = match (schedule, policy) {
            (Schedule::Weighted(edf), _) => edf.next()?,
            (Schedule::Dynamic(edf), _) => {
                // Only slow start looks at the clock.
                let now = policy.slow_start().map_or(Time::ORIGIN, |_| Time::now());
                edf.next(|e| members.share(e, policy, now))?
            }
            (_, LbConfig::LeastRequest { full_scan: true, .. }) => least_request::scan(n, active, rng),
            (_, LbConfig::LeastRequest { choice_count, .. }) => least_request::choose(n, choice_count, active, rng),
            (_, LbConfig::RoundRobin { .. }) => {
                let entry = *turn % u64::from(n);
                *turn = turn.wrapping_add(1);
                entry as u32
            }
            // A hashing policy has its table and comes here only without one.
            (_, LbConfig::Random | LbConfig::Hash(_)) => rng.below(u64::from(n)) as u32,
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

    /// What part of the load the host should have at this moment.
    fn share(self, entry: u32, policy: LbConfig, now: Time) -> f64 {
        let Some(host) = self.host(entry) else { return 0.0 };
        let weight = match policy {
            LbConfig::LeastRequest { active_request_bias: bias, .. } => least_request::weight(host, bias),
            _ => f64::from(host.weight),
        };
        policy.slow_start().map_or(weight, |config| weight * slow_start::factor(host, config, now))
    }

    fn weights_are_equal(self) -> bool {
        let first = self.weight(0);
        (1..self.len()).all(|e| self.weight(e) == first)
    }
}
