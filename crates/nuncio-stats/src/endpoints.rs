//! Statistics of hosts (`track_cluster_stats.per_endpoint_stats`): `cluster.<name>.endpoint.<address>.<statistic>`, an
//! address' colons as underscores.
//!
//! They are no statistics of the store: what a host counts is read when somebody asks, and is shown behind the counters
//! and gauges of the store, whether it was ever written or not, as in Envoy. Resetting counters does not touch them.

use crate::snapshot::{Select, StatType};
use std::fmt;
use std::sync::Arc;

/// What a host counts, in order: name, and whether it is a gauge.
const NAMES: [(&str, bool); 10] = [
    ("cx_connect_fail", false),
    ("cx_total", false),
    ("rq_error", false),
    ("rq_success", false),
    ("rq_timeout", false),
    ("rq_total", false),
    ("cx_active", true),
    ("rq_active", true),
    ("rq_pending_active", true),
    ("healthy", true),
];

/// One host's statistics.
#[derive(Clone, Debug)]
pub struct EndpointStats {
    /// The cluster, under its name for statistics.
    pub cluster: Arc<str>,
    /// The host's address, or the name it is observed by.
    pub address: String,
    /// Its name; may be empty.
    pub hostname: Arc<str>,
    /// Connections that failed and in all; requests that failed, went well, timed out, and in all; open connections;
    /// requests in flight and waiting; 1 if it is healthy.
    pub values: [u64; 10],
}

/// One statistic of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointMetric<'a> {
    pub(crate) of: &'a EndpointStats,
    pub(crate) name: &'static str,
    pub(crate) is_gauge: bool,
    pub(crate) value: u64,
}

impl fmt::Display for EndpointMetric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster.{}.endpoint.{}.{}", self.of.cluster, self.of.address.replace(':', "_"), self.name)
    }
}

/// The hosts of a snapshot, and which of their statistics are wanted.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    hosts: Vec<(EndpointStats, [bool; NAMES.len()])>,
}

impl Endpoints {
    /// Those that are wanted. Names are chosen by `matches` alone.
    pub(crate) fn new(hosts: Vec<EndpointStats>, select: &Select<'_>) -> Endpoints {
        let wanted = |host: &EndpointStats| {
            let mut wanted = [false; NAMES.len()];
            for (metric, wanted) in metrics(host).zip(&mut wanted) {
                let kind = if metric.is_gauge { StatType::Gauges } else { StatType::Counters };
                *wanted = select.only.is_none_or(|only| only == kind) && select.names.is_none_or(|names| names(&metric.to_string()));
            }
            wanted
        };
        Endpoints { hosts: hosts.into_iter().map(|host| (wanted(&host), host)).map(|(wanted, host)| (host, wanted)).collect() }
    }

    /// Every statistic, host by host.
    pub(crate) fn iter(&self) -> impl Iterator<Item = EndpointMetric<'_>> {
        self.hosts.iter().flat_map(|(host, wanted)| metrics(host).zip(wanted).filter(|(_, wanted)| **wanted).map(|(metric, _)| metric))
    }

    /// The statistics of one name and another, as families: counters by name, then gauges by name; in each by
    /// full name.
    pub(crate) fn families(&self) -> Vec<Vec<EndpointMetric<'_>>> {
        let mut names = NAMES;
        names.sort_unstable_by_key(|(name, is_gauge)| (*is_gauge, *name));
        let family = |(name, _)| {
            let mut family: Vec<_> = self.iter().filter(|metric| metric.name == name).collect();
            family.sort_by_cached_key(EndpointMetric::to_string);
            family
        };
        names.map(family).into_iter().filter(|family| !family.is_empty()).collect()
    }
}

fn metrics(of: &EndpointStats) -> impl Iterator<Item = EndpointMetric<'_>> {
    NAMES.iter().zip(of.values).map(move |((name, is_gauge), value)| EndpointMetric { of, name, is_gauge: *is_gauge, value })
}
