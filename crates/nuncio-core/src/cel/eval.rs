//! Working out an expression.

use super::attributes;
use super::expr::{Expr, Function};
use super::value::{Map, Value};
use crate::StreamCx;
use jiff::tz::{Offset, TimeZone};
use std::{borrow::Cow, cmp::Ordering};

/// Why there is no value: something is missing, or does not go together. Conditions then do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoValue;

pub(super) type Result<'a> = std::result::Result<Value<'a>, NoValue>;

/// The value of an expression about an exchange.
pub(super) fn eval<'a>(expr: &'a Expr, cx: &'a StreamCx) -> Result<'a> {
    match expr {
        Expr::Literal(literal) => Ok(Value::of(literal)),
        Expr::Name(name) => attributes::name(name, cx).ok_or(NoValue),
        Expr::Select(of, field) => match eval(of, cx)? {
            Value::Map(map) => get(&map, &Value::text(field.as_bytes()), cx).ok_or(NoValue),
            _ => Err(NoValue),
        },
        Expr::Has(of, field) => match eval(of, cx)? {
            Value::Map(map) => Ok(Value::Bool(get(&map, &Value::text(field.as_bytes()), cx).is_some())),
            _ => Err(NoValue),
        },
        Expr::List(items) => Ok(Value::List(items.iter().map(|item| eval(item, cx)).collect::<std::result::Result<_, _>>()?)),
        Expr::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| Ok((eval(key, cx)?, eval(value, cx)?)));
            Ok(Value::Map(Map::Made(entries.collect::<std::result::Result<_, NoValue>>()?)))
        }
        Expr::Matches(of, pattern) => match eval(of, cx)? {
            Value::Text(text) => Ok(Value::Bool(pattern.matches(&text))),
            _ => Err(NoValue),
        },
        Expr::Taken(of, taken) => super::regex::eval(taken, &eval(of, cx)?),
        Expr::Call(function, arguments) => call(*function, arguments, cx),
    }
}

/// An entry of a map.
fn get<'a>(map: &Map<'a>, key: &Value<'_>, cx: &'a StreamCx) -> Option<Value<'a>> {
    if let Map::Made(entries) = map {
        return entries.iter().find(|(own, _)| own.equals(key)).map(|(_, value)| value.clone());
    }
    let Value::Text(key) = key else { return None };
    let text = std::str::from_utf8(key).ok()?;
    match map {
        Map::Made(_) => None,
        Map::Headers(head) => attributes::header(head, key),
        Map::Metadata(metadata) => (text == "filter_metadata").then_some(Value::Map(Map::Namespaces(metadata))),
        Map::Namespaces(metadata) => metadata.get(text).map(Value::of_metadata),
        Map::Struct(fields) => fields.get(text).map(Value::of_metadata),
        Map::State(state) => state.get(text).map(|object| Value::Bytes(Cow::Borrowed(object))),
        Map::Root(root) => attributes::field(*root, text, cx),
    }
}

fn call<'a>(function: Function, arguments: &'a [Expr], cx: &'a StreamCx) -> Result<'a> {
    // These do not need all of their arguments.
    match (function, arguments) {
        (Function::And, [a, b]) => return both(eval(a, cx), || eval(b, cx), false),
        (Function::Or, [a, b]) => return both(eval(a, cx), || eval(b, cx), true),
        (Function::Choose, [condition, yes, no]) => {
            return match eval(condition, cx)? {
                Value::Bool(true) => eval(yes, cx),
                Value::Bool(false) => eval(no, cx),
                _ => Err(NoValue),
            };
        }
        _ => {}
    }
    match arguments {
        [a] => of_one(function, eval(a, cx)?),
        [a, b] => of_two(function, eval(a, cx)?, eval(b, cx)?, cx),
        _ => Err(NoValue),
    }
}

/// `&&` and `||`: one side alone may decide, whatever became of the other.
fn both<'a>(first: Result<'a>, second: impl FnOnce() -> Result<'a>, decides: bool) -> Result<'a> {
    let bool = |side: &Result<'a>| if let Ok(Value::Bool(b)) = side { Some(*b) } else { None };
    let first = bool(&first);
    if first == Some(decides) {
        return Ok(Value::Bool(decides));
    }
    match (first, bool(&second())) {
        (_, Some(second)) if second == decides => Ok(Value::Bool(decides)),
        (Some(_), Some(_)) => Ok(Value::Bool(!decides)),
        _ => Err(NoValue),
    }
}

