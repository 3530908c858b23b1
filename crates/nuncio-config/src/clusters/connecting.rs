//! How connections to a cluster's hosts are made: `upstream_bind_config`, `upstream_connection_options`,
//! `preconnect_policy`.

use crate::codes;
use crate::context::CompileCx;
use crate::socket_options::socket_options;
use crate::{address, unbuilt};
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::upstream::local_address_selector::v3::DefaultLocalAddressSelector;
use nuncio_upstream::config::{Attached, Preconnect};
use nuncio_rt::{Address, Keepalive, TcpOptions, TcpSource};
use prost::{Message, Name};
use proto::upstream_connection_options::{FirstAddressFamilyVersion, HappyEyeballsConfig};
use std::time::Duration;

/// The socket's options; what the cluster does not say is `defaults`.
pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> TcpOptions {
    let mut options = match &cluster.upstream_bind_config {
        Some(from) => cx.at("upstream_bind_config", |cx| bind(cx, from)),
        None => cx.default_bind.clone(),
    };
    if let Some(from) = &cluster.upstream_connection_options {
        let proto::UpstreamConnectionOptions { tcp_keepalive, set_local_interface_name_on_upstream_connections, happy_eyeballs_config: _ } = from;
        cx.at("upstream_connection_options", |cx| unbuilt!(cx, set_local_interface_name_on_upstream_connections));
        options.keepalive = tcp_keepalive.as_ref().map(keepalive);
    }
    options
}

fn keepalive(from: &core::TcpKeepalive) -> Keepalive {
    let core::TcpKeepalive { keepalive_probes, keepalive_time, keepalive_interval } = *from;
    let seconds = |n: Option<u32>| n.map(|n| Duration::from_secs(n.into()));
    Keepalive { probes: keepalive_probes, time: seconds(keepalive_time), interval: seconds(keepalive_interval) }
}

/// Local addresses. Of the further ones at most one, for the other IP version.
pub(crate) fn bind(cx: &mut CompileCx<'_>, bind: &core::BindConfig) -> TcpOptions {
    #[allow(deprecated)]
    let core::BindConfig {
        source_address,
        freebind,
        socket_options: socket_options_of_all,
        extra_source_addresses,
        additional_source_addresses,
        local_address_selector,
        validate_network_namespaces,
    } = bind;
    unbuilt!(cx, validate_network_namespaces);
    let options = socket_options(cx, socket_options_of_all);
    if let Some(selector) = local_address_selector {
        cx.at("local_address_selector", |cx| known_selector(cx, selector));
    }
    if extra_source_addresses.len() + additional_source_addresses.len() > 1 && local_address_selector.is_none() {
        let field = if extra_source_addresses.is_empty() { "additional_source_addresses" } else { "extra_source_addresses" };
        cx.at(field, |cx| {
            cx.error(codes::CONFLICT, "one further source address at most: one for each IP version").envoy(
                "upstream binding config has more than one extra/additional source addresses. Only one extra/additional \
                 source can be supported in BindConfig's extra_source_addresses/additional_source_addresses field",
            );
        });
    }
    let first = source_address.as_ref().and_then(|from| cx.at("source_address", |cx| address::socket_addr(cx, from)));
    let plain = |address| TcpSource { address, options: None };
    let extra = cx.each("extra_source_addresses", extra_source_addresses, |cx, extra| {
        let core::ExtraSourceAddress { address, socket_options: own } = extra;
        let options = own.as_ref().map(|own| cx.at("socket_options", |cx| socket_options(cx, &own.socket_options)));
        let address = address.as_ref().and_then(|from| cx.at("address", |cx| address::socket_addr(cx, from)))?;
        Some(TcpSource { address, options })
    });
    let additional = cx.each("additional_source_addresses", additional_source_addresses, address::socket_addr);
    let sources = first.map(plain).into_iter().chain(extra).chain(additional.into_iter().map(plain)).collect();
    TcpOptions { sources, freebind: freebind.unwrap_or(false), keepalive: None, options }
}

/// There is one way to choose among local addresses: by the host's IP version.
fn known_selector(cx: &mut CompileCx<'_>, from: &core::TypedExtensionConfig) {
    let core::TypedExtensionConfig { name, typed_config } = from;
    let url = typed_config.as_ref().map_or("", |config| &config.type_url);
    if nuncio_api::schema::type_name(url) != DefaultLocalAddressSelector::full_name() {
        let finding = cx.error(codes::UNKNOWN_EXTENSION, format!("there is no local address selector `{name}`"));
        finding.envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{}'", nuncio_api::schema::type_name(url)));
    }
}

