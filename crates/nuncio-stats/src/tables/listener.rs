//! `listener.<address or stat_prefix>.`: connections as a listener sees them. The port follows an underscore: `127.0.0.1_10000`.

use crate::stats_table;

stats_table! {
    /// One listener.
    pub LISTENER: "listener" {
        /// Connections accepted at one wake-up.
        histogram CONNECTIONS_ACCEPTED_PER_SOCKET_EVENT(count) = "connections_accepted_per_socket_event",
        /// Connections open.
        gauge DOWNSTREAM_CX_ACTIVE = "downstream_cx_active",
        /// Connections closed.
        counter DOWNSTREAM_CX_DESTROY = "downstream_cx_destroy",
        /// Milliseconds that connections lived.
        histogram DOWNSTREAM_CX_LENGTH_MS(ms) = "downstream_cx_length_ms",
        /// Connections refused because the listener's limit was reached.
        counter DOWNSTREAM_CX_OVERFLOW = "downstream_cx_overflow",
        /// Connections refused because of overload.
        counter DOWNSTREAM_CX_OVERLOAD_REJECT = "downstream_cx_overload_reject",
        /// Connections accepted.
        counter DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
        /// Connections whose TLS handshake took too long.
        counter DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT = "downstream_cx_transport_socket_connect_timeout",
        /// Connections refused because the limit over all listeners was reached.
        counter DOWNSTREAM_GLOBAL_CX_OVERFLOW = "downstream_global_cx_overflow",
        /// Connections closed because a listener filter could not read.
        counter DOWNSTREAM_LISTENER_FILTER_ERROR = "downstream_listener_filter_error",
        /// Connections that the client closed before the listener filters were done.
        counter DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE = "downstream_listener_filter_remote_close",
        /// Sockets in the hands of listener filters.
        gauge DOWNSTREAM_PRE_CX_ACTIVE = "downstream_pre_cx_active",
        /// Sockets that listener filters held too long.
        counter DOWNSTREAM_PRE_CX_TIMEOUT = "downstream_pre_cx_timeout",
        /// Connections that no filter chain matches.
        counter NO_FILTER_CHAIN_MATCH = "no_filter_chain_match",
        /// Opened by every listener but the admin's.
        group CONFIGURED = "configured",
        /// Connections closed because a listener filter's configuration had not come yet.
        counter EXTENSION_CONFIG_MISSING = "extension_config_missing" [CONFIGURED],
        /// Connections closed because a network filter's configuration had not come yet.
        counter NETWORK_EXTENSION_CONFIG_MISSING = "network_extension_config_missing" [CONFIGURED],
    }
}
