//! `access_logs.grpc_access_log.`: entries on their way to an access log service.

use crate::stats_table;

stats_table! {
    /// The gRPC access loggers.
    pub GRPC_ACCESS_LOG: "grpc_access_log" {
        /// Entries that the service took too slowly: they stay, and are sent with the next.
        counter GRPC_ENTRIES_FLUSH_FAILED = "grpc_entries_flush_failed",
        /// Entries sent.
        counter GRPC_ENTRIES_FLUSHED = "grpc_entries_flushed",
        /// HTTP entries dropped because too many waited.
        counter LOGS_DROPPED = "logs_dropped",
        /// HTTP entries taken.
        counter LOGS_WRITTEN = "logs_written",
    }
}
