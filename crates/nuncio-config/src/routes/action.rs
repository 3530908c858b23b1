//! `RouteAction`: forwarding to a cluster.

use super::{Rules, clusters, extras, retry, rewrite};
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_http::routes::{ForwardExtras, GrpcTimeout, PathMatch, RouteAction};

/// Compiles the action; `None` after a report. `path` is the route's condition, where it could be compiled.
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(super) fn compile(
    cx: &mut CompileCx<'_>,
    from: &proto::RouteAction,
    path: Option<&PathMatch>,
    route_name: &str,
    rules: Rules,
) -> Option<RouteAction> {
    let proto::RouteAction {
        cluster_not_found_response_code,
        metadata_match,
        prefix_rewrite,
        regex_rewrite,
        path_rewrite_policy,
        path_rewrite,
        append_x_forwarded_host,
        timeout,
        idle_timeout,
        flush_timeout,
        early_data_policy,
        retry_policy,
        retry_policy_typed_config,
        request_mirror_policies,
        priority,
        rate_limits,
        include_vh_rate_limits,
        hash_policy,
        // Settings of a filter: see `filters::with_cors`.
        cors: _,
        max_grpc_timeout,
        grpc_timeout_offset,
        upgrade_configs,
        internal_redirect_policy,
        internal_redirect_action,
        max_internal_redirects,
        hedge_policy,
        max_stream_duration,
        cluster_specifier,
        host_rewrite_specifier,
    } = from;
    unbuilt!(cx, retry_policy_typed_config);
    if let Some(policy) = early_data_policy {
        cx.at("early_data_policy", |cx| extras::early_data(cx, policy));
    }
    let metadata_match = clusters::metadata_match(cx, metadata_match.as_ref(), None);
    let cluster = clusters::specifier(cx, cluster_specifier.as_ref()?, route_name, rules, metadata_match.as_deref());
    let paths = rewrite::Paths { prefix_rewrite, regex_rewrite, path_rewrite_policy, path_rewrite };
    let path_rewrite = paths.compile(cx, path);
    let host_rewrite = rewrite::host(cx, host_rewrite_specifier.as_ref());
    let more = ForwardExtras {
        hedge_policy: extras::hedge(cx, hedge_policy.as_ref()),
        hash_policy: extras::hash_policy(cx, hash_policy),
        metadata_match,
        rate_limits: extras::rate_limits(cx, rate_limits),
        include_vh_rate_limits: include_vh_rate_limits.unwrap_or(false),
        upgrades: extras::upgrades(cx, upgrade_configs),
        mirror_policies: extras::mirrors(cx, request_mirror_policies, rules),
        internal_redirect: match internal_redirect_policy {
            Some(policy) => extras::internal_redirect(cx, policy),
            None => extras::old_internal_redirect(*internal_redirect_action, *max_internal_redirects),
        },
        max_stream_duration: max_stream_duration.as_ref().map(|limits| extras::stream_duration(cx, limits)),
        grpc_timeout: {
            let offset = cx.duration("grpc_timeout_offset", grpc_timeout_offset.as_ref()).unwrap_or_default();
            cx.duration("max_grpc_timeout", max_grpc_timeout.as_ref()).map(|max| GrpcTimeout { max, offset })
        },
    };
    Some(RouteAction {
        cluster: cluster?,
        cluster_not_found_status: not_found_status(*cluster_not_found_response_code),
        timeout: cx.duration("timeout", timeout.as_ref()).unwrap_or(nuncio_http::routes::DEFAULT_TIMEOUT),
        idle_timeout: cx.duration("idle_timeout", idle_timeout.as_ref()),
        flush_timeout: cx.duration("flush_timeout", flush_timeout.as_ref()),
        retry_policy: retry::field(cx, retry_policy.as_ref()),
        path_rewrite: path_rewrite?,
        host_rewrite: host_rewrite?,
        append_x_forwarded_host: *append_x_forwarded_host,
        high_priority: core::RoutingPriority::try_from(*priority) == Ok(core::RoutingPriority::High),
        more: more.boxed(),
    })
}

fn not_found_status(code: i32) -> u16 {
    use proto::route_action::ClusterNotFoundResponseCode as Code;
    match Code::try_from(code) {
        Ok(Code::NotFound) => 404,
        Ok(Code::InternalServerError) => 500,
        Ok(Code::ServiceUnavailable) | Err(_) => 503,
    }
}
