//! A message on the wire as JSON.
//!
//! The whole message is taken apart before anything is written, so that one that is broken is told from one that has no
//! JSON. Fields come in the order of their numbers; those that nobody knows are left out.

use super::{
    MAX_DEPTH,
    descriptors::{Field, Kind, Known, Message, Pool},
    print, well_known,
    wire::{take, take_delimited, take_varint},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{collections::BTreeMap, fmt::Write as _};

/// How JSON is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// On lines of their own, each level one space in.
    pub(crate) spaced: bool,
    /// Fields that have their default value, too.
    pub(crate) defaults: bool,
    /// Numbers in the place of enumerations' names.
    pub(crate) enums_as_ints: bool,
    /// Fields by their own names instead of JSON's.
    pub(crate) proto_names: bool,
}

/// Values in one message.
const MAX_VALUES: usize = 1 << 20;

/// The JSON of a message of type `message`; else what is wrong with it.
pub(crate) fn decode(pool: &Pool, message: usize, bytes: &[u8], options: Options) -> Result<String, String> {
    let mut reader = Reader { pool, values: 0 };
    let parsed = reader.message(message, bytes, 0)?;
    let mut writer = Writer { pool, options, out: String::with_capacity(bytes.len() * 2), depth: 0 };
    writer.message(&parsed, 0)?;
    if options.spaced {
        writer.out.push('\n');
    }
    Ok(writer.out)
}

/// A value of a field.
enum Value<'b> {
    /// Numbers of all kinds, as they lay on the wire (signed ones unfolded).
    Number(u64),
    Text(&'b str),
    Bytes(&'b [u8]),
    Message(Parsed<'b>),
}

struct Parsed<'b> {
    of: usize,
    fields: BTreeMap<u32, Vec<Value<'b>>>,
}

struct Reader<'p> {
    pool: &'p Pool,
    values: usize,
}

const EOF: &str = "unexpected EOF";

impl<'p> Reader<'p> {
    fn message<'b>(&mut self, of: usize, mut bytes: &'b [u8], depth: usize) -> Result<Parsed<'b>, String> {
        if depth > MAX_DEPTH {
            return Err("allowed depth exceeded".to_owned());
        }
        let pool = self.pool;
        let message = &pool.messages[of];
        let mut parsed = Parsed { of, fields: BTreeMap::new() };
        while let Some(tag) = take_varint(&mut bytes).filter(|tag| *tag != 0) {
            let (number, wire_type) = ((tag >> 3) as u32, tag & 7);
            let field = message.field_numbered(number);
            match (wire_type, field) {
                (4, _) => return Err(format!("attempted to close group {number} before SGROUP tag")),
                (3, Some(_)) => return Err(format!("field number {number} is not a group")),
                (3, None) => skip_group(&mut bytes, number)?,
                (0, field) => {
                    let value = take_varint(&mut bytes).ok_or(EOF)?;
                    if let Some(field) = field {
                        let value = Value::Number(from_varint(field, value)?);
                        self.insert(&mut parsed, field, value)?;
                    }
                }
                (5, field) => {
                    let raw = take(&mut bytes, 4).and_then(<[u8]>::first_chunk::<4>).ok_or(EOF)?;
                    if let Some(field) = field {
                        if !matches!(field.kind, Kind::Fixed32 | Kind::Sfixed32 | Kind::Float) {
                            return Err(format!("field type {} (number {number}) does not support 32-bit fields", field.kind.number()));
                        }
                        self.insert(&mut parsed, field, Value::Number(u64::from(u32::from_le_bytes(*raw))))?;
                    }
                }
                (1, field) => {
                    let raw = take(&mut bytes, 8).and_then(<[u8]>::first_chunk::<8>).ok_or(EOF)?;
                    if let Some(field) = field {
                        if !matches!(field.kind, Kind::Fixed64 | Kind::Sfixed64 | Kind::Double) {
                            let kind = field.kind.number();
                            return Err(format!("field type {kind} (number {number}) does not support type 64-bit fields"));
                        }
                        self.insert(&mut parsed, field, Value::Number(u64::from_le_bytes(*raw)))?;
                    }
                }
                (2, field) => {
                    let inside = take_delimited(&mut bytes).ok_or(EOF)?;
                    if let Some(field) = field {
                        self.delimited(&mut parsed, field, inside, depth)?;
                    }
                }
                (other, _) => return Err(format!("unknown wire type: {other}")),
            }
        }
        Ok(parsed)
    }

    fn delimited<'b>(&mut self, parsed: &mut Parsed<'b>, field: &Field, mut inside: &'b [u8], depth: usize) -> Result<(), String> {
        match field.kind {
            Kind::String => {
                let text = std::str::from_utf8(inside).map_err(|_| "proto3 strings must be UTF-8")?;
                self.insert(parsed, field, Value::Text(text))
            }
            Kind::Bytes => self.insert(parsed, field, Value::Bytes(inside)),
            Kind::Message(of) => {
                let message = self.message(of, inside, depth + 1)?;
                self.insert(parsed, field, Value::Message(message))
            }
            Kind::Group => Err("malformed length-delimited field".to_owned()),
            Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => {
                while !inside.is_empty() {
                    let raw = take(&mut inside, 4).and_then(<[u8]>::first_chunk::<4>).ok_or(EOF)?;
                    self.insert(parsed, field, Value::Number(u64::from(u32::from_le_bytes(*raw))))?;
                }
                Ok(())
            }
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
                while !inside.is_empty() {
                    let raw = take(&mut inside, 8).and_then(<[u8]>::first_chunk::<8>).ok_or(EOF)?;
                    self.insert(parsed, field, Value::Number(u64::from_le_bytes(*raw)))?;
                }
                Ok(())
            }
            _ => {
                while !inside.is_empty() {
                    let value = take_varint(&mut inside).ok_or("malformed length-delimited field")?;
                    self.insert(parsed, field, Value::Number(from_varint(field, value)?))?;
                }
                Ok(())
            }
        }
    }

    fn insert<'b>(&mut self, parsed: &mut Parsed<'b>, field: &Field, value: Value<'b>) -> Result<(), String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err("message has too many values".to_owned());
        }
        let values = parsed.fields.entry(field.number).or_default();
        if !field.repeated && !values.is_empty() {
            return Err(format!("repeated entries for singular field number {}", field.number));
        }
        values.push(value);
        Ok(())
    }
}

