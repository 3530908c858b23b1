//! `cluster_manager.`: clusters coming and going; `thread_local_cluster_manager.<thread>.`.

use crate::stats_table;

stats_table! {
    /// All clusters.
    pub CLUSTER_MANAGER: "cluster_manager" {
        gauge ACTIVE_CLUSTERS = "active_clusters",
        counter CLUSTER_ADDED = "cluster_added",
        counter CLUSTER_MODIFIED = "cluster_modified",
        counter CLUSTER_REMOVED = "cluster_removed",
        counter CLUSTER_UPDATED = "cluster_updated",
        counter CLUSTER_UPDATED_VIA_MERGE = "cluster_updated_via_merge",
        counter UPDATE_MERGE_CANCELLED = "update_merge_cancelled",
        counter UPDATE_OUT_OF_MERGE_WINDOW = "update_out_of_merge_window",
        gauge WARMING_CLUSTERS = "warming_clusters",
    }
}

stats_table! {
    /// All clusters on one thread.
    pub THREAD_CLUSTERS: "thread_local_cluster_manager" {
        gauge CLUSTERS_INFLATED = "clusters_inflated",
    }
}
