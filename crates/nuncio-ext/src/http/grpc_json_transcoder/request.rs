//! The request's way: JSON, or bytes as they are, into messages.

use super::config::{Called, Transcoding};
use crate::transcoding::{
    bindings::{self, Binding},
    encode, frames,
    json::{Json, Parser},
    wire,
};
use std::collections::BTreeMap;

/// Bytes of one message that a stream of raw bytes is cut into, so that servers with gRPC's usual limits take them.
const MAX_PIECE: usize = 1 << 20;
/// Bytes of a document of JSON, where nothing is configured.
const MAX_DOCUMENT: usize = 32 << 20;

/// A request's body while it is being read.
#[derive(Debug)]
pub(super) enum Body {
    Json(Box<Document>),
    Raw(Box<Raw>),
}

/// JSON on its way.
#[derive(Debug)]
pub(super) struct Document {
    parser: Parser,
    bindings: Vec<Binding>,
    /// Where the JSON belongs in the message; empty for all of it.
    prefix: Vec<String>,
    seen: usize,
    done: bool,
}

/// Bytes that become `google.api.HttpBody`.
#[derive(Debug)]
pub(super) struct Raw {
    /// What else the first message says.
    beside: Vec<u8>,
    content_type: Vec<u8>,
    unknown: BTreeMap<String, Vec<String>>,
    kept: Vec<u8>,
    sent: bool,
}

/// Why a request goes no further.
#[derive(Debug)]
pub(super) enum Refusal {
    Invalid(String),
    TooLarge,
}

/// The names on the way that a rule's `body` tells; none for the whole message.
pub(super) fn names(body: &str) -> Vec<String> {
    body.split('.').filter(|name| !name.is_empty() && *name != "*").map(str::to_owned).collect()
}

/// A value in the objects that these names lead to.
pub(super) fn placed(value: Json, names: &[String]) -> Json {
    names.iter().rev().fold(value, |value, name| Json::Object(vec![(name.clone(), value)]))
}

impl Document {
    pub(super) fn new(called: &Called, body: &str, bindings: Vec<Binding>) -> Document {
        Document { parser: Parser::new(called.client_streaming), bindings, prefix: names(body), seen: 0, done: false }
    }

    /// The messages, with their prefixes, that these bytes complete.
    pub(super) fn read(&mut self, of: &Transcoding, called: &Called, bytes: &[u8], end: bool) -> Result<Vec<u8>, Refusal> {
        if self.done {
            return Ok(Vec::new());
        }
        self.seen = self.seen.saturating_add(bytes.len());
        let too_large = match of.max_request {
            Some(most) => bytes.len() > most || !called.client_streaming && self.seen > most,
            None => !called.client_streaming && self.seen > MAX_DOCUMENT,
        };
        if too_large {
            return Err(Refusal::TooLarge);
        }
        let mut values = Vec::new();
        self.parser.feed(bytes, &mut values).map_err(Refusal::Invalid)?;
        if end && self.seen == 0 {
            // A request without a body says what `{}` says.
            self.parser.feed(b"{}", &mut values).map_err(Refusal::Invalid)?;
        } else if end {
            self.parser.finish(&mut values).map_err(Refusal::Invalid)?;
        }
        let mut out = Vec::new();
        for value in values {
            self.done = !called.client_streaming;
            let mut value = placed(value, &self.prefix);
            let reject = of.validation.reject_binding_body_field_collisions && !called.client_streaming;
            let agreed = bindings::weave(&mut value, std::mem::take(&mut self.bindings), reject);
            let options = encode::Options { fold_enums: of.fold_enums && !called.client_streaming };
            let message = encode::encode(&of.pool, called.input, value, options);
            agreed.map_err(Refusal::Invalid)?;
            out.extend(frames::framed(&message.map_err(Refusal::Invalid)?));
        }
        Ok(out)
    }
}

impl Raw {
    /// Of a request whose path and query say `beside` and what nobody knows.
    pub(super) fn new(beside: Vec<u8>, content_type: Vec<u8>, unknown: BTreeMap<String, Vec<String>>) -> Raw {
        Raw { beside, content_type, unknown, kept: Vec::new(), sent: false }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The messages that these bytes complete.
    pub(super) fn read(&mut self, called: &Called, path: &[u32], bytes: &[u8], end: bool, limit: usize) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        if called.client_streaming {
            let mut pieces = bytes.chunks(MAX_PIECE);
            let first = if self.sent { None } else { Some(pieces.next().unwrap_or_default()) };
            for piece in first.into_iter().chain(pieces) {
                self.message(path, piece, &mut out);
            }
            return Ok(out);
        }
        if self.kept.len() + bytes.len() > limit {
            return Err(Refusal::TooLarge);
        }
        self.kept.extend_from_slice(bytes);
        if end && !self.sent {
            let kept = std::mem::take(&mut self.kept);
            self.message(path, &kept, &mut out);
        }
        Ok(out)
    }

    fn message(&mut self, path: &[u32], bytes: &[u8], out: &mut Vec<u8>) {
        self.sent = true;
        let mut message = std::mem::take(&mut self.beside);
        let mut ends = Vec::with_capacity(path.len());
        for number in path {
            wire::tag(&mut message, *number, 2);
            ends.push(message.len());
        }
        let content_type = std::mem::take(&mut self.content_type);
        if !content_type.is_empty() {
            wire::bytes(&mut message, 1, &content_type);
        }
        if !self.unknown.is_empty() {
            let unknown = std::mem::take(&mut self.unknown);
            wire::bytes(&mut message, 3, &any_of_unknown(&unknown));
        }
        wire::bytes(&mut message, 2, bytes);
        ends.iter().rev().for_each(|from| wire::close(&mut message, *from));
        out.extend(frames::framed(&message));
    }
}

/// `UnknownQueryParams` in an `Any`.
fn any_of_unknown(unknown: &BTreeMap<String, Vec<String>>) -> Vec<u8> {
    let mut message = Vec::new();
    for (key, values) in unknown {
        let mut list = Vec::new();
        values.iter().for_each(|value| wire::bytes(&mut list, 1, value.as_bytes()));
        let mut entry = Vec::new();
        wire::bytes(&mut entry, 1, key.as_bytes());
        wire::bytes(&mut entry, 2, &list);
        wire::bytes(&mut message, 1, &entry);
    }
    let mut any = Vec::new();
    wire::bytes(&mut any, 1, b"type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.UnknownQueryParams");
    wire::bytes(&mut any, 2, &message);
    any
}
