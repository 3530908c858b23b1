//! Header compression of HTTP/2 (RFC 7541), both ways.
//!
//! A [`Decoder`] is fed a header block in whatever pieces its frames bring and calls back for each field; an
//! [`Encoder`] writes fields into a block. Promises: a block bounds what it makes the decoder keep (a field at most
//! [`MAX_FIELD_BYTES`], the table at most what was announced); in steady state nothing is allocated. It leaves to
//! others what fields mean and how many there may be.

mod decode;
mod encode;
mod huffman;
mod table;

pub use decode::{CompressionError, Decoder, Field};
pub use encode::Encoder;

/// Longest name or value that is decoded, in bytes.
pub const MAX_FIELD_BYTES: usize = 64 * 1024;
/// Size of the dynamic table before anybody says otherwise, in bytes.
pub const DEFAULT_TABLE_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
