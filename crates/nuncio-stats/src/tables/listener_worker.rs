//! `listener.<address>.worker_<n>.` and `listener.admin.main_thread.`: one listener's connections on one thread.

use crate::stats_table;

stats_table! {
    /// One listener on one thread.
    pub LISTENER_WORKER: "listener_worker" {
        /// Connections open.
        gauge DOWNSTREAM_CX_ACTIVE = "downstream_cx_active",
        /// Connections accepted.
        counter DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
    }
}
