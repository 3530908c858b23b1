//! `envoy.filters.http.compressor`: compresses responses, as clients accept it, and requests where that is wanted.
//!
//! Several compressors in a chain agree on which of them a response gets.

mod choice;
mod config;

use crate::compression::{Encoder, Library};
use choice::{Candidate, Choice, Decision, Types};
use config::PerRoute;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{HttpFilter, HttpFilterEntry, Phases, Posture, RouteRef, RuntimeFlag, StateSlot, Step, StreamCx};
use nuncio_rt::Buf;
use nuncio_stats::{CounterId, Scope, stats_table};
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.compressor",
    message: config::MESSAGE,
    route_message: config::ROUTE_MESSAGE,
    posture: Posture::UntrustedDownstream,
    build: config::build,
    route: config::route,
};

stats_table! {
    /// `http.<prefix>.compressor.<library>.<kind>.`
    pub COMPRESSOR: "compressor" {
        /// Responses that went to another compressor.
        counter HEADER_COMPRESSOR_OVERSHADOWED = "header_compressor_overshadowed",
        /// Responses that this compressor was chosen for.
        counter HEADER_COMPRESSOR_USED = "header_compressor_used",
        /// Responses whose client wants them plain.
        counter HEADER_IDENTITY = "header_identity",
        /// Responses whose client takes nothing that there is.
        counter HEADER_NOT_VALID = "header_not_valid",
        /// Responses whose client takes anything.
        counter HEADER_WILDCARD = "header_wildcard",
        /// Responses whose client does not say.
        counter NO_ACCEPT_HEADER = "no_accept_header",
        /// Responses left as they are for their `etag`.
        counter NOT_COMPRESSED_ETAG = "not_compressed_etag",
    }
}

stats_table! {
    /// `….response.`, or without that where `response_direction_config` is not set
    pub COMPRESSOR_RESPONSE: "compressor_response" {
        /// Responses compressed.
        counter COMPRESSED = "compressed",
        /// Responses not worth it.
        counter CONTENT_LENGTH_TOO_SMALL = "content_length_too_small",
        /// Responses left as they are.
        counter NOT_COMPRESSED = "not_compressed",
        /// Bytes that came out.
        counter TOTAL_COMPRESSED_BYTES = "total_compressed_bytes",
        /// Bytes that went in.
        counter TOTAL_UNCOMPRESSED_BYTES = "total_uncompressed_bytes",
    }
}

stats_table! {
    /// `….request.`
    pub COMPRESSOR_REQUEST: "compressor_request" {
        /// Requests compressed.
        counter RQ_COMPRESSED = "compressed",
        /// Requests not worth it.
        counter RQ_CONTENT_LENGTH_TOO_SMALL = "content_length_too_small",
        /// Requests left as they are.
        counter RQ_NOT_COMPRESSED = "not_compressed",
        /// Bytes that came out.
        counter RQ_TOTAL_COMPRESSED_BYTES = "total_compressed_bytes",
        /// Bytes that went in.
        counter RQ_TOTAL_UNCOMPRESSED_BYTES = "total_uncompressed_bytes",
    }
}

/// `CommonDirectionConfig`
#[derive(Debug)]
struct Direction {
    enabled: RuntimeFlag,
    min_length: u64,
    types: Arc<Types>,
}

/// `ResponseDirectionConfig`
#[derive(Debug)]
struct Response {
    common: Direction,
    disable_on_etag: bool,
    weaken_etag: bool,
    remove_accept_encoding: bool,
    /// Statuses that are left as they are.
    never: Vec<u16>,
    /// `x-envoy-compression-status` tells what became of the response.
    tell_status: bool,
}

#[derive(Debug)]
struct Compressor {
    name: String,
    library: Library<dyn Encoder>,
    request: Direction,
    response: Response,
    choose_first: bool,
    stats: Arc<Scope>,
    request_stats: Arc<Scope>,
    response_stats: Arc<Scope>,
    choice: StateSlot<Choice>,
    state: StateSlot<State>,
}

/// Bodies under way.
#[derive(Default)]
struct State {
    request: Option<Box<dyn Encoder>>,
    response: Option<Box<dyn Encoder>>,
}

/// Where bytes are counted: in, out.
type Bytes = (CounterId, CounterId);

impl Direction {
    /// Whether a body is worth it: those whose length is not told are.
    fn is_long_enough(&self, head: &HeaderMap) -> bool {
        head.get_str(Known::ContentLength).and_then(|text| text.parse::<u64>().ok()).is_none_or(|length| length >= self.min_length)
    }

    /// Whether a body may be changed.
    fn may_change(&self, head: &HeaderMap) -> bool {
        let still = || head.get_joined(Known::CacheControl).is_some_and(|value| value.to_ascii_lowercase().windows(12).any(|w| w == b"no-transform"));
        self.types.allow(head.get(Known::ContentType)) && !head.contains(Known::ContentEncoding) && !still()
    }
}

