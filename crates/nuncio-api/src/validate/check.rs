//! The walk over a serialized message, and the rules about what must be there.

use super::items::Items;
use super::{Violation, value};
use crate::codes;
use crate::decode::typed_struct;
use crate::schema::{Field, Kind, Label, Message, Reader, WellKnown, Wire, message, type_name};
use std::fmt::Write as _;

/// One step of the current path.
enum Step {
    Field(&'static str),
    Index(usize),
    Key(String),
}

/// Nested messages, so that hostile bytes cannot exhaust the stack.
const MAX_DEPTH: usize = 200;

pub(super) struct Checker<'r> {
    report: &'r mut dyn FnMut(Violation),
    path: Vec<Step>,
    depth: usize,
    /// How often each field of each open message was seen: a stack of slices.
    counts: Vec<u32>,
}

impl<'r> Checker<'r> {
    pub fn new(report: &'r mut dyn FnMut(Violation)) -> Self {
        Checker {
            report,
            path: Vec::new(),
            depth: 0,
            counts: Vec::new(),
        }
    }

    pub fn message(&mut self, message: &'static Message, bytes: &[u8]) {
        if self.depth == MAX_DEPTH {
            return;
        }
        self.depth += 1;
        match message.well_known {
            Some(WellKnown::Any) => self.any(bytes),
            Some(_) => {}
            None => self.fields(message, bytes),
        }
        self.depth -= 1;
    }

    fn fields(&mut self, message: &'static Message, bytes: &[u8]) {
        let base = self.counts.len();
        self.counts.resize(base + message.fields.len(), 0);
        for (number, wire) in Reader::new(bytes) {
            let Some(field) = message.field_by_number(number) else {
                continue;
            };
            let at = base + message.index_of(field);
            let seen = self.counts[at] as usize;
            self.counts[at] += 1;
            match (field.label, wire) {
                (Label::Repeated, Wire::Bytes(packed)) if is_number(field.kind) => {
                    self.counts[at] += self.packed(field, seen, packed).saturating_sub(1);
                }
                (Label::Repeated, _) => self.nested(Step::Index(seen), field, wire),
                (Label::Map, _) => self.entry(message, field, wire.bytes()),
                (Label::Single, _) => self.single(field, wire),
            }
        }
        self.absences(message, base);
        if message
            .fields
            .iter()
            .any(|f| f.rules.as_ref().is_some_and(|r| r.unique))
        {
            self.duplicates(message, bytes);
        }
        self.counts.truncate(base);
    }

    fn single(&mut self, field: &'static Field, wire: Wire<'_>) {
        self.path.push(Step::Field(field.name));
        if let Some(rules) = &field.rules {
            if let Some(fault) = value::fault(field, rules, wire) {
                self.broken(fault);
            }
        } else if let Some(fault) = value::unusable_duration(field, wire) {
            self.broken(fault);
        }
        self.descend(field, wire);
        self.path.pop();
    }

    /// An item of a list.
    fn nested(&mut self, step: Step, field: &'static Field, wire: Wire<'_>) {
        self.path.push(Step::Field(field.name));
        self.path.push(step);
        if let Some(rules) = field.rules.as_ref().and_then(|r| r.items.as_deref())
            && let Some(fault) = value::fault(field, rules, wire)
        {
            self.broken(fault);
        }
        self.descend(field, wire);
        self.path.truncate(self.path.len() - 2);
    }

    fn descend(&mut self, field: &'static Field, wire: Wire<'_>) {
        if let (Some(message), Wire::Bytes(bytes)) = (field.kind.message(), wire)
            && !field.rules.as_ref().is_some_and(|r| r.skip)
        {
            self.message(message, bytes);
        }
    }

    /// Several numbers in one go; says how many.
    fn packed(&mut self, field: &'static Field, seen: usize, bytes: &[u8]) -> u32 {
        let mut count = 0;
        for wire in Items::new(field, bytes) {
            self.nested(Step::Index(seen + count), field, wire);
            count += 1;
        }
        count as u32
    }

