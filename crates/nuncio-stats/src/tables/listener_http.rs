//! `listener.<address>.http.<stat_prefix>.`: responses, by listener and connection manager.

use crate::stats_table;

stats_table! {
    /// One connection manager on one listener.
    pub LISTENER_HTTP: "listener_http" {
        counter DOWNSTREAM_RQ_1XX = "downstream_rq_1xx",
        counter DOWNSTREAM_RQ_2XX = "downstream_rq_2xx",
        counter DOWNSTREAM_RQ_3XX = "downstream_rq_3xx",
        counter DOWNSTREAM_RQ_4XX = "downstream_rq_4xx",
        counter DOWNSTREAM_RQ_5XX = "downstream_rq_5xx",
        counter DOWNSTREAM_RQ_COMPLETED = "downstream_rq_completed",
    }
}
