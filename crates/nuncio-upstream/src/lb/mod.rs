//! Choosing a host: the subset that the request asks for, then priority, locality and policy.
//!
//! What all workers can share is worked out on the main thread when hosts or their health change ([`Plan`], part of the
//! host set): loads of priorities, hash tables, zones, subsets. A [`Balancer`] belongs to one worker and one cluster; it
//! is made anew from each published [`HostSet`] and carries over where round robin stands. Its schedules are made when
//! first needed. Choosing costs O(1), or O(log hosts) with unequal weights or a hash ring. Starting points are random,
//! so that workers and proxies do not march in step.

mod chooser;
mod edf;

mod least_request;
mod maglev;
mod plan;
mod priority;
mod ring;
mod slow_start;
mod source;
mod subset;
mod table;
mod zone;

pub use nuncio_core::hash::xxh64;
pub use priority::{Availability, PriorityLoads};
pub(crate) use plan::{Plan, PlanCx};
pub(crate) use subset::Subsets;

use crate::config::{LbConfig, SelectorFallback, SubsetFallback};
use crate::host::Host;
use crate::host_set::HostSet;
use nuncio_core::metadata::{MetadataMatch, MetadataValue};
use chooser::Chooser;
use nuncio_rt::{Address, Rng};
use nuncio_stats::{CounterId, tables::cluster as stat};
use std::{collections::VecDeque, sync::Arc};

/// What a request asks of the choice.
#[derive(Default, Clone, Copy)]
pub struct PickCx<'a> {
    /// Hash of the request, where the route has a hash policy. Random otherwise.
    pub hash: Option<u64>,
    /// Addresses of hosts to take before any other, whether they are well or not; the first that there is.
    pub named: &'a [&'a str],
    /// What it asks of hosts' metadata, where the cluster has subsets.
    pub metadata: Option<&'a MetadataMatch>,
    /// Where it wants to go, where hosts come on demand.
    pub destination: Option<&'a Address>,
    /// Which attempt it is made for, from 1, where attempts go to different clusters.
    pub attempt: u32,
    /// The name it asks for, with its port, where hosts are names.
    pub name: Option<&'a str>,
    /// Hosts not to take if another can be had (`retry_host_predicate`).
    pub reject: Option<&'a dyn Fn(&Host) -> bool>,
    /// How often a rejected choice is repeated (`host_selection_retry_max_attempts`).
    pub reject_attempts: u32,
    /// How load is spread over priorities for this request, where that differs (`retry_priority`).
    pub loads: Option<&'a PriorityLoads>,
}

/// What a choice is made with.
#[derive(Clone, Copy)]
pub(crate) struct PickEnv<'a> {
    pub rng: &'a Rng,
    /// Counts what happened.
    pub count: &'a dyn Fn(CounterId),
    /// Requests in flight over the whole cluster.
    pub in_flight: &'a dyn Fn() -> u64,
}

/// A chosen host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Its priority.
    pub priority: usize,
    /// Its place among that priority's hosts.
    pub index: usize,
}

/// One worker's choice of hosts of one cluster.
#[derive(Debug)]
pub(crate) struct Balancer {
    whole: Chooser,
    policy: LbConfig,
    /// One per subset, made when first needed.
    parts: Vec<Option<Chooser>>,
    /// Choices made in advance, to connect to their hosts: the next requests get them.
    ahead: VecDeque<Choice>,
}

impl Balancer {
    /// A balancer over a prepared set; `before` lends its positions.
    pub fn new(set: Arc<HostSet>, policy: LbConfig, before: Option<Balancer>) -> Balancer {
        let mut parts: Vec<Option<Chooser>> = Vec::new();
        let mut whole_before = None;
        if let Some(subsets) = &set.plan.subsets {
            parts.resize_with(subsets.list.len(), || None);
        }
        if let Some(mut before) = before {
            if let (Some(now), Some(then)) = (&set.plan.subsets, &before.whole.set.plan.subsets) {
                for (at, was) in now.places_in(then) {
                    let old = before.parts.get_mut(was as usize).and_then(Option::take);
                    let fresh = now.list.get(at as usize).and_then(|subset| subset.set.clone());
                    if let (Some(old), Some(fresh), Some(place)) = (old, fresh, parts.get_mut(at as usize)) {
                        *place = Some(Chooser::new(fresh, policy, Some(old)));
                    }
                }
            }
            whole_before = Some(before.whole);
        }
        Balancer { whole: Chooser::new(set, policy, whole_before), policy, parts, ahead: VecDeque::new() }
    }

    /// The host behind a choice.
    pub fn host(&self, choice: Choice) -> Option<&Arc<Host>> {
        self.whole.set.priorities.get(choice.priority)?.hosts.get(choice.index)
    }

    /// The first host that is wanted.
    pub fn find(&self, wanted: impl Fn(&Host) -> bool) -> Option<Choice> {
        let tiers = self.whole.set.priorities.iter().enumerate();
        tiers.into_iter().find_map(|(priority, tier)| tier.hosts.iter().position(|host| wanted(host)).map(|index| Choice { priority, index }))
    }

