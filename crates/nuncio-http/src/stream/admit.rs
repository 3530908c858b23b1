//! What the connection manager decides about a request before any filter sees it: may it come in, as what, and
//! which route takes it. Order and answers as Envoy's `ActiveStream::decodeHeaders`.

use super::routes::Routes;
use super::upgrade;
use crate::config::{Cleaning, HcmConfig};
use crate::hcm::HcmWorker;
use crate::headers::request::{self, Peer};
use crate::tracing;
use crate::routes::{Action, MatchCx, RouteMatch, tls_redirect};
use nuncio_codec::headers::Known;
use nuncio_codec::path;
use nuncio_core::{LeftByFilters, LocalReply, RouteRef, RouteTableView, StreamCx};
use nuncio_rt::{Address, Time};
use nuncio_stats::tables::http_connection_manager as stat;
use nuncio_stats::tables::router as router_stat;
use std::rc::Rc;

/// Looks at a request's head, and finds its scope where there are any. An answer means that it goes no further.
pub(crate) fn admit(
    cx: &mut StreamCx,
    scope: &mut Option<Rc<HcmWorker>>,
    hcm: &HcmWorker,
    peer: &Peer,
    default_host: Option<&str>,
) -> Option<Box<LocalReply>> {
    let lane = cx.worker.lane;
    if let Some(left) = LeftByFilters::find(&cx.conn) {
        left.objects(cx);
    }
    let connect = cx.request.is_connect();
    if let Some(reply) = unfit(cx, hcm, connect, default_host) {
        // Logs name the route of a request that a proxy before us has told the scheme of, as in Envoy.
        if cx.request.get(Known::XForwardedProto).is_some_and(|scheme| !scheme.is_empty()) {
            drop(resolve(cx, &hcm.routes));
        }
        return Some(reply);
    }
    clean_host(cx, &hcm.config.cleaning);
    let upgrade = upgrade::wanted(&cx.request).map(str::to_owned);
    if let Some(reply) = request::condition(cx, &hcm.config, peer, upgrade.is_some() && !connect) {
        return Some(reply);
    }
    if !hcm.config.proxy_100_continue && cx.request.get(Known::Expect).is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue")) {
        cx.request.remove(Known::Expect);
    }
    *scope = hcm.scope_of(&cx.request);
    let hcm = scope.as_deref().unwrap_or(hcm);
    if let Some(reply) = find_route(cx, hcm) {
        return Some(reply);
    }
    tracing::decide(cx, hcm, false);
    if let Some(kind) = upgrade {
        let allowed = upgrade::allowed(cx, hcm, &kind);
        if !allowed && connect && cx.route.is_none() {
            // That there is no route is the answer.
            return (!hcm.config.has_router).then(|| Box::new(LocalReply::new(404, "route_not_found")));
        }
        if !allowed {
            hcm.stats.inc(lane, stat::DOWNSTREAM_RQ_WS_ON_NON_WS_ROUTE);
            note_cluster(cx, hcm);
            return Some(Box::new(LocalReply::new(403, "upgrade_failed")));
        }
        hcm.stats.inc(lane, stat::DOWNSTREAM_CX_UPGRADES_TOTAL);
        hcm.stats.gauge_add(lane, stat::DOWNSTREAM_CX_UPGRADES_ACTIVE, 1);
        cx.info.upgraded = true;
    }
    if !hcm.config.has_router {
        return Some(Box::new(LocalReply::new(404, "route_not_found")));
    }
    tracing::begin(cx, hcm);
    None
}

/// What keeps a request from having any route: no host, no path, a path that is refused.
fn unfit(cx: &mut StreamCx, hcm: &HcmWorker, connect: bool, default_host: Option<&str>) -> Option<Box<LocalReply>> {
    let lane = cx.worker.lane;
    if !cx.request.contains(Known::Authority) {
        match default_host {
            Some(host) => cx.request.insert(Known::Authority, host),
            None => return Some(Box::new(LocalReply::new(400, "missing_host_header"))),
        }
    }
    if !connect && !cx.request.path().is_some_and(|p| p.starts_with(b"/")) {
        hcm.stats.inc(lane, stat::DOWNSTREAM_RQ_NON_RELATIVE_PATH);
        return Some(Box::new(LocalReply::new(404, "absolute_path_rejected")));
    }
    if cx.request.method() == Some(b"QUERY") && !cx.request.contains(Known::ContentType) {
        // What is asked is in the body: without its type nobody can tell what it means.
        return Some(Box::new(LocalReply::new(400, "query_missing_content_type")));
    }
    if connect { None } else { clean_path(cx, hcm) }
}

/// Looks at the head of a request that an upstream's redirect has made: as [`admit`], but for what was done to it when
/// it came in.
pub(super) fn readmit(cx: &mut StreamCx, hcm: &HcmWorker) -> Option<Box<LocalReply>> {
    if let Some(reply) = clean_path(cx, hcm) {
        return Some(reply);
    }
    clean_host(cx, &hcm.config.cleaning);
    let reply = find_route(cx, hcm);
    if reply.is_none() {
        tracing::decide(cx, hcm, true);
        tracing::begin(cx, hcm);
    }
    reply
}

