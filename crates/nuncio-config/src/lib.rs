//! From a decoded configuration to everything that runs, and the judgement of a configuration as Envoy makes it.
//!
//! * [`CompileCx`]: what compiling knows and finds; [`Finding`], [`codes`].
//! * [`unbuilt!`], [`unsafe_unbuilt!`]: fields that are understood and not built yet.
//!
//! Building has no side effects: files that a configuration names are read, nothing is opened, bound or started.

pub mod access_log;
pub mod address;
pub mod clusters;
pub mod codes;
mod context;
mod finding;
pub mod hcm;
pub mod judge;
mod nearest;
mod path;
mod routes;
pub mod runtime;
mod unbuilt;

pub use context::{CompileCx, Declared, Identity, Mode, Purpose};
pub use finding::{Finding, Severity};
pub use nearest::nearest;
pub use path::{Path, Step};
pub use unbuilt::{IsSet, field_name};
