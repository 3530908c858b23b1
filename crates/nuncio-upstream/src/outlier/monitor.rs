//! What workers note about a host: errors in a row, and how many requests went well.
//!
//! Errors in a row are counted over all workers, on the host. The totals that rates are made of are counted per lane and
//! only ever grow: whoever judges remembers what there was at the last sweep. So a request that goes well touches nothing
//! that another worker writes, unless it ends a row of errors.

use super::config::{Consecutive, OutlierConfig};
use nuncio_core::RuntimeValues;
use nuncio_stats::Lane;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// How an attempt to use a host went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status.
    Status(u16),
    /// A connection stands, and more will be heard of it.
    Connected,
    /// A connection stands, and that is all there is to know.
    ConnectedOnly,
    /// No connection was to be had, or it broke.
    ConnectFailed,
    /// It took too long; the client is answered with this status.
    TimedOut(u16),
}

/// Whose rate of success it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Origin {
    /// Answers of the host; everything where local failures are not told apart.
    External,
    /// Connections and timeouts.
    Local,
}

/// What is noted about one host.
#[derive(Debug)]
pub(crate) struct Monitor {
    config: Arc<OutlierConfig>,
    in_a_row: [AtomicU32; 3],
    lanes: Box<[OnceLock<Box<Counts>>]>,
    /// Rates of success at the last sweep, as bits; for showing only.
    rates: [AtomicU64; 2],
}

/// What one lane has counted; one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counts {
    total: [AtomicU64; 2],
    success: [AtomicU64; 2],
}

/// Sums over all lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) total: u64,
    pub(super) success: u64,
}

impl Monitor {
    pub(crate) fn new(config: Arc<OutlierConfig>, lanes: usize) -> Monitor {
        Monitor {
            config,
            in_a_row: Default::default(),
            lanes: (0..lanes).map(|_| OnceLock::new()).collect(),
            rates: [-1.0f64, -1.0].map(|rate| AtomicU64::new(rate.to_bits())),
        }
    }

    /// Takes an outcome into account. Answers with the rows of errors that have just become long enough.
    pub(crate) fn note(&self, lane: Lane, outcome: Outcome, runtime: &RuntimeValues) -> [Option<Consecutive>; 2] {
        if self.config.split_local_origin {
            match outcome {
                Outcome::Status(status) => self.status(lane, status, runtime),
                Outcome::Connected | Outcome::ConnectedOnly => {
                    self.count(lane, Origin::Local, true);
                    self.ends(Consecutive::LocalOrigin);
                    [None, None]
                }
                Outcome::ConnectFailed | Outcome::TimedOut(_) => {
                    self.count(lane, Origin::Local, false);
                    [self.one_more(Consecutive::LocalOrigin, runtime), None]
                }
            }
        } else {
            match outcome {
                Outcome::Status(status) | Outcome::TimedOut(status) => self.status(lane, status, runtime),
                Outcome::Connected => [None, None],
                Outcome::ConnectedOnly => self.status(lane, 200, runtime),
                Outcome::ConnectFailed => self.status(lane, 503, runtime),
            }
        }
    }

    #[inline]
    fn status(&self, lane: Lane, status: u16, runtime: &RuntimeValues) -> [Option<Consecutive>; 2] {
        let failed = (500..600).contains(&status);
        self.count(lane, Origin::External, !failed);
        if !failed {
            self.ends(Consecutive::Gateway);
            self.ends(Consecutive::Server);
            return [None, None];
        }
        let gateway = match status {
            502..=504 => self.one_more(Consecutive::Gateway, runtime),
            _ => {
                self.ends(Consecutive::Gateway);
                None
            }
        };
        [gateway, self.one_more(Consecutive::Server, runtime)]
    }

    #[inline]
    fn count(&self, lane: Lane, origin: Origin, success: bool) {
        let Some(counts) = self.lanes.get(lane.index()) else { return };
        let counts = counts.get_or_init(Box::default);
        // Only the lane's own thread writes.
        let add = |cell: &AtomicU64| cell.store(cell.load(Relaxed) + 1, Relaxed);
        add(&counts.total[origin as usize]);
        if success {
            add(&counts.success[origin as usize]);
        }
    }

