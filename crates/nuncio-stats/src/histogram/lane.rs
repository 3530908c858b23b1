//! Recording values in one thread.

use super::bin::{Bin, MAX_EXPONENT};
use super::merged::Histogram;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bins of one exponent: digits 10 to 99.
type Row = Box<[AtomicU64; 90]>;

/// One histogram's counts in one lane. A row appears with its first value.
#[derive(Debug, Default)]
pub(crate) struct LaneHistogram {
    /// The values 0 to 9, which have a bin each.
    units: [AtomicU64; 10],
    /// Exponents 1 and up.
    rows: [OnceLock<Row>; MAX_EXPONENT],
}

impl LaneHistogram {
    /// Counts `value`.
    #[inline]
    pub(crate) fn record(&self, value: u64) {
        let bin = Bin::of(value);
        let cell = match usize::from(bin.exponent).checked_sub(1) {
            None => &self.units[value as usize % 10],
            Some(row) => {
                let row = self.rows[row % MAX_EXPONENT]
                    .get_or_init(|| Box::new([const { AtomicU64::new(0) }; 90]));
                &row[usize::from(bin.digits) - 10]
            }
        };
        cell.store(cell.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Adds these counts to `sums`.
    pub(crate) fn add_to(&self, sums: &mut Histogram) {
        for (value, cell) in (0..).zip(&self.units) {
            sums.add(
                Bin {
                    exponent: 0,
                    digits: value * 10,
                },
                cell.load(Relaxed),
            );
        }
        for (exponent, row) in (1..).zip(&self.rows) {
            let Some(row) = row.get() else { continue };
            for (digits, cell) in (10..).zip(row.iter()) {
                sums.add(Bin { exponent, digits }, cell.load(Relaxed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_power_and_border_is_counted_once() {
        let lane = LaneHistogram::default();
        let mut values = vec![0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, u64::MAX];
        values.extend((0..20).map(|e| 10u64.pow(e)));
        values.iter().for_each(|value| lane.record(*value));
        let (mut merged, mut expected) = (Histogram::default(), Histogram::default());
        lane.add_to(&mut merged);
        values
            .iter()
            .for_each(|value| expected.add(Bin::of(*value), 1));
        assert_eq!(merged, expected);
        assert_eq!(merged.count(), values.len() as u64);
    }
}
