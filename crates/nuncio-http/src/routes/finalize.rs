//! What a route changes in a request before it goes to the upstream, and in the response before it goes to the
//! client, in Envoy's order: what belongs to the picked cluster, header changes of the levels, host, path.

use super::action::{Action, ClusterSpecifier, HostRewrite, PathRewrite, WeightedCluster};
use super::matcher::{PathMatch, path_len};
use super::mutation::HeaderRules;
use nuncio_core::matching::Side;
use super::table::{RouteEntry, RouteTable};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::StreamCx;

/// The choices that are not the route's.
#[derive(Debug, Clone, Copy)]
pub struct Finalize {
    /// Which weighted cluster was picked ([`super::PickedCluster::choice`]).
    pub choice: Option<usize>,
    /// Leaves what was rewritten in `x-envoy-original-path` and `-host`; off with `suppress_envoy_headers`.
    pub keep_original: bool,
}

/// Changes the request as the route says. To be called once, after a cluster was picked.
pub fn finalize_request(cx: &mut StreamCx, table: &RouteTable, entry: &RouteEntry, how: Finalize) {
    if let Some(picked) = picked(entry, how.choice) {
        apply(cx, &picked.headers, Side::Request);
        if let Some(host) = &picked.host_rewrite {
            // Leaves no trace of the old host, unlike a rewrite of the route.
            cx.request.insert(Known::Authority, host);
        }
    }
    apply_levels(cx, table, entry, Side::Request);
    let Action::Forward(action) = &entry.route.action else { return };
    if let Some(host) = new_host(cx, &action.host_rewrite) {
        rewrite_host(&mut cx.request, &host, action.append_x_forwarded_host, how.keep_original);
    }
    rewrite_path(cx, &action.path_rewrite, &entry.route.matcher.path, how.keep_original);
}

/// Changes the response as the route says; for local replies of a route as well.
pub fn finalize_response(cx: &mut StreamCx, table: &RouteTable, entry: &RouteEntry, choice: Option<usize>) {
    if let Some(picked) = picked(entry, choice) {
        apply(cx, &picked.headers, Side::Response);
    }
    apply_levels(cx, table, entry, Side::Response);
}

fn picked(entry: &RouteEntry, choice: Option<usize>) -> Option<&WeightedCluster> {
    match &entry.route.action {
        Action::Forward(action) => match &action.cluster {
            ClusterSpecifier::Weighted(weighted) => weighted.clusters.get(choice?),
            ClusterSpecifier::Cluster(_) | ClusterSpecifier::Header(_) => None,
        },
        Action::Redirect(_) | Action::DirectResponse(_) | Action::NonForwarding => None,
    }
}

/// Header changes from the route outwards, or inwards where the most specific level has the last word. Those of
/// a picked cluster come before in any case.
fn apply_levels(cx: &mut StreamCx, table: &RouteTable, entry: &RouteEntry, side: Side) {
    let mut levels = [&entry.route.headers, &entry.host.headers, &table.config().headers];
    if table.config().most_specific_header_mutations_wins {
        levels.reverse();
    }
    for rules in levels {
        apply(cx, rules, side);
    }
}

fn apply(cx: &mut StreamCx, rules: &Option<Box<HeaderRules>>, side: Side) {
    match (rules, side) {
        (Some(rules), Side::Request) => rules.request.apply(cx, side),
        (Some(rules), Side::Response) => rules.response.apply(cx, side),
        (None, _) => {}
    }
}

/// The host a route wants, as far as it is known before an upstream host is picked.
fn new_host(cx: &StreamCx, rewrite: &HostRewrite) -> Option<Vec<u8>> {
    match rewrite {
        HostRewrite::None | HostRewrite::Auto => None,
        HostRewrite::Literal(host) => Some(host.to_vec()),
        // The first value only: anyone may have sent the header.
        HostRewrite::Header(header) => cx.request.get(header).filter(|host| !host.is_empty()).map(<[u8]>::to_vec),
        HostRewrite::PathRegex(substitution) => {
            let target = cx.request.get(Known::Path)?;
            Some(substitution.replace_all(&target[..path_len(target)]))
        }
        HostRewrite::Formatted(value) => {
            let mut host = Vec::new();
            value.write(cx, &mut host);
            (!host.is_empty()).then_some(host)
        }
    }
}

/// Gives the request another host (`auto_host_rewrite` calls it with the upstream host's name).
pub fn rewrite_host(head: &mut HeaderMap, host: &[u8], append_x_forwarded_host: bool, keep_original: bool) {
    let old = head.get(Known::Authority).unwrap_or_default().to_vec();
    if keep_original && !old.is_empty() {
        head.insert(Known::XEnvoyOriginalHost, &old);
    }
    if append_x_forwarded_host && !old.is_empty() {
        match head.get(Known::XForwardedHost) {
            None | Some(b"") => head.insert(Known::XForwardedHost, &old),
            // Compared as it stands: a blank after the comma makes it another host.
            Some(hosts) if hosts.rsplit(|&b| b == b',').next() == Some(&old[..]) => {}
            Some(_) => head.append_joined(Known::XForwardedHost, ",", &old),
        }
    }
    head.insert(Known::Authority, host);
}

/// Gives the request another path. `matched` is the route's condition, which says what a prefix rewrite replaces.
pub(super) fn rewrite_path(cx: &mut StreamCx, rewrite: &PathRewrite, matched: &PathMatch, keep_original: bool) {
    if matches!(rewrite, PathRewrite::None) {
        return;
    }
    let Some(target) = cx.request.get(Known::Path) else { return };
    let (path, rest) = target.split_at(path_len(target));
    let mut new = match rewrite {
        PathRewrite::None => return,
        PathRewrite::Prefix(prefix) => match matched.rest_of(path) {
            Some(rest) => [prefix, rest].concat(),
            None => return,
        },
        PathRewrite::Regex(substitution) => substitution.replace_all(path),
        PathRewrite::Template(template) => template.rewrite(path).unwrap_or_default(),
        PathRewrite::Formatted(value) => {
            let mut new = Vec::new();
            value.write(cx, &mut new);
            new
        }
    };
    // Nothing is no path: the request keeps the one it has.
    if new.is_empty() {
        return;
    }
    new.extend_from_slice(rest);
    if keep_original {
        let old = target.to_vec();
        cx.request.insert(Known::XEnvoyOriginalPath, old);
    }
    cx.request.insert(Known::Path, new);
}
