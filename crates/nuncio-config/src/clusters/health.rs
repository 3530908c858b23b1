//! `HealthCheck` → [`HealthCheckConfig`].

use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3::Cluster;
use nuncio_api::envoy::config::core::v3 as proto;
use nuncio_api::envoy::r#type::v3::{CodecClientType, Int64Range};
use nuncio_api::envoy::extensions::health_checkers::redis::v3::Redis;
use nuncio_api::envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;
use nuncio_api::envoy::r#type::matcher::v3::StringMatcher;
use nuncio_core::proxy_protocol::ProxyVersion;
use nuncio_upstream::EventLog;
use nuncio_upstream::health::{
    GrpcHealthCheck, HeaderAppend, HealthCheckConfig, HealthCheckKind, HttpHealthCheck, Payload, Predicate, RedisHealthCheck,
    StatusRange, TcpHealthCheck,
};
use prost::{Message as _, Name as _};
use proto::header_value_option::HeaderAppendAction;
use std::time::Duration;

/// How much of an answer is looked through where `response_buffer_size` says all of it, in bytes.
const WHOLE_ANSWER: usize = 1024 * 1024;

/// One health check; `None` if its kind is not built.
pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &Cluster, from: &proto::HealthCheck) -> Option<HealthCheckConfig> {
    #[allow(deprecated)]
    let proto::HealthCheck {
        timeout,
        interval,
        initial_jitter,
        interval_jitter,
        interval_jitter_percent,
        unhealthy_threshold,
        healthy_threshold,
        alt_port,
        reuse_connection,
        no_traffic_interval,
        no_traffic_healthy_interval,
        unhealthy_interval,
        unhealthy_edge_interval,
        healthy_edge_interval,
        event_log_path,
        event_logger,
        event_service,
        always_log_health_check_failures,
        always_log_health_check_success,
        tls_options,
        transport_socket_match_criteria,
        name: _,
        health_checker,
    } = from;
    unbuilt!(cx, alt_port, event_service);
    let proto::health_check::TlsOptions { alpn_protocols } = tls_options.clone().unwrap_or_default();
    let transport_criteria = transport_socket_match_criteria.as_ref().map(super::metadata::transport_criteria);
    let mut events = cx.each("event_logger", event_logger, event_sink);
    if !event_log_path.is_empty() {
        events.push(EventLog(cx.log_files.file(event_log_path)));
    }
    let kind = match health_checker.as_ref()? {
        proto::health_check::HealthChecker::HttpHealthCheck(check) => {
            HealthCheckKind::Http(cx.at("http_health_check", |cx| http(cx, check)))
        }
        proto::health_check::HealthChecker::TcpHealthCheck(check) => HealthCheckKind::Tcp(cx.at("tcp_health_check", |cx| tcp(cx, check))),
        proto::health_check::HealthChecker::GrpcHealthCheck(check) => cx.at("grpc_health_check", |cx| {
            if !super::protocol::speaks_http2(cluster) {
                cx.error(codes::CONFLICT, "gRPC health checks need a cluster that speaks HTTP/2")
                    .envoy(format!("{} cluster must support HTTP/2 for gRPC healthchecking", cluster.name));
            }
            HealthCheckKind::Grpc(grpc(cx, check))
        }),
        proto::health_check::HealthChecker::CustomHealthCheck(check) => cx.at("custom_health_check", |cx| custom(cx, check))?,
    };
    let seconds = Duration::from_secs;
    Some(HealthCheckConfig {
        initial_jitter: cx.duration("initial_jitter", initial_jitter.as_ref()).unwrap_or_default(),
        interval_jitter: cx.duration("interval_jitter", interval_jitter.as_ref()).unwrap_or_default(),
        interval_jitter_percent: *interval_jitter_percent,
        unhealthy_threshold: unhealthy_threshold.unwrap_or(1),
        healthy_threshold: healthy_threshold.unwrap_or(1),
        reuse_connection: reuse_connection.unwrap_or(true),
        no_traffic_interval: cx.duration("no_traffic_interval", no_traffic_interval.as_ref()).unwrap_or(seconds(60)),
        no_traffic_healthy_interval: cx.duration("no_traffic_healthy_interval", no_traffic_healthy_interval.as_ref()),
        unhealthy_interval: cx.duration("unhealthy_interval", unhealthy_interval.as_ref()),
        unhealthy_edge_interval: cx.duration("unhealthy_edge_interval", unhealthy_edge_interval.as_ref()),
        healthy_edge_interval: cx.duration("healthy_edge_interval", healthy_edge_interval.as_ref()),
        events,
        log_every_failure: *always_log_health_check_failures,
        log_every_success: *always_log_health_check_success,
        alpn_protocols,
        transport_criteria,
        ..HealthCheckConfig::new(
            cx.duration("timeout", timeout.as_ref()).unwrap_or(seconds(1)),
            cx.duration("interval", interval.as_ref()).unwrap_or(seconds(5)),
            kind,
        )
    })
}