fn per_route<'r>(route: Option<&'r RouteRef>, name: &str) -> Option<&'r PerRoute> {
    route?.filter_config(name)
}

/// Marks a body as compressed.
fn mark(head: &mut HeaderMap, encoding: &str) {
    head.remove(Known::ContentLength);
    head.insert(Known::ContentEncoding, encoding);
}

/// Tells caches that other clients may get other bodies.
fn vary(head: &mut HeaderMap) {
    match head.get_joined(Known::Vary).map(|value| String::from_utf8_lossy(&value).into_owned()) {
        Some(value) if value.split(',').any(|name| name.trim().eq_ignore_ascii_case("accept-encoding")) => {}
        Some(value) if !value.is_empty() => head.insert(Known::Vary, format!("{value}, Accept-Encoding")),
        _ => head.insert(Known::Vary, "Accept-Encoding"),
    }
}

/// A strong validator does not hold for the compressed body.
fn change_etag(head: &mut HeaderMap, weaken: bool) {
    let Some(etag) = head.get(Known::Etag).map(<[u8]>::to_vec) else { return };
    if etag.starts_with(b"W/") || etag.starts_with(b"w/") {
        return;
    }
    match weaken {
        true => head.insert(Known::Etag, [b"W/", &*etag].concat()),
        false => drop(head.remove(Known::Etag)),
    }
}

fn pass(cx: &StreamCx, scope: &Scope, (taken, given): Bytes, encoder: &mut dyn Encoder, bytes: &[u8], end: bool) -> Vec<u8> {
    let out = encoder.encode(bytes, end);
    scope.add(cx.worker.lane, taken, bytes.len() as u64);
    scope.add(cx.worker.lane, given, out.len() as u64);
    out
}

impl Compressor {
    fn decided(&self, cx: &mut StreamCx) -> Decision {
        let kind = cx.response.get(Known::ContentType).map(<[u8]>::to_vec);
        cx.find_state::<Choice>().map_or(Decision::NoHeader, |choice| choice.decide(kind.as_deref()))
    }

    /// Whether the client takes this compressor's encoding, counted.
    fn is_chosen(&self, cx: &mut StreamCx, encoding: &str) -> bool {
        let decision = self.decided(cx);
        self.stats.inc(cx.worker.lane, match decision {
            Decision::NoHeader => NO_ACCEPT_HEADER,
            Decision::NotValid => HEADER_NOT_VALID,
            Decision::Identity => HEADER_IDENTITY,
            Decision::Wildcard(_) => HEADER_WILDCARD,
            Decision::Chosen(chosen) if chosen == encoding => HEADER_COMPRESSOR_USED,
            Decision::Chosen(_) => HEADER_COMPRESSOR_OVERSHADOWED,
        });
        decision.encoding() == Some(encoding)
    }

    /// Why a response that the client would take compressed is left as it is, where that is told.
    fn reason(&self, cx: &StreamCx, long: bool, etag: bool) -> Option<&'static str> {
        let head = &cx.response;
        if !self.response.common.types.allow(head.get(Known::ContentType)) {
            Some("ContentTypeNotAllowed")
        } else if !long {
            Some("ContentLengthTooSmall")
        } else if !etag {
            Some("EtagNotAllowed")
        } else if self.response.never.contains(&head.status().unwrap_or(0)) {
            Some("StatusCodeNotAllowed")
        } else {
            None
        }
    }
}