    fn entry(&mut self, message: &'static Message, field: &'static Field, bytes: &[u8]) {
        // Metadata of unknown consumers is nobody's to check: Envoy does not look into it either.
        let opaque = message.name == "envoy.config.core.v3.Metadata"
            && field.name == "typed_filter_metadata";
        let Some(entry) = field.kind.message() else {
            return;
        };
        let (mut key, mut value) = (Wire::Bytes(&[]), None);
        for (number, wire) in Reader::new(bytes) {
            match number {
                1 => key = wire,
                2 => value = Some(wire),
                _ => {}
            }
        }
        let name = match key {
            Wire::Bytes(_) => key.text().to_owned(),
            _ => key.integer().to_string(),
        };
        self.path.push(Step::Field(field.name));
        self.path.push(Step::Key(name));
        if let (Some(rules), Some(of_key), Some(of_value)) = (
            &field.rules,
            entry.field_by_number(1),
            entry.field_by_number(2),
        ) {
            let of_keys = rules
                .keys
                .as_deref()
                .and_then(|rules| value::fault(of_key, rules, key));
            let of_values = rules
                .values
                .as_deref()
                .zip(value)
                .and_then(|(rules, v)| value::fault(of_value, rules, v));
            for fault in of_keys.into_iter().chain(of_values) {
                self.broken(fault);
            }
        }
        if let (Some(of_value), Some(wire), false) = (entry.field_by_number(2), value, opaque) {
            self.descend(of_value, wire);
        }
        self.path.truncate(self.path.len() - 2);
    }

    fn any(&mut self, bytes: &[u8]) {
        let (mut url, mut content) = ("", &[][..]);
        for (number, wire) in Reader::new(bytes) {
            match number {
                1 => url = wire.text(),
                2 => content = wire.bytes(),
                _ => {}
            }
        }
        let Some(inner) = message(type_name(url)) else {
            return;
        };
        if typed_struct::is(inner) {
            if let Some((inner, bytes)) = typed_struct::expand(content) {
                self.path.push(Step::Field("value"));
                self.message(inner, &bytes);
                self.path.pop();
            }
            return;
        }
        self.message(inner, content);
    }

    /// Fields that should be there and are not, and lists that are too short or too long.
    fn absences(&mut self, message: &'static Message, base: usize) {
        for (at, field) in message.fields.iter().enumerate() {
            let Some(rules) = &field.rules else { continue };
            let count = u64::from(self.counts[base + at]);
            if field.label != Label::Single {
                self.count(field, rules.min_items, rules.max_items, count);
            } else if count == 0 && rules.required && field.oneof.is_none() {
                let text = format!("`{}` must be set in {}", field.name, message.short_name());
                self.missing(
                    codes::REQUIRED,
                    Some(field),
                    text,
                    format!("`{}` is missing", field.name),
                    None,
                );
            } else if count == 0 && !field.presence && !rules.ignore_empty {
                let default = if matches!(field.kind, Kind::String | Kind::Bytes) {
                    Wire::Bytes(&[])
                } else {
                    Wire::Varint(0)
                };
                if let Some(fault) = value::fault(field, rules, default) {
                    let text = match fault.empty {
                        true => format!("`{}` must be set in {}", field.name, message.short_name()),
                        false => format!("`{}` must be set: it {}", field.name, fault.rule),
                    };
                    self.missing(
                        codes::REQUIRED,
                        Some(field),
                        text,
                        format!("`{}` is missing", field.name),
                        None,
                    );
                }
            }
        }
        for (at, oneof) in message
            .oneofs
            .iter()
            .enumerate()
            .filter(|(_, o)| o.required)
        {
            let set = |f: &Field| self.counts[base + message.index_of(f)] > 0;
            if message.members(at as u16).any(set) {
                continue;
            }
            let members = message
                .members(at as u16)
                .filter(|f| !f.deprecated && !f.disallowed);
            let names: Vec<String> = members.map(|f| format!("`{}`", f.name)).collect();
            let text = format!(
                "{} must say its {}",
                message.short_name(),
                oneof.name.replace('_', " ")
            );
            let help = format!("choose one of {}", names.join(", "));
            let label = format!("`{}` is not set", oneof.name);
            self.missing(codes::ONEOF_REQUIRED, None, text, label, Some(help));
        }
    }

