//! Metadata of clusters and endpoints (`envoy.config.core.v3.Metadata.filter_metadata`).

use std::collections::BTreeMap;

/// Structured values by filter name (`envoy.lb`, …).
pub type Metadata = BTreeMap<String, MetadataValue>;

/// A `google.protobuf.Value`.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue {
    /// Null.
    Null,
    /// Boolean.
    Bool(bool),
    /// Number.
    Number(f64),
    /// Text.
    Text(String),
    /// List.
    List(Vec<MetadataValue>),
    /// Struct.
    Struct(BTreeMap<String, MetadataValue>),
}

/// Whether an endpoint is a canary: `envoy.lb` has `canary: true`.
pub(crate) fn is_canary(metadata: Option<&Metadata>) -> bool {
    matches!(
        metadata.and_then(|m| m.get("envoy.lb")),
        Some(MetadataValue::Struct(fields)) if fields.get("canary") == Some(&MetadataValue::Bool(true))
    )
}
