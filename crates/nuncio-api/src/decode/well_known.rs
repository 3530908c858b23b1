//! Protobuf's messages with a JSON form of their own: durations, timestamps, wrappers, free-form values.

use super::numbers;
use super::walker::{Place, Step, Walker};
use super::wire_out;
use crate::codes;
use crate::diagnostic::{Diagnostic, Fix};
use crate::schema::{self, Message, WellKnown};
use crate::tree::{NodeId, Value};

impl Walker<'_> {
    /// Writes the content of a well-known message given in its special form.
    pub(super) fn well_known(
        &mut self,
        kind: WellKnown,
        message: &'static Message,
        node: NodeId,
        key: Option<NodeId>,
    ) {
        match kind {
            WellKnown::Any => self.any(node, key),
            WellKnown::Duration => self.duration(node),
            WellKnown::Timestamp => self.timestamp(node),
            WellKnown::Wrapper => {
                if let Some(field) = message.fields.first() {
                    self.scalar(field, node);
                }
            }
            WellKnown::FieldMask => self.field_mask(node),
            WellKnown::Struct => self.structure(message, node),
            WellKnown::ListValue => self.list_value(message, node),
            WellKnown::Value => self.value(message, node),
        }
    }

    fn put_seconds(&mut self, (seconds, nanos): (i64, i32)) {
        if seconds != 0 {
            wire_out::put_varint(&mut self.out, 1, seconds as u64);
        }
        if nanos != 0 {
            wire_out::put_varint(&mut self.out, 2, i64::from(nanos) as u64);
        }
    }

    fn duration(&mut self, node: NodeId) {
        let text = match self.tree.value(node) {
            Value::String(text) | Value::Number(text) => text,
            _ => return self.wrong_type(node, "a duration like `2s` or `0.25s`"),
        };
        let string = matches!(self.tree.value(node), Value::String(_));
        if let Some(duration) = numbers::duration(text).filter(|_| string) {
            return self.put_seconds(duration);
        }
        let span = self.tree.span(node);
        let written = self.source().slice(self.inner(node)).to_owned();
        let message = format!("`{}` is not a duration: `{written}`", self.field_name());
        let diagnostic = Diagnostic::error(codes::BAD_DURATION, span, message);
        let rule = "a duration is a number of seconds followed by `s`, like `2s` or `0.25s`";
        let diagnostic = match numbers::meant_duration(&written) {
            Some(meant) => diagnostic
                .label("not a number of seconds")
                .note(rule)
                .help(format!("did you mean `{meant}`?"))
                .fix(Fix::replace(
                    format!("write `{meant}`"),
                    self.inner(node),
                    meant,
                )),
            None => diagnostic.label("not a number of seconds").help(rule),
        };
        self.report(diagnostic);
    }

    fn timestamp(&mut self, node: NodeId) {
        let Value::String(text) = self.tree.value(node) else {
            return self.wrong_type(node, "a time like `2026-01-31T12:00:00Z`");
        };
        match numbers::timestamp(text) {
            Some(time) => self.put_seconds(time),
            None => {
                let message = format!("`{}` is not a time: `{text}`", self.field_name());
                self.report(
                    Diagnostic::error(codes::BAD_FORMAT, self.tree.span(node), message).help(
                        "write it like `2026-01-31T12:00:00Z` or `2026-01-31T12:00:00.5+01:00`",
                    ),
                );
            }
        }
    }

    /// Comma-separated paths, in camel case; kept in snake case.
    fn field_mask(&mut self, node: NodeId) {
        let Value::String(text) = self.tree.value(node) else {
            return self.wrong_type(node, "field paths separated by commas");
        };
        for path in text.split(',').filter(|p| !p.is_empty()) {
            let mut snake = String::with_capacity(path.len() + 4);
            for c in path.chars() {
                if c.is_ascii_uppercase() {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            wire_out::put_bytes(&mut self.out, 1, snake.as_bytes());
        }
    }

    /// `google.protobuf.Struct`: entries of key (1) and value (2) in field 1.
    fn structure(&mut self, message: &'static Message, node: NodeId) {
        let Value::Map(pairs) = self.tree.value(node) else {
            return self.wrong_type(node, "an object");
        };
        let Some(of_value) = schema::message("google.protobuf.Value") else {
            return;
        };
        self.inside(
            Place {
                message,
                node,
                key: None,
            },
            |walker| {
                for &(key, value) in pairs {
                    let name = walker.tree.key(key);
                    walker.at(Step::Key(name), |walker| {
                        let entry = wire_out::begin(&mut walker.out, 1);
                        wire_out::put_bytes(&mut walker.out, 1, name.as_bytes());
                        let start = wire_out::begin(&mut walker.out, 2);
                        walker.value(of_value, value);
                        wire_out::end(&mut walker.out, start);
                        wire_out::end(&mut walker.out, entry);
                    });
                }
            },
        );
    }

    /// `google.protobuf.ListValue`: values in field 1.
    fn list_value(&mut self, message: &'static Message, node: NodeId) {
        let Value::List(items) = self.tree.value(node) else {
            return self.wrong_type(node, "a list");
        };
        let Some(of_value) = schema::message("google.protobuf.Value") else {
            return;
        };
        self.inside(
            Place {
                message,
                node,
                key: None,
            },
            |walker| {
                for (at, item) in items.iter().enumerate() {
                    walker.at(Step::Index(at), |walker| {
                        let start = wire_out::begin(&mut walker.out, 1);
                        walker.value(of_value, *item);
                        wire_out::end(&mut walker.out, start);
                    });
                }
            },
        );
    }

    /// `google.protobuf.Value`: a oneof of null (1), number (2), string (3), boolean (4), struct (5), list (6).
    fn value(&mut self, message: &'static Message, node: NodeId) {
        match self.tree.value(node) {
            Value::Null => wire_out::put_varint(&mut self.out, 1, 0),
            Value::Bool(value) => wire_out::put_varint(&mut self.out, 4, u64::from(value)),
            // The reader has made sure that it is one.
            Value::Number(text) => {
                let number = numbers::float(text).unwrap_or_default();
                wire_out::put_fixed64(&mut self.out, 2, number.to_bits());
            }
            Value::String(text) => wire_out::put_bytes(&mut self.out, 3, text.as_bytes()),
            Value::Map(_) => {
                let start = wire_out::begin(&mut self.out, 5);
                self.structure(message, node);
                wire_out::end(&mut self.out, start);
            }
            Value::List(_) => {
                let start = wire_out::begin(&mut self.out, 6);
                self.list_value(message, node);
                wire_out::end(&mut self.out, start);
            }
        }
    }
}
