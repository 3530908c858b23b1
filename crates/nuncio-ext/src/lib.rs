//! Every extension, one file or folder each.
//!
//! An extension sees its own protobuf message and the traits of `nuncio-core`, nothing of the data path.

pub mod access_log;
pub mod cel;
mod bucket;
mod compression;
pub mod custom_tags;
pub mod fuzz;
pub mod http;
mod line_format;
pub mod matcher;
pub mod network;
pub mod rate_limits;
pub mod read;
pub mod registry;
pub mod service;
mod transcoding;
pub mod tracers;
