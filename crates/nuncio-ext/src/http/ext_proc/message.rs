//! What a service is told, and what its answers change.

use super::config::{RouteCache, Settings};
use super::link::Stats;
use super::{CLEAR_ROUTE_CACHE_DISABLED, CLEAR_ROUTE_CACHE_IGNORED, Dir, REJECTED_HEADER_MUTATIONS};
use crate::read;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::service::ext_proc::v3 as proto;
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_core::cel::{Program, Value as Attribute};
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{LocalReply, StreamCx};
use prost_types::{Struct, Value, value::Kind};
use std::collections::{BTreeMap, HashMap};

/// Under which attributes are told.
const NAMESPACE: &str = "envoy.filters.http.ext_proc";

/// The head of a direction.
pub(super) fn head(cx: &mut StreamCx, dir: Dir) -> &mut HeaderMap {
    match dir {
        Dir::Request => &mut cx.request,
        Dir::Response => &mut cx.response,
    }
}

/// The trailers of a direction.
pub(super) fn trailers(cx: &mut StreamCx, dir: Dir) -> &mut HeaderMap {
    match dir {
        Dir::Request => &mut cx.request_trailers,
        Dir::Response => &mut cx.response_trailers,
    }
}

/// Headers as they are told.
pub(super) fn header_map(from: &HeaderMap, settings: &Settings) -> core::HeaderMap {
    let listed = |list: &[nuncio_core::matching::TextMatch], name: &[u8]| list.iter().any(|text| text.matches(name));
    let told = |name: &[u8]| settings.allowed_headers.as_ref().is_none_or(|allowed| listed(allowed, name)) && !listed(&settings.disallowed_headers, name);
    let fields = from.iter().filter(|field| told(field.name)).map(|field| core::HeaderValue {
        key: String::from_utf8_lossy(field.name).into_owned(),
        value: String::new(),
        raw_value: field.value.to_vec(),
    });
    core::HeaderMap { headers: fields.collect() }
}

/// Attributes of the exchange; those that it has not are left out.
pub(super) fn attributes(cx: &StreamCx, programs: &[(Box<str>, Program)]) -> HashMap<String, Struct> {
    let fields: BTreeMap<String, Value> = programs.iter().filter_map(|(name, program)| Some((name.to_string(), told(program.value(cx).ok()?)?))).collect();
    if fields.is_empty() { HashMap::new() } else { HashMap::from([(NAMESPACE.to_owned(), Struct { fields })]) }
}

fn told(value: Attribute<'_>) -> Option<Value> {
    let kind = match value {
        Attribute::Bool(b) => Kind::BoolValue(b),
        Attribute::Int(n) => Kind::NumberValue(n as f64),
        Attribute::Uint(n) => Kind::NumberValue(n as f64),
        Attribute::Double(n) => Kind::NumberValue(n),
        Attribute::Text(text) => Kind::StringValue(String::from_utf8_lossy(&text).into_owned()),
        other => {
            let mut text = Vec::new();
            other.print(&mut text)?;
            Kind::StringValue(String::from_utf8_lossy(&text).into_owned())
        }
    };
    Some(Value { kind: Some(kind) })
}

