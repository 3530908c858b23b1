//! Which cluster a request goes to.

use super::action::{ClusterName, ClusterSpecifier, RouteAction, WeightedClusters};
use super::config::FilterOverride;
use super::hash::{hash_request, source_ip};
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_core::{RuntimeValues, StreamCx};

/// The cluster that was picked for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickedCluster<'a> {
    /// Its name; empty if a header should have named it and did not.
    pub name: &'a str,
    /// Which of the weighted clusters it is.
    pub choice: Option<usize>,
}

/// What a pick is made by.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a, 'r> {
    /// The request's head.
    pub head: &'a HeaderMap,
    /// The request's random number.
    pub random: u64,
    /// What the route's `hash_policy` made of it.
    pub hash: Option<u64>,
    /// Weights may be changed.
    pub runtime: &'r RuntimeValues,
}

impl RouteAction {
    /// Picks the cluster. `random` is the request's random number, `hash` what the route's `hash_policy` made of
    /// the request where `use_hash_policy` asks for it. The answer holds for all attempts, unless the retry policy
    /// says `refresh_cluster_on_retry`.
    pub fn pick_cluster<'a>(
        &'a self,
        head: &'a HeaderMap,
        random: u64,
        hash: Option<u64>,
        runtime: &RuntimeValues,
    ) -> PickedCluster<'a> {
        match &self.cluster {
            ClusterSpecifier::Cluster(name) => PickedCluster { name, choice: None },
            ClusterSpecifier::Header(header) => PickedCluster { name: named_by(head, header), choice: None },
            ClusterSpecifier::Weighted(weighted) => weighted.pick_among(Draw { head, random, hash, runtime }, |_| true),
        }
    }

    /// Chooses among the weighted clusters, if the route has such, for the request in `cx`: once, when its route is found.
    /// What filters do later has no say.
    pub(crate) fn choose(&self, cx: &StreamCx) -> Option<u32> {
        let ClusterSpecifier::Weighted(weighted) = &self.cluster else { return None };
        // No cookie is made for this.
        let hash = weighted.use_hash_policy.then(|| hash_request(self.hash_policy(), &cx.request, source_ip(cx), &mut |_| None)).flatten();
        let draw = Draw { head: &cx.request, random: cx.random, hash, runtime: &cx.worker.runtime.values() };
        u32::try_from(weighted.pick_among(draw, |_| true).choice?).ok()
    }

    /// The cluster of a request for which `choice` was made.
    pub(crate) fn chosen<'a>(&'a self, head: &'a HeaderMap, choice: Option<u32>) -> PickedCluster<'a> {
        match &self.cluster {
            ClusterSpecifier::Cluster(name) => PickedCluster { name, choice: None },
            ClusterSpecifier::Header(header) => PickedCluster { name: named_by(head, header), choice: None },
            ClusterSpecifier::Weighted(weighted) => {
                let choice = choice.map(|choice| choice as usize);
                let cluster = choice.and_then(|choice| weighted.clusters.get(choice));
                PickedCluster { name: cluster.map_or("", |cluster| cluster.cluster.of(head)), choice }
            }
        }
    }

    /// Settings of a filter for one of the weighted clusters.
    pub(super) fn filter_override(&self, choice: u32, filter: &str) -> Option<&FilterOverride> {
        let ClusterSpecifier::Weighted(weighted) = &self.cluster else { return None };
        weighted.clusters.get(choice as usize)?.filters.get(filter)
    }

    /// Picks anew for a retry (`refresh_cluster_on_retry`): among the weighted clusters that have not been picked for this
    /// request, `before`, or among all when all have been. `None`: there is nothing else to pick.
    pub fn pick_again<'a>(&'a self, draw: Draw<'a, '_>, before: &mut Vec<usize>) -> Option<PickedCluster<'a>> {
        let ClusterSpecifier::Weighted(weighted) = &self.cluster else { return None };
        if before.len() >= weighted.clusters.len() {
            before.clear();
        }
        let picked = weighted.pick_among(draw, |choice| !before.contains(&choice));
        before.push(picked.choice?);
        Some(picked)
    }

    /// The runtime has set all weights to zero: the route takes no request.
    #[inline]
    pub(super) fn is_weightless(&self, runtime: &RuntimeValues) -> bool {
        match &self.cluster {
            ClusterSpecifier::Weighted(weighted) => weighted.changeable && weighted.total(runtime) == 0,
            _ => false,
        }
    }
}

impl ClusterName {
    /// The name, which a request may hold; empty if it should and does not.
    pub(crate) fn of<'a>(&'a self, head: &'a HeaderMap) -> &'a str {
        match self {
            ClusterName::Name(name) => name,
            ClusterName::Header(header) => named_by(head, header),
        }
    }
}

fn named_by<'a>(head: &'a HeaderMap, header: &HeaderName) -> &'a str {
    head.get_str(header).unwrap_or_default()
}

impl WeightedClusters {
    fn total(&self, runtime: &RuntimeValues) -> u64 {
        self.clusters.iter().map(|cluster| cluster.weight.now(runtime)).fold(0, u64::saturating_add)
    }

    fn pick_among<'a>(&'a self, draw: Draw<'a, '_>, may: impl Fn(usize) -> bool) -> PickedCluster<'a> {
        let Draw { head, random, hash, runtime } = draw;
        let from_header = self.random_header.as_ref().and_then(|header| {
            let mut values = head.get_all(header);
            let value = values.next().filter(|_| values.next().is_none())?;
            std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok()
        });
        let from_hash = hash.filter(|_| self.use_hash_policy);
        let choices = || self.clusters.iter().enumerate().filter(|(choice, _)| may(*choice));
        let total = choices().map(|(_, cluster)| cluster.weight.now(runtime)).fold(0, u64::saturating_add);
        let mut left = from_header.or(from_hash).unwrap_or(random) % total.max(1);
        for (choice, cluster) in choices() {
            let weight = cluster.weight.now(runtime);
            if left < weight {
                return PickedCluster { name: cluster.cluster.of(head), choice: Some(choice) };
            }
            left -= weight;
        }
        // Only without any weight: the route would not have taken the request.
        PickedCluster { name: "", choice: None }
    }
}
