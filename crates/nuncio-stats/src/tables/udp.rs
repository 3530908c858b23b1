//! `udp.<stat_prefix>.`: the UDP proxy; `cluster.<name>.udp.`: what it sees of its clusters; `listener.<address>.udp.`.

use crate::stats_table;

stats_table! {
    /// One UDP proxy, by its `stat_prefix`.
    pub UDP: "udp_proxy" {
        /// Sessions.
        gauge DOWNSTREAM_SESS_ACTIVE = "downstream_sess_active",
        /// Datagrams for which there was no cluster.
        counter DOWNSTREAM_SESS_NO_ROUTE = "downstream_sess_no_route",
        /// Bytes received.
        counter DOWNSTREAM_SESS_RX_BYTES = "downstream_sess_rx_bytes",
        /// Datagrams received.
        counter DOWNSTREAM_SESS_RX_DATAGRAMS = "downstream_sess_rx_datagrams",
        /// Failures to receive.
        counter DOWNSTREAM_SESS_RX_ERRORS = "downstream_sess_rx_errors",
        /// Sessions begun.
        counter DOWNSTREAM_SESS_TOTAL = "downstream_sess_total",
        /// Bytes sent.
        counter DOWNSTREAM_SESS_TX_BYTES = "downstream_sess_tx_bytes",
        /// Datagrams sent.
        counter DOWNSTREAM_SESS_TX_DATAGRAMS = "downstream_sess_tx_datagrams",
        /// Failures to send.
        counter DOWNSTREAM_SESS_TX_ERRORS = "downstream_sess_tx_errors",
        /// Sessions ended for being idle.
        counter IDLE_TIMEOUT = "idle_timeout",
        /// Datagrams dropped because a filter of sessions was not known yet.
        counter SESSION_FILTER_CONFIG_MISSING = "session_filter_config_missing",
    }
}

stats_table! {
    /// A cluster that a UDP proxy goes to.
    pub UDP_CLUSTER: "udp_cluster" {
        /// Datagrams received from hosts.
        counter SESS_RX_DATAGRAMS = "sess_rx_datagrams",
        /// Datagrams that the system dropped.
        counter SESS_RX_DATAGRAMS_DROPPED = "sess_rx_datagrams_dropped",
        /// Failures to receive.
        counter SESS_RX_ERRORS = "sess_rx_errors",
        /// Datagrams dropped before there was a tunnel.
        counter SESS_TUNNEL_BUFFER_OVERFLOW = "sess_tunnel_buffer_overflow",
        /// Tunnels that could not be made.
        counter SESS_TUNNEL_FAILURE = "sess_tunnel_failure",
        /// Tunnels made.
        counter SESS_TUNNEL_SUCCESS = "sess_tunnel_success",
        /// Datagrams sent to hosts.
        counter SESS_TX_DATAGRAMS = "sess_tx_datagrams",
        /// Failures to send.
        counter SESS_TX_ERRORS = "sess_tx_errors",
    }
}

stats_table! {
    /// A listener for datagrams.
    pub LISTENER_UDP: "listener_udp" {
        /// Datagrams that were longer than is taken.
        counter DOWNSTREAM_RX_DATAGRAM_DROPPED = "downstream_rx_datagram_dropped",
    }
}
