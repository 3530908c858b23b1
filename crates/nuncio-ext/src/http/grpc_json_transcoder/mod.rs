//! `envoy.filters.http.grpc_json_transcoder`: HTTP with JSON for clients, gRPC for servers.
//!
//! Which method a request is for is told by `google.api.http` rules in a descriptor set. Its path, query and body become
//! a message, and the messages of the answer JSON again. What nobody has a method for passes as it is. All that is kept
//! of a message has a limit: the connection's, or the one configured.

mod config;
mod request;
mod response;

use self::config::{Called, Settings, Transcoding};
use self::request::{Body, Document, Raw, Refusal};
use self::response::Answer;
use crate::transcoding::{
    bindings::{self, Binding},
    decode, encode,
    json::Json,
};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, Protocol, StateSlot, Step, StreamCx, grpc,
};
use nuncio_rt::Buf;
use nuncio_stats::{GaugeId, Scope, stats_table};
use std::{any::Any, collections::BTreeMap, sync::Arc};

const MESSAGE: &str = "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder";

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.grpc_json_transcoder",
    message: MESSAGE,
    route_message: MESSAGE,
    posture: Posture::UntrustedBoth,
    build,
    route,
};

stats_table! {
    /// `http.<prefix>.`
    pub GRPC_JSON_TRANSCODER: "grpc_json_transcoder" {
        /// Bytes of requests that are kept.
        gauge TRANSCODER_REQUEST_BUFFER_BYTES = "transcoder_request_buffer_bytes",
        /// Bytes of responses that are kept.
        gauge TRANSCODER_RESPONSE_BUFFER_BYTES = "transcoder_response_buffer_bytes",
    }
}

/// The head could not be transcoded.
const EARLY: &str = "early_grpc_json_transcode_failure";
/// A body could not be.
const FAILURE: &str = "grpc_json_transcode_failure";
/// Most that is kept of a stream's message, where nothing is configured.
const MAX_STREAMED: usize = 16 << 20;

#[derive(Debug)]
struct Transcoder {
    name: String,
    settings: Settings,
    stats: Arc<Scope>,
    state: StateSlot<Option<Box<Call>>>,
}

/// A request that is being transcoded.
#[derive(Debug)]
struct Call {
    of: Arc<Transcoding>,
    method: usize,
    body: Body,
    answer: Answer,
    /// The head of the answer may go on.
    headed: bool,
    has_body: bool,
    /// Bytes of the answer that wait behind its head.
    waiting: usize,
    /// What the gauges say of it.
    gauged: [usize; 2],
    /// The answer is not ours to transcode.
    passed: bool,
}

impl Call {
    fn called(&self) -> &Called {
        &self.of.methods[self.method]
    }

    fn kept(&self) -> [usize; 2] {
        let request = match &self.body {
            Body::Raw(raw) => raw.len(),
            Body::Json(_) => 0,
        };
        [request, self.answer.len()]
    }
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    Ok(Arc::new(Transcoder {
        name: cx.filter_name.to_owned(),
        settings: config::read(config)?,
        stats: cx.stats.scope(cx.stat_prefix, &GRPC_JSON_TRANSCODER),
        state: cx.state_slot(),
    }))
}

fn route(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(config::read(config)?))
}

fn invalid(details: &str, message: String) -> Step {
    Step::reply(LocalReply::new(400, format!("{details}{{INVALID_ARGUMENT}}")).body(message))
}

/// What a request was found to mean, before its body.
enum Meaning {
    Of(Body, usize),
    /// It is nobody's, or odd, and goes on as it is.
    Pass,
    Refused(Step),
}

