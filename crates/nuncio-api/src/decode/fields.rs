//! Objects: keys to fields, lists, maps, oneofs.

use super::walker::{Place, Step, Walker};
use super::wire_out;
use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::schema::{Field, Kind, Label, Message, WellKnown};
use crate::tree::{NodeId, Value};

impl<'d> Walker<'d> {
    /// A value of a message type; writes the message's content without its length.
    pub(super) fn message(&mut self, message: &'static Message, node: NodeId, key: Option<NodeId>) {
        let object = matches!(self.tree.value(node), Value::Map(_));
        match message.well_known {
            // Envoy also takes these as plain objects: `{seconds: 1}`, `{value: true}`.
            Some(
                WellKnown::Wrapper
                | WellKnown::Duration
                | WellKnown::Timestamp
                | WellKnown::FieldMask
                | WellKnown::ListValue,
            ) if object => {
                self.object(message, node, key, false);
            }
            Some(kind) => self.well_known(kind, message, node, key),
            None => self.object(message, node, key, false),
        }
    }

    /// A message as an object of its fields; `any` skips the `@type` that stands among them.
    pub(super) fn object(
        &mut self,
        message: &'static Message,
        node: NodeId,
        key: Option<NodeId>,
        any: bool,
    ) {
        let Value::Map(pairs) = self.tree.value(node) else {
            self.wrong_type(node, &format!("an object ({})", message.short_name()));
            return;
        };
        self.inside(Place { message, node, key }, |walker| {
            let mut set = vec![None; message.oneofs.len()];
            walker.pairs(message, pairs, any, &mut set);
            walker.merge_keys(message, node, &mut set);
            walker.check_extension(message, node);
            walker.check_cluster_type(message, node);
            walker.default_values(message, node);
        });
    }

    /// `set` remembers for each oneof the key that set it.
    fn pairs(
        &mut self,
        message: &'static Message,
        pairs: &[(NodeId, NodeId)],
        any: bool,
        set: &mut [Option<NodeId>],
    ) {
        for &(key, value) in pairs {
            let name = self.tree.key(key);
            if (any && name == "@type") || self.is_merge_key(key) {
                continue;
            }
            let Some(field) = message.field(name) else {
                self.unknown_field(message, key, value);
                continue;
            };
            if matches!(self.tree.value(value), Value::Null) && !takes_null(field) {
                continue;
            }
            if let Some(slot) = field.oneof.and_then(|o| set.get_mut(usize::from(o)))
                && let Some(first) = slot.replace(key)
            {
                self.oneof_twice(first, key);
                continue;
            }
            self.at(Step::Field(field.name), |walker| {
                walker.deprecations(message, field, key, value);
                walker.field(message, field, key, value);
            });
        }
    }

    /// YAML's `<<`; as strict as Envoy it is a key like any other.
    fn is_merge_key(&self, key: NodeId) -> bool {
        !self.options.strict && self.tree.key(key) == "<<"
    }

    /// Reads the maps behind `<<` for the keys that the object does not set itself.
    fn merge_keys(&mut self, message: &'static Message, node: NodeId, set: &mut [Option<NodeId>]) {
        let tree = self.tree;
        for &(key, value) in tree.pairs(node) {
            if !self.is_merge_key(key) {
                continue;
            }
            let text = "the merge key `<<` is merged here; Envoy refuses it";
            self.report(Diagnostic::warning(codes::MERGE_KEY, tree.span(key), text));
            let maps = match tree.value(value) {
                Value::List(items) => items.to_vec(),
                _ => vec![value],
            };
            for map in maps {
                let Value::Map(pairs) = tree.value(map) else {
                    self.wrong_type(map, "an object to merge");
                    continue;
                };
                let own = |k: &NodeId| tree.get(node, tree.key(*k)).is_some();
                let new: Vec<_> = pairs
                    .iter()
                    .filter(|(k, _)| !own(k) && tree.key(*k) != "<<")
                    .copied()
                    .collect();
                self.pairs(message, &new, false, set);
            }
        }
    }

    fn oneof_twice(&mut self, first: NodeId, again: NodeId) {
        let tree = self.tree;
        let (was, is) = (tree.key(first), tree.key(again));
        let at = self.source().position(tree.span(first).start);
        let message = if was == is {
            format!("`{is}` is set twice")
        } else {
            format!("only one of `{was}` and `{is}` may be set")
        };
        self.report(
            Diagnostic::error(codes::ONEOF_TWICE, tree.span(again), message)
                .label(format!(
                    "`{was}` is already set at {}:{}",
                    at.line, at.column
                ))
                .also(tree.span(first), "set here first"),
        );
    }

