//! Listener filters: those that look at the first bytes, and which of the others cannot be left out.

use super::kinds::Kind;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_api::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use nuncio_api::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use nuncio_api::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use nuncio_api::envoy::config::core::v3::{
    ProxyProtocolPassThroughTlVs, proxy_protocol_config::Version, proxy_protocol_pass_through_tl_vs::PassTlVsMatchType,
};
use nuncio_api::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use nuncio_core::{BuildCx, FilterConfig, NetworkPart};
use nuncio_listen::{AcceptFilter, ConnectionMatch, Disabled, FilterChainConfig, Inspectors, PassThrough, ProxyProtocolRules, TLV_NAMESPACE, TlsLook, TlvRule};
use prost::{Message as _, Name as _};
use nuncio_api::envoy::extensions::filters::listener::proxy_protocol::v3::proxy_protocol::{
    KeyValuePair, Rule, TlvLocation, key_value_pair::ValueStringEncoding,
};
use proto::listener_filter::ConfigType;
use proto::listener_filter_chain_match_predicate::{MatchSet, Rule as PredicateRule};
use std::sync::Arc;

/// Listener filters that people will miss, but that change nothing of what a connection is taken for. All others that
/// are not built do: the addresses that access control relies on would be the balancer's.
const MISSED: [&str; 1] = ["envoy.extensions.filters.listener.original_src.v3.OriginalSrc"];

/// Extensions for listeners of one kind do not stand in another's.
pub(super) fn check_category(cx: &mut CompileCx<'_>, filters: &[proto::ListenerFilter], kind: Kind) {
    for (index, filter) in filters.iter().enumerate() {
        let Some(ConfigType::TypedConfig(config)) = &filter.config_type else { continue };
        let message = nuncio_api::any_type(config);
        let known = crate::judge::is_registered("envoy.filters.listener,envoy.filters.udp_listener", message);
        if known && !crate::judge::is_registered(kind.listener_filters(), message) {
            let name = &filter.name;
            cx.item("listener_filters", index, |cx| {
                cx.at("typed_config", |cx| {
                    cx.error(codes::UNKNOWN_EXTENSION, format!("`{name}` is for listeners of another kind"))
                        .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{message}'"));
                });
            });
        }
    }
}

/// The listener filters of a listener.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) inspectors: Inspectors,
    pub(super) proxy_protocol: Option<ProxyProtocolRules>,
    pub(super) original_dst: bool,
    /// Those that only let connections in or not.
    pub(super) accept: Vec<AcceptFilter>,
    /// `filter_disabled` of those that are fields of their own.
    pub(super) disabled: Disabled,
}

/// Compiles listener filters; what is not built is reported.
pub(super) fn compile(cx: &mut CompileCx<'_>, filters: &[proto::ListenerFilter]) -> Filters {
    let mut made = Filters::default();
    let stats = cx.stats.clone();
    let mut build = BuildCx::new(&stats, "");
    for (index, filter) in filters.iter().enumerate() {
        let proto::ListenerFilter { name, filter_disabled, config_type } = filter;
        cx.item("listener_filters", index, |cx| match config_type {
            Some(ConfigType::TypedConfig(config)) => {
                let disabled = filter_disabled.as_ref().and_then(|from| cx.at("filter_disabled", |cx| connection_match(cx, from)));
                cx.at("typed_config", |cx| one(cx, name, config, disabled, &mut made, &mut build));
            }
            Some(ConfigType::ConfigDiscovery(_)) => {
                cx.value_unsafe_without(&format!("the discovered listener filter `{name}`"));
            }
            // Reported when it was read.
            None => {}
        });
    }
    made
}

/// Which connections pass a filter by.
fn connection_match(cx: &mut CompileCx<'_>, from: &proto::ListenerFilterChainMatchPredicate) -> Option<ConnectionMatch> {
    let set = |cx: &mut CompileCx<'_>, field, set: &MatchSet| cx.at(field, |cx| cx.each("rules", &set.rules, connection_match));
    Some(match from.rule.as_ref()? {
        PredicateRule::OrMatch(rules) => ConnectionMatch::Or(set(cx, "or_match", rules)),
        PredicateRule::AndMatch(rules) => ConnectionMatch::And(set(cx, "and_match", rules)),
        PredicateRule::NotMatch(rule) => ConnectionMatch::Not(Box::new(cx.at("not_match", |cx| connection_match(cx, rule))?)),
        PredicateRule::AnyMatch(_) => ConnectionMatch::Any,
        PredicateRule::DestinationPortRange(range) => ConnectionMatch::Port(range.start..range.end),
    })
}

