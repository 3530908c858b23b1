//! Which configurations may stand where: an extension point takes the messages of its category only.
//!
//! Envoy finds an extension by the type of its configuration and refuses a type that no extension of the category is
//! registered for. What may stand where is in `extension_points.tsv`, what there is in `extensions.tsv`.

use super::extensions::{Extension, extensions};
use super::walker::{Step, Walker};
use super::{spelling, typed_struct};
use crate::codes;
use crate::diagnostic::{Diagnostic, Fix};
use crate::schema::{self, Field, Message};
use crate::tree::{NodeId, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// (message, field) → category.
static POINTS: LazyLock<HashMap<(&'static str, &'static str), &'static str>> =
    LazyLock::new(|| {
        let row = |line: &'static str| {
            let mut columns = line.split('\t');
            Some(((columns.next()?, columns.next()?), columns.next()?))
        };
        include_str!("../../extension_points.tsv")
            .lines()
            .filter_map(row)
            .collect()
    });

/// Inputs of matchers: each kind of matcher has a category of its own, and all of them the common one.
const COMMON_INPUTS: &str = "envoy.matching.common_inputs";

/// Filters of TCP and of UDP listeners stand in one list.
const LISTENER_FILTERS: [&str; 2] = ["envoy.filters.listener", "envoy.filters.udp_listener"];

fn belongs(extension: &Extension, category: &str) -> bool {
    extension.category == category
        || (category == COMMON_INPUTS && extension.category.starts_with("envoy.matching."))
        || (category == LISTENER_FILTERS[0] && extension.category == LISTENER_FILTERS[1])
}

/// The main configuration of the extension of that name in a category.
pub(super) fn named(category: &str, name: &str) -> Option<&'static str> {
    let found = extensions()
        .iter()
        .find(|e| e.name == name && belongs(e, category));
    found.map(Extension::main_type).filter(|t| !t.is_empty())
}

