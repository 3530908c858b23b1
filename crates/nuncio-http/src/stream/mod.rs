//! One exchange: the filter engine, what drives it, and answers made here.

mod admit;
mod chain;
mod duration;
mod engine;
#[cfg(test)]
mod engine_tests;
mod exchange;
mod redirect;
pub(crate) mod reply;
mod routes;
pub(crate) mod upgrade;

pub use chain::{Chain, Installed};
pub(crate) use chain::Chains;
pub(crate) use admit::admit;
pub(crate) use engine::Piece;
pub(crate) use exchange::{ClientEvent, ClientSide, Exchange, Outcome};
pub(crate) use reply::is_grpc;
pub(crate) use routes::{HostStats, Routes};
