//! Statistics as bytes: the text, JSON and Prometheus forms of `/stats`.
//!
//! Promises Envoy 1.40's output to the byte, in Envoy's order. The writers take a [`Snapshot`](crate::Snapshot) and
//! append to any `fmt::Write`; what to leave out was decided when the snapshot was taken.

mod histogram_text;
mod json;
pub mod number;
mod prometheus;
mod text;

pub use histogram_text::BucketMode;
pub use json::write_json;
pub use prometheus::{PrometheusOptions, write_prometheus};
pub use text::write_text;
