//! What Envoy refuses in a connection manager beyond the API's own rules.

use super::Surroundings;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use proto::http_connection_manager::{CodecType, StripPortMode};
use std::collections::HashSet;

pub(super) fn check(cx: &mut CompileCx<'_>, from: &proto::HttpConnectionManager, around: Surroundings) {
    codec_and_listener(cx, from.codec_type, around);
    if from.strip_matching_host_port && matches!(from.strip_port_mode, Some(StripPortMode::StripAnyHostPort(true))) {
        conflict(cx, "strip_any_host_port", "Error: Only one of `strip_matching_host_port` or `strip_any_host_port` can be set.");
    }
    if from.common_http_protocol_options.as_ref().is_some_and(|o| o.max_response_headers_kb.is_some()) {
        cx.at("common_http_protocol_options", |cx| {
            cx.at("max_response_headers_kb", |cx| {
                cx.error(codes::BAD_VALUE, "max_response_headers_kb is for clusters; here it is max_request_headers_kb")
                    .envoy("Error: max_response_headers_kb cannot be set on http_connection_manager.")
                    .on_key();
            });
        });
    }
    if !from.original_ip_detection_extensions.is_empty() {
        let said = "Original IP detection extensions and";
        if from.use_remote_address.unwrap_or(false) {
            conflict(cx, "use_remote_address", &format!("{said} use_remote_address may not be mixed"));
        }
        if from.xff_num_trusted_hops > 0 {
            conflict(cx, "xff_num_trusted_hops", &format!("{said} xff_num_trusted_hops may not be mixed"));
        }
    }
    header_field_size(cx, from);
    upgrades(cx, from);
}

/// Validators of headers are a kind of extension that Envoy is not built with either.
pub(super) fn no_header_validators(cx: &mut CompileCx<'_>, from: Option<&TypedExtensionConfig>) {
    let Some(from) = from else { return };
    cx.at("typed_header_validation_config", |cx| {
        cx.error(codes::BAD_VALUE, "there are no header validators to choose from: headers are always checked as Envoy checks them")
            .envoy(format!("This Envoy binary does not support header validator extensions.: '{}'", from.name))
            .help("leave typed_header_validation_config out")
            .on_key();
    });
}

fn conflict(cx: &mut CompileCx<'_>, field: &'static str, envoy: &str) {
    cx.at(field, |cx| {
        cx.error(codes::CONFLICT, format!("`{field}` does not go with another setting")).envoy(envoy).on_key();
    });
}

fn codec_and_listener(cx: &mut CompileCx<'_>, codec: i32, around: Surroundings) {
    let http3 = codec == CodecType::Http3 as i32;
    if http3 && !around.quic {
        cx.at("codec_type", |cx| {
            cx.error(codes::CONFLICT, "HTTP/3 needs a listener for QUIC; this one is for TCP")
                .envoy("HTTP/3 codec configured on non-QUIC listener.")
                .help("use codec_type: AUTO here, and a second listener with udp_listener_config for HTTP/3");
        });
    }
    if !http3 && around.quic {
        cx.at("codec_type", |cx| {
            cx.error(codes::CONFLICT, "a listener for QUIC speaks HTTP/3 only")
                .envoy("Non-HTTP/3 codec configured on QUIC listener.")
                .help("codec_type: HTTP3");
        });
    }
}

fn header_field_size(cx: &mut CompileCx<'_>, from: &proto::HttpConnectionManager) {
    let Some(field) = from.http2_protocol_options.as_ref().and_then(|o| o.max_header_field_size_kb) else { return };
    if field > from.max_request_headers_kb.unwrap_or(60) {
        cx.at("http2_protocol_options", |cx| {
            cx.at("max_header_field_size_kb", |cx| {
                cx.error(codes::CONFLICT, "one header field cannot be larger than all of them (max_request_headers_kb)")
                    .envoy("max_header_field_size_kb must not exceed max_request_headers_kb");
            });
        });
    }
}

/// Each upgrade once, and with a chain of its own only if that ends well.
fn upgrades(cx: &mut CompileCx<'_>, from: &proto::HttpConnectionManager) {
    let mut seen: HashSet<String> = HashSet::new();
    for (index, upgrade) in from.upgrade_configs.iter().enumerate() {
        cx.item("upgrade_configs", index, |cx| {
            if !seen.insert(upgrade.upgrade_type.to_ascii_lowercase()) {
                let name = &upgrade.upgrade_type;
                cx.at("upgrade_type", |cx| {
                    cx.error(codes::DUPLICATE_NAME, format!("the upgrade `{name}` stands here twice"))
                        .envoy(format!("Error: multiple upgrade configs with the same name: '{name}'"));
                });
            }
            super::filters::check_chain(cx, "filters", &upgrade.filters, "http");
        });
    }
}
