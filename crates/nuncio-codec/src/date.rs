//! The `date` header's text (rfc9110#5.6.7, IMF-fixdate), made once a second.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Writes a Unix time in seconds as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn imf_fixdate(unix: u64) -> [u8; 29] {
    let days = unix / 86_400;
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[(days % 7) as usize].as_bytes());
    two(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month as usize].as_bytes());
    two(&mut text[12..14], year / 100);
    two(&mut text[14..16], year % 100);
    two(&mut text[17..19], hour);
    two(&mut text[20..22], minute);
    two(&mut text[23..25], second);
    text
}

fn two(out: &mut [u8], n: u64) {
    out[0] = b'0' + (n / 10 % 10) as u8;
    out[1] = b'0' + (n % 10) as u8;
}

/// Year, month (from 0) and day of a day number since 1970, in the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    (era * 400 + year_of_era + u64::from(month < 2), month, day)
}

/// The text of the last second asked for.
#[derive(Debug, Clone)]
pub struct DateCache {
    second: u64,
    text: [u8; 29],
}

impl Default for DateCache {
    fn default() -> Self {
        DateCache {
            second: 0,
            text: imf_fixdate(0),
        }
    }
}

impl DateCache {
    /// The text of a Unix time in seconds.
    #[inline]
    pub fn at(&mut self, unix: u64) -> &[u8; 29] {
        if self.second != unix {
            *self = DateCache {
                second: unix,
                text: imf_fixdate(unix),
            };
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_in_the_standard() {
        let at = |unix| String::from_utf8(imf_fixdate(unix).to_vec()).expect("ASCII");
        assert_eq!(at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(at(4_102_444_799), "Thu, 31 Dec 2099 23:59:59 GMT");
    }
}
