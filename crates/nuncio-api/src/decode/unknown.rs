//! Keys that fit nothing: what they were meant to be, or where they belong.

use super::walker::{Place, Walker};
use super::{spelling, v2};
use crate::codes;
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::schema::{Label, Message};
use crate::source::Span;
use crate::tree::{NodeId, Value};

/// How many messages deep a misplaced key's right place is looked for.
const MAX_SEARCH_DEPTH: usize = 3;

impl Walker<'_> {
    /// A Kubernetes object where a configuration should be: one finding instead of one per key.
    pub(super) fn foreign_object(&mut self, message: &'static Message) -> bool {
        let root = self.document.root();
        let (kind, version) = (
            self.tree.get(root, "kind"),
            self.tree.get(root, "apiVersion"),
        );
        let (Some((key, kind)), Some(_)) = (kind, version) else {
            return false;
        };
        if message.field("kind").is_some() || message.field("apiVersion").is_some() {
            return false;
        }
        let kind = self.tree.key(kind).to_owned();
        let text = format!(
            "this is a Kubernetes object ({kind}), not a {}",
            message.short_name()
        );
        let help = "give it to the cluster, or to a control plane that turns it into Envoy's configuration";
        self.report(
            Diagnostic::error(codes::KUBERNETES_OBJECT, self.tree.span(key), text).help(help),
        );
        true
    }

    /// Reports a key that the message has no field for.
    pub(super) fn unknown_field(&mut self, message: &'static Message, key: NodeId, value: NodeId) {
        let name = self.tree.key(key).to_owned();
        let span = self.tree.span(key);
        let severity = self.unknown_severity();
        let unknown = |code, text: String| Diagnostic {
            severity,
            ..Diagnostic::error(code, span, text)
        };
        if let Some(instead) = v2::field(message.name, &name) {
            let mut diagnostic = unknown(
                codes::V2_API,
                format!("`{name}` is of the v2 API, which was removed"),
            )
            .label("a v2 field")
            .help(format!("the v3 form is {instead}"));
            if let Some(new) = v2::rename(message.name, &name) {
                diagnostic = diagnostic.fix(Fix::replace(
                    format!("rename it to `{new}`"),
                    self.inner(key),
                    new,
                ));
            }
            return self.report(diagnostic);
        }
        let mut diagnostic = unknown(
            codes::UNKNOWN_FIELD,
            format!("unknown field `{name}` in {}", message.short_name()),
        )
        .label(format!("not a field of {}", message.name));
        let near = spelling::nearest(
            &name,
            message
                .fields
                .iter()
                .filter(|f| !f.disallowed)
                .map(|f| f.name),
        );
        let slip = near.filter(|near| spelling::distance(&name, near, 1).is_some());
        if name == "<<" {
            diagnostic = diagnostic.help(
                "Envoy does not know YAML's merge key; write the keys out, or use a whole alias",
            );
        } else if let Some(near) =
            slip.or_else(|| near.filter(|_| self.home(message, &name, value).is_none()))
        {
            diagnostic = self.did_you_mean(diagnostic, message, key, near);
        } else if let Some(found) = self.home(message, &name, value) {
            diagnostic = self.send_home(diagnostic, key, value, &name, found);
        } else if message.fields.len() <= 12 {
            let names: Vec<String> = message
                .fields
                .iter()
                .map(|f| format!("`{}`", f.name))
                .collect();
            diagnostic = match names.is_empty() {
                true => diagnostic.note(format!("{} has no fields", message.short_name())),
                false => {
                    diagnostic.note(format!("{} has {}", message.short_name(), names.join(", ")))
                }
            };
        }
        self.report(diagnostic);
    }

    fn did_you_mean(
        &self,
        diagnostic: Diagnostic,
        message: &Message,
        key: NodeId,
        near: &str,
    ) -> Diagnostic {
        let place = self.places.last().map(|p| p.node);
        let taken = place.is_some_and(|node| {
            self.tree.pairs(node).iter().any(|(k, _)| {
                message
                    .field(self.tree.key(*k))
                    .is_some_and(|f| f.name == near)
            })
        });
        let diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        let fix = Fix::replace(format!("rename it to `{near}`"), self.inner(key), near);
        if taken {
            diagnostic
        } else {
            diagnostic.fix(fix)
        }
    }

    /// Where a key that is a field elsewhere belongs: below, above, or further down.
    fn home(&self, message: &'static Message, name: &str, value: NodeId) -> Option<Home> {
        let place = *self.places.last()?;
        // A neighbour that is set and has such a field: most likely the key lost its indentation.
        let set: Vec<&'static str> = self
            .tree
            .pairs(place.node)
            .iter()
            .filter_map(|(k, _)| message.field(self.tree.key(*k)))
            .map(|f| f.name)
            .collect();
        let below = |field: &&crate::schema::Field| {
            field.label == Label::Single
                && field
                    .kind
                    .message()
                    .is_some_and(|m| self.takes(m, name, value))
        };
        if let Some(field) = message
            .fields
            .iter()
            .filter(|f| set.contains(&f.name))
            .find(below)
        {
            return Some(Home::Sibling(field.name));
        }
        // The last place is the message itself.
        let above = self
            .places
            .iter()
            .rev()
            .skip(1)
            .find(|p| self.takes(p.message, name, value));
        if let Some(above) = above {
            return Some(Home::Above(*above));
        }
        if let Some(field) = message.fields.iter().filter(|f| !f.deprecated).find(below) {
            return Some(Home::Sibling(field.name));
        }
        let path = self.search(message, name, value)?;
        Some(Home::Below(path))
    }

    /// The message has the field, and the value has the field's shape.
    fn takes(&self, message: &'static Message, name: &str, value: NodeId) -> bool {
        let Some(field) = message.field(name) else {
            return false;
        };
        match self.tree.value(value) {
            Value::Map(_) => field.kind.message().is_some(),
            Value::List(_) => field.label == Label::Repeated,
            Value::Null => true,
            _ => field.kind.message().is_none_or(|m| m.well_known.is_some()),
        }
    }

    /// Breadth first through the messages below: `static_resources.clusters[]`.
    fn search(&self, message: &'static Message, name: &str, value: NodeId) -> Option<String> {
        let mut seen = vec![message.name];
        let mut level = vec![(message, String::new())];
        for _ in 0..MAX_SEARCH_DEPTH {
            let mut next = Vec::new();
            for (message, path) in &level {
                for field in message
                    .fields
                    .iter()
                    .filter(|f| !f.deprecated && f.label != Label::Map)
                {
                    let Some(below) = field.kind.message().filter(|m| m.well_known.is_none())
                    else {
                        continue;
                    };
                    if seen.contains(&below.name) {
                        continue;
                    }
                    seen.push(below.name);
                    let dot = if path.is_empty() { "" } else { "." };
                    let list = if field.label == Label::Repeated {
                        "[]"
                    } else {
                        ""
                    };
                    let path = format!("{path}{dot}{}{list}", field.name);
                    if self.takes(below, name, value) {
                        return Some(path);
                    }
                    next.push((below, path));
                }
            }
            level = next;
        }
        None
    }

    fn send_home(
        &self,
        diagnostic: Diagnostic,
        key: NodeId,
        value: NodeId,
        name: &str,
        home: Home,
    ) -> Diagnostic {
        match home {
            Home::Sibling(sibling) => {
                let Some(place) = self.places.last() else {
                    return diagnostic;
                };
                let Some((sibling_key, sibling_value)) = self.tree.get(place.node, sibling) else {
                    return diagnostic.help(format!("`{name}` belongs inside `{sibling}:`"));
                };
                let span = self.tree.span(sibling_key);
                let mut diagnostic = diagnostic.also(span, format!("`{sibling}` starts here"));
                let fix = self.indent_below(*place, key, value, sibling_value);
                match &fix {
                    Some((first, last, by, _)) if first == last => {
                        diagnostic = diagnostic.help(format!(
                            "`{name}` belongs inside `{sibling}:` — indent line {first} by {by} spaces"
                        ));
                    }
                    Some((first, last, by, true)) => {
                        diagnostic = diagnostic.help(format!(
                            "`{name}` belongs inside `{sibling}:` — indent lines {first}–{last} by {by} spaces"
                        ));
                    }
                    _ => {
                        let line = self.line(span);
                        diagnostic = diagnostic.help(format!(
                            "`{name}` belongs inside `{sibling}:` (line {line})"
                        ));
                    }
                }
                let edits = self.move_below(*place, key, value, sibling_value);
                diagnostic.fix(edits.map(|edits| Fix {
                    title: format!("move it into `{sibling}`"),
                    edits,
                }))
            }
            Home::Above(above) => {
                let whose = match above.key {
                    Some(key) => {
                        let span = self.tree.span(key);
                        format!("in `{}` (line {})", self.tree.key(key), self.line(span))
                    }
                    None => format!("in the {} that encloses this", above.message.short_name()),
                };
                diagnostic.help(format!("`{name}` belongs further out, {whose}"))
            }
            Home::Below(path) => diagnostic.help(format!(
                "`{name}` belongs inside `{path}`: write `{path}.{name}`"
            )),
        }
    }

    /// First and last line of a key's block, the spaces that it lacks, and whether indenting alone will do.
    fn indent_below(
        &self,
        place: Place,
        key: NodeId,
        value: NodeId,
        sibling: NodeId,
    ) -> Option<(usize, usize, usize, bool)> {
        let (block, _) = self.block(place, key, value)?;
        let first = self.source().position(block.start).line;
        let last = self
            .source()
            .position(self.tree.end(value).max(self.tree.span(key).end))
            .line;
        let by = self.child_indent(sibling)?.checked_sub(self.indent(key))?;
        // Nothing but the sibling may stand between.
        let between = self
            .source()
            .text
            .get(self.tree.end(sibling) as usize..block.start as usize)?;
        let adjacent = between
            .lines()
            .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'));
        Some((first, last, by, adjacent))
    }

    /// Cuts the key's lines out and writes them, indented, at the end of its sibling's.
    fn move_below(
        &self,
        place: Place,
        key: NodeId,
        value: NodeId,
        sibling: NodeId,
    ) -> Option<Vec<Edit>> {
        let (block, lines) = self.block(place, key, value)?;
        let by = " ".repeat(self.child_indent(sibling)?.checked_sub(self.indent(key))?);
        let mut moved = String::new();
        for line in lines.split_inclusive('\n') {
            if !line.trim().is_empty() {
                moved.push_str(&by);
            }
            moved.push_str(line);
        }
        let home = self.source().line_end(self.tree.end(sibling));
        if home == block.start as usize {
            return Some(vec![Edit {
                span: block,
                text: moved,
            }]);
        }
        if !moved.ends_with('\n') {
            moved.push('\n');
        }
        Some(vec![
            Edit {
                span: Span::new(home, home),
                text: moved,
            },
            Edit {
                span: block,
                text: String::new(),
            },
        ])
    }

    /// The whole lines of a key and its value in a block map.
    fn block(&self, place: Place, key: NodeId, value: NodeId) -> Option<(Span, &str)> {
        if self.tree.is_flow(place.node) {
            return None;
        }
        let start = self.source().line_start(self.tree.span(key).start);
        let end = self
            .source()
            .line_end(self.tree.end(value).max(self.tree.span(key).end));
        let text = self.source().text.get(start..end)?;
        // Behind a dash it shares its line with the item.
        let own_line = text.trim_start().as_ptr()
            == self
                .source()
                .text
                .get(self.tree.span(key).start as usize..)?
                .as_ptr();
        own_line.then_some((Span::new(start, end), text))
    }

    fn indent(&self, key: NodeId) -> usize {
        self.source().position(self.tree.span(key).start).column - 1
    }

    /// Indentation of the keys of a block map.
    fn child_indent(&self, map: NodeId) -> Option<usize> {
        let first = self
            .tree
            .pairs(map)
            .first()
            .filter(|_| !self.tree.is_flow(map))?;
        Some(self.indent(first.0))
    }
}

/// Where a misplaced key belongs.
enum Home {
    /// Inside a neighbour, or a field that is not set yet.
    Sibling(&'static str),
    /// In a message further out.
    Above(Place),
    /// Further in, by path.
    Below(String),
}
