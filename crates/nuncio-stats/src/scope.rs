//! One scope: a prefix, a table, and the cells of every lane.
//!
//! Writing takes the caller's [`Lane`] and must happen on that lane's thread only: two writers in one lane lose counts
//! (nothing worse). Reading is for the main thread and adds the lanes up. Workers never lock to write; the mutexes are for
//! what the main thread writes, and keeps beside the cells.

use crate::cells::LaneCells;
use crate::codes::{CodeCounts, LaneCodes};
use crate::histogram::Histogram;
use crate::lane::Lane;
use crate::sparse::SparseCells;
use crate::table::{
    CodesId, CounterId, GaugeId, GaugeMode, GroupId, HistogramId, Kind, Shown, Table, TextId,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The statistics of one cluster, listener, connection manager, …
///
/// A scope is in the output for as long as somebody holds it.
#[derive(Debug)]
pub struct Scope {
    prefix: Box<str>,
    table: &'static Table,
    /// Cells per lane; the main thread's are for histograms and codes only.
    lanes: Box<[OnceLock<LaneCells>]>,
    /// What else the main thread writes.
    sparse: SparseCells,
    main: Mutex<MainState>,
}

/// What the main thread knows of a scope beside its cells.
#[derive(Debug, Default)]
struct MainState {
    histograms: BTreeMap<usize, Arc<HistogramView>>,
    texts: BTreeMap<usize, String>,
    /// Counter values at the last `/reset_counters`, by definition.
    counter_base: Box<[u64]>,
    code_base: BTreeMap<usize, CodeCounts>,
}

/// A histogram as of the last flush.
#[derive(Clone, Debug, Default)]
pub struct HistogramView {
    /// Everything ever recorded.
    pub cumulative: Histogram,
    /// What came between the last two flushes.
    pub interval: Histogram,
}

impl Scope {
    pub(crate) fn new(prefix: &str, table: &'static Table, lanes: usize) -> Scope {
        Scope {
            prefix: prefix.into(),
            table,
            lanes: (0..lanes).map(|_| OnceLock::new()).collect(),
            sparse: SparseCells::default(),
            main: Mutex::default(),
        }
    }

    /// What stands before the names of the table, with its dot: `cluster.backend_v1.`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The definitions behind the ids.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// This lane's cells, made on first use. A lane that the store does not have is a slip that costs its counts only.
    #[inline]
    fn cells(&self, lane: Lane) -> Option<&LaneCells> {
        debug_assert!(
            lane.index() < self.lanes.len(),
            "lane {} of {}",
            lane.0,
            self.lanes.len()
        );
        self.lanes
            .get(lane.index())
            .map(|cells| cells.get_or_init(|| LaneCells::new(self.table)))
    }

    /// Counts one.
    #[inline]
    pub fn inc(&self, lane: Lane, id: CounterId) {
        self.add(lane, id, 1);
    }

    /// Counts `n`.
    #[inline]
    pub fn add(&self, lane: Lane, id: CounterId, n: u64) {
        if lane == Lane::MAIN {
            self.sparse.add(id.index(), n);
        } else if let Some(cells) = self.cells(lane) {
            cells.add(id.index(), n);
        }
    }

    /// Moves a gauge by `n`. What one lane adds another may take away.
    #[inline]
    pub fn gauge_add(&self, lane: Lane, id: GaugeId, n: i64) {
        if lane == Lane::MAIN {
            self.sparse.add(id.index(), n as u64);
            self.sparse.touch(id.index());
        } else if let Some(cells) = self.cells(lane) {
            cells.add(id.index(), n as u64);
            cells.touch(id.index());
        }
    }

    /// Sets a gauge that only the main thread writes.
    pub fn gauge_set(&self, id: GaugeId, value: u64) {
        self.gauge_set_in(Lane::MAIN, id, value);
    }

    /// Sets one lane's share of a gauge: for states that each worker sees for itself (a `max` gauge).
    #[inline]
    pub fn gauge_set_in(&self, lane: Lane, id: GaugeId, value: u64) {
        if lane == Lane::MAIN {
            self.sparse.set(id.index(), value);
            self.sparse.touch(id.index());
        } else if let Some(cells) = self.cells(lane) {
            cells.set(id.index(), value);
            cells.touch(id.index());
        }
    }

    /// Records a value of a histogram.
    #[inline]
    pub fn record(&self, lane: Lane, id: HistogramId, value: u64) {
        if let Some(histogram) = self
            .cells(lane)
            .and_then(|cells| cells.histogram_mut(self.table.slot(id.0)))
        {
            histogram.record(value);
        }
    }

    /// Counts a response of this status: in `completed`, its class and its status.
    #[inline]
    pub fn code(&self, lane: Lane, id: CodesId, status: u16) {
        if let Some(codes) = self
            .cells(lane)
            .and_then(|cells| cells.codes_mut(self.table.slot(id.0)))
        {
            codes.inc(status);
        }
    }

    /// Makes the statistics of a group appear.
    #[inline]
    pub fn open(&self, lane: Lane, id: GroupId) {
        if lane == Lane::MAIN {
            self.sparse.touch(id.index());
        } else if let Some(cells) = self.cells(lane) {
            cells.touch(id.index());
        }
    }

    /// Sets a text readout. Main thread only.
    pub fn text_set(&self, id: TextId, value: impl Into<String>) {
        self.main().texts.insert(id.index(), value.into());
    }

    fn main(&self) -> MutexGuard<'_, MainState> {
        self.main.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> impl Iterator<Item = &LaneCells> {
        self.lanes.iter().filter_map(|cells| cells.get())
    }

    fn raw(&self, index: usize) -> u64 {
        self.written().fold(self.sparse.get(index), |sum, cells| {
            sum.wrapping_add(cells.get(index))
        })
    }

    fn touched(&self, index: usize) -> bool {
        self.sparse.touched(index) || self.written().any(|cells| cells.touched(index))
    }

    /// A counter's value since the start or the last reset.
    pub fn counter(&self, id: CounterId) -> u64 {
        let base = self
            .main()
            .counter_base
            .get(id.index())
            .copied()
            .unwrap_or(0);
        self.raw(id.index()).wrapping_sub(base)
    }

    /// A gauge's value. Lanes are read one after the other while they move: a sum that is negative for an instant is 0.
    pub fn gauge(&self, id: GaugeId) -> u64 {
        let index = id.index();
        let mode = self.table.defs.get(index).map(|def| def.kind);
        if mode == Some(Kind::Gauge(GaugeMode::Max)) {
            return self
                .written()
                .map(|cells| cells.get(index))
                .chain([self.sparse.get(index)])
                .max()
                .unwrap_or(0);
        }
        let sum = self.raw(index);
        let main_only = self
            .lanes
            .iter()
            .skip(1)
            .all(|cells| cells.get().is_none_or(|cells| cells.get(index) == 0));
        if (sum as i64) < 0 && !main_only {
            0
        } else {
            sum
        }
    }

    /// A histogram as of the last flush, if anything was recorded before it.
    pub fn histogram(&self, id: HistogramId) -> Option<Arc<HistogramView>> {
        self.main().histograms.get(&id.index()).cloned()
    }

    /// A text readout's value, empty if never set.
    pub fn text(&self, id: TextId) -> String {
        self.main()
            .texts
            .get(&id.index())
            .cloned()
            .unwrap_or_default()
    }

    /// The statuses counted since the start or the last reset.
    pub fn codes(&self, id: CodesId) -> CodeCounts {
        self.raw_codes(id)
            .since(self.main().code_base.get(&id.index()))
    }

    fn raw_codes(&self, id: CodesId) -> CodeCounts {
        let slot = self.table.slot(id.0);
        CodeCounts::sum(
            self.written()
                .filter_map(|cells| -> Option<&LaneCodes> { cells.codes(slot) }),
        )
    }

    /// Whether anything was ever written to definition `index`; a reset does not undo it.
    pub fn used(&self, index: u16) -> bool {
        let at = usize::from(index);
        match self.table.defs.get(at).map(|def| def.kind) {
            Some(Kind::Counter) => self.raw(at) != 0,
            Some(Kind::Gauge(_) | Kind::Group) => self.touched(at),
            Some(Kind::Histogram(_)) => self
                .written()
                .any(|cells| cells.histogram(self.table.slot(index)).is_some()),
            Some(Kind::Codes) => self
                .written()
                .any(|cells| cells.codes(self.table.slot(index)).is_some()),
            Some(Kind::Text) => self.main().texts.contains_key(&at),
            None => false,
        }
    }

    /// Whether definition `index` is in the output.
    pub fn shown(&self, index: u16) -> bool {
        match self.table.defs.get(usize::from(index)).map(|def| def.shown) {
            Some(Shown::Always) => true,
            Some(Shown::Written) => self.used(index),
            Some(Shown::With(group)) => self.touched(group.index()),
            None => false,
        }
    }

    /// Whether a flush has seen values of the histogram at this place.
    pub(crate) fn is_flushed(&self, index: u16) -> bool {
        self.main().histograms.contains_key(&usize::from(index))
    }

    /// Brings the histogram views up to now: called for every scope at each flush.
    pub(crate) fn flush(&self) {
        for (index, def) in self.table.defs.iter().enumerate() {
            if !matches!(def.kind, Kind::Histogram(_)) || !self.used(index as u16) {
                continue;
            }
            let mut cumulative = Histogram::default();
            let slot = self.table.slot(index as u16);
            self.written()
                .filter_map(|cells| cells.histogram(slot))
                .for_each(|lane| lane.add_to(&mut cumulative));
            let mut main = self.main();
            let view = main.histograms.entry(index).or_default();
            let interval = cumulative.since(&view.cumulative);
            *view = Arc::new(HistogramView {
                cumulative,
                interval,
            });
        }
    }

    /// Makes every counter read 0 from here on. The cells stay: only their lane may write them.
    pub(crate) fn reset_counters(&self) {
        let base = (0..self.table.defs.len())
            .map(|index| self.raw(index))
            .collect();
        let codes = self
            .table
            .defs
            .iter()
            .enumerate()
            .filter(|(_, def)| def.kind == Kind::Codes);
        let code_base = codes
            .map(|(index, _)| (index, self.raw_codes(CodesId(index as u16))))
            .collect();
        let mut main = self.main();
        main.counter_base = base;
        main.code_base = code_base;
    }
}
