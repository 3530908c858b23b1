//! `tcp.<stat_prefix>.`: the TCP proxy.

use crate::stats_table;

stats_table! {
    /// One TCP proxy, by its `stat_prefix`.
    pub TCP: "tcp_proxy" {
        counter DOWNSTREAM_CX_DRAIN_CLOSE = "downstream_cx_drain_close",
        counter DOWNSTREAM_CX_NO_ROUTE = "downstream_cx_no_route",
        counter DOWNSTREAM_CX_OVERLOAD_CLOSE = "downstream_cx_overload_close",
        gauge DOWNSTREAM_CX_RX_BYTES_BUFFERED = "downstream_cx_rx_bytes_buffered",
        counter DOWNSTREAM_CX_RX_BYTES_TOTAL = "downstream_cx_rx_bytes_total",
        counter DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
        gauge DOWNSTREAM_CX_TX_BYTES_BUFFERED = "downstream_cx_tx_bytes_buffered",
        counter DOWNSTREAM_CX_TX_BYTES_TOTAL = "downstream_cx_tx_bytes_total",
        counter DOWNSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL = "downstream_flow_control_paused_reading_total",
        counter DOWNSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL = "downstream_flow_control_resumed_reading_total",
        counter EARLY_DATA_RECEIVED_COUNT_TOTAL = "early_data_received_count_total",
        counter IDLE_TIMEOUT = "idle_timeout",
        counter MAX_DOWNSTREAM_CONNECTION_DURATION = "max_downstream_connection_duration",
        counter ROUTE_DELAYED_TOTAL = "route_delayed_total",
        gauge UPSTREAM_FLUSH_ACTIVE = "upstream_flush_active",
        counter UPSTREAM_FLUSH_TOTAL = "upstream_flush_total",
    }
}
