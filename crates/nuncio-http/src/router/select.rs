//! Where a request goes: the matched route's cluster, or an answer when there is none.

use super::failure;
use crate::routes::{
    Action, Draw, HashPolicy, HostRewrite, NewCookie, RouteAction, direct_reply, hash_request, redirect_reply, source_ip, rewrite_host,
};
use crate::stream::Routes;
use nuncio_core::{LocalReply, ResponseFlags, RouteId, StreamCx};
use nuncio_stats::tables::router as stat;
use nuncio_core::metadata::MetadataValue;
use nuncio_upstream::{ClusterConfig, ProxiedClient, SharedObjects, TransportOptions, WorkerCluster, WorkerHost, MetadataMatch, NamedBy, xxh64};
use std::{net::IpAddr, rc::Rc};

/// Where a request goes.
pub(super) struct Target {
    pub(super) id: RouteId,
    /// Which of the weighted clusters was picked.
    pub(super) choice: Option<usize>,
    pub(super) cluster: Rc<WorkerCluster>,
}

/// The route of a request and the cluster it names. Answers redirects, direct responses and what leads nowhere.
pub(super) fn target(cx: &mut StreamCx, routes: &Rc<Routes>, suppress: bool) -> Result<Target, Box<LocalReply>> {
    let lane = cx.worker.lane;
    let scope = &routes.router_stats;
    scope.inc(lane, stat::RQ_TOTAL);
    let no_route = || {
        scope.inc(lane, stat::NO_ROUTE);
        Box::new(LocalReply::new(404, "route_not_found").flags(ResponseFlags::NR))
    };
    let table = routes.table();
    let id = cx.route.as_ref().map(|r| r.id).ok_or_else(no_route)?;
    let entry = table.get(id).ok_or_else(no_route)?;
    let action = match &entry.route.action {
        Action::Forward(action) => action,
        Action::Redirect(_) => {
            scope.inc(lane, stat::RQ_DIRECT_RESPONSE);
            return Err(Box::new(redirect_reply(cx, entry, !suppress).ok_or_else(no_route)?));
        }
        Action::DirectResponse(_) => {
            scope.inc(lane, stat::RQ_DIRECT_RESPONSE);
            return Err(Box::new(direct_reply(cx, entry).ok_or_else(no_route)?));
        }
        Action::NonForwarding => {
            scope.inc(lane, stat::NO_CLUSTER);
            return Err(failure::no_cluster());
        }
    };
    let picked = action.chosen(&cx.request, cx.route.as_ref().and_then(|route| route.choice));
    match routes.cluster(id, &picked) {
        Some(cluster) => {
            cx.info.upstream.cluster = Some(cluster.cx().facts.clone());
            Ok(Target { id, choice: picked.choice, cluster })
        }
        None => {
            scope.inc(lane, stat::NO_CLUSTER);
            let mut reply = failure::no_cluster();
            reply.status = action.cluster_not_found_status;
            Err(reply)
        }
    }
}

/// Where a retry goes, with a policy that lets it go elsewhere; `None` where the request went before. `before`: the weighted
/// clusters it has been to.
pub(super) fn another(cx: &mut StreamCx, routes: &Rc<Routes>, id: RouteId, before: &mut Vec<usize>) -> Option<Target> {
    let Action::Forward(action) = &routes.table().get(id)?.route.action else { return None };
    let runtime = cx.worker.runtime.values();
    let hash = hash_request(action.hash_policy(), &cx.request, source_ip(cx), &mut |_| None);
    let picked = action.pick_again(Draw { head: &cx.request, random: cx.random, hash, runtime: &runtime }, before)?;
    let cluster = routes.cluster(id, &picked)?;
    let choice = picked.choice;
    cx.info.upstream.cluster = Some(cluster.cx().facts.clone());
    Some(Target { id, choice, cluster })
}

/// The request's hash for a cluster that balances by it: by the cluster's own policy, else by the route's. Cookies made on the way are added to `cookies`, as header
/// values: what they hold is the same for all requests of a connection.
pub(super) fn hash(
    action: Option<&RouteAction>,
    config: &ClusterConfig,
    cx: &StreamCx,
    cookies: &mut Vec<String>,
) -> Option<u64> {
    let own = config.hash_policy.as_ref().and_then(|own| own.get::<Box<[HashPolicy]>>());
    let policies = own.map(|own| &**own).or_else(|| Some(action?.hash_policy()))?;
    let mut make = |cookie: NewCookie<'_>| {
        let ends = format!("{}{}", cx.conn.remote, cx.conn.local);
        let value = format!("{:016x}", xxh64(ends.as_bytes(), 0));
        cookies.push(cookie.header(&value));
        Some(value)
    };
    hash_request(policies, &cx.request, source_ip(cx), &mut make)
}

