//! `cluster_manager.cds.`, `listener_manager.lds.`, `http.<stat_prefix>.rds.<name>.`, …: one xDS subscription. Which of the groups there are depends
//! on the resource: `reload` for CDS and RDS, `empty` for RDS.

use crate::stats_table;

stats_table! {
    /// One xDS subscription.
    pub SUBSCRIPTION: "subscription" {
        /// Times the first answer did not come in time.
        counter INIT_FETCH_TIMEOUT = "init_fetch_timeout",
        /// Times the hosts were asked for.
        counter UPDATE_ATTEMPT = "update_attempt",
        /// Times the hosts could not be had.
        counter UPDATE_FAILURE = "update_failure",
        /// Updates refused.
        counter UPDATE_REJECTED = "update_rejected",
        /// Times the hosts were had.
        counter UPDATE_SUCCESS = "update_success",
        /// When the last update came, in milliseconds since 1970.
        gauge UPDATE_TIME = "update_time",
        /// A hash of the configuration's version, 0 where it is static.
        gauge VERSION = "version",
        /// Milliseconds that an update took.
        histogram UPDATE_DURATION(ms) = "update_duration",
        /// The version of the last update.
        text VERSION_TEXT = "version_text",
        /// Opened for clusters and route configurations.
        group RELOAD = "reload",
        /// Times an update changed something.
        counter CONFIG_RELOAD = "config_reload" [RELOAD],
        /// When an update last changed something, in milliseconds since 1970.
        gauge CONFIG_RELOAD_TIME_MS = "config_reload_time_ms" [RELOAD],
        /// Opened for secrets.
        group SECRET = "secret",
        /// Times the files of a secret could not be read again.
        counter KEY_ROTATION_FAILED = "key_rotation_failed" [SECRET],
        /// Opened for route configurations.
        group EMPTY = "empty",
        /// Times the answer had no hosts.
        counter UPDATE_EMPTY = "update_empty" [EMPTY],
    }
}
