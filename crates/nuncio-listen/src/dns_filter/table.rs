//! The names that a DNS filter knows (`DnsTable`).

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

/// Seconds that answers hold where nothing is said.
pub const ANSWER_TTL: u32 = 300;

/// Names, and where they lead.
#[derive(Debug, Default)]
pub struct DnsTable {
    domains: HashMap<String, Domain>,
    /// `_service._protocol.name`
    services: HashMap<String, Service>,
    /// The last two labels of every name.
    suffixes: HashSet<String>,
    case_insensitive: bool,
}

/// `DnsVirtualDomain`
#[derive(Debug)]
pub struct Domain {
    /// `answer_ttl`, seconds.
    pub ttl: u32,
    /// Where it leads.
    pub to: DomainTo,
}

/// `DnsEndpoint`
#[derive(Debug)]
pub enum DomainTo {
    /// `address_list`
    Addresses(Vec<IpAddr>),
    /// `cluster_name`: its hosts.
    Cluster(Arc<str>),
    /// `service_list`; names and services.
    Services(Vec<(String, Service)>),
}

/// `DnsService`
#[derive(Debug, Clone)]
pub struct Service {
    /// `ttl`, seconds.
    pub ttl: u32,
    /// `targets`
    pub targets: Vec<Target>,
}

/// `DnsServiceTarget`
#[derive(Debug, Clone)]
pub struct Target {
    /// `host_name` or `cluster_name`.
    pub name: TargetName,
    /// `priority`
    pub priority: u16,
    /// `weight`
    pub weight: u16,
    /// `port`; 0 takes that of the cluster's hosts.
    pub port: u16,
}

/// Where a service is.
#[derive(Debug, Clone)]
pub enum TargetName {
    /// A name.
    Host(String),
    /// On the hosts of a cluster.
    Cluster(Arc<str>),
}

impl DnsTable {
    /// An empty table.
    pub fn new(case_insensitive: bool) -> DnsTable {
        DnsTable { case_insensitive, ..DnsTable::default() }
    }

    fn key(&self, name: &str) -> String {
        if self.case_insensitive { name.to_ascii_lowercase() } else { name.to_owned() }
    }

    /// Adds a name; a `*.` in front stands for any labels.
    pub fn add(&mut self, name: &str, mut domain: Domain) {
        let name = self.key(name);
        self.suffixes.insert(suffix(&name).to_owned());
        if let DomainTo::Services(services) = &mut domain.to {
            for (named, service) in std::mem::take(services) {
                let key = self.key(&format!("{named}.{name}"));
                self.services.insert(key, service);
            }
        }
        self.domains.insert(name, domain);
    }

    /// Some name of the table ends as this does.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.suffixes.contains(suffix(&self.key(name)))
    }

    /// What a name leads to.
    pub(super) fn domain(&self, name: &str) -> Option<&Domain> {
        let name = self.key(name);
        if let Some(domain) = self.domains.get(&name) {
            return Some(domain);
        }
        let mut rest = name.as_str();
        while let Some((_, shorter)) = rest.split_once('.') {
            if let Some(domain) = self.domains.get(&format!("*.{shorter}")) {
                return Some(domain);
            }
            rest = shorter;
        }
        None
    }

    /// A service by its whole name.
    pub(super) fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(&self.key(name))
    }
}

/// The last two labels.
fn suffix(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').skip(1);
    dots.next().map_or(name, |(at, _)| &name[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole_then_by_what_stands_for_any_labels() {
        let mut table = DnsTable::new(false);
        let domain = |last| Domain { ttl: 1, to: DomainTo::Addresses(vec![[10, 0, 0, last].into()]) };
        table.add("www.one.test", domain(1));
        table.add("*.one.test", domain(2));
        table.add("single", domain(3));
        let found = |name: &str| match &table.domain(name)?.to {
            DomainTo::Addresses(addresses) => addresses.first().map(ToString::to_string),
            _ => None,
        };
        assert_eq!(found("www.one.test").as_deref(), Some("10.0.0.1"));
        assert_eq!(found("a.b.one.test").as_deref(), Some("10.0.0.2"));
        assert_eq!(found("one.test"), None);
        assert_eq!(found("WWW.one.Test"), None);
        for (name, known) in [("x.y.one.test", true), ("one.test", true), ("single", true), ("two.test", false), ("test", false)] {
            assert_eq!(table.knows(name), known, "{name}");
        }
    }
}
