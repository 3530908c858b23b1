//! Bytes in, pieces out: every wire format Nuncio speaks, without a socket, a clock or randomness.
//!
//! * [`headers`]: the one header map of all codecs.
//! * [`http1`]: requests and responses of HTTP/1, both directions.
//! * [`method`]: request methods, classified once.
//! * [`resp`]: the protocol of Redis.
//!
//! Promises: input from the network never panics, it becomes a named violation; the same bytes give the
//! same pieces however they were split; in steady state nothing is allocated. Timeouts, connection reuse
//! and replies belong to the callers.

pub mod date;
pub mod headers;
pub mod http1;
pub mod http2;
pub mod method;
pub mod path;
pub mod resp;

pub use headers::{HeaderMap, HeaderName, Known, Name, ValueWriter};
pub use method::Method;
