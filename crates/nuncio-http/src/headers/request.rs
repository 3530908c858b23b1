//! What the connection manager does to a request's headers before anything else sees them: who the client is, what
//! it may say (`x-envoy-*`), hop-by-hop headers, request id. Order and rules as Envoy's `mutateRequestHeaders`.

use super::detection::{detect, last_of_forwarded_for};
use super::referer;
use crate::config::{ClientAddress, HcmConfig};
use nuncio_codec::headers::{HeaderMap, Known, KnownSet};
use nuncio_core::matching::{Side, tree::Facts};
use nuncio_core::{ConnInfo, LocalReply, StreamCx, original_dst, proxy_protocol};
use nuncio_rt::Address;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Headers that steer the router: obeyed from inside, removed when they come from outside.
const INTERNAL_ONLY: KnownSet = KnownSet::of(&[
    Known::XEnvoyRetriableStatusCodes,
    Known::XEnvoyRetriableHeaderNames,
    Known::XEnvoyRetryOn,
    Known::XEnvoyRetryGrpcOn,
    Known::XEnvoyMaxRetries,
    Known::XEnvoyUpstreamAltStatName,
    Known::XEnvoyUpstreamRqTimeoutMs,
    Known::XEnvoyUpstreamRqPerTryTimeoutMs,
    Known::XEnvoyUpstreamRqTimeoutAltResponse,
    Known::XEnvoyExpectedRqTimeoutMs,
    Known::XEnvoyForceTrace,
    Known::XEnvoyIpTags,
    Known::XEnvoyHedgeOnPerTryTimeout,
    Known::XEnvoyOriginalUrl,
]);

/// Headers by which one proxy tells the next what it knows: an edge believes nobody's.
const EDGE_ONLY: KnownSet = KnownSet::of(&[
    Known::XEnvoyDecoratorOperation,
    Known::XEnvoyDownstreamServiceCluster,
    Known::XEnvoyDownstreamServiceNode,
    Known::XEnvoyOriginalPath,
]);

/// Headers of this hop, whatever becomes of the request.
const HOP: KnownSet = KnownSet::of(&[Known::XEnvoyInternal, Known::KeepAlive, Known::ProxyConnection, Known::TransferEncoding]);

/// Headers of this hop that an upgrade needs.
const UPGRADE_HOP: KnownSet = KnownSet::of(&[Known::Connection, Known::Upgrade]);

/// A connection's peer in text, as headers show it; made once per connection.
#[derive(Debug)]
pub(crate) struct Peer {
    ip: Option<IpAddr>,
    /// What `x-forwarded-for` gets.
    forwarded_for: String,
    /// What `x-envoy-external-address` gets.
    external: String,
    /// What `x-forwarded-client-cert` gets.
    client_cert: Option<String>,
    /// What `x-forwarded-proto` gets.
    scheme: &'static str,
}

impl Peer {
    /// The text of a connection's peer. A loopback peer is our own host: `x-forwarded-for` gets the address other
    /// hosts know it by.
    pub(crate) fn of(conn: &ConnInfo, config: &HcmConfig) -> Peer {
        let (rules, client_cert) = (&config.client_address, config.client_cert.element(conn));
        let scheme = rules.scheme(conn);
        if !config.tells_clients {
            proxy_protocol::keep_quiet(conn);
        }
        let Some(ip) = conn.remote_ip().map(|a| a.ip().to_canonical()) else {
            return Peer { ip: None, forwarded_for: String::new(), external: String::new(), client_cert, scheme };
        };
        let own = ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST);
        let shown = if own { super::local_address::of_this_host() } else { ip };
        let forwarded_for = match shown {
            IpAddr::V4(v4) if rules.ipv4_mapped => v4.to_ipv6_mapped().to_string(),
            shown => shown.to_string(),
        };
        Peer { ip: Some(ip), forwarded_for, external: ip.to_string(), client_cert, scheme }
    }
}