fn http(cx: &mut CompileCx<'_>, from: &proto::health_check::HttpHealthCheck) -> HttpHealthCheck {
    let proto::health_check::HttpHealthCheck {
        host,
        path,
        send,
        receive,
        response_buffer_size,
        request_headers_to_add,
        request_headers_to_remove,
        expected_statuses,
        retriable_statuses,
        codec_client_type,
        service_name_matcher,
        method,
        use_alpn_protocol,
    } = from;
    unbuilt!(cx, use_alpn_protocol);
    if *codec_client_type == CodecClientType::Http3 as i32 {
        cx.at("codec_client_type", |cx| {
            let codec = CodecClientType::try_from(*codec_client_type).map_or("", |c| c.as_str_name());
            cx.value_without_effect(&format!("codec_client_type {codec}")).note("the check is made over HTTP/1");
        });
    }
    let method = match proto::RequestMethod::try_from(*method).unwrap_or_default() {
        proto::RequestMethod::MethodUnspecified => "GET",
        other => other.as_str_name(),
    };
    HttpHealthCheck {
        host: host.clone(),
        path: path.clone(),
        method: method.into(),
        send: send.as_ref().and_then(|p| cx.at("send", |cx| payload(cx, p))),
        receive: cx.each("receive", receive, payload),
        response_buffer_size: match response_buffer_size {
            None => 1024,
            Some(0) => WHOLE_ANSWER,
            Some(size) => usize::try_from(*size).unwrap_or(WHOLE_ANSWER),
        },
        service_name: service_name_matcher.as_ref().and_then(|from| cx.at("service_name_matcher", |cx| service_name(cx, from))),
        headers_to_add: cx.each("request_headers_to_add", request_headers_to_add, header),
        headers_to_remove: request_headers_to_remove.iter().map(|name| name.to_ascii_lowercase()).collect(),
        expected_statuses: cx.each("expected_statuses", expected_statuses, status_range),
        retriable_statuses: cx.each("retriable_statuses", retriable_statuses, status_range),
        http2: *codec_client_type == CodecClientType::Http2 as i32,
    }
}

fn grpc(cx: &mut CompileCx<'_>, from: &proto::health_check::GrpcHealthCheck) -> GrpcHealthCheck {
    let proto::health_check::GrpcHealthCheck { service_name, authority, initial_metadata } = from;
    GrpcHealthCheck {
        service_name: service_name.clone(),
        authority: authority.clone(),
        initial_metadata: cx.each("initial_metadata", initial_metadata, header),
    }
}

/// Redis is the one that is built.
fn custom(cx: &mut CompileCx<'_>, from: &proto::health_check::CustomHealthCheck) -> Option<HealthCheckKind> {
    let proto::health_check::CustomHealthCheck { name, config_type } = from;
    let proto::health_check::custom_health_check::ConfigType::TypedConfig(config) = config_type.as_ref()?;
    if nuncio_api::schema::type_name(&config.type_url) != Redis::full_name() {
        let finding = cx.value_unsafe_without(&format!("the health checker `{name}`"));
        finding.note("hosts would count as healthy without ever being checked").help("take http_health_check, tcp_health_check, grpc_health_check or the Redis checker");
        return None;
    }
    let Redis { key, aws_iam } = Redis::decode(config.value.as_slice()).unwrap_or_default();
    cx.at("typed_config", |cx| unbuilt!(cx, aws_iam));
    Some(HealthCheckKind::Redis(RedisHealthCheck { key }))
}

fn service_name(cx: &mut CompileCx<'_>, from: &StringMatcher) -> Option<Predicate> {
    let matcher = crate::routes::text_matcher(cx, from)?;
    Some(Predicate::new(from.encode_to_vec(), move |name| matcher.matches(name)))
}

