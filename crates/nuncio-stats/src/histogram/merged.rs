//! A histogram that nobody writes any more: bins added up over lanes, and what is read from them.
//!
//! The arithmetic is libcircllhist's as Envoy 1.40 uses it, so that the printed numbers are the same to the last digit.

use super::bin::Bin;

/// The quantiles Envoy prints.
pub const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// Counts per bin, in order of value; bins without a value are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    bins: Vec<(Bin, u64)>,
}

impl Histogram {
    /// Adds `n` values of `bin`.
    pub fn add(&mut self, bin: Bin, n: u64) {
        if n == 0 {
            return;
        }
        match self.bins.last() {
            Some(last) if last.0 >= bin => {
                match self.bins.binary_search_by_key(&bin, |entry| entry.0) {
                    Ok(at) => self.bins[at].1 += n,
                    Err(at) => self.bins.insert(at, (bin, n)),
                }
            }
            _ => self.bins.push((bin, n)),
        }
    }

    /// What was added since `earlier`, which must be an earlier state of this histogram.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut earlier = earlier.bins.iter().copied().peekable();
        let mut bins = Vec::new();
        for &(bin, n) in &self.bins {
            let before = earlier
                .next_if(|entry| entry.0 == bin)
                .map_or(0, |entry| entry.1);
            if n > before {
                bins.push((bin, n - before));
            }
        }
        Histogram { bins }
    }

    /// The bins that hold values, in order, with their counts.
    pub fn bins(&self) -> &[(Bin, u64)] {
        &self.bins
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|entry| entry.1).sum()
    }

    /// The approximate sum of all values: every value counts as the harmonic mean of its bin's borders.
    pub fn sum(&self) -> f64 {
        self.bins
            .iter()
            .fold(0.0, |sum, (bin, n)| sum + bin.middle() * *n as f64)
    }

    /// The values at `quantiles` (rising, 0 to 1); NaN for an empty histogram.
    ///
    /// The k-th of n values of a bin is taken to lie at k/(n+1) of its width.
    pub fn quantiles<const N: usize>(&self, quantiles: [f64; N]) -> [f64; N] {
        let total = self.count() as f64;
        let mut bins = self.bins.iter().copied().peekable();
        let mut below = 0.0;
        quantiles.map(|quantile| {
            let rank = (total * quantile).ceil().max(1.0);
            while let Some((_, n)) = bins.next_if(|(_, n)| below + (*n as f64) < rank) {
                below += n as f64;
            }
            match bins.peek() {
                Some((bin, n)) => bin.left() + (rank - below) / (*n as f64 + 1.0) * bin.width(),
                None => f64::NAN,
            }
        })
    }

    /// How many values lie in bins that begin at or below each of `borders` (rising): a bin that
    /// straddles a border counts whole.
    pub fn counts_up_to<'a>(
        &'a self,
        borders: impl IntoIterator<Item = f64> + 'a,
    ) -> impl Iterator<Item = u64> + 'a {
        let mut bins = self.bins.iter().peekable();
        let mut count = 0;
        borders.into_iter().map(move |border| {
            while let Some((_, n)) = bins.next_if(|(bin, _)| bin.left() <= border) {
                count += n;
            }
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(u64, u64)]) -> Histogram {
        let mut histogram = Histogram::default();
        values
            .iter()
            .for_each(|(value, n)| histogram.add(Bin::of(*value), *n));
        histogram
    }

    #[test]
    fn quantiles_are_those_envoy_printed() {
        assert_eq!(
            of(&[(1, 180)]).quantiles(QUANTILES),
            [
                1.0005524861878452,
                1.0248618784530388,
                1.0497237569060773,
                1.074585635359116,
                1.0895027624309392,
                1.094475138121547,
                1.0988950276243095,
                1.0994475138121547,
                1.0994475138121547,
                1.0994475138121547,
            ]
        );
        assert!(
            of(&[])
                .quantiles(QUANTILES)
                .iter()
                .all(|value| value.is_nan())
        );
        assert_eq!(of(&[(0, 9)]).quantiles(QUANTILES), [0.0; 10]);
    }

    #[test]
    fn an_interval_is_what_came_since() {
        let (before, now) = (of(&[(1, 2), (30, 1)]), of(&[(1, 2), (2, 1), (30, 4)]));
        assert_eq!(now.since(&before), of(&[(2, 1), (30, 3)]));
        assert_eq!(now.since(&now), Histogram::default());
    }

    #[test]
    fn values_may_come_in_any_order() {
        assert_eq!(of(&[(30, 1), (1, 1), (30, 2)]), of(&[(1, 1), (30, 3)]));
    }
}
