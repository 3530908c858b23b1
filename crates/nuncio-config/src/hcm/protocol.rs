//! Codecs and timeouts of downstream connections.

use crate::clusters::underscores;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use nuncio_codec::http1::{NameCase, RequestRules, Strictness};
use nuncio_http::config::{CodecType, Http2Options, Timeouts};
use std::time::Duration;

pub(super) fn codec(cx: &mut CompileCx<'_>, number: i32) -> CodecType {
    use proto::http_connection_manager::CodecType as Proto;
    match Proto::try_from(number).unwrap_or_default() {
        Proto::Auto => CodecType::Auto,
        Proto::Http1 => CodecType::Http1,
        Proto::Http2 => CodecType::Http2,
        Proto::Http3 => {
            cx.at("codec_type", |cx| {
                cx.value_without_effect("codec_type HTTP3").note("HTTP/1.1 and HTTP/2 are spoken");
            });
            CodecType::Auto
        }
    }
}

/// Zero switches a timeout off.
fn limit(duration: Option<Duration>, default: Option<Duration>) -> Option<Duration> {
    match duration {
        None => default,
        Some(duration) => (!duration.is_zero()).then_some(duration),
    }
}

fn percent(from: Option<&nuncio_api::envoy::r#type::v3::Percent>) -> f64 {
    from.map_or(0.0, |percent| percent.value)
}

pub(super) fn timeouts(cx: &mut CompileCx<'_>, from: &proto::HttpConnectionManager) -> Timeouts {
    let defaults = Timeouts::default();
    let mut made = Timeouts {
        stream_idle: limit(cx.duration("stream_idle_timeout", from.stream_idle_timeout.as_ref()), defaults.stream_idle),
        request: limit(cx.duration("request_timeout", from.request_timeout.as_ref()), defaults.request),
        request_headers: limit(cx.duration("request_headers_timeout", from.request_headers_timeout.as_ref()), defaults.request_headers),
        delayed_close: limit(cx.duration("delayed_close_timeout", from.delayed_close_timeout.as_ref()), defaults.delayed_close),
        drain: cx.duration("drain_timeout", from.drain_timeout.as_ref()).unwrap_or(defaults.drain),
        drain_jitter: percent(from.drain_timeout_jitter.as_ref()),
        stream_flush: cx.duration("stream_flush_timeout", from.stream_flush_timeout.as_ref()),
        http1_ends_with_response: from.http1_safe_max_connection_duration,
        ..defaults
    };
    let Some(common) = &from.common_http_protocol_options else { return made };
    cx.at("common_http_protocol_options", |cx| {
        let core::HttpProtocolOptions {
            idle_timeout,
            max_connection_duration,
            max_connection_duration_jitter,
            max_headers_count: _,
            max_response_headers_kb: _,
            max_stream_duration,
            headers_with_underscores_action: _,
            max_requests_per_connection: _,
        } = common;
        made.max_connection_jitter = percent(max_connection_duration_jitter.as_ref());
        made.idle = limit(cx.duration("idle_timeout", idle_timeout.as_ref()), made.idle);
        made.max_connection = limit(cx.duration("max_connection_duration", max_connection_duration.as_ref()), None);
        made.max_stream = limit(cx.duration("max_stream_duration", max_stream_duration.as_ref()), None);
    });
    made
}

/// The HTTP/1 codec's rules, but for the size of a head, and how response headers are spelled.
pub(super) fn request_rules(cx: &mut CompileCx<'_>, from: &proto::HttpConnectionManager) -> (RequestRules, NameCase) {
    let mut rules = RequestRules { strictness: if cx.mode.parity { Strictness::Parity } else { Strictness::Friendly }, ..RequestRules::default() };
    if let Some(common) = &from.common_http_protocol_options {
        rules.max_headers = common.max_headers_count.unwrap_or(100) as usize;
        rules.underscores = underscores(common.headers_with_underscores_action);
    }
    let mut case = NameCase::Lower;
    let Some(http1) = &from.http_protocol_options else { return (rules, case) };
    #[allow(deprecated)]
    let core::Http1ProtocolOptions {
        allow_absolute_url,
        accept_http_10,
        default_host_for_http_10: _,
        header_key_format,
        enable_trailers,
        allow_chunked_length,
        override_stream_error_on_invalid_http_message: _,
        // Towards hosts only.
        send_fully_qualified_url: _,
        // There is one parser.
        use_balsa_parser: _,
        allow_custom_methods,
        ignore_http_11_upgrade,
    } = http1;
    cx.at("http_protocol_options", |cx| {
        unbuilt!(cx, ignore_http_11_upgrade);
        if let Some(format) = header_key_format {
            case = cx.at("header_key_format", |cx| crate::clusters::name_case(cx, format));
            rules.keep_spelling = case == NameCase::Preserve;
        }
    });
    rules.allow_absolute_url = allow_absolute_url.unwrap_or(true);
    rules.accept_http_10 = *accept_http_10;
    rules.enable_trailers = *enable_trailers;
    rules.allow_chunked_length = *allow_chunked_length;
    rules.allow_custom_methods = *allow_custom_methods;
    (rules, case)
}

/// The HTTP/2 codec's options.
pub(super) fn http2(cx: &mut CompileCx<'_>, from: &proto::HttpConnectionManager) -> Http2Options {
    let mut codec = nuncio_codec::http2::Options {
        max_header_bytes: from.max_request_headers_kb.unwrap_or(60) as usize * 1024,
        stream_error_on_invalid_http_message: from.stream_error_on_invalid_http_message.unwrap_or(false),
        as_envoy: cx.mode.parity,
        ..Default::default()
    };
    if let Some(common) = &from.common_http_protocol_options {
        codec.max_headers = common.max_headers_count.unwrap_or(100) as usize;
        codec.underscores = underscores(common.headers_with_underscores_action);
    }
    let own = from.http2_protocol_options.as_ref();
    let keepalive = own.and_then(|own| cx.at("http2_protocol_options", |cx| crate::http2::options(cx, own, &mut codec)));
    Http2Options { codec, keepalive }
}

/// The HTTP/1 option has precedence over the connection manager's.
pub(super) fn keep_open_on_error(from: &proto::HttpConnectionManager) -> bool {
    let own = from.http_protocol_options.as_ref().and_then(|o| o.override_stream_error_on_invalid_http_message);
    own.or(from.stream_error_on_invalid_http_message).unwrap_or(false)
}
