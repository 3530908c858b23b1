//! `cluster_manager.cds.`, `listener_manager.lds.`, `http.<stat_prefix>.rds.<name>.`, …: one xDS subscription. Which of the groups there are depends
//! on the resource: `reload` for CDS and RDS, `empty` for RDS.

use crate::stats_table;

stats_table! {
    /// One xDS subscription.
    pub SUBSCRIPTION: "subscription" {
        counter INIT_FETCH_TIMEOUT = "init_fetch_timeout",
        counter UPDATE_ATTEMPT = "update_attempt",
        counter UPDATE_FAILURE = "update_failure",
        counter UPDATE_REJECTED = "update_rejected",
        counter UPDATE_SUCCESS = "update_success",
        gauge UPDATE_TIME = "update_time",
        gauge VERSION = "version",
        histogram UPDATE_DURATION(ms) = "update_duration",
        text VERSION_TEXT = "version_text",
        group RELOAD = "reload",
        counter CONFIG_RELOAD = "config_reload" [RELOAD],
        gauge CONFIG_RELOAD_TIME_MS = "config_reload_time_ms" [RELOAD],
        group EMPTY = "empty",
        counter UPDATE_EMPTY = "update_empty" [EMPTY],
    }
}
