//! How load is spread over priorities, and when a priority panics.
//!
//! Percentages as Envoy reckons them: each priority can take `healthy hosts / hosts × overprovisioning factor`, lower
//! numbers first; what healthy hosts cannot take goes to degraded ones; a priority whose usable hosts are fewer than
//! the panic threshold uses all its hosts, unless the others together can carry everything.

use crate::host_set::{HostSet, PriorityHosts};

/// Load per priority, in percent, adding up to 100.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriorityLoads {
    /// Share that goes to healthy hosts of each priority.
    pub healthy: Vec<u32>,
    /// Share that goes to degraded hosts of each priority.
    pub degraded: Vec<u32>,
    /// Priorities that use all their hosts, healthy or not.
    pub panic: Vec<bool>,
}

/// Which hosts of a priority a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Healthy ones.
    Healthy,
    /// Degraded ones.
    Degraded,
}

/// Priorities in a row, each with the set that it is of (which says how its hosts are reckoned).
pub(crate) type Tiers<'a> = [(&'a HostSet, &'a PriorityHosts)];

impl PriorityLoads {
    /// Reckons the loads of a host set. `panic_threshold` is in percent.
    pub fn new(set: &HostSet, panic_threshold: f64) -> PriorityLoads {
        PriorityLoads::of(&tiers(set), panic_threshold)
    }

    /// Reckons the loads of priorities. `panic_threshold` is in percent.
    pub(crate) fn of(tiers: &Tiers<'_>, panic_threshold: f64) -> PriorityLoads {
        let mut loads = PriorityLoads::none(tiers.len());
        if tiers.is_empty() {
            return loads;
        }
        let (healthy, degraded): (Vec<u32>, Vec<u32>) = tiers.iter().map(|(set, tier)| availability(set, tier)).unzip();
        let total = healthy.iter().chain(&degraded).sum::<u32>().min(100);
        loads.share(&healthy, &degraded, total);
        loads.panic(tiers, total, whole_percent(panic_threshold));
        loads
    }

    /// Everything for one of `n` priorities.
    pub(crate) fn only(n: usize, priority: usize, availability: Availability) -> PriorityLoads {
        let mut loads = PriorityLoads::none(n);
        let list = match availability {
            Availability::Healthy => &mut loads.healthy,
            Availability::Degraded => &mut loads.degraded,
        };
        if let Some(load) = list.get_mut(priority) {
            *load = 100;
        }
        loads
    }

    fn none(n: usize) -> PriorityLoads {
        PriorityLoads { healthy: vec![0; n], degraded: vec![0; n], panic: vec![false; n] }
    }

    /// Loads without some priorities, for requests that have been there in vain. `None`: nothing could be had from
    /// the others.
    pub fn without(set: &HostSet, avoided: &[bool]) -> Option<PriorityLoads> {
        PriorityLoads::of_without(&tiers(set), avoided)
    }

    /// The same over priorities.
    pub(crate) fn of_without(tiers: &Tiers<'_>, avoided: &[bool]) -> Option<PriorityLoads> {
        let mut loads = PriorityLoads::none(tiers.len());
        let reckoned = |(at, (set, tier)): (usize, &(&HostSet, &PriorityHosts))| match avoided.get(at) {
            Some(true) => (0, 0),
            _ => availability(set, tier),
        };
        let (healthy, degraded): (Vec<u32>, Vec<u32>) = tiers.iter().enumerate().map(reckoned).unzip();
        let total = healthy.iter().chain(&degraded).sum::<u32>().min(100);
        loads.share(&healthy, &degraded, total);
        (total > 0).then_some(loads)
    }

    fn share(&mut self, healthy: &[u32], degraded: &[u32], total: u32) {
        if total == 0 {
            return;
        }
        let left = distribute(&mut self.healthy, healthy, 100, total);
        let left = distribute(&mut self.degraded, degraded, left, total);
        // What remains is rounding: it goes to the first priority that has anything.
        if let Some(first) = healthy.iter().position(|&h| h > 0) {
            self.healthy[first] += left;
        } else if let Some(first) = degraded.iter().position(|&d| d > 0) {
            self.degraded[first] += left;
        }
    }

    fn panic(&mut self, tiers: &Tiers<'_>, total: u32, threshold: u32) {
        if threshold == 0 && total == 0 {
            self.healthy[0] = 100;
            return;
        }
        for (panic, (_, tier)) in self.panic.iter_mut().zip(tiers) {
            *panic = total < 100 && in_panic(tier, threshold);
        }
        if self.panic.iter().all(|&p| p) {
            self.total_panic(tiers);
        }
    }

    /// Every priority panics: load goes by number of hosts.
    fn total_panic(&mut self, tiers: &Tiers<'_>) {
        let all: usize = tiers.iter().map(|(_, p)| p.hosts.len()).sum();
        self.degraded.fill(0);
        if all == 0 {
            self.healthy.fill(0);
            self.healthy[0] = 100;
            return;
        }
        let mut left = 100;
        for (load, (_, tier)) in self.healthy.iter_mut().zip(tiers) {
            *load = (100 * tier.hosts.len() / all) as u32;
            left -= *load;
        }
        if let Some(first) = tiers.iter().position(|(_, p)| !p.hosts.is_empty()) {
            self.healthy[first] += left;
        }
    }