/// A sink of `event_logger`.
fn event_sink(cx: &mut CompileCx<'_>, from: &proto::TypedExtensionConfig) -> Option<EventLog> {
    let proto::TypedExtensionConfig { name, typed_config } = from;
    let config = typed_config.as_ref()?;
    if nuncio_api::schema::type_name(&config.type_url) != "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink" {
        cx.at("typed_config", |cx| cx.value_without_effect(&format!("the event sink `{name}`")).severity);
        return None;
    }
    let HealthCheckEventFileSink { event_log_path } = HealthCheckEventFileSink::decode(config.value.as_slice()).unwrap_or_default();
    (!event_log_path.is_empty()).then(|| EventLog(cx.log_files.file(&event_log_path)))
}

fn header(cx: &mut CompileCx<'_>, from: &proto::HeaderValueOption) -> Option<(String, String, HeaderAppend)> {
    #[allow(deprecated)]
    let proto::HeaderValueOption { header, append, append_action, keep_empty_value } = from;
    let proto::HeaderValue { key, value, raw_value } = header.as_ref()?;
    let value = if raw_value.is_empty() { value.clone() } else { String::from_utf8_lossy(raw_value).into_owned() };
    if value.is_empty() && !keep_empty_value {
        return None;
    }
    if value.contains('%') {
        cx.at("header", |cx| cx.at("value", |cx| cx.value_without_effect("formatting").note("the text is sent as it is").severity));
    }
    let action = match (append, HeaderAppendAction::try_from(*append_action).unwrap_or_default()) {
        (Some(true), _) | (None, HeaderAppendAction::AppendIfExistsOrAdd) => HeaderAppend::Append,
        (Some(false), _) | (None, HeaderAppendAction::OverwriteIfExistsOrAdd) => HeaderAppend::Overwrite,
        (None, HeaderAppendAction::AddIfAbsent) => HeaderAppend::IfAbsent,
        (None, HeaderAppendAction::OverwriteIfExists) => HeaderAppend::IfPresent,
    };
    Some((key.to_ascii_lowercase(), value, action))
}

/// Half-open, within 100 to 600.
fn status_range(cx: &mut CompileCx<'_>, from: &Int64Range) -> Option<StatusRange> {
    let Int64Range { start, end } = *from;
    let complaint = if start >= end {
        format!("Invalid http status range: expecting start < end, but found start={start} and end={end}")
    } else if start < 100 {
        format!("Invalid http status range: expecting start >= 100, but found start={start}")
    } else if end > 600 {
        format!("Invalid http status range: expecting end <= 600, but found end={end}")
    } else {
        return Some(StatusRange { start: start as u16, end: end as u16 });
    };
    cx.error(codes::BAD_VALUE, "a range of statuses is from 100 on, up to but without 600, and not empty").envoy(complaint);
    None
}

fn tcp(cx: &mut CompileCx<'_>, from: &proto::health_check::TcpHealthCheck) -> TcpHealthCheck {
    let proto::health_check::TcpHealthCheck { send, receive, proxy_protocol_config } = from;
    // Nobody is told of, so that there is nothing to pass on.
    let proxy = proxy_protocol_config.as_ref().map(|proto::ProxyProtocolConfig { version, pass_through_tlvs: _, added_tlvs: _ }| {
        if *version == proto::proxy_protocol_config::Version::V2 as i32 { ProxyVersion::V2 } else { ProxyVersion::V1 }
    });
    TcpHealthCheck {
        send: send.as_ref().and_then(|p| cx.at("send", |cx| payload(cx, p))),
        receive: cx.each("receive", receive, payload),
        proxy,
    }
}

fn payload(cx: &mut CompileCx<'_>, from: &proto::health_check::Payload) -> Option<Payload> {
    match from.payload.as_ref()? {
        proto::health_check::payload::Payload::Binary(bytes) => Some(bytes.as_slice().into()),
        proto::health_check::payload::Payload::Text(text) => match nuncio_core::from_hex(text) {
            Some(bytes) => Some(bytes.into()),
            None => {
                cx.at("text", |cx| {
                    cx.error(codes::BAD_VALUE, "bytes are written as pairs of hexadecimal digits: `000000FF`")
                        .envoy(format!("invalid hex string '{text}'"));
                });
                None
            }
        },
    }
}
