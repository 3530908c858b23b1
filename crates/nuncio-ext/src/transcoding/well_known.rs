//! Times, durations and field masks, as JSON writes them and as messages hold them.

/// Seconds of the first and of the last moment that there is (years 1 and 9999).
const TIME: (i64, i64) = (-62_135_596_800, 253_402_300_799);
/// Seconds of the longest duration (some 10,000 years).
const DURATION: i64 = 315_576_000_000;
const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (years + era * 400 + i64::from(month <= 2), month, day)
}

/// A number of so many digits at most, off the front.
fn digits(text: &mut &str, most: usize) -> Option<i64> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(length);
    *text = rest;
    number.parse().ok()
}

fn expect(text: &mut &str, mark: char) -> Option<()> {
    *text = text.strip_prefix(mark)?;
    Some(())
}

/// `2020-01-02T03:04:05`, in seconds since 1970; a leap second is the second behind it.
fn moment(text: &str) -> Result<i64, &'static str> {
    const FAILED: &str = "Invalid time format: Failed to parse input";
    let mut rest = text;
    let negative = rest.starts_with('-');
    let fields = (|| {
        if negative {
            expect(&mut rest, '-')?;
        }
        let year = digits(&mut rest, 18)?;
        expect(&mut rest, '-')?;
        let month = digits(&mut rest, 2).filter(|month| (1..=12).contains(month))?;
        expect(&mut rest, '-')?;
        let day = digits(&mut rest, 2).filter(|day| (1..=31).contains(day))?;
        expect(&mut rest, 'T')?;
        let hour = digits(&mut rest, 2).filter(|hour| *hour < 24)?;
        expect(&mut rest, ':')?;
        let minute = digits(&mut rest, 2).filter(|minute| *minute < 60)?;
        expect(&mut rest, ':')?;
        let second = digits(&mut rest, 2).filter(|second| *second <= 60)?;
        rest.is_empty().then_some((year, month, day, hour * 3600 + minute * 60 + second))
    })();
    let (year, month, day, seconds) = fields.ok_or(FAILED)?;
    if negative || year > 9999 {
        return Err("Timestamp value exceeds limits");
    }
    let day_number = days(year, month, day);
    if date(day_number) != (year, month, day) {
        return Err("Invalid time format: Out-of-range field");
    }
    Ok(day_number * DAY + seconds)
}

/// `+01:30`, in seconds.
fn offset(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let mut rest = text.get(1..)?;
    let hours = digits(&mut rest, 2).filter(|hours| *hours < 24)?;
    expect(&mut rest, ':')?;
    let minutes = digits(&mut rest, 2).filter(|minutes| *minutes < 60)?;
    (text.len() == 6 && rest.is_empty()).then_some(sign * (hours * 60 + minutes) * 60)
}

/// The part behind the point.
fn fraction(text: &str, failed: &'static str, exceeded: &'static str) -> Result<i32, &'static str> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(failed);
    }
    if text.len() > 9 {
        return if text.bytes().all(|b| b == b'0') { Ok(0) } else { Err(exceeded) };
    }
    format!("{text:0<9}").parse().map_err(|_| failed)
}

fn halves(text: &str) -> (&str, &str) {
    text.rsplit_once('.').unwrap_or((text, ""))
}

/// Seconds and nanoseconds of a time.
pub(super) fn timestamp(text: &str) -> Result<(i64, i32), String> {
    const ENDS: &str = "Illegal timestamp format; timestamps must end with 'Z' or have a valid timezone offset.";
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let at = text.rfind(['+', '-']).ok_or(ENDS)?;
            (&text[..at], offset(&text[at..]).ok_or(ENDS)?)
        }
    };
    let (seconds, nanos) = halves(local);
    let seconds = moment(seconds)?;
    let nanos = fraction(nanos, "Invalid time format, failed to parse nano seconds", "Timestamp value exceeds limits")?;
    let seconds = seconds - offset;
    if !(TIME.0..=TIME.1).contains(&seconds) {
        return Err("Timestamp value exceeds limits".to_owned());
    }
    Ok((seconds, nanos))
}

/// Seconds and nanoseconds of a duration.
pub(super) fn duration(text: &str) -> Result<(i64, i32), String> {
    let value = text.strip_suffix('s').ok_or("Illegal duration format; duration must end with 's'")?;
    let (sign, value) = value.strip_prefix('-').map_or((1, value), |rest| (-1, rest));
    let (seconds, nanos) = halves(value);
    let whole = seconds.trim_ascii().strip_prefix('+').unwrap_or(seconds.trim_ascii());
    let whole = Some(whole).filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse::<u64>().ok());
    let whole = whole.ok_or("Invalid duration format, failed to parse seconds")?;
    let nanos = fraction(nanos, "Invalid duration format, failed to parse nano seconds", "Duration value exceeds limits")?;
    let whole = i64::try_from(whole).ok().filter(|seconds| *seconds <= DURATION).ok_or("Duration value exceeds limits")?;
    Ok((sign * whole, sign as i32 * nanos))
}

