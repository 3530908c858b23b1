//! `access_logs.open_telemetry_access_log.<stat_prefix>`: log records on their way to a collector.

use crate::stats_table;

stats_table! {
    /// The OpenTelemetry access loggers.
    pub OPEN_TELEMETRY_ACCESS_LOG: "open_telemetry_access_log" {
        /// Records that the collector did not take, or that there was no room for.
        counter LOGS_DROPPED = "logs_dropped",
        /// Records that the collector took.
        counter LOGS_WRITTEN = "logs_written",
    }
}
