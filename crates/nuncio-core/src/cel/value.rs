//! Values of expressions. What is taken from an exchange is borrowed.

use super::attributes::Root;
use super::expr::Literal;
use crate::metadata::{Metadata, MetadataValue};
use crate::FilterState;
use nuncio_codec::headers::HeaderMap;
use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap, rc::Rc};

/// A value.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `uint`
    Uint(u64),
    /// `double`
    Double(f64),
    /// `string`; mostly UTF-8, but headers may hold anything.
    Text(Cow<'a, [u8]>),
    /// `bytes`
    Bytes(Cow<'a, [u8]>),
    /// `duration`, in nanoseconds.
    Duration(i64),
    /// `timestamp`, in nanoseconds since 1970.
    Timestamp(i64),
    /// A list.
    List(Rc<[Value<'a>]>),
    /// A map, or something with fields.
    Map(Map<'a>),
    /// A type, by its name.
    Type(&'static str),
}

/// What has fields.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// `{…}`
    Made(Rc<[(Value<'a>, Value<'a>)]>),
    /// A head or trailers.
    Headers(&'a HeaderMap),
    /// `core.v3.Metadata`
    Metadata(&'a Metadata),
    /// Its `filter_metadata`.
    Namespaces(&'a Metadata),
    /// A structure in it.
    Struct(&'a BTreeMap<String, MetadataValue>),
    /// Filter state.
    State(&'a FilterState),
    /// `request`, `response`, ….
    Root(Root),
}

impl<'a> Value<'a> {
    /// A borrowed text.
    pub fn text(text: &'a [u8]) -> Value<'a> {
        Value::Text(Cow::Borrowed(text))
    }

    /// The value of a literal.
    pub(super) fn of(literal: &'a Literal) -> Value<'a> {
        match literal {
            Literal::Null => Value::Null,
            Literal::Bool(b) => Value::Bool(*b),
            Literal::Int(n) => Value::Int(*n),
            Literal::Uint(n) => Value::Uint(*n),
            Literal::Double(n) => Value::Double(*n),
            Literal::Text(text) => Value::text(text),
            Literal::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Literal::Duration(nanos) => Value::Duration(*nanos),
            Literal::Timestamp(nanos) => Value::Timestamp(*nanos),
        }
    }

    /// A value of metadata.
    pub(super) fn of_metadata(value: &'a MetadataValue) -> Value<'a> {
        match value {
            MetadataValue::Null => Value::Null,
            MetadataValue::Bool(b) => Value::Bool(*b),
            MetadataValue::Number(n) => Value::Double(*n),
            MetadataValue::Text(text) => Value::text(text.as_bytes()),
            MetadataValue::List(list) => Value::List(list.iter().map(Value::of_metadata).collect()),
            MetadataValue::Struct(fields) => Value::Map(Map::Struct(fields)),
        }
    }

    /// The name of its type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Text(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Type(_) => "type",
        }
    }

    /// Whether two values are equal; values of different types are not, but numbers are compared as numbers.
    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a), Value::Text(b)) | (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals(b)),
            (Value::Map(Map::Made(a)), Value::Map(Map::Made(b))) => {
                let in_b = |key: &Value<'_>, value: &Value<'_>| b.iter().any(|(k, v)| k.equals(key) && v.equals(value));
                a.len() == b.len() && a.iter().all(|(key, value)| in_b(key, value))
            }
            _ => self.compare_numbers(other) == Some(Ordering::Equal),
        }
    }

    /// Their order, where they have one.
    pub(super) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) | (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            _ => self.compare_numbers(other),
        }
    }

    fn compare_numbers(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Value::Double(a), _) => a.partial_cmp(&other.number()?),
            (_, Value::Double(b)) => self.number()?.partial_cmp(b),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Value::Int(n) => Some(*n as f64),
            Value::Uint(n) => Some(*n as f64),
            Value::Double(n) => Some(*n),
            _ => None,
        }
    }

    /// It as logs print it; `None` where they print nothing.
    pub fn print(&self, out: &mut Vec<u8>) -> Option<()> {
        use std::io::Write;
        // Writing to a vector cannot fail.
        let _ = match self {
            Value::Null => write!(out, "NULL"),
            Value::Bool(b) => write!(out, "{b}"),
            Value::Int(n) => write!(out, "{n}"),
            Value::Uint(n) => write!(out, "{n}"),
            Value::Double(n) => write!(out, "{}", six_digits(*n)),
            Value::Text(text) | Value::Bytes(text) => out.write_all(text),
            Value::Duration(nanos) => write!(out, "{}", duration(*nanos)),
            Value::Timestamp(nanos) => write!(out, "{}", timestamp(*nanos)?),
            Value::List(_) => write!(out, "CelList value"),
            Value::Map(Map::Metadata(metadata)) if metadata.is_empty() => return None,
            Value::Map(_) => write!(out, "CelMap value"),
            Value::Type(_) => write!(out, "CelType value"),
        };
        Some(())
    }
}

/// Six significant digits, as C++ prints a number.
fn six_digits(n: f64) -> String {
    if n == 0.0 || !n.is_finite() {
        return format!("{n}");
    }
    let magnitude = n.abs().log10().floor() as i32;
    if !(-4..6).contains(&magnitude) {
        let text = format!("{n:.5e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let digits = usize::try_from(5 - magnitude).unwrap_or(0);
    let text = format!("{n:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `1h2m3.5s`; less than a second in the unit that fits.
fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    let fraction = |whole: u64, unit: u64| {
        let text = format!("{:09}", (all % unit) * (1_000_000_000 / unit));
        let text = text.trim_end_matches('0');
        if text.is_empty() { whole.to_string() } else { format!("{whole}.{text}") }
    };
    match all {
        0 => "0".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => format!("{sign}{}us", fraction(all / 1_000, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(all / 1_000_000, 1_000_000)),
        _ => {
            let seconds = all / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let mut text = sign.to_owned();
            if hours > 0 {
                text.push_str(&format!("{hours}h"));
            }
            if minutes > 0 {
                text.push_str(&format!("{minutes}m"));
            }
            if all % 60_000_000_000 > 0 {
                text.push_str(&fraction(seconds % 60, 1_000_000_000));
                text.push('s');
            }
            text
        }
    }
}

fn timestamp(nanos: i64) -> Option<String> {
    let at = jiff::Timestamp::from_nanosecond(nanos.into()).ok()?;
    let text = at.to_string();
    Some(format!("{}+00:00", text.trim_end_matches('Z')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_durations_and_times_print_as_envoy_prints_them() {
        for (number, wanted) in [(4.0, "4"), (1.0 / 3.0, "0.333333"), (1000.0, "1000"), (1e20, "1e+20"), (0.00001, "1e-05"), (123_456_789.0, "1.23457e+08")] {
            assert_eq!(six_digits(number), wanted);
        }
        for (nanos, wanted) in [(90_000_000_000, "1m30s"), (1_500_000_000, "1.5s"), (0, "0"), (2_500_000, "2.5ms"), (3_600_000_000_000, "1h")] {
            assert_eq!(duration(nanos), wanted);
        }
        assert_eq!(timestamp(1_577_934_245_000_000_000).as_deref(), Some("2020-01-02T03:04:05+00:00"));
    }
}