/// `.5`, `.500`, … in groups of three digits; nothing for none.
fn fraction_text(nanos: i64) -> String {
    match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1000 == 0 => format!(".{:06}", n / 1000),
        n => format!(".{n:09}"),
    }
}

/// A time in text.
pub(super) fn timestamp_text(seconds: i64, nanos: i64) -> Result<String, String> {
    if seconds < TIME.0 {
        return Err("minimum acceptable time value is 0001-01-01T00:00:00Z".to_owned());
    }
    if seconds > TIME.1 {
        return Err("maximum acceptable time value is 9999-12-31T23:59:59Z".to_owned());
    }
    if !(0..NANOS).contains(&nanos) {
        return Err("nanos must be in range [0, +999,999,999]".to_owned());
    }
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{}Z", fraction_text(nanos)))
}

/// A duration in text.
pub(super) fn duration_text(seconds: i64, nanos: i64) -> Result<String, String> {
    if seconds.unsigned_abs() > DURATION.unsigned_abs() {
        return Err("duration out of range".to_owned());
    }
    if nanos.abs() >= NANOS {
        return Err("nanos must be in range [-999,999,999, +999,999,999]".to_owned());
    }
    if seconds.signum() * nanos.signum() < 0 {
        return Err("nanos and seconds signs do not match".to_owned());
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    Ok(format!("{sign}{}{}s", seconds.unsigned_abs(), fraction_text(nanos.abs())))
}

/// The paths of a field mask: `a,b.cD`, also `a(b,c)`.
pub(super) fn mask(text: &str) -> Result<Vec<String>, String> {
    let wrong = |what: &str| format!("Invalid FieldMask '{text}'. {what}");
    let mut paths = Vec::new();
    let mut prefixes: Vec<String> = Vec::new();
    let mut segment = String::new();
    let within = |prefixes: &[String], segment: &str| match prefixes.last() {
        Some(prefix) if !prefix.is_empty() && segment.is_empty() => prefix.clone(),
        Some(prefix) if !prefix.is_empty() && segment.starts_with("[\"") => format!("{prefix}{segment}"),
        Some(prefix) if !prefix.is_empty() => format!("{prefix}.{segment}"),
        _ => segment.to_owned(),
    };
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '[' => {
                if rest.next_if_eq(&'"').is_none() {
                    return Err(wrong("Map keys should be represented as [\"some_key\"]."));
                }
                segment.push_str("[\"");
                let mut escaped = false;
                loop {
                    let Some(inside) = rest.next() else { return Err(wrong("Cannot find matching ']' for all '['.")) };
                    segment.push(inside);
                    match inside {
                        _ if escaped => escaped = false,
                        '\\' => escaped = true,
                        '"' => break,
                        _ => {}
                    }
                }
                if rest.next_if_eq(&']').is_none() {
                    return Err(wrong("Map keys should be represented as [\"some_key\"]."));
                }
                segment.push(']');
                if rest.peek().is_some_and(|c| !matches!(c, '.' | ',' | ')' | '(')) {
                    return Err(wrong("Map keys should be at the end of a path segment."));
                }
            }
            '(' | ',' | ')' => {
                let done = std::mem::take(&mut segment);
                if c == '(' {
                    if prefixes.len() >= super::MAX_DEPTH {
                        return Err(wrong("Too deep."));
                    }
                    let prefix = within(&prefixes, &done);
                    prefixes.push(prefix);
                } else if !done.is_empty() {
                    paths.push(snake(&within(&prefixes, &done)));
                }
                if c == ')' && prefixes.pop().is_none() {
                    return Err(wrong("Cannot find matching '(' for all ')'."));
                }
            }
            c => segment.push(c),
        }
    }
    if !segment.is_empty() {
        paths.push(snake(&within(&prefixes, &segment)));
    }
    if !prefixes.is_empty() {
        return Err(wrong("Cannot find matching ')' for all '('."));
    }
    Ok(paths)
}

/// `fooBar.baz` as `foo_bar.baz`; what is in quotes stays.
fn snake(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 4);
    let mut quoted = false;
    for c in path.chars() {
        quoted ^= c == '"';
        if c.is_ascii_uppercase() && !quoted {
            if !out.is_empty() && !out.ends_with(['_', '.']) {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

/// `foo_bar.baz` as `fooBar.baz`.
pub(super) fn mask_path_text(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut upper = false;
    for c in path.chars() {
        if c == '_' {
            upper = true;
        } else {
            out.push(if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_each_others_inverse() {
        for day in (-719_162..2_932_897).step_by(97) {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
    }
}
