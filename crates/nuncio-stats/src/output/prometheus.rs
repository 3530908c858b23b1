//! The Prometheus text form.
//!
//! Statistics whose names differ only in their tags are one family: a `# TYPE` line, then a sample per statistic.
//! Families are sorted by their name without tags, as it is with its dots; counters first, then gauges, text readouts
//! and histograms.

use super::histogram_text::{BucketMode, counts, quantiles, scale};
use super::number::Exact;
use crate::histogram::QUANTILES;
use crate::output_rules::OutputRules;
use crate::scope::HistogramView;
use crate::snapshot::{Metric, Snapshot, Value};
use crate::table::Unit;
use std::collections::BTreeMap;
use std::fmt::{Result, Write};

/// What to write beside counters, gauges and histograms.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrometheusOptions {
    /// Text readouts too, as gauges with the value 0 and a `text_value` label.
    pub text_readouts: bool,
    /// Histograms as summaries of the last interval instead of buckets.
    pub summaries: bool,
    /// A `# HELP` line where there is something to say. Envoy has none.
    pub help: bool,
}

/// The four parts of the output, in order.
const COUNTERS: usize = 0;
const GAUGES: usize = 1;
const TEXTS: usize = 2;
const HISTOGRAMS: usize = 3;

/// One sample: its labels, already written, and its statistic.
struct Sample<'a> {
    labels: String,
    metric: Metric<'a>,
}

/// Writes `snapshot` in the Prometheus form.
pub fn write_prometheus(
    out: &mut impl Write,
    snapshot: &Snapshot,
    rules: &OutputRules,
    options: PrometheusOptions,
) -> Result {
    let mut families: [BTreeMap<String, Vec<Sample<'_>>>; 4] = Default::default();
    let mut name = String::new();
    for metric in snapshot.iter() {
        let part = match metric.value() {
            Value::Counter(_) => COUNTERS,
            Value::Gauge(_) => GAUGES,
            Value::Text(_) if options.text_readouts => TEXTS,
            Value::Text(_) => continue,
            Value::Histogram(..) => HISTOGRAMS,
        };
        name.clear();
        write!(name, "{metric}")?;
        let tagged = rules.tags.extract(&name);
        let mut labels = String::new();
        for (tag, value) in &tagged.tags {
            push_label(&mut labels, tag, value);
        }
        families[part]
            .entry(tagged.name)
            .or_default()
            .push(Sample { labels, metric });
    }
    for family in families.iter().flatten() {
        write_family(out, family.0, family.1, rules, options)?;
    }
    Ok(())
}

fn write_family(
    out: &mut impl Write,
    name: &str,
    samples: &[Sample<'_>],
    rules: &OutputRules,
    options: PrometheusOptions,
) -> Result {
    let mut family = String::from("envoy_");
    push_sanitized(&mut family, name);
    let Some(first) = samples.first() else {
        return Ok(());
    };
    let help = first.metric.help();
    if options.help && !help.is_empty() {
        writeln!(
            out,
            "# HELP {family} {}",
            help.replace('\\', "\\\\").replace('\n', "\\n")
        )?;
    }
    let kind = match first.metric.value() {
        Value::Counter(_) => "counter",
        Value::Gauge(_) | Value::Text(_) => "gauge",
        Value::Histogram(..) if options.summaries => "summary",
        Value::Histogram(..) => "histogram",
    };
    writeln!(out, "# TYPE {family} {kind}")?;
    for Sample { labels, metric } in samples {
        match metric.value() {
            Value::Counter(value) | Value::Gauge(value) => {
                writeln!(out, "{family}{{{labels}}} {value}")?
            }
            Value::Text(text) => {
                let mut labels = labels.clone();
                push_label(&mut labels, "text_value", text);
                writeln!(out, "{family}{{{labels}}} 0")?;
            }
            Value::Histogram(view, unit) if options.summaries => {
                write_summary(out, &family, labels, view, unit)?
            }
            Value::Histogram(view, unit) => {
                let borders = rules.buckets(&metric.to_string());
                write_buckets(out, &family, labels, borders, view, unit)?;
            }
        }
    }
    Ok(())
}

fn write_buckets(
    out: &mut impl Write,
    family: &str,
    labels: &str,
    borders: &[f64],
    view: &HistogramView,
    unit: Unit,
) -> Result {
    let (comma, histogram) = (if labels.is_empty() { "" } else { "," }, &view.cumulative);
    for (border, count) in
        borders
            .iter()
            .zip(counts(histogram, borders, unit, BucketMode::Cumulative))
    {
        writeln!(
            out,
            "{family}_bucket{{{labels}{comma}le=\"{}\"}} {count}",
            Exact(*border)
        )?;
    }
    let count = histogram.count();
    writeln!(out, "{family}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}")?;
    writeln!(
        out,
        "{family}_sum{{{labels}}} {}",
        Exact(histogram.sum() / scale(unit))
    )?;
    writeln!(out, "{family}_count{{{labels}}} {count}")
}

fn write_summary(
    out: &mut impl Write,
    family: &str,
    labels: &str,
    view: &HistogramView,
    unit: Unit,
) -> Result {
    let (comma, histogram) = (if labels.is_empty() { "" } else { "," }, &view.interval);
    for (quantile, value) in QUANTILES.iter().zip(quantiles(histogram, unit)) {
        writeln!(
            out,
            "{family}{{{labels}{comma}quantile=\"{quantile}\"}} {}",
            Exact(value)
        )?;
    }
    writeln!(
        out,
        "{family}_sum{{{labels}}} {}",
        Exact(histogram.sum() / scale(unit))
    )?;
    writeln!(out, "{family}_count{{{labels}}} {}", histogram.count())
}

fn push_label(labels: &mut String, tag: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    push_sanitized(labels, tag);
    labels.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            _ => labels.push(c),
        }
    }
    labels.push('"');
}

/// Prometheus names have letters, digits and underscores: every other byte becomes an underscore.
fn push_sanitized(out: &mut String, name: &str) {
    out.extend(name.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte)
        } else {
            '_'
        }
    }));
}
