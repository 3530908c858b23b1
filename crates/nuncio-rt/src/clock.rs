//! Monotonic and wall time for one thread.
//!
//! [`Time`] is nanoseconds since the process's first look at the clock. The wall clock is read at most once
//! per second (for `date` and cached log stamps); exact wall times are derived from the monotonic clock.

use std::{
    cell::Cell,
    num::NonZeroU64,
    ops::{Add, Sub},
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

static ORIGIN: OnceLock<(Instant, SystemTime)> = OnceLock::new();

fn origin() -> &'static (Instant, SystemTime) {
    ORIGIN.get_or_init(|| (Instant::now(), SystemTime::now()))
}

/// A moment on the monotonic clock, in nanoseconds since the process started looking at it.
///
/// Never zero inside, so that an `Option<Time>` takes no more room than a `Time`: streams hold dozens of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(NonZeroU64);

impl Default for Time {
    fn default() -> Self {
        Time::ORIGIN
    }
}

impl Time {
    /// The process's first look at the clock.
    pub const ORIGIN: Time = Time(NonZeroU64::MIN);
    /// A moment that never comes.
    pub const NEVER: Time = Time(NonZeroU64::MAX);

    /// The moment `nanos` nanoseconds after the origin.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds since the origin.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// Reads the clock.
    #[inline]
    pub fn now() -> Time {
        let passed = origin().0.elapsed();
        // In 64 bits, which last for centuries: as_nanos() multiplies in 128.
        Time::from_nanos(passed.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(passed.subsec_nanos())))
    }

    /// Time passed since `earlier`; zero if that lies ahead.
    #[inline]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// Whole milliseconds passed since `earlier`; zero if that lies ahead.
    #[inline]
    pub fn millis_since(self, earlier: Time) -> u64 {
        self.0.get().saturating_sub(earlier.0.get()) / 1_000_000
    }

    /// Whole milliseconds since the clock's origin.
    #[inline]
    pub fn as_millis(self) -> u64 {
        self.as_nanos() / 1_000_000
    }

    /// The wall-clock time of this moment.
    pub fn wall(self) -> SystemTime {
        origin().1 + Duration::from_nanos(self.as_nanos())
    }

    /// The first of several moments, of which some may never come.
    #[inline]
    pub fn first<const N: usize>(moments: [Option<Time>; N]) -> Option<Time> {
        let mut first = Time::NEVER;
        for moment in moments {
            first = first.min(moment.unwrap_or(Time::NEVER));
        }
        (first != Time::NEVER).then_some(first)
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    #[inline]
    fn add(self, d: Duration) -> Time {
        let nanos = d.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(d.subsec_nanos()));
        Time(self.0.saturating_add(nanos))
    }
}

impl Sub for Time {
    type Output = Duration;
    #[inline]
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

/// What a thread remembers of the time.
#[derive(Debug, Default)]
pub struct Clock {
    wall: Cell<(u64, u64)>, // (monotonic second it was read in, unix seconds)
    recent: Cell<Time>,
}

impl Clock {
    /// Reads the monotonic clock, and remembers what it said.
    #[inline]
    pub fn read(&self) -> Time {
        let now = Time::now();
        self.recent.set(now);
        now
    }

    /// What the monotonic clock said when it was last [read](Self::read): the present, for whatever a task calls in the
    /// turn in which it read the clock.
    #[inline]
    pub fn recent(&self) -> Time {
        self.recent.get()
    }

    /// Unix time in seconds at `now`, read from the system at most once a second.
    #[inline]
    pub fn unix_seconds(&self, now: Time) -> u64 {
        let second = now.as_nanos() / 1_000_000_000 + 1;
        let (read_at, unix) = self.wall.get();
        if read_at == second {
            return unix;
        }
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        self.wall.set((second, unix));
        unix
    }
}
