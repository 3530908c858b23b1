//! Which cluster a request goes to.

use super::action::{ClusterName, ClusterSpecifier, RouteAction, WeightedClusters};
use nuncio_codec::headers::{HeaderMap, HeaderName};

/// The cluster that was picked for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickedCluster<'a> {
    /// Its name; empty if a header should have named it and did not.
    pub name: &'a str,
    /// Which of the weighted clusters it is.
    pub choice: Option<usize>,
}

impl RouteAction {
    /// Picks the cluster. `random` is the request's random number, `hash` what the route's `hash_policy` made of
    /// the request where `use_hash_policy` asks for it. The answer holds for all attempts, unless the retry policy
    /// says `refresh_cluster_on_retry`.
    pub fn pick_cluster<'a>(&'a self, head: &'a HeaderMap, random: u64, hash: Option<u64>) -> PickedCluster<'a> {
        match &self.cluster {
            ClusterSpecifier::Cluster(name) => PickedCluster { name, choice: None },
            ClusterSpecifier::Header(header) => PickedCluster { name: named_by(head, header), choice: None },
            ClusterSpecifier::Weighted(weighted) => weighted.pick(head, random, hash),
        }
    }
}

fn named_by<'a>(head: &'a HeaderMap, header: &HeaderName) -> &'a str {
    head.get_str(header).unwrap_or_default()
}

impl WeightedClusters {
    fn pick<'a>(&'a self, head: &'a HeaderMap, random: u64, hash: Option<u64>) -> PickedCluster<'a> {
        let from_header = self.random_header.as_ref().and_then(|header| {
            let mut values = head.get_all(header);
            let value = values.next().filter(|_| values.next().is_none())?;
            std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok()
        });
        let from_hash = hash.filter(|_| self.use_hash_policy);
        let total: u64 = self.clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
        let mut left = from_header.or(from_hash).unwrap_or(random) % total.max(1);
        for (choice, cluster) in self.clusters.iter().enumerate() {
            let weight = u64::from(cluster.weight);
            if left < weight {
                let name = match &cluster.cluster {
                    ClusterName::Name(name) => name,
                    ClusterName::Header(header) => named_by(head, header),
                };
                return PickedCluster { name, choice: Some(choice) };
            }
            left -= weight;
        }
        // Only without any weight, which no configuration passes with.
        PickedCluster { name: "", choice: None }
    }
}
