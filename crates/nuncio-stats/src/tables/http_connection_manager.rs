//! `http.<stat_prefix>.`: the connection manager. The router's statistics share the prefix and are in `router`.

use crate::stats_table;

stats_table! {
    /// One connection manager, by its `stat_prefix`.
    pub HTTP: "http_connection_manager" {
        /// Connections open.
        gauge DOWNSTREAM_CX_ACTIVE = "downstream_cx_active",
        /// Connections closed because the client did not close in time.
        counter DOWNSTREAM_CX_DELAYED_CLOSE_TIMEOUT = "downstream_cx_delayed_close_timeout",
        /// Connections closed.
        counter DOWNSTREAM_CX_DESTROY = "downstream_cx_destroy",
        /// Connections closed with requests in flight.
        counter DOWNSTREAM_CX_DESTROY_ACTIVE_RQ = "downstream_cx_destroy_active_rq",
        /// Connections closed from this side.
        counter DOWNSTREAM_CX_DESTROY_LOCAL = "downstream_cx_destroy_local",
        /// Connections closed from this side with requests in flight.
        counter DOWNSTREAM_CX_DESTROY_LOCAL_ACTIVE_RQ = "downstream_cx_destroy_local_active_rq",
        /// Connections closed by the client.
        counter DOWNSTREAM_CX_DESTROY_REMOTE = "downstream_cx_destroy_remote",
        /// Connections closed by the client with requests in flight.
        counter DOWNSTREAM_CX_DESTROY_REMOTE_ACTIVE_RQ = "downstream_cx_destroy_remote_active_rq",
        /// Connections closed to drain.
        counter DOWNSTREAM_CX_DRAIN_CLOSE = "downstream_cx_drain_close",
        /// HTTP/1.1 connections open.
        gauge DOWNSTREAM_CX_HTTP1_ACTIVE = "downstream_cx_http1_active",
        /// HTTP/1.1 connections that wait for the client to close them.
        gauge DOWNSTREAM_CX_HTTP1_SOFT_DRAIN = "downstream_cx_http1_soft_drain",
        /// HTTP/1.1 connections accepted.
        counter DOWNSTREAM_CX_HTTP1_TOTAL = "downstream_cx_http1_total",
        /// HTTP/2 connections open.
        gauge DOWNSTREAM_CX_HTTP2_ACTIVE = "downstream_cx_http2_active",
        /// HTTP/2 connections accepted.
        counter DOWNSTREAM_CX_HTTP2_TOTAL = "downstream_cx_http2_total",
        /// HTTP/3 connections open.
        gauge DOWNSTREAM_CX_HTTP3_ACTIVE = "downstream_cx_http3_active",
        /// HTTP/3 connections accepted.
        counter DOWNSTREAM_CX_HTTP3_TOTAL = "downstream_cx_http3_total",
        /// Connections closed for being idle.
        counter DOWNSTREAM_CX_IDLE_TIMEOUT = "downstream_cx_idle_timeout",
        /// Milliseconds that connections lived.
        histogram DOWNSTREAM_CX_LENGTH_MS(ms) = "downstream_cx_length_ms",
        /// Connections closed for their age.
        counter DOWNSTREAM_CX_MAX_DURATION_REACHED = "downstream_cx_max_duration_reached",
        /// Connections closed for the number of their requests.
        counter DOWNSTREAM_CX_MAX_REQUESTS_REACHED = "downstream_cx_max_requests_reached",
        /// Connections closed after an answer because of overload.
        counter DOWNSTREAM_CX_OVERLOAD_DISABLE_KEEPALIVE = "downstream_cx_overload_disable_keepalive",
        /// Connections closed because the client broke the protocol.
        counter DOWNSTREAM_CX_PROTOCOL_ERROR = "downstream_cx_protocol_error",
        /// Bytes received and not passed on yet.
        gauge DOWNSTREAM_CX_RX_BYTES_BUFFERED = "downstream_cx_rx_bytes_buffered",
        /// Bytes received.
        counter DOWNSTREAM_CX_RX_BYTES_TOTAL = "downstream_cx_rx_bytes_total",
        /// TLS connections open.
        gauge DOWNSTREAM_CX_SSL_ACTIVE = "downstream_cx_ssl_active",
        /// TLS connections accepted.
        counter DOWNSTREAM_CX_SSL_TOTAL = "downstream_cx_ssl_total",
        /// Connections accepted.
        counter DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
        /// Bytes waiting to be sent.
        gauge DOWNSTREAM_CX_TX_BYTES_BUFFERED = "downstream_cx_tx_bytes_buffered",
        /// Bytes sent.
        counter DOWNSTREAM_CX_TX_BYTES_TOTAL = "downstream_cx_tx_bytes_total",
        /// Upgraded connections open, CONNECT included.
        gauge DOWNSTREAM_CX_UPGRADES_ACTIVE = "downstream_cx_upgrades_active",
        /// Connections upgraded, CONNECT included.
        counter DOWNSTREAM_CX_UPGRADES_TOTAL = "downstream_cx_upgrades_total",
        /// Times reading from a client was paused because the upstream did not keep up.
        counter DOWNSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL = "downstream_flow_control_paused_reading_total",
        /// Times reading was resumed.
        counter DOWNSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL = "downstream_flow_control_resumed_reading_total",
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
        /// Requests in flight.
        gauge DOWNSTREAM_RQ_ACTIVE = "downstream_rq_active",
        /// Responses.
        counter DOWNSTREAM_RQ_COMPLETED = "downstream_rq_completed",
        /// Requests refused because their path could not be normalized.
        counter DOWNSTREAM_RQ_FAILED_PATH_NORMALIZATION = "downstream_rq_failed_path_normalization",
        /// Requests whose headers took too long.
        counter DOWNSTREAM_RQ_HEADER_TIMEOUT = "downstream_rq_header_timeout",
        /// HTTP/1.1 requests.
        counter DOWNSTREAM_RQ_HTTP1_TOTAL = "downstream_rq_http1_total",
        /// HTTP/2 requests.
        counter DOWNSTREAM_RQ_HTTP2_TOTAL = "downstream_rq_http2_total",
        /// HTTP/3 requests.
        counter DOWNSTREAM_RQ_HTTP3_TOTAL = "downstream_rq_http3_total",
        /// Requests ended because nothing moved.
        counter DOWNSTREAM_RQ_IDLE_TIMEOUT = "downstream_rq_idle_timeout",
        /// Requests ended for their age.
        counter DOWNSTREAM_RQ_MAX_DURATION_REACHED = "downstream_rq_max_duration_reached",
        /// Requests refused because their path does not begin with a slash.
        counter DOWNSTREAM_RQ_NON_RELATIVE_PATH = "downstream_rq_non_relative_path",
        /// Requests refused because of overload.
        counter DOWNSTREAM_RQ_OVERLOAD_CLOSE = "downstream_rq_overload_close",
        /// Requests redirected to their path with escaped slashes undone.
        counter DOWNSTREAM_RQ_REDIRECTED_WITH_NORMALIZED_PATH = "downstream_rq_redirected_with_normalized_path",
        /// Requests refused because the client's address could not be told.
        counter DOWNSTREAM_RQ_REJECTED_VIA_IP_DETECTION = "downstream_rq_rejected_via_ip_detection",
        /// Responses that ended before their requests.
        counter DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE = "downstream_rq_response_before_rq_complete",
        /// Requests that the client reset.
        counter DOWNSTREAM_RQ_RX_RESET = "downstream_rq_rx_reset",
        /// Milliseconds that requests took.
        histogram DOWNSTREAM_RQ_TIME(ms) = "downstream_rq_time",
        /// Requests that took too long to arrive.
        counter DOWNSTREAM_RQ_TIMEOUT = "downstream_rq_timeout",
        /// Requests refused because their body was too large to keep.
        counter DOWNSTREAM_RQ_TOO_LARGE = "downstream_rq_too_large",
        /// Connections closed for streams reset too often and too early.
        counter DOWNSTREAM_RQ_TOO_MANY_PREMATURE_RESETS = "downstream_rq_too_many_premature_resets",
        /// Requests.
        counter DOWNSTREAM_RQ_TOTAL = "downstream_rq_total",
        /// Requests reset from this side.
        counter DOWNSTREAM_RQ_TX_RESET = "downstream_rq_tx_reset",
        /// Upgrades refused because the route does not allow them.
        counter DOWNSTREAM_RQ_WS_ON_NON_WS_ROUTE = "downstream_rq_ws_on_non_ws_route",
        /// Responses replaced because their body was too large to keep.
        counter RS_TOO_LARGE = "rs_too_large",
        /// Opened by `record_route_resolution_stats`.
        group ROUTE_RESOLUTION = "route_resolution",
        /// Microseconds that finding a request's routes took.
        histogram DOWNSTREAM_RQ_ROUTE_RESOLUTION_TIME_US(us) = "downstream_rq_route_resolution_time_us" [ROUTE_RESOLUTION],
        /// Times that a request's route was looked up.
        histogram DOWNSTREAM_RQ_ROUTE_RESOLUTIONS(count) = "downstream_rq_route_resolutions" [ROUTE_RESOLUTION],
        /// Opened by every connection manager but the admin's.
        group TRACING = "tracing",
        /// Requests traced because the client asked for it.
        counter TRACING_CLIENT_ENABLED = "tracing.client_enabled" [TRACING],
        /// Requests not traced because they are health checks.
        counter TRACING_HEALTH_CHECK = "tracing.health_check" [TRACING],
        /// Requests that cannot be traced because of their id.
        counter TRACING_NOT_TRACEABLE = "tracing.not_traceable" [TRACING],
        /// Requests traced by chance.
        counter TRACING_RANDOM_SAMPLING = "tracing.random_sampling" [TRACING],
        /// Requests traced because the service asked for it.
        counter TRACING_SERVICE_FORCED = "tracing.service_forced" [TRACING],
    }
}
