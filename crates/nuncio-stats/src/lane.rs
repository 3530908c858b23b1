//! Which thread writes a statistic.
//!
//! Every thread that owns statistics has one lane and writes to no other; readers add the lanes up. That is all that
//! keeps a counter an ordinary add instead of an atomic read-modify-write.

/// One writer of statistics: the main thread (0) or a worker (1 and up).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub u16);

impl Lane {
    /// The main thread: configuration, DNS, health checks, admin.
    pub const MAIN: Lane = Lane(0);

    /// The lane of worker number `worker`, counted from 0.
    #[inline]
    pub const fn worker(worker: u16) -> Lane {
        Lane(worker + 1)
    }

    /// Where this lane's cells are among all lanes' cells.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
