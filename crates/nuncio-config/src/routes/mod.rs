//! `envoy.config.route.v3.RouteConfiguration` → [`RouteTable`].
//!
//! Each file is a part of the message: virtual hosts (`host`, `tree`, `domains`), which requests a route takes (`matching`,
//! `conditions`, `text`), what is done with them (`action`, `clusters`, `rewrite`, `redirect`, `direct_response`,
//! `retry`, `extras`), and what all levels have (`headers`, `filters`).
//!
//! Every field of every message is visited: it is used, or reported as having no effect. What a route table cannot
//! be without is reported and replaced by something harmless, so that one run finds everything.

mod action;
mod clusters;
mod conditions;
mod direct_response;
mod domains;
mod extras;
mod filters;
mod headers;
mod host;
mod matching;
mod redirect;
mod retry;
mod rewrite;
mod text;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use clusters::metadata_match;
pub(crate) use direct_response::{body_format, data};
pub(crate) use extras::{hash_policy, mirrors_of_cluster};
pub(crate) use headers::{addition, mutation as header_mutation, changed_name as header_name};
pub(crate) use conditions::{fraction, header as header_matcher};
pub(crate) use retry::field as retry_policy;
pub(crate) use text::matcher as text_matcher;
pub(crate) use tree::report as report_matcher;

use crate::codes;
use crate::context::CompileCx;
use crate::path::Step;
use crate::{unbuilt, unsafe_unbuilt};
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_core::RouteId;
use nuncio_http::routes::{RouteConfig, RouteTable};
use std::sync::Arc;

/// Envoy's default `max_direct_response_body_size_bytes`.
const DIRECT_RESPONSE_LIMIT_BYTES: usize = 4096;

/// Where a route configuration comes from: Envoy holds them to different rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the connection manager: its clusters must exist, unless it says otherwise.
    Static,
    /// It came over RDS or scoped routes: its clusters may come later.
    Dynamic,
}

/// What the parts of a route configuration know of the whole.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// Clusters that do not exist are errors.
    validate_clusters: bool,
    /// Longest body of a direct response in bytes.
    direct_response_limit: usize,
}

/// Compiles a route configuration; `None` after a report.
pub fn compile(cx: &mut CompileCx<'_>, config: &proto::RouteConfiguration, origin: Origin) -> Option<Arc<RouteTable>> {
    let before = errors(cx);
    let built = build(cx, config, origin);
    domains::check(cx, config);
    if errors(cx) > before {
        return None;
    }
    match RouteTable::compile(built) {
        Ok(table) => {
            report_dead_routes(cx, &table);
            Some(Arc::new(table))
        }
        Err(found) => {
            for error in found {
                cx.extension_error(codes::DUPLICATE_DOMAIN, error);
            }
            None
        }
    }
}

fn errors(cx: &CompileCx<'_>) -> usize {
    cx.findings().iter().filter(|finding| finding.is_error()).count()
}

/// Routes behind one that takes everything: Envoy says nothing, and people wonder.
fn report_dead_routes(cx: &mut CompileCx<'_>, table: &RouteTable) {
    for dead in table.dead_routes() {
        let place = |id: RouteId| Step::Text(format!("virtual_hosts[{}].routes[{}].match", id.virtual_host, id.route).into());
        let by = table.get(dead.taken_by).map(|entry| entry.route.matcher.path.to_string()).unwrap_or_default();
        let before = cx.step(place(dead.taken_by), |cx| cx.path());
        cx.step(place(dead.route), |cx| {
            let number = dead.taken_by.route;
            cx.warn(codes::UNREACHABLE, format!("no request reaches this route: route {number} ({by}) takes all of them"))
                .also(before, "taken here")
                .help("routes are tried from the first to the last: put this one further up");
        });
    }
}

/// Makes a route configuration; everything wrong with it is reported.
pub fn build(cx: &mut CompileCx<'_>, config: &proto::RouteConfiguration, origin: Origin) -> RouteConfig {
    let proto::RouteConfiguration {
        name,
        virtual_hosts,
        vhds,
        internal_only_headers,
        response_headers_to_add,
        response_headers_to_remove,
        request_headers_to_add,
        request_headers_to_remove,
        most_specific_header_mutations_wins,
        validate_clusters,
        max_direct_response_body_size_bytes,
        cluster_specifier_plugins,
        request_mirror_policies,
        ignore_port_in_host_matching,
        vhost_header,
        ignore_path_parameters_in_path_matching,
        typed_per_filter_config,
        metadata,
        route_specifiers,
    } = config;
    // Its virtual hosts would be missing, and others take their requests.
    unsafe_unbuilt!(cx, vhds);
    unbuilt!(cx, cluster_specifier_plugins, metadata, route_specifiers);
    let rules = Rules {
        validate_clusters: validate_clusters.unwrap_or(origin == Origin::Static),
        direct_response_limit: match max_direct_response_body_size_bytes {
            None => DIRECT_RESPONSE_LIMIT_BYTES,
            // No limit at all, as Envoy reads it.
            Some(0) => usize::MAX,
            Some(limit) => *limit as usize,
        },
    };
    RouteConfig {
        name: name.as_str().into(),
        internal_only_headers: headers::names(cx, "internal_only_headers", internal_only_headers),
        headers: headers::Lists {
            request_add: request_headers_to_add,
            request_remove: request_headers_to_remove,
            response_add: response_headers_to_add,
            response_remove: response_headers_to_remove,
        }
        .compile(cx),
        most_specific_header_mutations_wins: *most_specific_header_mutations_wins,
        ignore_port_in_host_matching: *ignore_port_in_host_matching,
        ignore_path_parameters_in_path_matching: *ignore_path_parameters_in_path_matching,
        vhost_header: headers::optional_name(cx, "vhost_header", vhost_header),
        mirror_policies: extras::mirrors(cx, request_mirror_policies, rules),
        filters: filters::compile(cx, typed_per_filter_config),
        virtual_hosts: cx.each("virtual_hosts", virtual_hosts, |cx, host| Some(host::compile(cx, host, rules))),
    }
}
