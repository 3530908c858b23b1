//! `envoy.filters.http.grpc_json_reverse_transcoder`: gRPC for clients, HTTP with JSON for servers.
//!
//! A call's one message becomes a request by the `google.api.http` rule of its method (only the first of its rules), and
//! the JSON of the response a message again, with its status in trailers. Calls that stream are refused.

mod request;

use self::request::Made;
use crate::read;
use crate::transcoding::{
    bindings, decode,
    descriptors::{Broken, Kind, Known as Type, Method, Pool},
    encode,
    frames::{self, Frames},
    json::Parser,
    wire,
};
use nuncio_api::envoy::extensions::filters::http::grpc_json_reverse_transcoder::v3 as proto;
use nuncio_codec::headers::{HeaderName, Known};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, StateSlot, Step, StreamCx, grpc,
};
use nuncio_rt::Buf;
use std::{any::Any, sync::Arc};

const MESSAGE: &str = "envoy.extensions.filters.http.grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder";

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.grpc_json_reverse_transcoder",
    message: MESSAGE,
    route_message: MESSAGE,
    posture: Posture::UntrustedBoth,
    build,
    route,
};

/// A head could not be transcoded.
const EARLY: &str = "early_grpc_json_reverse_transcode_failure";
/// A body could not be.
const FAILURE: &str = "grpc_json_reverse_transcode_failure";
/// Bytes of an error's body that become its message.
const MAX_MESSAGE: usize = 16 << 10;
/// Bytes of a response's JSON, where nothing is configured.
const MAX_DOCUMENT: usize = 32 << 20;
/// What templates have in the place of a version that a header tells.
const VERSION: &str = "{$api_version}";

/// What calls are transcoded by.
#[derive(Debug)]
struct Settings {
    pool: Pool,
    max_request: Option<usize>,
    max_response: Option<usize>,
    version_header: Option<HeaderName>,
    print: decode::Options,
}

#[derive(Debug)]
struct Transcoder {
    name: String,
    settings: Arc<Settings>,
    state: StateSlot<Option<Box<Call>>>,
}

/// A call on its way.
#[derive(Debug)]
struct Call {
    of: Arc<Settings>,
    input: usize,
    output: usize,
    /// The path's template, and which part of the message is the body.
    path: String,
    body: String,
    raw_request: bool,
    raw_response: bool,
    /// The body is a field that is a `google.api.HttpBody`.
    raw_field: bool,
    content_type: Vec<u8>,
    frames: Frames,
    answer: Answer,
    /// The response is not ours to transcode.
    passed: bool,
}

/// A response while it is being read.
#[derive(Debug)]
struct Answer {
    status: u32,
    content_type: Vec<u8>,
    parser: Parser,
    seen: usize,
    kept: Vec<u8>,
    done: bool,
}

fn settings(config: FilterConfig<'_>) -> Result<Arc<Settings>, ConfigError> {
    let proto::GrpcJsonReverseTranscoder {
        descriptor_path,
        descriptor_binary,
        max_request_body_size,
        max_response_body_size,
        api_version_header,
        request_json_print_options,
    } = read::message(config)?;
    let proto::grpc_json_reverse_transcoder::PrintOptions { always_print_primitive_fields, always_print_enums_as_ints, use_canonical_field_names } =
        request_json_print_options.unwrap_or_default();
    let (bytes, unparsed) = match descriptor_path.as_str() {
        "" if descriptor_binary.is_empty() => return Err(ConfigError::at("", "Descriptor set not set")),
        "" => (descriptor_binary, "Unable to parse proto descriptor binary"),
        path => {
            let bytes = std::fs::read(path).map_err(|error| ConfigError::at("descriptor_path", format!("cannot read {path}: {error}")))?;
            (bytes, "Unable to parse proto descriptor")
        }
    };
    let pool = Pool::new(&bytes).map_err(|broken| {
        ConfigError::at("", match broken {
            Broken::Parse => unparsed,
            Broken::Build => "Unable to build proto descriptor pool",
        })
    })?;
    let version_header = match api_version_header.as_str() {
        "" => None,
        name => Some(read::header_name(name).map_err(read::within("api_version_header"))?),
    };
    Ok(Arc::new(Settings {
        pool,
        max_request: max_request_body_size.map(|bytes| bytes as usize),
        max_response: max_response_body_size.map(|bytes| bytes as usize),
        version_header,
        print: decode::Options {
            spaced: false,
            defaults: always_print_primitive_fields,
            enums_as_ints: always_print_enums_as_ints,
            proto_names: !use_canonical_field_names,
        },
    }))
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    Ok(Arc::new(Transcoder { name: cx.filter_name.to_owned(), settings: settings(config)?, state: cx.state_slot() }))
}

