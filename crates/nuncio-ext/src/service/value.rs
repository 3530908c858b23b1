//! Metadata as services are told of them: `google.protobuf.Struct`, `core.v3.Metadata`.

use nuncio_api::envoy::config::core::v3 as core;
use nuncio_core::metadata::{Metadata, MetadataValue};
use prost_types::{ListValue, Struct, Value, value::Kind};
use std::collections::BTreeMap;

/// The namespaces of `metadata` that are asked for.
pub fn namespaces(metadata: Option<&Metadata>, wanted: &[Box<str>]) -> core::Metadata {
    let found = wanted.iter().filter_map(|name| match metadata?.get(&**name)? {
        MetadataValue::Struct(fields) => Some((name.to_string(), structure(fields))),
        _ => None,
    });
    core::Metadata { filter_metadata: found.collect(), ..core::Metadata::default() }
}

/// All namespaces.
pub fn all(metadata: &Metadata) -> core::Metadata {
    let wanted: Vec<Box<str>> = metadata.keys().map(|name| name.as_str().into()).collect();
    namespaces(Some(metadata), &wanted)
}

/// Fields as a structure.
pub fn structure(fields: &BTreeMap<String, MetadataValue>) -> Struct {
    Struct { fields: fields.iter().map(|(key, v)| (key.clone(), value(v))).collect() }
}

fn value(from: &MetadataValue) -> Value {
    Value {
        kind: Some(match from {
            MetadataValue::Null => Kind::NullValue(0),
            MetadataValue::Bool(b) => Kind::BoolValue(*b),
            MetadataValue::Number(n) => Kind::NumberValue(*n),
            MetadataValue::Text(text) => Kind::StringValue(text.clone()),
            MetadataValue::List(list) => Kind::ListValue(ListValue { values: list.iter().map(value).collect() }),
            MetadataValue::Struct(fields) => Kind::StructValue(structure(fields)),
        }),
    }
}
