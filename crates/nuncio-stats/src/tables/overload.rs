//! `overload.` and `envoy.overload_actions.reset_high_memory_stream.`: the overload manager.

use crate::stats_table;

stats_table! {
    /// The overload manager.
    pub OVERLOAD: "overload" {
        /// Milliseconds between two looks at the resources.
        histogram REFRESH_INTERVAL_DELAY(ms) = "refresh_interval_delay",
    }
}

stats_table! {
    /// Streams reset to free memory.
    pub RESET_STREAMS: "overload_actions.reset_high_memory_stream" {
        /// Streams reset.
        counter COUNT = "count",
    }
}