/// The category of the extension that the innermost message configures: its parent's word counts before its own.
pub(super) fn category(walker: &Walker<'_>, message: &Message) -> Option<&'static str> {
    let parent = walker.places.iter().rev().nth(1).map(|p| p.message.name);
    let by_parent = parent
        .zip(walker.field_step())
        .and_then(|point| POINTS.get(&point));
    by_parent
        .or_else(|| POINTS.get(&(message.name, "typed_config")))
        .copied()
}

impl Walker<'_> {
    /// Refuses a `typed_config` that is no configuration of the category. `any` is its object.
    pub(super) fn check_registered(&mut self, category: &str, name: &str, any: NodeId) {
        let Some((written, type_node)) = self.configured_type(any) else {
            return;
        };
        let types = || {
            extensions()
                .iter()
                .filter(|e| belongs(e, category))
                .flat_map(|e| e.types.split(','))
        };
        if types().any(|t| t == written) {
            return;
        }
        let span = self.tree.span(type_node);
        let message = format!("`{written}` configures no extension of {category}");
        // Of a list of policies the first that there is counts; that there is none is for whoever takes one.
        let mut diagnostic = if category == "envoy.load_balancing_policies" {
            Diagnostic::warning(codes::UNREGISTERED, span, message).label("passed over")
        } else {
            Diagnostic::error(codes::UNREGISTERED, span, message).label("not registered here")
        };
        let by_name = named(category, name);
        if let Some(near) =
            by_name.or_else(|| spelling::nearest(&written, types().filter(|t| !t.is_empty())))
        {
            let url = format!("type.googleapis.com/{near}");
            let fix = Fix::replace(format!("write {url}"), self.inner(type_node), url);
            diagnostic = diagnostic.help(format!("did you mean `{near}`?")).fix(fix);
        }
        self.report(diagnostic);
    }

    /// Full name of the configuration in an `Any`, and the node that says it: that of a `TypedStruct` is inside.
    fn configured_type(&self, any: NodeId) -> Option<(String, NodeId)> {
        let text = |node: NodeId| match self.tree.value(node) {
            Value::String(url) => Some(schema::type_name(url).to_owned()),
            _ => None,
        };
        let (_, node) = self.tree.get(any, "@type")?;
        let name = text(node)?;
        // An unknown message has been reported where its name stands.
        if !typed_struct::is(schema::message(&name)?) {
            return Some((name, node));
        }
        let inner = self
            .tree
            .get(any, "type_url")
            .or_else(|| self.tree.get(any, "typeUrl"));
        let (_, node) = inner?;
        Some((text(node)?, node))
    }

    /// After an entry of a map of extensions by name was read.
    pub(super) fn check_map_entry(
        &mut self,
        message: &Message,
        field: &Field,
        key: NodeId,
        value: NodeId,
    ) {
        match field.name {
            "typed_per_filter_config" => self.check_per_filter_config(value),
            "typed_extension_protocol_options"
                if message.name == "envoy.config.cluster.v3.Cluster" =>
            {
                const CATEGORIES: [&str; 3] = [
                    "envoy.upstream_options",
                    "envoy.filters.network",
                    "envoy.filters.http",
                ];
                let name = self.tree.key(key).to_owned();
                let names = || {
                    extensions()
                        .iter()
                        .filter(|e| CATEGORIES.contains(&e.category))
                        .map(|e| e.name)
                };
                if !names().any(|n| n == name) {
                    self.unregistered_name(
                        key,
                        &name,
                        "protocol options",
                        spelling::nearest(&name, names()),
                    );
                }
            }
            _ => {}
        }
    }

    /// A filter's configuration for a route: that of any HTTP filter, or a `FilterConfig` around it.
    fn check_per_filter_config(&mut self, any: NodeId) {
        const AROUND: &str = "envoy.config.route.v3.FilterConfig";
        let Some((name, _)) = self.configured_type(any) else {
            return;
        };
        if name != AROUND {
            return self.check_registered("envoy.filters.http", "", any);
        }
        let optional = self
            .tree
            .get(any, "is_optional")
            .or_else(|| self.tree.get(any, "isOptional"));
        if optional.is_some_and(|(_, v)| matches!(self.tree.value(v), Value::Bool(true))) {
            return;
        }
        if let Some((_, config)) = self.tree.get(any, "config") {
            self.at(Step::Field("config"), |walker| {
                walker.check_registered("envoy.filters.http", "", config)
            });
        }
    }

    /// A kind of cluster is found by its name, with or without a configuration.
    pub(super) fn check_cluster_type(&mut self, message: &Message, node: NodeId) {
        if message.name != "envoy.config.cluster.v3.Cluster.CustomClusterType" {
            return;
        }
        let Some((_, name_node)) = self.tree.get(node, "name") else {
            return;
        };
        let Value::String(name) = self.tree.value(name_node) else {
            return;
        };
        let configured = self
            .tree
            .get(node, "typed_config")
            .or_else(|| self.tree.get(node, "typedConfig"));
        let by_type = configured
            .and_then(|(_, any)| self.configured_type(any))
            .is_some_and(|(written, _)| {
                extensions().iter().any(|e| {
                    e.category == "envoy.clusters" && e.types.split(',').any(|t| t == written)
                })
            });
        if by_type {
            return;
        }
        let names = || {
            extensions()
                .iter()
                .filter(|e| e.category == "envoy.clusters")
                .map(|e| e.name)
        };
        if !names().any(|n| n == name) {
            self.unregistered_name(
                name_node,
                name,
                "kind of cluster",
                spelling::nearest(name, names()),
            );
        }
    }

    fn unregistered_name(&mut self, node: NodeId, name: &str, what: &str, near: Option<&str>) {
        let span = self.tree.span(node);
        let mut diagnostic = Diagnostic::error(
            codes::UNREGISTERED,
            span,
            format!("there is no {what} called `{name}`"),
        )
        .label("not registered");
        if let Some(near) = near {
            let fix = Fix::replace(format!("write `{near}`"), self.inner(node), near);
            diagnostic = diagnostic.help(format!("did you mean `{near}`?")).fix(fix);
        }
        self.report(diagnostic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extension_points_are_fields_of_today() {
        for (message, field) in POINTS.keys() {
            assert!(
                schema::message(message).is_some_and(|m| m.field(field).is_some()),
                "{message}.{field}"
            );
        }
    }
}
