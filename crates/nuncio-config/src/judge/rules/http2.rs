//! `Http2ProtocolOptions`: SETTINGS parameters by name and by number.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3::Http2ProtocolOptions;
use std::collections::HashMap;

/// Numbers of RFC 9113 §6.5.2 and RFC 8441.
const ENABLE_PUSH: u32 = 2;
const ENABLE_CONNECT_PROTOCOL: u32 = 8;

pub(super) fn check(cx: &mut CompileCx<'_>, options: &Http2ProtocolOptions) {
    let named = [
        (1, "hpack_table_size", options.hpack_table_size.is_some()),
        (3, "max_concurrent_streams", options.max_concurrent_streams.is_some()),
        (4, "initial_stream_window_size", options.initial_stream_window_size.is_some()),
    ];
    let mut seen: HashMap<u32, u32> = HashMap::new();
    let mut twice: Vec<&str> = Vec::new();
    let mut inconsistent: Vec<u32> = Vec::new();
    for parameter in &options.custom_settings_parameters {
        let (Some(identifier), Some(value)) = (parameter.identifier, parameter.value) else { continue };
        if seen.insert(identifier, value).is_some_and(|earlier| earlier != value) && !inconsistent.contains(&identifier) {
            inconsistent.push(identifier);
        }
        if identifier == ENABLE_PUSH && value == 1 {
            refuse(cx, "server push is not supported by Envoy and can not be enabled via a SETTINGS parameter.");
        }
        if identifier == ENABLE_CONNECT_PROTOCOL {
            refuse(cx, "the \"allow_connect\" SETTINGS parameter must only be configured through the named field");
        }
        twice.extend(named.iter().filter(|(n, _, set)| *n == identifier && *set).map(|(_, name, _)| *name));
    }
    twice.sort_unstable();
    twice.dedup();
    if !twice.is_empty() {
        let names = twice.join(",");
        refuse(cx, &format!("the {{{names}}} HTTP/2 SETTINGS parameter(s) can not be configured through both named and custom parameters"));
    }
    if !inconsistent.is_empty() {
        let numbers: Vec<String> = inconsistent.iter().map(|n| format!("0x{n:02x}")).collect();
        refuse(cx, &format!("inconsistent HTTP/2 custom SETTINGS parameter(s) detected; identifiers = {{{}}}", numbers.join(",")));
    }
}

fn refuse(cx: &mut CompileCx<'_>, envoy: &str) {
    cx.at("custom_settings_parameters", |cx| {
        cx.error(codes::CONFLICT, "this SETTINGS parameter cannot be set here").envoy(envoy);
    });
}
