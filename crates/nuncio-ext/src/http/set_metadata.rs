//! `envoy.filters.http.set_metadata`: gives every request the same dynamic metadata.

use crate::read;
use nuncio_api::envoy::extensions::filters::http::set_metadata::v3 as proto;
use nuncio_core::metadata::{Metadata, MetadataValue};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, Phases, Posture, Step, StreamCx,
};
use nuncio_stats::{Scope, stats_table};
use std::{any::Any, collections::BTreeMap, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.set_metadata",
    message: MESSAGE,
    route_message: MESSAGE,
    posture: Posture::UntrustedBoth,
    build,
    route,
};

const MESSAGE: &str = "envoy.extensions.filters.http.set_metadata.v3.Config";

stats_table! {
    /// `http.<prefix>.set_metadata.`
    pub SET_METADATA: "set_metadata" {
        /// Namespaces that were there already and may not be changed.
        counter OVERWRITE_DENIED = "overwrite_denied",
    }
}

#[derive(Debug)]
struct Values(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    namespace: String,
    fields: BTreeMap<String, MetadataValue>,
    overwrite: bool,
}

#[derive(Debug)]
struct SetMetadata {
    name: String,
    values: Values,
    stats: Arc<Scope>,
}

fn values(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Values, ConfigError> {
    #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
    let proto::Config { metadata_namespace, value, metadata } = read::message(config)?;
    let old = value.filter(|_| !metadata_namespace.is_empty());
    let mut made: Vec<Entry> =
        old.iter().map(|value| Entry { namespace: metadata_namespace.clone(), fields: read::fields(value), overwrite: true }).collect();
    for (index, proto::Metadata { metadata_namespace, allow_overwrite, value, typed_value }) in metadata.into_iter().enumerate() {
        if typed_value.is_some() {
            cx.warnings.push(ConfigError::at(format!("metadata[{index}].typed_value"), "is accepted without effect: it is not built yet"));
        }
        if let Some(value) = value {
            made.push(Entry { namespace: metadata_namespace, fields: read::fields(&value), overwrite: allow_overwrite });
        }
    }
    Ok(Values(made))
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let values = values(config, cx)?;
    let stats = cx.stats.scope(&format!("{}set_metadata.", cx.stat_prefix), &SET_METADATA);
    Ok(Arc::new(SetMetadata { name: cx.filter_name.to_owned(), values, stats }))
}

fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(values(config, cx)?))
}

/// Lists grow, structures are merged, everything else is replaced.
fn merge(into: &mut BTreeMap<String, MetadataValue>, from: &BTreeMap<String, MetadataValue>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(MetadataValue::List(list)), MetadataValue::List(more)) => list.extend(more.iter().cloned()),
            (Some(MetadataValue::Struct(fields)), MetadataValue::Struct(more)) => merge(fields, more),
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

/// False if the namespace is there already and stays as it is.
fn set(metadata: &mut Metadata, entry: &Entry) -> bool {
    match metadata.get_mut(&entry.namespace) {
        Some(MetadataValue::Struct(fields)) if entry.overwrite => merge(fields, &entry.fields),
        Some(_) => return false,
        None => drop(metadata.insert(entry.namespace.clone(), MetadataValue::Struct(entry.fields.clone()))),
    }
    true
}

impl HttpFilter for SetMetadata {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }
    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let Values(entries) = super::settings(&route, &self.name, &self.values);
        for entry in entries {
            if !set(&mut cx.metadata, entry) {
                self.stats.inc(cx.worker.lane, OVERWRITE_DENIED);
            }
        }
        Step::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_merge_and_lists_grow() {
        let number = MetadataValue::Number;
        let fields = |n: f64| BTreeMap::from([("l".to_owned(), MetadataValue::List(vec![number(n)])), ("n".to_owned(), number(n))]);
        let mut into = fields(1.0);
        merge(&mut into, &fields(2.0));
        assert_eq!(into["l"], MetadataValue::List(vec![number(1.0), number(2.0)]));
        assert_eq!(into["n"], number(2.0));
    }
}