fn of_one(function: Function, of: Value<'_>) -> Result<'_> {
    use Function as F;
    Ok(match (function, of) {
        (F::Dyn, of) => of,
        (F::Not, Value::Bool(b)) => Value::Bool(!b),
        (F::Negate, Value::Int(n)) => Value::Int(n.checked_neg().ok_or(NoValue)?),
        (F::Negate, Value::Double(n)) => Value::Double(-n),
        (F::Type, of) => Value::Type(of.kind()),
        (F::Size, Value::Text(text)) => size(String::from_utf8_lossy(&text).chars().count()),
        (F::Size, Value::Bytes(bytes)) => size(bytes.len()),
        (F::Size, Value::List(list)) => size(list.len()),
        (F::Size, Value::Map(Map::Made(entries))) => size(entries.len()),
        (F::Size, Value::Map(Map::Headers(head))) => size(head.len()),
        (F::Size, Value::Map(Map::Struct(fields))) => size(fields.len()),
        (F::Size, Value::Map(Map::Namespaces(metadata))) => size(metadata.len()),
        (F::Int, Value::Int(n)) => Value::Int(n),
        (F::Int, Value::Uint(n)) => Value::Int(i64::try_from(n).map_err(|_| NoValue)?),
        (F::Int, Value::Double(n)) if n.is_finite() && n.abs() < 9.2e18 => Value::Int(n as i64),
        (F::Int, Value::Text(text)) => Value::Int(parsed(&text)?),
        (F::Int, Value::Timestamp(nanos)) => Value::Int(nanos.div_euclid(1_000_000_000)),
        (F::Uint, Value::Uint(n)) => Value::Uint(n),
        (F::Uint, Value::Int(n)) => Value::Uint(u64::try_from(n).map_err(|_| NoValue)?),
        (F::Uint, Value::Double(n)) if (0.0..1.8e19).contains(&n) => Value::Uint(n as u64),
        (F::Uint, Value::Text(text)) => Value::Uint(parsed(&text)?),
        (F::Double, Value::Double(n)) => Value::Double(n),
        (F::Double, Value::Int(n)) => Value::Double(n as f64),
        (F::Double, Value::Uint(n)) => Value::Double(n as f64),
        (F::Double, Value::Text(text)) => Value::Double(parsed(&text)?),
        (F::Bool, Value::Bool(b)) => Value::Bool(b),
        (F::Bool, Value::Text(text)) => match &*text {
            b"true" | b"True" | b"TRUE" | b"t" | b"1" => Value::Bool(true),
            b"false" | b"False" | b"FALSE" | b"f" | b"0" => Value::Bool(false),
            _ => return Err(NoValue),
        },
        (F::Bytes, Value::Bytes(bytes) | Value::Text(bytes)) => Value::Bytes(bytes),
        (F::Duration, Value::Duration(nanos)) => Value::Duration(nanos),
        (F::Duration, Value::Text(text)) => Value::Duration(duration(&text).ok_or(NoValue)?),
        (F::Timestamp, Value::Timestamp(nanos)) => Value::Timestamp(nanos),
        (F::Timestamp, Value::Text(text)) => Value::Timestamp(timestamp(&text).ok_or(NoValue)?),
        (part, Value::Timestamp(nanos)) => Value::Int(part_of_time(part, nanos)?),
        (part, Value::Duration(nanos)) => Value::Int(part_of_duration(part, nanos)?),
        _ => return Err(NoValue),
    })
}

fn of_two<'a>(function: Function, a: Value<'a>, b: Value<'a>, cx: &'a StreamCx) -> Result<'a> {
    use Function as F;
    let order = |holds: fn(Ordering) -> bool| a.compare(&b).map(|order| Value::Bool(holds(order))).ok_or(NoValue);
    match (function, &a, &b) {
        (F::Equal, ..) => return Ok(Value::Bool(a.equals(&b))),
        (F::Unequal, ..) => return Ok(Value::Bool(!a.equals(&b))),
        (F::Less, ..) => return order(Ordering::is_lt),
        (F::LessEqual, ..) => return order(Ordering::is_le),
        (F::Greater, ..) => return order(Ordering::is_gt),
        (F::GreaterEqual, ..) => return order(Ordering::is_ge),
        (F::In, _, Value::List(list)) => return Ok(Value::Bool(list.iter().any(|item| item.equals(&a)))),
        (F::In, _, Value::Map(map)) => return Ok(Value::Bool(get(map, &a, cx).is_some())),
        (F::Index, Value::Map(map), _) => return get(map, &b, cx).ok_or(NoValue),
        (F::Index, Value::List(list), Value::Int(at)) => {
            return usize::try_from(*at).ok().and_then(|at| list.get(at)).cloned().ok_or(NoValue);
        }
        (F::Contains, Value::Text(text), Value::Text(part)) => {
            return Ok(Value::Bool(part.is_empty() || text.windows(part.len()).any(|window| window == &**part)));
        }
        (F::StartsWith, Value::Text(text), Value::Text(part)) => return Ok(Value::Bool(text.starts_with(part))),
        (F::EndsWith, Value::Text(text), Value::Text(part)) => return Ok(Value::Bool(text.ends_with(part))),
        _ => {}
    }
    let made = match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Int(
            match function {
                F::Add => a.checked_add(b),
                F::Subtract => a.checked_sub(b),
                F::Multiply => a.checked_mul(b),
                F::Divide => a.checked_div(b),
                F::Modulo => a.checked_rem(b),
                _ => None,
            }
            .ok_or(NoValue)?,
        ),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(
            match function {
                F::Add => a.checked_add(b),
                F::Subtract => a.checked_sub(b),
                F::Multiply => a.checked_mul(b),
                F::Divide => a.checked_div(b),
                F::Modulo => a.checked_rem(b),
                _ => None,
            }
            .ok_or(NoValue)?,
        ),
        (Value::Double(a), Value::Double(b)) => Value::Double(match function {
            F::Add => a + b,
            F::Subtract => a - b,
            F::Multiply => a * b,
            F::Divide => a / b,
            _ => return Err(NoValue),
        }),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(shifted(function, a, b)?),
        (Value::Timestamp(a), Value::Duration(b)) => Value::Timestamp(shifted(function, a, b)?),
        (Value::Duration(a), Value::Timestamp(b)) if function == F::Add => Value::Timestamp(shifted(function, a, b)?),
        (Value::Timestamp(a), Value::Timestamp(b)) if function == F::Subtract => Value::Duration(shifted(function, a, b)?),
        _ => return Err(NoValue),
    };
    Ok(made)
}

