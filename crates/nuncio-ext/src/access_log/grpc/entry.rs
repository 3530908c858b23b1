//! An exchange as an access log service is told of it.

use crate::http::ext_authz::check::address;
use crate::service::value;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::data::accesslog::v3::tls_properties::certificate_properties::{SubjectAltName, subject_alt_name::San};
use nuncio_api::envoy::data::accesslog::v3::tls_properties::{CertificateProperties, TlsVersion};
use nuncio_api::envoy::data::accesslog::v3::{
    AccessLogCommon, AccessLogType, ConnectionProperties, HttpAccessLogEntry, HttpRequestProperties, HttpResponseProperties, ResponseFlags,
    TcpAccessLogEntry, TlsProperties, http_access_log_entry::HttpVersion, response_flags,
};
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::{Certificate, ConnInfo, CustomTag, NameKind, Protocol, ResponseFlags as Flags, StreamCx};
use nuncio_rt::{Address, Time};
use prost::Message as _;
use std::{collections::HashMap, time::SystemTime};

/// What entries carry by configuration.
#[derive(Debug)]
pub(super) struct Wanted {
    /// `filter_state_objects_to_log`
    pub(super) filter_state: Vec<String>,
    /// `custom_tags`
    pub(super) tags: Box<[CustomTag]>,
}

/// An HTTP exchange, with the request's headers, the response's and its trailers that are wanted.
pub(super) fn http(cx: &StreamCx, wanted: &Wanted, [request, response, trailers]: [&[HeaderName]; 3]) -> HttpAccessLogEntry {
    let info = &cx.info;
    let version = match info.protocol {
        Protocol::None => HttpVersion::ProtocolUnspecified,
        Protocol::Http10 => HttpVersion::Http10,
        Protocol::Http11 => HttpVersion::Http11,
        Protocol::Http2 => HttpVersion::Http2,
        Protocol::Http3 => HttpVersion::Http3,
    };
    HttpAccessLogEntry {
        common_properties: Some(common(cx, wanted)),
        protocol_version: version as i32,
        request: Some(HttpRequestProperties {
            request_headers: chosen(&cx.request, request),
            request_headers_bytes: cx.request.byte_size() as u64,
            request_body_bytes: info.bytes_received,
            downstream_header_bytes_received: info.downstream.headers_received,
            upstream_header_bytes_sent: info.upstream.bytes.headers_sent,
            ..request_properties(&cx.request)
        }),
        response: Some(HttpResponseProperties {
            response_code: (info.status != 0).then_some(u32::from(info.status)),
            response_code_details: info.details.to_string(),
            response_headers: chosen(&cx.response, response),
            response_headers_bytes: cx.response.byte_size() as u64,
            response_body_bytes: info.bytes_sent,
            response_trailers: chosen(&cx.response_trailers, trailers),
            downstream_header_bytes_sent: info.downstream.headers_sent,
            upstream_header_bytes_received: info.upstream.bytes.headers_received,
        }),
    }
}

/// A connection, or an exchange that is told of as one.
pub(super) fn tcp(cx: &StreamCx, wanted: &Wanted) -> TcpAccessLogEntry {
    let connection = ConnectionProperties { received_bytes: cx.info.bytes_received, sent_bytes: cx.info.bytes_sent };
    TcpAccessLogEntry { common_properties: Some(common(cx, wanted)), connection_properties: Some(connection) }
}

