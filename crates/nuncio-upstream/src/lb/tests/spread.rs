//! How choices spread: chi-square tests with fixed seeds, and what a choice costs.

use super::*;
use crate::config::{HashFunction, HashLb, HashTableConfig, RingHashConfig, SlowStart};
use std::time::{Duration, Instant};

const SEED: (u64, u64) = (0x6c6f_6164, 0x7370_7265_6164);

/// The distance of what was seen from what was to be expected, over its degrees of freedom.
fn chi_square(seen: &[u32], shares: &[f64]) -> f64 {
    let (n, all): (u32, f64) = (seen.iter().sum(), shares.iter().sum());
    let terms = seen.iter().zip(shares).map(|(&s, share)| {
        let wanted = f64::from(n) * share / all;
        (f64::from(s) - wanted).powi(2) / wanted
    });
    terms.sum::<f64>() / (seen.len() as f64 - 1.0)
}

fn seen(b: &mut Balancer, hosts: usize, picks: usize, hashed: bool) -> Vec<u32> {
    let rng = Rng::seeded(SEED.0, SEED.1);
    let mut seen = vec![0; hosts];
    for n in 0..picks {
        let hash = hashed.then(|| xxh64(&n.to_le_bytes(), 0));
        let choice = pick(b, &rng, &PickCx { hash, ..PickCx::default() }).expect("a host");
        seen[choice.index] += 1;
    }
    seen
}

fn many(n: usize, weight: impl Fn(usize) -> u32) -> Vec<Arc<Host>> {
    (0..n).map(|i| host(i as u16, weight(i), 0, HealthFlags::default())).collect()
}

const MAGLEV: HashLb =
    HashLb { table: HashTableConfig::Maglev { table_size: 65_537 }, use_hostname: false, balance_factor: 0 };

fn ring(size: u64) -> LbConfig {
    let ring = RingHashConfig { minimum_ring_size: size, maximum_ring_size: 8 << 20, hash_function: HashFunction::XxHash };
    LbConfig::Hash(HashLb { table: HashTableConfig::Ring(ring), ..MAGLEV })
}

#[test]
fn random_policies_spread_evenly_and_weighted_ones_by_weight() {
    let even = |_| 1;
    let graded = |i: usize| 1 + i as u32 % 4;
    // The bound is what chance exceeds once in a thousand times at 19 degrees of freedom: 43.8 / 19.
    for (name, policy, weight, hashed) in [
        ("random", LbConfig::Random, &even as &dyn Fn(usize) -> u32, false),
        ("least request", LEAST, &even, false),
        ("round robin by weight", LbConfig::ROUND_ROBIN, &graded, false),
        ("maglev", LbConfig::Hash(MAGLEV), &even, true),
        ("maglev by weight", LbConfig::Hash(MAGLEV), &graded, true),
    ] {
        let mut b = balancer(many(20, weight), policy);
        let shares: Vec<f64> = (0..20).map(|i| f64::from(weight(i))).collect();
        let chi = chi_square(&seen(&mut b, 20, 20_000, hashed), &shares);
        println!("seed {SEED:x?}: {name}: chi square per degree of freedom {chi:.2}");
        assert!(chi < 2.31, "{name}: {chi}");
    }
}

#[test]
fn a_ring_spreads_as_well_as_its_size_allows() {
    let mut b = balancer(many(20, |_| 1), ring(1 << 16));
    let counts = seen(&mut b, 20, 40_000, true);
    println!("seed {SEED:x?}: {counts:?}");
    assert!(counts.iter().all(|n| (1800..2200).contains(n)), "{counts:?}");
}

#[test]
fn a_host_in_slow_start_gets_less() {
    let slow = Some(SlowStart { window: Duration::from_millis(20), aggression: 1.0, min_weight: 0.1 });
    let hosts = many(4, |_| 1);
    hosts[..3].iter().for_each(|h| h.state.became_healthy(nuncio_rt::Time::from_nanos(1)));
    // Its time does not begin while the test runs: it stays at the least share.
    hosts[3].state.became_healthy(nuncio_rt::Time::now() + Duration::from_secs(3600));
    std::thread::sleep(Duration::from_millis(25));
    for policy in [
        LbConfig::RoundRobin { slow_start: slow },
        LbConfig::LeastRequest { choice_count: 2, active_request_bias: 1.0, full_scan: false, slow_start: slow },
    ] {
        let counts = seen(&mut balancer(hosts.clone(), policy), 4, 310, false);
        assert!(counts[..3].iter().all(|n| n.abs_diff(100) <= 1) && counts[3].abs_diff(10) <= 1, "{counts:?}");
    }
}

/// `cargo test --release -p nuncio-upstream --lib -- --ignored --nocapture cost`
#[test]
#[ignore = "measures; prints nanoseconds"]
fn what_a_choice_costs() {
    let rng = Rng::seeded(SEED.0, SEED.1);
    let policies = [
        ("round robin", LbConfig::ROUND_ROBIN, false),
        ("round robin, weights", LbConfig::ROUND_ROBIN, true),
        ("least request", LEAST, false),
        ("least request, weights", LEAST, true),
        ("random", LbConfig::Random, false),
        ("ring hash", ring(1 << 16), false),
        ("maglev", LbConfig::Hash(MAGLEV), false),
    ];
    for hosts in [10, 1_000, 10_000] {
        for (name, policy, weighted) in policies {
            let started = Instant::now();
            let mut b = balancer(many(hosts, |i| if weighted { 1 + i as u32 % 7 } else { 1 }), policy);
            let built = started.elapsed();
            let cx = |n: u64| PickCx { hash: Some(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)), ..PickCx::default() };
            (0..1_000).for_each(|n| _ = pick(&mut b, &rng, &cx(n)));
            let started = Instant::now();
            const PICKS: u32 = 1_000_000;
            (0..u64::from(PICKS)).for_each(|n| _ = std::hint::black_box(pick(&mut b, &rng, &cx(n))));
            println!("{hosts:>6} hosts  {name:<24} {:>6.1} ns  (made in {built:.1?})", started.elapsed().as_nanos() as f64 / f64::from(PICKS));
        }
    }
}
