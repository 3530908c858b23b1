//! Texts of numbers, durations, timestamps and bytes, read exactly as protobuf's JSON reader reads them.

use base64::{
    Engine, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD},
};

/// Largest integer that a float names exactly: 2⁵³.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Why a text is not the integer asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotInteger {
    /// No number at all.
    NotANumber,
    /// It has a fraction.
    Fraction,
    /// It does not fit.
    OutOfRange,
}

/// A whole number: decimal digits, or a float without a fraction (`1e3`, `0x10`) that is exact.
pub(super) fn integer(text: &str) -> Result<i128, NotInteger> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| NotInteger::OutOfRange);
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(NotInteger::NotANumber);
    }
    let float = float(text).ok_or(NotInteger::NotANumber)?;
    if float.is_nan() || float.abs() > EXACT {
        return Err(NotInteger::OutOfRange);
    }
    if float.fract() == 0.0 {
        Ok(float as i128)
    } else {
        Err(NotInteger::Fraction)
    }
}

/// A float: decimal, hexadecimal, `NaN`, `Infinity`; blanks around it do not matter, too large is infinite.
pub(super) fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest.starts_with(['-', '+']) {
        return None;
    }
    let value = match rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        Some(rest) => hexadecimal(rest)?,
        None => rest.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// C's hexadecimal floats without their `0x`: `1f`, `1.8`, `1p4`.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['p', 'P']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(fraction.len()).ok()?;
    Some(value * 2f64.powi(exponent.checked_sub(places.checked_mul(4)?)?))
}

/// A boolean written as a string.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(text));
    if is(&["true", "t", "yes", "y", "1"]) {
        Some(true)
    } else if is(&["false", "f", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Seconds and nanoseconds of a duration: digits, at most nine more after a point, `s`.
pub(super) fn duration(text: &str) -> Option<(i64, i32)> {
    /// Ten thousand years, protobuf's bound.
    const MAX_SECONDS: i64 = 315_576_000_000;
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let text = text.strip_suffix('s')?;
    let (whole, nanos) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, fraction_nanos(fraction)?),
        None => (text, 0),
    };
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok().filter(|s| *s <= MAX_SECONDS)?;
    Some(if negative {
        (-seconds, -nanos)
    } else {
        (seconds, nanos)
    })
}

fn fraction_nanos(digits: &str) -> Option<i32> {
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: i32 = digits.parse().ok()?;
    Some(value * 10i32.pow(9 - digits.len() as u32))
}

/// What a mistaken duration was meant to be: `250ms` is `0.25s`, `5` is `5s`, `2sec` is `2s`.
pub(super) fn meant_duration(text: &str) -> Option<String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => number,
        "ms" | "msec" | "millis" | "milliseconds" => number / 1e3,
        "us" | "µs" => number / 1e6,
        "ns" => number / 1e9,
        "m" | "min" | "mins" | "minute" | "minutes" => number * 60.0,
        "h" | "hr" | "hour" | "hours" => number * 3600.0,
        "d" | "day" | "days" => number * 86400.0,
        _ => return None,
    };
    let mut shown = format!("{seconds:.9}");
    shown.truncate(shown.trim_end_matches('0').trim_end_matches('.').len());
    shown.push('s');
    duration(&shown).map(|_| shown)
}

