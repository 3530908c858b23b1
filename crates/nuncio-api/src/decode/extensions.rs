//! Extensions by name: which there are, and what becomes of one that is only named.
//!
//! Envoy refuses an extension without `typed_config`. Well-known ones get their default configuration here, with a
//! warning, unless strict; access control never does, because an empty configuration of it lets everything pass.

use super::walker::{Step, Walker};
use super::{registered, wire_out};
use crate::codes;
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::schema::{Field, Kind, Message, WellKnown};
use crate::source::Span;
use crate::tree::{NodeId, Value};
use crate::validate;
use std::sync::LazyLock;

/// An extension that Envoy 1.40 registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// For example `envoy.filters.http`.
    pub category: &'static str,
    /// For example `envoy.filters.http.router`.
    pub name: &'static str,
    /// Full names of its configuration messages, the main one first, separated by commas; empty when it has none.
    pub types: &'static str,
}

impl Extension {
    /// The main configuration message's full name.
    pub fn main_type(&self) -> &'static str {
        self.types.split(',').next().unwrap_or(self.types)
    }
}

static EXTENSIONS: LazyLock<Vec<Extension>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        Some(Extension {
            category: columns.next()?,
            name: columns.next()?,
            types: columns.next()?,
        })
    };
    include_str!("../../extensions.tsv")
        .lines()
        .filter_map(row)
        .collect()
});

/// All extensions of Envoy 1.40, sorted by category and name.
pub fn extensions() -> &'static [Extension] {
    &EXTENSIONS
}

/// The extension of that name that has a configuration message; in the category if one is given.
pub fn extension(category: Option<&str>, name: &str) -> Option<&'static Extension> {
    let fits = |e: &&Extension| {
        e.name == name && !e.types.is_empty() && category.is_none_or(|c| e.category == c)
    };
    let mut found = EXTENSIONS.iter().filter(fits);
    let first = found.next()?;
    // A name that means different things in different places means nothing without its place.
    found
        .all(|e| e.main_type() == first.main_type())
        .then_some(first)
}

/// Extensions that decide who may pass.
const ACCESS_CONTROL: [&str; 14] = [
    "envoy.filters.http.rbac",
    "envoy.filters.network.rbac",
    "envoy.filters.http.jwt_authn",
    "envoy.filters.http.ext_authz",
    "envoy.filters.network.ext_authz",
    "envoy.filters.http.basic_auth",
    "envoy.filters.http.oauth2",
    "envoy.filters.http.api_key_auth",
    "envoy.filters.http.csrf",
    "envoy.rbac",
    "envoy.ext_authz",
    "envoy.filters.http.ext_proc",
    "envoy.transport_sockets.tls",
    "tls",
];

/// Names that need no configuration in Envoy either.
const NAME_IS_ENOUGH: [&str; 2] = [
    "envoy.config.cluster.v3.Cluster.CustomClusterType",
    "envoy.config.overload.v3.OverloadAction",
];

