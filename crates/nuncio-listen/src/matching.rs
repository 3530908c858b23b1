//! Which filter chain takes a connection (`filter_chain_match`).
//!
//! Criteria are asked in Envoy's order: destination port, destination address, server name, transport protocol,
//! application protocols, direct source, source type, source address, source port. At each one the most specific
//! value that fits narrows the candidates; there is no going back: a chain that fits less well is not tried when the
//! better one fails at a later criterion.

use crate::config::{ChainMatcher, FilterChainConfig};
pub use nuncio_core::matching::tree::ConnectionFacts;
use nuncio_core::matching::tree::Facts;
use nuncio_core::matching::Cidr;
use nuncio_rt::Address;
use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

/// `source_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum SourceType {
    /// Any source.
    #[default]
    Any,
    /// Loopback, or the address the client connected to.
    SameIpOrLoopback,
    /// Any other.
    External,
}

/// The criteria of one chain; an empty one fits everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainMatch {
    /// `destination_port`.
    pub destination_port: Option<u16>,
    /// `prefix_ranges`.
    pub prefix_ranges: Vec<Cidr>,
    /// `server_names`: exact, or `*.suffix`; in lower case.
    pub server_names: Vec<String>,
    /// `transport_protocol`: `raw_buffer` or `tls`; empty for any.
    pub transport_protocol: String,
    /// `application_protocols`.
    pub application_protocols: Vec<String>,
    /// `direct_source_prefix_ranges`.
    pub direct_source_prefix_ranges: Vec<Cidr>,
    /// `source_type`.
    pub source_type: SourceType,
    /// `source_prefix_ranges`.
    pub source_prefix_ranges: Vec<Cidr>,
    /// `source_ports`.
    pub source_ports: Vec<u16>,
}

impl ChainMatch {
    /// True if only what listener filters find out can tell whether it fits.
    pub fn needs_inspection(&self) -> bool {
        !self.server_names.is_empty() || !self.application_protocols.is_empty() || self.transport_protocol == "tls"
    }
}

fn ip(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Ip(socket) => Some(socket.ip().to_canonical()),
        Address::Pipe(_) | Address::Internal(_) => None,
    }
}

fn port(address: &Address) -> Option<u16> {
    match address {
        Address::Ip(socket) => Some(socket.port()),
        Address::Pipe(_) | Address::Internal(_) => None,
    }
}

/// How well one criterion of a chain fits: `None` for not at all, 0 for a criterion that is not set, more for a more
/// specific value.
type Fit = Option<u32>;

fn exact<T: PartialEq>(wanted: &[T], got: Option<T>) -> Fit {
    match (wanted, got) {
        ([], _) => Some(0),
        (wanted, Some(got)) => wanted.contains(&got).then_some(1),
        (_, None) => None,
    }
}

fn in_range(ranges: &[Cidr], got: Option<IpAddr>) -> Fit {
    if ranges.is_empty() {
        return Some(0);
    }
    let got = got?;
    ranges.iter().filter(|range| range.contains(got)).map(|range| 1 + u32::from(range.bits())).max()
}

/// Exact before the longest suffix before none.
fn server_name(names: &[String], got: Option<&str>) -> Fit {
    if names.is_empty() {
        return Some(0);
    }
    let got = got?;
    let fit = |name: &String| match name.strip_prefix('*') {
        Some(suffix) => (got.len() > suffix.len() && got.ends_with(suffix)).then_some(suffix.len() as u32),
        None => (name == got).then_some(u32::MAX),
    };
    names.iter().filter_map(fit).max()
}

/// The client's first preference that some chain has.
fn application_protocol(wanted: &[String], got: &[&str]) -> Fit {
    if wanted.is_empty() {
        return Some(0);
    }
    let place = got.iter().position(|protocol| wanted.iter().any(|w| w == protocol))?;
    Some(u32::MAX - place as u32)
}

