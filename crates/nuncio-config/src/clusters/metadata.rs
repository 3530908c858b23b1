//! `core.v3.Metadata` → [`Metadata`].

use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_upstream::{Metadata, MetadataMatch};
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

/// What `metadata_match` asks of hosts; `None` where it says nothing of load balancing.
pub(crate) fn criteria(from: &core::Metadata) -> Option<MetadataMatch> {
    Some(MetadataMatch::new(fields(from.filter_metadata.get("envoy.lb")?)))
}
