//! `listener_manager.`: listeners coming and going.

use crate::stats_table;

stats_table! {
    /// All listeners.
    pub LISTENER_MANAGER: "listener_manager" {
        counter LISTENER_ADDED = "listener_added",
        counter LISTENER_CREATE_FAILURE = "listener_create_failure",
        counter LISTENER_CREATE_SUCCESS = "listener_create_success",
        counter LISTENER_IN_PLACE_UPDATED = "listener_in_place_updated",
        counter LISTENER_MODIFIED = "listener_modified",
        counter LISTENER_REMOVED = "listener_removed",
        counter LISTENER_STOPPED = "listener_stopped",
        gauge TOTAL_FILTER_CHAINS_DRAINING = "total_filter_chains_draining",
        gauge TOTAL_LISTENERS_ACTIVE = "total_listeners_active",
        gauge TOTAL_LISTENERS_DRAINING = "total_listeners_draining",
        gauge TOTAL_LISTENERS_WARMING = "total_listeners_warming",
        gauge WORKERS_PINNED = "workers_pinned",
        gauge WORKERS_STARTED = "workers_started",
    }
}
