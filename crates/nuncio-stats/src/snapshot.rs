//! All statistics at one moment, in order of name: what the writers and the stats sinks read.
//!
//! Taking one reads every cell once. It holds the scopes it came from, so names cost nothing until they are written.

use crate::endpoints::{EndpointStats, Endpoints};
use crate::codes::CodeCounts;
use crate::scope::{HistogramView, Scope};
use crate::store::Store;
use crate::table::{CodesId, CounterId, Def, GaugeId, HistogramId, Kind, TextId, Unit};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// What to leave out of a snapshot.
#[derive(Default)]
pub struct Select<'a> {
    /// Only statistics that were ever written (`usedonly`).
    pub used_only: bool,
    /// Only statistics of this type.
    pub only: Option<StatType>,
    /// Only these names.
    pub names: Option<&'a dyn Fn(&str) -> bool>,
}

/// The types that `/stats?type=` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatType {
    /// Counters, and the members of code families.
    Counters,
    /// Gauges.
    Gauges,
    /// Histograms.
    Histograms,
    /// Text readouts.
    TextReadouts,
}

impl StatType {
    fn of(kind: Kind) -> StatType {
        match kind {
            Kind::Counter | Kind::Codes | Kind::Group => StatType::Counters,
            Kind::Gauge(_) => StatType::Gauges,
            Kind::Histogram(_) => StatType::Histograms,
            Kind::Text => StatType::TextReadouts,
        }
    }
}

/// All statistics at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    scopes: Vec<Arc<Scope>>,
    entries: Vec<Entry>,
    histograms: Vec<Arc<HistogramView>>,
    texts: Vec<String>,
    endpoints: Endpoints,
}

/// One statistic: where its name is, and its value (of histograms and texts the place in the snapshot's list).
#[derive(Clone, Copy, Debug)]
struct Entry {
    scope: u32,
    def: u16,
    suffix: Suffix,
    value: u64,
}

/// What follows a definition's name: only the members of a code family have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suffix {
    None,
    Completed,
    Class(u16),
    Status(u16),
}

impl Suffix {
    /// The suffix as text, in a buffer that is long enough for each.
    fn text(self, buffer: &mut [u8; 3]) -> &str {
        let digit = |n: u16| b'0' + (n % 10) as u8;
        *buffer = match self {
            Suffix::None => return "",
            Suffix::Completed => return "completed",
            Suffix::Class(class) => [digit(class), b'x', b'x'],
            Suffix::Status(status) => [digit(status / 100), digit(status / 10), digit(status)],
        };
        std::str::from_utf8(buffer).unwrap_or("")
    }
}

/// A statistic's value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Counted since the start or the last reset.
    Counter(u64),
    /// As it is now.
    Gauge(u64),
    /// As of the last flush.
    Histogram(&'a HistogramView, Unit),
    /// A string.
    Text(&'a str),
}

/// One statistic of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    snapshot: &'a Snapshot,
    entry: Entry,
}

impl<'a> Metric<'a> {
    fn scope(&self) -> &'a Scope {
        &self.snapshot.scopes[self.entry.scope as usize]
    }

    fn def(&self) -> &'static Def {
        &self.scope().table().defs[usize::from(self.entry.def)]
    }

    /// One sentence for people, or nothing. (The full name is written by `Display`.)
    pub fn help(&self) -> &'static str {
        self.def().help.trim()
    }

    /// The value.
    pub fn value(&self) -> Value<'a> {
        let value = self.entry.value;
        match self.def().kind {
            Kind::Counter | Kind::Codes | Kind::Group => Value::Counter(value),
            Kind::Gauge(_) => Value::Gauge(value),
            Kind::Histogram(unit) => {
                Value::Histogram(&self.snapshot.histograms[value as usize], unit)
            }
            Kind::Text => Value::Text(&self.snapshot.texts[value as usize]),
        }
    }

    fn compare(&self, other: &Metric<'_>) -> Ordering {
        let ((mut a, mut b), (x, y)) = (([0; 3], [0; 3]), (self.def(), other.def()));
        let (a, b) = (
            self.entry.suffix.text(&mut a),
            other.entry.suffix.text(&mut b),
        );
        if std::ptr::eq(self.scope(), other.scope()) {
            return compare_joined(["", x.name, a], ["", y.name, b]);
        }
        compare_joined(
            [self.scope().prefix(), x.name, a],
            [other.scope().prefix(), y.name, b],
        )
    }
}

impl fmt::Display for Metric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scope().prefix())?;
        f.write_str(self.def().name)?;
        f.write_str(self.entry.suffix.text(&mut [0; 3]))
    }
}

