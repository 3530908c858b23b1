//! What a service is told of a request: `CheckRequest` for gRPC, headers and body for plain HTTP.

use super::config::{Settings, Told};
use crate::service::value;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request, TlsSession};
use nuncio_api::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use nuncio_codec::headers::Known;
use nuncio_core::{Certificate, NameKind, StreamCx};
use nuncio_rt::Address;
use std::{collections::HashMap, time::UNIX_EPOCH};

/// Tells the service whether the body is all of the body.
pub(super) const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";

/// The part of the body that is told.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) partial: bool,
    pub(super) as_bytes: bool,
}

/// The request's headers that a service is told, in their order.
pub(super) fn headers<'h>(cx: &'h StreamCx, settings: &'h Settings, told: &'h Told) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    let listed = |list: &[nuncio_core::matching::TextMatch], name: &[u8]| list.iter().any(|text| text.matches(name));
    cx.request.iter().map(|field| (field.name, field.value)).filter(move |(name, _)| {
        *name != PARTIAL_BODY.as_bytes()
            && !listed(&settings.disallowed_headers, name)
            && (told.all_headers || told.always(name) || listed(&settings.allowed_headers, name) || listed(&told.headers, name))
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An address as the API tells it.
pub(crate) fn address(from: &Address) -> core::Address {
    use core::address::Address as Kind;
    use core::socket_address::PortSpecifier;
    let kind = match from {
        Address::Ip(ip) => Kind::SocketAddress(core::SocketAddress {
            address: ip.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(u32::from(ip.port()))),
            ..core::SocketAddress::default()
        }),
        Address::Pipe(path) => Kind::Pipe(core::Pipe { path: path.display().to_string(), mode: 0 }),
        Address::Internal(to) => Kind::EnvoyInternalAddress(core::EnvoyInternalAddress {
            endpoint_id: to.endpoint.to_string(),
            address_name_specifier: Some(core::envoy_internal_address::AddressNameSpecifier::ServerListenerName(to.listener.to_string())),
        }),
    };
    core::Address { address: Some(kind) }
}

/// Whom a certificate is for: its URI, else its host name, else its subject.
pub(crate) fn principal(certificate: &Certificate) -> String {
    let first = |kind| certificate.names_of(&kind).next().map(str::to_owned);
    first(NameKind::Uri).or_else(|| first(NameKind::Dns)).unwrap_or_else(|| certificate.subject.clone())
}

/// The question for a gRPC service.
pub(super) fn request(cx: &StreamCx, settings: &Settings, told: &Told, extensions: HashMap<String, String>, body: Option<&Body>) -> CheckRequest {
    let mut fields: HashMap<String, String> = HashMap::new();
    let mut raw = Vec::new();
    for (name, value) in headers(cx, settings, told) {
        if settings.encode_raw_headers {
            raw.push(core::HeaderValue { key: text(name), value: String::new(), raw_value: value.to_vec() });
            continue;
        }
        let field = fields.entry(text(name)).or_default();
        if !field.is_empty() {
            field.push(',');
        }
        field.push_str(&String::from_utf8_lossy(value));
    }
    let mut http = HttpRequest {
        id: cx.worker.rng.next_u64().to_string(),
        method: text(cx.request.method().unwrap_or_default()),
        path: text(cx.request.path().unwrap_or_default()),
        host: text(cx.request.authority().unwrap_or_default()),
        scheme: text(cx.request.scheme().unwrap_or_default()),
        size: i64::try_from(cx.info.bytes_received).unwrap_or(i64::MAX),
        protocol: cx.info.protocol.name().to_owned(),
        ..HttpRequest::default()
    };
    if let Some(body) = body {
        let partial = if body.partial { "true" } else { "false" };
        if settings.encode_raw_headers {
            raw.push(core::HeaderValue { key: PARTIAL_BODY.to_owned(), value: String::new(), raw_value: partial.into() });
        } else {
            fields.insert(PARTIAL_BODY.to_owned(), partial.to_owned());
        }
        if body.as_bytes {
            http.raw_body.clone_from(&body.bytes);
        } else {
            http.body = text(&body.bytes);
        }
    }
    http.headers = fields;
    http.header_map = settings.encode_raw_headers.then_some(core::HeaderMap { headers: raw });
    let since = cx.info.start.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_micros() * 1000).unwrap_or(0),
    };
    let tls = cx.conn.tls_facts.as_deref();
    let (peer, own) = (tls.and_then(|tls| tls.peer_certificate()), tls.and_then(|tls| tls.local.as_ref()));
    let source = Peer {
        principal: peer.map(|peer| principal(peer)).unwrap_or_default(),
        certificate: peer.filter(|_| settings.peer_certificate).map(|peer| peer.url_encoded_pem()).unwrap_or_default(),
        address: Some(address(cx.info.remote.as_ref().unwrap_or(&cx.conn.remote))),
        service: cx.request.get(Known::XEnvoyDownstreamServiceCluster).map(text).unwrap_or_default(),
        ..Peer::default()
    };
    let route = cx.route.as_ref().and_then(|route| route.view());
    let sni = || TlsSession { sni: tls.and_then(|tls| tls.server_name.as_deref()).unwrap_or_default().to_owned() };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            destination: Some(Peer {
                address: Some(address(&cx.conn.local)),
                principal: own.map(|own| principal(own)).unwrap_or_default(),
                labels: settings.labels.clone(),
                ..Peer::default()
            }),
            request: Some(Request { time: Some(time), http: Some(http) }),
            context_extensions: extensions,
            metadata_context: Some(value::namespaces(Some(&cx.metadata), &settings.metadata)),
            route_metadata_context: Some(value::namespaces(route.and_then(|route| route.metadata()), &settings.route_metadata)),
            tls_session: settings.tls_session.then(sni),
        }),
    }
}
