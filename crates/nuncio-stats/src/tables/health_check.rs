//! `cluster.<name>.health_check.`: active health checks, when configured.

use crate::stats_table;

stats_table! {
    /// Active health checks of one cluster.
    pub HEALTH_CHECK: "health_check" {
        /// Health checks made.
        counter ATTEMPT = "attempt",
        /// Hosts whose checks say degraded.
        gauge DEGRADED = "degraded",
        /// Health checks failed.
        counter FAILURE = "failure",
        /// 1 while the host is healthy.
        gauge HEALTHY = "healthy",
        /// Health checks that failed for the network.
        counter NETWORK_FAILURE = "network_failure",
        /// Failures that answers to requests announced (`x-envoy-immediate-health-check-fail`).
        counter PASSIVE_FAILURE = "passive_failure",
        /// Health checks passed.
        counter SUCCESS = "success",
        /// Health checks that looked at the cluster name of the answer.
        counter VERIFY_CLUSTER = "verify_cluster",
    }
}

pub mod redis {
    //! `cluster.<name>.health_check.redis.`: those of Redis.

    use crate::stats_table;

    stats_table! {
        /// Health checks of Redis.
        pub REDIS: "health_check_redis" {
            /// Hosts that had the key that healthy ones have not.
            counter EXISTS_FAILURE = "exists_failure",
        }
    }
}
