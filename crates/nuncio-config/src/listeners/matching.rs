//! `FilterChainMatch`: which connections a chain takes.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_core::matching::Cidr;
use nuncio_listen::{ChainMatch, SourceType};
use proto::filter_chain_match::ConnectionSourceType;

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::FilterChainMatch) -> ChainMatch {
    let proto::FilterChainMatch {
        destination_port,
        prefix_ranges,
        address_suffix,
        suffix_len,
        direct_source_prefix_ranges,
        source_type,
        source_prefix_ranges,
        source_ports,
        server_names,
        transport_protocol,
        application_protocols,
    } = from;
    if !address_suffix.is_empty() || suffix_len.is_some() {
        cx.error(codes::BAD_VALUE, "address_suffix and suffix_len were never built, in Envoy neither")
            .envoy("error adding listener: filter chain contains unimplemented fields");
    }
    let names = cx.each("server_names", server_names, server_name);
    once_each(cx, "server_names", server_names);
    once_each(cx, "prefix_ranges", prefix_ranges);
    once_each(cx, "direct_source_prefix_ranges", direct_source_prefix_ranges);
    once_each(cx, "source_prefix_ranges", source_prefix_ranges);
    once_each(cx, "source_ports", source_ports);
    once_each(cx, "application_protocols", application_protocols);
    let port = |p: &u32| u16::try_from(*p).unwrap_or_default();
    ChainMatch {
        destination_port: destination_port.as_ref().map(port),
        prefix_ranges: cx.each("prefix_ranges", prefix_ranges, range),
        server_names: names,
        transport_protocol: transport_protocol.clone(),
        application_protocols: application_protocols.clone(),
        direct_source_prefix_ranges: cx.each("direct_source_prefix_ranges", direct_source_prefix_ranges, range),
        source_type: match ConnectionSourceType::try_from(*source_type).unwrap_or(ConnectionSourceType::Any) {
            ConnectionSourceType::Any => SourceType::Any,
            ConnectionSourceType::SameIpOrLoopback => SourceType::SameIpOrLoopback,
            ConnectionSourceType::External => SourceType::External,
        },
        source_prefix_ranges: cx.each("source_prefix_ranges", source_prefix_ranges, range),
        source_ports: source_ports.iter().map(port).collect(),
    }
}

/// Envoy enters a chain once for every value, and finds it there already the second time.
fn once_each<T: PartialEq>(cx: &mut CompileCx<'_>, field: &'static str, values: &[T]) {
    let Some(index) = (1..values.len()).find(|index| values[..*index].contains(&values[*index])) else { return };
    cx.item(field, index, |cx| {
        cx.error(codes::CONFLICT, "it stands here twice")
            .envoy("error adding listener: multiple filter chains with overlapping matching rules are defined");
    });
}

fn range(cx: &mut CompileCx<'_>, from: &core::CidrRange) -> Option<Cidr> {
    let core::CidrRange { address_prefix, prefix_len } = from;
    match address_prefix.parse() {
        Ok(address) => Some(Cidr::new(address, prefix_len.map_or(0, |n| u8::try_from(n).unwrap_or(u8::MAX)))),
        Err(_) => {
            cx.at("address_prefix", |cx| crate::address::not_an_ip(cx, address_prefix, ""));
            None
        }
    }
}

fn server_name(cx: &mut CompileCx<'_>, name: &String) -> Option<String> {
    let inner = name.strip_prefix("*.").unwrap_or(name);
    if inner.contains('*') {
        cx.error(codes::BAD_VALUE, format!("`{name}` is no server name: a `*` may only stand for the whole first label"))
            .envoy(format!("error adding listener: partial wildcards are not supported in \"server_names\", {name}"));
        return None;
    }
    Some(name.to_ascii_lowercase())
}