fn one(
    cx: &mut CompileCx<'_>,
    name: &str,
    config: &prost_types::Any,
    disabled: Option<ConnectionMatch>,
    made: &mut Filters,
    build: &mut BuildCx<'_>,
) {
    let message = nuncio_api::any_type(config);
    if message == TlsInspector::full_name() {
        made.inspectors.tls = true;
        made.disabled.tls = disabled;
        let TlsInspector {
            enable_ja3_fingerprinting,
            enable_ja4_fingerprinting,
            // How it reads is its own affair.
            initial_read_buffer_size: _,
            close_connection_on_client_hello_parsing_errors,
            max_client_hello_size,
        } = TlsInspector::decode(config.value.as_slice()).unwrap_or_default();
        made.inspectors.options = TlsLook {
            ja3: enable_ja3_fingerprinting.unwrap_or_default(),
            ja4: enable_ja4_fingerprinting.unwrap_or_default(),
            required: close_connection_on_client_hello_parsing_errors,
        };
        if let Some(size) = max_client_hello_size.and_then(|size| usize::try_from(size).ok()) {
            made.inspectors.greeting_bytes_max = size;
        }
    } else if message == HttpInspector::full_name() {
        made.inspectors.http = true;
        made.disabled.http = disabled;
    } else if message == ProxyProtocol::full_name() {
        if made.inspectors.any() {
            cx.warn(codes::SUSPICIOUS, "the PROXY header is read before other listener filters look at the bytes behind it").note(
                "Envoy's would look at the header itself: let this filter come first",
            );
        }
        made.disabled.proxy_protocol = disabled;
        made.proxy_protocol = Some(proxy_protocol(cx, &ProxyProtocol::decode(config.value.as_slice()).unwrap_or_default()));
    } else if message == OriginalDst::full_name() {
        made.original_dst = true;
        made.disabled.original_dst = disabled;
    } else if let Some(entry) = cx.listener_filters.iter().find(|entry| entry.message == message) {
        let built = (entry.build)(FilterConfig { type_url: &config.type_url, value: &config.value }, build);
        cx.extension_findings(std::mem::take(&mut build.warnings));
        match built {
            Ok(NetworkPart::Filter(filter)) => {
                let late = made.inspectors.any() || made.proxy_protocol.is_some();
                made.accept.push(AcceptFilter { filter, disabled, late });
            }
            Ok(NetworkPart::Terminal(_)) => {}
            Err(error) => {
                cx.extension_error(codes::BAD_VALUE, error);
            }
        }
    } else if MISSED.contains(&message) {
        cx.value_without_effect(&format!("the listener filter `{name}`"));
    } else {
        cx.value_unsafe_without(&format!("the listener filter `{name}`"));
    }
}

fn proxy_protocol(cx: &mut CompileCx<'_>, from: &ProxyProtocol) -> ProxyProtocolRules {
    let ProxyProtocol { rules, allow_requests_without_proxy_protocol, pass_through_tlvs, disallowed_versions, stat_prefix, tlv_location } = from;
    let rules = cx.each("rules", rules, |_, Rule { tlv_type, on_tlv_present }| {
        let KeyValuePair { metadata_namespace, key, value_string_encoding } = on_tlv_present.as_ref()?;
        let namespace = if metadata_namespace.is_empty() { TLV_NAMESPACE } else { metadata_namespace }.to_owned();
        let base64 = *value_string_encoding == ValueStringEncoding::Base64 as i32;
        Some(TlvRule { kind: u8::try_from(*tlv_type).ok()?, namespace, key: key.clone(), base64 })
    });
    let has = |version: Version| disallowed_versions.contains(&(version as i32));
    ProxyProtocolRules {
        allow_without: *allow_requests_without_proxy_protocol,
        disallow_v1: has(Version::V1),
        disallow_v2: has(Version::V2),
        stat_prefix: stat_prefix.clone(),
        pass_through: pass_through(pass_through_tlvs.as_ref()),
        rules,
        to_filter_state: *tlv_location == TlvLocation::FilterState as i32,
    }
}

/// Which TLVs go on to hosts.
pub(crate) fn pass_through(from: Option<&ProxyProtocolPassThroughTlVs>) -> PassThrough {
    let Some(ProxyProtocolPassThroughTlVs { match_type, tlv_type }) = from else { return PassThrough::None };
    match PassTlVsMatchType::try_from(*match_type).unwrap_or_default() {
        PassTlVsMatchType::IncludeAll => PassThrough::All,
        PassTlVsMatchType::Include => PassThrough::Types(tlv_type.iter().filter_map(|kind| u8::try_from(*kind).ok()).collect()),
    }
}

/// Chains that are chosen by what TLS says need somebody to look at it. Envoy says nothing, and such a chain never
/// takes a connection: the default one does, whatever it is for.
pub(super) fn complete(cx: &mut CompileCx<'_>, chains: &[Arc<FilterChainConfig>], inspectors: &mut Inspectors) {
    let by_tls = |chain: &Arc<FilterChainConfig>| {
        let m = &chain.matches;
        let any = m.transport_protocol.is_empty() && !(m.server_names.is_empty() && m.application_protocols.is_empty());
        m.transport_protocol == "tls" || any
    };
    if inspectors.tls || cx.mode.parity {
        return;
    }
    if let Some(index) = chains.iter().position(by_tls) {
        inspectors.tls = true;
        cx.item("filter_chains", index, |cx| {
            cx.at("filter_chain_match", |cx| {
                cx.warn(codes::SUSPICIOUS, "this needs the TLS inspector, which is not among listener_filters; it is added")
                    .help(
                        "add listener_filters: [{ name: envoy.filters.listener.tls_inspector, typed_config: { \"@type\": \
                         type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }]",
                    );
            });
        });
    }
}
