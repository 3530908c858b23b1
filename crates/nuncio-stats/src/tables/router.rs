//! `http.<stat_prefix>.` and `http.async-client.`: the router filter; `vhost.<name>.vcluster.<name>.` and `vhost.<name>.route.<name>.`: what one
//! virtual cluster or one route with a `stat_prefix` gets.

use crate::stats_table;

stats_table! {
    /// The router filter of one `stat_prefix`.
    pub ROUTER: "router" {
        /// Requests whose cluster does not exist.
        counter NO_CLUSTER = "no_cluster",
        /// Requests without a route.
        counter NO_ROUTE = "no_route",
        /// Redirects passed on because their location is not valid.
        counter PASSTHROUGH_INTERNAL_REDIRECT_BAD_LOCATION = "passthrough_internal_redirect_bad_location",
        /// Redirects passed on because no route leads there.
        counter PASSTHROUGH_INTERNAL_REDIRECT_NO_ROUTE = "passthrough_internal_redirect_no_route",
        /// Redirects passed on because a predicate refused them.
        counter PASSTHROUGH_INTERNAL_REDIRECT_PREDICATE = "passthrough_internal_redirect_predicate",
        /// Redirects passed on because there were too many.
        counter PASSTHROUGH_INTERNAL_REDIRECT_TOO_MANY_REDIRECTS = "passthrough_internal_redirect_too_many_redirects",
        /// Redirects passed on because the scheme would change.
        counter PASSTHROUGH_INTERNAL_REDIRECT_UNSAFE_SCHEME = "passthrough_internal_redirect_unsafe_scheme",
        /// Requests that the route answers itself.
        counter RQ_DIRECT_RESPONSE = "rq_direct_response",
        /// Requests refused because of overload.
        counter RQ_OVERLOAD_LOCAL_REPLY = "rq_overload_local_reply",
        /// Requests redirected by the route.
        counter RQ_REDIRECT = "rq_redirect",
        /// Requests that failed after the response had begun.
        counter RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED = "rq_reset_after_downstream_response_started",
        /// Requests.
        counter RQ_TOTAL = "rq_total",
    }
}

pub mod route {
    //! One virtual cluster, or one route with a `stat_prefix`.

    use crate::stats_table;

    stats_table! {
        /// Requests of one virtual cluster or route.
        pub ROUTE: "route" {
            /// Retries.
            counter UPSTREAM_RQ_RETRY = "upstream_rq_retry",
            /// Requests not retried because `num_retries` was reached.
            counter UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED = "upstream_rq_retry_limit_exceeded",
            /// Requests not retried because a circuit breaker or the retry budget forbade it.
            counter UPSTREAM_RQ_RETRY_OVERFLOW = "upstream_rq_retry_overflow",
            /// Requests that a retry saved.
            counter UPSTREAM_RQ_RETRY_SUCCESS = "upstream_rq_retry_success",
            /// Requests that took longer than the route's timeout.
            counter UPSTREAM_RQ_TIMEOUT = "upstream_rq_timeout",
            /// Requests.
            counter UPSTREAM_RQ_TOTAL = "upstream_rq_total",
            /// Responses, by status.
            codes UPSTREAM_RQ = "upstream_rq_" [lazy],
            /// Milliseconds from the request's end to the response's.
            histogram UPSTREAM_RQ_TIME(ms) = "upstream_rq_time" [lazy],
        }
    }
}
