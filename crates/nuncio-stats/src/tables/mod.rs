//! Envoy's statistics, a table per file.
