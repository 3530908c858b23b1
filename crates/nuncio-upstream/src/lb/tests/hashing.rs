//! Consistent hashing is Envoy's to the bit: recorded choices of the real one.

use super::*;
use crate::config::{HashFunction, HashLb, HashTableConfig, RingHashConfig};

const RING: HashLb = HashLb { table: HashTableConfig::Ring(DEFAULT_RING), use_hostname: false, balance_factor: 0 };
const DEFAULT_RING: RingHashConfig =
    RingHashConfig { minimum_ring_size: 1024, maximum_ring_size: 8 << 20, hash_function: HashFunction::XxHash };
const MAGLEV: HashLb = HashLb { table: HashTableConfig::Maglev { table_size: 65_537 }, ..RING };

fn five(weighted: bool) -> Vec<Arc<Host>> {
    let weight = |i: u32| if weighted { i } else { 1 };
    (1..=5).map(|i| host(8080 + i as u16, weight(i), 0, HealthFlags::default())).collect()
}

fn by_hash(b: &mut Balancer, hash: u64) -> Choice {
    let cx = PickCx { hash: Some(hash), ..PickCx::default() };
    pick(b, &Rng::seeded(1, 1), &cx).expect("a host")
}

#[test]
fn every_key_reaches_the_host_that_envoy_chose() {
    let murmur = RingHashConfig { hash_function: HashFunction::MurmurHash2, ..DEFAULT_RING };
    let murmur = HashLb { table: HashTableConfig::Ring(murmur), ..RING };
    let mut balancers: HashMap<&str, Balancer> = [
        ("ring", RING, false),
        ("ringw", RING, true),
        ("ringm", murmur, false),
        ("mag", MAGLEV, false),
        ("magw", MAGLEV, true),
    ]
    .into_iter()
    .map(|(name, hash, weighted)| (name, balancer(five(weighted), LbConfig::Hash(hash))))
    .collect();
    let mut vectors = 0;
    for line in include_str!("hash_vectors.tsv").lines().skip(1) {
        let [policy, source, key, wanted] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let balancer = balancers.get_mut(policy.trim_start_matches("q_")).expect("a policy");
        let choice = by_hash(balancer, xxh64(key.as_bytes(), 0));
        let host = balancer.host(choice).expect("a host");
        assert_eq!(host.address.to_string(), wanted, "{policy} {source} {key}");
        vectors += 1;
    }
    assert_eq!(vectors, 540);
}

#[test]
fn tables_have_envoys_sizes() {
    let spread = |hash, weighted| {
        let set = HostSet::new(five(weighted), &HashMap::new(), 140, false);
        let spread = prepared(set, LbConfig::Hash(hash), &CommonLbConfig::default()).plan.spread().expect("a table");
        (spread.size, spread.least, spread.most)
    };
    assert_eq!(spread(RING, false), (1025, 205, 205));
    assert_eq!(spread(RING, true), (1035, 69, 345));
    assert_eq!(spread(MAGLEV, false), (65_537, 13_107, 13_108));
    assert_eq!(spread(MAGLEV, true), (65_537, 4_370, 21_845));
    let small = RingHashConfig { minimum_ring_size: 2, maximum_ring_size: 3, ..DEFAULT_RING };
    assert_eq!(spread(HashLb { table: HashTableConfig::Ring(small), ..RING }, false).0, 3);
}

#[test]
fn a_host_that_goes_takes_little_along_but_its_own_keys() {
    let fewer = || five(false).into_iter().skip(1).collect::<Vec<_>>();
    // A ring of a given size has more points per host when there are fewer hosts.
    for hash in [RING, MAGLEV] {
        let (mut all, mut left) = (balancer(five(false), LbConfig::Hash(hash)), balancer(fewer(), LbConfig::Hash(hash)));
        let mut moved = 0;
        for n in 0..1000u32 {
            let hash = xxh64(&n.to_le_bytes(), 0);
            let (before, after) = (by_hash(&mut all, hash), by_hash(&mut left, hash));
            moved += u32::from(before.index != 0 && before.index != after.index + 1);
        }
        assert!(moved <= 150, "{moved} of 1000 keys of hosts that stayed went elsewhere");
    }
}

#[test]
fn a_rejected_host_is_followed_by_others() {
    for hash in [RING, MAGLEV] {
        let mut b = balancer(five(false), LbConfig::Hash(hash));
        let first = by_hash(&mut b, 77);
        let tried = b.host(first).cloned().expect("a host");
        let reject = |h: &Host| std::ptr::eq(h, &*tried);
        let cx = PickCx { hash: Some(77), reject: Some(&reject), reject_attempts: 20, ..PickCx::default() };
        assert_ne!(pick(&mut b, &Rng::seeded(1, 1), &cx), Some(first));
    }
}

#[test]
fn a_host_with_more_than_its_share_is_passed_over_the_same_way_each_time() {
    let bounded = HashLb { balance_factor: 120, ..RING };
    let hosts = five(false);
    let mut b = balancer(hosts.clone(), LbConfig::Hash(bounded));
    let first = by_hash(&mut b, 4711);
    assert_eq!(by_hash(&mut b, 4711), first);
    (0..10).for_each(|_| hosts[first.index].state.request_began());
    let env = PickEnv { rng: &Rng::seeded(1, 1), count: &|_| (), in_flight: &|| 10 };
    let cx = PickCx { hash: Some(4711), ..PickCx::default() };
    let second = b.pick(&env, &cx).expect("a host");
    assert_ne!(second, first);
    assert_eq!(b.pick(&env, &cx), Some(second));
    // All have too much: the least loaded takes it.
    for (i, host) in hosts.iter().enumerate() {
        (0..if i == 3 { 20 } else { 40 }).for_each(|_| host.state.request_began());
    }
    let env = PickEnv { in_flight: &|| 10, ..env };
    let least = if first.index == 3 { None } else { Some(3) };
    assert!(least.is_none_or(|least| b.pick(&env, &cx).map(|c| c.index) == Some(least)));
}

#[test]
fn only_healthy_hosts_are_in_the_table_until_panic() {
    for (healthy, wanted) in [(3, 3), (1, 5)] {
        let mut b = of(tiers(&[(healthy, 0, 5)]), LbConfig::Hash(RING), &CommonLbConfig::default());
        let reached: std::collections::HashSet<usize> = (0..500u32).map(|n| by_hash(&mut b, xxh64(&n.to_le_bytes(), 0)).index).collect();
        assert_eq!(reached.len(), wanted);
    }
}