/// Compares two names given in parts.
fn compare_joined(a: [&str; 3], b: [&str; 3]) -> Ordering {
    if a[0] == b[0] && a[2].is_empty() && b[2].is_empty() {
        return a[1].cmp(b[1]);
    }
    a.iter()
        .flat_map(|part| part.bytes())
        .cmp(b.iter().flat_map(|part| part.bytes()))
}

impl Snapshot {
    /// Reads all statistics of `store`.
    pub fn take(store: &Store, select: &Select<'_>) -> Snapshot {
        let mut snapshot = Snapshot {
            scopes: store.scopes(),
            ..Snapshot::default()
        };
        let mut run = 0;
        for at in 0..snapshot.scopes.len() {
            // Scopes come in order of prefix. Their names interleave only where one prefix begins another.
            let head = snapshot.scopes[run].prefix();
            if at > run && !snapshot.scopes[at].prefix().starts_with(head) {
                snapshot.sort_from(run);
                run = at;
            }
            snapshot.read(at, select);
        }
        snapshot.sort_from(run);
        if let Some(wanted) = select.names {
            snapshot.retain(wanted);
        }
        snapshot
    }

    /// The statistics, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = Metric<'_>> {
        self.entries.iter().map(|entry| Metric {
            snapshot: self,
            entry: *entry,
        })
    }

    /// The counters, in order of name, each with how much it grew since `earlier`: what a sink sends at a
    /// flush. A counter that is smaller than it was has been reset, and grew from 0.
    pub fn counters_since<'a>(
        &'a self,
        earlier: &'a Snapshot,
    ) -> impl Iterator<Item = (Metric<'a>, u64)> {
        let mut before = earlier.iter().peekable();
        self.iter().filter_map(move |metric| {
            let Value::Counter(now) = metric.value() else {
                return None;
            };
            while before
                .next_if(|old| old.compare(&metric) == Ordering::Less)
                .is_some()
            {}
            let old = before.next_if(|old| old.compare(&metric) == Ordering::Equal);
            let old = old.map_or(0, |old| match old.value() {
                Value::Counter(value) => value,
                _ => 0,
            });
            Some((metric, now.checked_sub(old).unwrap_or(now)))
        })
    }

    /// Adds the statistics of hosts; names are chosen by `select` alone.
    pub fn add_endpoints(&mut self, hosts: Vec<EndpointStats>, select: &Select<'_>) {
        self.endpoints = Endpoints::new(hosts, select);
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// How many statistics there are, without those of hosts.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// There is none, but for those of hosts.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the statistics of one scope.
    fn read(&mut self, at: usize, select: &Select<'_>) {
        let scope = Arc::clone(&self.scopes[at]);
        for (index, def) in (0u16..).zip(scope.table().defs) {
            if select
                .only
                .is_some_and(|only| only != StatType::of(def.kind))
            {
                continue;
            }
            let used = scope.used(index);
            // Histograms come to count as used with a flush, as on Envoy.
            let unflushed = select.used_only && matches!(def.kind, Kind::Histogram(_)) && !scope.is_flushed(index);
            if !scope.shown(index) || (select.used_only && !used) || unflushed {
                continue;
            }
            let mut push = |suffix, value| {
                self.entries.push(Entry {
                    scope: at as u32,
                    def: index,
                    suffix,
                    value,
                })
            };
            match def.kind {
                Kind::Counter => push(Suffix::None, scope.counter(CounterId(index))),
                Kind::Gauge(_) => push(Suffix::None, scope.gauge(GaugeId(index))),
                Kind::Codes => push_codes(&scope.codes(CodesId(index)), push),
                Kind::Histogram(_) => {
                    push(Suffix::None, self.histograms.len() as u64);
                    self.histograms
                        .push(scope.histogram(HistogramId(index)).unwrap_or_default());
                }
                Kind::Text => {
                    push(Suffix::None, self.texts.len() as u64);
                    self.texts.push(scope.text(TextId(index)));
                }
                Kind::Group => {}
            }
        }
    }

    /// Puts the entries of the scopes from `run` on in order.
    fn sort_from(&mut self, run: usize) {
        let first = self
            .entries
            .partition_point(|entry| (entry.scope as usize) < run);
        let mut sorted = self.entries.split_off(first);
        sorted.sort_by(|a, b| {
            Metric {
                snapshot: self,
                entry: *a,
            }
            .compare(&Metric {
                snapshot: self,
                entry: *b,
            })
        });
        self.entries.append(&mut sorted);
    }

    fn retain(&mut self, wanted: &dyn Fn(&str) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        let mut name = String::new();
        entries.retain(|entry| {
            name.clear();
            let _ = fmt::Write::write_fmt(
                &mut name,
                format_args!(
                    "{}",
                    Metric {
                        snapshot: self,
                        entry: *entry
                    }
                ),
            );
            wanted(&name)
        });
        self.entries = entries;
    }
}