/// The hosts that the request names, in the headers and metadata that the cluster looks at, without the first `tried`.
pub(super) fn named_hosts<'a>(config: &ClusterConfig, cx: &'a StreamCx, tried: usize) -> Vec<&'a str> {
    if config.named_by.is_empty() {
        return Vec::new();
    }
    let texts = config.named_by.iter().filter_map(|source| match source {
        NamedBy::Header(header) => std::str::from_utf8(cx.request.get_bytes(header.as_bytes())?).ok(),
        NamedBy::Metadata { namespace, path } => match cx.metadata.get(&**namespace)?.at(path.iter().map(|key| &**key)) {
            Some(MetadataValue::Text(text)) => Some(text.as_str()),
            _ => None,
        },
    });
    texts.flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty()).skip(tried).collect()
}

/// What the exchange's own metadata ask of hosts, over what the route asks; `None` if they ask nothing.
pub(super) fn criteria(config: &ClusterConfig, cx: &StreamCx, asked: Option<&MetadataMatch>) -> Option<MetadataMatch> {
    if config.subsets.is_none() || cx.metadata.is_empty() {
        return None;
    }
    let own = nuncio_core::metadata::of_lb(Some(&cx.metadata))?;
    Some(asked.map_or_else(|| MetadataMatch::new(own.clone()), |asked| asked.merged(own)))
}

/// How many of the named hosts are done with now that `host` was chosen.
pub(super) fn used(named: &[&str], host: &WorkerHost) -> usize {
    if named.is_empty() {
        return 0;
    }
    let chosen = host.host.address.to_string();
    named.iter().position(|name| *name == chosen).map_or(named.len(), |at| at + 1)
}

/// `auto_host_rewrite`: the host header becomes the chosen host's name.
pub(super) fn auto_host_rewrite(action: Option<&RouteAction>, cx: &mut StreamCx, host: &WorkerHost, keep_original: bool) {
    let Some(action) = action else { return };
    if matches!(action.host_rewrite, HostRewrite::Auto) && !host.host.hostname.is_empty() {
        let name = host.host.hostname.as_bytes();
        rewrite_host(&mut cx.request, name, action.append_x_forwarded_host, keep_original);
    }
}

/// What a request wants of its connection (`auto_sni`, `auto_san_validation`, a pool of its client's own).
#[inline]
pub(super) fn transport_options(host: &WorkerHost, cx: &StreamCx) -> Option<TransportOptions> {
    let config = &host.cluster().info.config;
    let http = &config.http;
    let tells_client = config.tells_client;
    if !http.asks_requests() && !tells_client && !config.pool_per_downstream && !config.shares_state {
        return None;
    }
    let downstream = config.pool_per_downstream.then_some(cx.conn.id);
    let client = if tells_client { ProxiedClient::of(&cx.conn) } else { None };
    let shared = if config.shares_state { SharedObjects::of(cx) } else { SharedObjects::default() };
    if !http.asks_requests() {
        return Some(TransportOptions { client, downstream, shared, ..TransportOptions::default() });
    }
    let named = http.override_auto_sni_header.as_ref().and_then(|header| cx.request.get(header.as_str()));
    let named = named.filter(|value| !value.is_empty()).or_else(|| cx.request.authority())?;
    let (name, is_address) = host_of(&String::from_utf8_lossy(named));
    Some(TransportOptions {
        server_name: (http.auto_sni && !is_address).then(|| name.clone()),
        expected_names: if http.auto_san_validation { vec![name] } else { Vec::new() },
        client,
        downstream,
        shared,
    })
}

/// The host of an authority, without its port, and whether it is an IP address.
fn host_of(authority: &str) -> (String, bool) {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => match authority.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        },
    };
    (host.to_owned(), host.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_no_port_and_addresses_are_known_as_such() {
        let cases = [
            ("a.test", "a.test", false),
            ("a.test:80", "a.test", false),
            ("127.0.0.1:80", "127.0.0.1", true),
            ("[::1]:80", "::1", true),
            ("::1", "::1", true),
            ("name/1.2", "name/1.2", false),
        ];
        for (authority, host, is_address) in cases {
            assert_eq!(host_of(authority), (host.to_owned(), is_address), "{authority}");
        }
    }
}
