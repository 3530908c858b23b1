//! The router filter's own options.

use crate::context::CompileCx;
use crate::{unbuilt, unsafe_unbuilt};
use nuncio_api::envoy::extensions::filters::http::router::v3 as proto;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter::ConfigType};
use nuncio_codec::headers::classify;
use nuncio_http::config::RouterOptions;

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
    unbuilt!(cx, start_child_span, upstream_log, upstream_log_options, suppress_grpc_request_failure_code_stats, reject_connect_request_early_data);
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
    }
}
