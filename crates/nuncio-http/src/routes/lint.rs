//! What can be said about a table beyond whether it works: routes that are never reached, clusters it needs.

use super::action::{Action, ClusterName, ClusterSpecifier, MirrorPolicy};
use super::index::Beginning;
use super::matcher::PathMatch;
use super::table::{HostEntry, RouteTable};
use super::trie::{Key, Trie};
use nuncio_core::RouteId;

/// A route that no request reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadRoute {
    /// The route.
    pub route: RouteId,
    /// The route before it that takes all of its requests.
    pub taken_by: RouteId,
}

/// A cluster that a table names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterReference<'t> {
    /// The cluster's name.
    pub name: &'t str,
    /// The field, `virtual_hosts[0].routes[1].route.cluster`.
    pub path: String,
    /// What Envoy calls it when it is missing: `cluster`, `weighted cluster` or `shadow cluster`.
    pub kind: &'static str,
}

impl ClusterReference<'_> {
    /// Envoy's sentence for a cluster that does not exist.
    pub fn unknown(&self) -> String {
        format!("route: unknown {} '{}'", self.kind, self.name)
    }
}

impl RouteTable {
    /// Routes that are never reached, because an earlier one takes every path they could take.
    pub fn dead_routes(&self) -> Vec<DeadRoute> {
        let mut dead = Vec::new();
        for (virtual_host, host) in (0..).zip(self.hosts()).filter(|(_, host)| host.is_in_order()) {
            let id = |route| RouteId { virtual_host, route };
            dead.extend(covered(host).map(|(route, by)| DeadRoute { route: id(route), taken_by: id(by) }));
        }
        dead
    }

    /// Calls `visit` for every cluster that the table names.
    pub fn referenced_clusters<'t>(&'t self, mut visit: impl FnMut(ClusterReference<'t>)) {
        mirrors(&self.config().mirror_policies, "", &mut visit);
        for (host_index, host) in self.hosts().iter().enumerate() {
            mirrors(&host.host.mirror_policies, &format!("virtual_hosts[{host_index}]."), &mut visit);
            for (index, entry) in (0..).zip(&host.routes) {
                let Action::Forward(action) = &entry.route.action else { continue };
                let path = || format!("virtual_hosts[{host_index}].{}.route.", host.place(index));
                match &action.cluster {
                    ClusterSpecifier::Cluster(name) => {
                        visit(ClusterReference { name, path: path() + "cluster", kind: "cluster" });
                    }
                    ClusterSpecifier::Header(_) => {}
                    ClusterSpecifier::Weighted(weighted) => {
                        for (nth, cluster) in weighted.clusters.iter().enumerate() {
                            if let ClusterName::Name(name) = &cluster.cluster {
                                let path = format!("{}weighted_clusters.clusters[{nth}].name", path());
                                visit(ClusterReference { name, path, kind: "weighted cluster" });
                            }
                        }
                    }
                }
                if let Some(more) = &action.more {
                    mirrors(&more.mirror_policies, &path(), &mut visit);
                }
            }
        }
    }
}

fn mirrors<'t>(policies: &'t [MirrorPolicy], prefix: &str, visit: &mut impl FnMut(ClusterReference<'t>)) {
    for (nth, policy) in policies.iter().enumerate() {
        if let ClusterName::Name(name) = &policy.cluster {
            let path = format!("{prefix}request_mirror_policies[{nth}].cluster");
            visit(ClusterReference { name, path, kind: "shadow cluster" });
        }
    }
}

/// Routes of a virtual host that an earlier one covers, with that one.
fn covered(host: &HostEntry) -> impl Iterator<Item = (u32, u32)> + '_ {
    let routes = || (0u32..).zip(host.routes.iter().map(|entry| &entry.route.matcher));
    let unconditional = Trie::build(
        routes()
            .filter(|(_, matcher)| matcher.is_path_only())
            .filter_map(|(entry, matcher)| {
                let Beginning { bytes, whole, ignore_case } = Beginning::of(&matcher.path)?;
                let takes_all = matches!(matcher.path, PathMatch::Prefix(_) | PathMatch::Exact(_));
                (takes_all && !ignore_case).then_some(Key { bytes, entry, ends: whole })
            })
            .collect(),
    );
    routes().filter_map(move |(route, matcher)| {
        let Beginning { bytes, whole, ignore_case } = Beginning::of(&matcher.path)?;
        // Every path begins with a slash, whatever an expression says.
        let mut known: &[u8] = if bytes.is_empty() && !whole { b"/" } else { &bytes };
        if ignore_case {
            known = &known[..known.iter().position(u8::is_ascii_alphabetic).unwrap_or(known.len())];
        }
        let mut by = None;
        // A route that takes one path only covers another of that kind; a longer walk does not end there.
        let len = known.len() + usize::from(!(whole && known.len() == bytes.len()));
        unconditional.walk(
            len,
            |at| known.get(at).copied().unwrap_or(0),
            |_, entries| by = [by, entries.first().copied()].into_iter().flatten().min(),
        );
        by.filter(|by| *by < route).map(|by| (route, by))
    })
}
