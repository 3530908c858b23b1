//! `listener.<address>.http.<stat_prefix>.`: responses, by listener and connection manager.

use crate::stats_table;

stats_table! {
    /// One connection manager on one listener.
    pub LISTENER_HTTP: "listener_http" {
        /// Responses with a status from 100 to 199.
        counter DOWNSTREAM_RQ_1XX = "downstream_rq_1xx",
        /// Responses with a status from 200 to 299.
        counter DOWNSTREAM_RQ_2XX = "downstream_rq_2xx",
        /// Responses with a status from 300 to 399.
        counter DOWNSTREAM_RQ_3XX = "downstream_rq_3xx",
        /// Responses with a status from 400 to 499.
        counter DOWNSTREAM_RQ_4XX = "downstream_rq_4xx",
        /// Responses with a status from 500 to 599.
        counter DOWNSTREAM_RQ_5XX = "downstream_rq_5xx",
        /// Responses.
        counter DOWNSTREAM_RQ_COMPLETED = "downstream_rq_completed",
    }
}
