//! The memory of one scope in one lane: what a single thread writes.
//!
//! Promises: a write is a relaxed load and a relaxed store by the lane's only writer; nothing here locks, and nothing
//! is shared with another lane's cache lines. Memory appears with the first write of a lane, histogram rows and code
//! rows with their first value, so that an idle cluster costs next to nothing.

use crate::codes::LaneCodes;
use crate::histogram::LaneHistogram;
use crate::table::Table;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Cells per cache line.
const PER_LINE: usize = 8;

/// One cache line of cells, so that two lanes never share one.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; PER_LINE]);

/// All cells of one scope in one lane.
#[derive(Debug)]
pub(crate) struct LaneCells {
    /// A value per definition, then a bit per definition: "was written".
    lines: Box<[Line]>,
    /// Where the bits begin, in cells.
    bits_at: usize,
    histograms: Box<[OnceLock<Box<LaneHistogram>>]>,
    codes: Box<[OnceLock<Box<LaneCodes>>]>,
}

impl LaneCells {
    pub(crate) fn new(table: &Table) -> LaneCells {
        let values = table.defs.len();
        let cells = values + values.div_ceil(64);
        LaneCells {
            lines: (0..cells.div_ceil(PER_LINE))
                .map(|_| Line::default())
                .collect(),
            bits_at: values,
            histograms: (0..table.histograms).map(|_| OnceLock::new()).collect(),
            codes: (0..table.codes).map(|_| OnceLock::new()).collect(),
        }
    }

    #[inline]
    fn cell(&self, index: usize) -> Option<&AtomicU64> {
        self.lines
            .get(index / PER_LINE)
            .map(|line| &line.0[index % PER_LINE])
    }

    /// Adds `n` (wrapping, so that a negative number as two's complement subtracts).
    #[inline]
    pub(crate) fn add(&self, index: usize, n: u64) {
        if let Some(cell) = self.cell(index) {
            cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }

    #[inline]
    pub(crate) fn set(&self, index: usize, value: u64) {
        if let Some(cell) = self.cell(index) {
            cell.store(value, Relaxed);
        }
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        self.cell(index).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Remembers that definition `index` was written; stores only the first time.
    #[inline]
    pub(crate) fn touch(&self, index: usize) {
        if let Some(cell) = self.cell(self.bits_at + index / 64) {
            let (bits, bit) = (cell.load(Relaxed), 1 << (index % 64));
            if bits & bit == 0 {
                cell.store(bits | bit, Relaxed);
            }
        }
    }

    pub(crate) fn touched(&self, index: usize) -> bool {
        self.cell(self.bits_at + index / 64)
            .is_some_and(|cell| cell.load(Relaxed) >> (index % 64) & 1 == 1)
    }

    /// The histogram in place `slot`, made on first use.
    #[inline]
    pub(crate) fn histogram_mut(&self, slot: usize) -> Option<&LaneHistogram> {
        self.histograms
            .get(slot)
            .map(|cell| &**cell.get_or_init(Box::default))
    }

    pub(crate) fn histogram(&self, slot: usize) -> Option<&LaneHistogram> {
        self.histograms
            .get(slot)?
            .get()
            .map(|histogram| &**histogram)
    }

    /// The code family in place `slot`, made on first use.
    #[inline]
    pub(crate) fn codes_mut(&self, slot: usize) -> Option<&LaneCodes> {
        self.codes
            .get(slot)
            .map(|cell| &**cell.get_or_init(Box::default))
    }

    pub(crate) fn codes(&self, slot: usize) -> Option<&LaneCodes> {
        self.codes.get(slot)?.get().map(|codes| &**codes)
    }
}