impl HttpFilter for Compressor {
    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let lane = cx.worker.lane;
        let route = cx.configured_route();
        let own = per_route(route.as_ref(), &self.name);
        let on = |direction: &Direction| direction.enabled.now(&cx.worker.runtime.values());
        let (compresses_responses, compresses_requests) = (on(&self.response.common), on(&self.request));
        if !matches!(own, Some(PerRoute::Disabled)) && compresses_responses {
            let (encoding, remove) = match own {
                Some(PerRoute::Overrides { remove_accept_encoding, library }) => {
                    (library.as_ref().unwrap_or(&self.library).encoding, remove_accept_encoding.unwrap_or(self.response.remove_accept_encoding))
                }
                _ => (self.library.encoding, self.response.remove_accept_encoding),
            };
            let candidate = Candidate { encoding, types: self.response.common.types.clone(), choose_first: self.choose_first };
            match cx.find_state::<Choice>() {
                Some(choice) => choice.candidates.push(candidate),
                None => {
                    let accept = cx.request.get_joined(Known::AcceptEncoding).map(|value| String::from_utf8_lossy(&value).into_owned());
                    let choice = cx.state(&self.choice);
                    choice.accept = accept;
                    choice.candidates.push(candidate);
                }
            }
            if remove {
                cx.request.remove(Known::AcceptEncoding);
            }
        }
        let enabled = !end && compresses_requests;
        let long = self.request.is_long_enough(&cx.request);
        if enabled && !long {
            self.request_stats.inc(lane, RQ_CONTENT_LENGTH_TOO_SMALL);
        }
        if enabled && long && !cx.info.upgraded && self.request.may_change(&cx.request) {
            mark(&mut cx.request, self.library.encoding);
            self.request_stats.inc(lane, RQ_COMPRESSED);
            cx.state(&self.state).request = Some(self.library.make());
        } else {
            self.request_stats.inc(lane, RQ_NOT_COMPRESSED);
        }
        Step::Continue
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        if let Some(mut encoder) = cx.held_state(&self.state).and_then(|state| state.request.take()) {
            let bytes = (RQ_TOTAL_UNCOMPRESSED_BYTES, RQ_TOTAL_COMPRESSED_BYTES);
            *data = Buf::copy_of(&pass(cx, &self.request_stats, bytes, &mut *encoder, data.filled(), end));
            cx.state(&self.state).request = Some(encoder).filter(|_| !end);
        }
        Step::Continue
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        match cx.held_state(&self.state).and_then(|state| state.request.take()) {
            Some(mut encoder) => {
                let bytes = (RQ_TOTAL_UNCOMPRESSED_BYTES, RQ_TOTAL_COMPRESSED_BYTES);
                Step::Add(Buf::copy_of(&pass(cx, &self.request_stats, bytes, &mut *encoder, b"", true)))
            }
            None => Step::Continue,
        }
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let lane = cx.worker.lane;
        let route = cx.configured_route();
        let own = per_route(route.as_ref(), &self.name);
        let library = match own {
            Some(PerRoute::Overrides { library: Some(library), .. }) => library,
            _ => &self.library,
        };
        let config = &self.response;
        let enabled = !matches!(own, Some(PerRoute::Disabled)) && config.common.enabled.now(&cx.worker.runtime.values());
        let long = enabled && config.common.is_long_enough(&cx.response);
        if enabled && !long {
            // Where the status is told it is looked at twice, and counted so.
            self.response_stats.add(lane, CONTENT_LENGTH_TOO_SMALL, 1 + u64::from(config.tell_status));
        }
        let etag = !(config.disable_on_etag && cx.response.contains(Known::Etag));
        if long && !etag {
            self.stats.inc(lane, NOT_COMPRESSED_ETAG);
        }
        let status = cx.response.status().unwrap_or(0);
        let compressible = long && !cx.info.upgraded && etag && !config.never.contains(&status) && config.common.may_change(&cx.response);
        // Where the status is told, a response that cannot be compressed has no client to ask.
        let reason = if config.tell_status && enabled { self.reason(cx, long, etag) } else { None };
        let chosen = !end && long && reason.is_none() && self.is_chosen(cx, library.encoding);
        if let Some(reason) = reason
            && cx.find_state::<Choice>().is_some_and(|choice| choice.accept.is_some())
        {
            cx.response.insert("x-envoy-compression-status", format!("{};{reason}", library.encoding));
        }
        if chosen && compressible {
            if config.tell_status {
                let length = cx.response.get_str(Known::ContentLength).map(|length| format!(";OriginalLength={length}"));
                let told = format!("{};Compressed{}", library.encoding, length.unwrap_or_default());
                cx.response.insert("x-envoy-compression-status", told);
            }
            change_etag(&mut cx.response, config.weaken_etag);
            mark(&mut cx.response, library.encoding);
            self.response_stats.inc(lane, COMPRESSED);
            cx.state(&self.state).response = Some(library.make());
        } else {
            self.response_stats.inc(lane, NOT_COMPRESSED);
        }
        if compressible {
            vary(&mut cx.response);
        }
        Step::Continue
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        if let Some(mut encoder) = cx.held_state(&self.state).and_then(|state| state.response.take()) {
            let bytes = (TOTAL_UNCOMPRESSED_BYTES, TOTAL_COMPRESSED_BYTES);
            *data = Buf::copy_of(&pass(cx, &self.response_stats, bytes, &mut *encoder, data.filled(), end));
            cx.state(&self.state).response = Some(encoder).filter(|_| !end);
        }
        Step::Continue
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        match cx.held_state(&self.state).and_then(|state| state.response.take()) {
            Some(mut encoder) => {
                let bytes = (TOTAL_UNCOMPRESSED_BYTES, TOTAL_COMPRESSED_BYTES);
                Step::Add(Buf::copy_of(&pass(cx, &self.response_stats, bytes, &mut *encoder, b"", true)))
            }
            None => Step::Continue,
        }
    }
}
