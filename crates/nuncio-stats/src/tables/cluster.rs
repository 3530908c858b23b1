//! `cluster.<name>.`: what a cluster counts whatever it is used for.
//!
//! Everything that an option adds has its own group here (`track_cluster_stats`, `track_remaining`, hash rings) or its own
//! table (`health_check`, `outlier_detection`, `endpoint`, `http1`, `http2`, `tls`).

use crate::stats_table;

stats_table! {
    /// One cluster.
    pub CLUSTER: "cluster" {
        /// Endpoint assignments that outlived their time to live.
        counter ASSIGNMENT_STALE = "assignment_stale",
        /// Endpoint assignments that came with a time to live.
        counter ASSIGNMENT_TIMEOUT_RECEIVED = "assignment_timeout_received",
        /// Times a cached endpoint assignment was used.
        counter ASSIGNMENT_USE_CACHED = "assignment_use_cached",
        /// Upstream sockets that could not be bound to the configured source address.
        counter BIND_ERRORS = "bind_errors",
        /// 1 while `max_connections` is reached, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_CX_OPEN(max) = "circuit_breakers.default.cx_open",
        /// 1 while `max_connection_pools` is reached, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_CX_POOL_OPEN(max) = "circuit_breakers.default.cx_pool_open",
        /// 1 while `max_requests` is reached, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_RQ_OPEN(max) = "circuit_breakers.default.rq_open",
        /// 1 while `max_pending_requests` is reached, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_RQ_PENDING_OPEN(max) = "circuit_breakers.default.rq_pending_open",
        /// 1 while `max_retries` or the retry budget is reached, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_RQ_RETRY_OPEN(max) = "circuit_breakers.default.rq_retry_open",
        /// 1 while `max_connections` is reached, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_CX_OPEN(max) = "circuit_breakers.high.cx_open",
        /// 1 while `max_connection_pools` is reached, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_CX_POOL_OPEN(max) = "circuit_breakers.high.cx_pool_open",
        /// 1 while `max_requests` is reached, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_RQ_OPEN(max) = "circuit_breakers.high.rq_open",
        /// 1 while `max_pending_requests` is reached, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_RQ_PENDING_OPEN(max) = "circuit_breakers.high.rq_pending_open",
        /// 1 while `max_retries` or the retry budget is reached, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_RQ_RETRY_OPEN(max) = "circuit_breakers.high.rq_retry_open",
        /// Hosts that got the cluster's default transport socket.
        counter DEFAULT_TOTAL_MATCH_COUNT = "default.total_match_count",
        /// Picks made while too few hosts were healthy, so from all hosts.
        counter LB_HEALTHY_PANIC = "lb_healthy_panic",
        /// Zone-aware picks given up because the local cluster has no hosts or is in panic.
        counter LB_LOCAL_CLUSTER_NOT_OK = "lb_local_cluster_not_ok",
        /// Times zone-aware routing was computed anew.
        counter LB_RECALCULATE_ZONE_STRUCTURES = "lb_recalculate_zone_structures",
        /// Subsets in use.
        gauge LB_SUBSETS_ACTIVE = "lb_subsets_active",
        /// Subsets made.
        counter LB_SUBSETS_CREATED = "lb_subsets_created",
        /// Picks that no subset matched, so the fallback policy was used.
        counter LB_SUBSETS_FALLBACK = "lb_subsets_fallback",
        /// Picks made from all hosts because the fallback found none.
        counter LB_SUBSETS_FALLBACK_PANIC = "lb_subsets_fallback_panic",
        /// Subsets removed because they had no hosts left.
        counter LB_SUBSETS_REMOVED = "lb_subsets_removed",
        /// Picks made from a subset.
        counter LB_SUBSETS_SELECTED = "lb_subsets_selected",
        /// Zone-aware picks given up because the cluster is too small.
        counter LB_ZONE_CLUSTER_TOO_SMALL = "lb_zone_cluster_too_small",
        /// Zone-aware picks that went to a random zone because of rounding.
        counter LB_ZONE_NO_CAPACITY_LEFT = "lb_zone_no_capacity_left",
        /// Picks that all went to the local zone.
        counter LB_ZONE_ROUTING_ALL_DIRECTLY = "lb_zone_routing_all_directly",
        /// Picks that went to another zone.
        counter LB_ZONE_ROUTING_CROSS_ZONE = "lb_zone_routing_cross_zone",
        /// Picks of which some went to another zone.
        counter LB_ZONE_ROUTING_SAMPLED = "lb_zone_routing_sampled",
        /// The largest weight of a host.
        gauge MAX_HOST_WEIGHT = "max_host_weight",
        /// Times the hosts of the cluster changed.
        counter MEMBERSHIP_CHANGE = "membership_change",
        /// Hosts that are degraded.
        gauge MEMBERSHIP_DEGRADED = "membership_degraded",
        /// Hosts left out of load balancing.
        gauge MEMBERSHIP_EXCLUDED = "membership_excluded",
        /// Hosts that are healthy.
        gauge MEMBERSHIP_HEALTHY = "membership_healthy",
        /// Hosts.
        gauge MEMBERSHIP_TOTAL = "membership_total",
        /// Connections without a usable original destination.
        counter ORIGINAL_DST_HOST_INVALID = "original_dst_host_invalid",
        /// Retries and mirrored requests given up because the body was too large to keep.
        counter RETRY_OR_SHADOW_ABANDONED = "retry_or_shadow_abandoned",
        /// Times the hosts were asked for.
        counter UPDATE_ATTEMPT = "update_attempt",
        /// Times the answer had no hosts.
        counter UPDATE_EMPTY = "update_empty",
        /// Times the hosts could not be had.
        counter UPDATE_FAILURE = "update_failure",
        /// Times the answer changed nothing.
        counter UPDATE_NO_REBUILD = "update_no_rebuild",
        /// Times the hosts were had.
        counter UPDATE_SUCCESS = "update_success",
        /// Connections open.
        gauge UPSTREAM_CX_ACTIVE = "upstream_cx_active",
        /// Connections that the host announced to close.
        counter UPSTREAM_CX_CLOSE_NOTIFY = "upstream_cx_close_notify",
        /// Connection attempts that were the last of their budget.
        counter UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED = "upstream_cx_connect_attempts_exceeded",
        /// Connections that could not be made.
        counter UPSTREAM_CX_CONNECT_FAIL = "upstream_cx_connect_fail",
        /// Milliseconds that connecting took.
        histogram UPSTREAM_CX_CONNECT_MS(ms) = "upstream_cx_connect_ms",
        /// Connections that took longer than `connect_timeout`.
        counter UPSTREAM_CX_CONNECT_TIMEOUT = "upstream_cx_connect_timeout",
        /// Connections that sent early data.
        counter UPSTREAM_CX_CONNECT_WITH_0_RTT = "upstream_cx_connect_with_0_rtt",
        /// Connections closed.
        counter UPSTREAM_CX_DESTROY = "upstream_cx_destroy",
        /// Connections closed from this side.
        counter UPSTREAM_CX_DESTROY_LOCAL = "upstream_cx_destroy_local",
        /// Connections closed from this side with requests in flight.
        counter UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ = "upstream_cx_destroy_local_with_active_rq",
        /// Connections closed by the host.
        counter UPSTREAM_CX_DESTROY_REMOTE = "upstream_cx_destroy_remote",
        /// Connections closed by the host with requests in flight.
        counter UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ = "upstream_cx_destroy_remote_with_active_rq",
        /// Connections closed with requests in flight.
        counter UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ = "upstream_cx_destroy_with_active_rq",
        /// HTTP/1.1 connections made.
        counter UPSTREAM_CX_HTTP1_TOTAL = "upstream_cx_http1_total",
        /// HTTP/2 connections made.
        counter UPSTREAM_CX_HTTP2_TOTAL = "upstream_cx_http2_total",
        /// HTTP/3 connections made.
        counter UPSTREAM_CX_HTTP3_TOTAL = "upstream_cx_http3_total",
        /// Connections closed for being idle.
        counter UPSTREAM_CX_IDLE_TIMEOUT = "upstream_cx_idle_timeout",
        /// Milliseconds that connections lived.
        histogram UPSTREAM_CX_LENGTH_MS(ms) = "upstream_cx_length_ms",
        /// Connections closed for their age.
        counter UPSTREAM_CX_MAX_DURATION_REACHED = "upstream_cx_max_duration_reached",
        /// Connections closed for the number of their requests.
        counter UPSTREAM_CX_MAX_REQUESTS = "upstream_cx_max_requests",
        /// Requests refused because no host was healthy.
        counter UPSTREAM_CX_NONE_HEALTHY = "upstream_cx_none_healthy",
        /// Connections not made because `max_connections` was reached.
        counter UPSTREAM_CX_OVERFLOW = "upstream_cx_overflow",
        /// Pools not made because `max_connection_pools` was reached.
        counter UPSTREAM_CX_POOL_OVERFLOW = "upstream_cx_pool_overflow",
        /// Connections not made ahead because no host was at hand.
        counter UPSTREAM_CX_PRECONNECT_SKIPPED = "upstream_cx_preconnect_skipped",
        /// Connections closed because the host broke the protocol.
        counter UPSTREAM_CX_PROTOCOL_ERROR = "upstream_cx_protocol_error",
        /// Bytes received and not passed on yet.
        gauge UPSTREAM_CX_RX_BYTES_BUFFERED = "upstream_cx_rx_bytes_buffered",
        /// Bytes received.
        counter UPSTREAM_CX_RX_BYTES_TOTAL = "upstream_cx_rx_bytes_total",
        /// Connections made.
        counter UPSTREAM_CX_TOTAL = "upstream_cx_total",
        /// Bytes waiting to be sent.
        gauge UPSTREAM_CX_TX_BYTES_BUFFERED = "upstream_cx_tx_bytes_buffered",
        /// Bytes sent.
        counter UPSTREAM_CX_TX_BYTES_TOTAL = "upstream_cx_tx_bytes_total",
        /// Times a connection had more to send than its buffer limit.
        counter UPSTREAM_FLOW_CONTROL_BACKED_UP_TOTAL = "upstream_flow_control_backed_up_total",
        /// Times such a connection caught up.
        counter UPSTREAM_FLOW_CONTROL_DRAINED_TOTAL = "upstream_flow_control_drained_total",
        /// Times reading from a host was paused because the client did not keep up.
        counter UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL = "upstream_flow_control_paused_reading_total",
        /// Times reading was resumed.
        counter UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL = "upstream_flow_control_resumed_reading_total",
        /// Times HTTP/3 was taken as broken.
        counter UPSTREAM_HTTP3_BROKEN = "upstream_http3_broken",
        /// Redirects that were passed on because they could not be followed.
        counter UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL = "upstream_internal_redirect_failed_total",
        /// Redirects that were followed.
        counter UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL = "upstream_internal_redirect_succeeded_total",
        /// 1 while the queue of pending requests is overloaded.
        gauge UPSTREAM_QUEUE_OVERLOADED = "upstream_queue_overloaded",
        /// Requests sent as early data.
        counter UPSTREAM_RQ_0RTT = "upstream_rq_0rtt",
        /// Requests in flight.
        gauge UPSTREAM_RQ_ACTIVE = "upstream_rq_active",
        /// Requests refused because `max_requests` was reached.
        counter UPSTREAM_RQ_ACTIVE_OVERFLOW = "upstream_rq_active_overflow",
        /// Requests given up before they had a connection.
        counter UPSTREAM_RQ_CANCELLED = "upstream_rq_cancelled",
        /// Requests refused because of maintenance.
        counter UPSTREAM_RQ_MAINTENANCE_MODE = "upstream_rq_maintenance_mode",
        /// Requests ended for their age.
        counter UPSTREAM_RQ_MAX_DURATION_REACHED = "upstream_rq_max_duration_reached",
        /// Requests waiting for a connection.
        gauge UPSTREAM_RQ_PENDING_ACTIVE = "upstream_rq_pending_active",
        /// Requests that waited for a connection that failed.
        counter UPSTREAM_RQ_PENDING_FAILURE_EJECT = "upstream_rq_pending_failure_eject",
        /// Requests refused because a circuit breaker was open.
        counter UPSTREAM_RQ_PENDING_OVERFLOW = "upstream_rq_pending_overflow",
        /// Requests that waited for a connection.
        counter UPSTREAM_RQ_PENDING_TOTAL = "upstream_rq_pending_total",
        /// Requests per connection.
        histogram UPSTREAM_RQ_PER_CX(count) = "upstream_rq_per_cx",
        /// Tries that made no progress for `per_try_idle_timeout`.
        counter UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT = "upstream_rq_per_try_idle_timeout",
        /// Tries that took longer than `per_try_timeout`.
        counter UPSTREAM_RQ_PER_TRY_TIMEOUT = "upstream_rq_per_try_timeout",
        /// Retries.
        counter UPSTREAM_RQ_RETRY = "upstream_rq_retry",
        /// Retries after a growing pause.
        counter UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL = "upstream_rq_retry_backoff_exponential",
        /// Retries after a pause that the host asked for.
        counter UPSTREAM_RQ_RETRY_BACKOFF_RATELIMITED = "upstream_rq_retry_backoff_ratelimited",
        /// Requests not retried because `num_retries` was reached.
        counter UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED = "upstream_rq_retry_limit_exceeded",
        /// Requests not retried because a circuit breaker or the retry budget forbade it.
        counter UPSTREAM_RQ_RETRY_OVERFLOW = "upstream_rq_retry_overflow",
        /// Requests that a retry saved.
        counter UPSTREAM_RQ_RETRY_SUCCESS = "upstream_rq_retry_success",
        /// Requests that the host reset.
        counter UPSTREAM_RQ_RX_RESET = "upstream_rq_rx_reset",
        /// Requests that the host ended early without an error.
        counter UPSTREAM_RQ_RX_RESET_NO_ERROR = "upstream_rq_rx_reset_no_error",
        /// Requests that took longer than the route's timeout.
        counter UPSTREAM_RQ_TIMEOUT = "upstream_rq_timeout",
        /// Requests.
        counter UPSTREAM_RQ_TOTAL = "upstream_rq_total",
        /// Requests reset from this side.
        counter UPSTREAM_RQ_TX_RESET = "upstream_rq_tx_reset",
        /// A hash of the configuration's version, 0 where it is static.
        gauge VERSION = "version",
        /// 1 while the cluster waits for its hosts.
        gauge WARMING_STATE = "warming_state",
        /// Clusters of type EDS.
        group EDS = "eds",
        /// Times the first answer did not come in time.
        counter INIT_FETCH_TIMEOUT = "init_fetch_timeout" [EDS],
        /// Updates refused.
        counter UPDATE_REJECTED = "update_rejected" [EDS],
        /// When the last update came, in milliseconds since 1970.
        gauge UPDATE_TIME = "update_time" [EDS],
        /// Milliseconds that an update took.
        histogram UPDATE_DURATION(ms) = "update_duration" [EDS],
        /// The version of the last update.
        text VERSION_TEXT = "version_text" [EDS],
        /// What circuit breakers leave (`track_remaining`), default priority.
        group CIRCUIT_BREAKERS_DEFAULT_REMAINING = "circuit_breakers.default.remaining",
        /// Connections that may still be made, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_REMAINING_CX = "circuit_breakers.default.remaining_cx" [CIRCUIT_BREAKERS_DEFAULT_REMAINING],
        /// Pools that may still be made, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_REMAINING_CX_POOLS = "circuit_breakers.default.remaining_cx_pools" [CIRCUIT_BREAKERS_DEFAULT_REMAINING],
        /// Requests that may still wait, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_REMAINING_PENDING = "circuit_breakers.default.remaining_pending" [CIRCUIT_BREAKERS_DEFAULT_REMAINING],
        /// Retries that may still be made, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_REMAINING_RETRIES = "circuit_breakers.default.remaining_retries" [CIRCUIT_BREAKERS_DEFAULT_REMAINING],
        /// Requests that may still be made, default priority.
        gauge CIRCUIT_BREAKERS_DEFAULT_REMAINING_RQ = "circuit_breakers.default.remaining_rq" [CIRCUIT_BREAKERS_DEFAULT_REMAINING],
        /// What circuit breakers leave (`track_remaining`), high priority.
        group CIRCUIT_BREAKERS_HIGH_REMAINING = "circuit_breakers.high.remaining",
        /// Connections that may still be made, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_REMAINING_CX = "circuit_breakers.high.remaining_cx" [CIRCUIT_BREAKERS_HIGH_REMAINING],
        /// Pools that may still be made, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_REMAINING_CX_POOLS = "circuit_breakers.high.remaining_cx_pools" [CIRCUIT_BREAKERS_HIGH_REMAINING],
        /// Requests that may still wait, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_REMAINING_PENDING = "circuit_breakers.high.remaining_pending" [CIRCUIT_BREAKERS_HIGH_REMAINING],
        /// Retries that may still be made, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_REMAINING_RETRIES = "circuit_breakers.high.remaining_retries" [CIRCUIT_BREAKERS_HIGH_REMAINING],
        /// Requests that may still be made, high priority.
        gauge CIRCUIT_BREAKERS_HIGH_REMAINING_RQ = "circuit_breakers.high.remaining_rq" [CIRCUIT_BREAKERS_HIGH_REMAINING],
        /// How much of the timeouts is used (`track_cluster_stats.timeout_budgets`).
        group TIMEOUT_BUDGETS = "timeout_budgets",
        /// Percent of the per-try timeout that a try took.
        histogram UPSTREAM_RQ_TIMEOUT_BUDGET_PER_TRY_PERCENT_USED(count) = "upstream_rq_timeout_budget_per_try_percent_used" [TIMEOUT_BUDGETS],
        /// Percent of the route's timeout that a request took.
        histogram UPSTREAM_RQ_TIMEOUT_BUDGET_PERCENT_USED(count) = "upstream_rq_timeout_budget_percent_used" [TIMEOUT_BUDGETS],
        /// Sizes (`track_cluster_stats.request_response_sizes`).
        group REQUEST_RESPONSE_SIZES = "request_response_sizes",
        /// Bytes of request bodies.
        histogram UPSTREAM_RQ_BODY_SIZE(bytes) = "upstream_rq_body_size" [REQUEST_RESPONSE_SIZES],
        /// Header lines of requests.
        histogram UPSTREAM_RQ_HEADERS_COUNT(count) = "upstream_rq_headers_count" [REQUEST_RESPONSE_SIZES],
        /// Bytes of request headers.
        histogram UPSTREAM_RQ_HEADERS_SIZE(bytes) = "upstream_rq_headers_size" [REQUEST_RESPONSE_SIZES],
        /// Bytes of response bodies.
        histogram UPSTREAM_RS_BODY_SIZE(bytes) = "upstream_rs_body_size" [REQUEST_RESPONSE_SIZES],
        /// Header lines of responses.
        histogram UPSTREAM_RS_HEADERS_COUNT(count) = "upstream_rs_headers_count" [REQUEST_RESPONSE_SIZES],
        /// Bytes of response headers.
        histogram UPSTREAM_RS_HEADERS_SIZE(bytes) = "upstream_rs_headers_size" [REQUEST_RESPONSE_SIZES],
        /// Where a subset selector has `single_host_per_subset`.
        group LB_SUBSET_DUPLICATES = "lb_subset_duplicates",
        /// Hosts left out because their subset had one already.
        gauge LB_SUBSETS_SINGLE_HOST_PER_SUBSET_DUPLICATE = "lb_subsets_single_host_per_subset_duplicate" [LB_SUBSET_DUPLICATES],
        /// Where the policy is a hash ring.
        group RING_HASH_LB = "ring_hash_lb",
        /// Entries of the ring.
        gauge RING_HASH_LB_SIZE = "ring_hash_lb.size" [RING_HASH_LB],
        /// Fewest entries of a host.
        gauge RING_HASH_LB_MIN_HASHES_PER_HOST = "ring_hash_lb.min_hashes_per_host" [RING_HASH_LB],
        /// Most entries of a host.
        gauge RING_HASH_LB_MAX_HASHES_PER_HOST = "ring_hash_lb.max_hashes_per_host" [RING_HASH_LB],
        /// Where the policy is Maglev.
        group MAGLEV_LB = "maglev_lb",
        /// Fewest table entries of a host.
        gauge MAGLEV_LB_MIN_ENTRIES_PER_HOST = "maglev_lb.min_entries_per_host" [MAGLEV_LB],
        /// Most table entries of a host.
        gauge MAGLEV_LB_MAX_ENTRIES_PER_HOST = "maglev_lb.max_entries_per_host" [MAGLEV_LB],
        /// Responses, by status.
        codes UPSTREAM_RQ = "upstream_rq_",
        /// Responses of canary hosts, by status.
        codes CANARY_UPSTREAM_RQ = "canary.upstream_rq_" [lazy],
        /// Responses to requests from outside, by status.
        codes EXTERNAL_UPSTREAM_RQ = "external.upstream_rq_" [lazy],
        /// Responses to requests from inside, by status.
        codes INTERNAL_UPSTREAM_RQ = "internal.upstream_rq_" [lazy],
        /// Responses that were retried, by status.
        codes RETRY_UPSTREAM_RQ = "retry.upstream_rq_" [lazy],
        /// Milliseconds from the request's end to the response's.
        histogram UPSTREAM_RQ_TIME(ms) = "upstream_rq_time" [lazy],
        /// Milliseconds that canary hosts took.
        histogram CANARY_UPSTREAM_RQ_TIME(ms) = "canary.upstream_rq_time" [lazy],
        /// Milliseconds that requests from outside took.
        histogram EXTERNAL_UPSTREAM_RQ_TIME(ms) = "external.upstream_rq_time" [lazy],
        /// Milliseconds that requests from inside took.
        histogram INTERNAL_UPSTREAM_RQ_TIME(ms) = "internal.upstream_rq_time" [lazy],
    }
}
