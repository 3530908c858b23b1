//! `server.`: the process. The values are computed by whoever owns them (uptime, memory, connections).

use crate::stats_table;

stats_table! {
    /// The process.
    pub SERVER: "server" {
        gauge COMPILATION_SETTINGS_FIPS_MODE = "compilation_settings.fips_mode",
        gauge CONCURRENCY = "concurrency",
        gauge DAYS_UNTIL_FIRST_CERT_EXPIRING = "days_until_first_cert_expiring",
        counter DEBUG_ASSERTION_FAILURES = "debug_assertion_failures",
        counter DROPPED_STAT_FLUSHES = "dropped_stat_flushes",
        counter DYNAMIC_UNKNOWN_FIELDS = "dynamic_unknown_fields",
        counter ENVOY_BUG_FAILURES = "envoy_bug_failures",
        counter ENVOY_NOTIFICATIONS = "envoy_notifications",
        gauge HOT_RESTART_EPOCH = "hot_restart_epoch",
        histogram INITIALIZATION_TIME_MS(ms) = "initialization_time_ms",
        gauge LIVE = "live",
        gauge MEMORY_ALLOCATED = "memory_allocated",
        gauge MEMORY_HEAP_SIZE = "memory_heap_size",
        gauge MEMORY_PHYSICAL_SIZE = "memory_physical_size",
        gauge PARENT_CONNECTIONS = "parent_connections",
        gauge SECONDS_UNTIL_FIRST_OCSP_RESPONSE_EXPIRING = "seconds_until_first_ocsp_response_expiring",
        gauge STATE = "state",
        counter STATIC_UNKNOWN_FIELDS = "static_unknown_fields",
        gauge STATS_RECENT_LOOKUPS = "stats_recent_lookups",
        gauge TOTAL_CONNECTIONS = "total_connections",
        gauge UPTIME = "uptime",
        gauge VERSION = "version",
        counter WIP_PROTOS = "wip_protos",
    }
}
