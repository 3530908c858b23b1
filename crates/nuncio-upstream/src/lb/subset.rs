//! Subsets: hosts by what their metadata say, worked out on the main thread whenever hosts change.
//!
//! A selector is a list of keys; every combination of values that hosts have for them makes a subset, which is a host
//! set of its own with everything that the policy needs. A request's criteria name a subset by all of their keys and
//! values at once, so that finding it is one lookup.

use super::Choice;
use super::plan::PlanCx;
use crate::config::{CommonLbConfig, SelectorFallback, SubsetConfig, SubsetFallback, SubsetSelector};
use crate::host::Host;
use crate::host_set::HostSet;
use nuncio_core::metadata::{MetadataMatch, MetadataValue, encode, of_lb};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All subsets of a host set.
#[derive(Debug)]
pub(crate) struct Subsets {
    pub(super) config: Arc<SubsetConfig>,
    by_key: HashMap<Box<[u8]>, u32>,
    pub(super) list: Vec<Subset>,
    /// All hosts, where some fallback leads to them.
    pub(super) any: Option<u32>,
    /// `default_subset`, where some fallback leads to it.
    pub(super) default: Option<u32>,
    /// Hosts left out because their subset had one already.
    pub(crate) duplicates: u64,
}

/// Hosts that agree in some values.
#[derive(Debug)]
pub(super) struct Subset {
    /// Where the whole set has its hosts: by priority.
    origin: Vec<Vec<u32>>,
    /// `None` where there is one host by rule, which is taken whether it is well or not.
    pub set: Option<Arc<HostSet>>,
}

impl Subset {
    /// A choice in the subset, as one in the whole set.
    pub fn in_whole(&self, choice: Choice) -> Option<Choice> {
        let index = *self.origin.get(choice.priority)?.get(choice.index)?;
        Some(Choice { priority: choice.priority, index: index as usize })
    }

    /// The host of a subset of one.
    pub fn single(&self) -> Option<Choice> {
        let first = self.origin.iter().enumerate().find_map(|(priority, hosts)| Some((priority, *hosts.first()?)));
        first.map(|(priority, index)| Choice { priority, index: index as usize })
    }
}

impl Subsets {
    pub fn new(whole: &HostSet, cx: &PlanCx<'_>, config: &Arc<SubsetConfig>) -> Subsets {
        let mut groups = Groups { by_key: HashMap::new(), list: Vec::new(), priorities: whole.priorities.len(), duplicates: 0 };
        for (priority, tier) in whole.priorities.iter().enumerate() {
            for (index, host) in tier.hosts.iter().enumerate() {
                for selector in &config.selectors {
                    for key in keys(host, selector, config.list_as_any) {
                        groups.add(key, selector.single_host, priority, index as u32);
                    }
                }
            }
        }
        let part = Part { whole, cx: *cx, config };
        let mut subsets = Subsets {
            config: config.clone(),
            by_key: groups.by_key,
            list: groups.list.into_iter().map(|(origin, single)| part.make(origin, single)).collect(),
            any: None,
            default: None,
            duplicates: groups.duplicates,
        };
        let leads = |to| config.fallback == to || config.selectors.iter().any(|s| s.fallback == Some(SelectorFallback::As(to)));
        if leads(SubsetFallback::Any) || config.panic_mode_any {
            subsets.any = Some(subsets.add(part.matching(|_| true)));
        }
        if leads(SubsetFallback::Default) {
            subsets.default = Some(subsets.add(part.matching(|host| agrees(host, &config.default_subset, config.list_as_any))));
        }
        subsets
    }

    fn add(&mut self, subset: Subset) -> u32 {
        self.list.push(subset);
        self.list.len() as u32 - 1
    }

    /// The subset that a request asks for.
    pub fn find(&self, wanted: &MetadataMatch) -> Option<u32> {
        self.by_key.get(wanted.key()).copied()
    }

    /// Criteria without keys that the best fitting selector has no use for: the one with the most keys, the first by
    /// name among equals.
    pub fn without_redundant(&self, wanted: &MetadataMatch) -> Option<MetadataMatch> {
        let fitting = self.config.selectors.iter().filter(|s| s.keys.iter().all(|k| wanted.fields().contains_key(k)));
        let best = fitting.min_by_key(|s| (std::cmp::Reverse(s.keys.len()), &s.keys))?;
        (best.keys.len() < wanted.fields().len()).then(|| wanted.only(|key| best.keys.iter().any(|k| k == key)))
    }

    /// What the selector with exactly these keys says about requests without a subset. As in Envoy nothing, if the
    /// keys of an earlier selector with a fallback begin with the same ones.
    pub fn selector_fallback(&self, wanted: &MetadataMatch) -> Option<&SelectorFallback> {
        let mut selectors = self.config.selectors.iter().filter(|s| s.fallback.is_some());
        let first = selectors.find(|s| wanted.fields().keys().zip(&s.keys).filter(|(a, b)| a == b).count() == wanted.fields().len())?;
        first.fallback.as_ref().filter(|_| first.keys.len() == wanted.fields().len())
    }

