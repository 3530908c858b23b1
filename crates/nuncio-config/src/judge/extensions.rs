//! Where extensions stand, and which may stand there.
//!
//! Envoy finds an extension by the type of its configuration alone; the name is for people. A type that is in the API but
//! has no extension of the category is refused.

use super::open_any;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::schema::{self, Message, Reader, WellKnown};
use std::collections::HashMap;
use std::sync::LazyLock;

/// `message <tab> field <tab> categories`: the `[#extension-category]` remarks of the API.
static POINTS: LazyLock<HashMap<(&'static str, &'static str), &'static str>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        Some(((columns.next()?, columns.next()?), columns.next()?))
    };
    include_str!("points.tsv").lines().filter_map(row).collect()
});

/// Types by category.
static TYPES: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut types: HashMap<&str, Vec<&str>> = HashMap::new();
    for extension in nuncio_api::extensions() {
        types.entry(extension.category).or_default().extend(extension.types.split(','));
    }
    types
});

/// The categories of extensions that may stand in a field, if it is for extensions.
pub(super) fn point(message: &str, field: &str) -> Option<&'static str> {
    POINTS.get(&(message, field)).copied()
}

/// Extensions that Envoy has and does not list.
const UNLISTED: [&str; 1] = ["envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"];

/// A message that configures an extension of one of the categories.
pub(crate) fn is_registered(categories: &str, message: &str) -> bool {
    UNLISTED.contains(&message) || categories.split(',').any(|category| TYPES.get(category).is_some_and(|types| types.contains(&message)))
}

/// Checks the extension in a field; false if nothing below it can be judged.
pub(super) fn check(
    cx: &mut CompileCx<'_>,
    categories: &str,
    holder: &'static Message,
    outer: &[u8],
    message: &'static Message,
    bytes: &[u8],
) -> bool {
    let (name, any, inside) = if message.well_known == Some(WellKnown::Any) {
        (text_of(holder, outer, "name"), bytes, false)
    } else {
        (text_of(message, bytes, "name"), field_of(message, bytes, "typed_config"), true)
    };
    let (url, value) = open_any(any);
    if url.is_empty() {
        // Reported when it was read.
        return false;
    }
    let found = schema::type_name(url);
    let meant = schema::message(found).and_then(|m| nuncio_api::expand_typed_struct(m, value));
    let kind = meant.as_ref().map_or(found, |(m, _)| m.name);
    if is_registered(categories, kind) || (holder.name == BY_NAME && by_name(name)) {
        return true;
    }
    if flag_of(holder, outer, "is_optional") {
        return false;
    }
    let unknown = |cx: &mut CompileCx<'_>| report(cx, holder, categories, name, kind);
    if inside { cx.at("typed_config", unknown) } else { unknown(cx) }
    false
}

/// Custom cluster types are found by name where the type is none of theirs.
const BY_NAME: &str = "envoy.config.cluster.v3.Cluster.CustomClusterType";

fn by_name(name: &str) -> bool {
    nuncio_api::extensions().iter().any(|e| e.category == "envoy.clusters" && e.name == name)
}

fn report(cx: &mut CompileCx<'_>, holder: &Message, categories: &str, name: &str, found: &str) {
    let category = categories.split(',').next().unwrap_or(categories);
    let what = category.rsplit('.').next().unwrap_or(category).replace('_', " ");
    let envoy = match (holder.name, category) {
        (BY_NAME, _) => format!("Didn't find a registered cluster factory implementation for name: '{name}'"),
        (_, "envoy.http.original_ip_detection") => format!("Original IP detection extension not found: '{name}'"),
        (_, "envoy.http.early_header_mutation") => format!("Early header mutation extension not found: '{name}'"),
        _ => format!("Didn't find a registered implementation for '{name}' with type URL: '{found}'"),
    };
    let finding = cx.error(codes::UNKNOWN_EXTENSION, format!("`{found}` does not configure an extension that can stand here ({what})"));
    finding.envoy(envoy);
    let own = nuncio_api::extensions().iter().find(|e| categories.split(',').any(|c| c == e.category) && e.name == name);
    if let Some(own) = own {
        finding.help(format!("`{name}` is configured by `{}`", own.main_type()));
    }
}

fn field_of<'b>(message: &Message, bytes: &'b [u8], field: &str) -> &'b [u8] {
    let Some(number) = message.field(field).map(|f| f.number) else { return &[] };
    Reader::new(bytes).filter(|(n, _)| *n == number).last().map_or(&[], |(_, w)| w.bytes())
}

fn text_of<'b>(message: &Message, bytes: &'b [u8], field: &str) -> &'b str {
    std::str::from_utf8(field_of(message, bytes, field)).unwrap_or_default()
}

fn flag_of(message: &Message, bytes: &[u8], field: &str) -> bool {
    let Some(number) = message.field(field).map(|f| f.number) else { return false };
    Reader::new(bytes).any(|(n, w)| n == number && w.integer() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_and_category_exists() {
        for ((message, field), categories) in POINTS.iter() {
            assert!(schema::message(message).and_then(|m| m.field(field)).is_some(), "{message}.{field}");
            assert!(categories.split(',').any(|c| TYPES.contains_key(c)) || categories.ends_with("retry_options_predicates"), "{categories}");
        }
        assert!(is_registered("envoy.filters.http", "envoy.extensions.filters.http.router.v3.Router"));
        assert!(!is_registered("envoy.filters.http", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"));
    }
}
