//! `%START_TIME(format)%` and its kin: moments in strftime's language as Envoy speaks it.
//!
//! Beyond strftime: `%s` and `%3s` (whole seconds), `%f`, `%3f` (fraction of the second), `%E3S`, `%E*S`,
//! `%Ez`, `%:z`. Unknown conversions are printed as they stand.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written},
    write::{decimal, padded},
    recent::RecentDate,
    tls,
    zone::{Civil, days_before},
};
use std::time::{Duration, SystemTime};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Conversions that stand for others.
const COMPOUND: &[(u8, &str)] = &[
    (b'D', "%m/%d/%y"),
    (b'F', "%Y-%m-%d"),
    (b'R', "%H:%M"),
    (b'T', "%H:%M:%S"),
    (b'X', "%H:%M:%S"),
    (b'c', "%a %b %e %H:%M:%S %Y"),
    (b'r', "%I:%M:%S %p"),
    (b'x', "%m/%d/%y"),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    /// A strftime conversion that prints one field, and the pad character where it is not the usual one.
    Field(u8, Option<u8>),
    /// Fraction of the second to so many digits.
    Fraction(u8),
    /// Seconds with all digits of their fraction that are not trailing zeros.
    ExactSeconds,
    /// Offset from UTC: with colons, with seconds.
    Offset(bool, bool),
    Unix,
}

/// A compiled date format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFormat {
    parts: Vec<Part>,
}

impl DateFormat {
    /// Compiles a format; every text is one.
    pub fn new(format: &str) -> DateFormat {
        let mut parts = Vec::new();
        compile(format.as_bytes(), &mut parts);
        DateFormat { parts }
    }

    /// What stands before and behind the one fraction of the second, and its digits; `None` where more than that changes
    /// within a second.
    pub(super) fn split_at_fraction(&self) -> Option<(DateFormat, Option<u8>, DateFormat)> {
        let changes = |part: &Part| matches!(part, Part::Fraction(_) | Part::ExactSeconds);
        let of = |parts: &[Part]| DateFormat { parts: parts.to_vec() };
        let Some(at) = self.parts.iter().position(changes) else { return Some((self.clone(), None, of(&[]))) };
        let (before, rest) = self.parts.split_at(at);
        match rest {
            [Part::Fraction(digits), after @ ..] if !after.iter().any(changes) => Some((of(before), Some(*digits), of(after))),
            _ => None,
        }
    }

    /// Appends a moment in this format.
    pub fn write(&self, at: &Civil, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Field(conversion, pad) => write_field(*conversion, *pad, at, out),
                Part::Fraction(digits) => fraction(at.nanos, *digits, out),
                Part::ExactSeconds => {
                    padded(out, u64::from(at.second), 2);
                    if at.nanos != 0 {
                        out.push(b'.');
                        fraction(at.nanos, 9, out);
                        while out.last() == Some(&b'0') {
                            out.pop();
                        }
                    }
                }
                Part::Offset(colon, seconds) => offset(at.offset, *colon, *seconds, out),
                Part::Unix => {
                    decimal(out, u64::try_from(at.unix).unwrap_or_default());
                }
            }
        }
    }
}

fn text(bytes: &[u8], parts: &mut Vec<Part>) {
    if let Some(Part::Text(last)) = parts.last_mut() {
        *last = [last, bytes].concat().into_boxed_slice();
    } else if !bytes.is_empty() {
        parts.push(Part::Text(bytes.into()));
    }
}

fn compile(format: &[u8], parts: &mut Vec<Part>) {
    let mut at = 0;
    while at < format.len() {
        let rest = &format[at..];
        if rest[0] == b'%'
            && let Some(len) = conversion(&rest[1..], parts)
        {
            at += 1 + len;
            continue;
        }
        text(&rest[..1], parts);
        at += 1;
    }
}

