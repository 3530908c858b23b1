//! `cluster.<name>.lb_orca_oob.`: load reports that hosts are asked for, where a policy wants that.

use crate::stats_table;

stats_table! {
    /// Load reports beside requests.
    pub ORCA_OOB: "orca_oob" {
        /// Hosts that are asked.
        gauge ACTIVE_SESSIONS = "active_sessions",
        /// Reports that no weight can be made of.
        counter REPORT_ERRORS = "report_errors",
        /// Reports.
        counter REPORTS_RECEIVED = "reports_received",
        /// Streams that could not begin, or broke off. They begin anew.
        counter STREAM_FAILURES = "stream_failures",
        /// Hosts that know no such reports. They are not asked again.
        counter STREAM_TERMINATED = "stream_terminated",
    }
}
