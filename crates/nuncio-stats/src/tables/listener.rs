//! `listener.<address or stat_prefix>.`: connections as a listener sees them. The port follows an underscore: `127.0.0.1_10000`.

use crate::stats_table;

stats_table! {
    /// One listener.
    pub LISTENER: "listener" {
        histogram CONNECTIONS_ACCEPTED_PER_SOCKET_EVENT(count) = "connections_accepted_per_socket_event",
        gauge DOWNSTREAM_CX_ACTIVE = "downstream_cx_active",
        counter DOWNSTREAM_CX_DESTROY = "downstream_cx_destroy",
        histogram DOWNSTREAM_CX_LENGTH_MS(ms) = "downstream_cx_length_ms",
        counter DOWNSTREAM_CX_OVERFLOW = "downstream_cx_overflow",
        counter DOWNSTREAM_CX_OVERLOAD_REJECT = "downstream_cx_overload_reject",
        counter DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
        counter DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT = "downstream_cx_transport_socket_connect_timeout",
        counter DOWNSTREAM_GLOBAL_CX_OVERFLOW = "downstream_global_cx_overflow",
        counter DOWNSTREAM_LISTENER_FILTER_ERROR = "downstream_listener_filter_error",
        counter DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE = "downstream_listener_filter_remote_close",
        gauge DOWNSTREAM_PRE_CX_ACTIVE = "downstream_pre_cx_active",
        counter DOWNSTREAM_PRE_CX_TIMEOUT = "downstream_pre_cx_timeout",
        counter NO_FILTER_CHAIN_MATCH = "no_filter_chain_match",
        group CONFIGURED = "configured",
        counter EXTENSION_CONFIG_MISSING = "extension_config_missing" [CONFIGURED],
        counter NETWORK_EXTENSION_CONFIG_MISSING = "network_extension_config_missing" [CONFIGURED],
    }
}