impl Transcoder {
    fn meaning(of: &Transcoding, request: &HeaderMap) -> Meaning {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (method, path) = (text(request.method()), text(request.path()));
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let Some(found) = of.matcher.find(&method, path, query) else {
            if !of.validation.reject_unknown_method {
                return Meaning::Pass;
            }
            let body = format!("Could not resolve {path} to a method.");
            return Meaning::Refused(Step::reply(LocalReply::new(404, format!("{EARLY}{{NOT_FOUND}}")).body(body)));
        };
        let called = &of.methods[found.method];
        let mut bindings = Vec::with_capacity(found.bindings.len());
        let mut unknown: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (names, value) in found.bindings {
            match bindings::resolve(&of.pool, called.input, &names) {
                Ok(path) => {
                    // What is inside of a raw body cannot be said beside it.
                    let numbers = path.iter().map(|field| field.number);
                    let inside = called.request_body.as_ref().is_some_and(|body| numbers.take(body.len()).eq(body.iter().copied()));
                    if !inside {
                        bindings.push(Binding::new(&path, value));
                    }
                }
                Err(_) if of.capture_unknown => unknown.entry(names.join(".")).or_default().push(value),
                Err(_) if of.ignore_unknown => {}
                Err(message) if of.validation.reject_unknown_query_parameters => return Meaning::Refused(invalid(EARLY, message)),
                Err(_) => return Meaning::Pass,
            }
        }
        if called.request_body.is_none() {
            return Meaning::Of(Body::Json(Box::new(Document::new(called, found.body, bindings))), found.method);
        }
        let mut beside = request::placed(Json::Object(Vec::new()), &request::names(found.body));
        let agreed = bindings::weave(&mut beside, bindings, of.validation.reject_binding_body_field_collisions);
        let encoded = encode::encode(&of.pool, called.input, beside, encode::Options { fold_enums: of.fold_enums });
        match agreed.and(encoded) {
            Ok(beside) => {
                let content_type = request.get(Known::ContentType).unwrap_or_default().to_vec();
                Meaning::Of(Body::Raw(Box::new(Raw::new(beside, content_type, unknown))), found.method)
            }
            Err(message) => Meaning::Refused(invalid(FAILURE, message)),
        }
    }

    /// The messages that a piece of the request makes.
    fn read(&self, cx: &mut StreamCx, bytes: &[u8], end: bool, details: &str) -> Result<Vec<u8>, Step> {
        let limit = cx.buffer_limit;
        let Some(Some(call)) = cx.held_state(&self.state) else { return Ok(Vec::new()) };
        let Call { of, method, body, .. } = &mut **call;
        let called = &of.methods[*method];
        let read = match body {
            Body::Json(document) => document.read(of, called, bytes, end),
            Body::Raw(raw) => {
                let limit = of.max_request.unwrap_or(limit);
                raw.read(called, called.request_body.as_deref().unwrap_or_default(), bytes, end, limit)
            }
        };
        call.passed |= read.is_err();
        self.gauge(cx);
        read.map_err(|refusal| match refusal {
            Refusal::Invalid(message) => invalid(details, message),
            Refusal::TooLarge => Step::reply(
                LocalReply::new(413, format!("{FAILURE}{{request_buffer_size_limit_reached}}"))
                    .body("Request rejected because the transcoder's internal buffer size exceeds the configured limit.")
                    .closing(),
            ),
        })
    }

    /// Keeps the gauges at what is kept.
    fn gauge(&self, cx: &mut StreamCx) {
        const GAUGES: [GaugeId; 2] = [TRANSCODER_REQUEST_BUFFER_BYTES, TRANSCODER_RESPONSE_BUFFER_BYTES];
        let lane = cx.worker.lane;
        let Some(Some(call)) = cx.held_state(&self.state) else { return };
        let now = call.kept();
        for ((gauge, told), now) in GAUGES.iter().zip(&mut call.gauged).zip(now) {
            if *told != now {
                self.stats.gauge_add(lane, *gauge, now as i64 - *told as i64);
                *told = now;
            }
        }
    }

