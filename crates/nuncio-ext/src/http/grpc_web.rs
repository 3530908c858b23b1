//! `envoy.filters.http.grpc_web`: calls of browsers (gRPC-Web, as bytes or base64 text) become gRPC, and answers gRPC-Web again.
//!
//! Trailers become the last message of the answer. An answer that is no gRPC becomes an error with its text as message.

use super::grpc_calls::{self, Calls};
use base64::{Engine, engine::general_purpose::STANDARD};
use crate::read;
use nuncio_api::envoy::extensions::filters::http::grpc_web::v3 as proto;
use nuncio_codec::headers::Known;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, StateSlot, Step, StreamCx, grpc,
};
use nuncio_rt::Buf;
use nuncio_stats::Scope;
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.grpc_web",
    message: "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route: super::no_route_config,
};

/// Bytes of a foreign answer that become an error's message.
const MAX_MESSAGE: usize = 16 << 10;
/// Bytes before each message.
const PREFIX: usize = 5;

#[derive(Debug)]
struct GrpcWeb {
    calls: Calls,
    state: StateSlot<Option<Call>>,
}

/// A call of a browser.
#[derive(Debug, Default)]
struct Call {
    /// Its body is text.
    text_request: bool,
    /// Its answer is to be text.
    text_response: bool,
    /// Bytes that are no whole group, or no whole message, yet.
    request: Vec<u8>,
    response: Vec<u8>,
    /// The answer is no gRPC: its beginning is in `response`.
    foreign: bool,
    scope: Option<Arc<Scope>>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::GrpcWeb {} = read::message(config)?;
    Ok(Arc::new(GrpcWeb { calls: Calls::new(cx.stats, "grpc-web"), state: cx.state_slot() }))
}

fn is_text(kind: Option<&[u8]>) -> bool {
    matches!(kind, Some(b"application/grpc-web-text" | b"application/grpc-web-text+proto"))
}

/// The whole groups of what came, decoded; `None` if they are no base64, or the last is not whole.
fn decoded(waiting: &mut Vec<u8>, bytes: &[u8], end: bool) -> Option<Vec<u8>> {
    waiting.extend_from_slice(bytes);
    let whole = waiting.len() / 4 * 4;
    if end && whole != waiting.len() {
        return None;
    }
    let made = STANDARD.decode(&waiting[..whole]).ok()?;
    waiting.drain(..whole);
    Some(made)
}

/// The whole messages of what came, each as text; at the end the rest as it is.
fn encoded(waiting: &mut Vec<u8>, bytes: &[u8], end: bool) -> String {
    waiting.extend_from_slice(bytes);
    let mut text = String::new();
    let mut from = 0;
    while let Some([_, a, b, c, d]) = waiting.get(from..).and_then(|rest| rest.first_chunk::<PREFIX>()) {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some(message) = waiting.get(from..from.saturating_add(PREFIX).saturating_add(length)) else { break };
        text += &STANDARD.encode(message);
        from += message.len();
    }
    waiting.drain(..from);
    if end {
        text += &STANDARD.encode(&std::mem::take(waiting));
    }
    text
}

impl GrpcWeb {
    /// The foreign answer is here: an error with what it said.
    fn finish_foreign(&self, cx: &mut StreamCx) {
        let said = cx.held_state(&self.state).and_then(Option::as_mut).map(|call| std::mem::take(&mut call.response)).unwrap_or_default();
        let status = grpc::status_of_http(cx.response.status().unwrap_or(0));
        cx.response.set_with(Known::GrpcStatus, |v| v.decimal(u64::from(status)));
        if !said.is_empty() {
            cx.response.insert(Known::GrpcMessage, grpc::percent_encode(&said));
        }
        cx.response.set_with(Known::ContentLength, |v| v.decimal(0));
    }

