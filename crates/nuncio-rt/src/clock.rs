//! Monotonic and wall time for one thread.
//!
//! [`Time`] is nanoseconds since the process's first look at the clock. The wall clock is read at most once
//! per second (for `date` and cached log stamps); exact wall times are derived from the monotonic clock.

use std::{
    cell::Cell,
    ops::{Add, Sub},
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

static ORIGIN: OnceLock<(Instant, SystemTime)> = OnceLock::new();

fn origin() -> &'static (Instant, SystemTime) {
    ORIGIN.get_or_init(|| (Instant::now(), SystemTime::now()))
}

/// A moment on the monotonic clock, in nanoseconds since the process started looking at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Time(pub u64);

impl Time {
    /// A moment that never comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// Reads the clock.
    #[inline]
    pub fn now() -> Time {
        Time(u64::try_from(origin().0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Time passed since `earlier`; zero if that lies ahead.
    #[inline]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds passed since `earlier`; zero if that lies ahead.
    #[inline]
    pub fn millis_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }

    /// Whole milliseconds since the clock's origin.
    #[inline]
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The wall-clock time of this moment.
    pub fn wall(self) -> SystemTime {
        origin().1 + Duration::from_nanos(self.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    #[inline]
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Time {
    type Output = Duration;
    #[inline]
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

/// A thread's cached wall clock.
#[derive(Debug, Default)]
pub struct Clock {
    wall: Cell<(u64, u64)>, // (monotonic second it was read in, unix seconds)
}

impl Clock {
    /// Unix time in seconds at `now`, read from the system at most once a second.
    #[inline]
    pub fn unix_seconds(&self, now: Time) -> u64 {
        let second = now.0 / 1_000_000_000 + 1;
        let (read_at, unix) = self.wall.get();
        if read_at == second {
            return unix;
        }
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        self.wall.set((second, unix));
        unix
    }
}
