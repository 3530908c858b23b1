//! What statistics a scope has: a static list of definitions, made by [`stats_table!`](crate::stats_table).
//!
//! A table costs no memory per scope but the cells: names, kinds and help live in the binary. An id is the place of a
//! definition in its own table; it is typed by kind, and means nothing to a scope of another table.

/// What a statistic measures and how its lanes are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; lanes are added.
    Counter,
    /// Goes up and down.
    Gauge(GaugeMode),
    /// A distribution of unsigned integers.
    Histogram(Unit),
    /// A string, set by the main thread.
    Text,
    /// A family of counters per response status: `<name>200`, `<name>2xx`, `<name>completed`, each appearing with the
    /// first response of its kind.
    Codes,
    /// No statistic of its own: the definitions that name it appear once [`Scope::open`](crate::Scope::open) is called.
    Group,
}

/// How the lanes of a gauge are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeMode {
    /// Added: connections, requests, bytes.
    Sum,
    /// The largest: an on/off state that several workers may see at once (`cx_open`).
    Max,
}

/// What the values of a histogram are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Count,
    /// Bytes.
    Bytes,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// A share of one, recorded in millionths and shown as a fraction (Envoy's `PercentScale`).
    Percent,
}

/// When a definition appears in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As soon as its scope exists.
    Always,
    /// Once it was written: Envoy creates it at first use.
    Written,
    /// Once this group was opened.
    With(GroupId),
}

/// One statistic of a table.
#[derive(Debug)]
pub struct Def {
    /// The rest of the name, after the scope's prefix.
    pub name: &'static str,
    /// Counter, gauge, …
    pub kind: Kind,
    /// When it appears.
    pub shown: Shown,
    /// One sentence for people, or empty. Printed as `# HELP` on `/metrics`.
    pub help: &'static str,
}

/// The statistics that every scope made with this table has.
#[derive(Debug)]
pub struct Table {
    /// A name for messages and for the identity of a scope: one per table.
    pub label: &'static str,
    /// The definitions; an id is an index into them.
    pub defs: &'static [Def],
    /// For histograms and code families: the place among their own kind.
    pub(crate) slots: &'static [u16],
    pub(crate) histograms: u16,
    pub(crate) codes: u16,
}

impl Table {
    /// Puts a table together; called by [`stats_table!`](crate::stats_table).
    pub const fn new(label: &'static str, defs: &'static [Def], slots: &'static [u16]) -> Table {
        let (mut histograms, mut codes) = (0, 0);
        let mut i = 0;
        while i < defs.len() {
            match defs[i].kind {
                Kind::Histogram(_) => histograms += 1,
                Kind::Codes => codes += 1,
                _ => {}
            }
            i += 1;
        }
        Table {
            label,
            defs,
            slots,
            histograms,
            codes,
        }
    }

    /// For each definition, how many of its kind come before it; called by [`stats_table!`](crate::stats_table).
    pub const fn slots_of<const N: usize>(defs: &[Def]) -> [u16; N] {
        let mut slots = [0; N];
        let (mut histograms, mut codes) = (0, 0);
        let mut i = 0;
        while i < N {
            let count = match defs[i].kind {
                Kind::Histogram(_) => &mut histograms,
                Kind::Codes => &mut codes,
                _ => {
                    i += 1;
                    continue;
                }
            };
            slots[i] = *count;
            *count += 1;
            i += 1;
        }
        slots
    }

    /// The place of definition `index` among its own kind.
    #[inline]
    pub(crate) fn slot(&self, index: u16) -> usize {
        self.slots
            .get(usize::from(index))
            .map_or(usize::MAX, |slot| usize::from(*slot))
    }
}