fn source_type(wanted: SourceType, facts: &ConnectionFacts<'_>) -> Fit {
    let local = match (ip(facts.remote), ip(facts.local)) {
        (Some(remote), Some(local)) => remote.is_loopback() || remote == local,
        _ => true,
    };
    match wanted {
        SourceType::Any => Some(0),
        SourceType::SameIpOrLoopback => local.then_some(1),
        SourceType::External => (!local).then_some(1),
    }
}

type Criterion = fn(&ChainMatch, &ConnectionFacts<'_>) -> Fit;

/// The criteria, in the order they are asked.
static CRITERIA: [Criterion; 9] = [
    |m, c| exact(m.destination_port.as_slice(), port(c.local)),
    |m, c| in_range(&m.prefix_ranges, ip(c.local)),
    |m, c| server_name(&m.server_names, c.server_name),
    |m, c| match m.transport_protocol.as_str() {
        "" => Some(0),
        wanted => (wanted == c.transport_protocol).then_some(1),
    },
    |m, c| application_protocol(&m.application_protocols, c.application_protocols),
    |m, c| in_range(&m.direct_source_prefix_ranges, ip(c.direct_remote)),
    |m, c| source_type(m.source_type, c),
    |m, c| in_range(&m.source_prefix_ranges, ip(c.remote)),
    |m, c| exact(&m.source_ports, port(c.remote)),
];

/// The index of the chain that takes a connection, if any does.
pub fn select<'a>(chains: impl ExactSizeIterator<Item = &'a ChainMatch>, facts: &ConnectionFacts<'_>) -> Option<usize> {
    let mut candidates: Vec<(usize, &ChainMatch)> = chains.enumerate().collect();
    for criterion in CRITERIA {
        let best = candidates.iter().filter_map(|(_, m)| criterion(m, facts)).max()?;
        candidates.retain(|(_, m)| criterion(m, facts) == Some(best));
    }
    candidates.first().map(|(index, _)| *index)
}

/// The index of the chain that `filter_chain_matcher` leads to. `Some(None)`: it leads to one that is not there.
pub fn select_named(matcher: &ChainMatcher, chains: &[Arc<FilterChainConfig>], facts: &ConnectionFacts<'_>) -> Option<Option<usize>> {
    let name = matcher.tree.find(&Facts { connection: Some(*facts), ..Facts::default() }).action()?;
    Some(chains.iter().position(|chain| chain.name == *name))
}

/// Two chains that some connection would fit equally well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameMatch {
    /// Name of the later chain.
    pub chain: Arc<str>,
    /// Name of the earlier one.
    pub earlier: Arc<str>,
}

impl fmt::Display for SameMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter chain '{}' has the same matching rules defined as '{}'", self.chain, self.earlier)
    }
}

/// Finds two chains with the same value for every criterion.
///
/// # Errors
/// The first such pair.
pub fn check_distinct(chains: &[Arc<FilterChainConfig>]) -> Result<(), SameMatch> {
    let mut seen: HashMap<Vec<String>, &Arc<FilterChainConfig>> = HashMap::new();
    for chain in chains {
        for key in keys(&chain.matches) {
            if let Some(earlier) = seen.insert(key, chain)
                && !Arc::ptr_eq(earlier, chain)
            {
                return Err(SameMatch { chain: chain.name.clone(), earlier: earlier.name.clone() });
            }
        }
    }
    Ok(())
}

