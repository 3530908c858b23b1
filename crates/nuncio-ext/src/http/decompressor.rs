//! `envoy.filters.http.decompressor`: takes the compression off requests and responses, and lets upstreams know that it can.
//!
//! A body that is broken, or grows beyond all measure, ends where it was still whole.

use crate::compression::{self, Decoder, Library};
use crate::read;
use nuncio_api::envoy::extensions::filters::http::decompressor::v3 as proto;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, Phases, Posture, RuntimeFlag, StateSlot, Step, StreamCx,
};
use nuncio_rt::Buf;
use nuncio_stats::{Scope, stats_table};
use proto::decompressor::{CommonDirectionConfig, RequestDirectionConfig, ResponseDirectionConfig};
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.decompressor",
    message: "envoy.extensions.filters.http.decompressor.v3.Decompressor",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

stats_table! {
    /// `http.<prefix>.decompressor.<library>.<kind>.request.` and `….response.`
    pub DECOMPRESSOR: "decompressor" {
        /// Bodies decompressed.
        counter DECOMPRESSED = "decompressed",
        /// Bodies left as they are.
        counter NOT_DECOMPRESSED = "not_decompressed",
        /// Bytes that went in.
        counter TOTAL_COMPRESSED_BYTES = "total_compressed_bytes",
        /// Bytes that came out.
        counter TOTAL_UNCOMPRESSED_BYTES = "total_uncompressed_bytes",
    }
}

stats_table! {
    /// `….decompressor_library.`
    pub LIBRARY: "decompressor_library" {
        /// Bodies that were no Brotli.
        counter BROTLI_ERROR = "brotli_error" [lazy],
        /// Bodies that were no gzip.
        counter ZLIB_DATA_ERROR = "zlib_data_error" [lazy],
        /// Bodies that were no Zstandard.
        counter ZSTD_GENERIC_ERROR = "zstd_generic_error" [lazy],
    }
}

/// One direction.
#[derive(Debug)]
struct Direction {
    enabled: RuntimeFlag,
    ignore_no_transform: bool,
    stats: Arc<Scope>,
}

#[derive(Debug)]
struct Decompressor {
    library: Library<dyn Decoder>,
    request: Direction,
    response: Direction,
    advertise: bool,
    errors: Arc<Scope>,
    state: StateSlot<State>,
}

/// Bodies under way.
#[derive(Default)]
struct State {
    request: Option<Body>,
    response: Option<Body>,
}

struct Body {
    decoder: Box<dyn Decoder>,
    compressed: u64,
    plain: u64,
    broken: bool,
}

fn direction(from: Option<&CommonDirectionConfig>, stats: Arc<Scope>) -> Direction {
    let none = CommonDirectionConfig::default();
    let CommonDirectionConfig { enabled, ignore_no_transform_header } = from.unwrap_or(&none);
    Direction { enabled: read::runtime_flag(enabled.as_ref()), ignore_no_transform: *ignore_no_transform_header, stats }
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::Decompressor { decompressor_library, request_direction_config, response_direction_config } = read::message(config)?;
    let library = decompressor_library.ok_or_else(|| ConfigError::at("decompressor_library", "is missing"))?;
    let library = compression::decompressor("decompressor_library", &library, cx).map_err(read::within("decompressor_library"))?;
    let RequestDirectionConfig { common_config: request, advertise_accept_encoding } = request_direction_config.unwrap_or_default();
    let ResponseDirectionConfig { common_config: response } = response_direction_config.unwrap_or_default();
    let prefix = format!("{}decompressor.{}.{}.", cx.stat_prefix, library.name, library.kind);
    let scope = |part: &str| cx.stats.scope(&format!("{prefix}{part}."), &DECOMPRESSOR);
    Ok(Arc::new(Decompressor {
        request: direction(request.as_ref(), scope("request")),
        response: direction(response.as_ref(), scope("response")),
        advertise: advertise_accept_encoding.unwrap_or(true),
        errors: cx.stats.scope(&format!("{prefix}decompressor_library."), &LIBRARY),
        state: cx.state_slot(),
        library,
    }))
}

fn route(_: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Err(ConfigError::at("", "this filter has no settings for routes"))
}

impl Direction {
    fn is_on(&self, cx: &StreamCx) -> bool {
        self.enabled.now(&cx.worker.runtime.values())
    }