    fn call<'c>(&self, cx: &'c mut StreamCx) -> Option<&'c mut Call> {
        match cx.held_state(&self.state) {
            Some(Some(call)) if !call.passed => Some(call),
            _ => None,
        }
    }

    fn failed(call: &mut Call, message: String) -> Step {
        call.passed = true;
        let code = if message.contains("gRPC frame") { "INTERNAL" } else { "INVALID_ARGUMENT" };
        Step::reply(LocalReply::new(502, format!("{FAILURE}{{{code}}}")).body(message))
    }

    fn too_large(call: &mut Call) -> Step {
        call.passed = true;
        Step::reply(
            LocalReply::new(500, format!("{FAILURE}{{response_buffer_size_limit_reached}}"))
                .body("Response not transcoded because the transcoder's internal buffer size exceeds the configured limit."),
        )
    }

    /// The end of the answer, as trailers or (`only`) a head that is alone tell it: bytes that are still to go out.
    fn ended(&self, cx: &mut StreamCx, only: bool) -> Result<Vec<u8>, Step> {
        let told = response::status(if only { &cx.response } else { &cx.response_trailers });
        let old_http = matches!(cx.info.protocol, Protocol::Http10 | Protocol::Http11);
        let Some(call) = self.call(cx) else { return Ok(Vec::new()) };
        let (of, has_body) = (Arc::clone(&call.of), call.has_body);
        let called = &of.methods[call.method];
        if let (Some(Some(status)), Some(kind), false) = (told, of.status, has_body)
            && status != 0
        {
            let details = response::details(if only { &cx.response } else { &cx.response_trailers }, status);
            if let Ok(json) = decode::decode(&of.pool, kind, &details, of.print) {
                let head = &mut cx.response;
                head.set_status(grpc::http_of_status(status));
                if only {
                    head.remove(Known::GrpcStatus);
                    head.remove(Known::GrpcMessage);
                    head.remove("grpc-status-details-bin");
                }
                if old_http {
                    head.remove("trailer");
                }
                head.insert(Known::ContentType, "application/json");
                head.set_with(Known::ContentLength, |v| v.decimal(json.len() as u64));
                return Ok(json.into_bytes());
            }
        }
        let Some(call) = self.call(cx) else { return Ok(Vec::new()) };
        if called.response_body.is_none()
            && let Err(message) = call.answer.write(&of, called, true)
        {
            return Err(Self::failed(call, message));
        }
        let rest = std::mem::take(&mut call.answer.made);
        let length = call.waiting + rest.len();
        if called.server_streaming && !only {
            return Ok(rest);
        }
        let message = cx.response_trailers.get(Known::GrpcMessage).map(<[u8]>::to_vec);
        let head = &mut cx.response;
        match told.flatten() {
            None => head.set_status(503),
            Some(status) => {
                head.set_status(grpc::http_of_status(status));
                if !only {
                    head.set_with(Known::GrpcStatus, |v| v.decimal(status));
                }
            }
        }
        if let Some(message) = message.filter(|_| !only) {
            head.insert(Known::GrpcMessage, message);
        }
        if old_http {
            head.remove("trailer");
        }
        if !called.server_streaming {
            head.set_with(Known::ContentLength, |v| v.decimal(length as u64));
        }
        Ok(rest)
    }

    /// A piece of an answer that is raw.
    fn raw(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let limit = cx.buffer_limit;
        let Some(call) = self.call(cx) else { return Step::Continue };
        let streaming = call.called().server_streaming;
        let limit = call.of.max_response.unwrap_or(if streaming { MAX_STREAMED } else { limit });
        call.answer.push(data.filled());
        if call.answer.len() > limit {
            return Self::too_large(call);
        }
        let of = Arc::clone(&call.of);
        let called = &of.methods[call.method];
        if call.answer.unwrap(called, called.response_body.as_deref().unwrap_or_default()).is_none() {
            call.passed = true;
            return Step::Reset;
        }
        let content_type = call.answer.content_type.clone().filter(|_| !call.headed);
        call.headed |= content_type.is_some();
        let go_on = end || streaming && call.headed;
        let made = if go_on { std::mem::take(&mut call.answer.made) } else { Vec::new() };
        self.gauge(cx);
        if let Some(content_type) = content_type {
            cx.response.insert(Known::ContentType, content_type);
        }
        *data = Buf::copy_of(&made);
        if go_on { Step::Continue } else { Step::Hold(Hold::Discard) }
    }
}

