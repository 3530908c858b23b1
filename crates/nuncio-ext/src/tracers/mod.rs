//! Tracers: how contexts travel in headers, and where finished spans go.

pub mod opentelemetry;
