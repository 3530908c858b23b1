//! `runtime.`: runtime layers.

use crate::stats_table;

stats_table! {
    /// The runtime.
    pub RUNTIME: "runtime" {
        /// 1 while there are overrides by the admin interface.
        gauge ADMIN_OVERRIDES_ACTIVE = "admin_overrides_active",
        /// Deprecated fields seen since the start.
        gauge DEPRECATED_FEATURE_SEEN_SINCE_PROCESS_START = "deprecated_feature_seen_since_process_start",
        /// Deprecated fields in use.
        counter DEPRECATED_FEATURE_USE = "deprecated_feature_use",
        /// Times the runtime could not be loaded.
        counter LOAD_ERROR = "load_error",
        /// Times the runtime was loaded.
        counter LOAD_SUCCESS = "load_success",
        /// Keys.
        gauge NUM_KEYS = "num_keys",
        /// Layers.
        gauge NUM_LAYERS = "num_layers",
        /// Times the override directory was found.
        counter OVERRIDE_DIR_EXISTS = "override_dir_exists",
        /// Times the override directory was not found.
        counter OVERRIDE_DIR_NOT_EXISTS = "override_dir_not_exists",
    }
}