impl HttpFilter for Transcoder {
    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let route = cx.configured_route();
        let Some(of) = super::settings(&route, &self.name, &self.settings) else { return Step::Continue };
        if grpc::is_grpc(&cx.request) {
            return Step::Continue;
        }
        let (body, method) = match Self::meaning(of, &cx.request) {
            Meaning::Of(body, method) => (body, method),
            Meaning::Pass => return Step::Continue,
            Meaning::Refused(step) => return step,
        };
        let call = Call {
            of: Arc::clone(of),
            method,
            body,
            answer: Answer::default(),
            headed: false,
            has_body: false,
            waiting: 0,
            gauged: [0; 2],
            passed: false,
        };
        *cx.state(&self.state) = Some(Box::new(call));
        let called = &of.methods[method];
        cx.grpc_replies = Some(false);
        let request = &mut cx.request;
        let before = |name: Known| request.get(name).unwrap_or_default().to_vec();
        let (path, http_method) = (before(Known::Path), before(Known::Method));
        request.remove(Known::ContentLength);
        request.insert(Known::ContentType, "application/grpc");
        request.insert(Known::XEnvoyOriginalPath, path);
        request.append(Known::XEnvoyOriginalMethod, http_method);
        request.insert(Known::Path, &called.path);
        request.insert(Known::Method, "POST");
        request.insert(Known::Te, "trailers");
        cx.route_is_stale = !of.match_incoming_route;
        if !end {
            return Step::Continue;
        }
        match self.read(cx, b"", true, EARLY) {
            Ok(messages) if messages.is_empty() => Step::Continue,
            Ok(messages) => Step::Add(Buf::copy_of(&messages)),
            Err(step) => step,
        }
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        if !matches!(cx.held_state(&self.state), Some(Some(_))) {
            return Step::Continue;
        }
        match self.read(cx, data.filled(), end, FAILURE) {
            Ok(messages) if messages.is_empty() && !end => Step::Hold(Hold::Discard),
            Ok(messages) => {
                *data = Buf::copy_of(&messages);
                Step::Continue
            }
            Err(step) => step,
        }
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        match self.read(cx, b"", true, FAILURE) {
            Ok(messages) if messages.is_empty() => Step::Continue,
            Ok(messages) => Step::Add(Buf::copy_of(&messages)),
            Err(step) => step,
        }
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let grpc = match end {
            true => cx.response.contains(Known::GrpcStatus),
            false => cx.response.status() == Some(200) && grpc::is_grpc(&cx.response),
        };
        let Some(call) = self.call(cx) else { return Step::Continue };
        if !grpc {
            call.passed = true;
            return Step::Continue;
        }
        let (of, method) = (Arc::clone(&call.of), call.method);
        let called = &of.methods[method];
        let kind = if called.server_streaming && of.sse_delimited { "text/event-stream" } else { "application/json" };
        if !end || called.server_streaming {
            cx.response.insert(Known::ContentType, kind);
        }
        if end {
            return match self.ended(cx, true) {
                Ok(rest) if rest.is_empty() => Step::Continue,
                Ok(rest) => Step::Add(Buf::copy_of(&rest)),
                Err(step) => step,
            };
        }
        cx.response.remove(Known::ContentLength);
        match called.server_streaming && called.response_body.is_none() {
            true => Step::Continue,
            false => Step::Hold(Hold::Watermark),
        }
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let limit = cx.buffer_limit;
        let Some(call) = self.call(cx) else { return Step::Continue };
        call.has_body = true;
        let of = Arc::clone(&call.of);
        let called = &of.methods[call.method];
        if called.response_body.is_some() {
            return self.raw(cx, data, end);
        }
        call.answer.push(data.filled());
        if call.answer.len() > of.max_response.unwrap_or(limit) {
            return Self::too_large(call);
        }
        if let Err(message) = call.answer.write(&of, called, end) {
            return Self::failed(call, message);
        }
        let go_on = called.server_streaming || end;
        let made = if go_on { std::mem::take(&mut call.answer.made) } else { Vec::new() };
        self.gauge(cx);
        if made.is_empty() && !end {
            return Step::Hold(Hold::Discard);
        }
        *data = Buf::copy_of(&made);
        Step::Continue
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        let step = match self.ended(cx, false) {
            Ok(rest) if rest.is_empty() => Step::Continue,
            Ok(rest) => Step::Add(Buf::copy_of(&rest)),
            Err(step) => step,
        };
        self.gauge(cx);
        step
    }

    fn done(&self, cx: &mut StreamCx) {
        let lane = cx.worker.lane;
        if let Some(Some(call)) = cx.held_state(&self.state) {
            let [request, response] = std::mem::take(&mut call.gauged);
            self.stats.gauge_add(lane, TRANSCODER_REQUEST_BUFFER_BYTES, -(request as i64));
            self.stats.gauge_add(lane, TRANSCODER_RESPONSE_BUFFER_BYTES, -(response as i64));
        }
    }
}
