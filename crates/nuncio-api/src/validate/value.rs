//! Rules about one value: bounds, allowed values, text.

use crate::codes;
use crate::schema::{
    Encoding, Field, HeaderPart, Kind, Limit, Reader, Rules, Text, WellKnown, Wire,
};
use regex::Regex;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{LazyLock, Mutex, PoisonError};

/// A value that breaks a rule.
pub(super) struct Fault {
    pub code: &'static str,
    /// Completes "`field` …": "must be > 0s".
    pub rule: String,
    /// The value, where showing it helps.
    pub shown: Option<String>,
    pub label: String,
    pub help: Option<String>,
    /// The fault is that there is nothing.
    pub empty: bool,
}

impl Fault {
    pub fn new(code: &'static str, rule: String, label: String) -> Fault {
        Fault {
            code,
            rule,
            shown: None,
            label,
            help: None,
            empty: false,
        }
    }

    fn bound(rule: String, shown: impl Display) -> Fault {
        Fault {
            shown: Some(shown.to_string()),
            ..Fault::new(codes::OUT_OF_BOUNDS, rule.clone(), rule)
        }
    }
}

/// What is wrong with a value by its rules, if anything.
pub(super) fn fault(field: &Field, rules: &Rules, wire: Wire<'_>) -> Option<Fault> {
    match field.kind {
        Kind::Message(_) => of_message(field, rules, wire),
        Kind::Double | Kind::Float => of_float(rules, float(field.kind, wire)),
        Kind::String | Kind::Bytes => {
            let text = rules.text.as_ref()?;
            if rules.ignore_empty && wire.bytes().is_empty() {
                return None;
            }
            of_text(text, field.kind, wire.bytes())
        }
        Kind::Bool => of_bool(rules, wire.integer() != 0),
        Kind::Enum(_) => of_enum(field, rules, wire.integer() as i32),
        _ => {
            let value = integer(field, wire);
            if rules.ignore_empty && value == 0 {
                return None;
            }
            of_integer(&rules.whole, value, |v| v.to_string())
        }
    }
}

/// Wrappers have the rules of what they wrap; durations are bounded.
fn of_message(field: &Field, rules: &Rules, wire: Wire<'_>) -> Option<Fault> {
    let message = field.kind.message()?;
    match message.well_known? {
        WellKnown::Wrapper => {
            let inner = message.fields.first()?;
            let unset = if matches!(inner.kind, Kind::String | Kind::Bytes) {
                Wire::Bytes(&[])
            } else {
                Wire::Varint(0)
            };
            let value = Reader::new(wire.bytes())
                .filter(|(n, _)| *n == 1)
                .last()
                .map_or(unset, |(_, v)| v);
            fault(inner, rules, value)
        }
        WellKnown::Duration => {
            let nanos = nanoseconds(wire.bytes());
            of_integer(&rules.whole, nanos, seconds).or_else(|| beyond_clock(nanos))
        }
        _ => None,
    }
}

/// Envoy takes no negative and no endless durations, whatever the rules say.
pub(super) fn unusable_duration(field: &Field, wire: Wire<'_>) -> Option<Fault> {
    let message = field.kind.message()?;
    if message.well_known != Some(WellKnown::Duration) {
        return None;
    }
    beyond_clock(nanoseconds(wire.bytes()))
}

/// Envoy counts nanoseconds in 64 bits, less the last second: about 292 years.
const MAX_NANOSECONDS: i128 = 9_223_372_036 * 1_000_000_000;

fn beyond_clock(nanos: i128) -> Option<Fault> {
    if nanos < 0 {
        return Some(Fault::bound(
            "must not be negative".to_owned(),
            seconds(nanos),
        ));
    }
    (nanos >= MAX_NANOSECONDS).then(|| {
        Fault::bound(
            format!("must be < {}", seconds(MAX_NANOSECONDS)),
            seconds(nanos),
        )
    })
}

fn of_integer(limit: &Limit<i128>, value: i128, show: impl Fn(i128) -> String) -> Option<Fault> {
    if limit.admits(value) {
        return None;
    }
    Some(Fault::bound(bounds(limit, &show), show(value)))
}

fn of_float(rules: &Rules, value: f64) -> Option<Fault> {
    if rules.float.admits(value) {
        return None;
    }
    Some(Fault::bound(
        bounds(&rules.float, &|v: f64| v.to_string()),
        value,
    ))
}

/// "must be > 0s and <= 10s"
fn bounds<T: Copy>(limit: &Limit<T>, show: &impl Fn(T) -> String) -> String {
    let named = [
        (">", limit.gt),
        (">=", limit.gte),
        ("<", limit.lt),
        ("<=", limit.lte),
    ];
    let set: Vec<String> = named
        .iter()
        .filter_map(|(sign, bound)| Some(format!("{sign} {}", show((*bound)?))))
        .collect();
    format!("must be {}", set.join(" and "))
}

fn of_bool(rules: &Rules, value: bool) -> Option<Fault> {
    let constant = rules.constant.filter(|c| *c != value)?;
    Some(Fault::new(
        codes::NOT_ALLOWED,
        format!("must be {constant}"),
        format!("must be {constant}"),
    ))
}