fn route(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(settings(config)?))
}

/// An answer of gRPC: HTTP's status is for those who look at it here.
fn refusal(http: u16, status: u32, message: impl Into<String>, details: &str, why: &str) -> Step {
    let mut reply = LocalReply::new(http, format!("{details}{{{why}}}")).body(message.into());
    reply.grpc_status = Some(status);
    reply.closes = http == 413;
    Step::reply(reply)
}

fn invalid(message: impl Into<String>, why: &str) -> Step {
    refusal(400, 3, message, FAILURE, why)
}

impl Settings {
    /// The method that a call's path names.
    fn method(&self, path: &str) -> Option<&Method> {
        let (service, name) = path.strip_prefix('/')?.rsplit_once('/')?;
        self.pool.service(&service.replace('/', "."))?.iter().find(|method| method.name == name)
    }

    fn is_raw(&self, message: usize) -> bool {
        self.pool.messages.get(message).is_some_and(|message| message.known == Some(Type::HttpBody))
    }
}

impl Call {
    /// What a call with this path is to become, and the method of the request; or why it does not.
    fn begin(of: &Arc<Settings>, path: &str, version: Option<&str>) -> Result<(Call, String), Step> {
        let early = |message: String, why: &str| refusal(400, 3, message, EARLY, why);
        let method = of.method(path).ok_or_else(|| early(format!("Couldn't find a gRPC method matching: {path}"), "NOT_FOUND"))?;
        if method.client_streaming || method.server_streaming {
            let text = "The HTTP REST backend doesn't support request/response streaming";
            return Err(early(text.to_owned(), "streaming_not_supported"));
        }
        let rule = method.rule.as_ref();
        let Some((rule, pattern)) = rule.and_then(|rule| Some((rule, rule.pattern.as_ref()?))) else {
            return Err(early("Invalid or missing http annotations".to_owned(), "INVALID_ARGUMENT"));
        };
        let (http_method, template) = pattern.parts();
        let raw_request = of.is_raw(method.input);
        let mut raw_field = false;
        if !matches!(rule.body.as_str(), "" | "*") && !raw_request {
            let names: Vec<String> = rule.body.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            let fields = bindings::resolve(&of.pool, method.input, &names).map_err(|message| early(message, "INVALID_ARGUMENT"))?;
            raw_field = fields.last().is_some_and(|field| matches!(field.kind, Kind::Message(at) if of.is_raw(at)));
        }
        let call = Call {
            of: Arc::clone(of),
            input: method.input,
            output: method.output,
            path: version.map_or_else(|| template.to_owned(), |version| template.replace(VERSION, version)),
            body: rule.body.clone(),
            raw_request,
            raw_response: of.is_raw(method.output),
            raw_field,
            content_type: Vec::new(),
            frames: Frames::default(),
            answer: Answer { status: 0, content_type: Vec::new(), parser: Parser::new(false), seen: 0, kept: Vec::new(), done: false },
            passed: false,
        };
        Ok((call, http_method.to_owned()))
    }

