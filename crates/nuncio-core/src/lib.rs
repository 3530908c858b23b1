//! Vocabulary and extension seams, and nothing else.
//!
//! * [`StreamCx`], [`StreamInfo`]: one exchange as filters, router and access logs see it.
//! * [`HttpFilter`], [`Step`], [`Phases`]: how an HTTP filter takes part; it returns verdicts, only the engine acts.
//! * [`Terminal`], [`TerminalWorker`], [`Connection`]: how a network filter that ends a chain takes a connection.
//! * [`Worker`]: what belongs to one worker thread.
//! * [`ResponseFlags`], [`LocalReply`]: what happened, and an answer made here.
//! * [`format`]: substitution formats of access logs and header values.
//! * [`HttpFilterEntry`], [`BuildCx`], [`ConfigError`]: building extensions from configuration.
//!
//! It moves nothing, holds no socket and decides nothing: `nuncio-http`, `nuncio-listen` and `nuncio-upstream` do.

mod build;
mod conn;
mod filter;
mod flags;
pub mod format;
mod reply;
mod stream;
mod worker;

pub use build::{BuildCx, ConfigError, FilterConfig, HttpFilterEntry, Posture};
pub use conn::{AccessLogger, ConnInfo, Connection, DrainSignal, LocalFuture, Terminal, TerminalWorker};
pub use filter::{Apply, Hold, HttpFilter, Pending, Phases, StateSlot, Step};
pub use flags::{FLAGS, FlagName, ResponseFlags};
pub use reply::LocalReply;
pub use stream::{
    AttemptedHost, CloseType, Protocol, RouteId, RouteRef, RouteTableView, RouteView, StreamCx, StreamInfo, Timings,
    UpstreamFacts, WireBytes,
};
pub use worker::{Parts, Worker};
