//! Counters per response status, one lane's share.
//!
//! Envoy counts a response three times: all (`completed`), its class (`2xx`), its status (`200`). Here it is one add;
//! the other two are sums. A row of a hundred cells appears with the first status of its class.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Statuses per class.
const CLASS: usize = 100;
/// Classes 1xx to 5xx.
const CLASSES: usize = 5;

type Row = Box<[AtomicU64; CLASS]>;

/// One family's counts in one lane.
#[derive(Debug, Default)]
pub(crate) struct LaneCodes {
    rows: [OnceLock<Row>; CLASSES],
    /// Responses whose status is none: they count as completed only.
    other: AtomicU64,
}

impl LaneCodes {
    /// Counts one response.
    #[inline]
    pub(crate) fn inc(&self, status: u16) {
        let status = usize::from(status);
        let cell = match status
            .checked_sub(CLASS)
            .and_then(|s| self.rows.get(s / CLASS))
        {
            Some(row) => {
                &row.get_or_init(|| Box::new([const { AtomicU64::new(0) }; CLASS]))[status % CLASS]
            }
            None => &self.other,
        };
        cell.store(cell.load(Relaxed).wrapping_add(1), Relaxed);
    }

    fn add_to(&self, sums: &mut CodeCounts) {
        for (class, row) in self.rows.iter().enumerate() {
            let Some(row) = row.get() else { continue };
            for (i, cell) in row.iter().enumerate() {
                let n = cell.load(Relaxed);
                if n > 0 {
                    sums.add(((class + 1) * CLASS + i) as u16, n);
                }
            }
        }
        let other = self.other.load(Relaxed);
        if other > 0 {
            sums.add(0, other);
        }
    }
}

/// One family's counts over all lanes: status and number, in order of status. Status 0 stands for none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CodeCounts(Vec<(u16, u64)>);

impl CodeCounts {
    pub(crate) fn sum<'a>(lanes: impl Iterator<Item = &'a LaneCodes>) -> CodeCounts {
        let mut sums = CodeCounts::default();
        lanes.for_each(|lane| lane.add_to(&mut sums));
        sums
    }

    fn add(&mut self, status: u16, n: u64) {
        match self.0.binary_search_by_key(&status, |entry| entry.0) {
            Ok(at) => self.0[at].1 += n,
            Err(at) => self.0.insert(at, (status, n)),
        }
    }

    /// These counts without those of `base`; a status that `base` reaches stays, with 0.
    pub(crate) fn since(mut self, base: Option<&CodeCounts>) -> CodeCounts {
        for (status, n) in &mut self.0 {
            *n = n.saturating_sub(base.map_or(0, |base| base.get(*status)));
        }
        self
    }

    /// Responses with this status.
    pub fn get(&self, status: u16) -> u64 {
        self.0
            .binary_search_by_key(&status, |entry| entry.0)
            .map_or(0, |at| self.0[at].1)
    }

    /// All responses.
    pub fn completed(&self) -> u64 {
        self.0.iter().map(|entry| entry.1).sum()
    }

    /// No response was ever counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every status that was seen, with its number.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        self.0.iter().copied().filter(|entry| entry.0 != 0)
    }

    /// Every class (1 to 5) that was seen, with its number.
    pub fn classes(&self) -> impl Iterator<Item = (u16, u64)> {
        (1..=CLASSES as u16).filter_map(|class| {
            let mut of_class = self
                .statuses()
                .filter(|entry| entry.0 / 100 == class)
                .peekable();
            of_class
                .peek()
                .is_some()
                .then(|| (class, of_class.map(|entry| entry.1).sum()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_counts_in_its_status_its_class_and_completed() {
        let (a, b) = (LaneCodes::default(), LaneCodes::default());
        for status in [200, 204, 200, 503, 0, 999] {
            a.inc(status);
        }
        b.inc(200);
        let sums = CodeCounts::sum([&a, &b].into_iter());
        assert_eq!(
            sums.statuses().collect::<Vec<_>>(),
            [(200, 3), (204, 1), (503, 1)]
        );
        assert_eq!(sums.classes().collect::<Vec<_>>(), [(2, 4), (5, 1)]);
        assert_eq!(sums.completed(), 7);
    }

    #[test]
    fn a_reset_status_stays_with_zero() {
        let lane = LaneCodes::default();
        lane.inc(200);
        let base = CodeCounts::sum([&lane].into_iter());
        lane.inc(404);
        let now = CodeCounts::sum([&lane].into_iter()).since(Some(&base));
        assert_eq!(now.statuses().collect::<Vec<_>>(), [(200, 0), (404, 1)]);
    }
}