    /// The request that the call's message makes, once it is there.
    fn request(&mut self, end: bool) -> Result<Option<Made>, Step> {
        if self.raw_request && self.path.contains('{') {
            let text = "The path for the request message of type google.api.HttpBody shouldn't contain any variables except the API version";
            return Err(invalid(text, "failed_to_create_request_path"));
        }
        if !end {
            return Ok(None);
        }
        let unparsed = || invalid("Failed to parse the transcoded request", "failed_to_parse_request_body");
        if let Some(flag) = self.frames.flag().filter(|flag| *flag != 0) {
            return Err(invalid(format!("Unsupported gRPC frame flag: {flag}"), "INTERNAL"));
        }
        let (_, message) = self.frames.next().ok_or_else(unparsed)?;
        if self.raw_request {
            let mut body = request::HttpBody::default();
            return match body.read(message) {
                Some(()) => Ok(Some(Made { path: self.path.clone(), content_type: Some(body.content_type), body: Some(body.data) })),
                None => Err(Step::Reset),
            };
        }
        let json = decode::decode(&self.of.pool, self.input, message, self.of.print).map_err(|message| invalid(message, "INVALID_ARGUMENT"))?;
        request::made(json, &self.path, &self.body, self.raw_field).map(Some)
    }

    /// Reads a piece of the response; the error is the answer in its place.
    fn read(&mut self, bytes: &[u8], limit: usize) -> Result<(), Step> {
        let answer = &mut self.answer;
        let too_large = || refusal(500, 13, "Response entity too large", FAILURE, "response_buffer_size_limit_reached");
        if answer.status != 0 {
            let room = MAX_MESSAGE.saturating_sub(answer.kept.len()).min(bytes.len());
            answer.kept.extend_from_slice(&bytes[..room]);
            return Ok(());
        }
        answer.seen = answer.seen.saturating_add(bytes.len());
        if self.raw_response {
            if answer.seen > self.of.max_response.unwrap_or(limit) {
                return Err(too_large());
            }
            answer.kept.extend_from_slice(bytes);
            return Ok(());
        }
        if answer.seen > self.of.max_response.unwrap_or(MAX_DOCUMENT) {
            return Err(too_large());
        }
        if answer.done {
            return Ok(());
        }
        let failed = |message: String| refusal(500, 13, message, FAILURE, "INVALID_ARGUMENT");
        let mut values = Vec::new();
        answer.parser.feed(bytes, &mut values).map_err(failed)?;
        if let Some(value) = values.pop() {
            let message = encode::encode(&self.of.pool, self.output, value, encode::Options { fold_enums: false }).map_err(failed)?;
            answer.kept = frames::framed(&message);
            answer.done = true;
        }
        Ok(())
    }

    /// What is left to say at the end, and the error's message if there is one.
    fn end(&mut self) -> (Vec<u8>, Option<Vec<u8>>) {
        let kept = std::mem::take(&mut self.answer.kept);
        if self.answer.status != 0 {
            return (Vec::new(), Some(grpc::percent_encode(&kept)));
        }
        if !self.raw_response || kept.is_empty() {
            return (kept, None);
        }
        let mut message = Vec::new();
        if !self.answer.content_type.is_empty() {
            wire::bytes(&mut message, 1, &self.answer.content_type);
        }
        wire::bytes(&mut message, 2, &kept);
        (frames::framed(&message), None)
    }
}

impl Transcoder {
    fn call<'c>(&self, cx: &'c mut StreamCx) -> Option<&'c mut Call> {
        match cx.held_state(&self.state) {
            Some(Some(call)) if !call.passed => Some(call),
            _ => None,
        }
    }

    /// A piece of the call, and what becomes of it.
    fn take(&self, cx: &mut StreamCx, bytes: &[u8], end: bool) -> Result<Option<Vec<u8>>, Step> {
        let limit = cx.buffer_limit;
        let Some(call) = self.call(cx) else { return Ok(None) };
        call.frames.push(bytes);
        if call.frames.len() > call.of.max_request.filter(|_| !call.raw_request).unwrap_or(limit) {
            call.passed = true;
            return Err(refusal(413, 8, "Request entity too large", FAILURE, "request_buffer_size_limit_reached"));
        }
        let made = call.request(end);
        call.passed |= made.is_err();
        let Some(Made { path, content_type, body }) = made? else { return Ok(None) };
        let head = &mut cx.request;
        head.insert(Known::Path, path);
        if let Some(content_type) = content_type {
            head.insert(Known::ContentType, content_type);
        }
        if let Some(body) = &body {
            head.set_with(Known::ContentLength, |v| v.decimal(body.len() as u64));
        }
        Ok(Some(body.unwrap_or_default()))
    }

    /// The call's end as trailers.
    fn tell(&self, cx: &mut StreamCx) -> Vec<u8> {
        let Some(call) = self.call(cx) else { return Vec::new() };
        let status = call.answer.status;
        let (rest, message) = call.end();
        let trailers = &mut cx.response_trailers;
        trailers.set_with(Known::GrpcStatus, |v| v.decimal(u64::from(status)));
        if let Some(message) = message {
            trailers.insert(Known::GrpcMessage, message);
        }
        rest
    }
}

