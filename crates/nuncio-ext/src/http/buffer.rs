//! `envoy.filters.http.buffer`: requests go on once they are complete, and with their length told.
//!
//! A request that outgrows `max_request_bytes` is answered 413, by the engine.

use crate::read::{self, within};
use nuncio_api::envoy::extensions::filters::http::buffer::v3 as proto;
use nuncio_codec::headers::Known;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, Phases, Posture, StateSlot, Step, StreamCx,
};
use nuncio_rt::Buf;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.buffer",
    message: "envoy.extensions.filters.http.buffer.v3.Buffer",
    route_message: "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
    posture: Posture::UntrustedDownstream,
    build,
    route,
};

/// Bytes kept at most; `None` where the filter is off.
#[derive(Debug)]
struct Settings(Option<usize>);

#[derive(Debug)]
struct BufferFilter {
    name: String,
    settings: Settings,
    /// Bytes of the body so far, while the request is kept.
    state: StateSlot<Option<u64>>,
}

fn settings(from: &proto::Buffer) -> Result<Settings, ConfigError> {
    let bytes = from.max_request_bytes.ok_or_else(|| ConfigError::at("max_request_bytes", "is missing"))?;
    Ok(Settings(Some(bytes as usize)))
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let settings = settings(&read::message(config)?)?;
    Ok(Arc::new(BufferFilter { name: cx.filter_name.to_owned(), settings, state: cx.state_slot() }))
}

fn route(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    use proto::buffer_per_route::Override;
    let from: proto::BufferPerRoute = read::message(config)?;
    Ok(Arc::new(match &from.r#override {
        Some(Override::Buffer(buffer)) => settings(buffer).map_err(within("buffer"))?,
        Some(Override::Disabled(_)) | None => Settings(None),
    }))
}

impl BufferFilter {
    /// The request is complete: its length is told.
    fn complete(&self, cx: &mut StreamCx) {
        if let Some(bytes) = cx.held_state(&self.state).and_then(Option::take)
            && !cx.request.contains(Known::ContentLength)
        {
            cx.request.set_with(Known::ContentLength, |v| v.decimal(bytes));
            cx.request.remove(Known::TransferEncoding);
        }
    }
}

impl HttpFilter for BufferFilter {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA).and(Phases::REQUEST_TRAILERS)
    }
    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let route = cx.configured_route();
        let Settings(limit) = super::settings(&route, &self.name, &self.settings);
        match limit {
            Some(limit) if !end => {
                cx.request_buffer_limit = Some(*limit);
                *cx.state(&self.state) = Some(0);
                Step::Hold(Hold::Buffer)
            }
            _ => Step::Continue,
        }
    }
    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let limit = cx.request_buffer_limit;
        let Some(Some(bytes)) = cx.held_state(&self.state) else { return Step::Continue };
        *bytes += data.len() as u64;
        if !end || limit.is_some_and(|limit| *bytes > limit as u64) {
            return Step::Hold(Hold::Buffer);
        }
        self.complete(cx);
        Step::Continue
    }
    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        self.complete(cx);
        Step::Continue
    }
}
