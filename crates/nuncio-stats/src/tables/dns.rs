//! `dns.cares.`: the DNS resolver, under the name of Envoy's default one.

use crate::stats_table;

stats_table! {
    /// The DNS resolver.
    pub DNS: "dns" {
        counter GET_ADDR_FAILURE = "get_addr_failure",
        counter NOT_FOUND = "not_found",
        gauge PENDING_RESOLUTIONS = "pending_resolutions",
        counter REINITS = "reinits",
        counter RESOLVE_TOTAL = "resolve_total",
        counter TIMEOUTS = "timeouts",
    }
}
