//! `dns_cache.<name>.`: names that requests asked for, and where they lead.

use crate::stats_table;

stats_table! {
    /// One cache of names.
    pub DNS_CACHE: "dns_cache" {
        /// Names read from a store at start.
        counter CACHE_LOAD = "cache_load",
        /// No lookup more may be waited for.
        gauge RQ_PENDING_OPEN = "circuit_breakers.rq_pending_open",
        /// How many more may wait for lookups.
        gauge RQ_PENDING_REMAINING = "circuit_breakers.rq_pending_remaining",
        /// Addresses that a filter has taken out.
        counter DNS_ADDRESS_FILTER_OUT = "dns_address_filter_out",
        /// Lookups.
        counter DNS_QUERY_ATTEMPT = "dns_query_attempt",
        /// Lookups that nobody could answer.
        counter DNS_QUERY_FAILURE = "dns_query_failure",
        /// Lookups that were answered, be it that there is no such name.
        counter DNS_QUERY_SUCCESS = "dns_query_success",
        /// Lookups that took longer than `dns_query_timeout`.
        counter DNS_QUERY_TIMEOUT = "dns_query_timeout",
        /// Requests that could not wait for a lookup.
        counter DNS_RQ_PENDING_OVERFLOW = "dns_rq_pending_overflow",
        /// Names that came.
        counter HOST_ADDED = "host_added",
        /// Times a name got another address.
        counter HOST_ADDRESS_CHANGED = "host_address_changed",
        /// Names that found no place.
        counter HOST_OVERFLOW = "host_overflow",
        /// Names that went, unused.
        counter HOST_REMOVED = "host_removed",
        /// Names.
        gauge NUM_HOSTS = "num_hosts",
    }
}
