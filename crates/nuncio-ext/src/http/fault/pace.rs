//! How fast bytes may go: a bucket that is filled in slices, so that a stream flows evenly.

use nuncio_rt::Time;
use std::time::Duration;

/// How often the bucket is filled.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// One stream's bucket. It holds a second's bytes at most, and one slice to begin with.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    held: u64,
    filled: Option<Time>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Pace {
        Pace { bytes_per_second, held: slice(bytes_per_second), filled: None }
    }

    /// How many of `wanted` bytes may go now.
    pub(super) fn take(&mut self, wanted: usize, now: Time) -> usize {
        let filled = *self.filled.get_or_insert(now);
        let slices = now.since(filled).as_millis() / INTERVAL.as_millis();
        if slices > 0 {
            let slices = u32::try_from(slices).unwrap_or(u32::MAX);
            self.filled = Some(filled + INTERVAL * slices);
            let more = slice(self.bytes_per_second).saturating_mul(u64::from(slices));
            self.held = self.held.saturating_add(more).min(self.bytes_per_second);
        }
        let part = self.held.min(wanted as u64);
        self.held -= part;
        part as usize
    }
}

fn slice(bytes_per_second: u64) -> u64 {
    (bytes_per_second / 20).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_brings_a_seconds_bytes() {
        let mut pace = Pace::new(1000);
        let start = Time::from_nanos(1_000_000_000);
        assert_eq!((pace.take(5000, start), pace.take(5000, start)), (50, 0));
        assert_eq!(pace.take(5000, start + INTERVAL), 50);
        assert_eq!(pace.take(5000, start + Duration::from_secs(1)), 950);
        assert_eq!(pace.take(5000, start + Duration::from_secs(9)), 1000);
        assert_eq!(pace.take(10, start + Duration::from_secs(10)), 10);
    }
}
