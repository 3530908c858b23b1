//! `cluster.<name>.zone.<from>.<to>.`: requests from our zone to one of the cluster's; `cluster.<name>.<name>.`: requests that
//! ask to be counted apart (`x-envoy-upstream-alt-stat-name`), and `….zone.<from>.<to>.` of those.

use crate::stats_table;

stats_table! {
    /// A part of one cluster's requests.
    pub PART: "cluster_part" {
        /// Responses, by status.
        codes UPSTREAM_RQ = "upstream_rq_" [lazy],
        /// Responses of canary hosts, by status.
        codes CANARY_UPSTREAM_RQ = "canary.upstream_rq_" [lazy],
        /// Responses to requests from outside, by status.
        codes EXTERNAL_UPSTREAM_RQ = "external.upstream_rq_" [lazy],
        /// Responses to requests from inside, by status.
        codes INTERNAL_UPSTREAM_RQ = "internal.upstream_rq_" [lazy],
        /// Milliseconds from the request's end to the response's.
        histogram UPSTREAM_RQ_TIME(ms) = "upstream_rq_time" [lazy],
        /// Milliseconds that canary hosts took.
        histogram CANARY_UPSTREAM_RQ_TIME(ms) = "canary.upstream_rq_time" [lazy],
        /// Milliseconds that requests from outside took.
        histogram EXTERNAL_UPSTREAM_RQ_TIME(ms) = "external.upstream_rq_time" [lazy],
        /// Milliseconds that requests from inside took.
        histogram INTERNAL_UPSTREAM_RQ_TIME(ms) = "internal.upstream_rq_time" [lazy],
    }
}

stats_table! {
    /// `cluster.<name>.internal_upstream.`: connections to internal listeners.
    pub INTERNAL_UPSTREAM: "internal_upstream" {
        /// Metadata that were to go along and were not there.
        counter NO_METADATA = "no_metadata",
    }
}
