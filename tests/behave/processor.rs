//! A server for `ext_proc`, as a rule of a backend that speaks HTTP/2:
//!
//! ```yaml
//! - path: /envoy.service.ext_proc.v3.ExternalProcessor/Process
//!   processor:
//!     /path:                                   # of the request that is processed; `else` for the others
//!     - {request_headers: {}}                  # what the first message is answered with: a ProcessingResponse
//!     - none                                   # the second one is not answered
//!     - [{…}, {…}]                             # the third one is answered twice
//!     - {end: 13}                              # the call ends with this status
//!     - {request_body: {response: {body_mutation: {body: BASE64(text)}}}}
//! ```
//!
//! Messages beyond the list are not answered. What comes is shown message by message.

use crate::node::Node;
use nuncio_api::envoy::service::ext_proc::v3::{HttpHeaders, ProcessingRequest, processing_request::Request};
use nuncio_api::envoy::config::core::v3::HeaderMap;
use nuncio_api::{Document, Options, Source, Syntax};
use prost::Message as _;
use std::fmt::Write as _;

/// Headers that differ from run to run.
const UNSHOWN: [&str; 4] = ["x-request-id", "date", "x-envoy-upstream-service-time", "x-envoy-expected-rq-timeout-ms"];

/// What goes back.
pub enum Reply {
    Message(Vec<u8>),
    End(String),
}

/// One call.
#[derive(Default)]
pub struct Processor {
    path: Option<String>,
    seen: usize,
}

impl Processor {
    /// Takes a message; says how it is shown and what it is answered with.
    pub fn take(&mut self, bytes: &[u8], rules: &Node) -> (String, Vec<Reply>) {
        let message = ProcessingRequest::decode(bytes).unwrap_or_default();
        if self.path.is_none() {
            self.path = match &message.request {
                Some(Request::RequestHeaders(headers)) => list(headers.headers.as_ref()).find(|(name, _)| name == ":path").map(|(_, path)| path),
                _ => None,
            };
        }
        let path = self.path.clone().unwrap_or_default();
        let replies = rules.get(&path).or_else(|| rules.get("else"));
        let reply = replies.and_then(|replies| replies.items().get(self.seen));
        self.seen += 1;
        let replies = match reply {
            None => Vec::new(),
            Some(list @ Node::List(_)) => list.items().iter().filter_map(made).collect(),
            Some(one) => made(one).into_iter().collect(),
        };
        (shown(&message), replies)
    }
}

fn made(from: &Node) -> Option<Reply> {
    if let Some(code) = from.string("end") {
        return Some(Reply::End(code));
    }
    if !matches!(from, Node::Map(_)) {
        return None;
    }
    const NAME: &str = "envoy.service.ext_proc.v3.ProcessingResponse";
    let document = Document::parse(Source::new("reply", from.to_json()), Syntax::Json).ok()?;
    let made = nuncio_api::encode(NAME, &document, &Options::default());
    assert!(!made.diagnostics.iter().any(nuncio_api::Diagnostic::is_error), "{:?}", made.diagnostics);
    let mut framed = vec![0];
    framed.extend(u32::try_from(made.bytes.len()).unwrap_or_default().to_be_bytes());
    framed.extend(made.bytes);
    Some(Reply::Message(framed))
}

fn list(from: Option<&HeaderMap>) -> impl Iterator<Item = (String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all: Vec<_> = from.iter().flat_map(|map| &map.headers).map(|header| (header.key.clone(), if header.raw_value.is_empty() { header.value.clone() } else { text(&header.raw_value) })).collect();
    all.into_iter()
}

fn headers(from: Option<&HeaderMap>, out: &mut String) {
    let mut all: Vec<_> = list(from).filter(|(name, _)| !UNSHOWN.contains(&name.as_str())).collect();
    all.sort();
    for (name, value) in all {
        let _ = writeln!(out, "    {name}: {value}");
    }
}

fn shown(message: &ProcessingRequest) -> String {
    let mut out = String::new();
    let with_end = |end: bool| if end { ", the end" } else { "" };
    let of_headers = |what: &str, from: &HttpHeaders, out: &mut String| {
        let _ = writeln!(out, "{what}{}", with_end(from.end_of_stream));
        headers(from.headers.as_ref(), out);
    };
    match &message.request {
        Some(Request::RequestHeaders(from)) => of_headers("request headers", from, &mut out),
        Some(Request::ResponseHeaders(from)) => of_headers("response headers", from, &mut out),
        Some(Request::RequestBody(from)) => drop(writeln!(out, "request body{}: {}", with_end(from.end_of_stream), String::from_utf8_lossy(&from.body))),
        Some(Request::ResponseBody(from)) => drop(writeln!(out, "response body{}: {}", with_end(from.end_of_stream), String::from_utf8_lossy(&from.body))),
        Some(Request::RequestTrailers(from)) => {
            out.push_str("request trailers\n");
            headers(from.trailers.as_ref(), &mut out);
        }
        Some(Request::ResponseTrailers(from)) => {
            out.push_str("response trailers\n");
            headers(from.trailers.as_ref(), &mut out);
        }
        None => out.push_str("nothing\n"),
    }
    if let Some(config) = &message.protocol_config {
        let _ = writeln!(out, "    protocol: {} {} {}", config.request_body_mode, config.response_body_mode, config.send_body_without_waiting_for_header_response);
    }
    let rest = ProcessingRequest { request: None, protocol_config: None, ..message.clone() };
    let mut attributes: Vec<_> = rest.attributes.iter().flat_map(|(space, fields)| fields.fields.iter().map(move |(name, value)| format!("    {space} {name}: {:?}\n", value.kind))).collect();
    attributes.sort();
    out.extend(attributes);
    for (name, fields) in rest.metadata_context.iter().flat_map(|metadata| &metadata.filter_metadata) {
        let _ = writeln!(out, "    metadata {name}: {}", fields.fields.len());
    }
    out
}
