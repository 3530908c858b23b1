//! The Prometheus text form.
//!
//! Statistics whose names differ only in their tags are one family: a `# TYPE` line, then a sample per statistic.
//! Families are sorted by their name without tags, as it is with its dots; counters first, then gauges, text readouts
//! and histograms.

use super::histogram_text::{BucketMode, counts, quantiles, scale};
use super::number::Exact;
use crate::endpoints::{EndpointMetric, EndpointStats};
use crate::histogram::QUANTILES;
use crate::output_rules::OutputRules;
use crate::scope::HistogramView;
use crate::snapshot::{Metric, Snapshot, Value};
use crate::table::Unit;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{Error, Result, Write};
use std::ops::Range;

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

/// Samples of one name without tags.
struct Family<'a> {
    part: usize,
    name: String,
    samples: Vec<Sample<'a>>,
}

/// One sample: where its labels are in the text of all labels, and its statistic.
struct Sample<'a> {
    labels: Range<usize>,
    metric: Metric<'a>,
}

/// Writes `snapshot` in the Prometheus form.
pub fn write_prometheus(
    out: &mut impl Write,
    snapshot: &Snapshot,
    rules: &OutputRules,
    options: PrometheusOptions,
) -> Result {
    let mut labels = String::new();
    let families = families(snapshot, rules, options, &mut labels)?;
    families
        .iter()
        .try_for_each(|family| write_family(out, family, &labels, rules, options))?;
    snapshot
        .endpoints()
        .families()
        .iter()
        .try_for_each(|family| write_endpoints(out, family, rules))
}

/// One statistic of every host.
fn write_endpoints(
    out: &mut impl Write,
    family: &[EndpointMetric<'_>],
    rules: &OutputRules,
) -> Result {
    let Some(first) = family.first() else {
        return Ok(());
    };
    let name = format!("envoy_cluster_endpoint_{}", first.name);
    let kind = if first.is_gauge { "gauge" } else { "counter" };
    writeln!(out, "# TYPE {name} {kind}")?;
    for metric in family {
        let mut labels = String::new();
        rules
            .tags
            .fixed()
            .for_each(|(tag, value)| push_label(&mut labels, 0, tag, value));
        let EndpointStats {
            cluster,
            address,
            hostname,
            ..
        } = metric.of;
        push_label(&mut labels, 0, "envoy.cluster_name", cluster);
        push_label(&mut labels, 0, "envoy.endpoint_address", address);
        if !hostname.is_empty() {
            push_label(&mut labels, 0, "envoy.endpoint_hostname", hostname);
        }
        writeln!(out, "{name}{{{labels}}} {}", metric.value)?;
    }
    Ok(())
}

/// The families in order; their labels go to `labels`.
fn families<'a>(
    snapshot: &'a Snapshot,
    rules: &OutputRules,
    options: PrometheusOptions,
    labels: &mut String,
) -> std::result::Result<Vec<Family<'a>>, Error> {
    let (mut families, mut places) = (
        Vec::<Family<'a>>::new(),
        HashMap::<(usize, String), usize>::new(),
    );
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
        let begin = labels.len();
        tagged
            .tags
            .iter()
            .for_each(|(tag, value)| push_label(labels, begin, tag, value));
        let sample = Sample {
            labels: begin..labels.len(),
            metric,
        };
        match places.entry((part, tagged.name)) {
            Entry::Occupied(place) => families[*place.get()].samples.push(sample),
            Entry::Vacant(place) => {
                let (part, name) = place.key().clone();
                place.insert(families.len());
                families.push(Family {
                    part,
                    name,
                    samples: vec![sample],
                });
            }
        }
    }
    families.sort_unstable_by(|a, b| (a.part, &a.name).cmp(&(b.part, &b.name)));
    Ok(families)
}

fn write_family(
    out: &mut impl Write,
    family: &Family<'_>,
    all_labels: &str,
    rules: &OutputRules,
    options: PrometheusOptions,
) -> Result {
    let Family { name, samples, .. } = family;
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
        let labels = all_labels.get(labels.clone()).unwrap_or("");
        match metric.value() {
            Value::Counter(value) | Value::Gauge(value) => {
                writeln!(out, "{family}{{{labels}}} {value}")?
            }
            Value::Text(text) => {
                let mut labels = labels.to_owned();
                push_label(&mut labels, 0, "text_value", text);
                writeln!(out, "{family}{{{labels}}} 0")?;
            }
            Value::Histogram(view, unit) if options.summaries => {
                write_summary(out, &family, labels, view, unit)?
            }
            Value::Histogram(view, unit) => {
                let borders = rules.buckets(metric);
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

/// Appends a label to those that begin at `begin`.
fn push_label(labels: &mut String, begin: usize, tag: &str, value: &str) {
    if labels.len() > begin {
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