    /// The priority for a request with this hash (or random number).
    pub fn choose(&self, hash: u64) -> (usize, Availability) {
        let mark = (hash % 100) as u32 + 1;
        let mut sum = 0;
        let tiers = [(&self.healthy, Availability::Healthy), (&self.degraded, Availability::Degraded)];
        for (loads, availability) in tiers {
            for (priority, load) in loads.iter().enumerate() {
                sum += load;
                if mark <= sum {
                    return (priority, availability);
                }
            }
        }
        (0, Availability::Healthy)
    }
}

fn tiers(set: &HostSet) -> Vec<(&HostSet, &PriorityHosts)> {
    set.priorities.iter().map(|tier| (set, tier)).collect()
}

/// What share of all load a priority could take with its healthy and with its degraded hosts, each up to 100.
fn availability(set: &HostSet, tier: &PriorityHosts) -> (u32, u32) {
    let reckoned = tier.hosts.len() as u64 - u64::from(tier.excluded);
    if reckoned == 0 {
        return (0, 0);
    }
    let (healthy, degraded, all) = if set.weighted_priority_health {
        let all = tier.hosts.iter().filter(|h| !h.state.flags().is_excluded()).map(|h| u64::from(h.weight)).sum();
        (tier.weight_of(&tier.healthy), tier.weight_of(&tier.degraded), all)
    } else {
        (tier.healthy.len() as u64, tier.degraded.len() as u64, reckoned)
    };
    let share = |part: u64| (u64::from(set.overprovisioning_factor) * part / u64::max(all, 1)).min(100) as u32;
    (share(healthy), share(degraded))
}

fn distribute(loads: &mut [u32], available: &[u32], mut left: u32, total: u32) -> u32 {
    for (load, available) in loads.iter_mut().zip(available) {
        *load = left.min(available * 100 / total);
        left -= *load;
    }
    left
}

/// A percentage as Envoy takes it: of a hundred, rounded down.
pub(super) fn whole_percent(percent: f64) -> u32 {
    (100.0 * (percent.clamp(0.0, 100.0) / 100.0)) as u32
}

/// Whether too few of a priority's hosts can be used.
pub(super) fn in_panic(tier: &PriorityHosts, threshold: u32) -> bool {
    let reckoned = tier.hosts.len() as f64 - f64::from(tier.excluded);
    let usable = (tier.healthy.len() + tier.degraded.len()) as f64;
    let percent = if reckoned > 0.0 { 100.0 * usable / reckoned } else { 0.0 };
    percent < f64::from(threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_set::testing::tiers;

    fn loads(spec: &[(usize, usize, usize)], threshold: f64) -> PriorityLoads {
        PriorityLoads::new(&tiers(spec), threshold)
    }

    #[test]
    fn avoided_priorities_get_nothing() {
        let set = tiers(&[(2, 0, 2), (1, 0, 1), (0, 0, 1)]);
        let load = |avoided: &[bool]| PriorityLoads::without(&set, avoided).map(|loads| loads.healthy);
        assert_eq!(load(&[false, false, false]), Some(vec![100, 0, 0]));
        assert_eq!(load(&[true, false, false]), Some(vec![0, 100, 0]));
        assert_eq!(load(&[true, true, false]), None);
    }

    #[test]
    fn a_healthy_first_priority_takes_everything() {
        let l = loads(&[(10, 0, 10), (5, 0, 5)], 50.0);
        assert_eq!((l.healthy, l.panic), (vec![100, 0], vec![false, false]));
        assert_eq!(loads(&[(72, 0, 100), (1, 0, 1)], 50.0).healthy, [100, 0]);
    }

    #[test]
    fn what_the_first_priority_cannot_take_spills_over() {
        assert_eq!(loads(&[(71, 0, 100), (1, 0, 1)], 50.0).healthy, [99, 1]);
        assert_eq!(loads(&[(50, 0, 100), (1, 0, 1)], 50.0).healthy, [70, 30]);
        assert_eq!(loads(&[(0, 0, 1), (1, 0, 1)], 50.0).healthy, [0, 100]);
    }

    #[test]
    fn degraded_hosts_take_what_healthy_ones_cannot() {
        let l = loads(&[(5, 5, 10), (0, 0, 0)], 50.0);
        assert_eq!((l.healthy[0], l.degraded[0]), (70, 30));
    }

    #[test]
    fn too_few_healthy_hosts_mean_panic() {
        assert_eq!(loads(&[(1, 0, 3)], 50.0).panic, [true]);
        assert_eq!(loads(&[(1, 0, 3)], 0.0).panic, [false]);
        assert_eq!(loads(&[(0, 0, 1)], 0.0).healthy, [100]);
        let l = loads(&[(0, 0, 1), (0, 0, 3)], 50.0);
        assert_eq!((l.healthy, l.panic), (vec![25, 75], vec![true, true]));
    }

    #[test]
    fn loads_add_up_to_a_hundred_and_choose_follows_them() {
        let rng = nuncio_rt::Rng::seeded(7, 8);
        for _ in 0..500 {
            let spec: Vec<_> = (0..1 + rng.below(4))
                .map(|_| {
                    let total = rng.below(12) as usize;
                    let healthy = rng.below(total as u64 + 1) as usize;
                    (healthy, rng.below((total - healthy) as u64 + 1) as usize, total)
                })
                .collect();
            let l = loads(&spec, 50.0);
            assert_eq!(l.healthy.iter().chain(&l.degraded).sum::<u32>(), 100, "{spec:?} {l:?}");
            let mut seen = vec![0; spec.len()];
            (0..100).for_each(|hash| seen[l.choose(hash).0] += 1);
            for (i, n) in seen.iter().enumerate() {
                assert_eq!(*n, l.healthy[i] + l.degraded[i]);
            }
        }
    }
}
