//! `google.protobuf.Any`: an object that says by `@type` what message it is.

use super::walker::{Step, Walker};
use super::{spelling, typed_struct, v2, wire_out};
use crate::codes;
use crate::diagnostic::{Diagnostic, Fix};
use crate::schema::{self, Message};
use crate::tree::{NodeId, Value};

impl Walker<'_> {
    /// Writes type URL (1) and value (2). An empty object is an empty Any; whether that will do is the extension's matter.
    pub(super) fn any(&mut self, node: NodeId, key: Option<NodeId>) {
        let tree = self.tree;
        let Value::Map(pairs) = tree.value(node) else {
            return self.wrong_type(node, "an object with an `@type`");
        };
        let Some((_, type_node)) = tree.get(node, "@type") else {
            if !pairs.is_empty() {
                let span = self.document.point(key, node);
                self.report(
                    Diagnostic::error(
                        codes::NO_TYPE,
                        span,
                        format!("`{}` has no `@type`", self.field_name()),
                    )
                    .label("what message is this?")
                    .help("add \"@type\": type.googleapis.com/…, the full name of the message"),
                );
            }
            return;
        };
        let Value::String(url) = tree.value(type_node) else {
            return self.wrong_type(type_node, "a type URL");
        };
        let Some(message) = self.named(url, type_node) else {
            return;
        };
        wire_out::put_bytes(&mut self.out, 1, url.as_bytes());
        let start = wire_out::begin(&mut self.out, 2);
        match message.well_known {
            // Messages with a JSON form of their own stand under `value`.
            Some(_) => {
                for &(key, value) in pairs {
                    match tree.key(key) {
                        "value" if !matches!(tree.value(value), Value::Null) => {
                            self.message(message, value, Some(key))
                        }
                        "value" | "@type" => {}
                        _ => self.unknown_field(message, key, value),
                    }
                }
            }
            None => {
                let outside = std::mem::replace(&mut self.in_any, true);
                self.object(message, node, key, true);
                self.in_any = outside;
            }
        }
        wire_out::end(&mut self.out, start);
        if typed_struct::is(message) {
            self.typed_struct(node);
        }
    }

    /// Reads a `TypedStruct`'s structure as the message it stands for, only to find mistakes in it.
    fn typed_struct(&mut self, node: NodeId) {
        let url = self
            .tree
            .get(node, "type_url")
            .or_else(|| self.tree.get(node, "typeUrl"));
        let (Some((_, url)), Some((key, value))) = (url, self.tree.get(node, "value")) else {
            return;
        };
        let Value::String(url) = self.tree.value(url) else {
            return;
        };
        let Some(message) = schema::message(schema::type_name(url)) else {
            return;
        };
        let written = std::mem::take(&mut self.out);
        self.at(Step::Field("value"), |walker| {
            walker.message(message, value, Some(key))
        });
        self.out = written;
    }

    /// The message that a type URL names, or a finding.
    fn named(&mut self, url: &str, node: NodeId) -> Option<&'static Message> {
        let host = url.rfind('/').filter(|at| *at > 0);
        if let (Some(_), Some(message)) = (host, schema::message(schema::type_name(url))) {
            return Some(message);
        }
        let span = self.tree.span(node);
        let name = schema::type_name(url);
        let right = |name: &str| format!("type.googleapis.com/{name}");
        let mut diagnostic;
        if host.is_none() && schema::message(name).is_some() {
            let text = "a type URL needs a host before the name";
            diagnostic = Diagnostic::error(codes::UNKNOWN_TYPE, span, text)
                .help(format!("write {}", right(name)));
            diagnostic =
                diagnostic.fix(Fix::replace("add the host", self.inner(node), right(name)));
        } else if let Some(v3) = v2::message(name) {
            diagnostic = Diagnostic::error(
                codes::V2_API,
                span,
                format!("`{name}` is of the v2 API, which was removed"),
            )
            .label("a v2 name")
            .help(format!("the v3 name is `{v3}`"))
            .fix(Fix::replace(
                format!("write {}", right(v3)),
                self.inner(node),
                right(v3),
            ));
        } else {
            diagnostic = Diagnostic::error(
                codes::UNKNOWN_TYPE,
                span,
                format!("there is no message `{name}`"),
            )
            .label("not a message of Envoy's API");
            if let Some(near) = spelling::nearest(name, schema::message_names()) {
                diagnostic = diagnostic
                    .help(format!("did you mean `{near}`?"))
                    .fix(Fix::replace(
                        format!("write {}", right(near)),
                        self.inner(node),
                        right(near),
                    ));
            }
        }
        self.report(diagnostic);
        None
    }
}
