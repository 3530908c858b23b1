//! `listener_manager.`: listeners coming and going.

use crate::stats_table;

stats_table! {
    /// All listeners.
    pub LISTENER_MANAGER: "listener_manager" {
        /// Listeners added.
        counter LISTENER_ADDED = "listener_added",
        /// Listeners that could not be added.
        counter LISTENER_CREATE_FAILURE = "listener_create_failure",
        /// Listeners added to a worker.
        counter LISTENER_CREATE_SUCCESS = "listener_create_success",
        /// Listeners whose filter chains were exchanged without new sockets.
        counter LISTENER_IN_PLACE_UPDATED = "listener_in_place_updated",
        /// Listeners changed.
        counter LISTENER_MODIFIED = "listener_modified",
        /// Listeners removed.
        counter LISTENER_REMOVED = "listener_removed",
        /// Listeners stopped.
        counter LISTENER_STOPPED = "listener_stopped",
        /// Filter chains that drain.
        gauge TOTAL_FILTER_CHAINS_DRAINING = "total_filter_chains_draining",
        /// Listeners that accept.
        gauge TOTAL_LISTENERS_ACTIVE = "total_listeners_active",
        /// Listeners that drain.
        gauge TOTAL_LISTENERS_DRAINING = "total_listeners_draining",
        /// Listeners that wait for what they need.
        gauge TOTAL_LISTENERS_WARMING = "total_listeners_warming",
        /// 1 if workers are bound to processors.
        gauge WORKERS_PINNED = "workers_pinned",
        /// 1 once the workers run.
        gauge WORKERS_STARTED = "workers_started",
    }
}