/// Compiles the conversion at the start of `rest`, which follows a `%`: its length, or `None` if it is none.
fn conversion(rest: &[u8], parts: &mut Vec<Part>) -> Option<usize> {
    let first = *rest.first()?;
    let pad = match first {
        b'-' => Some(0),
        b'_' => Some(b' '),
        b'0' => Some(b'0'),
        _ => None,
    };
    if let Some(pad) = pad {
        let field = *rest.get(1)?;
        if !is_field(field) {
            return None;
        }
        parts.push(Part::Field(field, Some(pad)));
        return Some(2);
    }
    match first {
        b'1'..=b'9' => {
            match rest.get(1)? {
                b'f' => parts.push(Part::Fraction(first - b'0')),
                b's' => parts.push(Part::Unix),
                _ => return None,
            }
            Some(2)
        }
        b'f' => push(parts, Part::Fraction(9), 1),
        b's' => push(parts, Part::Unix, 1),
        b'z' => push(parts, Part::Offset(false, false), 1),
        b':' if rest.starts_with(b":z") => push(parts, Part::Offset(true, false), 2),
        b':' if rest.starts_with(b"::z") => push(parts, Part::Offset(true, true), 3),
        b'E' => extended(rest, parts),
        b'O' => {
            let field = *rest.get(1)?;
            is_field(field).then_some(())?;
            push(parts, Part::Field(field, None), 2)
        }
        b'%' => {
            text(b"%", parts);
            Some(1)
        }
        b'n' | b't' => {
            text(if first == b'n' { b"\n" } else { b"\t" }, parts);
            Some(1)
        }
        _ => simple(first, parts),
    }
}

fn push(parts: &mut Vec<Part>, part: Part, len: usize) -> Option<usize> {
    parts.push(part);
    Some(len)
}

fn simple(conversion: u8, parts: &mut Vec<Part>) -> Option<usize> {
    if let Some((_, format)) = COMPOUND.iter().find(|(c, _)| *c == conversion) {
        compile(format.as_bytes(), parts);
        return Some(1);
    }
    is_field(conversion).then_some(())?;
    push(parts, Part::Field(conversion, None), 1)
}

/// `E` and what it modifies.
fn extended(rest: &[u8], parts: &mut Vec<Part>) -> Option<usize> {
    match rest.get(1)? {
        b'z' => push(parts, Part::Offset(true, false), 2),
        b'T' => {
            text(b"T", parts);
            Some(2)
        }
        b'4' if rest.get(2) == Some(&b'Y') => push(parts, Part::Field(b'Y', None), 3),
        b'*' => match rest.get(2)? {
            b'z' => push(parts, Part::Offset(true, true), 3),
            b'S' => push(parts, Part::ExactSeconds, 3),
            b'f' => push(parts, Part::Fraction(9), 3),
            _ => None,
        },
        digit @ b'0'..=b'9' => {
            let digits = digit - b'0';
            match rest.get(2)? {
                b'f' => parts.push(Part::Fraction(digits)),
                b'S' => {
                    parts.push(Part::Field(b'S', None));
                    if digits > 0 {
                        text(b".", parts);
                        parts.push(Part::Fraction(digits));
                    }
                }
                _ => return None,
            }
            Some(3)
        }
        other => simple(*other, parts).map(|_| 2),
    }
}

fn is_field(conversion: u8) -> bool {
    b"aAbBhCdegGHIjklmMpPSuUVwWyYZ".contains(&conversion)
}

pub(super) fn fraction(nanos: u32, digits: u8, out: &mut Vec<u8>) {
    let digits = digits.min(9);
    padded(out, u64::from(nanos / 10_u32.pow(u32::from(9 - digits))), usize::from(digits));
}

fn offset(seconds: i32, colon: bool, with_seconds: bool, out: &mut Vec<u8>) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let all = u64::from(seconds.unsigned_abs());
    padded(out, all / 3_600, 2);
    if colon {
        out.push(b':');
    }
    padded(out, all / 60 % 60, 2);
    if with_seconds {
        out.push(b':');
        padded(out, all % 60, 2);
    }
}

