use super::*;
use crate::config::Locality;
use crate::host::HealthFlags;
use crate::host_set::testing::{host, tiers};
use std::collections::HashMap;

fn balancer(hosts: Vec<Arc<Host>>, policy: LbConfig) -> Balancer {
    let set = HostSet::new(hosts, &HashMap::new(), 140, false);
    Balancer::new(Arc::new(set), policy, &CommonLbConfig::default(), None)
}

fn counts(b: &mut Balancer, n: usize, rng: &Rng) -> HashMap<(usize, usize), usize> {
    let mut seen = HashMap::new();
    for _ in 0..n {
        if let Some(c) = b.pick(rng, &PickCx::default()).choice {
            *seen.entry((c.priority, c.index)).or_insert(0) += 1;
        }
    }
    seen
}

const LEAST: LbConfig = LbConfig::LeastRequest { choice_count: 2, active_request_bias: 1.0, full_scan: false };

#[test]
fn weighted_round_robin_is_exact_and_even_hosts_rotate() {
    let rng = Rng::seeded(1, 2);
    let mut b = balancer(
        [5, 2, 3].iter().enumerate().map(|(i, w)| host(i as u16, *w, 0, HealthFlags::default())).collect(),
        LbConfig::RoundRobin,
    );
    let seen = counts(&mut b, 60, &rng);
    assert_eq!((seen[&(0, 0)], seen[&(0, 1)], seen[&(0, 2)]), (30, 12, 18));
    let mut b = balancer((0..3).map(|i| host(i, 7, 0, HealthFlags::default())).collect(), LbConfig::RoundRobin);
    assert!(counts(&mut b, 30, &rng).values().all(|n| *n == 10));
}

#[test]
fn round_robin_goes_on_where_it_stood_when_hosts_change() {
    let rng = Rng::seeded(3, 4);
    let hosts: Vec<_> = (0..4).map(|i| host(i, 1, 0, HealthFlags::default())).collect();
    let mut b = balancer(hosts.clone(), LbConfig::RoundRobin);
    let first = b.pick(&rng, &PickCx::default()).choice.map(|c| c.index);
    let set = Arc::new(HostSet::new(hosts, &HashMap::new(), 140, false));
    let mut b = Balancer::new(set, LbConfig::RoundRobin, &CommonLbConfig::default(), Some(b));
    let second = b.pick(&rng, &PickCx::default()).choice.map(|c| c.index);
    assert_eq!(first.map(|i| (i + 1) % 4), second);
}

#[test]
fn unhealthy_hosts_get_nothing_until_panic() {
    let rng = Rng::seeded(5, 6);
    let set = Arc::new(tiers(&[(2, 0, 3)]));
    let mut b = Balancer::new(set, LbConfig::RoundRobin, &CommonLbConfig::default(), None);
    assert!(!counts(&mut b, 60, &rng).contains_key(&(0, 2)));
    let set = Arc::new(tiers(&[(1, 0, 3)]));
    let mut b = Balancer::new(set, LbConfig::RoundRobin, &CommonLbConfig::default(), None);
    assert_eq!(b.pick(&rng, &PickCx::default()).panics, 1);
    assert_eq!(counts(&mut b, 60, &rng).len(), 3);
    let calm = CommonLbConfig { healthy_panic_threshold: 0.0, ..CommonLbConfig::default() };
    let mut b = Balancer::new(Arc::new(tiers(&[(0, 0, 3)])), LbConfig::RoundRobin, &calm, None);
    assert_eq!(b.pick(&rng, &PickCx::default()), Outcome { choice: None, panics: 0 });
}

#[test]
fn a_dead_first_priority_sends_everything_to_the_second() {
    let rng = Rng::seeded(7, 8);
    let set = Arc::new(tiers(&[(0, 0, 1), (1, 0, 1)]));
    let mut b = Balancer::new(set, LbConfig::RoundRobin, &CommonLbConfig::default(), None);
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
    let set = Arc::new(HostSet::new(vec![at(1, &a), at(2, &a), at(3, &b)], &weights, 140, false));
    let common = CommonLbConfig { locality_weighted: true, ..CommonLbConfig::default() };
    let mut balancer = Balancer::new(set, LbConfig::RoundRobin, &common, None);
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
    let mut b = balancer((0..2).map(|i| host(i, 1, 0, HealthFlags::default())).collect(), LbConfig::RoundRobin);
    let tried = b.pick(&rng, &PickCx::default()).choice.and_then(|c| b.host(c).cloned()).expect("a host");
    let reject = |h: &Host| std::ptr::eq(h, &*tried);
    for _ in 0..10 {
        let cx = PickCx { reject: Some(&reject), reject_attempts: 1, ..PickCx::default() };
        let choice = b.pick(&rng, &cx).choice.expect("a host");
        assert!(!reject(b.host(choice).expect("a host")));
    }
}
