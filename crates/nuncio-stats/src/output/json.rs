//! `{"stats":[…]}`: an object per text, counter and gauge, then one for all histograms.

use super::histogram_text::{BucketMode, counts, quantiles, scale};
use super::number::Compact;
use crate::histogram::{Histogram, QUANTILES};
use crate::output_rules::OutputRules;
use crate::scope::HistogramView;
use crate::snapshot::{Metric, Snapshot, Value};
use crate::table::Unit;
use std::fmt::{Display, Formatter, Result, Write};

/// Writes `snapshot` as JSON.
pub fn write_json(
    out: &mut impl Write,
    snapshot: &Snapshot,
    rules: &OutputRules,
    mode: BucketMode,
) -> Result {
    out.write_str("{\"stats\":[")?;
    let mut comma = "";
    for metric in snapshot.iter() {
        if let Value::Text(text) = metric.value() {
            write!(
                out,
                "{comma}{{\"name\":{},\"value\":{}}}",
                Quoted(&metric),
                Quoted(&text)
            )?;
            comma = ",";
        }
    }
    for metric in snapshot.iter() {
        if let Value::Counter(value) | Value::Gauge(value) = metric.value() {
            write!(
                out,
                "{comma}{{\"name\":{},\"value\":{value}}}",
                Quoted(&metric)
            )?;
            comma = ",";
        }
    }
    for metric in snapshot.endpoints().iter() {
        write!(
            out,
            "{comma}{{\"name\":{},\"value\":{}}}",
            Quoted(&metric),
            metric.value
        )?;
        comma = ",";
    }
    let mut histograms = snapshot.iter().filter_map(|metric| match metric.value() {
        Value::Histogram(view, unit) => Some((metric, view, unit)),
        _ => None,
    });
    if let Some(first) = histograms.next() {
        write!(out, "{comma}{{\"histograms\":")?;
        write_histograms(out, std::iter::once(first).chain(histograms), rules, mode)?;
        out.write_str("}")?;
    }
    out.write_str("]}")
}

fn write_histograms<'a>(
    out: &mut impl Write,
    histograms: impl Iterator<Item = (Metric<'a>, &'a HistogramView, Unit)>,
    rules: &OutputRules,
    mode: BucketMode,
) -> Result {
    let percents = QUANTILES.map(|quantile| 100.0 * quantile);
    let (mut comma, end) = match mode {
        BucketMode::Unset | BucketMode::Summary => {
            write_list(out, "{\"supported_quantiles\":[", percents.map(Number))?;
            (",\"computed_quantiles\":[", "]}")
        }
        BucketMode::Detailed => {
            write_list(out, "{\"supported_percentiles\":[", percents.map(Number))?;
            (",\"details\":[", "]}")
        }
        BucketMode::Cumulative | BucketMode::Disjoint => ("[", "]"),
    };
    let mut name = String::new();
    for (metric, view, unit) in histograms {
        name.clear();
        write!(name, "{metric}")?;
        write!(out, "{comma}{{\"name\":{}", Quoted(&name))?;
        comma = ",";
        match mode {
            BucketMode::Unset | BucketMode::Summary => write_quantiles(out, "values", view, unit)?,
            BucketMode::Cumulative | BucketMode::Disjoint => {
                let borders = rules.buckets(&name);
                write_buckets(out, borders, view, unit, mode)?;
            }
            BucketMode::Detailed => {
                write_bins(out, "totals", &view.cumulative, unit)?;
                write_bins(out, "intervals", &view.interval, unit)?;
                write_quantiles(out, "percentiles", view, unit)?;
            }
        }
        out.write_str("}")?;
    }
    out.write_str(end)
}

/// `head`, the items with commas between, and `]`.
fn write_list(
    out: &mut impl Write,
    head: &str,
    items: impl IntoIterator<Item = impl Display>,
) -> Result {
    out.write_str(head)?;
    for (i, item) in items.into_iter().enumerate() {
        write!(out, "{}{item}", if i == 0 { "" } else { "," })?;
    }
    out.write_str("]")
}

fn write_quantiles(out: &mut impl Write, key: &str, view: &HistogramView, unit: Unit) -> Result {
    let values = quantiles(&view.cumulative, unit)
        .into_iter()
        .zip(quantiles(&view.interval, unit));
    let values = values.map(|(cumulative, interval)| {
        format!(
            "{{\"cumulative\":{},\"interval\":{}}}",
            Number(cumulative),
            Number(interval)
        )
    });
    write_list(out, &format!(",\"{key}\":["), values)
}

fn write_buckets(
    out: &mut impl Write,
    borders: &[f64],
    view: &HistogramView,
    unit: Unit,
    mode: BucketMode,
) -> Result {
    let counts = counts(&view.interval, borders, unit, mode).zip(counts(
        &view.cumulative,
        borders,
        unit,
        mode,
    ));
    let buckets = borders
        .iter()
        .zip(counts)
        .map(|(border, (interval, cumulative))| {
            format!(
                "{{\"upper_bound\":{},\"interval\":{interval},\"cumulative\":{cumulative}}}",
                Number(*border)
            )
        });
    write_list(out, ",\"buckets\":[", buckets)
}

fn write_bins(out: &mut impl Write, key: &str, histogram: &Histogram, unit: Unit) -> Result {
    let bins = histogram.bins().iter().map(|(bin, n)| {
        let (left, width) = (
            Number(bin.left() / scale(unit)),
            Number(bin.width() * (1.0 / scale(unit))),
        );
        format!("{{\"lower_bound\":{left},\"width\":{width},\"count\":{n}}}")
    });
    write_list(out, &format!(",\"{key}\":["), bins)
}

/// A JSON number; `null` for NaN.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.0.is_finite() {
            Compact(self.0).fmt(f)
        } else {
            f.write_str("null")
        }
    }
}

/// A JSON string of what is displayed.
struct Quoted<'a, T: Display>(&'a T);

impl<T: Display> Display for Quoted<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("\"")?;
        write!(Escape(f), "{}", self.0)?;
        f.write_str("\"")
    }
}

/// Escapes as Envoy's JSON writer does.
struct Escape<'a, 'b>(&'a mut Formatter<'b>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> Result {
        let mut plain = 0;
        for (i, byte) in text.bytes().enumerate() {
            let escaped = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                8 => "\\b",
                12 => "\\f",
                0..0x20 | 0x7f => "",
                _ => continue,
            };
            self.0.write_str(&text[plain..i])?;
            plain = i + 1;
            if escaped.is_empty() {
                write!(self.0, "\\u{byte:04x}")?
            } else {
                self.0.write_str(escaped)?
            }
        }
        self.0.write_str(&text[plain..])
    }
}
