//! `control_plane.`: the stream to an xDS server.

use crate::stats_table;

stats_table! {
    /// One xDS stream.
    pub CONTROL_PLANE: "control_plane" {
        /// 1 while the stream stands.
        gauge CONNECTED_STATE = "connected_state",
        /// Requests that wait because of the rate limit.
        gauge PENDING_REQUESTS = "pending_requests",
        /// Requests that had to wait because of the rate limit.
        counter RATE_LIMIT_ENFORCED = "rate_limit_enforced",
        /// What the server calls itself.
        text IDENTIFIER = "identifier",
    }
}
