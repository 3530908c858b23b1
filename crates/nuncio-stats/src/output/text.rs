//! `name: value`, a line each: text readouts, then counters and gauges, then histograms.

use super::histogram_text::{self, BucketMode};
use crate::output_rules::OutputRules;
use crate::snapshot::{Snapshot, Value};
use std::fmt::{Result, Write};

/// Writes `snapshot` as text.
pub fn write_text(
    out: &mut impl Write,
    snapshot: &Snapshot,
    rules: &OutputRules,
    mode: BucketMode,
) -> Result {
    for metric in snapshot.iter() {
        if let Value::Text(text) = metric.value() {
            writeln!(out, "{metric}: \"{text}\"")?;
        }
    }
    for metric in snapshot.iter() {
        if let Value::Counter(value) | Value::Gauge(value) = metric.value() {
            writeln!(out, "{metric}: {value}")?;
        }
    }
    for metric in snapshot.endpoints().iter() {
        writeln!(out, "{metric}: {}", metric.value)?;
    }
    let mut name = String::new();
    for metric in snapshot.iter() {
        if let Value::Histogram(view, unit) = metric.value() {
            name.clear();
            write!(name, "{metric}")?;
            histogram_text::write(out, &name, view, unit, rules, mode)?;
        }
    }
    Ok(())
}
