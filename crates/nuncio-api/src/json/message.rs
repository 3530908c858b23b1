//! Wire bytes → protobuf's JSON form, by descriptor.
//!
//! Fields in the order of their numbers, names as in the .proto files, `Any` opened with `@type` first, enums by name,
//! 64-bit integers as strings: what Envoy's `/config_dump` prints. Bytes that are not the message print as far as they go.

use super::value::Json;
use crate::schema::{
    Encoding, Field, Kind, Label, Message, Reader, WellKnown, Wire, message, type_name,
};
use crate::validate::Items;

/// How to print a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// Hide the values of fields that the API marks as secret, as `/config_dump` does.
    pub redact: bool,
}

/// What stands for a secret.
const REDACTED: &str = "[redacted]";
/// Nested messages, so that hostile bytes cannot exhaust the stack.
const MAX_DEPTH: usize = 200;

/// A serialized message of that full name as text, indented as Envoy's admin does; an unknown name gives `{}`.
pub fn to_json(name: &str, bytes: &[u8], options: JsonOptions) -> String {
    to_json_value(name, bytes, options).indented()
}

/// As [`to_json`], as a value to put into a larger answer.
pub fn to_json_value(name: &str, bytes: &[u8], options: JsonOptions) -> Json {
    let writer = Writer {
        redact: options.redact,
    };
    message(name).map_or(Json::Object(Vec::new()), |message| {
        writer.message(message, bytes, 0, false)
    })
}

struct Writer {
    redact: bool,
}

impl Writer {
    fn message(&self, message: &'static Message, bytes: &[u8], depth: usize, secret: bool) -> Json {
        if depth > MAX_DEPTH {
            return Json::Null;
        }
        match message.well_known {
            None => Json::Object(self.fields(message, bytes, depth, secret)),
            Some(WellKnown::Any) => self.any(bytes, depth, secret),
            Some(WellKnown::Wrapper) => self.wrapper(message, bytes, secret),
            Some(WellKnown::Duration) => Json::String(duration(bytes)),
            Some(WellKnown::Timestamp) => Json::String(timestamp(bytes)),
            Some(WellKnown::FieldMask) => Json::String(field_mask(bytes)),
            Some(WellKnown::Struct) => self.structure(bytes, depth, secret),
            Some(WellKnown::ListValue) => self.list_value(bytes, depth, secret),
            Some(WellKnown::Value) => self.value(bytes, depth, secret),
        }
    }

    /// A message's members. A field that occurs again on the wire is merged: messages joined, lists appended.
    fn fields(
        &self,
        message: &'static Message,
        bytes: &[u8],
        depth: usize,
        secret: bool,
    ) -> Vec<(String, Json)> {
        let mut seen: Vec<(&'static Field, Vec<Wire<'_>>)> = Vec::new();
        for (number, wire) in Reader::new(bytes) {
            let Some(field) = message.field_by_number(number) else {
                continue;
            };
            if field.oneof.is_some() {
                seen.retain(|(other, _)| other.oneof != field.oneof || other.number == number);
            }
            match seen.iter_mut().find(|(other, _)| other.number == number) {
                Some((_, values)) => values.push(wire),
                None => seen.push((field, vec![wire])),
            }
        }
        seen.sort_by_key(|(field, _)| field.number);
        seen.iter()
            .filter_map(|(field, values)| self.field(field, values, depth, secret))
            .collect()
    }

