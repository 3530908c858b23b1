//! How many requests began within the last `budget_interval`, over all workers.

use nuncio_rt::Time;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Parts of the interval: what is counted is between fifteen and sixteen of them.
const SLOTS: u64 = 16;

/// A count that forgets.
#[derive(Debug)]
pub(super) struct Window {
    slot_nanos: u64,
    slots: [Slot; SLOTS as usize],
}

/// The count of one part of the time, and which.
#[derive(Debug, Default)]
struct Slot {
    part: AtomicU64,
    count: AtomicU64,
}

impl Window {
    pub(super) fn new(interval: Duration) -> Window {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Window { slot_nanos: (nanos / SLOTS).max(1), slots: Default::default() }
    }

    /// Counts one.
    pub(super) fn count(&self, now: Time) {
        let part = now.as_nanos() / self.slot_nanos;
        let Some(slot) = self.slots.get((part % SLOTS) as usize) else { return };
        let seen = slot.part.load(Relaxed);
        // Who begins a part forgets the old count; who counts meanwhile may be forgotten with it.
        if seen != part && slot.part.compare_exchange(seen, part, Relaxed, Relaxed).is_ok() {
            slot.count.store(0, Relaxed);
        }
        slot.count.fetch_add(1, Relaxed);
    }

    /// How many were counted.
    pub(super) fn sum(&self, now: Time) -> u64 {
        let part = now.as_nanos() / self.slot_nanos;
        let counts = self.slots.iter().filter(|slot| part - slot.part.load(Relaxed).min(part) < SLOTS);
        counts.map(|slot| slot.count.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_interval_is_forgotten() {
        let window = Window::new(Duration::from_millis(160));
        let at = |ms: u64| Time::from_nanos(1_000_000_000_000 + ms * 1_000_000);
        (0..10).for_each(|n| window.count(at(n)));
        window.count(at(100));
        assert_eq!((window.sum(at(100)), window.sum(at(149)), window.sum(at(161)), window.sum(at(300))), (11, 11, 1, 0));
        window.count(at(301));
        assert_eq!(window.sum(at(301)), 1);
    }
}
