//! The texts that protobuf's JSON has for durations, times, field masks and bytes.

use base64::{Engine, engine::general_purpose::STANDARD};
use crate::schema::Reader;

/// Seconds and nanoseconds of a duration or timestamp.
fn seconds_nanos(bytes: &[u8]) -> (i64, i32) {
    let mut time = (0, 0);
    for (number, wire) in Reader::new(bytes) {
        match number {
            1 => time.0 = wire.integer() as i64,
            2 => time.1 = wire.integer() as i32,
            _ => {}
        }
    }
    time
}

/// No, three, six or nine digits: as many as are needed.
fn fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    }
}

pub(super) fn duration(bytes: &[u8]) -> String {
    let (seconds, nanos) = seconds_nanos(bytes);
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    format!(
        "{sign}{}{}s",
        seconds.unsigned_abs(),
        fraction(nanos.unsigned_abs())
    )
}

pub(super) fn timestamp(bytes: &[u8]) -> String {
    let (seconds, nanos) = seconds_nanos(bytes);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // H. Hinnant's algorithm, from days to year, month, day.
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let fraction = fraction(nanos.unsigned_abs());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

pub(super) fn field_mask(bytes: &[u8]) -> String {
    let paths = Reader::new(bytes)
        .filter(|(n, _)| *n == 1)
        .map(|(_, p)| camel(p.text()));
    paths.collect::<Vec<_>>().join(",")
}

fn camel(snake: &str) -> String {
    let mut upper = false;
    let letters = snake.chars().filter_map(|c| {
        if c == '_' {
            upper = true;
            return None;
        }
        Some(if std::mem::take(&mut upper) {
            c.to_ascii_uppercase()
        } else {
            c
        })
    });
    letters.collect()
}

/// The standard alphabet with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_as_many_digits_as_they_need() {
        let time = |seconds: u8, nanos: &[u8]| [&[8, seconds, 16], nanos].concat();
        assert_eq!(duration(&time(1, &[0])), "1s");
        assert_eq!(
            duration(&time(1, &[0x80, 0xca, 0xb5, 0xee, 0x01])),
            "1.500s"
        );
        assert_eq!(duration(&time(0, &[1])), "0.000000001s");
        assert_eq!(timestamp(&time(60, &[0])), "1970-01-01T00:01:00Z");
    }

    #[test]
    fn base64_is_padded() {
        assert_eq!(
            [base64(b""), base64(b"a"), base64(b"ab"), base64(b"abc")],
            ["", "YQ==", "YWI=", "YWJj"]
        );
    }
}
