//! Least request: the host with the fewest requests in flight, of a few drawn at random or of all.

use crate::host::Host;
use nuncio_rt::Rng;

/// A host's share under unequal weights: `weight / (requests in flight + 1) ^ bias`.
pub(super) fn weight(host: &Host, bias: f64) -> f64 {
    let load = f64::from(host.state.active_requests()) + 1.0;
    let weight = f64::from(host.weight);
    match bias {
        1.0 => weight / load,
        0.0 => weight,
        _ => weight / load.powf(bias),
    }
}

/// The least loaded of `choices` draws (the same host may be drawn twice); the earlier draw on a tie.
pub(super) fn choose(hosts: u32, choices: u32, active: impl Fn(u32) -> u32, rng: &Rng) -> u32 {
    let draw = || rng.below(u64::from(hosts)) as u32;
    let mut best = draw();
    let mut load = active(best);
    for _ in 1..choices.max(2) {
        let other = draw();
        let other_load = active(other);
        if other_load < load {
            (best, load) = (other, other_load);
        }
    }
    best
}

/// The least loaded of all; any of them on a tie.
pub(super) fn scan(hosts: u32, active: impl Fn(u32) -> u32, rng: &Rng) -> u32 {
    let (mut best, mut load, mut tied) = (0, u32::MAX, 0);
    for entry in 0..hosts {
        let this = active(entry);
        if this < load {
            (best, load, tied) = (entry, this, 1);
        } else if this == load {
            tied += 1;
            if rng.below(tied) == 0 {
                best = entry;
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_choices_prefer_the_less_loaded() {
        let rng = Rng::seeded(1, 1);
        let load = [0, 10, 10];
        let mut seen = [0u32; 3];
        (0..9000).for_each(|_| seen[choose(3, 2, |e| load[e as usize], &rng) as usize] += 1);
        // Host 0 wins whenever it is drawn at all: 5 of 9.
        assert!((4700..5300).contains(&seen[0]), "{seen:?}");
    }

    #[test]
    fn a_full_scan_takes_the_least_loaded_and_spreads_ties() {
        let rng = Rng::seeded(2, 2);
        let load = [3, 1, 1, 1];
        let mut seen = [0u32; 4];
        (0..3000).for_each(|_| seen[scan(4, |e| load[e as usize], &rng) as usize] += 1);
        assert_eq!(seen[0], 0);
        assert!(seen[1..].iter().all(|n| (850..1150).contains(n)), "{seen:?}");
    }
}
