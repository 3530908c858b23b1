//! `VirtualHost` and `Route`: what they are called, what belongs to them, in their order.

use super::{Rules, action, conditions, direct_response, extras, filters, headers, matching, redirect, retry, tree};
use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_http::routes::{Action, BufferLimit, Decorator, Route, RouteExtras, TlsRequirement, Tracing, VirtualCluster, VirtualHost};

/// Compiles a virtual host.
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(super) fn compile(cx: &mut CompileCx<'_>, host: &proto::VirtualHost, rules: Rules) -> VirtualHost {
    let proto::VirtualHost {
        name,
        domains,
        routes,
        matcher,
        require_tls,
        virtual_clusters,
        rate_limits,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        cors,
        typed_per_filter_config,
        include_request_attempt_count,
        include_attempt_count_in_response,
        retry_policy,
        retry_policy_typed_config,
        hedge_policy,
        include_is_timeout_retry_header,
        per_request_buffer_limit_bytes,
        request_body_buffer_limit,
        request_mirror_policies,
        metadata,
        route_specifiers,
    } = host;
    unbuilt!(
        cx,
        retry_policy_typed_config,
        route_specifiers,
    );
    if matcher.is_some() && !routes.is_empty() {
        cx.error(codes::CONFLICT, "`matcher` and `routes` of a virtual host exclude each other")
            .envoy("cannot set both matcher and routes on virtual host");
    }
    let mut made = cx.each("routes", routes, |cx, route| self::route(cx, route, rules));
    let tree = matcher.as_ref().and_then(|matcher| cx.at("matcher", |cx| tree::compile(cx, matcher, rules, &mut made)));
    VirtualHost {
        name: name.as_str().into(),
        domains: cx.each("domains", domains, |cx, domain| Some(checked_domain(cx, domain))),
        routes: made,
        tree,
        require_tls: match proto::virtual_host::TlsRequirementType::try_from(*require_tls) {
            Ok(proto::virtual_host::TlsRequirementType::ExternalOnly) => TlsRequirement::ExternalOnly,
            Ok(proto::virtual_host::TlsRequirementType::All) => TlsRequirement::All,
            Ok(proto::virtual_host::TlsRequirementType::None) | Err(_) => TlsRequirement::None,
        },
        headers: headers::Lists {
            request_add: request_headers_to_add,
            request_remove: request_headers_to_remove,
            response_add: response_headers_to_add,
            response_remove: response_headers_to_remove,
        }
        .compile(cx),
        retry_policy: retry::field(cx, retry_policy.as_ref()),
        hedge_policy: extras::hedge(cx, hedge_policy.as_ref()),
        include_request_attempt_count: *include_request_attempt_count,
        include_attempt_count_in_response: *include_attempt_count_in_response,
        include_is_timeout_retry_header: *include_is_timeout_retry_header,
        buffer_limit: buffer_limit(*request_body_buffer_limit, *per_request_buffer_limit_bytes),
        mirror_policies: extras::mirrors(cx, request_mirror_policies, rules),
        virtual_clusters: cx.each("virtual_clusters", virtual_clusters, virtual_cluster),
        rate_limits: extras::rate_limits(cx, rate_limits),
        filters: filters::with_cors(cx, typed_per_filter_config, cors.as_ref()),
        metadata: crate::clusters::metadata::compile(cx, metadata.as_ref()),
    }
}

/// Only a star at one end is a wildcard; Envoy takes any other for a letter.
fn checked_domain(cx: &mut CompileCx<'_>, domain: &str) -> Box<str> {
    let inner = domain.strip_prefix('*').unwrap_or_else(|| domain.strip_suffix('*').unwrap_or(domain));
    if inner.contains('*') {
        cx.warn(codes::SUSPICIOUS, "a `*` works as a wildcard only at one end of a domain; this one is taken literally")
            .help("`*.example.com` and `example.*` are wildcards");
    }
    domain.into()
}

fn virtual_cluster(cx: &mut CompileCx<'_>, cluster: &proto::VirtualCluster) -> Option<VirtualCluster> {
    let proto::VirtualCluster { headers, name } = cluster;
    if headers.is_empty() {
        cx.error(codes::MISSING, "a virtual cluster needs `headers` to know its requests by")
            .envoy("virtual clusters must define 'headers'");
        return None;
    }
    let headers = cx.each("headers", headers, conditions::header);
    Some(VirtualCluster { name: name.as_str().into(), headers: headers.into() })
}

