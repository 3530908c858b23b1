//! `filesystem.`: access log files and other files written in the background.

use crate::stats_table;

stats_table! {
    /// All files written in the background.
    pub FILESYSTEM: "filesystem" {
        /// Times buffers were written because time had come.
        counter FLUSHED_BY_TIMER = "flushed_by_timer",
        /// Files that could not be opened anew.
        counter REOPEN_FAILED = "reopen_failed",
        /// Writes to a buffer.
        counter WRITE_BUFFERED = "write_buffered",
        /// Writes to a file.
        counter WRITE_COMPLETED = "write_completed",
        /// Writes to a file that failed.
        counter WRITE_FAILED = "write_failed",
        /// Lines dropped because the disk did not keep up.
        counter WRITE_DROPPED = "write_dropped" [lazy],
        /// Bytes in buffers.
        gauge WRITE_TOTAL_BUFFERED = "write_total_buffered",
    }
}