/// `upstream_config`: requests become requests. What makes them something else is not built.
pub(super) fn upstream(cx: &mut CompileCx<'_>, from: &core::TypedExtensionConfig) {
    let core::TypedExtensionConfig { name, typed_config } = from;
    match nuncio_api::schema::type_name(typed_config.as_ref().map_or("", |config| &config.type_url)) {
        "envoy.extensions.upstreams.http.generic.v3.GenericConnectionPoolProto"
        | "envoy.extensions.upstreams.http.http.v3.HttpConnectionPoolProto"
        | "envoy.extensions.upstreams.tcp.generic.v3.GenericConnectionPoolProto" => {}
        _ => _ = cx.value_unsafe_without(&format!("the upstream `{name}`")).note("requests would go out as HTTP"),
    }
}

/// `preconnect_policy`: how many connections a request is worth.
pub(super) fn preconnect(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> Preconnect {
    let Some(policy) = &cluster.preconnect_policy else { return Preconnect::default() };
    let proto::cluster::PreconnectPolicy { per_upstream_preconnect_ratio, predictive_preconnect_ratio, preconnect_enabled_metadata } = policy;
    let only = preconnect_enabled_metadata.as_ref().and_then(|from| {
        cx.at("preconnect_policy", |cx| {
            cx.at("preconnect_enabled_metadata", |cx| match nuncio_ext::read::metadata_matcher(from) {
                Ok(matcher) => Some(Attached::new(from.encode_to_vec(), matcher)),
                Err(error) => {
                    cx.extension_error(codes::BAD_VALUE, error);
                    None
                }
            })
        })
    });
    Preconnect {
        per_upstream: per_upstream_preconnect_ratio.unwrap_or(1.0),
        predictive: predictive_preconnect_ratio.unwrap_or(1.0),
        only,
    }
}

/// The addresses of one host in the order in which they are tried: IP versions in turn, beginning with that of the first
/// address unless `happy_eyeballs_config` says otherwise.
pub(super) fn in_turn(cluster: &proto::Cluster, addresses: Vec<Address>) -> Vec<Address> {
    let config = cluster.upstream_connection_options.as_ref().and_then(|options| options.happy_eyeballs_config);
    let HappyEyeballsConfig { first_address_family_version, first_address_family_count } = config.unwrap_or_default();
    let is_v6 = |address: &Address| matches!(address, Address::Ip(ip) if ip.is_ipv6());
    let v6_first = match FirstAddressFamilyVersion::try_from(first_address_family_version) {
        Ok(FirstAddressFamilyVersion::V4) => false,
        Ok(FirstAddressFamilyVersion::V6) => true,
        _ => addresses.first().is_some_and(is_v6),
    };
    let (first, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| is_v6(address) == v6_first);
    let (mut first, mut other) = (first.into_iter().peekable(), other.into_iter().peekable());
    let mut turns = Vec::new();
    let mut count = first_address_family_count.unwrap_or(1).max(1) as usize;
    while first.peek().is_some() || other.peek().is_some() {
        turns.extend(first.by_ref().take(count));
        turns.extend(other.by_ref().take(1));
        count = 1;
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::Ip(text.parse().unwrap())
    }

    #[test]
    fn ip_versions_take_turns() {
        let all = ["1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1", "[::1]:1", "[::2]:1"];
        let turns = |config: Option<HappyEyeballsConfig>| {
            let options = proto::UpstreamConnectionOptions { happy_eyeballs_config: config, ..Default::default() };
            let cluster = proto::Cluster { upstream_connection_options: Some(options), ..Default::default() };
            in_turn(&cluster, all.map(address).to_vec()).iter().map(|a| all.iter().position(|x| address(x) == *a).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(turns(None), [0, 3, 1, 4, 2]);
        let v6 = HappyEyeballsConfig { first_address_family_version: FirstAddressFamilyVersion::V6 as i32, first_address_family_count: None };
        assert_eq!(turns(Some(v6)), [3, 0, 4, 1, 2]);
        let two = HappyEyeballsConfig { first_address_family_version: 0, first_address_family_count: Some(2) };
        assert_eq!(turns(Some(two)), [0, 1, 3, 2, 4]);
    }
}
