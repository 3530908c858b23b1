//! `CustomTag`: what spans and entries of access logs carry by configuration.

use crate::read;
use nuncio_api::envoy::r#type::metadata::v3::{MetadataKey, MetadataKind, metadata_key, metadata_kind};
use nuncio_api::envoy::r#type::tracing::v3::{CustomTag as TagProto, custom_tag};
use nuncio_core::{ConfigError, CustomTag};

/// Reads the message; `None` if it says nothing. What has no effect is added to `warnings`.
///
/// # Errors
/// A format that is none.
pub fn read(from: &TagProto, warnings: &mut Vec<ConfigError>) -> Result<Option<CustomTag>, ConfigError> {
    let TagProto { tag, value_type, r#type } = from;
    if *value_type != 0 {
        warnings.push(ConfigError::at("value_type", "`value_type` is accepted without effect"));
    }
    let escaped = |text: &str| text.replace('%', "%%");
    let (text, default) = match r#type {
        None => return Ok(None),
        Some(custom_tag::Type::Literal(custom_tag::Literal { value })) => (escaped(value), ""),
        Some(custom_tag::Type::Environment(custom_tag::Environment { name, default_value })) => {
            let found = std::env::var(name).ok().filter(|value| !value.is_empty());
            (escaped(&found.unwrap_or_else(|| default_value.clone())), "")
        }
        Some(custom_tag::Type::RequestHeader(custom_tag::Header { name, default_value })) => (format!("%REQ({name})%"), default_value.as_str()),
        Some(custom_tag::Type::Metadata(custom_tag::Metadata { kind, metadata_key, default_value })) => match (kind, metadata_key) {
            (Some(kind), Some(key)) => (metadata(kind, key), default_value.as_str()),
            _ => return Ok(None),
        },
        Some(custom_tag::Type::Value(format)) => (format.clone(), ""),
    };
    Ok(Some(CustomTag { name: tag.as_str().into(), value: read::format(&text, warnings)?, default: default.into() }))
}

/// The command that prints a value of metadata.
fn metadata(kind: &MetadataKind, key: &MetadataKey) -> String {
    let MetadataKey { key, path } = key;
    let path = path.iter().filter_map(|segment| match segment.segment.as_ref()? {
        metadata_key::path_segment::Segment::Key(key) => Some(format!(":{key}")),
        metadata_key::path_segment::Segment::Index(index) => Some(format!(":{index}")),
    });
    let whole = std::iter::once(key.clone()).chain(path).collect::<String>();
    match &kind.kind {
        Some(metadata_kind::Kind::Route(_)) => format!("%METADATA(ROUTE:{whole})%"),
        Some(metadata_kind::Kind::Cluster(_)) => format!("%METADATA(CLUSTER:{whole})%"),
        Some(metadata_kind::Kind::Host(_)) => format!("%METADATA(UPSTREAM_HOST:{whole})%"),
        Some(metadata_kind::Kind::Request(_)) | None => format!("%DYNAMIC_METADATA({whole})%"),
    }
}