    /// Takes the encoding off a head, if it is the outermost and may be.
    fn take(&self, cx: &StreamCx, head: &HeaderMap, encoding: &str) -> Option<String> {
        if !self.is_on(cx) {
            return None;
        }
        let still = || head.get_joined(Known::CacheControl).is_some_and(|v| v.to_ascii_lowercase().windows(12).any(|w| w == b"no-transform"));
        if !self.ignore_no_transform && still() {
            return None;
        }
        let told = head.get_joined(Known::ContentEncoding)?;
        let told = String::from_utf8_lossy(&told);
        let (first, rest) = told.split_once(',').unwrap_or((&told, ""));
        first.trim().eq_ignore_ascii_case(encoding).then(|| rest.trim().to_owned())
    }
}

/// The head of a body that is plain again.
fn unmark(head: &mut HeaderMap, rest: &str) {
    head.remove(Known::ContentLength);
    match rest {
        "" => drop(head.remove(Known::ContentEncoding)),
        rest => head.insert(Known::ContentEncoding, rest),
    }
}

impl Decompressor {
    fn body(&self) -> Option<Body> {
        Some(Body { decoder: self.library.make(), compressed: 0, plain: 0, broken: false })
    }

    /// A piece of a body, plain.
    fn piece(&self, cx: &StreamCx, stats: &Scope, body: &mut Body, data: &mut Buf) {
        let lane = cx.worker.lane;
        let plain = if body.broken { Some(Vec::new()) } else { body.decoder.decode(data.filled()) };
        if plain.is_none() {
            body.broken = true;
            self.errors.inc(lane, match self.library.kind {
                "gzip" => ZLIB_DATA_ERROR,
                "brotli" => BROTLI_ERROR,
                _ => ZSTD_GENERIC_ERROR,
            });
        }
        let plain = plain.unwrap_or_default();
        body.compressed += data.len() as u64;
        body.plain += plain.len() as u64;
        stats.add(lane, TOTAL_COMPRESSED_BYTES, data.len() as u64);
        stats.add(lane, TOTAL_UNCOMPRESSED_BYTES, plain.len() as u64);
        *data = Buf::copy_of(&plain);
    }

    /// Tells clients how long the body was.
    fn tell(&self, cx: &mut StreamCx, body: &Body) {
        let name = |what: &str| format!("x-envoy-decompressor-{}-{what}-bytes", self.library.name);
        for (what, bytes) in [("compressed", body.compressed), ("uncompressed", body.plain)] {
            cx.response_trailers.insert(name(what).to_ascii_lowercase().as_bytes(), bytes.to_string());
        }
    }
}

impl HttpFilter for Decompressor {
    fn phases(&self) -> Phases {
        let request = Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA);
        request.and(Phases::RESPONSE_HEADERS).and(Phases::RESPONSE_DATA).and(Phases::RESPONSE_TRAILERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        if self.advertise && self.request.is_on(cx) {
            let told = cx.request.get_joined(Known::AcceptEncoding).map(|value| String::from_utf8_lossy(&value).into_owned());
            let told = told.unwrap_or_default();
            let name = |token: &str| token.split(';').next().unwrap_or_default().trim().to_owned();
            let others = told.split(',').map(str::trim).filter(|token| !token.is_empty() && name(token) != self.library.encoding);
            let all = others.chain([self.library.encoding]).collect::<Vec<_>>().join(",");
            cx.request.insert(Known::AcceptEncoding, all);
        }
        if end {
            return Step::Continue;
        }
        let taken = self.request.take(cx, &cx.request, self.library.encoding);
        self.request.stats.inc(cx.worker.lane, if taken.is_some() { DECOMPRESSED } else { NOT_DECOMPRESSED });
        if let Some(rest) = taken {
            unmark(&mut cx.request, &rest);
            cx.state(&self.state).request = self.body();
        }
        Step::Continue
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, _end: bool) -> Step {
        if let Some(mut body) = cx.held_state(&self.state).and_then(|state| state.request.take()) {
            self.piece(cx, &self.request.stats, &mut body, data);
            cx.state(&self.state).request = Some(body);
        }
        Step::Continue
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        if end {
            return Step::Continue;
        }
        let taken = self.response.take(cx, &cx.response, self.library.encoding);
        self.response.stats.inc(cx.worker.lane, if taken.is_some() { DECOMPRESSED } else { NOT_DECOMPRESSED });
        if let Some(rest) = taken {
            unmark(&mut cx.response, &rest);
            cx.state(&self.state).response = self.body();
        }
        Step::Continue
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(mut body) = cx.held_state(&self.state).and_then(|state| state.response.take()) else { return Step::Continue };
        self.piece(cx, &self.response.stats, &mut body, data);
        if end {
            self.tell(cx, &body);
            return Step::AddTrailers(None);
        }
        cx.state(&self.state).response = Some(body);
        Step::Continue
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        if let Some(body) = cx.held_state(&self.state).and_then(|state| state.response.take()) {
            self.tell(cx, &body);
        }
        Step::Continue
    }
}
