//! What has been reported about hosts, and what weights they have of it.

use super::OrcaConfig;
use nuncio_rt::Time;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What a host has reported. Workers write it while the main thread reads: what it sees of two reports at once is near
/// enough to either.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    weight: AtomicU32,
    /// Since when it has reported, nanoseconds on the process's clock; 0 before its first report.
    since: AtomicU64,
    /// When it did last.
    last: AtomicU64,
}

impl Reported {
    /// Takes a report into account that makes this weight.
    pub fn note(&self, weight: u32, now: Time) {
        let now = now.as_nanos().max(1);
        if self.since.load(Relaxed) == 0 {
            self.since.store(now, Relaxed);
        }
        self.weight.store(weight, Relaxed);
        self.last.store(now, Relaxed);
    }

    /// The weight now, if the host has reported for long enough and not too long ago. Where it is too long ago it begins
    /// anew.
    fn weight(&self, config: &OrcaConfig, now: Time) -> Option<u32> {
        let since = self.since.load(Relaxed);
        if since == 0 || now.since(Time::from_nanos(since)) < config.blackout {
            return None;
        }
        if now.since(Time::from_nanos(self.last.load(Relaxed))) > config.expiration {
            self.since.store(0, Relaxed);
            return None;
        }
        Some(self.weight.load(Relaxed))
    }
}

/// The weights of hosts beside each other. Those that have none of their own have the median of the others.
pub(crate) fn weigh<'a>(hosts: impl Iterator<Item = Option<&'a Reported>>, config: &OrcaConfig, now: Time) -> Vec<u32> {
    let own: Vec<Option<u32>> = hosts.map(|reported| reported?.weight(config, now)).collect();
    let mut known: Vec<u32> = own.iter().flatten().copied().collect();
    known.sort_unstable();
    let middle = known.len() / 2;
    let median = match (known.get(middle), middle.checked_sub(1).and_then(|below| known.get(below))) {
        (Some(&above), Some(&below)) if known.len().is_multiple_of(2) => u32::midpoint(below, above),
        (Some(&middle), _) => middle,
        (None, _) => 1,
    };
    own.into_iter().map(|weight| weight.unwrap_or(median).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn seconds(n: u64) -> Time {
        Time::default() + Duration::from_secs(1000 + n)
    }

    fn now(hosts: &[Reported], at: u64) -> Vec<u32> {
        weigh(hosts.iter().map(Some), &OrcaConfig::default(), seconds(at))
    }

    #[test]
    fn hosts_that_have_not_reported_have_the_median() {
        let hosts: Vec<Reported> = (0..5).map(|_| Reported::default()).collect();
        assert_eq!(now(&hosts, 0), [1; 5]);
        hosts[1].note(100, seconds(0));
        hosts[3].note(200, seconds(0));
        assert_eq!(now(&hosts, 9), [1; 5]);
        assert_eq!(now(&hosts, 10), [150, 100, 150, 200, 150]);
        hosts[0].note(400, seconds(0));
        assert_eq!(now(&hosts, 10), [400, 100, 200, 200, 200]);
        hosts[0].note(0, seconds(11));
        assert_eq!(now(&hosts, 11), [1, 100, 100, 200, 100]);
    }

    #[test]
    fn a_report_that_is_too_old_is_forgotten_and_the_wait_begins_anew() {
        let hosts = [Reported::default(), Reported::default()];
        hosts[0].note(7, seconds(0));
        assert_eq!(now(&hosts, 180), [7, 7]);
        assert_eq!(now(&hosts, 181), [1, 1]);
        hosts[0].note(9, seconds(182));
        assert_eq!(now(&hosts, 191), [1, 1]);
        assert_eq!(now(&hosts, 192), [9, 9]);
    }
}
