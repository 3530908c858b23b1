//! `dns_filter.<stat_prefix>.`: queries that listeners answer themselves.

use crate::stats_table;

stats_table! {
    /// One DNS filter.
    pub DNS_FILTER: "dns_filter" {
        /// Queries for IPv4 addresses.
        counter A_RECORD_QUERIES = "a_record_queries",
        /// Queries for IPv6 addresses.
        counter AAAA_RECORD_QUERIES = "aaaa_record_queries",
        /// IPv4 addresses of clusters' hosts.
        counter CLUSTER_A_RECORD_ANSWERS = "cluster_a_record_answers",
        /// IPv6 addresses of clusters' hosts.
        counter CLUSTER_AAAA_RECORD_ANSWERS = "cluster_aaaa_record_answers",
        /// Services in clusters.
        counter CLUSTER_SRV_RECORD_ANSWERS = "cluster_srv_record_answers",
        /// Other answers from clusters; there are none.
        counter CLUSTER_UNSUPPORTED_ANSWERS = "cluster_unsupported_answers",
        /// Failures to receive.
        counter DOWNSTREAM_RX_ERRORS = "downstream_rx_errors",
        /// Datagrams that are no query.
        counter DOWNSTREAM_RX_INVALID_QUERIES = "downstream_rx_invalid_queries",
        /// Datagrams received.
        counter DOWNSTREAM_RX_QUERIES = "downstream_rx_queries",
        /// Responses sent.
        counter DOWNSTREAM_TX_RESPONSES = "downstream_tx_responses",
        /// IPv4 addresses that resolvers found.
        counter EXTERNAL_A_RECORD_ANSWERS = "external_a_record_answers",
        /// Queries for IPv4 addresses that were passed on.
        counter EXTERNAL_A_RECORD_QUERIES = "external_a_record_queries",
        /// IPv6 addresses that resolvers found.
        counter EXTERNAL_AAAA_RECORD_ANSWERS = "external_aaaa_record_answers",
        /// Queries for IPv6 addresses that were passed on.
        counter EXTERNAL_AAAA_RECORD_QUERIES = "external_aaaa_record_queries",
        /// Other answers of resolvers; there are none.
        counter EXTERNAL_UNSUPPORTED_ANSWERS = "external_unsupported_answers",
        /// Other queries that would have been passed on.
        counter EXTERNAL_UNSUPPORTED_QUERIES = "external_unsupported_queries",
        /// Queries that the table did not answer and resolvers were to.
        counter EXTERNALLY_RESOLVED_QUERIES = "externally_resolved_queries",
        /// Queries under a suffix of the table.
        counter KNOWN_DOMAIN_QUERIES = "known_domain_queries",
        /// IPv4 addresses of the table.
        counter LOCAL_A_RECORD_ANSWERS = "local_a_record_answers",
        /// IPv6 addresses of the table.
        counter LOCAL_AAAA_RECORD_ANSWERS = "local_aaaa_record_answers",
        /// Services of the table.
        counter LOCAL_SRV_RECORD_ANSWERS = "local_srv_record_answers",
        /// Other answers of the table; there are none.
        counter LOCAL_UNSUPPORTED_ANSWERS = "local_unsupported_answers",
        /// Queries with additional records.
        counter QUERIES_WITH_ADDITIONAL_RRS = "queries_with_additional_rrs",
        /// Responses, or queries with answers.
        counter QUERIES_WITH_ANS_OR_AUTHORITY_RRS = "queries_with_ans_or_authority_rrs",
        /// Datagrams shorter than a header.
        counter QUERY_BUFFER_UNDERFLOW = "query_buffer_underflow",
        /// Datagrams whose question cannot be read.
        counter QUERY_PARSING_FAILURE = "query_parsing_failure",
        /// Names too long; these are parsing failures.
        counter RECORD_NAME_OVERFLOW = "record_name_overflow",
        /// Queries for services.
        counter SRV_RECORD_QUERIES = "srv_record_queries",
        /// Queries that got no answer.
        counter UNANSWERED_QUERIES = "unanswered_queries",
        /// Queries for anything else.
        counter UNSUPPORTED_QUERIES = "unsupported_queries",
        /// Bytes of queries.
        histogram DOWNSTREAM_RX_BYTES(bytes) = "downstream_rx_bytes",
        /// Milliseconds to the response.
        histogram DOWNSTREAM_RX_QUERY_LATENCY(ms) = "downstream_rx_query_latency",
        /// Bytes of responses.
        histogram DOWNSTREAM_TX_BYTES(bytes) = "downstream_tx_bytes",
    }
}
