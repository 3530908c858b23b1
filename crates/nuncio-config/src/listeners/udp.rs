//! A listener for datagrams → [`ListenerConfig`] with a [`UdpProxy`] (`UdpProxyConfig`) or a DNS filter (`dns_filter`).

use super::{dns_filter, listen_address, sockets, tcp_proxy::known};
use crate::context::CompileCx;
use crate::{access_log, codes, unbuilt};
use nuncio_api::envoy::config::core::v3::UdpSocketConfig;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_api::envoy::extensions::filters::udp::dns_filter::v3::DnsFilterConfig;
use nuncio_api::envoy::extensions::filters::udp::udp_proxy::v3 as udp;
use nuncio_api::xds::r#type::matcher::v3::{Matcher, matcher::on_match::OnMatch};
use nuncio_listen::udp_proxy::{IDLE, MAX_DATAGRAM_BYTES, UdpHash, UdpProxy, UdpProxyConfig};
use nuncio_listen::{Datagrams, Digest, ListenerConfig};
use prost::{Message as _, Name as _};
use proto::listener_filter::ConfigType;
use std::sync::Arc;
use udp::udp_proxy_config::{HashPolicy, RouteSpecifier, hash_policy::PolicySpecifier};

/// The filters that are built.
enum Filter {
    Proxy(Box<udp::UdpProxyConfig>),
    Dns(Box<DnsFilterConfig>),
}

/// The configuration of the filter, if it is one that is built. Of several the first would take everything.
fn filter(from: &proto::Listener) -> Option<Filter> {
    let first = from.listener_filters.first()?;
    let Some(ConfigType::TypedConfig(config)) = &first.config_type else { return None };
    let (message, bytes) = (nuncio_api::any_type(config), config.value.as_slice());
    if message == udp::UdpProxyConfig::full_name() {
        return udp::UdpProxyConfig::decode(bytes).ok().map(Box::new).map(Filter::Proxy);
    }
    (message == DnsFilterConfig::full_name()).then(|| DnsFilterConfig::decode(bytes).ok().map(Box::new).map(Filter::Dns))?
}

/// Whether the listener has a filter that is built.
pub(super) fn is_built(from: &proto::Listener) -> bool {
    filter(from).is_some()
}

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::Listener, digest: Digest) -> Option<ListenerConfig> {
    let address = cx.at("address", |cx| listen_address(cx, from.address.as_ref()?))?;
    let mut config = ListenerConfig::new(&from.name, address);
    if from.name.is_empty() {
        config.name = config.addresses[0].to_string().into();
    }
    config.stat_prefix.clone_from(&from.stat_prefix);
    config.socket = sockets::compile(cx, from);
    config.socket.datagrams = true;
    // Each worker has the sessions of the clients that the system gives it.
    config.socket.reuse_port = true;
    let mut max = MAX_DATAGRAM_BYTES;
    if let Some(proto::UdpListenerConfig { downstream_socket_config, quic_options: _, udp_packet_packet_writer_config }) = &from.udp_listener_config {
        cx.at("udp_listener_config", |cx| {
            unbuilt!(cx, udp_packet_packet_writer_config);
            max = cx.at("downstream_socket_config", |cx| size(cx, downstream_socket_config.as_ref()));
        });
    }
    let filter = filter(from)?;
    for index in 1..from.listener_filters.len() {
        cx.item("listener_filters", index, |cx| {
            cx.warn(codes::SUSPICIOUS, "the filter before this one takes every datagram");
        });
    }
    config.datagrams = cx.item("listener_filters", 0, |cx| {
        cx.at("typed_config", |cx| match &filter {
            Filter::Proxy(filter) => of_proxy(cx, filter, max),
            Filter::Dns(filter) => dns_filter::compile(cx, filter, max),
        })
    });
    config.digest = digest;
    config.datagrams.is_some().then_some(config)
}

/// `max_rx_datagram_size`
fn size(cx: &mut CompileCx<'_>, from: Option<&UdpSocketConfig>) -> usize {
    let Some(UdpSocketConfig { max_rx_datagram_size, prefer_gro }) = from else { return MAX_DATAGRAM_BYTES };
    unbuilt!(cx, prefer_gro);
    max_rx_datagram_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(MAX_DATAGRAM_BYTES)
}

fn of_proxy(cx: &mut CompileCx<'_>, from: &udp::UdpProxyConfig, max_downstream_bytes: usize) -> Option<Arc<dyn Datagrams>> {
    #[allow(deprecated)]
    let udp::UdpProxyConfig {
        stat_prefix,
        idle_timeout,
        use_original_src_ip,
        hash_policies,
        upstream_socket_config,
        use_per_packet_load_balancing,
        access_log,
        proxy_access_log,
        session_filters,
        tunneling_config,
        access_log_options,
        route_specifier,
    } = from;
    unbuilt!(cx, proxy_access_log, access_log_options);
    // Hosts would see other addresses than they are to see; datagrams would go on unseen or outside of the tunnel.
    crate::unsafe_unbuilt!(cx, use_original_src_ip, session_filters, tunneling_config);
    let cluster = match route_specifier {
        #[allow(deprecated)]
        Some(RouteSpecifier::Cluster(name)) => cx.at("cluster", |cx| {
            known(cx, name);
            Some(name.clone())
        }),
        Some(RouteSpecifier::Matcher(matcher)) => cx.at("matcher", |cx| only_cluster(cx, matcher)),
        // Reported when it was read.
        None => None,
    }?;
    let hash = match hash_policies.first().map(|HashPolicy { policy_specifier }| policy_specifier) {
        Some(Some(PolicySpecifier::SourceIp(_))) => UdpHash::SourceIp,
        Some(Some(PolicySpecifier::Key(key))) => UdpHash::Key(key.as_str().into()),
        Some(None) | None => UdpHash::None,
    };
    let config = UdpProxyConfig {
        stat_prefix: stat_prefix.clone(),
        cluster: cluster.as_str().into(),
        idle_timeout: cx.duration("idle_timeout", idle_timeout.as_ref()).unwrap_or(IDLE),
        hash,
        per_packet: *use_per_packet_load_balancing,
        max_downstream_bytes,
        max_upstream_bytes: cx.at("upstream_socket_config", |cx| size(cx, upstream_socket_config.as_ref())),
        access_logs: access_log::compile(cx, "access_log", access_log),
    };
    Some(UdpProxy::new(config, &cx.stats))
}

/// The cluster of a matcher that leads to one, whatever comes.
fn only_cluster(cx: &mut CompileCx<'_>, from: &Matcher) -> Option<String> {
    let Matcher { on_no_match, matcher_type } = from;
    if matcher_type.is_some() {
        cx.value_unsafe_without("a matcher that asks for anything").help("one with nothing but `on_no_match` is built");
        return None;
    }
    let action = match on_no_match.as_ref().and_then(|on| on.on_match.as_ref()) {
        Some(OnMatch::Action(action)) => action.typed_config.as_ref(),
        _ => None,
    };
    let route = action.filter(|any| nuncio_api::any_type(any) == udp::Route::full_name()).and_then(|any| udp::Route::decode(any.value.as_slice()).ok());
    let Some(udp::Route { cluster }) = route else {
        cx.error(codes::BAD_VALUE, "the matcher leads to no route").help(format!("\"@type\": type.googleapis.com/{}", udp::Route::full_name()));
        return None;
    };
    known(cx, &cluster);
    Some(cluster)
}