/// Every combination of one value per criterion.
fn keys(matches: &ChainMatch) -> Vec<Vec<String>> {
    fn all<T: ToString>(values: &[T]) -> Vec<String> {
        if values.is_empty() { vec![String::new()] } else { values.iter().map(T::to_string).collect() }
    }
    let criteria = [
        all(matches.destination_port.as_slice()),
        all(&matches.prefix_ranges),
        all(&matches.server_names),
        vec![matches.transport_protocol.clone()],
        all(&matches.application_protocols),
        all(&matches.direct_source_prefix_ranges),
        vec![format!("{:?}", matches.source_type)],
        all(&matches.source_prefix_ranges),
        all(&matches.source_ports),
    ];
    criteria.iter().fold(vec![Vec::new()], |keys, values| {
        let with = |key: &Vec<String>, value: &String| key.iter().chain([value]).cloned().collect();
        keys.iter().flat_map(|key| values.iter().map(move |value| with(key, value))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(local: &'a Address, remote: &'a Address) -> ConnectionFacts<'a> {
        ConnectionFacts {
            local,
            remote,
            direct_remote: remote,
            server_name: None,
            transport_protocol: "raw_buffer",
            application_protocols: &[],
            tls: None,
        }
    }

    fn at(text: &str) -> Address {
        Address::Ip(text.parse().expect("address"))
    }

    fn names(names: &[&str]) -> ChainMatch {
        ChainMatch { server_names: names.iter().map(|n| (*n).to_owned()).collect(), ..ChainMatch::default() }
    }

    #[test]
    fn an_exact_name_beats_the_longest_suffix_beats_none() {
        let chains = [ChainMatch::default(), names(&["*.test"]), names(&["*.wild.test"]), names(&["a.wild.test"])];
        let (local, remote) = (at("127.0.0.1:1"), at("127.0.0.1:2"));
        let pick = |name| select(chains.iter(), &ConnectionFacts { server_name: name, ..facts(&local, &remote) });
        assert_eq!(pick(Some("a.wild.test")), Some(3));
        assert_eq!(pick(Some("b.wild.test")), Some(2));
        assert_eq!(pick(Some("wild.test")), Some(1));
        assert_eq!(pick(Some("other")), Some(0));
        assert_eq!(pick(None), Some(0));
    }

    #[test]
    fn there_is_no_going_back_to_a_less_specific_chain() {
        let narrow = ChainMatch {
            destination_port: Some(443),
            source_prefix_ranges: vec![Cidr::new([10, 0, 0, 0].into(), 8)],
            ..ChainMatch::default()
        };
        let chains = [ChainMatch::default(), narrow];
        let (local, inside, outside) = (at("1.2.3.4:443"), at("10.0.0.1:5"), at("9.9.9.9:5"));
        assert_eq!(select(chains.iter(), &facts(&local, &inside)), Some(1));
        assert_eq!(select(chains.iter(), &facts(&local, &outside)), None);
        assert_eq!(select(chains.iter(), &facts(&at("1.2.3.4:80"), &outside)), Some(0));
    }

    #[test]
    fn the_clients_first_protocol_wins_and_sources_are_told_apart() {
        let alpn = |p: &str| ChainMatch { application_protocols: vec![p.to_owned()], ..ChainMatch::default() };
        let chains = [alpn("http/1.1"), alpn("h2")];
        let (local, remote) = (at("127.0.0.1:1"), at("127.0.0.9:2"));
        let seen = ConnectionFacts { application_protocols: &["h2", "http/1.1"], ..facts(&local, &remote) };
        assert_eq!(select(chains.iter(), &seen), Some(1));
        let kind = |source_type| ChainMatch { source_type, ..ChainMatch::default() };
        let chains = [kind(SourceType::External), kind(SourceType::SameIpOrLoopback)];
        assert_eq!(select(chains.iter(), &facts(&local, &remote)), Some(1));
        assert_eq!(select(chains.iter(), &facts(&local, &at("8.8.8.8:53"))), Some(0));
    }

    #[test]
    fn one_shared_value_in_every_criterion_is_a_duplicate() {
        let a = names(&["a", "b"]);
        let b = names(&["c", "b"]);
        assert!(keys(&a).iter().any(|k| keys(&b).contains(k)));
        assert!(!keys(&a).iter().any(|k| keys(&names(&["c"])).contains(k)));
    }
}
