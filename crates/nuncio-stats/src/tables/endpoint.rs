//! `cluster.<name>.endpoint.<address>.`: one host, with `track_cluster_stats.per_endpoint_stats`. The port follows an underscore.

use crate::stats_table;

stats_table! {
    /// One host of one cluster.
    pub ENDPOINT: "endpoint" {
        /// Connections that could not be made.
        counter CX_CONNECT_FAIL = "cx_connect_fail",
        /// Connections made.
        counter CX_TOTAL = "cx_total",
        /// Requests that failed or got a 5xx.
        counter RQ_ERROR = "rq_error",
        /// Requests that got another answer than 5xx.
        counter RQ_SUCCESS = "rq_success",
        /// Requests that timed out.
        counter RQ_TIMEOUT = "rq_timeout",
        /// Requests.
        counter RQ_TOTAL = "rq_total",
        /// Connections open.
        gauge CX_ACTIVE = "cx_active",
        /// 1 while the host is healthy.
        gauge HEALTHY = "healthy",
        /// Requests in flight.
        gauge RQ_ACTIVE = "rq_active",
        /// Requests waiting for a connection.
        gauge RQ_PENDING_ACTIVE = "rq_pending_active",
    }
}