macro_rules! id {
    ($(#[$doc:meta] $name:ident),* $(,)?) => {
        $(
            #[$doc]
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub struct $name(pub u16);

            impl $name {
                #[inline]
                pub(crate) const fn index(self) -> usize {
                    self.0 as usize
                }
            }
        )*
    };
}

id! {
    /// A counter's place in its table.
    CounterId,
    /// A gauge's place in its table.
    GaugeId,
    /// A histogram's place in its table.
    HistogramId,
    /// A text readout's place in its table.
    TextId,
    /// A response-code family's place in its table.
    CodesId,
    /// A group's place in its table.
    GroupId,
}

/// Defines a table and the typed ids of its statistics.
///
/// ```
/// nuncio_stats::stats_table! {
///     /// What a worker of the example counts.
///     pub EXAMPLE: "example" {
///         /// Connections accepted.
///         counter CX_TOTAL = "cx_total",
///         gauge CX_ACTIVE = "cx_active",
///         gauge CX_OPEN(max) = "cx_open",
///         histogram RQ_TIME(ms) = "rq_time",
///         histogram EXTERNAL_RQ_TIME(ms) = "external.rq_time" [lazy],
///         codes RQ = "rq_",
///         text CONTROL_PLANE = "control_plane",
///         group HTTP1 = "http1",
///         counter HTTP1_FLOOD = "http1.flood" [HTTP1],
///     }
/// }
/// let store = nuncio_stats::Store::new(2);
/// let scope = store.scope("listener.a.", &EXAMPLE);
/// scope.inc(nuncio_stats::Lane::MAIN, CX_TOTAL);
/// assert_eq!(scope.counter(CX_TOTAL), 1);
/// ```
///
/// `[lazy]` hides a statistic until it is written, `[GROUP]` until the group is opened. A doc comment becomes the
/// statistic's help text.
#[macro_export]
macro_rules! stats_table {
    (
        $(#[$meta:meta])*
        $vis:vis $table:ident : $label:literal {
            $(
                $(#[doc = $doc:literal])*
                $kind:ident $id:ident $(($arg:ident))? = $name:literal $([$shown:ident])?
            ),* $(,)?
        }
    ) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum $table { $($id),* }

        $(#[$meta])*
        $vis static $table: $crate::Table = {
            const DEFS: &[$crate::Def] = &[$(
                $crate::Def {
                    name: $name,
                    kind: $crate::__stat_kind!($kind $(($arg))?),
                    shown: $crate::__stat_shown!($table $($shown)?),
                    help: concat!($($doc),*),
                },
            )*];
            const SLOTS: [u16; DEFS.len()] = $crate::Table::slots_of(DEFS);
            $crate::Table::new($label, DEFS, &SLOTS)
        };

        $(
            #[doc = concat!("`", $name, "`.")]
            $(#[doc = $doc])*
            #[allow(dead_code)]
            $vis const $id: $crate::__stat_id!($kind) = $crate::__stat_new!($kind)($table::$id as u16);
        )*
    };
}

/// Part of [`stats_table!`](crate::stats_table): the kind behind a word.
#[doc(hidden)]
#[macro_export]
macro_rules! __stat_kind {
    (counter) => {
        $crate::Kind::Counter
    };
    (gauge) => {
        $crate::Kind::Gauge($crate::GaugeMode::Sum)
    };
    (gauge (max)) => {
        $crate::Kind::Gauge($crate::GaugeMode::Max)
    };
    (histogram (count)) => {
        $crate::Kind::Histogram($crate::Unit::Count)
    };
    (histogram (bytes)) => {
        $crate::Kind::Histogram($crate::Unit::Bytes)
    };
    (histogram (us)) => {
        $crate::Kind::Histogram($crate::Unit::Microseconds)
    };
    (histogram (ms)) => {
        $crate::Kind::Histogram($crate::Unit::Milliseconds)
    };
    (histogram (percent)) => {
        $crate::Kind::Histogram($crate::Unit::Percent)
    };
    (codes) => {
        $crate::Kind::Codes
    };
    (text) => {
        $crate::Kind::Text
    };
    (group) => {
        $crate::Kind::Group
    };
}

/// Part of [`stats_table!`](crate::stats_table): when a statistic appears.
#[doc(hidden)]
#[macro_export]
macro_rules! __stat_shown {
    ($table:ident) => {
        $crate::Shown::Always
    };
    ($table:ident lazy) => {
        $crate::Shown::Written
    };
    ($table:ident $group:ident) => {
        $crate::Shown::With($crate::GroupId($table::$group as u16))
    };
}

/// Part of [`stats_table!`](crate::stats_table): the id type of a kind.
#[doc(hidden)]
#[macro_export]
macro_rules! __stat_id {
    (counter) => {
        $crate::CounterId
    };
    (gauge) => {
        $crate::GaugeId
    };
    (histogram) => {
        $crate::HistogramId
    };
    (codes) => {
        $crate::CodesId
    };
    (text) => {
        $crate::TextId
    };
    (group) => {
        $crate::GroupId
    };
}

/// Part of [`stats_table!`](crate::stats_table): the constructor of a kind's id.
#[doc(hidden)]
#[macro_export]
macro_rules! __stat_new {
    (counter) => {
        $crate::CounterId
    };
    (gauge) => {
        $crate::GaugeId
    };
    (histogram) => {
        $crate::HistogramId
    };
    (codes) => {
        $crate::CodesId
    };
    (text) => {
        $crate::TextId
    };
    (group) => {
        $crate::GroupId
    };
}

#[cfg(test)]
mod tests {
    use super::{Kind, Shown};

    stats_table! {
        T: "t" {
            counter A = "a",
            histogram H1(ms) = "h1",
            group G = "g",
            /// Help.
            counter B = "g.b" [G],
            histogram H2(bytes) = "h2" [lazy],
            codes C = "rq_",
        }
    }

    #[test]
    fn ids_are_places_in_the_table_and_slots_count_by_kind() {
        assert_eq!((A.0, B.0, H1.0, H2.0, C.0), (0, 3, 1, 4, 5));
        assert_eq!((T.slot(H1.0), T.slot(H2.0), T.slot(C.0)), (0, 1, 0));
        assert_eq!((T.histograms, T.codes), (2, 1));
        assert_eq!(T.defs[3].shown, Shown::With(G));
        assert_eq!(T.defs[4].shown, Shown::Written);
        assert_eq!(T.defs[3].help, " Help.");
        assert_eq!(T.defs[5].kind, Kind::Codes);
    }
}
