//! Answers that need no upstream: redirects, direct responses, and the way to https.

use super::action::{Action, DirectResponse, PathRewrite, Redirect, RedirectPath};
use super::finalize::rewrite_path;
use super::table::RouteEntry;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::format::FormatCx;
use nuncio_core::{LocalReply, StreamCx};

/// `%RESPONSE_CODE_DETAILS%` of everything that is made here.
const DETAILS: &str = "direct_response";

/// The answer of a redirecting route. Rewrites `:path` as the route says and, with `keep_original`, leaves the old
/// one in `x-envoy-original-path`, as access logs show it. `None` for routes that do not redirect.
pub fn redirect_reply(cx: &mut StreamCx, entry: &RouteEntry, keep_original: bool) -> Option<LocalReply> {
    let Action::Redirect(redirect) = &entry.route.action else { return None };
    let location = match &redirect.path {
        // A formatted path goes into the answer only; other rewrites show in logs as well.
        RedirectPath::Rewrite(PathRewrite::Formatted(value)) => {
            let mut path = Vec::new();
            value.write(cx, &mut path);
            location_with(&cx.request, redirect, Some(&path))
        }
        RedirectPath::Rewrite(rewrite) => {
            rewrite_path(cx, rewrite, &entry.route.matcher.path, keep_original);
            redirect_location(&cx.request, redirect)
        }
        RedirectPath::Keep | RedirectPath::Replace(_) => redirect_location(&cx.request, redirect),
    };
    Some(LocalReply::new(redirect.status, DETAILS).header("location", lossless(location)))
}

/// The answer of a route with a direct response; `None` for other routes. A status of 201 or 3xx gets a
/// `location`, as Envoy gives it: what was asked for.
pub fn direct_reply(cx: &StreamCx, entry: &RouteEntry) -> Option<LocalReply> {
    let Action::DirectResponse(response) = &entry.route.action else { return None };
    let DirectResponse { status, body, body_format, content_type } = &**response;
    let mut reply = LocalReply::new(*status, DETAILS);
    reply = match body_format {
        Some(format) => {
            let mut text = Vec::new();
            let inner = FormatCx { local_reply_body: body.as_bytes(), ..FormatCx::from(cx) };
            format.write_in(&inner, &mut text);
            reply.body(lossless(text))
        }
        None => reply.body(body.to_string()),
    };
    reply.content_type = content_type.as_ref().map(|kind| kind.to_string().into());
    if matches!(status, 201 | 300..=399) && cx.request.contains(Known::Path) {
        reply = reply.header("location", lossless(redirect_location(&cx.request, &Redirect::default())));
    }
    Some(reply)
}

/// The answer of a virtual host that wants TLS.
pub fn tls_redirect(head: &HeaderMap) -> LocalReply {
    let mut location = b"https://".to_vec();
    location.extend_from_slice(head.get(Known::Authority).unwrap_or_default());
    location.extend_from_slice(head.get(Known::Path).unwrap_or_default());
    LocalReply::new(301, DETAILS).header("location", lossless(location))
}

fn lossless(bytes: Vec<u8>) -> String {
    // Header values are ASCII nearly always; the rest is shown as well as it can be.
    String::from_utf8(bytes).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned())
}

/// Where a redirect sends the client. The path in `head` must have been rewritten already, where the redirect
/// rewrites it.
pub fn redirect_location(head: &HeaderMap, redirect: &Redirect) -> Vec<u8> {
    let new_path = match &redirect.path {
        RedirectPath::Replace(path) => Some(&**path),
        RedirectPath::Keep | RedirectPath::Rewrite(_) => None,
    };
    location_with(head, redirect, new_path)
}

fn location_with(head: &HeaderMap, redirect: &Redirect, new_path: Option<&[u8]>) -> Vec<u8> {
    let scheme = redirect.scheme.as_deref().or_else(|| head.get(Known::Scheme)).unwrap_or_default();
    let path = head.get(Known::Path).unwrap_or_default();
    let query_at = path.iter().position(|&b| b == b'?').unwrap_or(path.len());
    let mut location = Vec::with_capacity(path.len() + 64);
    location.extend_from_slice(scheme);
    location.extend_from_slice(b"://");
    match &redirect.host {
        Some(host) => location.extend_from_slice(host),
        None => location.extend_from_slice(request_host(head, scheme, redirect.port.is_some())),
    }
    if let Some(port) = redirect.port {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    let kept = new_path.unwrap_or(&path[..query_at]);
    if !kept.starts_with(b"/") {
        location.push(b'/');
    }
    location.extend_from_slice(kept);
    let own_query = new_path.is_some_and(|path| path.contains(&b'?'));
    if !own_query && !redirect.strip_query {
        location.extend_from_slice(&path[query_at..]);
    }
    location
}

/// The request's host for a redirect: without its port if a new one is given, or if the scheme changes and the port
/// was the old scheme's own.
fn request_host<'h>(head: &'h HeaderMap, scheme: &[u8], new_port: bool) -> &'h [u8] {
    let host = head.get(Known::Authority).unwrap_or_default();
    let port_at = match host.first() {
        Some(b'[') => host.windows(2).rposition(|pair| pair == b"]:").map(|at| at + 1),
        _ => host.iter().rposition(|&b| b == b':'),
    };
    let Some(port_at) = port_at else { return host };
    let (old_scheme, port) = (head.get(Known::XForwardedProto).unwrap_or_default(), &host[port_at..]);
    let default_port = match old_scheme {
        b"https" => port == b":443",
        b"http" => port == b":80",
        _ => false,
    };
    if new_port || (scheme != old_scheme && default_port) { &host[..port_at] } else { host }
}

impl RedirectPath {
    /// A path that is rewritten, or the request's if there is nothing to rewrite.
    pub fn rewrite(rewrite: PathRewrite) -> RedirectPath {
        match rewrite {
            PathRewrite::None => RedirectPath::Keep,
            rewrite => RedirectPath::Rewrite(rewrite),
        }
    }
}
