//! The admin interface: statistics, clusters, listeners, configuration and commands over HTTP.
//!
//! [`handle`] is the whole of it: a request and what the process shows of itself ([`AdminContext`]) make an answer. One
//! table names the endpoints; `/help` and the home page are written from it. [`Server`] speaks HTTP/1.1 for it on the
//! main thread.
//!
//! Promises: the same paths, parameters, texts and JSON as Envoy 1.40, errors included; a command needs POST. Left to
//! the process: the data, and doing what a command says.

mod context;
mod defaults;
mod endpoints;
mod exchange;
mod request;
mod response;
mod server;
mod view;

pub use context::{AdminContext, Search};
pub use endpoints::{Choice, ENDPOINTS, Endpoint, OWN_ENDPOINTS, Param, handle};
pub use exchange::{Answered, Exchange, Next};
pub use request::{AdminRequest, Params};
pub use response::AdminResponse;
pub use server::{AdminStats, Server};
pub use view::*;