/// Seconds and nanoseconds since 1970 of `2001-02-03T04:05:06.7Z` or with an offset. Days and hours beyond their end
/// run over into the next, as protobuf reads them.
pub(super) fn timestamp(text: &str) -> Option<(i64, i32)> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        text.get(range)
            .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?
            .parse()
            .ok()
    };
    let mark = |at: usize, byte: u8| (text.as_bytes().get(at) == Some(&byte)).then_some(());
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    for (at, byte) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        mark(at, byte)?;
    }
    if year == 0 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = text.get(19..)?;
    let zone = rest.find(['Z', '+', '-'])?;
    let nanos = if zone == 0 {
        0
    } else {
        fraction_nanos(rest[..zone].strip_prefix('.')?)?
    };
    let offset = match &rest[zone..] {
        "Z" => 0,
        offset if offset.len() == 6 && offset.as_bytes()[3] == b':' => {
            let minutes = offset.get(1..3)?.parse::<i64>().ok()? * 60
                + offset.get(4..6)?.parse::<i64>().ok()?;
            if offset.starts_with('-') {
                -minutes * 60
            } else {
                minutes * 60
            }
        }
        _ => return None,
    };
    let seconds =
        days_from_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some((seconds, nanos))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant's algorithm).
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Base64, either alphabet, with the right padding or none.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if body.len() % 4 == 1 || (padding != 0 && !text.len().is_multiple_of(4)) || padding > 2 {
        return None;
    }
    let standard = body.replace('-', "+").replace('_', "/");
    LENIENT.decode(standard).ok()
}

/// Without padding; what is left over in the last digit does not matter.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_the_json_reader_takes_them() {
        assert_eq!(integer("08"), Ok(8));
        assert_eq!(integer("+1"), Ok(1));
        assert_eq!(integer("1.0"), Ok(1));
        assert_eq!(integer("1e3"), Ok(1000));
        assert_eq!(integer("0x10"), Ok(16));
        assert_eq!(
            integer("18446744073709551615"),
            Ok(18_446_744_073_709_551_615)
        );
        assert_eq!(integer("1.5"), Err(NotInteger::Fraction));
        assert_eq!(integer("1e16"), Err(NotInteger::OutOfRange));
        for bad in ["", " 1", "1_0", "0o17", ".inf", "abc", "--1"] {
            assert_eq!(integer(bad), Err(NotInteger::NotANumber), "{bad}");
        }
    }

    #[test]
    fn floats_as_the_json_reader_takes_them() {
        assert_eq!(float(" 1 "), Some(1.0));
        assert_eq!(float("1e400"), Some(f64::INFINITY));
        assert_eq!(float("-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(float("0x1p4"), Some(16.0));
        assert!(float("nan").is_some_and(f64::is_nan));
        for bad in ["", "1e", ".inf", "1_0", "+-1"] {
            assert_eq!(float(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_decimal_seconds() {
        assert_eq!(duration("1.5s"), Some((1, 500_000_000)));
        assert_eq!(duration("-0.5s"), Some((0, -500_000_000)));
        assert_eq!(duration("01s"), Some((1, 0)));
        for bad in [
            "1",
            "1.s",
            ".5s",
            "+1s",
            "1e3s",
            "1 s",
            " 1s",
            "s",
            "",
            "315576000001s",
            "1ms",
            "1.0000000001s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn mistaken_durations_are_understood() {
        let meant = |text| meant_duration(text);
        assert_eq!(meant("250ms").as_deref(), Some("0.25s"));
        assert_eq!(meant("2sec").as_deref(), Some("2s"));
        assert_eq!(meant("5").as_deref(), Some("5s"));
        assert_eq!(meant("1.5m").as_deref(), Some("90s"));
        assert_eq!(meant("soon"), None);
    }

    #[test]
    fn timestamps_run_over_as_protobufs_do() {
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(
            timestamp("2001-02-03T04:05:06.5Z"),
            Some((981_173_106, 500_000_000))
        );
        assert_eq!(
            timestamp("2001-02-03T04:05:06+01:00"),
            Some((981_169_506, 0))
        );
        assert_eq!(
            timestamp("2001-02-30T04:05:06Z"),
            timestamp("2001-03-02T04:05:06Z")
        );
        for bad in [
            "2001-02-03",
            "2001-02-03t04:05:06z",
            "2001-02-03T04:05:06.Z",
            "0000-02-03T04:05:06Z",
            "é001-02-03T04:05:06Z",
        ] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_of_both_alphabets_padded_or_not() {
        assert_eq!(base64("aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64("aGk").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64("a-_k"), base64("a+/k"));
        for bad in ["aGk==", "aGk===", "a=Gk", "a Gk", "a", "!!"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }
}