/// Logs name the cluster that the request would have gone to.
pub(super) fn note_cluster(cx: &mut StreamCx, hcm: &HcmWorker) {
    let Some(route) = &cx.route else { return };
    if let Some(Action::Forward(action)) = hcm.routes.table().get(route.id).map(|entry| &entry.route.action)
        && let Some(cluster) = hcm.routes.clusters.by_name(action.chosen(&cx.request, route.choice).name)
    {
        cx.info.upstream.cluster = Some(cluster.cx().facts.clone());
    }
}

pub(super) fn find_route(cx: &mut StreamCx, hcm: &HcmWorker) -> Option<Box<LocalReply>> {
    if !cx.info.internal {
        for name in &hcm.routes.table().config().internal_only_headers {
            cx.request.remove(name);
        }
    }
    cx.random = cx.worker.rng.next_u64();
    let reply = resolve(cx, &hcm.routes);
    if reply.is_some() {
        // The way to TLS is a route in Envoy, which its router answers.
        hcm.routes.router_stats.inc(cx.worker.lane, router_stat::RQ_TOTAL);
        hcm.routes.router_stats.inc(cx.worker.lane, router_stat::RQ_DIRECT_RESPONSE);
    }
    reply
}

/// Looks up the route of a request, for the first time or again.
pub(super) fn resolve(cx: &mut StreamCx, routes: &Rc<Routes>) -> Option<Box<LocalReply>> {
    cx.route_is_stale = false;
    cx.route = None;
    cx.info.route_resolutions += 1;
    let begun = routes.timed.then(Time::now);
    let found = {
        let runtime = cx.worker.runtime.values();
        let matching = MatchCx {
            random: cx.random,
            runtime: Some(&runtime),
            metadata: Some(&cx.metadata),
            filter_state: Some(&cx.filter_state),
            client_certificate: cx.conn.client_certificate,
        };
        routes.table().find(&cx.request, &matching)
    };
    if let Some(begun) = begun {
        cx.info.route_resolution_time += Time::now().since(begun);
    }
    match found {
        RouteMatch::None => None,
        RouteMatch::RequireTls { .. } => Some(Box::new(tls_redirect(&cx.request))),
        RouteMatch::Route(id) => {
            let table: Rc<Routes> = routes.clone();
            let entry = routes.table().get(id);
            let choice = match entry.map(|entry| &entry.route.action) {
                Some(Action::Forward(action)) => action.choose(cx),
                _ => None,
            };
            cx.route = Some(RouteRef::new(table as Rc<dyn RouteTableView>, id, choice));
            if let Some(class) = entry.and_then(|entry| entry.host.virtual_cluster(&cx.request)) {
                cx.info.virtual_cluster = Some(class.name.clone());
            }
            None
        }
    }
}

fn clean_path(cx: &mut StreamCx, hcm: &HcmWorker) -> Option<Box<LocalReply>> {
    let config: &HcmConfig = &hcm.config;
    let lane = cx.worker.lane;
    let target = cx.request.path()?;
    let rules = config.cleaning.of_paths();
    match path::clean(target, rules) {
        path::Cleaned::Unchanged => None,
        path::Cleaned::Changed(new) => {
            cx.request.insert(Known::Path, new);
            None
        }
        path::Cleaned::Redirect(new) => {
            hcm.stats.inc(lane, stat::DOWNSTREAM_RQ_REDIRECTED_WITH_NORMALIZED_PATH);
            let location = String::from_utf8_lossy(&new).into_owned();
            cx.request.insert(Known::Path, new);
            Some(Box::new(LocalReply::new(307, "path_normalization_failed").header("location", location)))
        }
        path::Cleaned::Refused => {
            hcm.stats.inc(lane, stat::DOWNSTREAM_RQ_FAILED_PATH_NORMALIZATION);
            // Logs show the path with its slashes unescaped, also when that is why it was refused.
            let shown = path::Cleaning { escaped_slashes: path::EscapedSlashes::UnescapeAndForward, ..path::Cleaning::default() };
            if rules.escaped_slashes != path::EscapedSlashes::Keep
                && let path::Cleaned::Changed(shown) = path::clean(target, shown)
            {
                cx.request.insert(Known::Path, shown);
            }
            Some(Box::new(LocalReply::new(400, "path_normalization_failed")))
        }
    }
}

fn clean_host(cx: &mut StreamCx, rules: &Cleaning) {
    let port = match &cx.conn.local {
        Address::Ip(local) => Some(local.port()),
        Address::Pipe(_) | Address::Internal(_) => None,
    };
    if let Some(host) = cx.request.authority().and_then(|host| rules.clean_host(host, port)) {
        cx.request.insert(Known::Authority, host);
    }
}
