//! Messages of services that are only known by their descriptors: JSON to wire bytes and back, and which method a request is for.
//!
//! What filters between JSON and gRPC share. All of it is without I/O, and made for input that nobody vouches for:
//! depth, sizes and numbers of values have limits, and what is wrong is a text that the peer is answered with. The
//! mapping is Envoy's, which is more lenient than protobuf's (single quotes, bare keys, unknown fields).

pub(crate) mod bindings;
pub(crate) mod decode;
pub(crate) mod descriptors;
pub(crate) mod encode;
pub(crate) mod frames;
pub(crate) mod json;
pub(crate) mod print;
pub(crate) mod rules;
mod scalar;
pub(crate) mod template;
mod well_known;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

/// Levels of messages in messages, or of values in values (protobuf's default).
pub(crate) const MAX_DEPTH: usize = 100;
