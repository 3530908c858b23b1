//! `server.`: the process. The values are computed by whoever owns them (uptime, memory, connections).

use crate::stats_table;

stats_table! {
    /// The process.
    pub SERVER: "server" {
        /// 1 if the TLS library is a FIPS build.
        gauge COMPILATION_SETTINGS_FIPS_MODE = "compilation_settings.fips_mode",
        /// Workers.
        gauge CONCURRENCY = "concurrency",
        /// Days until the first certificate expires; 4294967295 without certificates.
        gauge DAYS_UNTIL_FIRST_CERT_EXPIRING = "days_until_first_cert_expiring",
        /// Assertions that failed.
        counter DEBUG_ASSERTION_FAILURES = "debug_assertion_failures",
        /// Flushes left out because the one before was not done.
        counter DROPPED_STAT_FLUSHES = "dropped_stat_flushes",
        /// Configuration messages over xDS with unknown fields.
        counter DYNAMIC_UNKNOWN_FIELDS = "dynamic_unknown_fields",
        /// Invariants that did not hold.
        counter ENVOY_BUG_FAILURES = "envoy_bug_failures",
        /// Notices of states that should be looked at.
        counter ENVOY_NOTIFICATIONS = "envoy_notifications",
        /// How often the process was replaced.
        gauge HOT_RESTART_EPOCH = "hot_restart_epoch",
        /// Milliseconds from start to accepting.
        histogram INITIALIZATION_TIME_MS(ms) = "initialization_time_ms",
        /// 1 while the server is live and not draining.
        gauge LIVE = "live",
        /// Bytes of memory in use.
        gauge MEMORY_ALLOCATED = "memory_allocated",
        /// Bytes of the heap.
        gauge MEMORY_HEAP_SIZE = "memory_heap_size",
        /// Bytes of memory resident.
        gauge MEMORY_PHYSICAL_SIZE = "memory_physical_size",
        /// Connections of the process before this one.
        gauge PARENT_CONNECTIONS = "parent_connections",
        /// Seconds until the first OCSP answer expires.
        gauge SECONDS_UNTIL_FIRST_OCSP_RESPONSE_EXPIRING = "seconds_until_first_ocsp_response_expiring",
        /// 0 live, 1 draining, 2 pre-initializing, 3 initializing.
        gauge STATE = "state",
        /// Configuration messages in files with unknown fields.
        counter STATIC_UNKNOWN_FIELDS = "static_unknown_fields",
        /// Statistics looked up by name.
        gauge STATS_RECENT_LOOKUPS = "stats_recent_lookups",
        /// Connections of this process and of the one before.
        gauge TOTAL_CONNECTIONS = "total_connections",
        /// Seconds since the start.
        gauge UPTIME = "uptime",
        /// The version as a number.
        gauge VERSION = "version",
        /// Messages in use that are work in progress.
        counter WIP_PROTOS = "wip_protos",
    }
}
