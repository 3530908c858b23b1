//! `server.dispatcher.`, `worker_<n>.dispatcher.`: event loops, with `enable_dispatcher_stats`.

use crate::stats_table;

stats_table! {
    /// One event loop.
    pub DISPATCHER: "dispatcher" {
        /// Microseconds of one turn of the event loop.
        histogram LOOP_DURATION_US(us) = "loop_duration_us",
        /// Microseconds that a wake-up came late.
        histogram POLL_DELAY_US(us) = "poll_delay_us",
    }
}
