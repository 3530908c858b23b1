//! `runtime.`: runtime layers.

use crate::stats_table;

stats_table! {
    /// The runtime.
    pub RUNTIME: "runtime" {
        gauge ADMIN_OVERRIDES_ACTIVE = "admin_overrides_active",
        gauge DEPRECATED_FEATURE_SEEN_SINCE_PROCESS_START = "deprecated_feature_seen_since_process_start",
        counter DEPRECATED_FEATURE_USE = "deprecated_feature_use",
        counter LOAD_ERROR = "load_error",
        counter LOAD_SUCCESS = "load_success",
        gauge NUM_KEYS = "num_keys",
        gauge NUM_LAYERS = "num_layers",
        counter OVERRIDE_DIR_EXISTS = "override_dir_exists",
        counter OVERRIDE_DIR_NOT_EXISTS = "override_dir_not_exists",
    }
}
