//! Earliest-deadline-first scheduling: smooth weighted round robin, in the order Envoy serves.
//!
//! [`Edf`] has fixed integer weights and is exact: entry `i` is due for its n-th turn at `n / weight`, compared as
//! fractions, ties to the smaller weight and then to the earlier entry. Any `sum of weights` turns in a row give each
//! entry exactly its weight, wherever they begin. [`DynamicEdf`] takes a fresh weight at every turn, as least-request
//! needs.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Exact scheduling over fixed weights.
#[derive(Debug)]
pub struct Edf {
    heap: BinaryHeap<Turn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// Which turn of the entry comes next, from 1.
    n: u64,
    weight: u64,
    entry: u32,
}

impl Ord for Turn {
    /// Greater is due earlier: the heap's top.
    fn cmp(&self, other: &Turn) -> Ordering {
        let mine = u128::from(self.n) * u128::from(other.weight);
        let theirs = u128::from(other.n) * u128::from(self.weight);
        theirs.cmp(&mine).then(other.weight.cmp(&self.weight)).then(other.entry.cmp(&self.entry))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Edf {
    /// A schedule of `(entry, weight)`, as if `turns` turns had been taken already. Entries of weight 0 are left out.
    pub fn new(entries: impl IntoIterator<Item = (u32, u64)>, turns: u64) -> Edf {
        let mut list: Vec<Turn> = entries
            .into_iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(entry, weight)| Turn { n: 1, weight, entry })
            .collect();
        let divisor = list.iter().fold(0, |d, t| gcd(d, t.weight)).max(1);
        let period: u128 = list.iter().map(|t| u128::from(t.weight / divisor)).sum();
        let turns = u128::from(turns) % period.max(1);
        let mut taken = 0u128;
        for turn in &mut list {
            turn.weight /= divisor;
            // After k turns the clock stands at k/period or later, so that these turns have certainly been taken.
            let passed = u128::from(turn.weight) * turns / period;
            taken += passed;
            turn.n += passed as u64;
        }
        let mut edf = Edf { heap: list.into() };
        for _ in taken..turns {
            edf.next();
        }
        edf
    }

    /// Whose turn it is; `None` when there are no entries.
    pub fn next(&mut self) -> Option<u32> {
        let mut top = self.heap.peek_mut()?;
        top.n += 1;
        Some(top.entry)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Scheduling over weights that are asked for at each turn.
#[derive(Debug)]
pub struct DynamicEdf {
    heap: BinaryHeap<Due>,
    now: f64,
    order: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Due {
    at: f64,
    order: u64,
    entry: u32,
}

impl Eq for Due {}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        other.at.total_cmp(&self.at).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl DynamicEdf {
    /// A schedule of `entries`, as if `turns` turns had been taken already.
    pub fn new(entries: impl Iterator<Item = u32>, mut weight: impl FnMut(u32) -> f64, turns: u64) -> DynamicEdf {
        let weighed: Vec<(u32, f64)> = entries.map(|entry| (entry, positive(weight(entry)))).collect();
        let total: f64 = weighed.iter().map(|(_, w)| w).sum();
        let turns = turns % 1_000_003;
        let mut edf = DynamicEdf { heap: BinaryHeap::new(), now: 0.0, order: 0 };
        let mut taken = 0;
        for (entry, w) in weighed {
            let passed = (w / total * turns as f64).floor();
            taken += passed as u64;
            edf.order += 1;
            edf.heap.push(Due { at: (passed + 1.0) / w, order: edf.order, entry });
        }
        for _ in taken..turns {
            edf.next(&mut weight);
        }
        edf
    }

    /// Whose turn it is; its next one comes as its weight is now.
    pub fn next(&mut self, mut weight: impl FnMut(u32) -> f64) -> Option<u32> {
        let mut top = self.heap.peek_mut()?;
        self.order += 1;
        self.now = top.at;
        let due = Due { at: top.at + 1.0 / positive(weight(top.entry)), order: self.order, entry: top.entry };
        *top = due;
        Some(due.entry)
    }
}

/// A weight to divide by.
fn positive(weight: f64) -> f64 {
    weight.max(f64::MIN_POSITIVE.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_rt::Rng;

    fn turns(edf: &mut Edf, n: usize) -> Vec<u32> {
        (0..n).filter_map(|_| edf.next()).collect()
    }

    #[test]
    fn weights_5_2_3_are_served_in_envoys_order() {
        let mut edf = Edf::new([(1, 5), (2, 2), (3, 3)], 0);
        assert_eq!(turns(&mut edf, 20), [1, 3, 1, 2, 1, 3, 1, 2, 3, 1, 1, 3, 1, 2, 1, 3, 1, 2, 3, 1]);
        let mut edf = Edf::new([(1, 3), (2, 2)], 0);
        assert_eq!(turns(&mut edf, 10), [1, 2, 1, 2, 1, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn a_start_after_k_turns_continues_the_same_order() {
        let rng = Rng::seeded(1, 2);
        for _ in 0..200 {
            let weights: Vec<(u32, u64)> = (0..1 + rng.below(8)).map(|i| (i as u32, 1 + rng.below(20))).collect();
            let k = rng.below(300);
            let mut from_zero = Edf::new(weights.clone(), 0);
            turns(&mut from_zero, k as usize);
            let mut from_k = Edf::new(weights.clone(), k);
            assert_eq!(turns(&mut from_zero, 300), turns(&mut from_k, 300), "{weights:?} after {k}");
        }
    }

    #[test]
    fn any_period_gives_each_entry_exactly_its_weight() {
        let rng = Rng::seeded(3, 4);
        for _ in 0..300 {
            let weights: Vec<(u32, u64)> = (0..1 + rng.below(10)).map(|i| (i as u32, 1 + rng.below(128))).collect();
            let period: u64 = weights.iter().map(|(_, w)| w).sum();
            let mut edf = Edf::new(weights.clone(), rng.next_u64());
            for _ in 0..3 {
                let mut seen = vec![0; weights.len()];
                turns(&mut edf, period as usize).into_iter().for_each(|e| seen[e as usize] += 1);
                assert!(weights.iter().all(|&(e, w)| seen[e as usize] == w), "{weights:?} {seen:?}");
            }
        }
    }

    #[test]
    fn entries_without_weight_are_never_served() {
        let mut edf = Edf::new([(0, 0), (1, 7)], 5);
        assert_eq!(turns(&mut edf, 3), [1, 1, 1]);
        assert_eq!(Edf::new([(0, 0)], 1).next(), None);
    }

    #[test]
    fn dynamic_weights_keep_their_proportion() {
        let weights = [5.0, 2.0, 3.0];
        let mut edf = DynamicEdf::new(0..3, |e| weights[e as usize], 12345);
        let mut seen = [0; 3];
        for _ in 0..1000 {
            if let Some(e) = edf.next(|e| weights[e as usize]) {
                seen[e as usize] += 1;
            }
        }
        assert!(seen.iter().zip([500, 200, 300]).all(|(s, w): (&i32, i32)| (s - w).abs() <= 1), "{seen:?}");
    }
}