    /// Chooses the host for one request more than there is, which then gets it. `None`: that cannot be told in advance, or
    /// there are as many such choices as healthy hosts.
    pub fn look_ahead(&mut self, env: &PickEnv<'_>) -> Option<Choice> {
        let set = &self.whole.set;
        let healthy: usize = set.priorities.iter().map(|tier| tier.healthy.len()).sum();
        if set.plan.subsets.is_some() || self.policy.is_hashing() || self.ahead.len() >= healthy {
            return None;
        }
        let choice = self.whole.look_ahead(env)?;
        self.ahead.push_back(choice);
        Some(choice)
    }

    /// Chooses a host.
    pub fn pick(&mut self, env: &PickEnv<'_>, cx: &PickCx<'_>) -> Option<Choice> {
        let plan = &self.whole.set.plan;
        if plan.subsets.is_none() && cx.named.is_empty() {
            if !self.ahead.is_empty() && cx.reject.is_none() && cx.loads.is_none() {
                return self.ahead.pop_front();
            }
            return self.whole.pick(env, cx);
        }
        let set = self.whole.set.clone();
        if let Some(choice) = cx.named.iter().find_map(|address| set.plan.by_address.get(*address)) {
            return Some(*choice);
        }
        let Some(subsets) = &set.plan.subsets else { return self.whole.pick(env, cx) };
        let Some(wanted) = cx.metadata else { return self.fall_back(subsets, env, cx) };
        if subsets.config.metadata_fallback_list
            && let Some(MetadataValue::List(list)) = wanted.fields().get(FALLBACK_LIST)
        {
            let plain = wanted.only(|key| key != FALLBACK_LIST);
            if list.is_empty() {
                return self.pick_subset(subsets, &plain, env, cx);
            }
            return list.iter().find_map(|over| {
                let wanted = match over {
                    MetadataValue::Struct(fields) => plain.merged(fields),
                    _ => plain.clone(),
                };
                self.pick_subset(subsets, &wanted, env, cx)
            });
        }
        self.pick_subset(subsets, wanted, env, cx)
    }

    fn pick_subset(&mut self, subsets: &Subsets, wanted: &MetadataMatch, env: &PickEnv<'_>, cx: &PickCx<'_>) -> Option<Choice> {
        let reduced = if subsets.config.allow_redundant_keys { subsets.without_redundant(wanted) } else { None };
        let wanted = reduced.as_ref().unwrap_or(wanted);
        if let Some(subset) = subsets.find(wanted) {
            (env.count)(stat::LB_SUBSETS_SELECTED);
            return self.pick_from(subsets, Some(subset), env, cx);
        }
        match subsets.selector_fallback(wanted) {
            None => self.fall_back(subsets, env, cx),
            Some(SelectorFallback::As(SubsetFallback::None)) => None,
            Some(SelectorFallback::As(SubsetFallback::Any)) => self.pick_from(subsets, subsets.any, env, cx),
            Some(SelectorFallback::As(SubsetFallback::Default)) => self.pick_from(subsets, subsets.default, env, cx),
            // Fewer keys at each step, for the configuration has seen to that.
            Some(SelectorFallback::Keys(keys)) => {
                let fewer = wanted.only(|key| keys.iter().any(|k| k == key));
                self.pick_subset(subsets, &fewer, env, cx)
            }
        }
    }

    /// The configuration's fallback, then any host if that is wanted.
    fn fall_back(&mut self, subsets: &Subsets, env: &PickEnv<'_>, cx: &PickCx<'_>) -> Option<Choice> {
        let subset = match subsets.config.fallback {
            SubsetFallback::None => None,
            SubsetFallback::Any => subsets.any,
            SubsetFallback::Default => subsets.default,
        };
        if let Some(choice) = self.pick_from(subsets, subset, env, cx) {
            (env.count)(stat::LB_SUBSETS_FALLBACK);
            return Some(choice);
        }
        let any = subsets.any.filter(|_| subsets.config.panic_mode_any);
        let choice = self.pick_from(subsets, any, env, cx)?;
        (env.count)(stat::LB_SUBSETS_FALLBACK_PANIC);
        Some(choice)
    }

    fn pick_from(&mut self, subsets: &Subsets, at: Option<u32>, env: &PickEnv<'_>, cx: &PickCx<'_>) -> Option<Choice> {
        let at = at? as usize;
        let subset = subsets.list.get(at)?;
        let Some(set) = &subset.set else { return subset.single() };
        let policy = self.policy;
        let chooser = self.parts.get_mut(at)?.get_or_insert_with(|| Chooser::new(set.clone(), policy, None));
        subset.in_whole(chooser.pick(env, cx)?)
    }
}

/// The criterion that holds alternatives (`metadata_fallback_policy: FALLBACK_LIST`).
const FALLBACK_LIST: &str = "fallback_list";

#[cfg(test)]
mod tests;