fn text(head: &HeaderMap, name: Known) -> String {
    head.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

fn request_properties(head: &HeaderMap) -> HttpRequestProperties {
    let method = head.get_str(Known::Method).and_then(core::RequestMethod::from_str_name);
    HttpRequestProperties {
        request_method: method.unwrap_or(core::RequestMethod::MethodUnspecified) as i32,
        scheme: text(head, Known::Scheme),
        authority: text(head, Known::Authority),
        path: text(head, Known::Path),
        user_agent: text(head, Known::UserAgent),
        referer: text(head, Known::Referer),
        forwarded_for: text(head, Known::XForwardedFor),
        request_id: text(head, Known::XRequestId),
        original_path: text(head, Known::XEnvoyOriginalPath),
        ..HttpRequestProperties::default()
    }
}

fn chosen(head: &HeaderMap, names: &[HeaderName]) -> HashMap<String, String> {
    let value = |name: &HeaderName| {
        let values: Vec<_> = head.get_all(name).map(String::from_utf8_lossy).collect();
        (!values.is_empty()).then(|| (name.as_str().to_owned(), values.join(",")))
    };
    names.iter().filter_map(value).collect()
}

fn common(cx: &StreamCx, wanted: &Wanted) -> AccessLogCommon {
    let (info, conn) = (&cx.info, &*cx.conn);
    let timings = &info.timings;
    let after = |at: Option<Time>| at.filter(|at| *at >= info.start).map(|at| at.since(info.start)).and_then(|took| took.try_into().ok());
    let state = wanted.filter_state.iter().filter_map(|key| Some((key.clone(), string_value(cx.filter_state.get(key)?))));
    AccessLogCommon {
        downstream_remote_address: Some(address(info.remote.as_ref().unwrap_or(&conn.remote))),
        downstream_local_address: Some(address(&conn.local)),
        downstream_direct_remote_address: Some(address(&conn.direct_remote)),
        tls_properties: tls(conn),
        start_time: Some(timestamp(info.start.wall())),
        duration: after(info.end),
        time_to_last_rx_byte: after(timings.request_received),
        time_to_first_upstream_tx_byte: after(timings.upstream_first_tx),
        time_to_last_upstream_tx_byte: after(timings.upstream_last_tx),
        time_to_first_upstream_rx_byte: after(timings.upstream_first_rx),
        time_to_last_upstream_rx_byte: after(timings.upstream_last_rx),
        time_to_first_downstream_tx_byte: after(timings.response_first_tx),
        time_to_last_downstream_tx_byte: after(timings.response_last_tx),
        upstream_remote_address: info.upstream.host.as_ref().map(|host| address(&host.address)),
        upstream_local_address: info.upstream.local.map(|local| address(&Address::Ip(local))),
        upstream_cluster: match (&info.upstream.host, &info.upstream.cluster) {
            (Some(_), Some(cluster)) => cluster.name.to_string(),
            _ => String::new(),
        },
        upstream_transport_failure_reason: info.upstream.transport_failure.to_string(),
        downstream_transport_failure_reason: conn.transport_failure.to_string(),
        response_flags: flags(info.flags),
        metadata: (!cx.metadata.is_empty()).then(|| value::all(&cx.metadata)),
        route_name: cx.route.as_ref().and_then(|route| route.view()).map(|route| route.name().to_owned()).unwrap_or_default(),
        filter_state_objects: state.collect(),
        custom_tags: wanted.tags.iter().filter_map(|tag| Some((tag.name.to_string(), tag.value(cx)?))).collect(),
        upstream_request_attempt_count: info.attempts,
        connection_termination_details: info.termination_details.to_string(),
        stream_id: stream_id(cx),
        downstream_wire_bytes_sent: info.downstream.sent,
        downstream_wire_bytes_received: info.downstream.received,
        upstream_wire_bytes_sent: info.upstream.bytes.sent,
        upstream_wire_bytes_received: info.upstream.bytes.received,
        access_log_type: AccessLogType::from_str_name(info.log_moment().name()).unwrap_or(AccessLogType::NotSet) as i32,
        ..AccessLogCommon::default()
    }
}

/// The request's id; a connection has a number of its own for each entry.
fn stream_id(cx: &StreamCx) -> String {
    match cx.info.protocol {
        Protocol::None => String::from_utf8_lossy(&cx.worker.rng.uuid_text()).into_owned(),
        _ => text(&cx.request, Known::XRequestId),
    }
}

/// An object of the filter state: all there are here are texts.
fn string_value(text: &[u8]) -> prost_types::Any {
    let value = String::from_utf8_lossy(text).into_owned().encode_to_vec();
    prost_types::Any { type_url: "type.googleapis.com/google.protobuf.StringValue".to_owned(), value }
}

fn timestamp(at: SystemTime) -> prost_types::Timestamp {
    prost_types::Timestamp::from(at)
}

fn tls(conn: &ConnInfo) -> Option<TlsProperties> {
    let name = conn.server_name.as_deref().unwrap_or_default();
    let mut told = TlsProperties { tls_sni_hostname: name.to_owned(), ..TlsProperties::default() };
    let Some(facts) = &conn.tls_facts else { return (!told.tls_sni_hostname.is_empty()).then_some(told) };
    told.tls_version = match facts.version {
        "TLSv1.2" => TlsVersion::TlSv12,
        "TLSv1.3" => TlsVersion::TlSv13,
        _ => TlsVersion::VersionUnspecified,
    } as i32;
    told.ja3_fingerprint = conn.fingerprints.as_ref().map(|made| made.ja3.clone()).unwrap_or_default();
    told.tls_cipher_suite = Some(facts.cipher_id());
    told.local_certificate_properties = Some(certificate(facts.local.as_deref()));
    told.peer_certificate_properties = Some(certificate(facts.peer_certificate().map(|of| &**of)));
    Some(told)
}

fn certificate(from: Option<&Certificate>) -> CertificateProperties {
    let Some(from) = from else { return CertificateProperties::default() };
    let uris = from.names_of(&NameKind::Uri).map(|uri| SubjectAltName { san: Some(San::Uri(uri.to_owned())) });
    CertificateProperties { subject_alt_name: uris.collect(), subject: from.subject.clone(), ..CertificateProperties::default() }
}

fn flags(flags: Flags) -> Option<ResponseFlags> {
    let has = |flag: Flags| flags.has(flag);
    let reason = response_flags::unauthorized::Reason::ExternalService as i32;
    let told = ResponseFlags {
        failed_local_healthcheck: has(Flags::LH),
        no_healthy_upstream: has(Flags::UH),
        upstream_request_timeout: has(Flags::UT),
        local_reset: has(Flags::LR),
        upstream_remote_reset: has(Flags::UR),
        upstream_connection_failure: has(Flags::UF),
        upstream_connection_termination: has(Flags::UC),
        upstream_overflow: has(Flags::UO),
        no_route_found: has(Flags::NR),
        delay_injected: has(Flags::DI),
        fault_injected: has(Flags::FI),
        rate_limited: has(Flags::RL),
        unauthorized_details: has(Flags::UAEX).then_some(response_flags::Unauthorized { reason }),
        rate_limit_service_error: has(Flags::RLSE),
        downstream_connection_termination: has(Flags::DC),
        upstream_retry_limit_exceeded: has(Flags::URX),
        stream_idle_timeout: has(Flags::SI),
        invalid_envoy_request_headers: has(Flags::IH),
        downstream_protocol_error: has(Flags::DPE),
        upstream_max_stream_duration_reached: has(Flags::UMSDR),
        response_from_cache_filter: has(Flags::RFCF),
        no_filter_config_found: has(Flags::NFCF),
        duration_timeout: has(Flags::DT),
        upstream_protocol_error: has(Flags::UPE),
        no_cluster_found: has(Flags::NC),
        overload_manager: has(Flags::OM),
        dns_resolution_failure: has(Flags::DF),
        downstream_remote_reset: has(Flags::DR),
    };
    (told != ResponseFlags::default()).then_some(told)
}