    /// The trailers as a message of their own.
    fn trailers_message(cx: &mut StreamCx) -> Vec<u8> {
        let mut fields = Vec::new();
        for field in cx.response_trailers.iter() {
            fields.extend_from_slice(field.name);
            fields.push(b':');
            fields.extend_from_slice(field.value);
            fields.extend_from_slice(b"\r\n");
        }
        cx.response_trailers.clear();
        let mut message = vec![0x80];
        message.extend_from_slice(&u32::try_from(fields.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.append(&mut fields);
        message
    }
}

impl HttpFilter for GrpcWeb {
    fn phases(&self) -> Phases {
        let request = Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA);
        request.and(Phases::RESPONSE_HEADERS).and(Phases::RESPONSE_DATA).and(Phases::RESPONSE_TRAILERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let kind = cx.request.get(Known::ContentType);
        let text_request = is_text(kind);
        if !text_request && !matches!(kind, Some(b"application/grpc-web" | b"application/grpc-web+proto")) {
            return Step::Continue;
        }
        let text_response = is_text(cx.request.get(Known::Accept));
        let scope = grpc_calls::names(&cx.request).and_then(|names| self.calls.scope(cx, Some(names)));
        *cx.state(&self.state) = Some(Call { text_request, text_response, scope, ..Call::default() });
        cx.grpc_replies = Some(false);
        cx.request.remove(Known::ContentLength);
        cx.request.insert(Known::ContentType, "application/grpc");
        cx.request.insert(Known::Te, "trailers");
        cx.request.insert("grpc-accept-encoding", "identity");
        Step::Continue
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(Some(call)) = cx.held_state(&self.state) else { return Step::Continue };
        if !call.text_request {
            return Step::Continue;
        }
        match decoded(&mut call.request, data.filled(), end) {
            Some(bytes) => {
                *data = Buf::copy_of(&bytes);
                Step::Continue
            }
            None => Step::reply(LocalReply::new(400, "grpc_base_64_decode_failed_bad_size").body("Bad gRPC-web request, invalid base64 data.")),
        }
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let foreign = cx.response.status() != Some(200) || !grpc::is_grpc(&cx.response);
        let Some(Some(call)) = cx.held_state(&self.state) else { return Step::Continue };
        let kind = if call.text_response { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" };
        call.foreign = foreign && !end;
        let (foreign, scope) = (call.foreign, call.scope.clone());
        if let Some(scope) = scope {
            grpc_calls::count_end(cx, &scope, &cx.response);
        }
        cx.response.insert(Known::ContentType, kind);
        if foreign {
            return Step::Hold(Hold::Discard);
        }
        if !end {
            cx.response.remove(Known::ContentLength);
        }
        Step::Continue
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(Some(call)) = cx.held_state(&self.state) else { return Step::Continue };
        if call.foreign {
            let room = MAX_MESSAGE.saturating_sub(call.response.len()).min(data.len());
            call.response.extend_from_slice(&data.filled()[..room]);
            if !end {
                return Step::Hold(Hold::Discard);
            }
            data.clear();
            self.finish_foreign(cx);
        } else if call.text_response {
            let text = encoded(&mut call.response, data.filled(), end);
            *data = Buf::copy_of(text.as_bytes());
        }
        Step::Continue
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        let Some(Some(call)) = cx.held_state(&self.state) else { return Step::Continue };
        let (foreign, text, scope, mut rest) = (call.foreign, call.text_response, call.scope.clone(), std::mem::take(&mut call.response));
        if foreign {
            call.response = rest;
            self.finish_foreign(cx);
            cx.response_trailers.clear();
            return Step::EndWith(Buf::with_capacity(0));
        }
        if let Some(scope) = scope {
            grpc_calls::count_end(cx, &scope, &cx.response_trailers);
        }
        let message = Self::trailers_message(cx);
        let bytes = match text {
            true => [encoded(&mut rest, b"", true), STANDARD.encode(&message)].concat().into_bytes(),
            false => message,
        };
        Step::EndWith(Buf::copy_of(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_decoded_by_groups_however_they_are_cut() {
        let mut waiting = Vec::new();
        assert_eq!(decoded(&mut waiting, b"AAAAAAJ", false), Some(vec![0, 0, 0]));
        assert_eq!(decoded(&mut waiting, b"oaQ==", true), Some(b"\0\x02hi".to_vec()));
        assert_eq!(decoded(&mut waiting, b"AAAAAAJoa", true), None);
        assert_eq!(decoded(&mut Vec::new(), b"AA*A", false), None);
        assert_eq!(decoded(&mut Vec::new(), b"AAAAAAJoaQ==AAAAAAJoaQ==", true), None);
    }

    #[test]
    fn messages_of_answers_are_encoded_one_by_one() {
        let mut waiting = Vec::new();
        assert_eq!(encoded(&mut waiting, b"\0\0\0\0\x02o", false), "");
        assert_eq!(encoded(&mut waiting, b"k\0\0\0\0\0\0", false), "AAAAAAJvaw==AAAAAAA=");
        assert_eq!(encoded(&mut waiting, b"", true), "AA==");
    }
}