    fn field(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        key: NodeId,
        value: NodeId,
    ) {
        match field.label {
            Label::Single => self.element(field, Some(key), value),
            Label::Repeated => self.list(field, key, value),
            Label::Map => self.map(message, field, value),
        }
    }

    /// A list; a lone value counts as a list of one and inner lists are flattened, as by Envoy.
    fn list(&mut self, field: &'static Field, key: NodeId, value: NodeId) {
        let of_lists = field
            .kind
            .message()
            .is_some_and(|m| m.well_known == Some(WellKnown::ListValue));
        match self.tree.value(value) {
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.at(Step::Index(at), |walker| match walker.tree.value(*item) {
                        Value::List(inner) if !of_lists => {
                            for item in inner {
                                walker.element(field, None, *item);
                            }
                        }
                        _ => walker.element(field, None, *item),
                    });
                }
            }
            _ => self.at(Step::Index(0), |walker| {
                walker.element(field, Some(key), value)
            }),
        }
    }

    fn map(&mut self, message: &'static Message, field: &'static Field, value: NodeId) {
        let Value::Map(pairs) = self.tree.value(value) else {
            self.wrong_type(
                value,
                &format!("an object (the entries of `{}`)", field.name),
            );
            return;
        };
        let Some(entry) = field.kind.message() else {
            return;
        };
        let (Some(key_field), Some(value_field)) =
            (entry.field_by_number(1), entry.field_by_number(2))
        else {
            return;
        };
        for &(key, value) in pairs {
            let name = self.tree.key(key);
            self.at(Step::Key(name), |walker| {
                let start = wire_out::begin(&mut walker.out, field.number);
                walker.map_key(key_field, key);
                if !matches!(walker.tree.value(value), Value::Null) || takes_null(value_field) {
                    walker.element(value_field, Some(key), value);
                } else if let Kind::Message(_) = value_field.kind {
                    wire_out::put_bytes(&mut walker.out, value_field.number, &[]);
                }
                wire_out::end(&mut walker.out, start);
                walker.check_map_entry(message, field, key, value);
            });
        }
    }

    /// One value with its field number. An empty item of a list is the type's default.
    fn element(&mut self, field: &'static Field, key: Option<NodeId>, value: NodeId) {
        match field.kind.message() {
            Some(message) => {
                let start = wire_out::begin(&mut self.out, field.number);
                if !matches!(self.tree.value(value), Value::Null) || takes_null(field) {
                    self.message(message, value, key);
                }
                wire_out::end(&mut self.out, start);
            }
            None => self.scalar(field, value),
        }
    }

    /// Reports a value of the wrong shape.
    pub(super) fn wrong_type(&mut self, node: NodeId, expected: &str) {
        let value = self.tree.value(node);
        let span = self.tree.span(node);
        let found = value.describe();
        let span = if matches!(value, Value::Map(_) | Value::List(_)) && !self.tree.is_flow(node) {
            self.document.point(None, node)
        } else {
            span
        };
        let message = match (self.path().is_empty(), found) {
            (true, _) => format!("expected {expected}, found {found}"),
            _ => format!("`{}` must be {expected}, not {found}", self.field_name()),
        };
        self.report(
            Diagnostic::error(codes::WRONG_TYPE, span, message)
                .label(format!("expected {expected}")),
        );
    }

    /// Last named step of the path, for sentences.
    pub(super) fn field_name(&self) -> String {
        let path = self.path();
        let last = path.rsplit('.').next().unwrap_or(&path);
        last.to_owned()
    }

    /// An unknown key or enum value is only warned about where the user allows it.
    pub(super) fn unknown_severity(&self) -> Severity {
        if self.options.allow_unknown {
            Severity::Warning
        } else {
            Severity::Error
        }
    }
}

/// `null` is a value for `google.protobuf.Value`, and "not set" for everything else.
fn takes_null(field: &Field) -> bool {
    field.label == Label::Single
        && field
            .kind
            .message()
            .is_some_and(|m| m.well_known == Some(WellKnown::Value))
}
