//! `tracing.opentelemetry.`: spans on their way to a collector.

use crate::stats_table;

stats_table! {
    /// The OpenTelemetry tracer.
    pub OPENTELEMETRY: "opentelemetry" {
        /// Spans dropped because too many waited.
        counter SPANS_DROPPED = "spans_dropped",
        /// Spans sent.
        counter SPANS_SENT = "spans_sent",
        /// Times that what waited was sent because it was time.
        counter TIMER_FLUSHED = "timer_flushed",
    }
}
