//! `FilterChain`: its conditions, its transport socket, and the network filter that ends it.

use super::{matching, terminal};
use crate::codes;
use crate::context::CompileCx;
use crate::unsafe_unbuilt;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_api::xds::core::v3::TypedExtensionConfig;
use nuncio_api::xds::r#type::matcher::v3::Matcher;
use nuncio_core::ConfigError;
use nuncio_core::matching::tree::MatchTree;
use nuncio_ext::matcher::{self, Findings, Place};
use nuncio_listen::{ChainMatcher, Digest, FilterChainConfig};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;

/// Longest TLS handshake when the configuration says nothing. Envoy waits for ever.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// What a chain must know of its listener.
pub(super) struct Around {
    /// `listener.0.0.0.0_10000.`
    pub(super) stat_scope: String,
    /// `per_connection_buffer_limit_bytes`
    pub(super) buffer_limit_bytes: u32,
    /// Its connections come over QUIC.
    pub(super) quic: bool,
    /// The listener is for what goes out.
    pub(super) egress: bool,
}

/// Judges a chain of a listener that is not opened: its filters, whatever its transport.
pub(super) fn judge(cx: &mut CompileCx<'_>, from: &proto::FilterChain, around: &Around) {
    if let Some(matches) = &from.filter_chain_match {
        cx.at("filter_chain_match", |cx| matching::compile(cx, matches));
    }
    terminal::compile(cx, &from.filters, around);
}

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::FilterChain, around: &Around) -> Option<Arc<FilterChainConfig>> {
    #[allow(deprecated)]
    let proto::FilterChain {
        filter_chain_match,
        filters,
        use_proxy_proto,
        metadata,
        transport_socket,
        transport_socket_connect_timeout,
        name,
    } = from;
    // The client's address would be the balancer's, and access control may rely on it.
    unsafe_unbuilt!(cx, use_proxy_proto);
    let matches = filter_chain_match.as_ref().map(|m| cx.at("filter_chain_match", |cx| matching::compile(cx, m)));
    let socket = transport_socket.as_ref().map(|socket| cx.at("transport_socket", |cx| crate::tls::downstream(cx, socket)));
    let unset = (!cx.mode.parity).then_some(HANDSHAKE_TIMEOUT);
    let timeout = cx.duration("transport_socket_connect_timeout", transport_socket_connect_timeout.as_ref());
    let terminal::Filters { before, mut terminal } = terminal::compile(cx, filters, around);
    // A chain whose transport cannot be had is compared with the others, and serves nobody.
    let transport = match socket {
        None => nuncio_listen::Transport::Plain,
        Some(Some(transport)) => transport,
        Some(None) => {
            terminal = Arc::new(terminal::Closing);
            nuncio_listen::Transport::Plain
        }
    };
    let digest = Digest::of(&[from.encode_to_vec(), around.stat_scope.clone().into_bytes(), around.buffer_limit_bytes.to_le_bytes().into()].concat());
    Some(Arc::new(FilterChainConfig {
        name: name.as_str().into(),
        metadata: metadata.as_ref().map(|from| Arc::new(nuncio_ext::read::metadata(from))),
        matches: matches.unwrap_or_default(),
        transport,
        transport_timeout: timeout.filter(|t| !t.is_zero()).or(unset),
        filters: before.into(),
        terminal,
        digest,
    }))
}

/// Chains that cannot be told apart.
pub(super) fn check_matches(cx: &mut CompileCx<'_>, chains: &[Arc<FilterChainConfig>]) {
    if let Err(same) = nuncio_listen::matching::check_distinct(chains) {
        let at = |name: &str| chains.iter().position(|chain| &*chain.name == name).unwrap_or_default();
        let later = chains.iter().rposition(|chain| chain.name == same.chain).unwrap_or_default();
        let path = cx.path();
        cx.item("filter_chains", later, |cx| {
            cx.error(codes::CONFLICT, "two filter chains take the same connections")
                .also(format!("{path}.filter_chains[{}]", at(&same.earlier)), "this one already takes them")
                .help("give each chain a filter_chain_match of its own")
                .envoy(format!("error adding listener: {same}"));
        });
    }
}

/// `filter_chain_matcher`: with it chains are told apart by name.
pub(super) fn matcher(cx: &mut CompileCx<'_>, from: &Matcher, chains: &[proto::FilterChain], listener: &str) -> Option<Arc<ChainMatcher>> {
    for (index, chain) in chains.iter().enumerate() {
        let earlier = chains[..index].iter().position(|other| other.name == chain.name);
        let sentence = match earlier {
            _ if chain.name.is_empty() => "\"name\" field is required when using a listener matcher".to_owned(),
            Some(_) => format!("\"name\" field is duplicated with value '{}'", chain.name),
            None => continue,
        };
        let path = cx.path();
        cx.item("filter_chains", index, |cx| {
            let finding = cx.error(codes::CONFLICT, "`filter_chain_matcher` leads to chains by name: each needs one of its own");
            finding.envoy(format!("error adding listener '{listener}': {sentence}"));
            if let Some(earlier) = earlier {
                finding.also(format!("{path}.filter_chains[{earlier}]"), "this one has the same name");
            }
        });
    }
    let mut findings = Findings::default();
    let mut names: Vec<(String, Arc<str>)> = Vec::new();
    let mut action = |place: &str, config: &TypedExtensionConfig, findings: &mut Findings| match matcher::type_of(config) {
        "google.protobuf.StringValue" => {
            let name = matcher::message::<String>(config).map_err(|error| findings.errors.push(error)).ok()?;
            let name: Arc<str> = name.into();
            names.push((format!("{place}.typed_config"), name.clone()));
            Some(name)
        }
        other => {
            let message = format!("Didn't find a registered implementation for '{}' with type URL: '{other}'", config.name);
            findings.errors.push(ConfigError::at(place, message));
            None
        }
    };
    let tree: Option<MatchTree<Arc<str>>> = matcher::read(from, Place::Listener, &mut action, &mut findings);
    cx.at("filter_chain_matcher", |cx| {
        crate::routes::report_matcher(cx, findings);
        for (place, name) in names {
            if !chains.iter().any(|chain| chain.name == *name) {
                cx.step(crate::path::Step::Text(place.into()), |cx| {
                    cx.warn(codes::SUSPICIOUS, format!("no filter chain is called `{name}`: such connections are closed"));
                });
            }
        }
    });
    Some(Arc::new(ChainMatcher { tree: tree?, digest: Digest::of(&from.encode_to_vec()) }))
}