/// Changes a head or trailers; the error is the details of an answer.
pub(super) fn mutate(
    cx: &mut StreamCx,
    which: fn(&mut StreamCx, Dir) -> &mut HeaderMap,
    dir: Dir,
    mutation: &proto::HeaderMutation,
    settings: &Settings,
    stats: &Stats,
) -> Result<(), &'static str> {
    let lane = cx.worker.lane;
    let reject = |details: &'static str| {
        stats.0.inc(lane, REJECTED_HEADER_MUTATIONS);
        if settings.rules.is_error { Err(details) } else { Ok(()) }
    };
    let map = which(cx, dir);
    for name in &mutation.remove_headers {
        let name = name.to_ascii_lowercase();
        match HeaderName::new(&name).filter(|_| !name.starts_with(':') && name != "host" && settings.rules.allows(&name)) {
            Some(name) => drop(map.remove(&name)),
            None => reject("header_mutation_remove_headers_failed")?,
        }
    }
    for option in &mutation.set_headers {
        let Some(header) = &option.header else { continue };
        let name = header.key.to_ascii_lowercase();
        // As on Envoy: the raw value is what counts.
        let value = header.raw_value.as_slice();
        let Some(known) = HeaderName::new(&name).filter(|_| is_value(value)) else {
            stats.0.inc(lane, REJECTED_HEADER_MUTATIONS);
            return Err("header_mutation_set_contains_invalid_character");
        };
        // How the body is framed is not the service's to say.
        if matches!(name.as_str(), "content-length" | "transfer-encoding") {
            continue;
        }
        if name == ":status" && !is_status(value) || !settings.rules.allows(&name) {
            reject("header_mutation_set_headers_failed")?;
            continue;
        }
        #[allow(deprecated, reason = "it is what Envoy obeys here, and not append_action")]
        if option.append == Some(true) && !name.starts_with(':') {
            map.append(&known, value);
        } else {
            map.insert(&known, value);
        }
    }
    Ok(())
}

/// Whether bytes may stand in a header's value (rfc9110#5.5).
fn is_value(value: &[u8]) -> bool {
    value.iter().all(|b| *b == b'\t' || *b >= 0x20 && *b != 0x7f)
}

fn is_status(value: &[u8]) -> bool {
    std::str::from_utf8(value).ok().and_then(|text| text.parse::<u16>().ok()).is_some_and(|status| (200..600).contains(&status))
}

/// Has the route looked up again, where that is wanted.
pub(super) fn route_cache(cx: &mut StreamCx, asked: bool, changed: bool, settings: &Settings, stats: &Stats) {
    match settings.route_cache {
        RouteCache::Retain if asked => stats.inc(cx, CLEAR_ROUTE_CACHE_DISABLED),
        RouteCache::Retain => {}
        RouteCache::Clear if changed => cx.route_is_stale = true,
        RouteCache::AsTold if asked && changed => cx.route_is_stale = true,
        RouteCache::AsTold if asked => stats.inc(cx, CLEAR_ROUTE_CACHE_IGNORED),
        _ => {}
    }
}

/// Keeps what the service tells as metadata, of the namespaces it may tell.
pub(super) fn receive_metadata(cx: &mut StreamCx, from: Option<&Struct>, allowed: &[Box<str>]) {
    for (namespace, value) in from.iter().flat_map(|from| &from.fields) {
        let Some(Kind::StructValue(fields)) = &value.kind else { continue };
        if !allowed.iter().any(|name| **name == **namespace) {
            continue;
        }
        let told = read::fields(fields);
        match cx.metadata.entry(namespace.clone()).or_insert_with(|| MetadataValue::Struct(BTreeMap::new())) {
            MetadataValue::Struct(fields) => fields.extend(told),
            other => *other = MetadataValue::Struct(told),
        }
    }
}

/// The answer that the service gives.
pub(super) fn immediate(from: &proto::ImmediateResponse) -> LocalReply {
    let status = from.status.as_ref().and_then(|status| u16::try_from(status.code).ok()).filter(|status| (200..600).contains(status));
    let details = from.details.replace(char::is_whitespace, "_");
    let mut reply = LocalReply::new(status.unwrap_or(200), details).body(String::from_utf8_lossy(&from.body).into_owned());
    reply.grpc_status = from.grpc_status.as_ref().map(|status| status.status);
    for option in from.headers.iter().flat_map(|headers| &headers.set_headers) {
        let Some(header) = &option.header else { continue };
        let name = header.key.to_ascii_lowercase();
        let value = header.raw_value.as_slice();
        let framing = matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") || name.starts_with(':');
        if !framing && HeaderName::new(&name).is_some() && is_value(value) {
            reply = reply.header(name, String::from_utf8_lossy(value));
        }
    }
    reply
}
