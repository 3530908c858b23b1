//! `control_plane.`: the stream to an xDS server.

use crate::stats_table;

stats_table! {
    /// One xDS stream.
    pub CONTROL_PLANE: "control_plane" {
        gauge CONNECTED_STATE = "connected_state",
        gauge PENDING_REQUESTS = "pending_requests",
        counter RATE_LIMIT_ENFORCED = "rate_limit_enforced",
        text IDENTIFIER = "identifier",
    }
}
