//! `envoy.filters.http.grpc_http1_bridge`: gRPC for clients that speak HTTP/1 without trailers.
//!
//! Answers are kept until they are whole; status and message of their trailers go into the head. With
//! `upgrade_protobuf_to_grpc` plain protobuf requests become calls, and their answers plain protobuf again.

use crate::read;
use nuncio_api::envoy::extensions::filters::http::grpc_http1_bridge::v3 as proto;
use nuncio_codec::headers::Known;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, Phases, Posture, Protocol, StateSlot, Step, StreamCx, grpc,
};
use nuncio_rt::Buf;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.grpc_http1_bridge",
    message: "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

/// Bytes before each message.
const PREFIX: usize = 5;

#[derive(Debug)]
struct Bridge {
    upgrade: bool,
    ignore_query: bool,
    state: StateSlot<State>,
}

/// What is known of one exchange.
#[derive(Debug, Default)]
struct State {
    /// The client gets its answer whole.
    bridged: bool,
    /// The request was plain protobuf.
    upgraded: bool,
    /// Bytes of the prefix that the answer has still to lose.
    strip: usize,
    /// Bytes of the request, then of the answer, that are kept.
    kept: u64,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::Config { upgrade_protobuf_to_grpc, ignore_query_parameters } = read::message(config)?;
    Ok(Arc::new(Bridge { upgrade: upgrade_protobuf_to_grpc, ignore_query: ignore_query_parameters, state: cx.state_slot() }))
}

fn route(_: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Err(ConfigError::at("", "this filter has no settings for routes"))
}

/// A message's prefix.
fn prefix(length: u64) -> [u8; PREFIX] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

impl Bridge {
    /// The answer is whole.
    fn complete(&self, cx: &mut StreamCx) {
        let kept = cx.held_state(&self.state).map_or(0, |state| state.kept);
        if let Some(status) = cx.response_trailers.get(Known::GrpcStatus).map(<[u8]>::to_vec) {
            if status != b"0" {
                cx.response.set_status(503);
            }
            cx.response.insert(Known::GrpcStatus, status);
        }
        if let Some(message) = cx.response_trailers.get(Known::GrpcMessage).map(<[u8]>::to_vec) {
            cx.response.insert(Known::GrpcMessage, message);
        }
        cx.response.set_with(Known::ContentLength, |v| v.decimal(kept));
        cx.response.remove(Known::TransferEncoding);
    }
}

impl HttpFilter for Bridge {
    fn phases(&self) -> Phases {
        let request = Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA).and(Phases::REQUEST_TRAILERS);
        request.and(Phases::RESPONSE_HEADERS).and(Phases::RESPONSE_DATA).and(Phases::RESPONSE_TRAILERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let upgraded = self.upgrade && cx.request.get(Known::ContentType) == Some(b"application/x-protobuf");
        if !upgraded && !grpc::is_grpc(&cx.request) {
            return Step::Continue;
        }
        if self.ignore_query
            && let Some(path) = cx.request.path().map(<[u8]>::to_vec)
            && let Some(at) = path.iter().position(|b| *b == b'?')
        {
            cx.request.insert(Known::Path, &path[..at]);
        }
        let bridged = matches!(cx.info.protocol, Protocol::Http10 | Protocol::Http11);
        *cx.state(&self.state) = State { bridged, upgraded, strip: if upgraded { PREFIX } else { 0 }, ..State::default() };
        if upgraded {
            cx.grpc_replies = Some(false);
            cx.request.insert(Known::ContentType, "application/grpc");
            cx.request.remove(Known::ContentLength);
            cx.route_is_stale = true;
        }
        if upgraded && !end { Step::Hold(Hold::Buffer) } else { Step::Continue }
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(state) = cx.held_state(&self.state).filter(|state| state.upgraded) else { return Step::Continue };
        state.kept += data.len() as u64;
        if !end {
            return Step::Hold(Hold::Buffer);
        }
        let length = std::mem::take(&mut state.kept);
        Step::Add(Buf::copy_of(&prefix(length)))
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        match cx.held_state(&self.state).filter(|state| state.upgraded) {
            Some(state) => Step::Add(Buf::copy_of(&prefix(std::mem::take(&mut state.kept)))),
            None => Step::Continue,
        }
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let foreign = !grpc::is_grpc(&cx.response);
        match cx.held_state(&self.state) {
            Some(state) if state.bridged && !end => {
                state.kept = 0;
                if foreign {
                    state.strip = 0;
                }
                Step::Hold(Hold::Buffer)
            }
            _ => Step::Continue,
        }
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(state) = cx.held_state(&self.state).filter(|state| state.bridged) else { return Step::Continue };
        let stripped = state.strip.min(data.len());
        state.strip -= stripped;
        data.consume(stripped);
        state.kept += data.len() as u64;
        if end { Step::Continue } else { Step::Hold(Hold::Buffer) }
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        if !cx.held_state(&self.state).is_some_and(|state| state.bridged) {
            return Step::Continue;
        }
        self.complete(cx);
        Step::EndWith(Buf::with_capacity(0))
    }
}
