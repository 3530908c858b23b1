//! `filesystem.`: access log files and other files written in the background.

use crate::stats_table;

stats_table! {
    /// All files written in the background.
    pub FILESYSTEM: "filesystem" {
        counter FLUSHED_BY_TIMER = "flushed_by_timer",
        counter REOPEN_FAILED = "reopen_failed",
        counter WRITE_BUFFERED = "write_buffered",
        counter WRITE_COMPLETED = "write_completed",
        counter WRITE_FAILED = "write_failed",
        /// Lines dropped because the disk did not keep up.
        counter WRITE_DROPPED = "write_dropped" [lazy],
        gauge WRITE_TOTAL_BUFFERED = "write_total_buffered",
    }
}
