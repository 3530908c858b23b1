//! Histograms with circllhist bins: two significant decimal digits and an exponent, as Envoy's.
//!
//! `bin` maps a value to its bin, `lane` records in one thread, `merged` is what the main thread adds up and reads
//! quantiles, sums and buckets from.

mod bin;
mod lane;
mod merged;

pub use bin::Bin;
pub(crate) use lane::LaneHistogram;
pub use merged::{Histogram, QUANTILES};
