//! `dns.cares.`: the DNS resolver, under the name of Envoy's default one.

use crate::stats_table;

stats_table! {
    /// The DNS resolver.
    pub DNS: "dns" {
        /// Lookups that failed.
        counter GET_ADDR_FAILURE = "get_addr_failure",
        /// Lookups without an answer.
        counter NOT_FOUND = "not_found",
        /// Lookups under way.
        gauge PENDING_RESOLUTIONS = "pending_resolutions",
        /// Times the resolver was set up anew.
        counter REINITS = "reinits",
        /// Lookups.
        counter RESOLVE_TOTAL = "resolve_total",
        /// Lookups that took too long.
        counter TIMEOUTS = "timeouts",
    }
}