impl ClientAddress {
    /// The scheme that a client has used: by the port it went to, where a proxy before us has told that, else by the
    /// transport.
    fn scheme(&self, conn: &ConnInfo) -> &'static str {
        let port = original_dst::restored(conn).map(|destination| destination.port());
        match port {
            Some(port) if self.https_ports.contains(&port) => "https",
            Some(port) if self.http_ports.contains(&port) => "http",
            _ if conn.tls => "https",
            _ => "http",
        }
    }
}

/// Prepares a request's headers. `upgrade` keeps `connection` and `upgrade`. An answer means that it goes no further.
pub(crate) fn condition(cx: &mut StreamCx, config: &HcmConfig, peer: &Peer, upgrade: bool) -> Option<Box<LocalReply>> {
    for mutations in &config.early_header_mutations {
        mutations.apply(cx, Side::Request);
    }
    remove_hop_by_hop(&mut cx.request, upgrade);
    if cx.request.get(Known::Referer).is_some_and(|referer| !referer::is_valid(referer)) {
        cx.request.remove(Known::Referer);
    }
    let client = match identify(cx, &config.client_address, peer) {
        Ok(client) => client,
        Err(status) => return Some(Box::new(LocalReply::new(status, "rejecting_because_detection_failed"))),
    };
    set_scheme(cx, config);
    let edge = config.client_address.use_remote_address && !client.internal;
    cx.info.internal = client.internal;
    if client.internal {
        cx.request.insert(Known::XEnvoyInternal, "true");
    } else {
        clean_external(&mut cx.request, edge);
    }
    if edge && let Some(Address::Ip(from)) = &cx.info.remote {
        let ip = from.ip();
        if peer.ip == Some(ip) {
            cx.request.insert(Known::XEnvoyExternalAddress, &peer.external);
        } else {
            cx.request.insert(Known::XEnvoyExternalAddress, ip.to_string());
        }
    }
    if let Some(us) = &config.add_user_agent {
        cx.request.insert(Known::XEnvoyDownstreamServiceCluster, us.cluster.as_bytes());
        cx.request.add_if_absent(Known::UserAgent, us.cluster.as_bytes());
        if !us.node.is_empty() {
            cx.request.insert(Known::XEnvoyDownstreamServiceNode, us.node.as_bytes());
        }
    }
    if config.generate_request_id {
        let renew = edge && !config.preserve_external_request_id;
        if renew || !cx.request.contains(Known::XRequestId) {
            let worker = cx.worker.clone();
            cx.request.insert(Known::XRequestId, worker.rng.uuid_text());
        }
    }
    let told = config.client_cert_matcher.as_ref().and_then(|matcher| {
        let runtime = cx.worker.runtime.values();
        matcher.find(&Facts::of(cx, &runtime)).action()
    });
    match told {
        Some(rules) => rules.apply(cx, rules.element(&cx.conn).as_deref()),
        None => config.client_cert.apply(cx, peer.client_cert.as_deref()),
    }
    if !config.via.is_empty() {
        cx.request.append_joined(Known::Via, ", ", config.via.as_bytes());
    }
    None
}

/// Headers that concern this hop only (rfc9110#7.6.1). `te: trailers` stays.
fn remove_hop_by_hop(head: &mut HeaderMap, upgrade: bool) {
    head.remove_all(&HOP);
    if upgrade {
        return;
    }
    head.remove_all(&UPGRADE_HOP);
    if let Some(te) = head.get(Known::Te) {
        let trailers = te.split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(b"trailers"));
        if trailers {
            head.insert(Known::Te, "trailers");
        } else {
            head.remove(Known::Te);
        }
    }
}

struct Client {
    internal: bool,
}

