//! HTTP/2 without I/O, both roles (RFC 9113).
//!
//! A [`Connection`] is fed what a read brought and answers with one [`Event`] at a time: heads, which go straight into
//! a [`HeaderMap`](crate::HeaderMap) that the caller takes, and body pieces, which are slices of the caller's buffer.
//! What is to be sent is appended to [`Connection::output`]; bodies are framed here and moved by the caller.
//!
//! Promises: the same bytes give the same events however they were split; every limit is one of Envoy's, has its name
//! and its default ([`Options`]), and is counted when it bites ([`Stat`]); what one peer can make us keep is bounded;
//! in steady state nothing is allocated. A peer gets receive windows back only for what the caller has
//! [released](Connection::release): not releasing is back-pressure.
//!
//! It leaves to the caller: bodies that wait for windows, fairness between streams, timeouts, when to say goodbye.
//!
//! Where things are: `frame` knows the wire format, [`hpack`] the header blocks, `head` what makes a valid message,
//! `stream` what is open and `closed` what no longer is, `flood` and `outbound` who is abusing it; `receive` and `send` are the two directions of
//! `connection`.

mod closed;
mod connection;
mod error;
mod flood;
mod frame;
mod head;
pub mod hpack;
pub mod upgrade;
mod options;
mod outbound;
mod receive;
mod send;
mod stream;

pub use connection::{Connection, Event, PREFACE, Role, StreamEnd};
pub use error::{ErrorCode, Fault, Stat};
pub use head::Flaw;
pub use options::Options;
pub use send::Refused;

#[cfg(test)]
mod tests;
