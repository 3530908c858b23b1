//! The router filter's own options.

use crate::context::CompileCx;
use crate::{access_log, unsafe_unbuilt};
use nuncio_api::envoy::config::accesslog::v3::AccessLog;
use nuncio_api::envoy::extensions::filters::http::router::v3 as proto;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter::ConfigType};
use nuncio_codec::headers::classify;
use nuncio_http::config::{RouterOptions, UpstreamLog};
use proto::router::UpstreamAccessLogOptions;
use std::sync::Arc;

const UPSTREAM_CODEC: &str = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::Router) -> RouterOptions {
    #[allow(deprecated)]
    let proto::Router {
        dynamic_stats,
        start_child_span,
        upstream_log,
        upstream_log_options,
        suppress_envoy_headers,
        strict_check_headers,
        respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats,
        upstream_http_filters,
        reject_connect_request_early_data,
    } = from;
    let upstream_log = upstream_log_of(cx, upstream_log, upstream_log_options.as_ref());
    // The codec alone is what there is without the list.
    let is_codec = |filter: &HttpFilter| {
        matches!(&filter.config_type, Some(ConfigType::TypedConfig(any)) if nuncio_api::any_type(any) == UPSTREAM_CODEC)
    };
    if !upstream_http_filters.iter().all(is_codec) {
        unsafe_unbuilt!(cx, upstream_http_filters);
    }
    RouterOptions {
        suppress_envoy_headers: *suppress_envoy_headers,
        respect_expected_rq_timeout: *respect_expected_rq_timeout,
        // Which there may be is a rule of the message.
        strict_check_headers: strict_check_headers.iter().map(|name| classify(name.as_bytes())).collect(),
        dynamic_stats: dynamic_stats.unwrap_or(true),
        reject_connect_early_data: reject_connect_request_early_data.unwrap_or(false),
        suppress_grpc_codes: *suppress_grpc_request_failure_code_stats,
        start_child_span: *start_child_span,
        upstream_log,
    }
}

/// The log of attempts, if there is one.
fn upstream_log_of(cx: &mut CompileCx<'_>, logs: &[AccessLog], options: Option<&UpstreamAccessLogOptions>) -> Option<Arc<UpstreamLog>> {
    let logs = access_log::compile(cx, "upstream_log", logs);
    let UpstreamAccessLogOptions { flush_upstream_log_on_upstream_stream, upstream_log_flush_interval } = options.copied().unwrap_or_default();
    let interval = cx.at("upstream_log_options", |cx| cx.duration("upstream_log_flush_interval", upstream_log_flush_interval.as_ref()));
    (!logs.is_empty()).then(|| Arc::new(UpstreamLog { logs, on_stream: flush_upstream_log_on_upstream_stream, interval }))
}
