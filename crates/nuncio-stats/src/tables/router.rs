//! `http.<stat_prefix>.` and `http.async-client.`: the router filter; `vhost.<name>.vcluster.<name>.` and `vhost.<name>.route.<name>.`: what one
//! virtual cluster or one route with a `stat_prefix` gets.

use crate::stats_table;

stats_table! {
    /// The router filter of one `stat_prefix`.
    pub ROUTER: "router" {
        counter NO_CLUSTER = "no_cluster",
        counter NO_ROUTE = "no_route",
        counter PASSTHROUGH_INTERNAL_REDIRECT_BAD_LOCATION = "passthrough_internal_redirect_bad_location",
        counter PASSTHROUGH_INTERNAL_REDIRECT_NO_ROUTE = "passthrough_internal_redirect_no_route",
        counter PASSTHROUGH_INTERNAL_REDIRECT_PREDICATE = "passthrough_internal_redirect_predicate",
        counter PASSTHROUGH_INTERNAL_REDIRECT_TOO_MANY_REDIRECTS = "passthrough_internal_redirect_too_many_redirects",
        counter PASSTHROUGH_INTERNAL_REDIRECT_UNSAFE_SCHEME = "passthrough_internal_redirect_unsafe_scheme",
        counter RQ_DIRECT_RESPONSE = "rq_direct_response",
        counter RQ_OVERLOAD_LOCAL_REPLY = "rq_overload_local_reply",
        counter RQ_REDIRECT = "rq_redirect",
        counter RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED = "rq_reset_after_downstream_response_started",
        counter RQ_TOTAL = "rq_total",
    }
}

pub mod route {
    //! One virtual cluster, or one route with a `stat_prefix`.

    use crate::stats_table;

    stats_table! {
        /// Requests of one virtual cluster or route.
        pub ROUTE: "route" {
            counter UPSTREAM_RQ_RETRY = "upstream_rq_retry",
            counter UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED = "upstream_rq_retry_limit_exceeded",
            counter UPSTREAM_RQ_RETRY_OVERFLOW = "upstream_rq_retry_overflow",
            counter UPSTREAM_RQ_RETRY_SUCCESS = "upstream_rq_retry_success",
            counter UPSTREAM_RQ_TIMEOUT = "upstream_rq_timeout",
            counter UPSTREAM_RQ_TOTAL = "upstream_rq_total",
            codes UPSTREAM_RQ = "upstream_rq_" [lazy],
            histogram UPSTREAM_RQ_TIME(ms) = "upstream_rq_time" [lazy],
        }
    }
}