impl HttpFilter for Transcoder {
    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        if end || !grpc::is_grpc(&cx.request) {
            return Step::Continue;
        }
        let route = cx.configured_route();
        let of = super::settings(&route, &self.name, &self.settings);
        let path = String::from_utf8_lossy(cx.request.path().unwrap_or_default()).into_owned();
        let version = of.version_header.as_ref().and_then(|name| cx.request.get_str(name));
        let (mut call, http_method) = match Call::begin(of, &path, version) {
            Ok(begun) => begun,
            Err(step) => return step,
        };
        call.content_type = cx.request.get(Known::ContentType).unwrap_or_default().to_vec();
        *cx.state(&self.state) = Some(Box::new(call));
        cx.grpc_replies = Some(true);
        cx.request.insert(Known::ContentType, "application/json");
        cx.request.insert(Known::Method, http_method);
        cx.request.remove(Known::ContentLength);
        cx.route_is_stale = true;
        Step::Hold(Hold::Watermark)
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        if self.call(cx).is_none() {
            return Step::Continue;
        }
        match self.take(cx, data.filled(), end) {
            Ok(None) => Step::Hold(Hold::Discard),
            Ok(Some(body)) => {
                *data = Buf::copy_of(&body);
                Step::Continue
            }
            Err(step) => step,
        }
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        match self.take(cx, b"", true) {
            Ok(None) => Step::Continue,
            Ok(Some(body)) if body.is_empty() => Step::Continue,
            Ok(Some(body)) => Step::Add(Buf::copy_of(&body)),
            Err(step) => step,
        }
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let is_grpc = match end {
            true => cx.response.contains(Known::GrpcStatus),
            false => cx.response.status() == Some(200) && grpc::is_grpc(&cx.response),
        };
        let status = cx.response.status().unwrap_or(0);
        let content_type = cx.response.get(Known::ContentType).unwrap_or_default().to_vec();
        let local = cx.info.local_reply;
        let Some(call) = self.call(cx) else { return Step::Continue };
        if is_grpc || local {
            call.passed = true;
            return Step::Continue;
        }
        call.answer.content_type = content_type;
        call.answer.status = if (200..300).contains(&status) { 0 } else { grpc::status_of_http(status) };
        let content_type = call.content_type.clone();
        cx.response.insert(Known::ContentType, content_type);
        cx.response.set_status(200);
        cx.response.remove(Known::ContentLength);
        if !end {
            return Step::Continue;
        }
        cx.response.set_with(Known::ContentLength, |v| v.decimal(frames::PREFIX as u64));
        let status = self.call(cx).map_or(0, |call| call.answer.status);
        cx.response_trailers.set_with(Known::GrpcStatus, |v| v.decimal(u64::from(status)));
        Step::AddTrailers(Some(Buf::copy_of(&frames::prefix(0))))
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let limit = cx.buffer_limit;
        let Some(call) = self.call(cx) else { return Step::Continue };
        if let Err(step) = call.read(data.filled(), limit) {
            call.passed = true;
            return step;
        }
        if !end {
            return Step::Hold(Hold::Discard);
        }
        let rest = self.tell(cx);
        *data = Buf::copy_of(&rest);
        Step::AddTrailers(None)
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        if self.call(cx).is_none() {
            return Step::Continue;
        }
        let rest = self.tell(cx);
        if rest.is_empty() { Step::Continue } else { Step::Add(Buf::copy_of(&rest)) }
    }
}
