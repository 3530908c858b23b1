//! From a decoded configuration to everything that runs, and the judgement of a configuration as Envoy makes it.
//!
//! * [`load`], [`check`], [`load_routes`]: texts in, [`Report`] and [`Snapshot`] out; [`diff`]: what a reload changes.
//! * [`bootstrap`], [`clusters`], [`listeners`], [`hcm`], [`routes`], [`access_log`], [`runtime`]: a part of the API each.
//! * [`judge`]: what Envoy refuses, wherever it stands in the API.
//! * [`CompileCx`]: what compiling knows and finds; [`Finding`], [`codes`].
//! * [`unbuilt!`], [`unsafe_unbuilt!`]: fields that are understood and not built yet.
//!
//! Building has no side effects: files that a configuration names are read, nothing is opened, bound or started.

pub mod access_log;
pub mod address;
pub mod bootstrap;
mod check;
pub mod clusters;
pub mod codes;
mod context;
mod finding;
pub mod hcm;
mod http2;
pub mod judge;
pub mod listeners;
mod lint;
mod nearest;
mod path;
mod report;
pub mod routes;
pub mod runtime;
mod snapshot;
mod socket_options;
mod tls;
mod tracing;
mod unbuilt;

pub use clusters::EdsFiles;
pub use check::{Input, Loaded, Options, RoutesLoaded, check, load, load_routes};
pub use context::{CompileCx, Declared, Identity, Mode, Purpose, StaticSecret};
pub use finding::{Finding, Severity};
pub use nearest::nearest;
pub use path::{Path, Step};
pub use report::{FileReport, Report};
pub use snapshot::{Changes, Encoded, Snapshot, StaticCluster, StaticListener, diff};
pub use unbuilt::{IsSet, field_name};