fn write_field(conversion: u8, pad: Option<u8>, at: &Civil, out: &mut Vec<u8>) {
    let name = |names: &[&'static str], index: u32| names.get(index as usize).copied().unwrap_or_default();
    let twelve = (at.hour + 11) % 12 + 1;
    let year = u64::try_from(at.year).unwrap_or_default();
    let texts = match conversion {
        b'a' => &name(&DAYS, at.weekday)[..3],
        b'A' => name(&DAYS, at.weekday),
        b'b' | b'h' => &name(&MONTHS, at.month.saturating_sub(1))[..3],
        b'B' => name(&MONTHS, at.month.saturating_sub(1)),
        b'p' if at.hour < 12 => "AM",
        b'p' => "PM",
        b'P' if at.hour < 12 => "am",
        b'P' => "pm",
        b'Z' => at.abbreviation(),
        _ => "",
    };
    if !texts.is_empty() {
        return out.extend_from_slice(texts.as_bytes());
    }
    let (number, width, usual_pad) = match conversion {
        b'C' => (year / 100, 2, b'0'),
        b'd' => (u64::from(at.day), 2, b'0'),
        b'e' => (u64::from(at.day), 2, b' '),
        b'g' => (iso_week(at).0 % 100, 2, b'0'),
        b'G' => (iso_week(at).0, 1, b'0'),
        b'H' => (u64::from(at.hour), 2, b'0'),
        b'I' => (u64::from(twelve), 2, b'0'),
        b'j' => (u64::from(at.year_day + 1), 3, b'0'),
        b'k' => (u64::from(at.hour), 2, b' '),
        b'l' => (u64::from(twelve), 2, b' '),
        b'm' => (u64::from(at.month), 2, b'0'),
        b'M' => (u64::from(at.minute), 2, b'0'),
        b'S' => (u64::from(at.second), 2, b'0'),
        b'u' => (u64::from((at.weekday + 6) % 7 + 1), 1, b'0'),
        b'U' => (u64::from((at.year_day + 7 - at.weekday) / 7), 2, b'0'),
        b'V' => (iso_week(at).1, 2, b'0'),
        b'w' => (u64::from(at.weekday), 1, b'0'),
        b'W' => (u64::from((at.year_day + 7 - (at.weekday + 6) % 7) / 7), 2, b'0'),
        b'y' => (year % 100, 2, b'0'),
        _ => (year, 1, b'0'),
    };
    match pad.unwrap_or(usual_pad) {
        b'0' => padded(out, number, width),
        b' ' => {
            let digits = if number < 10 { 1 } else { 2 };
            out.extend(std::iter::repeat_n(b' ', width.saturating_sub(digits)));
            decimal(out, number);
        }
        _ => {
            decimal(out, number);
        }
    }
}

/// Year and number of the ISO 8601 week: weeks begin on Monday, the first one holds January 4th.
fn iso_week(at: &Civil) -> (u64, u64) {
    let monday_based = i64::from((at.weekday + 6) % 7);
    let thursday = i64::from(at.year_day) - monday_based + 3;
    let length = |year: i64| days_before(year + 1) - days_before(year);
    let (year, day) = if thursday < 0 {
        (at.year - 1, thursday + length(at.year - 1))
    } else if thursday >= length(at.year) {
        (at.year + 1, thursday - length(at.year))
    } else {
        (at.year, thursday)
    };
    (u64::try_from(year).unwrap_or_default(), u64::try_from(day / 7 + 1).unwrap_or_default())
}

/// Which moment a command prints, in which zone.
#[derive(Debug)]
struct Moment {
    format: DateFormat,
    /// The same, where it can be kept for a second.
    recent: Option<RecentDate>,
    local: bool,
    /// What every moment is written as: plain, unless the format has something else in it.
    written: Written,
    /// `None` where there is nothing to date.
    of: fn(&FormatCx<'_>) -> Option<SystemTime>,
}

impl Parametric for Moment {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let Some(time) = (self.of)(cx) else { return Written::Absent };
        if self.recent.as_ref().is_some_and(|recent| recent.write(time, out)) {
            return self.written;
        }
        self.format.write(&if self.local { Civil::local(time) } else { Civil::utc(time) }, out);
        self.written
    }
}

pub(super) fn start_time(args: Args<'_>) -> Result<Command, String> {
    moment(args, false, |cx| Some(cx.stream.info.start.wall()))
}

pub(super) fn start_time_local(args: Args<'_>) -> Result<Command, String> {
    moment(args, true, |cx| Some(cx.stream.info.start.wall()))
}

pub(super) fn emit_time(args: Args<'_>) -> Result<Command, String> {
    moment(args, false, |_| Some(SystemTime::now()))
}

pub(super) fn emit_time_local(args: Args<'_>) -> Result<Command, String> {
    moment(args, true, |_| Some(SystemTime::now()))
}

/// When a certificate is good, given in Unix seconds.
fn certified(seconds: i64) -> SystemTime {
    let time = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - time } else { SystemTime::UNIX_EPOCH + time }
}

