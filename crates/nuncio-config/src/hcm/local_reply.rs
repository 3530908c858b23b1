//! `LocalReplyConfig`: what answers made here look like.

use crate::context::CompileCx;
use crate::{access_log, routes};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use nuncio_http::{BodyFormat, LocalReplies, ReplyMapper};
use nuncio_http::routes::HeaderMutations;
use std::sync::Arc;

/// Compiles the rules; `None` if there are none.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: Option<&proto::LocalReplyConfig>) -> Option<Arc<LocalReplies>> {
    let proto::LocalReplyConfig { mappers, body_format } = from?;
    cx.at("local_reply_config", |cx| {
        Some(Arc::new(LocalReplies {
            mappers: cx.each("mappers", mappers, mapper),
            body_format: format(cx, "body_format", body_format.as_ref()),
        }))
    })
}

fn mapper(cx: &mut CompileCx<'_>, from: &proto::ResponseMapper) -> Option<ReplyMapper> {
    let proto::ResponseMapper { filter, status_code, body, body_format_override, headers_to_add } = from;
    Some(ReplyMapper {
        filter: cx.at("filter", |cx| access_log::filter(cx, filter.as_ref()))?,
        status: status_code.and_then(|code| u16::try_from(code).ok()),
        body: match body {
            Some(source) => Some(cx.at("body", |cx| routes::data(cx, source, None))?.into()),
            None => None,
        },
        body_format: format(cx, "body_format_override", body_format_override.as_ref()),
        headers: HeaderMutations { add: cx.each("headers_to_add", headers_to_add, routes::addition).into(), ..HeaderMutations::default() },
    })
}

fn format(cx: &mut CompileCx<'_>, field: &'static str, from: Option<&core::SubstitutionFormatString>) -> Option<BodyFormat> {
    let (value, content_type) = cx.at(field, |cx| routes::body_format(cx, from?))?;
    Some(BodyFormat { value, content_type: content_type.unwrap_or_else(|| "text/plain".into()) })
}
