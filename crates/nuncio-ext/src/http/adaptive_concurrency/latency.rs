//! Latencies that several threads collect without a lock, and their percentiles.
//!
//! Sixteen ranges to each power of two: a percentile is right to about six per cent.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Ranges to each power of two, as a power of two.
const BITS: u32 = 4;
/// Ranges: up to 2^40 µs, twelve days.
const RANGES: usize = (40 << BITS) as usize;

/// See the module.
#[derive(Debug)]
pub(super) struct Latencies {
    ranges: Box<[AtomicU32]>,
    count: AtomicU32,
}

impl Latencies {
    pub(super) fn new() -> Latencies {
        Latencies { ranges: (0..RANGES).map(|_| AtomicU32::new(0)).collect(), count: AtomicU32::new(0) }
    }

    /// Adds one, in microseconds; says how many there are now.
    pub(super) fn add(&self, micros: u64) -> u32 {
        if let Some(range) = self.ranges.get(index(micros)).or(self.ranges.last()) {
            range.fetch_add(1, Relaxed);
        }
        self.count.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Takes all out: the latency, in microseconds, that so many per cent of them are within. `None` without any.
    pub(super) fn take(&self, percentile: f64) -> Option<u64> {
        let counts: Vec<u32> = self.ranges.iter().map(|range| range.swap(0, Relaxed)).collect();
        self.count.store(0, Relaxed);
        let all: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        if all == 0 {
            return None;
        }
        let wanted = (all as f64 * percentile / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        });
        at.map(middle)
    }
}

/// Which range a number is in.
fn index(micros: u64) -> usize {
    if micros < 1 << BITS {
        return micros as usize;
    }
    let power = micros.ilog2();
    let within = (micros >> (power - BITS)) & ((1 << BITS) - 1);
    (((power - BITS + 1) << BITS) as usize) + within as usize
}

/// The middle of a range.
fn middle(index: usize) -> u64 {
    let (power, within) = ((index as u64) >> BITS, (index as u64) & ((1 << BITS) - 1));
    if power == 0 {
        return within;
    }
    let shift = power - 1;
    (((1 << BITS) + within) << shift) + ((1_u64 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_again_to_a_few_per_cent() {
        for micros in [0, 1, 15, 16, 17, 31, 32, 100, 999, 1000, 123_456, 10_000_000, 1 << 35] {
            let found = middle(index(micros));
            assert!(found.abs_diff(micros) * 100 <= micros * 4 + 50, "{micros}: {found}");
        }
        assert!((1..200_000).all(|n| index(n) >= index(n - 1)));
    }

    #[test]
    fn percentiles_are_those_of_all_that_was_added() {
        let latencies = Latencies::new();
        assert_eq!(latencies.take(50.0), None);
        for micros in 1..=10 {
            assert_eq!(u64::from(latencies.add(micros)), micros);
        }
        assert_eq!(latencies.take(50.0), Some(5));
        assert_eq!(latencies.take(50.0), None, "they were taken out");
        latencies.add(u64::MAX);
        latencies.add(3);
        assert_eq!(latencies.take(0.0), Some(3));
    }
}