    fn count(&mut self, field: &Field, min: Option<u64>, max: Option<u64>, count: u64) {
        let items = |n: u64| {
            if n == 1 {
                "1 item".to_owned()
            } else {
                format!("{n} items")
            }
        };
        if let Some(min) = min.filter(|min| count < *min) {
            let text = format!("`{}` must have at least {}", field.name, items(min));
            let label = if count == 0 {
                format!("`{}` is missing", field.name)
            } else {
                format!("only {}", items(count))
            };
            self.missing(codes::BAD_COUNT, Some(field), text, label, None);
        }
        if let Some(max) = max.filter(|max| count > *max) {
            self.path.push(Step::Field(field.name));
            let rule = format!("must have at most {}", items(max));
            self.broken(value::Fault::new(
                codes::BAD_COUNT,
                rule,
                format!("has {}", items(count)),
            ));
            self.path.pop();
        }
    }

    /// Lists that must not hold the same item twice; only short lists of scalars have that rule.
    fn duplicates(&mut self, message: &'static Message, bytes: &[u8]) {
        for field in message
            .fields
            .iter()
            .filter(|f| f.rules.as_ref().is_some_and(|r| r.unique))
        {
            let mut seen: Vec<Wire<'_>> = Vec::new();
            for (_, wire) in Reader::new(bytes).filter(|(n, _)| *n == field.number) {
                match wire {
                    Wire::Bytes(packed) if is_number(field.kind) => {
                        seen.extend(Items::new(field, packed))
                    }
                    _ => seen.push(wire),
                }
            }
            let again = (1..seen.len()).find(|at| seen[..*at].contains(&seen[*at]));
            if let Some(at) = again {
                self.path.push(Step::Field(field.name));
                self.path.push(Step::Index(at));
                let rule = "must not hold the same item twice".to_owned();
                self.broken(value::Fault::new(
                    codes::BAD_COUNT,
                    rule,
                    "a duplicate".to_owned(),
                ));
                self.path.truncate(self.path.len() - 2);
            }
        }
    }

    /// Reports a value at the current path.
    fn broken(&mut self, fault: value::Fault) {
        let path = self.text(self.path.len());
        let depth = self
            .path
            .iter()
            .rposition(|s| matches!(s, Step::Field(_)))
            .unwrap_or(0);
        let owner = self.text(depth);
        let name = path
            .strip_prefix(owner.as_str())
            .unwrap_or(&path)
            .trim_start_matches('.')
            .to_owned();
        let message = match fault.shown {
            Some(shown) => format!("`{name}` {}, it is {shown}", fault.rule),
            None => format!("`{name}` {}", fault.rule),
        };
        let label = fault.label;
        (self.report)(Violation {
            code: fault.code,
            owner,
            path,
            missing: false,
            message,
            label,
            help: fault.help,
        });
    }

    /// Reports something that the message at the current path lacks.
    fn missing(
        &mut self,
        code: &'static str,
        field: Option<&Field>,
        message: String,
        label: String,
        help: Option<String>,
    ) {
        let owner = self.text(self.path.len());
        let path = match field {
            Some(field) if owner.is_empty() => field.name.to_owned(),
            Some(field) => format!("{owner}.{}", field.name),
            None => owner.clone(),
        };
        (self.report)(Violation {
            code,
            owner,
            path,
            missing: true,
            message,
            label,
            help,
        });
    }

    fn text(&self, depth: usize) -> String {
        let mut text = String::new();
        for step in &self.path[..depth] {
            // Writing to a String cannot fail.
            let _ = match step {
                Step::Field(name) if text.is_empty() => write!(text, "{name}"),
                Step::Field(name) => write!(text, ".{name}"),
                Step::Index(at) => write!(text, "[{at}]"),
                Step::Key(key) => write!(text, "[\"{key}\"]"),
            };
        }
        text
    }
}

/// Types that a list may hold packed.
fn is_number(kind: Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_))
}