fn of_enum(field: &Field, rules: &Rules, value: i32) -> Option<Fault> {
    let enumeration = field.kind.enumeration()?;
    let name = enumeration.by_number(value).map(|v| v.name);
    let allowed = |number: i32| !rules.not_in.contains(&number);
    if allowed(value) && (name.is_some() || !rules.defined_only) {
        return None;
    }
    let names = enumeration
        .values
        .iter()
        .filter(|v| allowed(v.number))
        .map(|v| format!("`{}`", v.name));
    let names: Vec<String> = names.take(20).collect();
    let shown = name.map_or_else(|| value.to_string(), |n| format!("`{n}`"));
    let mut fault = Fault::new(
        codes::NOT_ALLOWED,
        format!("cannot be {shown}"),
        "not allowed here".to_owned(),
    );
    fault.help = Some(format!("it is one of {}", names.join(", ")));
    Some(fault)
}

fn of_text(rules: &Text, kind: Kind, bytes: &[u8]) -> Option<Fault> {
    let text = if matches!(kind, Kind::String) {
        std::str::from_utf8(bytes).unwrap_or_default()
    } else {
        ""
    };
    let length = if matches!(kind, Kind::String) {
        text.chars().count()
    } else {
        bytes.len()
    } as u64;
    let bad = |rule: String| {
        Some(Fault {
            shown: None,
            ..Fault::new(codes::BAD_TEXT, rule.clone(), rule)
        })
    };
    if let Some(min) = rules.min_len.filter(|min| length < *min) {
        let rule = if min == 1 {
            "must not be empty".to_owned()
        } else {
            format!("must have at least {min} characters")
        };
        return bad(rule).map(|fault| Fault {
            empty: length == 0 && min == 1,
            ..fault
        });
    }
    if let Some(max) = rules.max_len.filter(|max| length > *max) {
        return bad(format!("must have at most {max} characters"));
    }
    if let Some(exact) = rules.len.filter(|exact| length != *exact) {
        return bad(format!("must have {exact} characters"));
    }
    if let Some(max) = rules.max_bytes.filter(|max| bytes.len() as u64 > *max) {
        return bad(format!("must have at most {max} bytes"));
    }
    if let Some(part) = rules
        .header
        .filter(|part| !fits_header(text, *part, rules.strict))
    {
        return bad(match part {
            HeaderPart::Name => "must be a header name".to_owned(),
            HeaderPart::Value => "must be a header value, without control characters".to_owned(),
        });
    }
    if !rules.one_of.is_empty() && !rules.one_of.contains(&text) {
        let names: Vec<String> = rules.one_of.iter().map(|n| format!("`{n}`")).collect();
        let mut fault = Fault::new(
            codes::NOT_ALLOWED,
            format!("cannot be `{text}`"),
            "not allowed here".to_owned(),
        );
        fault.help = Some(format!("it is one of {}", names.join(", ")));
        return Some(fault);
    }
    if let Some(prefix) = rules.prefix.filter(|prefix| !text.starts_with(prefix)) {
        return bad(format!("must begin with `{prefix}`"));
    }
    if let Some(suffix) = rules.suffix.filter(|suffix| !text.ends_with(suffix)) {
        return bad(format!("must end with `{suffix}`"));
    }
    if let Some(pattern) = rules.pattern.filter(|pattern| !matches(pattern, text)) {
        return bad(format!("must match `{pattern}`"));
    }
    None
}

/// protoc-gen-validate's well-known expressions, spelt out. The empty text passes: unset fields are checked too.
fn fits_header(text: &str, part: HeaderPart, strict: bool) -> bool {
    match (part, strict) {
        (HeaderPart::Name, true) => {
            let name = text.strip_prefix(':').unwrap_or(text);
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~`".contains(&b);
            name.bytes().all(token)
        }
        (HeaderPart::Value, true) => text.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f)),
        (_, false) => !text.bytes().any(|b| matches!(b, 0 | b'\n' | b'\r')),
    }
}

/// Patterns come from the descriptors: few, and each compiled once.
fn matches(pattern: &'static str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<HashMap<&'static str, Option<Regex>>>> =
        LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let regex = compiled
        .entry(pattern)
        .or_insert_with(|| Regex::new(pattern).ok());
    regex.as_ref().is_none_or(|regex| regex.is_match(text))
}

fn integer(field: &Field, wire: Wire<'_>) -> i128 {
    let raw = wire.integer();
    match (field.kind, field.encoding) {
        (Kind::Uint32 | Kind::Uint64, _) => i128::from(raw),
        (_, Encoding::ZigZag) => i128::from((raw >> 1) as i64 ^ -((raw & 1) as i64)),
        (Kind::Int32, _) => i128::from(raw as i32),
        _ => i128::from(raw as i64),
    }
}

fn float(kind: Kind, wire: Wire<'_>) -> f64 {
    match kind {
        Kind::Float => f64::from(f32::from_bits(wire.integer() as u32)),
        _ => f64::from_bits(wire.integer()),
    }
}

fn nanoseconds(bytes: &[u8]) -> i128 {
    Reader::new(bytes).fold(0, |sum, (number, wire)| match number {
        1 => sum + i128::from(wire.integer() as i64) * 1_000_000_000,
        2 => sum + i128::from(wire.integer() as i32),
        _ => sum,
    })
}

/// `0.25s`
fn seconds(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, fraction) = (nanos.abs() / 1_000_000_000, nanos.abs() % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{whole}s");
    }
    format!(
        "{sign}{whole}.{}s",
        format!("{fraction:09}").trim_end_matches('0')
    )
}
