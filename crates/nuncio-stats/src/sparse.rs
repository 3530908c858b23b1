//! The main thread's cells of one scope: the few that it writes, and no others.
//!
//! The main thread writes some gauges of every cluster, and of most clusters nothing else is ever written: a line of cells for
//! each would be most of their memory. A write is a search in a short list under a lock that the main thread takes, and who
//! reads statistics.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value that was written.
#[derive(Clone, Copy, Debug)]
struct Cell {
    index: u16,
    /// It is to be shown from now on.
    touched: bool,
    value: u64,
}

/// Cells in the order of their places.
#[derive(Debug, Default)]
pub(crate) struct SparseCells(Mutex<Vec<Cell>>);

impl SparseCells {
    fn cells(&self) -> MutexGuard<'_, Vec<Cell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut Cell)) {
        let Ok(index) = u16::try_from(index) else { return };
        let mut cells = self.cells();
        let at = cells.binary_search_by_key(&index, |cell| cell.index).unwrap_or_else(|at| {
            // Few are ever added: no room to spare.
            cells.reserve_exact(1);
            cells.insert(at, Cell { index, touched: false, value: 0 });
            at
        });
        if let Some(cell) = cells.get_mut(at) {
            change(cell);
        }
    }

    /// Adds `n` (wrapping).
    pub(crate) fn add(&self, index: usize, n: u64) {
        self.change(index, |cell| cell.value = cell.value.wrapping_add(n));
    }

    pub(crate) fn set(&self, index: usize, value: u64) {
        self.change(index, |cell| cell.value = value);
    }

    /// Remembers that definition `index` was written.
    pub(crate) fn touch(&self, index: usize) {
        self.change(index, |cell| cell.touched = true);
    }

    fn find(&self, index: usize) -> Option<Cell> {
        let cells = self.cells();
        let at = cells.binary_search_by_key(&u16::try_from(index).ok()?, |cell| cell.index).ok()?;
        cells.get(at).copied()
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        self.find(index).map_or(0, |cell| cell.value)
    }

    pub(crate) fn touched(&self, index: usize) -> bool {
        self.find(index).is_some_and(|cell| cell.touched)
    }
}