pub(super) fn downstream_peer_start(args: Args<'_>) -> Result<Command, String> {
    moment(args, false, |cx| tls::downstream_peer(cx).map(|peer| certified(peer.valid_from)))
}

pub(super) fn downstream_peer_end(args: Args<'_>) -> Result<Command, String> {
    moment(args, false, |cx| tls::downstream_peer(cx).map(|peer| certified(peer.expires)))
}

pub(super) fn upstream_peer_start(args: Args<'_>) -> Result<Command, String> {
    moment(args, false, |cx| tls::upstream_peer(cx).map(|peer| certified(peer.valid_from)))
}

pub(super) fn upstream_peer_end(args: Args<'_>) -> Result<Command, String> {
    moment(args, false, |cx| tls::upstream_peer(cx).map(|peer| certified(peer.expires)))
}

fn moment(args: Args<'_>, local: bool, of: fn(&FormatCx<'_>) -> Option<SystemTime>) -> Result<Command, String> {
    refuse_line_feed(args.params)?;
    let format = match args.params {
        "" if local => "%Y-%m-%dT%H:%M:%E3S%z",
        "" => "%Y-%m-%dT%H:%M:%E3SZ",
        format => format,
    };
    let plain = format.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    let written = if plain { Written::Plain } else { Written::Text };
    let format = DateFormat::new(format);
    Ok(Command::with(Moment { recent: RecentDate::new(&format, local), format, local, written, of }))
}

/// `%n` would split a log line in two.
fn refuse_line_feed(format: &str) -> Result<(), String> {
    let splits = format.split('%').skip(1).any(|spec| {
        let spec = spec.trim_start_matches(['-', '_', '0', '^', '#']).trim_start_matches(|c: char| c.is_ascii_digit());
        spec.strip_prefix(['E', 'O']).unwrap_or(spec).starts_with('n')
    });
    if splits {
        return Err("Invalid header configuration. Format string contains newline.".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Envoy 1.40 for 2026-11-21T04:16:28.720944Z.
    #[test]
    fn every_conversion_prints_what_envoy_prints() {
        let at = Civil::utc(SystemTime::UNIX_EPOCH + Duration::new(1_795_234_588, 720_944_000));
        for (format, want) in [
            ("%1f %3f %6f %9f %f %2f %E3f", "7 720 720944 720944000 720944000 72 720"),
            ("%s %3s %6s %s.%3f", "1795234588 1795234588 1795234588 1795234588.720"),
            ("%Q %L abc %", "%Q %L abc %"),
            ("%E4S %E*S %ET %E4Y", "28.7209 28.720944 T 2026"),
            ("%Ez %::z %z %Z", "+00:00 +00:00:00 +0000 UTC"),
            ("%e %j %c", "21 325 Sat Nov 21 04:16:28 2026"),
            ("%D %x %X %Ex %Oy", "11/21/26 11/21/26 04:16:28 11/21/26 26"),
            ("%p %I %P %k %l %r", "AM 04 am  4  4 04:16:28 AM"),
            ("%u %w %U %V %G %g %C %y", "6 6 46 47 2026 26 20 26"),
            ("%a %A %b %B %h", "Sat Saturday Nov November Nov"),
            ("%%Y %T %R %F", "%Y 04:16:28 04:16 2026-11-21"),
            ("%Y-%m-%dT%H:%M:%E3SZ", "2026-11-21T04:16:28.720Z"),
        ] {
            let mut out = Vec::new();
            DateFormat::new(format).write(&at, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want, "{format}");
        }
    }

    #[test]
    fn iso_weeks_belong_to_the_year_of_their_thursday() {
        for (unix, want) in [(1_609_459_200, "2020-53"), (1_735_603_200, "2025-01"), (1_704_067_200, "2024-01")] {
            let mut out = Vec::new();
            DateFormat::new("%G-%V").write(&Civil::utc(SystemTime::UNIX_EPOCH + Duration::from_secs(unix)), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }
}
