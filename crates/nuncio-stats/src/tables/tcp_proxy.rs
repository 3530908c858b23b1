//! `tcp.<stat_prefix>.`: the TCP proxy.

use crate::stats_table;

stats_table! {
    /// One TCP proxy, by its `stat_prefix`.
    pub TCP: "tcp_proxy" {
        /// Connections closed to drain.
        counter DOWNSTREAM_CX_DRAIN_CLOSE = "downstream_cx_drain_close",
        /// Connections for which there was no cluster.
        counter DOWNSTREAM_CX_NO_ROUTE = "downstream_cx_no_route",
        /// Connections closed because of overload.
        counter DOWNSTREAM_CX_OVERLOAD_CLOSE = "downstream_cx_overload_close",
        /// Bytes received and not passed on yet.
        gauge DOWNSTREAM_CX_RX_BYTES_BUFFERED = "downstream_cx_rx_bytes_buffered",
        /// Bytes received.
        counter DOWNSTREAM_CX_RX_BYTES_TOTAL = "downstream_cx_rx_bytes_total",
        /// Connections accepted.
        counter DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
        /// Bytes waiting to be sent.
        gauge DOWNSTREAM_CX_TX_BYTES_BUFFERED = "downstream_cx_tx_bytes_buffered",
        /// Bytes sent.
        counter DOWNSTREAM_CX_TX_BYTES_TOTAL = "downstream_cx_tx_bytes_total",
        /// Times reading from a client was paused because the upstream did not keep up.
        counter DOWNSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL = "downstream_flow_control_paused_reading_total",
        /// Times reading was resumed.
        counter DOWNSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL = "downstream_flow_control_resumed_reading_total",
        /// Connections whose client sent before the upstream connection stood.
        counter EARLY_DATA_RECEIVED_COUNT_TOTAL = "early_data_received_count_total",
        /// Connections closed for being idle.
        counter IDLE_TIMEOUT = "idle_timeout",
        /// Connections closed for their age.
        counter MAX_DOWNSTREAM_CONNECTION_DURATION = "max_downstream_connection_duration",
        /// Connections whose upstream connection was made only when data came.
        counter ROUTE_DELAYED_TOTAL = "route_delayed_total",
        /// Upstream connections that only send what is left.
        gauge UPSTREAM_FLUSH_ACTIVE = "upstream_flush_active",
        /// Upstream connections that had something left to send when the client went.
        counter UPSTREAM_FLUSH_TOTAL = "upstream_flush_total",
    }
}
