//! `cluster.<name>.endpoint.<address>.`: one host, with `track_cluster_stats.per_endpoint_stats`. The port follows an underscore.

use crate::stats_table;

stats_table! {
    /// One host of one cluster.
    pub ENDPOINT: "endpoint" {
        counter CX_CONNECT_FAIL = "cx_connect_fail",
        counter CX_TOTAL = "cx_total",
        counter RQ_ERROR = "rq_error",
        counter RQ_SUCCESS = "rq_success",
        counter RQ_TIMEOUT = "rq_timeout",
        counter RQ_TOTAL = "rq_total",
        gauge CX_ACTIVE = "cx_active",
        gauge HEALTHY = "healthy",
        gauge RQ_ACTIVE = "rq_active",
        gauge RQ_PENDING_ACTIVE = "rq_pending_active",
    }
}
