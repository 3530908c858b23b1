//! `core.v3.Metadata` → [`Metadata`].

use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_upstream::{Metadata, MetadataMatch, MetadataValue};
use std::sync::Arc;

/// The field `metadata` of a cluster or endpoint.
pub(crate) fn compile(cx: &mut CompileCx<'_>, from: Option<&core::Metadata>) -> Option<Arc<Metadata>> {
    let from = from?;
    cx.at("metadata", |cx| {
        let core::Metadata { filter_metadata: _, typed_filter_metadata } = from;
        unbuilt!(cx, typed_filter_metadata);
    });
    Some(Arc::new(nuncio_ext::read::metadata(from)))
}

pub(crate) use nuncio_ext::read::fields;

/// Criteria for transport sockets, as metadata that stand for a host's.
pub(super) fn transport_criteria(from: &prost_types::Struct) -> Arc<Metadata> {
    Arc::new(Metadata::from([("envoy.transport_socket_match".to_owned(), MetadataValue::Struct(fields(from)))]))
}

/// What `metadata_match` asks of hosts; `None` where it says nothing of load balancing.
pub(crate) fn criteria(from: &core::Metadata) -> Option<MetadataMatch> {
    Some(MetadataMatch::new(fields(from.filter_metadata.get("envoy.lb")?)))
}
