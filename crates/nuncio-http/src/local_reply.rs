//! `local_reply_config`: answers made here as an operator wants them: other statuses, bodies, headers.
//!
//! Rules as Envoy's `LocalReply::rewrite`: the first mapper whose filter passes has its say, then its format or the
//! general one makes the body. It decides nothing about gRPC or HEAD; that comes after.

use crate::routes::{HeaderMutations, Side, Value};
use nuncio_core::format::FormatCx;
use nuncio_core::{LocalReply, LogFilter, StreamCx};
use std::sync::Arc;

/// How answers made here are changed.
#[derive(Debug, Clone, Default)]
pub struct LocalReplies {
    /// Tried in this order.
    pub mappers: Vec<ReplyMapper>,
    /// The body of all answers without a format of their mapper's.
    pub body_format: Option<BodyFormat>,
}

/// `ResponseMapper`.
#[derive(Debug, Clone)]
pub struct ReplyMapper {
    /// Which answers it is for.
    pub filter: LogFilter,
    /// Another status.
    pub status: Option<u16>,
    /// Another body.
    pub body: Option<Arc<str>>,
    /// The body's format, instead of the general one.
    pub body_format: Option<BodyFormat>,
    /// Headers to add.
    pub headers: HeaderMutations,
}

/// `SubstitutionFormatString`, `%LOCAL_REPLY_BODY%` being the body so far.
#[derive(Debug, Clone)]
pub struct BodyFormat {
    /// Makes the body.
    pub value: Value,
    /// What goes with it as `content-type`.
    pub content_type: Box<str>,
}

impl LocalReplies {
    /// Changes an answer whose head is in `cx.response`, that head's status and headers included.
    pub(crate) fn rewrite(&self, cx: &mut StreamCx, reply: &mut LocalReply) {
        cx.info.status = reply.status;
        let mapper = self.mappers.iter().find(|mapper| mapper.filter.passes(cx));
        let kind_before = kind(cx);
        let body_before = reply.body.clone();
        if let Some(mapper) = mapper {
            // These see the status as it was.
            mapper.headers.apply(cx, Side::Response);
            if let Some(status) = mapper.status {
                reply.status = status;
                cx.info.status = status;
                cx.response.set_status(status);
            }
            if let Some(body) = &mapper.body {
                reply.body = body.to_string().into();
            }
        }
        let format = mapper.and_then(|mapper| mapper.body_format.as_ref()).or(self.body_format.as_ref());
        if let Some(format) = format {
            let mut text = Vec::new();
            format.value.write_in(&FormatCx { local_reply_body: reply.body.as_bytes(), ..FormatCx::from(&*cx) }, &mut text);
            reply.body = String::from_utf8_lossy(&text).into_owned().into();
        }
        let content_type = format.map_or("text/plain", |format| &format.content_type);
        let changed = reply.body != body_before;
        if changed && kind(cx) == kind_before {
            // The old type is the old body's.
            cx.response.remove(nuncio_codec::headers::Known::ContentType);
            reply.content_type = Some(content_type.to_owned().into());
        } else if reply.content_type.is_none() {
            reply.content_type = Some(content_type.to_owned().into());
        }
    }
}

fn kind(cx: &StreamCx) -> Option<Vec<u8>> {
    cx.response.get(nuncio_codec::headers::Known::ContentType).map(<[u8]>::to_vec)
}
