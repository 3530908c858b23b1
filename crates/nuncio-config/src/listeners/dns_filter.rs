//! `DnsFilterConfig` → [`DnsFilter`].

use super::tcp_proxy::known;
use crate::clusters::{dns_resolution, resolver_addresses, typed_resolver};
use crate::context::CompileCx;
use crate::{codes, routes, unbuilt};
use nuncio_api::envoy::data::dns::v3 as data;
use nuncio_api::envoy::extensions::filters::udp::dns_filter::v3 as proto;
use nuncio_api::{Diagnostic, Document, Source, Syntax};
use nuncio_listen::Datagrams;
use nuncio_listen::dns_filter::{ANSWER_TTL, DnsFilter, DnsFilterConfig, DnsTable, Domain, DomainTo, Forward, Service, Target, TargetName};
use nuncio_upstream::config::ResolverConfig;
use proto::dns_filter_config::{ClientContextConfig, ServerContextConfig, server_context_config::ConfigSource};
use data::dns_table::{DnsEndpoint, DnsService, DnsServiceTarget, DnsVirtualDomain, dns_endpoint, dns_service_protocol, dns_service_target};
use std::{sync::Arc, time::Duration};

/// `resolver_timeout` when not set.
const RESOLVER_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::DnsFilterConfig, max_query_bytes: usize) -> Option<Arc<dyn Datagrams>> {
    let proto::DnsFilterConfig { stat_prefix, server_config, client_config, access_log, case_insensitive } = from;
    unbuilt!(cx, access_log);
    let mut table = DnsTable::new(*case_insensitive);
    if let Some(ServerContextConfig { config_source: Some(source) }) = server_config {
        cx.at("server_config", |cx| match source {
            ConfigSource::InlineDnsTable(from) => cx.at("inline_dns_table", |cx| fill(cx, &mut table, from)),
            ConfigSource::ExternalDnsTable(from) => cx.at("external_dns_table", |cx| {
                if let Some(text) = routes::data(cx, from, None) {
                    external(cx, &mut table, &text);
                }
            }),
        });
    }
    let forward = client_config.as_ref().map(|from| cx.at("client_config", |cx| forward(cx, from)));
    Some(DnsFilter::new(DnsFilterConfig { stat_prefix: stat_prefix.clone(), table, forward, max_query_bytes }, &cx.stats))
}

/// A table that is not in the configuration itself, in YAML or JSON.
fn external(cx: &mut CompileCx<'_>, table: &mut DnsTable, text: &str) {
    let wrong = |found: &[Diagnostic]| found.iter().find(|d| d.is_error()).map(|d| d.message.clone());
    let said = match Document::parse(Source::new("external_dns_table", text), Syntax::Yaml) {
        Err(found) => wrong(&found),
        Ok(document) => {
            let decoded = nuncio_api::decode::<data::DnsTable>(&document, &nuncio_api::Options::default());
            match (wrong(&decoded.diagnostics), decoded.message) {
                (None, Some(from)) => return fill(cx, table, &from),
                (said, _) => said,
            }
        }
    };
    let said = said.unwrap_or_default();
    cx.error(codes::BAD_VALUE, format!("this is no table of names: {said}")).help("virtual_domains: [...], in YAML or JSON");
}

fn fill(cx: &mut CompileCx<'_>, table: &mut DnsTable, from: &data::DnsTable) {
    #[allow(deprecated)]
    let data::DnsTable { external_retry_count, virtual_domains, known_suffixes } = from;
    // Envoy looks at neither: resolvers have their own attempts, and the suffixes are those of the names.
    let _ = (external_retry_count, known_suffixes);
    for (index, DnsVirtualDomain { name, endpoint, answer_ttl }) in virtual_domains.iter().enumerate() {
        cx.item("virtual_domains", index, |cx| {
            let ttl = seconds(cx, "answer_ttl", answer_ttl.as_ref()).unwrap_or(ANSWER_TTL);
            let to = endpoint.as_ref().and_then(|endpoint| cx.at("endpoint", |cx| leads_to(cx, endpoint)));
            table.add(name, Domain { ttl, to: to.unwrap_or(DomainTo::Addresses(Vec::new())) });
        });
    }
}

