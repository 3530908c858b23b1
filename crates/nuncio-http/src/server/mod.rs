//! Downstream HTTP connections.
//!
//! * `h1`: the HTTP/1 connection as the client's side of an exchange: bytes to pieces and back.
//! * `connection`: its life: waiting for a request, exchanging, closing; timeouts between requests.
//!
//! HTTP/2 will stand beside `h1`, with one exchange per stream.

mod connection;
mod h1;

pub(crate) use connection::serve;
