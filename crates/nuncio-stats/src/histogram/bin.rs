//! Which bin a value falls into, and where a bin lies.

/// A bin of unsigned integers: the values `digits × 10^(exponent − 1)` up to the next.
///
/// `digits` is 10 to 99, or 0 with exponent 0 for the bin that holds only zero. A value below ten has a bin of a tenth's
/// width (5 falls into 5.0 to 5.1), as circllhist does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bin {
    pub(crate) exponent: u8,
    pub(crate) digits: u8,
}

/// The largest exponent of a `u64`.
pub(crate) const MAX_EXPONENT: usize = 19;

/// Exact powers of ten for every exponent that occurs.
const POWERS: [f64; MAX_EXPONENT + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// What the second digit counts, for every exponent from 1.
const UNITS: [u64; MAX_EXPONENT] = {
    let (mut units, mut i) = ([1; MAX_EXPONENT], 1);
    while i < MAX_EXPONENT {
        units[i] = units[i - 1] * 10;
        i += 1;
    }
    units
};

impl Bin {
    /// The bin of zero.
    pub const ZERO: Bin = Bin {
        exponent: 0,
        digits: 0,
    };

    /// The bin that holds `value`.
    #[inline]
    pub fn of(value: u64) -> Bin {
        if value < 10 {
            return Bin {
                exponent: 0,
                digits: value as u8 * 10,
            };
        }
        let exponent = value.ilog10() as usize;
        let unit = UNITS[(exponent - 1) % UNITS.len()];
        Bin {
            exponent: exponent as u8,
            digits: (value / unit) as u8,
        }
    }

    /// The smallest value of the bin.
    pub fn left(self) -> f64 {
        f64::from(self.digits) / 10.0 * POWERS[usize::from(self.exponent) % POWERS.len()]
    }

    /// How many values wide the bin is; the bin of zero has no width.
    pub fn width(self) -> f64 {
        if self.digits == 0 {
            0.0
        } else {
            POWERS[usize::from(self.exponent) % POWERS.len()] / 10.0
        }
    }

    /// What a value of this bin counts as in a sum: the harmonic mean of the bin's borders.
    pub fn middle(self) -> f64 {
        let (left, width) = (self.left(), self.width());
        if self.digits == 0 {
            0.0
        } else {
            left + width * (left / (left + (left + width)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_has_two_significant_digits() {
        for (value, left, width) in [
            (0, 0.0, 0.0),
            (1, 1.0, 0.1),
            (9, 9.0, 0.1),
            (10, 10.0, 1.0),
            (99, 99.0, 1.0),
            (100, 100.0, 10.0),
            (1234, 1200.0, 100.0),
            (u64::MAX, 1.8e19, 1e18),
        ] {
            let bin = Bin::of(value);
            assert_eq!((bin.left(), bin.width()), (left, width), "{value}");
        }
    }

    #[test]
    fn every_value_lies_in_its_bin_and_bins_are_ordered() {
        let mut previous = Bin::ZERO;
        let mut value = 0u64;
        while value < u64::MAX / 3 {
            let bin = Bin::of(value);
            assert!(
                bin.left() <= value as f64 && value as f64 <= bin.left() + bin.width(),
                "{value}"
            );
            assert!(previous <= bin);
            previous = bin;
            value = value * 2 + 1;
        }
    }
}
