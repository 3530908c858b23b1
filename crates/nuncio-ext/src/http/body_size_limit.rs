//! `envoy.filters.http.body_size_limit`: requests with more than so many bytes are answered 413.
//!
//! At once where `content-length` tells; else when the first byte too many has come, and what came before it is upstream already.

use crate::read;
use nuncio_api::envoy::extensions::filters::http::body_size_limit::v3 as proto;
use nuncio_codec::headers::Known;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, StateSlot, Step, StreamCx,
};
use nuncio_rt::Buf;
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.body_size_limit",
    message: "envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route: super::no_route_config,
};

#[derive(Debug)]
struct BodySizeLimit {
    /// Bytes; `None` for any number.
    limit: Option<u64>,
    /// Bytes so far.
    seen: StateSlot<u64>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::BodySizeLimit { max_request_bytes } = read::message(config)?;
    Ok(Arc::new(BodySizeLimit { limit: max_request_bytes, seen: cx.state_slot() }))
}

fn too_long(body: &'static str) -> Step {
    Step::reply(LocalReply::new(413, "request_payload_too_large").body(body).closing())
}

impl HttpFilter for BodySizeLimit {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA)
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let told = cx.request.get_str(Known::ContentLength).and_then(|text| text.parse::<u64>().ok());
        match (self.limit, told) {
            (Some(limit), Some(told)) if !end && told > limit => too_long("content length too large"),
            _ => Step::Continue,
        }
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, _end: bool) -> Step {
        let Some(limit) = self.limit else { return Step::Continue };
        let seen = cx.state(&self.seen);
        *seen += data.len() as u64;
        if *seen > limit { too_long("request too long") } else { Step::Continue }
    }
}
