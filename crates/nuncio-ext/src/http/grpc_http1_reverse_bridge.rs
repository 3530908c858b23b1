//! `envoy.filters.http.grpc_http1_reverse_bridge`: gRPC for servers that speak plain HTTP.
//!
//! The one message of a call becomes the request's body, and the response's body the one message of the answer, with its
//! status in trailers.

use crate::http::settings;
use crate::read;
use nuncio_api::envoy::extensions::filters::http::grpc_http1_reverse_bridge::v3 as proto;
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, StateSlot, Step, StreamCx, grpc,
};
use nuncio_rt::Buf;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.grpc_http1_reverse_bridge",
    message: "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig",
    route_message: "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute",
    posture: Posture::UntrustedDownstream,
    build,
    route,
};

/// Bytes before each message.
const PREFIX: usize = 5;
/// Bytes of an answer that are kept, where its length is not known before; one that is longer is cut off.
const MAX_KEPT: usize = 32 << 20;

/// Whether a route has it; those that say nothing do.
#[derive(Debug)]
struct Enabled(bool);

#[derive(Debug)]
struct Bridge {
    name: String,
    enabled: Enabled,
    content_type: String,
    /// Prefixes are taken off and put on.
    withhold: bool,
    size_header: Option<HeaderName>,
    state: StateSlot<State>,
}

/// What is known of one exchange.
#[derive(Debug, Default)]
struct State {
    active: bool,
    /// The content type of the call.
    content_type: Vec<u8>,
    /// Bytes of the prefix that the request has still to lose.
    strip: usize,
    /// The answer's length, once its prefix is to be written.
    size: Option<u64>,
    /// The answer so far, while its length is not known.
    kept: Vec<u8>,
    /// The answer has its prefix.
    prefixed: bool,
    answered: bool,
    status: u32,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::FilterConfig { content_type, withhold_grpc_frames, response_size_header } = read::message(config)?;
    let size_header = match response_size_header.as_str() {
        "" => None,
        name => Some(read::header_name(name).map_err(read::within("response_size_header"))?),
    };
    Ok(Arc::new(Bridge {
        name: cx.filter_name.to_owned(),
        enabled: Enabled(true),
        content_type,
        withhold: withhold_grpc_frames,
        size_header,
        state: cx.state_slot(),
    }))
}

fn route(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::FilterConfigPerRoute { disabled } = read::message(config)?;
    Ok(Arc::new(Enabled(!disabled)))
}

/// Changes a length that is told.
fn add_to_length(head: &mut HeaderMap, change: i64) {
    if let Some(length) = head.get_str(Known::ContentLength).and_then(|text| text.parse::<u64>().ok()) {
        head.set_with(Known::ContentLength, |v| v.decimal(length.saturating_add_signed(change)));
    }
}

fn prefix(length: u64) -> [u8; PREFIX] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// The answer to what is no answer.
fn wrong(kind: &[u8], status: u16) -> Step {
    let kind = String::from_utf8_lossy(kind);
    let message = format!("envoy reverse bridge: upstream responded with unsupported content-type {kind}, status code {status}");
    let mut reply = LocalReply::new(200, "grpc_bridge_content_type_wrong").body(message);
    reply.grpc_status = Some(2);
    Step::reply(reply)
}

impl Bridge {
    /// The answer's status, as trailers.
    fn tell(&self, cx: &mut StreamCx) {
        let status = cx.held_state(&self.state).map_or(0, |state| state.status);
        cx.response_trailers.set_with(Known::GrpcStatus, |v| v.decimal(u64::from(status)));
    }

    fn active<'c>(&self, cx: &'c mut StreamCx) -> Option<&'c mut State> {
        cx.held_state(&self.state).filter(|state| state.active)
    }
}

impl HttpFilter for Bridge {
    fn phases(&self) -> Phases {
        let request = Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA);
        request.and(Phases::RESPONSE_HEADERS).and(Phases::RESPONSE_DATA).and(Phases::RESPONSE_TRAILERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let route = cx.configured_route();
        let Enabled(enabled) = settings(&route, &self.name, &self.enabled);
        if end || !enabled || !grpc::is_grpc(&cx.request) {
            return Step::Continue;
        }
        let content_type = cx.request.get(Known::ContentType).unwrap_or_default().to_vec();
        let strip = if self.withhold { PREFIX } else { 0 };
        *cx.state(&self.state) = State { active: true, content_type, strip, ..State::default() };
        cx.grpc_replies = Some(true);
        cx.request.insert(Known::ContentType, &self.content_type);
        cx.request.insert(Known::Accept, &self.content_type);
        add_to_length(&mut cx.request, -(strip as i64));
        cx.route_is_stale = true;
        Step::Continue
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(state) = self.active(cx) else { return Step::Continue };
        let stripped = state.strip.min(data.len());
        state.strip -= stripped;
        data.consume(stripped);
        if end && state.strip > 0 {
            state.active = false;
            return wrong(b"application/grpc", 200);
        }
        Step::Continue
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let status = cx.response.status().unwrap_or(0);
        let kind = cx.response.get(Known::ContentType).unwrap_or_default().to_vec();
        let told = self.size_header.as_ref().map(|name| cx.response.get_str(name).and_then(|text| text.parse::<u64>().ok()));
        let (withhold, expected) = (self.withhold, self.content_type.as_bytes());
        let Some(state) = self.active(cx) else { return Step::Continue };
        if kind != expected {
            state.active = false;
            return wrong(&kind, status);
        }
        if told == Some(None) {
            state.active = false;
            let mut reply = LocalReply::new(200, "grpc_bridge_content_length_missing").body("envoy reverse bridge: upstream did not set content length");
            reply.grpc_status = Some(13);
            return Step::reply(reply);
        }
        state.status = if (200..300).contains(&status) { 0 } else { grpc::status_of_http(status) };
        state.size = told.flatten();
        state.answered = true;
        let content_type = std::mem::take(&mut state.content_type);
        cx.response.set_status(200);
        cx.response.insert(Known::ContentType, content_type);
        if withhold {
            add_to_length(&mut cx.response, PREFIX as i64);
        }
        if !end {
            return Step::Continue;
        }
        self.tell(cx);
        Step::AddTrailers(withhold.then(|| Buf::copy_of(&prefix(0))))
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let withhold = self.withhold;
        let Some(state) = self.active(cx).filter(|state| state.answered) else { return Step::Continue };
        if withhold {
            if let Some(size) = state.size.take() {
                *data = Buf::copy_of(&[&prefix(size), data.filled()].concat());
                state.prefixed = true;
            } else if !state.prefixed {
                if state.kept.len() + data.len() > MAX_KEPT {
                    return Step::Reset;
                }
                state.kept.extend_from_slice(data.filled());
                if !end {
                    return Step::Hold(Hold::Discard);
                }
                let kept = std::mem::take(&mut state.kept);
                *data = Buf::copy_of(&[&prefix(kept.len() as u64)[..], &kept].concat());
            }
        }
        if !end {
            return Step::Continue;
        }
        self.tell(cx);
        Step::AddTrailers(None)
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        let withhold = self.withhold;
        let Some(state) = self.active(cx).filter(|state| state.answered) else { return Step::Continue };
        let message = (withhold && !state.prefixed).then(|| {
            let kept = std::mem::take(&mut state.kept);
            [&prefix(kept.len() as u64)[..], &kept].concat()
        });
        self.tell(cx);
        message.map_or(Step::Continue, |message| Step::Add(Buf::copy_of(&message)))
    }
}