/// Finds the client's address, extends `x-forwarded-for`, decides whether the request is an internal one. The error is the
/// status of an answer.
fn identify(cx: &mut StreamCx, rules: &ClientAddress, peer: &Peer) -> Result<Client, u16> {
    let direct = cx.conn.remote_ip();
    let single;
    let mut found = direct.map(|a| a.ip());
    if rules.use_remote_address {
        single = !cx.request.contains(Known::XForwardedFor);
        if rules.trusted_hops > 0
            && let Some((ip, _)) = last_of_forwarded_for(&cx.request, rules.trusted_hops - 1)
        {
            found = Some(ip);
        }
        if !rules.skip_xff_append {
            append_forwarded_for(cx, peer);
        }
        if rules.trusted_hops == 0 || !cx.request.contains(Known::XForwardedProto) {
            cx.request.insert(Known::XForwardedProto, peer.scheme);
        }
    } else {
        if rules.detectors.is_empty() {
            match last_of_forwarded_for(&cx.request, rules.trusted_hops) {
                Some((ip, alone)) => (found, single) = (Some(ip), alone),
                None => single = false,
            }
        } else {
            let detected = detect(&rules.detectors, &cx.request, found);
            if let Some(status) = detected.reject {
                cx.info.remote = None;
                return Err(status);
            }
            (found, single) = (detected.address.or(found), detected.trusted);
            if detected.append && !rules.skip_xff_append {
                append_forwarded_for(cx, peer);
            }
        }
        if !cx.request.contains(Known::XForwardedProto) {
            cx.request.insert(Known::XForwardedProto, peer.scheme);
        }
    }
    let port_is_told = cx.request.contains(Known::XForwardedPort) && !(rules.use_remote_address && rules.trusted_hops == 0);
    if rules.append_port
        && !port_is_told
        && let Address::Ip(local) = &cx.conn.local
    {
        let port = u64::from(local.port());
        cx.request.set_with(Known::XForwardedPort, |v| v.decimal(port));
    }
    let internal = single
        && match (found, &cx.conn.remote) {
            (Some(ip), _) => rules.internal.iter().any(|range| range.contains(ip)),
            (None, Address::Pipe(_)) => rules.internal_unix,
            (None, Address::Ip(_) | Address::Internal(_)) => false,
        };
    cx.info.remote = found.map(|ip| {
        let port = direct.filter(|d| d.ip() == ip).map_or(0, |d| d.port());
        Address::Ip(SocketAddr::new(ip, port))
    });
    Ok(Client { internal })
}

/// Our peer's address behind those already in `x-forwarded-for`.
fn append_forwarded_for(cx: &mut StreamCx, peer: &Peer) {
    if peer.forwarded_for.is_empty() {
        return;
    }
    if cx.request.contains(Known::XForwardedFor) {
        cx.request.append_joined(Known::XForwardedFor, ",", &peer.forwarded_for);
    } else {
        cx.request.insert(Known::XForwardedFor, &peer.forwarded_for);
    }
}

/// Brings a scheme into lower case, one of HTTP's. False if there is none: what else stands there counts for nothing.
fn settle_scheme(cx: &mut StreamCx) -> bool {
    let known: &'static [u8] = match cx.request.scheme() {
        None => return false,
        Some(b"http" | b"https") => return true,
        Some(scheme) if scheme.eq_ignore_ascii_case(b"http") => b"http",
        Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => b"https",
        Some(_) => return false,
    };
    cx.request.insert(Known::Scheme, known);
    true
}

/// `:scheme` as a trusted hop told it, else by the transport.
fn set_scheme(cx: &mut StreamCx, config: &HcmConfig) {
    if let Some(scheme) = &config.scheme_overwrite {
        cx.request.insert(Known::Scheme, scheme.as_bytes());
        cx.request.insert(Known::XForwardedProto, scheme.as_bytes());
    } else if !settle_scheme(cx) {
        let scheme = match cx.request.get(Known::XForwardedProto) {
            Some(told) if told.eq_ignore_ascii_case(b"https") => "https",
            Some(told) if told.eq_ignore_ascii_case(b"http") => "http",
            _ if cx.conn.tls => "https",
            _ => "http",
        };
        cx.request.insert(Known::Scheme, scheme);
    }
}

fn clean_external(head: &mut HeaderMap, edge: bool) {
    if edge {
        head.remove_all(&EDGE_ONLY);
    }
    head.remove_all(&INTERNAL_ONLY);
}
