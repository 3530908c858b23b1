//! What an exchange has to tell: Envoy's attributes (`request.*`, `response.*`, `connection.*`, …).
//!
//! What is not known (yet) is missing, as a key of a map is.

use super::value::{Map, Value};
use crate::{Certificate, NameKind, StreamCx, TlsFacts, grpc};
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_rt::Address;
use std::{borrow::Cow, time::Duration};

/// A group of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `request`
    Request,
    /// `response`
    Response,
    /// `connection`
    Connection,
    /// `source`
    Source,
    /// `destination`
    Destination,
    /// `upstream`
    Upstream,
    /// `xds`
    Xds,
}

/// Attributes that Envoy has and that are not built: whoever asks for one is told so when the expression is read.
pub(super) const UNBUILT: [(&str, &[&str]); 3] = [
    ("xds", &["node", "listener_metadata", "listener_direction", "virtual_host_metadata", "upstream_host_locality_metadata"]),
    ("upstream", &["locality", "num_endpoints", "cx_pool_ready_duration"]),
    ("connection", &["transport_failure_reason"]),
];

/// The value of a name that stands alone.
pub(super) fn name<'a>(name: &str, cx: &'a StreamCx) -> Option<Value<'a>> {
    Some(Value::Map(match name {
        "request" => Map::Root(Root::Request),
        "response" => Map::Root(Root::Response),
        "connection" => Map::Root(Root::Connection),
        "source" => Map::Root(Root::Source),
        "destination" => Map::Root(Root::Destination),
        "upstream" => Map::Root(Root::Upstream),
        "xds" => Map::Root(Root::Xds),
        "metadata" => Map::Metadata(&cx.metadata),
        "filter_state" => Map::State(&cx.filter_state),
        "int" => return Some(Value::Type("int")),
        "uint" => return Some(Value::Type("uint")),
        "double" => return Some(Value::Type("double")),
        "bool" => return Some(Value::Type("bool")),
        "string" => return Some(Value::Type("string")),
        "bytes" => return Some(Value::Type("bytes")),
        "list" => return Some(Value::Type("list")),
        "map" => return Some(Value::Type("map")),
        "null_type" => return Some(Value::Type("null_type")),
        _ => return None,
    }))
}

/// An attribute of a group.
pub(super) fn field<'a>(root: Root, field: &str, cx: &'a StreamCx) -> Option<Value<'a>> {
    match root {
        Root::Request => request(field, cx),
        Root::Response => response(field, cx),
        Root::Connection => connection(field, cx),
        Root::Source => address(field, cx.info.remote.as_ref().unwrap_or(&cx.conn.remote)),
        Root::Destination => address(field, &cx.conn.local),
        Root::Upstream => upstream(field, cx),
        Root::Xds => xds(field, cx),
    }
}

/// A header's values, joined with commas; `host` is the authority.
pub(super) fn header<'a>(map: &'a HeaderMap, name: &[u8]) -> Option<Value<'a>> {
    let name = if name.eq_ignore_ascii_case(b"host") { &b":authority"[..] } else { name };
    let name = HeaderName::new(std::str::from_utf8(name).ok()?)?;
    let values: Vec<&[u8]> = map.iter().filter(|entry| entry.name.eq_ignore_ascii_case(name.as_str().as_bytes())).map(|entry| entry.value).collect();
    match values.as_slice() {
        [] => None,
        [only] => Some(Value::text(only)),
        several => Some(Value::Text(Cow::Owned(several.join(&b',')))),
    }
}

fn known(head: &HeaderMap, name: Known) -> Option<Value<'_>> {
    head.get(name).map(Value::text)
}

fn int(n: u64) -> Value<'static> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn nanos(of: Duration) -> Value<'static> {
    Value::Duration(i64::try_from(of.as_nanos()).unwrap_or(i64::MAX))
}

fn non_empty(text: &str) -> Option<Value<'_>> {
    (!text.is_empty()).then(|| Value::text(text.as_bytes()))
}

fn request<'a>(field: &str, cx: &'a StreamCx) -> Option<Value<'a>> {
    let head = &cx.request;
    let path = || head.path().unwrap_or_default();
    let end_of_path = || path().iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path().len());
    Some(match field {
        "headers" => Value::Map(Map::Headers(head)),
        "path" => Value::text(head.path()?),
        "url_path" => Value::text(&path()[..end_of_path()]),
        "query" => {
            let rest = path().iter().position(|b| *b == b'?').map_or(&[][..], |at| &path()[at + 1..]);
            Value::text(rest.split(|b| *b == b'#').next().unwrap_or_default())
        }
        "host" => Value::text(head.authority()?),
        "scheme" => Value::text(head.scheme()?),
        "method" => Value::text(head.method()?),
        "referer" => known(head, Known::Referer)?,
        "useragent" => known(head, Known::UserAgent)?,
        "id" => known(head, Known::XRequestId)?,
        "time" => {
            let since = cx.info.start.wall().duration_since(std::time::UNIX_EPOCH).ok()?;
            Value::Timestamp(i64::try_from(since.as_nanos()).ok()?)
        }
        "protocol" => non_empty(cx.info.protocol.name())?,
        "size" => {
            let told = head.get_str(Known::ContentLength).and_then(|text| text.parse().ok());
            int(told.unwrap_or(cx.info.bytes_received))
        }
        "total_size" => int(cx.info.bytes_received + head.byte_size() as u64),
        "duration" => nanos(cx.info.end?.since(cx.info.start)),
        _ => return None,
    })
}

