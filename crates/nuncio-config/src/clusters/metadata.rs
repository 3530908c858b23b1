//! `core.v3.Metadata` → [`Metadata`].

use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_upstream::{Metadata, MetadataMatch, MetadataValue};
use prost_types::value::Kind;
use std::{collections::BTreeMap, sync::Arc};

/// The field `metadata` of a cluster or endpoint.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: Option<&core::Metadata>) -> Option<Arc<Metadata>> {
    let from = from?;
    cx.at("metadata", |cx| {
        let core::Metadata { filter_metadata: _, typed_filter_metadata } = from;
        unbuilt!(cx, typed_filter_metadata);
    });
    Some(Arc::new(metadata(from)))
}

/// The structured part of a metadata message.
fn metadata(from: &core::Metadata) -> Metadata {
    from.filter_metadata.iter().map(|(filter, value)| (filter.clone(), structure(value))).collect()
}

fn structure(from: &prost_types::Struct) -> MetadataValue {
    MetadataValue::Struct(fields(from))
}

/// The fields of a structure.
pub(crate) fn fields(from: &prost_types::Struct) -> BTreeMap<String, MetadataValue> {
    from.fields.iter().map(|(key, v)| (key.clone(), value(v))).collect()
}

/// What `metadata_match` asks of hosts; `None` where it says nothing of load balancing.
pub(crate) fn criteria(from: &core::Metadata) -> Option<MetadataMatch> {
    Some(MetadataMatch::new(fields(from.filter_metadata.get("envoy.lb")?)))
}

fn value(from: &prost_types::Value) -> MetadataValue {
    match &from.kind {
        None | Some(Kind::NullValue(_)) => MetadataValue::Null,
        Some(Kind::BoolValue(b)) => MetadataValue::Bool(*b),
        Some(Kind::NumberValue(n)) => MetadataValue::Number(*n),
        Some(Kind::StringValue(s)) => MetadataValue::Text(s.clone()),
        Some(Kind::ListValue(list)) => MetadataValue::List(list.values.iter().map(value).collect()),
        Some(Kind::StructValue(fields)) => structure(fields),
    }
}
