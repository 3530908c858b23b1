//! `cluster_manager.`: clusters coming and going; `thread_local_cluster_manager.<thread>.`.

use crate::stats_table;

stats_table! {
    /// All clusters.
    pub CLUSTER_MANAGER: "cluster_manager" {
        /// Clusters in use.
        gauge ACTIVE_CLUSTERS = "active_clusters",
        /// Clusters added.
        counter CLUSTER_ADDED = "cluster_added",
        /// Clusters changed.
        counter CLUSTER_MODIFIED = "cluster_modified",
        /// Clusters removed.
        counter CLUSTER_REMOVED = "cluster_removed",
        /// Updates of hosts.
        counter CLUSTER_UPDATED = "cluster_updated",
        /// Updates of hosts that were put together.
        counter CLUSTER_UPDATED_VIA_MERGE = "cluster_updated_via_merge",
        /// Pending updates that were overtaken.
        counter UPDATE_MERGE_CANCELLED = "update_merge_cancelled",
        /// Updates of hosts that came alone.
        counter UPDATE_OUT_OF_MERGE_WINDOW = "update_out_of_merge_window",
        /// Clusters that wait for their hosts.
        gauge WARMING_CLUSTERS = "warming_clusters",
    }
}

stats_table! {
    /// All clusters on one thread.
    pub THREAD_CLUSTERS: "thread_local_cluster_manager" {
        /// Clusters that the thread has made its part of.
        gauge CLUSTERS_INFLATED = "clusters_inflated",
    }
}