fn seconds(cx: &mut CompileCx<'_>, field: &'static str, from: Option<&prost_types::Duration>) -> Option<u32> {
    cx.duration(field, from).map(|duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX))
}

fn leads_to(cx: &mut CompileCx<'_>, from: &DnsEndpoint) -> Option<DomainTo> {
    match from.endpoint_config.as_ref()? {
        dns_endpoint::EndpointConfig::AddressList(list) => cx.at("address_list", |cx| {
            let addresses = cx.each("address", &list.address, |cx, text| {
                let parsed = text.parse().ok();
                if parsed.is_none() {
                    cx.error(codes::BAD_ADDRESS, format!("`{text}` is not an IP address")).envoy(format!("malformed IP address: {text}"));
                }
                parsed
            });
            Some(DomainTo::Addresses(addresses))
        }),
        dns_endpoint::EndpointConfig::ClusterName(name) => {
            cx.at("cluster_name", |cx| known(cx, name));
            Some(DomainTo::Cluster(name.as_str().into()))
        }
        dns_endpoint::EndpointConfig::ServiceList(list) => cx.at("service_list", |cx| Some(DomainTo::Services(cx.each("services", &list.services, service)))),
    }
}

/// A service and its name, `_sip._tcp`.
fn service(cx: &mut CompileCx<'_>, from: &DnsService) -> Option<(String, Service)> {
    let DnsService { service_name, protocol, ttl, targets } = from;
    let protocol = match protocol.as_ref().and_then(|protocol| protocol.protocol_config.as_ref()) {
        Some(dns_service_protocol::ProtocolConfig::Name(name)) => name.clone(),
        Some(dns_service_protocol::ProtocolConfig::Number(6)) => "tcp".to_owned(),
        Some(dns_service_protocol::ProtocolConfig::Number(17)) => "udp".to_owned(),
        Some(dns_service_protocol::ProtocolConfig::Number(_)) | None => {
            cx.warn(codes::SUSPICIOUS, "nobody can ask for a service whose protocol has no name").help("protocol: { name: tcp }");
            return None;
        }
    };
    let ttl = seconds(cx, "ttl", ttl.as_ref()).unwrap_or(0);
    let targets = cx.each("targets", targets, |cx, DnsServiceTarget { priority, weight, port, endpoint_type }| {
        let name = match endpoint_type.as_ref()? {
            dns_service_target::EndpointType::HostName(name) => TargetName::Host(name.clone()),
            dns_service_target::EndpointType::ClusterName(name) => {
                cx.at("cluster_name", |cx| known(cx, name));
                TargetName::Cluster(name.as_str().into())
            }
        };
        let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        Some(Target { name, priority: short(*priority), weight: short(*weight), port: short(*port) })
    });
    let label = |name: &str| if name.starts_with('_') { name.to_owned() } else { format!("_{name}") };
    Some((format!("{}.{}", label(service_name), label(&protocol)), Service { ttl, targets }))
}

fn forward(cx: &mut CompileCx<'_>, from: &ClientContextConfig) -> Forward {
    #[allow(deprecated)]
    let ClientContextConfig { resolver_timeout, upstream_resolvers, dns_resolution_config, typed_dns_resolver_config, max_pending_lookups } = from;
    let resolver = if let Some(typed) = typed_dns_resolver_config {
        cx.at("typed_dns_resolver_config", |cx| typed_resolver(cx, typed))
    } else if let Some(config) = dns_resolution_config {
        cx.at("dns_resolution_config", |cx| dns_resolution(cx, config))
    } else {
        ResolverConfig { servers: resolver_addresses(cx, "upstream_resolvers", upstream_resolvers), ..ResolverConfig::default() }
    };
    let timeout = cx.duration("resolver_timeout", resolver_timeout.as_ref()).unwrap_or(RESOLVER_TIMEOUT);
    Forward { resolver, timeout, max_pending: *max_pending_lookups }
}
