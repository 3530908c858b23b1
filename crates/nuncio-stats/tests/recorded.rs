//! Every form of output against what Envoy 1.40 printed.
//!
//! `recorded/` holds the answers of one Envoy to `/stats` in all its forms, taken within one flush interval. The test
//! builds a store with the same statistics and wants the same bytes.

#![allow(clippy::unwrap_used)]

use nuncio_stats::output::{
    BucketMode, PrometheusOptions, write_json, write_prometheus, write_text,
};
use nuncio_stats::{
    Def, HistogramId, Kind, Lane, OutputRules, Scope, Select, Shown, Snapshot, Store, Table,
    TextId, Unit,
};
use std::collections::HashSet;
use std::sync::Arc;

const TEXT: &str = include_str!("recorded/text.txt");

/// A table with one statistic, whose whole name is the scope's prefix.
fn table(kind: Kind) -> &'static Table {
    let defs: &'static [Def] = Box::leak(Box::new([Def {
        name: "",
        kind,
        shown: Shown::Always,
        help: "",
    }]));
    Box::leak(Box::new(Table::new("one", defs, &[0])))
}

/// A store with everything in the recorded text, and the scopes that keep it alive.
struct Recorded {
    store: Arc<Store>,
    scopes: Vec<Arc<Scope>>,
}

fn recorded() -> Recorded {
    let (counter, gauge) = (
        table(Kind::Counter),
        table(Kind::Gauge(nuncio_stats::GaugeMode::Sum)),
    );
    let (histogram, text) = (table(Kind::Histogram(Unit::Count)), table(Kind::Text));
    let gauges: HashSet<_> = include_str!("recorded/gauges.txt").lines().collect();
    let store = Store::new(3);
    let mut scopes = Vec::new();
    for line in TEXT.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        let scope = if let Some(value) = value.strip_prefix('"') {
            let scope = store.scope(name, text);
            scope.text_set(TextId(0), value.trim_end_matches('"'));
            scope
        } else if value.starts_with('P') || value.starts_with("No ") {
            store.scope(name, histogram)
        } else if gauges.contains(name) {
            let scope = store.scope(name, gauge);
            scope.gauge_set(nuncio_stats::GaugeId(0), value.parse().unwrap());
            scope
        } else {
            let scope = store.scope(name, counter);
            scope.add(
                Lane::worker(0),
                nuncio_stats::CounterId(0),
                value.parse().unwrap(),
            );
            scope
        };
        scopes.push(scope);
    }
    let recorded = Recorded { store, scopes };
    let bins: Vec<_> = include_str!("recorded/detailed.txt").lines().collect();
    for entry in bins
        .windows(3)
        .filter(|entry| entry[1].starts_with("  totals="))
    {
        let (totals, intervals) = (parse_bins(entry[1]), parse_bins(entry[2]));
        let earlier = totals.iter().map(|(value, n)| {
            let later = intervals
                .iter()
                .find(|bin| bin.0 == *value)
                .map_or(0, |bin| bin.1);
            (*value, n - later)
        });
        recorded.record(entry[0].trim_end_matches(':'), earlier);
    }
    recorded.store.flush();
    for entry in bins
        .windows(3)
        .filter(|entry| entry[1].starts_with("  totals="))
    {
        recorded.record(entry[0].trim_end_matches(':'), parse_bins(entry[2]));
    }
    recorded.store.flush();
    recorded
}

/// `  totals=0,0:2, 1,0.1:5` as values and counts.
fn parse_bins(line: &str) -> Vec<(u64, u64)> {
    let (_, bins) = line.split_once('=').unwrap();
    let bins = bins.split(", ").filter(|bin| !bin.is_empty());
    bins.map(|bin| {
        let (border, n) = (
            bin.split(',').next().unwrap(),
            bin.rsplit(':').next().unwrap(),
        );
        (border.parse::<f64>().unwrap() as u64, n.parse().unwrap())
    })
    .collect()
}

impl Recorded {
    fn record(&self, name: &str, bins: impl IntoIterator<Item = (u64, u64)>) {
        let scope = self
            .scopes
            .iter()
            .find(|scope| scope.prefix() == name)
            .unwrap();
        for (value, n) in bins {
            (0..n).for_each(|i| scope.record(Lane::worker((i % 2) as u16), HistogramId(0), value));
        }
    }

    fn snapshot(&self, prefix: &str) -> Snapshot {
        Snapshot::take(
            &self.store,
            &Select {
                names: Some(&|name| name.starts_with(prefix)),
                ..Select::default()
            },
        )
    }
}

/// Compares line by line, so that a failure shows the line.
fn assert_same(found: &str, expected: &str) {
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

/// The statistics whose histograms are interesting.
const SOME: &str = "cluster.b2.upstream_r";

#[test]
fn text() {
    let (recorded, rules) = (recorded(), OutputRules::default());
    for (prefix, mode, expected) in [
        ("", BucketMode::Unset, TEXT),
        (
            SOME,
            BucketMode::Cumulative,
            include_str!("recorded/cumulative.txt"),
        ),
        (
            SOME,
            BucketMode::Disjoint,
            include_str!("recorded/disjoint.txt"),
        ),
    ] {
        let mut out = String::new();
        write_text(&mut out, &recorded.snapshot(prefix), &rules, mode).unwrap();
        assert_same(&out, expected);
    }
    let mut out = String::new();
    write_text(
        &mut out,
        &recorded.snapshot(""),
        &rules,
        BucketMode::Detailed,
    )
    .unwrap();
    assert!(out.ends_with(include_str!("recorded/detailed.txt")));
}

#[test]
fn json() {
    let (recorded, rules) = (recorded(), OutputRules::default());
    for (mode, expected) in [
        (BucketMode::Unset, include_str!("recorded/summary.json")),
        (BucketMode::Disjoint, include_str!("recorded/disjoint.json")),
        (BucketMode::Detailed, include_str!("recorded/detailed.json")),
    ] {
        let mut out = String::new();
        write_json(&mut out, &recorded.snapshot(SOME), &rules, mode).unwrap();
        assert_same(&out.replace('{', "\n{"), &expected.replace('{', "\n{"));
    }
}

#[test]
fn prometheus() {
    let (recorded, rules) = (recorded(), OutputRules::default());
    let mut out = String::new();
    let options = PrometheusOptions {
        text_readouts: true,
        ..PrometheusOptions::default()
    };
    write_prometheus(&mut out, &recorded.snapshot(""), &rules, options).unwrap();
    assert_same(&out, include_str!("recorded/prometheus.txt"));

    out.clear();
    let options = PrometheusOptions {
        summaries: true,
        ..PrometheusOptions::default()
    };
    write_prometheus(&mut out, &recorded.snapshot(SOME), &rules, options).unwrap();
    assert_same(&out, include_str!("recorded/prometheus_summary.txt"));
}

#[test]
fn tags_of_every_kind() {
    let (store, counter) = (Store::new(1), table(Kind::Counter));
    let names = include_str!("recorded/tags.txt").lines();
    let _scopes: Vec<_> = names
        .map(|line| store.scope(line.split_once(": ").unwrap().0, counter))
        .collect();
    let mut out = String::new();
    let snapshot = Snapshot::take(&store, &Select::default());
    write_prometheus(
        &mut out,
        &snapshot,
        &OutputRules::default(),
        PrometheusOptions::default(),
    )
    .unwrap();
    assert_same(&out, include_str!("recorded/tags_prometheus.txt"));
}
