//! `envoy.access_loggers.http_grpc` and `.tcp_grpc`: entries for an access log service, streamed to it in batches.
//!
//! Each worker keeps a stream per configuration, whatever the number of loggers that have it. A service that does not
//! take what it is sent costs entries, which are counted, never traffic.

mod entry;
mod queue;

use crate::{custom_tags, read, service::grpc::GrpcService};
use entry::Wanted;
use nuncio_api::envoy::extensions::access_loggers::grpc::v3 as proto;
use nuncio_codec::headers::HeaderName;
use nuncio_core::{AccessLogCx, AccessLogEntry, AccessLogger, BuildCx, ConfigError, FilterConfig, StreamCx};
use nuncio_stats::{Scope, tables::grpc_access_log::GRPC_ACCESS_LOG};
use prost::Message;
use queue::Entry;
use std::{sync::Arc, time::Duration};

/// `envoy.access_loggers.http_grpc`.
pub static HTTP_GRPC: AccessLogEntry = AccessLogEntry {
    name: "envoy.access_loggers.http_grpc",
    message: "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
    build: build_http,
};

/// `envoy.access_loggers.tcp_grpc`.
pub static TCP_GRPC: AccessLogEntry = AccessLogEntry {
    name: "envoy.access_loggers.tcp_grpc",
    message: "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig",
    build: build_tcp,
};

/// How long entries wait at most, where nothing is said.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of entries that are sent at once, where nothing is said.
const BUFFER_BYTES: usize = 16_384;

/// What all workers have in common.
#[derive(Debug)]
struct Shared {
    /// The configuration, by which loggers share streams, and whether entries are HTTP's.
    key: (Vec<u8>, bool),
    service: GrpcService,
    log_name: String,
    interval: Duration,
    /// `buffer_size_bytes`; 0 sends each entry by itself.
    most: usize,
    stats: Arc<Scope>,
}

#[derive(Debug)]
struct HttpGrpc {
    shared: Arc<Shared>,
    wanted: Wanted,
    request_headers: Box<[HeaderName]>,
    response_headers: Box<[HeaderName]>,
    response_trailers: Box<[HeaderName]>,
}

impl AccessLogger for HttpGrpc {
    fn log(&self, stream: &StreamCx) {
        let queue = queue::of_worker(&self.shared, &stream.worker);
        if !queue.takes_more(&self.shared, &stream.worker) {
            return;
        }
        let entry = entry::http(stream, &self.wanted, [&self.request_headers, &self.response_headers, &self.response_trailers]);
        queue.add(&self.shared, &stream.worker, Entry::Http(Box::new(entry)));
    }
}

#[derive(Debug)]
struct TcpGrpc {
    shared: Arc<Shared>,
    wanted: Wanted,
}

impl AccessLogger for TcpGrpc {
    fn log(&self, stream: &StreamCx) {
        let entry = Entry::Tcp(Box::new(entry::tcp(stream, &self.wanted)));
        queue::of_worker(&self.shared, &stream.worker).add(&self.shared, &stream.worker, entry);
    }
}

fn decode<M: Message + Default>(config: FilterConfig<'_>) -> Result<M, ConfigError> {
    M::decode(config.value).map_err(|error| ConfigError::at("", format!("cannot be decoded: {error}")))
}

fn build_http(config: FilterConfig<'_>, cx: &mut AccessLogCx<'_>) -> Result<Arc<dyn AccessLogger>, ConfigError> {
    let proto::HttpGrpcAccessLogConfig {
        common_config,
        additional_request_headers_to_log: request,
        additional_response_headers_to_log: response,
        additional_response_trailers_to_log: trailers,
    } = decode(config)?;
    let (shared, wanted) = common(common_config.as_ref(), true, cx)?;
    Ok(Arc::new(HttpGrpc {
        shared,
        wanted,
        request_headers: names("additional_request_headers_to_log", &request)?,
        response_headers: names("additional_response_headers_to_log", &response)?,
        response_trailers: names("additional_response_trailers_to_log", &trailers)?,
    }))
}

fn build_tcp(config: FilterConfig<'_>, cx: &mut AccessLogCx<'_>) -> Result<Arc<dyn AccessLogger>, ConfigError> {
    let proto::TcpGrpcAccessLogConfig { common_config } = decode(config)?;
    let (shared, wanted) = common(common_config.as_ref(), false, cx)?;
    Ok(Arc::new(TcpGrpc { shared, wanted }))
}

fn names(field: &str, list: &[String]) -> Result<Box<[HeaderName]>, ConfigError> {
    let name = |(index, name): (usize, &String)| {
        read::header_name(name).map_err(|error| ConfigError::at(format!("{field}[{index}]"), error.message))
    };
    list.iter().enumerate().map(name).collect()
}

fn common(from: Option<&proto::CommonGrpcAccessLogConfig>, http: bool, cx: &mut AccessLogCx<'_>) -> Result<(Arc<Shared>, Wanted), ConfigError> {
    let config = from.ok_or_else(|| ConfigError::at("common_config", "is missing"))?;
    let proto::CommonGrpcAccessLogConfig {
        log_name,
        grpc_service,
        transport_api_version: _,
        buffer_flush_interval,
        buffer_size_bytes,
        filter_state_objects_to_log,
        grpc_stream_retry_policy,
        custom_tags,
    } = config;
    let field = "common_config.grpc_service";
    let from = grpc_service.as_ref().ok_or_else(|| ConfigError::at(field, "is missing"))?;
    let mut build = BuildCx::new(cx.stats, "");
    let mut service = GrpcService::read(field, from, Duration::ZERO, &mut build)?;
    let BuildCx { warnings, unsafe_without, .. } = build;
    cx.warnings.extend(warnings);
    cx.unsafe_without.extend(unsafe_without);
    if let Some(retry) = grpc_stream_retry_policy {
        service.set_retry(crate::service::retry("common_config.grpc_stream_retry_policy", Some(retry), &mut cx.warnings));
    }
    let mut tags = Vec::new();
    for (index, tag) in custom_tags.iter().enumerate() {
        let at = |error: ConfigError| ConfigError::at(format!("common_config.custom_tags[{index}]"), error.message);
        tags.extend(custom_tags::read(tag, &mut cx.warnings).map_err(at)?);
    }
    let shared = Shared {
        key: (config.encode_to_vec(), http),
        service,
        log_name: log_name.clone(),
        interval: buffer_flush_interval.as_ref().map_or(FLUSH_INTERVAL, read::duration).max(Duration::from_millis(1)),
        most: buffer_size_bytes.map_or(BUFFER_BYTES, |bytes| bytes as usize),
        stats: cx.stats.scope("access_logs.grpc_access_log.", &GRPC_ACCESS_LOG),
    };
    Ok((Arc::new(shared), Wanted { filter_state: filter_state_objects_to_log.clone(), tags: tags.into() }))
}
