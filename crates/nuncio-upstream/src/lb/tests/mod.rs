//! Which host is chosen: policies, priorities, localities, panic. Hashing, subsets and spread have files of their own.

mod hashing;
mod spread;
mod subsets;

use super::*;
use crate::config::{CommonLbConfig, Locality};
use crate::host::HealthFlags;
use crate::host_set::testing::{host, prepared, tiers};
use std::collections::HashMap;

fn of(set: HostSet, policy: LbConfig, common: &CommonLbConfig) -> Balancer {
    Balancer::new(prepared(set, policy, common), policy, None)
}

fn balancer(hosts: Vec<Arc<Host>>, policy: LbConfig) -> Balancer {
    of(HostSet::new(hosts, &HashMap::new(), 140, false), policy, &CommonLbConfig::default())
}

/// Chooses without counting.
fn pick(b: &mut Balancer, rng: &Rng, cx: &PickCx<'_>) -> Option<Choice> {
    b.pick(&PickEnv { rng, count: &|_| (), in_flight: &|| 0 }, cx)
}

fn counts(b: &mut Balancer, n: usize, rng: &Rng) -> HashMap<(usize, usize), usize> {
    let mut seen = HashMap::new();
    for _ in 0..n {
        if let Some(c) = pick(b, rng, &PickCx::default()) {
            *seen.entry((c.priority, c.index)).or_insert(0) += 1;
        }
    }
    seen
}

const LEAST: LbConfig = LbConfig::LeastRequest { choice_count: 2, active_request_bias: 1.0, full_scan: false, slow_start: None };

#[test]
fn weighted_round_robin_is_exact_and_even_hosts_rotate() {
    let rng = Rng::seeded(1, 2);
    let mut b = balancer(
        [5, 2, 3].iter().enumerate().map(|(i, w)| host(i as u16, *w, 0, HealthFlags::default())).collect(),
        LbConfig::ROUND_ROBIN,
    );
    let seen = counts(&mut b, 60, &rng);
    assert_eq!((seen[&(0, 0)], seen[&(0, 1)], seen[&(0, 2)]), (30, 12, 18));
    let mut b = balancer((0..3).map(|i| host(i, 7, 0, HealthFlags::default())).collect(), LbConfig::ROUND_ROBIN);
    assert!(counts(&mut b, 30, &rng).values().all(|n| *n == 10));
}

#[test]
fn round_robin_goes_on_where_it_stood_when_hosts_change() {
    let rng = Rng::seeded(3, 4);
    let hosts: Vec<_> = (0..4).map(|i| host(i, 1, 0, HealthFlags::default())).collect();
    let mut b = balancer(hosts.clone(), LbConfig::ROUND_ROBIN);
    let first = pick(&mut b, &rng, &PickCx::default()).map(|c| c.index);
    let set = HostSet::new(hosts, &HashMap::new(), 140, false);
    let mut b = Balancer::new(prepared(set, LbConfig::ROUND_ROBIN, &CommonLbConfig::default()), LbConfig::ROUND_ROBIN, Some(b));
    let second = pick(&mut b, &rng, &PickCx::default()).map(|c| c.index);
    assert_eq!(first.map(|i| (i + 1) % 4), second);
}

#[test]
fn choices_made_in_advance_are_those_of_the_next_requests() {
    let rng = Rng::seeded(19, 20);
    let ahead = |b: &mut Balancer| b.look_ahead(&PickEnv { rng: &rng, count: &|_| (), in_flight: &|| 0 });
    let hosts = |weights: [u32; 3]| weights.iter().enumerate().map(|(i, w)| host(i as u16, *w, 0, HealthFlags::default())).collect();
    for (policy, weights) in [(LbConfig::ROUND_ROBIN, [1, 1, 1]), (LbConfig::ROUND_ROBIN, [5, 2, 1]), (LbConfig::Random, [1, 1, 1]), (LEAST, [5, 2, 1])] {
        let mut b = balancer(hosts(weights), policy);
        let foreseen: Vec<Choice> = (0..3).filter_map(|_| ahead(&mut b)).collect();
        // As many as there are healthy hosts.
        assert_eq!((foreseen.len(), ahead(&mut b)), (3, None));
        let got: Vec<Choice> = (0..3).filter_map(|_| pick(&mut b, &rng, &PickCx::default())).collect();
        assert_eq!(foreseen, got, "{policy:?} {weights:?}");
    }
    assert_eq!(ahead(&mut balancer(hosts([1, 1, 1]), LEAST)), None);
}

#[test]
fn unhealthy_hosts_get_nothing_until_panic() {
    let rng = Rng::seeded(5, 6);
    let mut b = of(tiers(&[(2, 0, 3)]), LbConfig::ROUND_ROBIN, &CommonLbConfig::default());
    assert!(!counts(&mut b, 60, &rng).contains_key(&(0, 2)));
    let mut b = of(tiers(&[(1, 0, 3)]), LbConfig::ROUND_ROBIN, &CommonLbConfig::default());
    let panics = std::cell::Cell::new(0);
    let count = |id| panics.set(panics.get() + u32::from(id == stat::LB_HEALTHY_PANIC));
    b.pick(&PickEnv { rng: &rng, count: &count, in_flight: &|| 0 }, &PickCx::default());
    assert_eq!(panics.get(), 1);
    assert_eq!(counts(&mut b, 60, &rng).len(), 3);
    let calm = CommonLbConfig { healthy_panic_threshold: 0.0, ..CommonLbConfig::default() };
    let mut b = of(tiers(&[(0, 0, 3)]), LbConfig::ROUND_ROBIN, &calm);
    assert_eq!(pick(&mut b, &rng, &PickCx::default()), None);
}