/// A varint as the number it stands for.
fn from_varint(field: &Field, value: u64) -> Result<u64, String> {
    Ok(match field.kind {
        Kind::Int64 | Kind::Uint64 => value,
        Kind::Int32 | Kind::Enum(_) => i64::from(value as u32 as i32) as u64,
        Kind::Uint32 => u64::from(value as u32),
        Kind::Sint32 => {
            let value = value as u32;
            i64::from((value >> 1) as i32 ^ -((value & 1) as i32)) as u64
        }
        Kind::Sint64 => ((value >> 1) as i64 ^ -((value & 1) as i64)) as u64,
        Kind::Bool if value > 1 => return Err(format!("bad value for bool: \\x{value:02x}")),
        Kind::Bool => value,
        kind => return Err(format!("field type {} (number {}) does not support varint fields", kind.number(), field.number)),
    })
}

/// What a group that nobody knows has inside.
fn skip_group(bytes: &mut &[u8], number: u32) -> Result<(), String> {
    let mut open = vec![number];
    while let Some(&innermost) = open.last() {
        let tag = take_varint(bytes).ok_or(EOF)?;
        let number = (tag >> 3) as u32;
        match tag & 7 {
            0 => drop(take_varint(bytes).ok_or(EOF)?),
            1 => drop(take(bytes, 8).ok_or(EOF)?),
            2 => drop(take_delimited(bytes).ok_or(EOF)?),
            3 if open.len() >= MAX_DEPTH => return Err("allowed depth exceeded".to_owned()),
            3 => open.push(number),
            4 if number == innermost => drop(open.pop()),
            4 => return Err(format!("attempted to close group {number} before SGROUP tag")),
            5 => drop(take(bytes, 4).ok_or(EOF)?),
            other => return Err(format!("unknown wire type: {other}")),
        }
    }
    Ok(())
}

impl<'b> Parsed<'b> {
    fn one(&self, number: u32) -> Option<&Value<'b>> {
        self.fields.get(&number)?.last()
    }

    fn number(&self, number: u32) -> i64 {
        match self.one(number) {
            Some(Value::Number(value)) => *value as i64,
            _ => 0,
        }
    }

    fn all(&self, number: u32) -> &[Value<'b>] {
        self.fields.get(&number).map_or(&[], Vec::as_slice)
    }
}

struct Writer<'p> {
    pool: &'p Pool,
    options: Options,
    out: String,
    depth: usize,
}

impl<'p> Writer<'p> {
    fn open(&mut self, mark: char) {
        self.out.push(mark);
        self.depth += 1;
    }