/// Compiles a route; `None` after a report.
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(super) fn route(cx: &mut CompileCx<'_>, route: &proto::Route, rules: Rules) -> Option<Route> {
    let proto::Route {
        name,
        r#match,
        metadata,
        decorator,
        typed_per_filter_config,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        tracing,
        per_request_buffer_limit_bytes,
        stat_prefix,
        request_body_buffer_limit,
        route_specifiers,
        action,
    } = route;
    unbuilt!(
        cx,
        route_specifiers,
    );
    let matcher = r#match.as_ref().and_then(|matched| cx.at("match", |cx| matching::compile(cx, matched)));
    let headers = headers::Lists {
        request_add: request_headers_to_add,
        request_remove: request_headers_to_remove,
        response_add: response_headers_to_add,
        response_remove: response_headers_to_remove,
    }
    .compile(cx);
    let cors = if let Some(proto::route::Action::Route(action)) = action { action.cors.as_ref() } else { None };
    let filters = filters::with_cors(cx, typed_per_filter_config, cors);
    let more = RouteExtras {
        stat_prefix: stat_prefix.as_str().into(),
        buffer_limit: buffer_limit(*request_body_buffer_limit, *per_request_buffer_limit_bytes),
        decorator: decorator.as_ref().map(decorate),
        tracing: tracing.as_ref().map(|tracing| trace(cx, tracing)),
        metadata: crate::clusters::metadata::compile(cx, metadata.as_ref()),
    };
    let action = self::action(cx, action.as_ref()?, matcher.as_ref(), name, rules);
    Some(Route { name: name.as_str().into(), matcher: matcher?, action: action?, headers, filters, more: more.boxed() })
}

fn action(
    cx: &mut CompileCx<'_>,
    action: &proto::route::Action,
    matcher: Option<&nuncio_http::routes::Matcher>,
    name: &str,
    rules: Rules,
) -> Option<Action> {
    let path = matcher.map(|matcher| &matcher.path);
    match action {
        proto::route::Action::Route(route) => cx.at("route", |cx| {
            action::compile(cx, route, path, name, rules).map(|action| Action::Forward(Box::new(action)))
        }),
        proto::route::Action::Redirect(redirect) => cx
            .at("redirect", |cx| redirect::compile(cx, redirect, path))
            .map(|redirect| Action::Redirect(Box::new(redirect))),
        proto::route::Action::DirectResponse(response) => cx
            .at("direct_response", |cx| direct_response::compile(cx, response, rules))
            .map(|response| Action::DirectResponse(Box::new(response))),
        proto::route::Action::FilterAction(proto::FilterAction { action: _ }) => {
            cx.without_effect("filter_action");
            Some(Action::NonForwarding)
        }
        proto::route::Action::NonForwardingAction(proto::NonForwardingAction {}) => Some(Action::NonForwarding),
    }
}

fn buffer_limit(body: Option<u64>, per_request: Option<u32>) -> Option<BufferLimit> {
    body.map(BufferLimit::Body).or(per_request.map(BufferLimit::PerRequest))
}

fn decorate(from: &proto::Decorator) -> Decorator {
    let proto::Decorator { operation, propagate } = from;
    Decorator { operation: operation.as_str().into(), propagate: propagate.unwrap_or(true) }
}

fn trace(cx: &mut CompileCx<'_>, from: &proto::Tracing) -> Tracing {
    let proto::Tracing { client_sampling, random_sampling, overall_sampling, custom_tags, operation, upstream_operation } =
        from;
    let fraction = |from: &Option<_>| from.as_ref().map_or(nuncio_http::routes::Fraction::ALL, conditions::fraction);
    let (custom_tags, operation, upstream_operation) = cx.at("tracing", |cx| {
        let operation = crate::tracing::operations(cx, operation, upstream_operation);
        (crate::tracing::custom_tags(cx, custom_tags), operation.0, operation.1)
    });
    Tracing {
        custom_tags,
        operation,
        upstream_operation,
        client_sampling: fraction(client_sampling),
        random_sampling: fraction(random_sampling),
        overall_sampling: fraction(overall_sampling),
    }
}
