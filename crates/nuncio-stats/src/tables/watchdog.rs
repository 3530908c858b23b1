//! `workers.`, `main_thread.`, `server.main_thread.` and `server.worker_<n>.`: threads that did not come round in time.

use crate::stats_table;

stats_table! {
    /// One watchdog.
    pub WATCHDOG: "watchdog" {
        /// Times a thread was silent for very long.
        counter WATCHDOG_MEGA_MISS = "watchdog_mega_miss",
        /// Times a thread was silent for long.
        counter WATCHDOG_MISS = "watchdog_miss",
    }
}
