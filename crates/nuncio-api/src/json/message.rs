//! Wire bytes → protobuf's JSON form, by descriptor.
//!
//! Fields in the order of their numbers, names as in the .proto files, `Any` opened with `@type` first, enums by name,
//! 64-bit integers as strings: what Envoy's `/config_dump` prints. Bytes that are not the message print as far as they go.

use super::forms::{base64, duration, field_mask, timestamp};
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
