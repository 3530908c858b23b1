//! Following redirects of the upstream (`internal_redirect_policy`): the request becomes the one that the response's
//! `location` asks for, if the route allows it. As Envoy's `convertRequestHeadersForInternalRedirect`.

use super::admit::find_route;
use crate::hcm::HcmWorker;
use crate::routes::{Action, InternalRedirect, RedirectPredicate};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::StreamCx;
use nuncio_stats::{CounterId, tables::router as stat};
use std::sync::Arc;

/// What one client's request has been through.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Redirects so far.
    count: u32,
    /// From which route to which.
    ways: Vec<(Arc<str>, Arc<str>)>,
}

/// The parts of an absolute URL.
struct Target<'a> {
    https: bool,
    authority: &'a [u8],
    /// Path and query, without fragment; may be empty.
    path: &'a [u8],
}

impl<'a> Target<'a> {
    fn parse(url: &'a [u8]) -> Option<Target<'a>> {
        let at = url.windows(3).position(|w| w == b"://")?;
        let https = match &url[..at] {
            scheme if scheme.eq_ignore_ascii_case(b"http") => false,
            scheme if scheme.eq_ignore_ascii_case(b"https") => true,
            _ => return None,
        };
        let rest = &url[at + 3..];
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split(|b| *b == b'#').next().unwrap_or_default();
        (!authority.is_empty()).then_some(Target { https, authority, path })
    }
}

/// Turns the request in `cx` into the one that the response in `cx` asks for. False, and nothing changed, if the response
/// is to be passed on instead.
pub(super) fn follow(cx: &mut StreamCx, hcm: &HcmWorker, followed: &mut Followed) -> bool {
    let refused = |why: CounterId| hcm.routes.router_stats.inc(hcm.worker.lane, why);
    let Some(policy) = policy(cx, hcm) else { return false };
    let Some(location) = cx.response.get(Known::Location).map(<[u8]>::to_vec) else { return false };
    let Some(target) = Target::parse(&location) else {
        refused(stat::PASSTHROUGH_INTERNAL_REDIRECT_BAD_LOCATION);
        return false;
    };
    let https = cx.request.get(Known::Scheme) == Some(b"https");
    if !policy.allow_cross_scheme && https != target.https {
        refused(stat::PASSTHROUGH_INTERNAL_REDIRECT_UNSAFE_SCHEME);
        return false;
    }
    if followed.count >= policy.max {
        refused(stat::PASSTHROUGH_INTERNAL_REDIRECT_TOO_MANY_REDIRECTS);
        return false;
    }
    let before = cx.request.clone();
    let from = route_name(hcm, cx.route.take().map(|route| route.id));
    rewrite(cx, policy, &target);
    let resolved = find_route(cx, hcm);
    let id = cx.route.as_ref().map(|route| route.id);
    let why = match id {
        None => Some(stat::PASSTHROUGH_INTERNAL_REDIRECT_NO_ROUTE),
        Some(_) if resolved.is_some() => Some(stat::PASSTHROUGH_INTERNAL_REDIRECT_NO_ROUTE),
        Some(_) => {
            let to = route_name(hcm, id);
            let accepts = |predicate: &RedirectPredicate| match predicate {
                RedirectPredicate::AllowListedRoutes(names) => names.iter().any(|name| **name == *to),
                RedirectPredicate::PreviousRoutes => {
                    let way = (from.clone(), to.clone());
                    let new = !followed.ways.contains(&way);
                    followed.ways.push(way);
                    new
                }
                RedirectPredicate::SafeCrossScheme => https || !target.https,
            };
            (!policy.predicates.iter().all(accepts)).then_some(stat::PASSTHROUGH_INTERNAL_REDIRECT_PREDICATE)
        }
    };
    if let Some(why) = why {
        refused(why);
        // The log shows where it would have gone.
        cx.request = before;
        return false;
    }
    if cx.response.status() == Some(303) && !matches!(cx.request.method(), Some(b"GET" | b"HEAD")) {
        cx.request.insert(Known::Method, "GET");
        cx.request.remove(Known::ContentLength);
    }
    followed.count += 1;
    let scheme: &[u8] = if https { b"https://" } else { b"http://" };
    let original = [scheme, before.authority().unwrap_or_default(), before.path().unwrap_or_default()].concat();
    cx.request.insert(Known::XEnvoyOriginalUrl, original);
    true
}

fn policy<'t>(cx: &StreamCx, hcm: &'t HcmWorker) -> Option<&'t InternalRedirect> {
    let entry = hcm.routes.table().get(cx.route.as_ref()?.id)?;
    match &entry.route.action {
        Action::Forward(action) => action.more.as_ref()?.internal_redirect.as_ref(),
        _ => None,
    }
}

fn route_name(hcm: &HcmWorker, id: Option<nuncio_core::RouteId>) -> Arc<str> {
    id.and_then(|id| hcm.routes.table().get(id)).map_or("".into(), |entry| (*entry.route.name).into())
}

fn rewrite(cx: &mut StreamCx, policy: &InternalRedirect, target: &Target<'_>) {
    let StreamCx { request, response, .. } = cx;
    for name in &policy.response_headers_to_copy {
        request.remove(name);
        let values: Vec<Vec<u8>> = response.get_all(name).map(<[u8]>::to_vec).collect();
        values.into_iter().for_each(|value| request.append(name, value));
    }
    request.insert(Known::Scheme, if target.https { "https" } else { "http" });
    request.insert(Known::Authority, target.authority);
    set_path(request, target.path);
}

fn set_path(request: &mut HeaderMap, path: &[u8]) {
    if path.starts_with(b"/") {
        request.insert(Known::Path, path);
    } else {
        request.insert(Known::Path, [b"/", path].concat());
    }
}
