//! Lone values: booleans, numbers, strings, bytes, enums.

use super::numbers::{self, NotInteger};
use super::walker::Walker;
use super::{spelling, wire_out};
use crate::codes;
use crate::diagnostic::{Diagnostic, Fix};
use crate::schema::{Encoding, Enum, Field, Kind};
use crate::tree::{NodeId, Value};

impl Walker<'_> {
    /// Writes one value of a field that is not a message; a missing one is the type's default.
    pub(super) fn scalar(&mut self, field: &'static Field, node: NodeId) {
        match field.kind {
            Kind::Bool => {
                if let Some(value) = self.boolean(node) {
                    wire_out::put_varint(&mut self.out, field.number, u64::from(value));
                }
            }
            Kind::String => {
                if let Some(text) = self.string(node) {
                    wire_out::put_bytes(&mut self.out, field.number, text.as_bytes());
                }
            }
            Kind::Bytes => {
                if let Some(bytes) = self.bytes(node) {
                    wire_out::put_bytes(&mut self.out, field.number, &bytes);
                }
            }
            Kind::Double | Kind::Float => self.float(field, node),
            Kind::Enum(_) => {
                if let Some(number) = field
                    .kind
                    .enumeration()
                    .and_then(|e| self.enumerated(e, node))
                {
                    wire_out::put_varint(&mut self.out, field.number, i64::from(number) as u64);
                }
            }
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => {
                if let Some(value) = self.integer(field, node) {
                    self.put_integer(field, value);
                }
            }
            // Messages are written by `message`.
            Kind::Message(_) => {}
        }
    }

    /// A map's key, which JSON always gives as text.
    pub(super) fn map_key(&mut self, field: &'static Field, key: NodeId) {
        let text = self.tree.key(key);
        match field.kind {
            Kind::String => wire_out::put_bytes(&mut self.out, field.number, text.as_bytes()),
            Kind::Bool => match text {
                "true" | "false" => {
                    wire_out::put_varint(&mut self.out, field.number, u64::from(text == "true"))
                }
                _ => self.wrong_type(key, "`true` or `false`"),
            },
            _ => {
                if let Some(value) = self.integer(field, key) {
                    self.put_integer(field, value);
                }
            }
        }
    }

    fn put_integer(&mut self, field: &Field, value: i128) {
        let wide = matches!(field.kind, Kind::Int64 | Kind::Uint64);
        match field.encoding {
            // Two's complement, sign-extended to 64 bits for negative values of either width.
            Encoding::Varint => wire_out::put_varint(&mut self.out, field.number, value as u64),
            Encoding::ZigZag => {
                let value = value as i64;
                wire_out::put_varint(
                    &mut self.out,
                    field.number,
                    ((value << 1) ^ (value >> 63)) as u64,
                );
            }
            Encoding::Fixed if wide => {
                wire_out::put_fixed64(&mut self.out, field.number, value as u64)
            }
            Encoding::Fixed => wire_out::put_fixed32(&mut self.out, field.number, value as u32),
        }
    }

    fn boolean(&mut self, node: NodeId) -> Option<bool> {
        match self.tree.value(node) {
            Value::Bool(value) => Some(value),
            Value::Null => Some(false),
            Value::String(text) if numbers::boolean(text).is_some() => numbers::boolean(text),
            _ => {
                self.wrong_type(node, "`true` or `false`");
                None
            }
        }
    }

    pub(super) fn string(&mut self, node: NodeId) -> Option<String> {
        match self.tree.value(node) {
            Value::String(text) => Some(text.to_owned()),
            Value::Null => Some(String::new()),
            found @ (Value::Bool(_) | Value::Number(_)) => {
                let span = self.tree.span(node);
                let written = self.source().slice(span).to_owned();
                let what = found.describe();
                let message = format!(
                    "`{}` must be a string; `{written}` without quotes is {what}",
                    self.field_name()
                );
                let quoted = format!("\"{written}\"");
                self.report(
                    Diagnostic::error(codes::NOT_A_STRING, span, message)
                        .label(format!("quote this, YAML reads it as {what}"))
                        .help(format!("write {quoted}"))
                        .fix(Fix::replace(format!("write {quoted}"), span, quoted)),
                );
                None
            }
            _ => {
                self.wrong_type(node, "a string");
                None
            }
        }
    }

    fn bytes(&mut self, node: NodeId) -> Option<Vec<u8>> {
        let text = self.string(node)?;
        let bytes = numbers::base64(&text);
        if bytes.is_none() {
            let message = format!("`{}` must be base64", self.field_name());
            self.report(
                Diagnostic::error(codes::BAD_FORMAT, self.tree.span(node), message)
                    .label("not base64"),
            );
        }
        bytes
    }

    fn float(&mut self, field: &'static Field, node: NodeId) {
        let value = match self.tree.value(node) {
            Value::Number(text) | Value::String(text) => numbers::float(text),
            Value::Null => Some(0.0),
            _ => None,
        };
        match (value, field.kind) {
            (None, _) => self.wrong_type(node, &format!("a number{}", bounds(field))),
            (Some(value), Kind::Double) => {
                wire_out::put_fixed64(&mut self.out, field.number, value.to_bits())
            }
            (Some(value), _) if value.is_finite() && !(value as f32).is_finite() => {
                let message = format!("`{}` is too large for a 32-bit float", self.field_name());
                self.report(Diagnostic::error(
                    codes::BAD_NUMBER,
                    self.tree.span(node),
                    message,
                ));
            }
            (Some(value), _) => {
                wire_out::put_fixed32(&mut self.out, field.number, (value as f32).to_bits())
            }
        }
    }

    /// A whole number that fits the field's type.
    fn integer(&mut self, field: &'static Field, node: NodeId) -> Option<i128> {
        let (low, high) = range(field.kind);
        let read = match self.tree.value(node) {
            Value::Number(text) | Value::String(text) => numbers::integer(text),
            Value::Null => return Some(0),
            _ => Err(NotInteger::NotANumber),
        };
        let why = match read {
            Ok(value) if (low..=high).contains(&value) => return Some(value),
            Ok(_) => NotInteger::OutOfRange,
            Err(why) => why,
        };
        let expected = format!("a whole number{}", bounds(field));
        let name = self.field_name();
        let span = self.tree.span(node);
        let written = self.source().slice(span).to_owned();
        match why {
            NotInteger::NotANumber => self.wrong_type(node, &expected),
            NotInteger::Fraction => {
                let message = format!("`{name}` must be {expected}, and {written} has a fraction");
                self.report(
                    Diagnostic::error(codes::BAD_NUMBER, span, message)
                        .label(format!("expected {expected}")),
                );
            }
            NotInteger::OutOfRange => {
                let message = format!("`{name}` must be {expected}, {written} does not fit");
                self.report(
                    Diagnostic::error(codes::BAD_NUMBER, span, message)
                        .label(format!("expected {expected}")),
                );
            }
        }
        None
    }

    fn enumerated(&mut self, enumeration: &'static Enum, node: NodeId) -> Option<i32> {
        let text = match self.tree.value(node) {
            Value::String(text) | Value::Number(text) => text,
            Value::Null => return Some(0),
            _ => {
                self.wrong_type(node, &format!("one of {}", names(enumeration)));
                return None;
            }
        };
        if let Some(value) = enumeration.value(text) {
            self.value_lifecycle(value, node);
            return Some(value.number);
        }
        if let Ok(number) = text.parse::<i32>() {
            return Some(number);
        }
        let span = self.tree.span(node);
        let name = self.field_name();
        let mut diagnostic = Diagnostic::error(
            codes::BAD_ENUM,
            span,
            format!("`{name}` cannot be `{text}`"),
        )
        .label("not one of its values")
        .note(format!("`{name}` is one of {}", names(enumeration)));
        diagnostic.severity = self.unknown_severity();
        let known = enumeration
            .values
            .iter()
            .filter(|v| !v.disallowed)
            .map(|v| v.name);
        if let Some(near) = spelling::nearest(&text.to_ascii_uppercase(), known) {
            diagnostic = diagnostic
                .help(format!("did you mean `{near}`?"))
                .fix(Fix::replace(
                    format!("write `{near}`"),
                    self.inner(node),
                    near,
                ));
        }
        self.report(diagnostic);
        None
    }

    /// The span of a scalar without its quotes, for edits that keep them.
    pub(super) fn inner(&self, node: NodeId) -> crate::source::Span {
        let mut span = self.tree.span(node);
        let text = self.source().slice(span);
        if text.len() >= 2 && text.starts_with(['"', '\'']) && text.ends_with(['"', '\'']) {
            span.start += 1;
            span.end -= 1;
        }
        span
    }
}

