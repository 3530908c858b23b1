//! Calendar time, in UTC and in the machine's time zone.

use jiff::{Timestamp, tz::TimeZone};
use std::{sync::OnceLock, time::SystemTime};

/// Longest zone abbreviation kept, in bytes (`+0530`, `CEST`).
const ABBREVIATION_LEN: usize = 8;

/// A moment taken apart into calendar fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub unix: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
    /// Year.
    pub year: i64,
    /// Month, 1–12.
    pub month: u32,
    /// Day of the month, 1–31.
    pub day: u32,
    /// Hour, 0–23.
    pub hour: u32,
    /// Minute, 0–59.
    pub minute: u32,
    /// Second, 0–59.
    pub second: u32,
    /// Day of the week, 0 is Sunday.
    pub weekday: u32,
    /// Day of the year, 0–365.
    pub year_day: u32,
    /// Seconds east of UTC.
    pub offset: i32,
    abbreviation: [u8; ABBREVIATION_LEN],
}

impl Civil {
    /// The moment in UTC.
    pub fn utc(time: SystemTime) -> Civil {
        Civil::at(time, 0, "UTC")
    }

    /// The moment in the machine's time zone (`TZ`, `/etc/localtime`).
    pub fn local(time: SystemTime) -> Civil {
        let Ok(stamp) = Timestamp::try_from(time) else { return Civil::utc(time) };
        // Read once: asking the system again takes a lock.
        static ZONE: OnceLock<TimeZone> = OnceLock::new();
        let zone = ZONE.get_or_init(TimeZone::system);
        let info = zone.to_offset_info(stamp);
        Civil::at(time, info.offset().seconds(), info.abbreviation())
    }

    /// The zone's abbreviation.
    pub fn abbreviation(&self) -> &str {
        let len = self.abbreviation.iter().position(|b| *b == 0).unwrap_or(ABBREVIATION_LEN);
        std::str::from_utf8(&self.abbreviation[..len]).unwrap_or_default()
    }

    fn at(time: SystemTime, offset: i32, name: &str) -> Civil {
        let (unix, nanos) = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX / 2), after.subsec_nanos()),
            Err(_) => (0, 0),
        };
        let local = unix + i64::from(offset);
        let (days, seconds) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let (year, month, day) = date_of(days);
        let field = |n: i64| u32::try_from(n).unwrap_or_default();
        let mut abbreviation = [0; ABBREVIATION_LEN];
        for (to, from) in abbreviation.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Civil {
            unix,
            nanos,
            year,
            month: field(month),
            day: field(day),
            hour: field(seconds / 3_600),
            minute: field(seconds / 60 % 60),
            second: field(seconds % 60),
            weekday: field((days + 4).rem_euclid(7)),
            year_day: field(days - days_before(year)),
            offset,
            abbreviation,
        }
    }
}

/// Days from 1970-01-01 to January 1st of a year (proleptic Gregorian calendar).
pub(super) fn days_before(year: i64) -> i64 {
    let y = year - 1;
    365 * year + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) - 719_527
}

/// Year, month and day of a day counted from 1970-01-01. Years are reckoned from March, so that the leap day
/// is the last of its year; 400 years have 146,097 days.
fn date_of(days: i64) -> (i64, i64, i64) {
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn utc(unix: u64) -> Civil {
        Civil::utc(SystemTime::UNIX_EPOCH + Duration::from_secs(unix))
    }

    #[test]
    fn days_are_counted_as_the_calendar_counts_them() {
        // Each checked with date(1): unix, y, m, d, weekday, day of the year.
        for (unix, want) in [
            (0, (1970, 1, 1, 4, 0)),
            (951_782_400, (2000, 2, 29, 2, 59)),
            (1_795_234_588, (2026, 11, 21, 6, 324)),
            (1_735_603_200, (2024, 12, 31, 2, 365)),
            (4_107_542_400, (2100, 3, 1, 1, 59)),
        ] {
            let c = utc(unix);
            assert_eq!((c.year, c.month, c.day, c.weekday, c.year_day), want, "{unix}");
        }
    }

    #[test]
    fn a_time_of_day_is_split() {
        let c = utc(1_795_234_588);
        assert_eq!((c.hour, c.minute, c.second, c.abbreviation()), (4, 16, 28, "UTC"));
    }
}
