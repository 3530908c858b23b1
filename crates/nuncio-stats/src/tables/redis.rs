//! `redis.<stat_prefix>.`, `redis.<stat_prefix>.command.<command>.`: the Redis proxy. `cluster.<name>.redis_cluster.` and
//! `….upstream_commands.<command>.`: what it sees of its clusters.

use crate::stats_table;

stats_table! {
    /// One Redis proxy, by its `stat_prefix`.
    pub REDIS: "redis" {
        /// Connections.
        gauge DOWNSTREAM_CX_ACTIVE = "downstream_cx_active",
        /// Connections closed to drain.
        counter DOWNSTREAM_CX_DRAIN_CLOSE = "downstream_cx_drain_close",
        /// Connections closed because what they sent was no RESP.
        counter DOWNSTREAM_CX_PROTOCOL_ERROR = "downstream_cx_protocol_error",
        /// Bytes received and not taken yet.
        gauge DOWNSTREAM_CX_RX_BYTES_BUFFERED = "downstream_cx_rx_bytes_buffered",
        /// Bytes received.
        counter DOWNSTREAM_CX_RX_BYTES_TOTAL = "downstream_cx_rx_bytes_total",
        /// Connections accepted.
        counter DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
        /// Bytes waiting to be sent.
        gauge DOWNSTREAM_CX_TX_BYTES_BUFFERED = "downstream_cx_tx_bytes_buffered",
        /// Bytes sent.
        counter DOWNSTREAM_CX_TX_BYTES_TOTAL = "downstream_cx_tx_bytes_total",
        /// Commands under way.
        gauge DOWNSTREAM_RQ_ACTIVE = "downstream_rq_active",
        /// Greetings (`HELLO`) for another version of the protocol.
        counter DOWNSTREAM_RQ_NOPROTO = "downstream_rq_noproto",
        /// Commands.
        counter DOWNSTREAM_RQ_TOTAL = "downstream_rq_total",
        /// Commands that are none.
        counter INVALID_REQUEST = "splitter.invalid_request",
        /// Commands that are not known here.
        counter UNSUPPORTED_COMMAND = "splitter.unsupported_command",
    }
}

stats_table! {
    /// One command of one proxy.
    pub COMMAND: "redis_command" {
        /// Answers delayed by a fault.
        counter DELAY_FAULT = "delay_fault",
        /// Answers made here because there was none.
        counter ERROR = "error",
        /// Failures made by a fault.
        counter ERROR_FAULT = "error_fault",
        /// Answers.
        counter SUCCESS = "success",
        /// Commands.
        counter TOTAL = "total",
        /// How long answers took.
        histogram LATENCY(ms) = "latency",
    }
}

stats_table! {
    /// The same, told in microseconds (`latency_in_micros`): each in the place it has in [`COMMAND`], whose ids serve for both.
    pub COMMAND_IN_MICROS: "redis_command_in_micros" {
        /// Answers delayed by a fault.
        counter MICROS_DELAY_FAULT = "delay_fault",
        /// Answers made here because there was none.
        counter MICROS_ERROR = "error",
        /// Failures made by a fault.
        counter MICROS_ERROR_FAULT = "error_fault",
        /// Answers.
        counter MICROS_SUCCESS = "success",
        /// Commands.
        counter MICROS_TOTAL = "total",
        /// How long answers took.
        histogram MICROS_LATENCY(us) = "latency",
    }
}

stats_table! {
    /// A cluster that a Redis proxy goes to.
    pub REDIS_CLUSTER: "redis_cluster" {
        /// Connections that were one too many in a second.
        counter CONNECTION_RATE_LIMITED = "connection_rate_limited",
        /// Hosts that were one unknown too many.
        counter MAX_UPSTREAM_UNKNOWN_CONNECTIONS_REACHED = "max_upstream_unknown_connections_reached",
        /// Connections to hosts that are gone.
        counter UPSTREAM_CX_DRAINED = "upstream_cx_drained",
        /// Hosts that do not speak version 3.
        counter UPSTREAM_RESP3_HELLO_FAILURE = "upstream_resp3_hello_failure",
        /// How long commands took.
        histogram UPSTREAM_RQ_TIME(us) = "upstream_commands.upstream_rq_time" [lazy],
    }
}

stats_table! {
    /// A command that went to a cluster (`enable_command_stats`).
    pub UPSTREAM_COMMAND: "redis_upstream_command" {
        /// Answers that tell of a failure, and missing ones.
        counter UPSTREAM_FAILURE = "failure" [lazy],
        /// Other answers.
        counter UPSTREAM_SUCCESS = "success" [lazy],
        /// Commands.
        counter UPSTREAM_TOTAL = "total" [lazy],
        /// How long they took.
        histogram UPSTREAM_LATENCY(us) = "latency" [lazy],
    }
}
