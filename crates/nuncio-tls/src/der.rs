//! DER being read (`x690#8`): elements one after the other, and times.

pub(super) const BOOLEAN: u8 = 1;
pub(super) const INTEGER: u8 = 2;
pub(super) const BIT_STRING: u8 = 3;
pub(super) const OCTETS: u8 = 4;
pub(super) const OBJECT: u8 = 6;
const UTC_TIME: u8 = 23;
const GENERAL_TIME: u8 = 24;
pub(super) const SEQUENCE: u8 = 0x30;

/// Whether a tag is that of a time.
pub(super) const fn is_time(tag: u8) -> bool {
    tag == UTC_TIME || tag == GENERAL_TIME
}

/// The tag of `[n]`, constructed.
pub(super) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// DER being read from the front.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// The next element: tag and contents.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x84 => {
                let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                digits.iter().fold(0, |n, digit| n << 8 | usize::from(*digit))
            }
            _ => return None,
        };
        let (contents, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, contents))
    }

    pub(super) fn element(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, contents)| contents)
    }

    /// The next element with its tag and length.
    pub(super) fn whole(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.element(wanted)?;
        before.get(..before.len() - self.0.len())
    }

    /// The next element if it has this tag; else nothing is read.
    pub(super) fn optional(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) { self.element(wanted) } else { None }
    }

    /// The tag of the next element.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// A time, in Unix seconds.
    pub(super) fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i64 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERAL_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        if rest.len() != 10 {
            return None;
        }
        let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
        let (month, day) = (part(0)?, part(2)?);
        Some(days_from_civil(year, month, day) * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is their last.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_from_1970() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
        assert_eq!(days_from_civil(2026, 12, 21) * 86_400, 1_797_811_200);
        assert_eq!(Der(b"\x17\x0d261221015540Z").time(), Some(1_797_818_140));
        assert_eq!(Der(b"\x18\x0f20261221015540Z").time(), Some(1_797_818_140));
        assert_eq!(Der(b"\x17\x0d2612210155\xc3\xa9").time(), None);
    }
}