/// The values of an enum, as a person would list them.
fn names(enumeration: &Enum) -> String {
    let names: Vec<String> = enumeration
        .values
        .iter()
        .filter(|v| !v.disallowed)
        .map(|v| format!("`{}`", v.name))
        .collect();
    names.join(", ")
}

/// Least and greatest value of an integer type.
fn range(kind: Kind) -> (i128, i128) {
    match kind {
        Kind::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        Kind::Uint32 => (0, i128::from(u32::MAX)),
        Kind::Uint64 => (0, i128::from(u64::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    }
}

/// " from 0 to 65535", where that says something.
fn bounds(field: &Field) -> String {
    let (type_low, type_high) = range(field.kind);
    let whole = field.rules.as_ref().map(|r| r.whole).unwrap_or_default();
    let low = whole.gte.or(whole.gt.map(|g| g + 1)).unwrap_or(type_low);
    let high = whole.lte.or(whole.lt.map(|l| l - 1)).unwrap_or(type_high);
    match (field.kind, low, high) {
        (Kind::Double | Kind::Float, ..) => String::new(),
        (_, low, high) if high < i128::from(i32::MAX) => format!(" from {low} to {high}"),
        (_, 0, _) => ", 0 or more".to_owned(),
        (_, low, _) if low > 0 => format!(", {low} or more"),
        _ => String::new(),
    }
}