    /// The hosts of the last subset.
    pub fn last(&self) -> Option<&HostSet> {
        self.list.iter().rev().find_map(|subset| subset.set.as_deref())
    }

    /// How many subsets there are, how many of them are new, and how many there were before that are gone.
    pub fn changes(&self, before: Option<&Subsets>) -> (u64, u64, u64) {
        let nothing = HashMap::new();
        let old = before.map_or(&nothing, |before| &before.by_key);
        let new = self.by_key.keys().filter(|key| !old.contains_key(*key)).count();
        let kept = self.by_key.len() - new;
        (self.by_key.len() as u64, new as u64, (old.len() - kept) as u64)
    }

    /// Where the same subset was before, by its place now.
    pub fn places_in(&self, before: &Subsets) -> Vec<(u32, u32)> {
        let named = self.by_key.iter().filter_map(|(key, now)| Some((*now, *before.by_key.get(key)?)));
        named.chain(self.any.zip(before.any)).chain(self.default.zip(before.default)).collect()
    }
}

/// Hosts by priority, and whether there may be only one.
type Group = (Vec<Vec<u32>>, bool);

struct Groups {
    by_key: HashMap<Box<[u8]>, u32>,
    list: Vec<Group>,
    priorities: usize,
    duplicates: u64,
}

impl Groups {
    fn add(&mut self, key: Box<[u8]>, single: bool, priority: usize, host: u32) {
        let next = self.list.len() as u32;
        let at = *self.by_key.entry(key).or_insert(next);
        if at == next {
            self.list.push((vec![Vec::new(); self.priorities], single));
        }
        let Some((hosts, single)) = self.list.get_mut(at as usize) else { return };
        let Some(hosts) = hosts.get_mut(priority) else { return };
        // Two selectors may come to the same subset.
        if hosts.last() == Some(&host) {
            return;
        }
        if *single && !hosts.is_empty() {
            self.duplicates += 1;
        } else {
            hosts.push(host);
        }
    }
}

/// How a subset is made.
struct Part<'a> {
    whole: &'a HostSet,
    cx: PlanCx<'a>,
    config: &'a SubsetConfig,
}

impl Part<'_> {
    fn matching(&self, wanted: impl Fn(&Host) -> bool) -> Subset {
        let members = self.whole.priorities.iter().map(|tier| {
            let hosts = tier.hosts.iter().enumerate().filter(|(_, host)| wanted(host));
            hosts.map(|(i, _)| i as u32).collect()
        });
        self.make(members.collect(), false)
    }

    fn make(&self, origin: Vec<Vec<u32>>, single: bool) -> Subset {
        if single {
            return Subset { origin, set: None };
        }
        let mut set = self.whole.part(&origin);
        if self.config.locality_weight_aware && self.config.scale_locality_weight {
            self.scale(&mut set);
        }
        let common = CommonLbConfig {
            locality_weighted: self.cx.common.locality_weighted && self.config.locality_weight_aware,
            ..self.cx.common.clone()
        };
        let cx = PlanCx { common: &common, subsets: None, named_hosts: false, ..self.cx };
        let set = set.prepared(&cx);
        Subset { origin, set: Some(Arc::new(set)) }
    }

    /// A locality weighs as much less as it has fewer hosts here.
    fn scale(&self, set: &mut HostSet) {
        for (part, whole) in set.priorities.iter_mut().zip(&self.whole.priorities) {
            for locality in &mut part.localities {
                let all = whole.localities.iter().find(|l| l.locality == locality.locality).map_or(0, |l| l.all.len());
                if all > 0 {
                    let scale = locality.all.len() as f64 / all as f64;
                    locality.weight = (f64::from(locality.weight) * scale).round() as u32;
                }
            }
        }
    }
}

/// The subsets that a selector puts a host into, as bytes; none unless the host has all the keys.
fn keys(host: &Host, selector: &SubsetSelector, list_as_any: bool) -> Vec<Box<[u8]>> {
    let Some(fields) = of_lb(host.metadata.as_deref()) else { return Vec::new() };
    if selector.keys.is_empty() {
        return Vec::new();
    }
    let mut sets: Vec<Vec<(&str, &MetadataValue)>> = vec![Vec::new()];
    for key in &selector.keys {
        let Some(value) = fields.get(key) else { return Vec::new() };
        match value {
            MetadataValue::List(values) if list_as_any => {
                let with = |set: &Vec<_>| {
                    let set = set.clone();
                    values.iter().map(move |value| set.iter().copied().chain([(key.as_str(), value)]).collect())
                };
                sets = sets.iter().flat_map(with).collect();
            }
            _ => sets.iter_mut().for_each(|set| set.push((key, value))),
        }
    }
    sets.into_iter().map(|set| encode(set.into_iter())).collect()
}

/// Whether a host has all of these values.
fn agrees(host: &Host, wanted: &BTreeMap<String, MetadataValue>, list_as_any: bool) -> bool {
    let Some(fields) = of_lb(host.metadata.as_deref()) else { return wanted.is_empty() };
    wanted.iter().all(|(key, value)| match fields.get(key) {
        Some(MetadataValue::List(values)) if list_as_any => values.contains(value),
        Some(found) => found == value,
        None => false,
    })
}
