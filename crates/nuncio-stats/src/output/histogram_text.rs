//! A histogram as a line of text, in each of the ways of `histogram_buckets`.

use super::number::{Short, Shortest};
use crate::histogram::{Histogram, QUANTILES};
use crate::output_rules::OutputRules;
use crate::scope::HistogramView;
use crate::table::Unit;
use std::fmt::{Result, Write};

/// What is shown of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketMode {
    /// The parameter was not given: quantiles, and buckets in the Prometheus form.
    #[default]
    Unset,
    /// Quantiles.
    Summary,
    /// How many values lie at or below each border.
    Cumulative,
    /// How many values lie between a border and the one before it.
    Disjoint,
    /// Every bin, and quantiles.
    Detailed,
}

/// Writes `name: …` and a line end.
pub(super) fn write(
    out: &mut impl Write,
    name: &str,
    view: &HistogramView,
    unit: Unit,
    rules: &OutputRules,
    mode: BucketMode,
) -> Result {
    if view.cumulative.bins().is_empty() {
        return writeln!(out, "{name}: No recorded values");
    }
    match mode {
        BucketMode::Unset | BucketMode::Summary => {
            write!(out, "{name}: ")?;
            write_quantiles(out, view, unit)?;
        }
        BucketMode::Cumulative | BucketMode::Disjoint => {
            write!(out, "{name}:")?;
            let borders = rules.buckets(&name);
            let interval = counts(&view.interval, borders, unit, mode);
            for ((border, interval), cumulative) in
                borders
                    .iter()
                    .zip(interval)
                    .zip(counts(&view.cumulative, borders, unit, mode))
            {
                write!(out, " B{}({interval},{cumulative})", Short(*border))?;
            }
        }
        BucketMode::Detailed => {
            write!(out, "{name}:\n  totals=")?;
            write_bins(out, &view.cumulative, unit)?;
            out.write_str("\n  intervals=")?;
            write_bins(out, &view.interval, unit)?;
            out.write_str("\n  summary=")?;
            write_quantiles(out, view, unit)?;
        }
    }
    out.write_str("\n")
}

fn write_quantiles(out: &mut impl Write, view: &HistogramView, unit: Unit) -> Result {
    let (interval, cumulative) = (
        quantiles(&view.interval, unit),
        quantiles(&view.cumulative, unit),
    );
    for (i, quantile) in QUANTILES.iter().enumerate() {
        let space = if i == 0 { "" } else { " " };
        let (name, interval, cumulative) = (
            Shortest(100.0 * quantile),
            Shortest(interval[i]),
            Shortest(cumulative[i]),
        );
        write!(out, "{space}P{name}({interval},{cumulative})")?;
    }
    Ok(())
}

fn write_bins(out: &mut impl Write, histogram: &Histogram, unit: Unit) -> Result {
    for (i, (bin, n)) in histogram.bins().iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(
            out,
            "{comma}{},{}:{n}",
            Short(bin.left() / scale(unit)),
            Short(bin.width() * (1.0 / scale(unit)))
        )?;
    }
    Ok(())
}

/// What a recorded number stands for: a percent histogram holds millionths.
pub(super) fn scale(unit: Unit) -> f64 {
    if unit == Unit::Percent {
        1_000_000.0
    } else {
        1.0
    }
}

/// The printed quantiles, in the unit's scale.
pub(super) fn quantiles(histogram: &Histogram, unit: Unit) -> [f64; QUANTILES.len()] {
    histogram
        .quantiles(QUANTILES)
        .map(|value| value / scale(unit))
}

/// Counts for each border: up to it, or between it and the one before.
pub(super) fn counts<'a>(
    histogram: &'a Histogram,
    borders: &'a [f64],
    unit: Unit,
    mode: BucketMode,
) -> impl Iterator<Item = u64> + 'a {
    let mut before = 0;
    histogram
        .counts_up_to(borders.iter().map(move |border| border * scale(unit)))
        .map(move |count| {
            let shown = if mode == BucketMode::Disjoint {
                count - before
            } else {
                count
            };
            before = count;
            shown
        })
}
