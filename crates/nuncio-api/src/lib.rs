//! Everything about Envoy's v3 API as data.

pub use nuncio_messages::*;
