//! Statistics with Envoy's names: counters, gauges, histograms, text readouts.
//!
//! A [`Table`] says what there is to count about a thing (a cluster, a listener); a [`Scope`] is that table for one
//! thing, under a prefix; the [`Store`] knows all scopes. Each thread writes its own [`Lane`] of a scope: counting is an
//! add, without a lock or an atomic read-modify-write. The main thread adds lanes up when somebody asks.
//!
//! Left to others: when to flush, what the values are, and HTTP (`nuncio-admin`).

mod cells;
mod codes;
mod endpoints;
mod histogram;
mod lane;
pub mod output;
mod output_rules;
mod scope;
mod snapshot;
mod sparse;
mod store;
mod table;
pub mod tables;
pub mod tags;

pub use codes::CodeCounts;
pub use endpoints::EndpointStats;
pub use histogram::{Bin, Histogram, QUANTILES};
pub use lane::Lane;
pub use output_rules::{DEFAULT_BUCKETS, NameMatch, OutputRules};
pub use scope::{HistogramView, Scope};
pub use snapshot::{Metric, Select, Snapshot, StatType, Value};
pub use store::Store;
pub use table::{
    CodesId, CounterId, Def, GaugeId, GaugeMode, GroupId, HistogramId, Kind, Shown, Table, TextId,
    Unit,
};