    fn field(
        &self,
        field: &'static Field,
        values: &[Wire<'_>],
        depth: usize,
        secret: bool,
    ) -> Option<(String, Json)> {
        let secret = secret || (self.redact && field.sensitive);
        let value = match field.label {
            Label::Repeated => {
                let items = values.iter().flat_map(|wire| unpacked(field, *wire));
                Json::List(
                    items
                        .map(|wire| self.one(field, wire, depth, secret))
                        .collect(),
                )
            }
            Label::Map => Json::Object(
                values
                    .iter()
                    .filter_map(|e| self.entry(field, e.bytes(), depth, secret))
                    .collect(),
            ),
            Label::Single if values.len() > 1 && matches!(field.kind, Kind::Message(_)) => {
                // Serialized messages merge by being joined.
                let joined: Vec<u8> = values.iter().flat_map(|w| w.bytes()).copied().collect();
                self.one(field, Wire::Bytes(&joined), depth, secret)
            }
            Label::Single => {
                let wire = *values.last()?;
                if !field.presence && is_default(wire) {
                    return None;
                }
                self.one(field, wire, depth, secret)
            }
        };
        Some((field.name.to_owned(), value))
    }

    fn entry(
        &self,
        field: &'static Field,
        bytes: &[u8],
        depth: usize,
        secret: bool,
    ) -> Option<(String, Json)> {
        let entry = field.kind.message()?;
        let (of_key, of_value) = (entry.field_by_number(1)?, entry.field_by_number(2)?);
        let (mut key, mut value) = (default(of_key.kind), default(of_value.kind));
        for (number, wire) in Reader::new(bytes) {
            match number {
                1 => key = wire,
                2 => value = wire,
                _ => {}
            }
        }
        let key = match self.one(of_key, key, depth, false) {
            Json::String(text) | Json::Number(text) => text,
            other => other.compact(),
        };
        Some((key, self.one(of_value, value, depth, secret)))
    }

    fn one(&self, field: &'static Field, wire: Wire<'_>, depth: usize, secret: bool) -> Json {
        let raw = wire.integer();
        match (field.kind, field.encoding) {
            (Kind::Message(_), _) => {
                let Some(message) = field.kind.message() else {
                    return Json::Null;
                };
                self.message(message, wire.bytes(), depth + 1, secret)
            }
            (Kind::String, _) if secret => Json::text(REDACTED),
            (Kind::String, _) => Json::String(String::from_utf8_lossy(wire.bytes()).into_owned()),
            (Kind::Bytes, _) if secret => Json::String(base64(REDACTED.as_bytes())),
            (Kind::Bytes, _) => Json::String(base64(wire.bytes())),
            (Kind::Bool, _) => Json::Bool(raw != 0 && !secret),
            (Kind::Double, _) => Json::from(if secret { 0.0 } else { f64::from_bits(raw) }),
            (Kind::Float, _) => Json::from(if secret {
                0.0
            } else {
                f32::from_bits(raw as u32)
            }),
            (Kind::Enum(_), _) => {
                let number = if secret { 0 } else { raw as i32 };
                let value = field.kind.enumeration().and_then(|e| e.by_number(number));
                value.map_or_else(|| Json::from(i64::from(number)), |v| Json::text(v.name))
            }
            (kind, encoding) => integer(kind, encoding, if secret { 0 } else { raw }),
        }
    }

    fn any(&self, bytes: &[u8], depth: usize, secret: bool) -> Json {
        let (mut url, mut value) = ("", &[][..]);
        for (number, wire) in Reader::new(bytes) {
            match number {
                1 => url = wire.text(),
                2 => value = wire.bytes(),
                _ => {}
            }
        }
        let mut members = Vec::new();
        if url.is_empty() {
            return Json::Object(members);
        }
        members.push(("@type".to_owned(), Json::text(url)));
        match message(type_name(url)) {
            Some(inner) if inner.well_known.is_some() => {
                members.push((
                    "value".to_owned(),
                    self.message(inner, value, depth + 1, secret),
                ));
            }
            Some(inner) => members.extend(self.fields(inner, value, depth + 1, secret)),
            None => members.push(("value".to_owned(), Json::String(base64(value)))),
        }
        Json::Object(members)
    }

    fn wrapper(&self, message: &'static Message, bytes: &[u8], secret: bool) -> Json {
        let Some(field) = message.fields.first() else {
            return Json::Null;
        };
        let value = Reader::new(bytes).filter(|(n, _)| *n == 1).last();
        self.one(
            field,
            value.map_or(default(field.kind), |(_, wire)| wire),
            0,
            secret,
        )
    }

    fn structure(&self, bytes: &[u8], depth: usize, secret: bool) -> Json {
        let mut members: Vec<(String, Json)> = Vec::new();
        for (_, entry) in Reader::new(bytes).filter(|(n, _)| *n == 1) {
            let (mut key, mut value) = ("", &[][..]);
            for (number, wire) in Reader::new(entry.bytes()) {
                match number {
                    1 => key = wire.text(),
                    2 => value = wire.bytes(),
                    _ => {}
                }
            }
            members.push((key.to_owned(), self.value(value, depth + 1, secret)));
        }
        Json::Object(members)
    }

    fn list_value(&self, bytes: &[u8], depth: usize, secret: bool) -> Json {
        let values = Reader::new(bytes).filter(|(n, _)| *n == 1);
        Json::List(
            values
                .map(|(_, v)| self.value(v.bytes(), depth + 1, secret))
                .collect(),
        )
    }

    fn value(&self, bytes: &[u8], depth: usize, secret: bool) -> Json {
        if depth > MAX_DEPTH {
            return Json::Null;
        }
        match Reader::new(bytes).last() {
            Some((2, _)) if secret => Json::from(0.0),
            Some((2, wire)) => Json::from(f64::from_bits(wire.integer())),
            Some((3, _)) if secret => Json::text(REDACTED),
            Some((3, wire)) => Json::text(wire.text()),
            Some((4, wire)) => Json::Bool(wire.integer() != 0 && !secret),
            Some((5, wire)) => self.structure(wire.bytes(), depth, secret),
            Some((6, wire)) => self.list_value(wire.bytes(), depth, secret),
            _ => Json::Null,
        }
    }
}

/// A packed list taken apart; anything else as it is.
fn unpacked<'a>(field: &Field, wire: Wire<'a>) -> Vec<Wire<'a>> {
    match wire {
        Wire::Bytes(packed)
            if !matches!(field.kind, Kind::String | Kind::Bytes | Kind::Message(_)) =>
        {
            Items::new(field, packed).collect()
        }
        _ => vec![wire],
    }
}