fn response<'a>(field: &str, cx: &'a StreamCx) -> Option<Value<'a>> {
    let info = &cx.info;
    let code = if info.status != 0 { Some(info.status) } else { cx.response.status() };
    Some(match field {
        "code" => int(code?.into()),
        "code_details" => non_empty(&info.details)?,
        "flags" => int(info.flags.bits().into()),
        "headers" => Value::Map(Map::Headers(&cx.response)),
        "trailers" => Value::Map(Map::Headers(&cx.response_trailers)),
        "size" => int(info.bytes_sent),
        "total_size" => int(info.bytes_sent + (cx.response.byte_size() + cx.response_trailers.byte_size()) as u64),
        "grpc_status" => {
            code?;
            int(grpc::status(cx).into())
        }
        "backend_latency" => {
            let (sent, last) = (info.timings.upstream_first_tx?, info.timings.upstream_last_rx?);
            nanos(last.since(sent))
        }
        _ => return None,
    })
}

fn connection<'a>(field: &str, cx: &'a StreamCx) -> Option<Value<'a>> {
    let conn = &cx.conn;
    match field {
        "mtls" => return Some(Value::Bool(conn.tls_facts.as_deref().is_some_and(|tls| tls.peer_certificate().is_some()))),
        "requested_server_name" => return Some(Value::text(conn.server_name.as_deref().unwrap_or_default().as_bytes())),
        "id" => return Some(Value::Uint(conn.id)),
        "termination_details" => return non_empty(&cx.info.termination_details),
        _ => {}
    }
    of_tls(field, conn.tls_facts.as_deref()?)
}

/// What both sides' connections have.
fn of_tls<'a>(field: &str, tls: &'a TlsFacts) -> Option<Value<'a>> {
    let first = |of: Option<&'a Certificate>, kind: NameKind| {
        let names = &of?.names;
        non_empty(names.iter().find(|(own, _)| *own == kind).map(|(_, name)| name.as_str())?)
    };
    let (local, peer) = (tls.local.as_deref(), tls.peer_certificate().map(|peer| &**peer));
    match field {
        "tls_version" => non_empty(tls.version),
        "subject_local_certificate" => non_empty(&local?.subject),
        "subject_peer_certificate" => non_empty(&peer?.subject),
        "uri_san_local_certificate" => first(local, NameKind::Uri),
        "uri_san_peer_certificate" => first(peer, NameKind::Uri),
        "dns_san_local_certificate" => first(local, NameKind::Dns),
        "dns_san_peer_certificate" => first(peer, NameKind::Dns),
        "sha256_peer_certificate_digest" => Some(Value::Text(Cow::Owned(crate::hex(&peer?.sha256).into_bytes()))),
        _ => None,
    }
}

fn address<'a>(field: &str, of: &'a Address) -> Option<Value<'a>> {
    match (field, of) {
        ("address", Address::Ip(address)) => Some(Value::Text(Cow::Owned(address.to_string().into_bytes()))),
        ("address", Address::Pipe(path)) => Some(Value::Text(Cow::Owned(path.to_string_lossy().into_owned().into_bytes()))),
        ("address", Address::Internal(_)) => Some(Value::Text(Cow::Owned(of.to_string().into_bytes()))),
        ("port", Address::Ip(address)) => Some(Value::Int(address.port().into())),
        _ => None,
    }
}

fn upstream<'a>(field: &str, cx: &'a StreamCx) -> Option<Value<'a>> {
    let upstream = &cx.info.upstream;
    match field {
        "address" | "port" => address(field, &upstream.host.as_deref()?.address),
        "local_address" => Some(Value::Text(Cow::Owned(upstream.local?.to_string().into_bytes()))),
        "request_attempt_count" => Some(Value::Uint(cx.info.attempts.into())),
        "transport_failure_reason" => non_empty(&upstream.transport_failure),
        _ => of_tls(field, upstream.tls.as_deref()?),
    }
}

fn xds<'a>(field: &str, cx: &'a StreamCx) -> Option<Value<'a>> {
    let upstream = &cx.info.upstream;
    let route = || cx.route.as_ref().and_then(|route| route.view());
    Some(match field {
        "cluster_name" => non_empty(&upstream.cluster.as_deref()?.name)?,
        "cluster_metadata" => Value::Map(Map::Metadata(upstream.cluster.as_deref()?.metadata.as_deref()?)),
        "upstream_host_metadata" => Value::Map(Map::Metadata(upstream.host.as_deref()?.metadata.as_deref()?)),
        "route_name" => Value::text(route()?.name().as_bytes()),
        "route_metadata" => Value::Map(Map::Metadata(route()?.metadata()?)),
        "virtual_host_name" => Value::text(route()?.virtual_host_name().as_bytes()),
        "filter_chain_name" => Value::text(cx.conn.filter_chain.as_bytes()),
        _ => return None,
    })
}