    /// Begins a value of a list or an object.
    fn item(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(',');
        }
        self.line();
    }

    fn line(&mut self) {
        if self.options.spaced {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', self.depth));
        }
    }

    fn close(&mut self, mark: char, empty: bool) {
        self.depth -= 1;
        if !empty {
            self.line();
        }
        self.out.push(mark);
    }

    fn key(&mut self, key: &str) {
        print::quoted(&mut self.out, key);
        self.out.push_str(if self.options.spaced { ": " } else { ":" });
    }

    fn message(&mut self, parsed: &Parsed<'_>, nesting: usize) -> Result<(), String> {
        let pool = self.pool;
        let message = &pool.messages[parsed.of];
        if nesting > 2 * MAX_DEPTH {
            return Err("allowed depth exceeded".to_owned());
        }
        match message.known {
            Some(Known::Any) => self.any(parsed, nesting),
            Some(Known::Value) => self.dynamic(parsed, nesting),
            Some(Known::Struct) => self.entries(message, parsed, nesting),
            Some(Known::ListValue) => self.list(message, parsed, nesting),
            Some(Known::Wrapper) => match (message.field_numbered(1), parsed.one(1)) {
                (Some(field), Some(value)) => self.value(field, value, nesting),
                (Some(field), None) => self.default(field),
                _ => Ok(()),
            },
            Some(Known::Timestamp) => self.text(&well_known::timestamp_text(parsed.number(1), parsed.number(2))?),
            Some(Known::Duration) => self.text(&well_known::duration_text(parsed.number(1), parsed.number(2))?),
            Some(Known::FieldMask) => {
                let texts = parsed.all(1).iter().filter_map(|path| match path {
                    Value::Text(path) => Some(well_known::mask_path_text(path)),
                    _ => None,
                });
                let joined = texts.collect::<Vec<_>>().join(",");
                self.text(&joined)
            }
            Some(Known::HttpBody) | None => {
                self.open('{');
                let mut first = true;
                self.fields(message, parsed, &mut first, nesting)?;
                self.close('}', first);
                Ok(())
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        print::quoted(&mut self.out, text);
        Ok(())
    }

    fn fields(&mut self, message: &Message, parsed: &Parsed<'_>, first: &mut bool, nesting: usize) -> Result<(), String> {
        for field in &message.fields {
            let values = parsed.all(field.number);
            let shown = !values.is_empty() || self.options.defaults && (field.repeated || field.implicit);
            // A value that was not set has no JSON.
            let unset = |value: &Value<'_>| match value {
                Value::Message(inner) => inner.fields.is_empty() && self.pool.messages[inner.of].known == Some(Known::Value),
                _ => false,
            };
            if !shown || !field.repeated && values.last().is_some_and(unset) {
                continue;
            }
            self.item(first);
            let name = if self.options.proto_names { &field.name } else { &field.json_name };
            self.key(name);
            if self.pool.map_entry(field).is_some() {
                self.map(field, values, nesting)?;
            } else if field.repeated {
                self.open('[');
                let mut none = true;
                for value in values {
                    if unset(value) {
                        continue;
                    }
                    self.item(&mut none);
                    self.value(field, value, nesting)?;
                }
                self.close(']', none);
            } else {
                match values.last() {
                    Some(value) => self.value(field, value, nesting)?,
                    None => self.default(field)?,
                }
            }
        }
        Ok(())
    }

    fn map(&mut self, field: &Field, entries: &[Value<'_>], nesting: usize) -> Result<(), String> {
        let pool = self.pool;
        let Some((key_field, value_field)) = pool.map_entry(field) else { return Ok(()) };
        self.open('{');
        let mut first = true;
        for entry in entries {
            let Value::Message(entry) = entry else { continue };
            let unset = match entry.one(2) {
                Some(Value::Message(inner)) => inner.fields.is_empty() && pool.messages[inner.of].known == Some(Known::Value),
                _ => false,
            };
            if unset {
                continue;
            }
            self.item(&mut first);
            let mut key = std::mem::take(&mut self.out);
            match (key_field.kind, entry.one(1)) {
                (Kind::String, Some(Value::Text(text))) => print::quoted(&mut key, text),
                (Kind::String, _) => key.push_str("\"\""),
                (_, value) => {
                    self.out.push('"');
                    match value {
                        Some(value) => self.value(key_field, value, nesting)?,
                        None => self.default(key_field)?,
                    }
                    let inside = std::mem::take(&mut self.out);
                    key.push('"');
                    key.push_str(inside.trim_matches('"'));
                    key.push('"');
                }
            }
            self.out = key;
            self.out.push_str(if self.options.spaced { ": " } else { ":" });
            match entry.one(2) {
                Some(value) => self.value(value_field, value, nesting)?,
                None => self.default(value_field)?,
            }
        }
        self.close('}', first);
        Ok(())
    }

    fn entries(&mut self, message: &Message, parsed: &Parsed<'_>, nesting: usize) -> Result<(), String> {
        match message.field_numbered(1) {
            Some(field) => self.map(field, parsed.all(1), nesting),
            None => Ok(()),
        }
    }

    fn list(&mut self, message: &Message, parsed: &Parsed<'_>, nesting: usize) -> Result<(), String> {
        let Some(field) = message.field_numbered(1) else { return Ok(()) };
        self.open('[');
        let mut first = true;
        for value in parsed.all(1) {
            self.item(&mut first);
            self.value(field, value, nesting)?;
        }
        self.close(']', first);
        Ok(())
    }

    /// A `google.protobuf.Value`.
    fn dynamic(&mut self, parsed: &Parsed<'_>, nesting: usize) -> Result<(), String> {
        let Some((number, value)) = parsed.fields.iter().find_map(|(number, values)| Some((number, values.last()?))) else {
            self.out.push_str("null");
            return Ok(());
        };
        match (number, value) {
            (1, _) => self.out.push_str("null"),
            (2, Value::Number(bits)) => {
                let number = f64::from_bits(*bits);
                if !number.is_finite() {
                    let name = if number.is_nan() { "nan" } else { "infinity" };
                    return Err(format!(
                        "google.protobuf.Value cannot encode double values for {name}, because it would be parsed as a string"
                    ));
                }
                self.out.push_str(&print::double(number));
            }
            (3, Value::Text(text)) => print::quoted(&mut self.out, text),
            (4, Value::Number(truth)) => self.out.push_str(if *truth == 0 { "false" } else { "true" }),
            (_, Value::Message(inner)) => self.message(inner, nesting + 1)?,
            _ => {}
        }
        Ok(())
    }

    fn any(&mut self, parsed: &Parsed<'_>, nesting: usize) -> Result<(), String> {
        let pool = self.pool;
        let url = match parsed.one(1) {
            Some(Value::Text(url)) => *url,
            _ => "",
        };
        let bytes = match parsed.one(2) {
            Some(Value::Bytes(bytes)) => *bytes,
            _ => &[],
        };
        if url.is_empty() && bytes.is_empty() {
            self.out.push_str("{}");
            return Ok(());
        }
        let of = pool.by_url(url)?;
        let inner = Reader { pool, values: 0 }.message(of, bytes, nesting + 1)?;
        self.open('{');
        self.line();
        self.key("@type");
        print::quoted(&mut self.out, url);
        let mut first = false;
        match pool.messages[of].known {
            Some(known) if known != Known::HttpBody => {
                self.item(&mut first);
                self.key("value");
                self.message(&inner, nesting + 1)?;
            }
            _ => self.fields(&pool.messages[of], &inner, &mut first, nesting + 1)?,
        }
        self.close('}', false);
        Ok(())
    }

    fn default(&mut self, field: &Field) -> Result<(), String> {
        match field.kind {
            Kind::Enum(at) => {
                let number = self.pool.enums.get(at).map_or(0, super::descriptors::Enum::default);
                self.value(field, &Value::Number(i64::from(number) as u64), 0)
            }
            Kind::String | Kind::Bytes => self.text(""),
            Kind::Message(of) => self.message(&Parsed { of, fields: BTreeMap::new() }, 0),
            _ => self.value(field, &Value::Number(0), 0),
        }
    }

    fn value(&mut self, field: &Field, value: &Value<'_>, nesting: usize) -> Result<(), String> {
        let number = match value {
            Value::Text(text) => return self.text(text),
            Value::Bytes(bytes) => {
                let encoded = STANDARD.encode(bytes);
                return self.text(&encoded);
            }
            Value::Message(inner) => return self.message(inner, nesting + 1),
            Value::Number(number) => *number,
        };
        let signed = number as i64;
        // Writing to a String cannot fail.
        let _ = match field.kind {
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => write!(self.out, "\"{signed}\""),
            Kind::Uint64 | Kind::Fixed64 => write!(self.out, "\"{number}\""),
            Kind::Int32 | Kind::Sint32 => write!(self.out, "{signed}"),
            Kind::Sfixed32 => write!(self.out, "{}", number as u32 as i32),
            Kind::Bool => write!(self.out, "{}", number != 0),
            Kind::Double => self.floating(f64::from_bits(number).is_finite(), &print::double(f64::from_bits(number))),
            Kind::Float => self.floating(f32::from_bits(number as u32).is_finite(), &print::float(f32::from_bits(number as u32))),
            Kind::Enum(at) => {
                let of = &self.pool.enums[at];
                match of.value(signed as i32) {
                    _ if of.name == "google.protobuf.NullValue" => write!(self.out, "null"),
                    Some(name) if !self.options.enums_as_ints => write!(self.out, "\"{name}\""),
                    _ => write!(self.out, "{}", signed as i32),
                }
            }
            _ => write!(self.out, "{number}"),
        };
        Ok(())
    }

    fn floating(&mut self, finite: bool, text: &str) -> std::fmt::Result {
        if finite { write!(self.out, "{text}") } else { write!(self.out, "\"{text}\"") }
    }
}