    fn one_more(&self, kind: Consecutive, runtime: &RuntimeValues) -> Option<Consecutive> {
        let n = u64::from(self.in_a_row[kind as usize].fetch_add(1, Relaxed)) + 1;
        (n == kind.limit(&self.config, runtime)).then_some(kind)
    }

    /// Whether hosts that say so are degraded.
    pub(super) fn detects_degraded(&self) -> bool {
        self.config.detect_degraded
    }

    /// A row of errors is over.
    #[inline]
    pub(super) fn ends(&self, kind: Consecutive) {
        let cell = &self.in_a_row[kind as usize];
        if cell.load(Relaxed) != 0 {
            cell.store(0, Relaxed);
        }
    }

    /// How much there has been, ever.
    pub(super) fn volume(&self, origin: Origin) -> Volume {
        let mut sum = Volume::default();
        for counts in self.lanes.iter().filter_map(OnceLock::get) {
            // The success first: it must not come out larger than the total.
            sum.success += counts.success[origin as usize].load(Relaxed);
            sum.total += counts.total[origin as usize].load(Relaxed);
        }
        sum
    }

    /// The rate of success of the last interval in percent; negative while there is none.
    pub(crate) fn rate(&self, origin: Origin) -> f64 {
        f64::from_bits(self.rates[origin as usize].load(Relaxed))
    }

    pub(super) fn set_rate(&self, origin: Origin, rate: f64) {
        self.rates[origin as usize].store(rate.to_bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn monitor(config: OutlierConfig) -> Monitor {
        Monitor::new(Arc::new(config), 5)
    }

    fn found(monitor: &Monitor, outcome: Outcome) -> [Option<Consecutive>; 2] {
        monitor.note(Lane::MAIN, outcome, &RuntimeValues::default())
    }

    #[test]
    fn an_error_ends_a_row_of_others_and_a_success_ends_all() {
        let m = monitor(OutlierConfig { consecutive: [3, 2, 2], ..OutlierConfig::default() });
        assert_eq!(found(&m, Outcome::Status(503)), [None, None]);
        assert_eq!(found(&m, Outcome::Status(500)), [None, None]);
        assert_eq!(found(&m, Outcome::Status(502)), [None, Some(Consecutive::Server)]);
        assert_eq!(found(&m, Outcome::ConnectFailed), [Some(Consecutive::Gateway), None]);
        found(&m, Outcome::Status(404));
        assert_eq!(found(&m, Outcome::TimedOut(504)), [None, None]);
        assert_eq!(m.volume(Origin::External), Volume { total: 6, success: 1 });
        assert_eq!(m.volume(Origin::Local), Volume::default());
    }

    #[test]
    fn local_failures_are_counted_apart_when_split() {
        let config = OutlierConfig { split_local_origin: true, consecutive: [2; 3], ..OutlierConfig::default() };
        let m = monitor(config);
        found(&m, Outcome::ConnectFailed);
        found(&m, Outcome::Connected);
        found(&m, Outcome::Status(500));
        assert_eq!(found(&m, Outcome::TimedOut(504)), [None, None]);
        assert_eq!(found(&m, Outcome::ConnectFailed), [Some(Consecutive::LocalOrigin), None]);
        assert_eq!(m.volume(Origin::Local), Volume { total: 4, success: 1 });
        assert_eq!(m.volume(Origin::External), Volume { total: 1, success: 0 });
    }

    #[test]
    fn the_runtime_replaces_limits() {
        let m = monitor(OutlierConfig::default());
        let value = nuncio_core::RuntimeValue { number: Some(1.0), ..Default::default() };
        let runtime = [("outlier_detection.consecutive_5xx".into(), value)].into_iter().collect();
        assert_eq!(m.note(Lane::MAIN, Outcome::Status(500), &runtime), [None, Some(Consecutive::Server)]);
    }

    #[test]
    fn errors_of_four_workers_are_one_row() {
        let m = monitor(OutlierConfig { consecutive: [4000, 9999, 5], ..OutlierConfig::default() });
        let found = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (m, found) = (&m, &found);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        let rows = m.note(Lane::worker(worker), Outcome::Status(500), &RuntimeValues::default());
                        found.fetch_add(rows.into_iter().flatten().count(), Relaxed);
                    }
                });
            }
        });
        assert_eq!((found.into_inner(), m.volume(Origin::External).total), (1, 4000));
    }
}