/// The `typed_config` field of a message that configures an extension by name.
fn typed_config(message: &'static Message) -> Option<&'static Field> {
    let name = message
        .field("name")
        .is_some_and(|f| matches!(f.kind, Kind::String));
    let config = message.field("typed_config")?;
    let any = config
        .kind
        .message()
        .is_some_and(|m| m.well_known == Some(WellKnown::Any));
    (name && any && !NAME_IS_ENOUGH.contains(&message.name)).then_some(config)
}

impl Walker<'_> {
    /// After an object was read that configures an extension: says what is wrong with the configuration's type.
    pub(super) fn check_extension(&mut self, message: &'static Message, node: NodeId) {
        let Some(config) = typed_config(message) else {
            return;
        };
        let category = registered::category(self, message);
        let name = self.text(node, "name").unwrap_or_default();
        if !self.sets_another(message, config, node) {
            return self.name_only(message, config, node, category, &name);
        }
        let any = self
            .tree
            .get(node, "typed_config")
            .or_else(|| self.tree.get(node, "typedConfig"));
        if let (Some((_, any)), Some(category), false) = (any, category, self.is_optional(node)) {
            self.at(Step::Field("typed_config"), |walker| {
                walker.check_registered(category, &name, any)
            });
        }
    }

    fn name_only(
        &mut self,
        message: &'static Message,
        config: &'static Field,
        node: NodeId,
        category: Option<&str>,
        name: &str,
    ) {
        let found = self.tree.get(node, "name");
        let span = found.map_or_else(
            || self.document.point(None, node),
            |(_, v)| self.tree.span(v),
        );
        if ACCESS_CONTROL.contains(&name) {
            let text = format!(
                "`{name}` has no configuration; access control is never given a default one"
            );
            let help =
                "add its `typed_config`, or remove it: an empty one would let everything pass";
            self.report(
                Diagnostic::error(codes::UNCONFIGURED_ACCESS_CONTROL, span, text).help(help),
            );
            return;
        }
        let main_type = match category {
            Some(category) => registered::named(category, name),
            None => extension(None, name).map(Extension::main_type),
        };
        match main_type.filter(|name| validate::admits_empty(name)) {
            Some(main_type) => self.inject_default(config, node, name, span, main_type),
            None => self.report(without_default(message, name, span, main_type)),
        }
    }

    /// Writes the empty configuration of a well-known extension in place of the missing one.
    fn inject_default(
        &mut self,
        config: &'static Field,
        node: NodeId,
        name: &str,
        span: Span,
        main_type: &str,
    ) {
        let url = format!("type.googleapis.com/{main_type}");
        let strict = self.options.strict;
        let what = if strict {
            ""
        } else {
            "; its default configuration is used, Envoy refuses this"
        };
        let fix = self.add_typed_config(node, &url);
        self.report(
            Diagnostic::refused_if(
                strict,
                codes::NO_TYPE,
                span,
                format!("`{name}` has no `typed_config`{what}"),
            )
            .label("only a name")
            .help(format!("add typed_config: {{\"@type\": {url}}}"))
            .fix(fix),
        );
        let start = wire_out::begin(&mut self.out, config.number);
        wire_out::put_bytes(&mut self.out, 1, url.as_bytes());
        wire_out::end(&mut self.out, start);
    }

    /// The configuration is there, or comes from elsewhere, or the extension may be missing.
    fn sets_another(&self, message: &Message, config: &Field, node: NodeId) -> bool {
        let set = |value: NodeId| match self.tree.value(value) {
            Value::Null => false,
            Value::Map(pairs) => !pairs.is_empty(),
            _ => true,
        };
        self.tree.pairs(node).iter().any(|(key, value)| {
            let Some(field) = message.field(self.tree.key(*key)) else {
                return false;
            };
            match field.name {
                "typed_config" => set(*value),
                "is_optional" => self.is_optional(node),
                _ => field.oneof.is_some() && field.oneof == config.oneof,
            }
        })
    }

    /// Envoy goes on without the extension should it not know it.
    fn is_optional(&self, node: NodeId) -> bool {
        let around = self.places.iter().rev().nth(1).map(|p| p.node);
        self.flagged(node) || around.is_some_and(|node| self.flagged(node))
    }

    fn flagged(&self, node: NodeId) -> bool {
        let flag = self
            .tree
            .get(node, "is_optional")
            .or_else(|| self.tree.get(node, "isOptional"));
        flag.is_some_and(|(_, v)| matches!(self.tree.value(v), Value::Bool(true)))
    }

    /// The text of a string field of an object.
    fn text(&self, node: NodeId, key: &str) -> Option<String> {
        match self.tree.value(self.tree.get(node, key)?.1) {
            Value::String(text) => Some(text.to_owned()),
            _ => None,
        }
    }

    /// Writes the missing `typed_config` after the name.
    fn add_typed_config(&self, node: NodeId, url: &str) -> Option<Fix> {
        if self.tree.get(node, "typed_config").is_some() {
            return None;
        }
        let (key, value) = self.tree.get(node, "name")?;
        let at = self.tree.span(value).end as usize;
        let text = if self.tree.is_flow(node) {
            format!(", typed_config: {{\"@type\": {url}}}")
        } else {
            let indent = " ".repeat(self.source().position(self.tree.span(key).start).column - 1);
            format!("\n{indent}typed_config:\n{indent}  \"@type\": {url}")
        };
        let edits = vec![Edit {
            span: Span::new(at, at),
            text,
        }];
        Some(Fix {
            title: "add its typed_config".to_owned(),
            edits,
        })
    }
}

/// An extension that is unknown, or that says nothing without its configuration.
fn without_default(
    message: &Message,
    name: &str,
    span: Span,
    main_type: Option<&str>,
) -> Diagnostic {
    let text = match name {
        "" => format!("this {} has no `typed_config`", message.short_name()),
        name => format!("`{name}` has no `typed_config`"),
    };
    let help = match main_type {
        Some(main) => format!("add typed_config with \"@type\": type.googleapis.com/{main}"),
        None => "add typed_config with the \"@type\" of the extension's configuration".to_owned(),
    };
    Diagnostic::error(codes::NO_TYPE, span, text)
        .label("which configuration?")
        .help(help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn names_lead_to_messages_that_exist() {
        for row in extensions() {
            for name in row.types.split(',').filter(|t| !t.is_empty()) {
                assert!(schema::message(name).is_some(), "{} {name}", row.name);
            }
        }
        let router = extension(None, "envoy.filters.http.router").expect("known");
        assert_eq!(
            router.main_type(),
            "envoy.extensions.filters.http.router.v3.Router"
        );
        assert_eq!(extension(None, "envoy.transport_sockets.tls"), None);
    }
}