#[test]
fn a_dead_first_priority_sends_everything_to_the_second() {
    let rng = Rng::seeded(7, 8);
    let mut b = of(tiers(&[(0, 0, 1), (1, 0, 1)]), LbConfig::ROUND_ROBIN, &CommonLbConfig::default());
    assert_eq!(counts(&mut b, 60, &rng)[&(1, 0)], 60);
}

#[test]
fn locality_weights_are_exact_when_all_is_well() {
    let rng = Rng::seeded(9, 10);
    let zone = |z: &str| Arc::new(Locality { zone: z.into(), ..Locality::default() });
    let at = |port, z: &Arc<Locality>| {
        let mut h = Arc::into_inner(host(port, 1, 0, HealthFlags::default())).expect("only owner");
        h.locality = z.clone();
        Arc::new(h)
    };
    let (a, b) = (zone("a"), zone("b"));
    let weights = HashMap::from([((0, a.clone()), 3), ((0, b.clone()), 1)]);
    let set = HostSet::new(vec![at(1, &a), at(2, &a), at(3, &b)], &weights, 140, false);
    let common = CommonLbConfig { locality_weighted: true, ..CommonLbConfig::default() };
    let mut balancer = of(set, LbConfig::ROUND_ROBIN, &common);
    let seen = counts(&mut balancer, 60, &rng);
    assert_eq!((seen[&(0, 0)] + seen[&(0, 1)], seen[&(0, 2)]), (45, 15));
    assert!(seen[&(0, 0)].abs_diff(seen[&(0, 1)]) <= 1);
}

#[test]
fn least_request_avoids_loaded_hosts_and_weighs_idle_ones() {
    let rng = Rng::seeded(11, 12);
    let hosts: Vec<_> = (0..2).map(|i| host(i, 1, 0, HealthFlags::default())).collect();
    (0..5).for_each(|_| hosts[0].state.request_began());
    let mut b = balancer(hosts, LEAST);
    let seen = counts(&mut b, 4000, &rng);
    assert!((800..1200).contains(&seen[&(0, 0)]), "{seen:?}");
    let hosts = [4, 1].iter().enumerate().map(|(i, w)| host(i as u16, *w, 0, HealthFlags::default())).collect();
    assert_eq!(counts(&mut balancer(hosts, LEAST), 500, &rng)[&(0, 0)], 400);
}

#[test]
fn random_reaches_every_host_whatever_its_weight() {
    let rng = Rng::seeded(13, 14);
    let hosts = [100, 1].iter().enumerate().map(|(i, w)| host(i as u16, *w, 0, HealthFlags::default())).collect();
    let seen = counts(&mut balancer(hosts, LbConfig::Random), 4000, &rng);
    assert!((1800..2200).contains(&seen[&(0, 1)]), "{seen:?}");
}

#[test]
fn a_rejected_host_is_avoided_as_often_as_allowed() {
    let rng = Rng::seeded(15, 16);
    let mut b = balancer((0..2).map(|i| host(i, 1, 0, HealthFlags::default())).collect(), LbConfig::ROUND_ROBIN);
    let tried = pick(&mut b, &rng, &PickCx::default()).and_then(|c| b.host(c).cloned()).expect("a host");
    let reject = |h: &Host| std::ptr::eq(h, &*tried);
    for _ in 0..10 {
        let cx = PickCx { reject: Some(&reject), reject_attempts: 1, ..PickCx::default() };
        let choice = pick(&mut b, &rng, &cx).expect("a host");
        assert!(!reject(b.host(choice).expect("a host")));
    }
}

#[test]
fn a_named_host_is_taken_before_any_other_and_even_if_it_is_unwell() {
    let rng = Rng::seeded(17, 18);
    let policy = LbConfig::ROUND_ROBIN;
    let flags = [HealthFlags::default(), HealthFlags::FAILED_ACTIVE_HC, HealthFlags::default()];
    let hosts = flags.into_iter().enumerate().map(|(i, flags)| host(i as u16 + 1, 1, 0, flags)).collect();
    let common = CommonLbConfig::default();
    let cx = PlanCx { lb: &policy, common: &common, subsets: None, local: None, local_hosts: None, named_hosts: true };
    let set = HostSet::new(hosts, &HashMap::new(), 140, false).prepared(&cx);
    let mut b = Balancer::new(Arc::new(set), policy, None);
    let named = |b: &mut Balancer, named: &[&str]| pick(b, &rng, &PickCx { named, ..PickCx::default() }).map(|c| c.index);
    assert_eq!(named(&mut b, &["127.0.0.1:9", "127.0.0.1:2"]), Some(1));
    assert_ne!(named(&mut b, &["127.0.0.1:9", "nonsense"]), Some(1));
}