/// The members of a code family: what was seen, and always `completed`.
fn push_codes(codes: &CodeCounts, mut push: impl FnMut(Suffix, u64)) {
    codes
        .statuses()
        .for_each(|(status, n)| push(Suffix::Status(status), n));
    codes
        .classes()
        .for_each(|(class, n)| push(Suffix::Class(class), n));
    push(Suffix::Completed, codes.completed());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Lane;
    use crate::stats_table;

    stats_table! {
        THING: "thing" {
            counter Z = "z",
            counter A = "a.b",
            gauge G = "g",
            codes RQ = "rq_",
            codes LAZY = "external.rq_" [lazy],
            histogram H(ms) = "h",
        }
    }

    fn names(snapshot: &Snapshot) -> Vec<String> {
        snapshot.iter().map(|metric| metric.to_string()).collect()
    }

    #[test]
    fn names_are_sorted_over_all_scopes_also_where_prefixes_nest() {
        let store = Store::new(2);
        let scopes: Vec<_> = ["c.b.", "c.a.", "c.a.h.", "c.a-", "c.a.b.", "d."]
            .iter()
            .map(|p| store.scope(p, &THING))
            .collect();
        scopes[0].code(Lane(1), RQ, 204);
        scopes[0].code(Lane(1), LAZY, 404);
        let snapshot = Snapshot::take(&store, &Select::default());
        let names = names(&snapshot);
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
        for name in [
            "c.b.rq_204",
            "c.b.rq_2xx",
            "c.b.rq_completed",
            "c.b.external.rq_404",
            "c.a.rq_completed",
        ] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        assert!(!names.iter().any(|n| n == "c.a.external.rq_completed"));
    }

    #[test]
    fn used_only_leaves_out_what_was_never_written() {
        let store = Store::new(2);
        let scope = store.scope("x.", &THING);
        scope.inc(Lane(1), Z);
        scope.gauge_add(Lane(1), G, 1);
        scope.gauge_add(Lane(0), G, -1);
        scope.record(Lane(1), H, 5);
        store.flush();
        let used = Select {
            used_only: true,
            ..Select::default()
        };
        assert_eq!(names(&Snapshot::take(&store, &used)), ["x.g", "x.h", "x.z"]);
        store.reset_counters();
        assert_eq!(names(&Snapshot::take(&store, &used)), ["x.g", "x.h", "x.z"]);
    }

    #[test]
    fn a_sink_is_told_what_counters_grew_by() {
        let store = Store::new(2);
        let (a, b) = (store.scope("a.", &THING), store.scope("b.", &THING));
        a.add(Lane(0), Z, 5);
        b.code(Lane(1), RQ, 200);
        let first = Snapshot::take(&store, &Select::default());
        let c = store.scope("a.b.", &THING);
        a.add(Lane(1), Z, 2);
        c.inc(Lane(1), Z);
        b.code(Lane(1), RQ, 200);
        b.code(Lane(1), RQ, 503);
        let second = Snapshot::take(&store, &Select::default());
        let grown = |now: &Snapshot, before: &Snapshot| -> Vec<_> {
            let counters = now.counters_since(before).filter(|(_, n)| *n > 0);
            counters
                .map(|(metric, n)| format!("{metric} {n}"))
                .collect()
        };
        let expected = [
            "a.b.z 1",
            "a.z 2",
            "b.rq_200 1",
            "b.rq_2xx 1",
            "b.rq_503 1",
            "b.rq_5xx 1",
            "b.rq_completed 2",
        ];
        assert_eq!(grown(&second, &first), expected);
        store.reset_counters();
        a.inc(Lane(0), Z);
        let third = Snapshot::take(&store, &Select::default());
        assert_eq!(grown(&third, &second), ["a.z 1"]);
    }

    #[test]
    fn a_dropped_scope_disappears() {
        let store = Store::new(1);
        let scope = store.scope("x.", &THING);
        assert_eq!(names(&Snapshot::take(&store, &Select::default())).len(), 5);
        drop(scope);
        assert!(Snapshot::take(&store, &Select::default()).is_empty());
    }
}
