//! `cluster.<name>.health_check.`: active health checks, when configured.

use crate::stats_table;

stats_table! {
    /// Active health checks of one cluster.
    pub HEALTH_CHECK: "health_check" {
        counter ATTEMPT = "attempt",
        gauge DEGRADED = "degraded",
        counter FAILURE = "failure",
        gauge HEALTHY = "healthy",
        counter NETWORK_FAILURE = "network_failure",
        counter PASSIVE_FAILURE = "passive_failure",
        counter SUCCESS = "success",
        counter VERIFY_CLUSTER = "verify_cluster",
    }
}