fn shifted(function: Function, a: i64, b: i64) -> std::result::Result<i64, NoValue> {
    match function {
        Function::Add => a.checked_add(b),
        Function::Subtract => a.checked_sub(b),
        _ => None,
    }
    .ok_or(NoValue)
}

fn size(n: usize) -> Value<'static> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn parsed<T: std::str::FromStr>(text: &[u8]) -> std::result::Result<T, NoValue> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NoValue)
}

/// `1h30m`, `1.5s`, `20ms`, `-3us`, in nanoseconds.
fn duration(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    if rest == "0" {
        return Some(0);
    }
    let mut nanos = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let (unit, length) = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("h", 3.6e12), ("m", 6e10), ("s", 1e9)]
            .into_iter()
            .find(|(name, _)| unit.starts_with(name))
            .map(|(name, unit)| (unit, name.len()))?;
        nanos += number * unit;
        rest = &rest[digits + length..];
    }
    (nanos < 9.2e18).then_some((sign * nanos) as i64)
}

fn timestamp(text: &[u8]) -> Option<i64> {
    let at: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    i64::try_from(at.as_nanosecond()).ok()
}

fn part_of_time(part: Function, nanos: i64) -> std::result::Result<i64, NoValue> {
    let at = jiff::Timestamp::from_nanosecond(nanos.into()).map_err(|_| NoValue)?;
    let at = at.to_zoned(TimeZone::fixed(Offset::UTC));
    Ok(match part {
        Function::FullYear => at.year().into(),
        Function::Month => i64::from(at.month()) - 1,
        Function::DayOfYear => i64::from(at.day_of_year()) - 1,
        Function::DayOfMonth => i64::from(at.day()) - 1,
        Function::Date => at.day().into(),
        Function::DayOfWeek => at.weekday().to_sunday_zero_offset().into(),
        Function::Hours => at.hour().into(),
        Function::Minutes => at.minute().into(),
        Function::Seconds => at.second().into(),
        Function::Milliseconds => at.millisecond().into(),
        _ => return Err(NoValue),
    })
}

fn part_of_duration(part: Function, nanos: i64) -> std::result::Result<i64, NoValue> {
    let unit = match part {
        Function::Hours => 3_600_000_000_000,
        Function::Minutes => 60_000_000_000,
        Function::Seconds => 1_000_000_000,
        Function::Milliseconds => return Ok(nanos / 1_000_000 % 1000),
        _ => return Err(NoValue),
    };
    Ok(nanos / unit)
}
