//! Access loggers: lines to files, stdout and stderr; entries to services.
//!
//! A worker formats the line and puts it into its own bounded ring; one thread for all files writes them out. A slow
//! disk costs lines, never traffic.

mod file;
mod files;
mod grpc;
mod open_telemetry;
mod ring;
mod writer;

#[cfg(test)]
mod tests;

pub use file::{FILE, STDERR, STDOUT};
pub use grpc::{HTTP_GRPC, TCP_GRPC};
pub use open_telemetry::OPEN_TELEMETRY;
pub use files::{BackgroundFiles, FlushOptions, OpenError};
