//! HTTP/1.0 and HTTP/1.1 without I/O, both directions.
//!
//! A decoder is fed what a read brought and keeps no bytes itself: while a head is incomplete the caller
//! keeps (and if need be grows) the buffer and comes back. [`RequestDecoder`] and [`ResponseDecoder`]
//! answer with a head, then with pieces of body, then perhaps with trailers; a body piece is always one
//! contiguous slice of the caller's buffer, moved only where chunk framing stood in between. The encoders
//! append to a buffer of the caller's.
//!
//! Promises: the same bytes give the same result however they were split; what cannot be understood is a
//! [`Violation`] that knows Envoy's status, body and details; nothing is allocated in steady state; a head
//! that trickles in byte by byte costs linear time.
//!
//! It leaves to the connection manager: a missing host, timeouts, `expect`, the answer itself.
//!
//! Where things are: `scan` looks at bytes, `head` decides when to parse, `fields` reads header lines,
//! `request_line`, `target` and `status_line` the first one; `framing` and [`connection`] draw the
//! conclusions; `body` and `chunked` follow; `encode` and `reason` write.

mod body;
mod chunked;
pub mod connection;
mod encode;
mod fields;
mod framing;
mod head;
pub(crate) use head::join_repeated;
mod reason;
mod request;
mod request_line;
mod response;
mod rules;
mod scan;
mod status_line;
mod target;
mod violation;

pub use body::{Body, BodyState, Eof};
pub use encode::{
    CHUNK_SUFFIX, Encoding, NameCase, RequestEncoding, ResponseEncoding, Unencodable, chunk_end,
    chunk_prefix, encode_request_head, encode_response_head, encode_trailers,
};
pub use reason::reason_phrase;
pub use request::{RequestDecoder, RequestHead};
pub use response::{ResponseContext, ResponseDecoder, ResponseHead};
pub use rules::{RequestRules, ResponseRules, Strictness, UnderscoreAction};
pub use target::is_valid_authority;
pub use violation::{Stat, Violation};

/// The protocol version a message claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0, and whatever else Envoy treats as such (`HTTP/0.9`, `HTTP/1.2`, `HTTP/2.0`).
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// As `%PROTOCOL%` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// How the end of a message's body is found (rfc9112#6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is no body: the head is the whole message.
    None,
    /// So many bytes follow; never zero.
    Length(u64),
    /// Chunks follow.
    Chunked,
    /// The body ends where the connection ends; responses only.
    UntilClose,
    /// The connection becomes a tunnel (CONNECT, `upgrade`): everything that follows is opaque.
    Tunnel,
}