fn default(kind: Kind) -> Wire<'static> {
    match kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => Wire::Bytes(&[]),
        _ => Wire::Varint(0),
    }
}

fn is_default(wire: Wire<'_>) -> bool {
    match wire {
        Wire::Bytes(bytes) => bytes.is_empty(),
        _ => wire.integer() == 0,
    }
}

fn integer(kind: Kind, encoding: Encoding, raw: u64) -> Json {
    let zigzag = (raw >> 1) as i64 ^ -((raw & 1) as i64);
    match (kind, encoding) {
        (Kind::Int32, Encoding::ZigZag) => Json::from(zigzag),
        (Kind::Int32, _) => Json::from(i64::from(raw as i32)),
        (Kind::Uint32, _) => Json::from(u64::from(raw as u32)),
        (Kind::Uint64, _) => Json::String(raw.to_string()),
        (_, Encoding::ZigZag) => Json::String(zigzag.to_string()),
        _ => Json::String((raw as i64).to_string()),
    }
}

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

fn duration(bytes: &[u8]) -> String {
    let (seconds, nanos) = seconds_nanos(bytes);
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    format!(
        "{sign}{}{}s",
        seconds.unsigned_abs(),
        fraction(nanos.unsigned_abs())
    )
}

fn timestamp(bytes: &[u8]) -> String {
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

fn field_mask(bytes: &[u8]) -> String {
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
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = ALPHABET[(group >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Options, Source, Syntax, encode};

    fn json(name: &str, yaml: &str) -> String {
        let document = Document::parse(Source::new("t", yaml), Syntax::Yaml).expect("parses");
        let encoded = encode(name, &document, &Options::default());
        assert_eq!(encoded.diagnostics, []);
        to_json_value(name, &encoded.bytes, JsonOptions { redact: true }).compact()
    }

    #[test]
    fn well_known_messages_have_their_own_form() {
        let yaml = "
filter_metadata: {a: {n: 1, s: \"x\", l: [true, ~]}}
typed_filter_metadata:
  d: {\"@type\": type.googleapis.com/google.protobuf.Duration, value: 0.0005s}
  t: {\"@type\": type.googleapis.com/google.protobuf.Timestamp, value: \"2001-02-30T04:05:06.5Z\"}
  m: {\"@type\": type.googleapis.com/google.protobuf.FieldMask, value: \"aB,c.d\"}
  w: {\"@type\": type.googleapis.com/google.protobuf.UInt64Value, value: 18446744073709551615}
  b: {\"@type\": type.googleapis.com/google.protobuf.BytesValue, value: aGk}
";
        let expected = r#"{"filter_metadata":{"a":{"n":1,"s":"x","l":[true,null]}},"typed_filter_metadata":{"d":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"0.000500s"},"t":{"@type":"type.googleapis.com/google.protobuf.Timestamp","value":"2001-03-02T04:05:06.500Z"},"m":{"@type":"type.googleapis.com/google.protobuf.FieldMask","value":"aB,c.d"},"w":{"@type":"type.googleapis.com/google.protobuf.UInt64Value","value":"18446744073709551615"},"b":{"@type":"type.googleapis.com/google.protobuf.BytesValue","value":"aGk="}}}"#;
        assert_eq!(json("envoy.config.core.v3.Metadata", yaml), expected);
    }

    #[test]
    fn fields_come_by_number_and_defaults_are_left_out() {
        let yaml = "{port_value: 0, address: a, protocol: TCP, resolver_name: \"\"}";
        assert_eq!(
            json("envoy.config.core.v3.SocketAddress", yaml),
            r#"{"address":"a","port_value":0}"#
        );
    }

    #[test]
    fn secrets_are_hidden() {
        let yaml = "private_key: {inline_string: KEY}\ncertificate_chain: {inline_string: CERT}\n";
        let name = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate";
        let expected = r#"{"certificate_chain":{"inline_string":"CERT"},"private_key":{"inline_string":"[redacted]"}}"#;
        assert_eq!(json(name, yaml), expected);
    }
}
