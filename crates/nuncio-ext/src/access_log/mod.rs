//! Access loggers that write lines: file, stdout, stderr.
//!
//! A worker formats the line and puts it into its own bounded ring; one thread for all files writes them out. A slow
//! disk costs lines, never traffic.

mod file;
mod files;
mod format;
mod ring;
mod writer;

#[cfg(test)]
mod tests;

pub use file::{FILE, STDERR, STDOUT};
pub use files::{BackgroundFiles, FlushOptions, OpenError};
