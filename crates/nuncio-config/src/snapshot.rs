//! A compiled bootstrap, and what changes from one to the next.

use crate::bootstrap::{Admin, StatsOptions};
use crate::context::Identity;
use crate::runtime::Runtime;
use nuncio_api::envoy::config::core::v3::Node;
use nuncio_listen::ListenerConfig;
use nuncio_upstream::{ClusterConfig, config::Local};
use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::SystemTime;

/// A cluster of the bootstrap.
#[derive(Debug, Clone)]
pub struct StaticCluster {
    /// Compiled.
    pub config: Arc<ClusterConfig>,
    /// As it was read, for dumps and to see whether it changed.
    pub bytes: Encoded,
}

/// A listener of the bootstrap.
#[derive(Debug, Clone)]
pub struct StaticListener {
    /// Where it stands in the bootstrap.
    pub path: String,
    /// It has a `name`; others are known by their address.
    pub named: bool,
    /// Compiled.
    pub config: ListenerConfig,
    /// As it was read.
    pub bytes: Encoded,
}

/// An encoded part of a bootstrap, which it shares.
#[derive(Debug, Clone)]
pub struct Encoded {
    whole: Arc<[u8]>,
    at: Range<usize>,
}

impl Encoded {
    /// A part of `whole`; nothing, if it is not one.
    pub(crate) fn part(whole: &Arc<[u8]>, part: &[u8]) -> Encoded {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        Encoded { whole: whole.clone(), at: start..start.wrapping_add(part.len()) }
    }
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.whole.get(self.at.clone()).unwrap_or_default()
    }
}

/// Everything that a process runs by.
#[derive(Debug)]
pub struct Snapshot {
    /// Who we are.
    pub identity: Identity,
    /// `node`, with the command line's words in it.
    pub node: Node,
    /// `cluster_manager.local_cluster_name` and the node's locality.
    pub local: Local,
    /// The admin interface.
    pub admin: Option<Admin>,
    /// `static_resources.clusters`.
    pub clusters: Vec<StaticCluster>,
    /// `static_resources.listeners`.
    pub listeners: Vec<StaticListener>,
    /// `layered_runtime`.
    pub runtime: Arc<Runtime>,
    /// How statistics are flushed and shown.
    pub stats: StatsOptions,
    /// The whole bootstrap, encoded.
    pub bytes: Arc<[u8]>,
    /// When it was compiled.
    pub updated: SystemTime,
}

/// What a reload touches. Whatever is not listed runs on as it is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Indices into the new snapshot's clusters: new ones and changed ones.
    pub clusters_put: Vec<usize>,
    /// Names of clusters that are gone.
    pub clusters_removed: Vec<String>,
    /// Indices into the new snapshot's listeners: new ones and changed ones.
    pub listeners_put: Vec<usize>,
    /// Names of listeners that are gone.
    pub listeners_removed: Vec<String>,
    /// Parts that only a restart changes: `admin`, `node`, …
    pub needs_restart: Vec<&'static str>,
}

impl Changes {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

/// Items of one kind, by name: which of the new are new or changed, which of the old are gone.
fn compare<'s>(old: impl Iterator<Item = (&'s str, &'s [u8])>, new: impl Iterator<Item = (&'s str, &'s [u8])>) -> (Vec<usize>, Vec<String>) {
    let order: Vec<(&str, &[u8])> = old.collect();
    let mut left: HashMap<&str, &[u8]> = order.iter().copied().collect();
    let put = new.enumerate().filter(|(_, (name, bytes))| left.remove(name) != Some(bytes)).map(|(index, _)| index).collect();
    let gone = order.iter().filter(|(name, _)| left.contains_key(name)).map(|(name, _)| (*name).to_owned()).collect();
    (put, gone)
}

/// What changes when `new` takes the place of `old`.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Changes {
    fn clusters(s: &Snapshot) -> impl Iterator<Item = (&str, &[u8])> {
        s.clusters.iter().map(|c| (&*c.config.name, &*c.bytes))
    }
    fn listeners(s: &Snapshot) -> impl Iterator<Item = (&str, &[u8])> {
        s.listeners.iter().map(|l| (&*l.config.name, &*l.bytes))
    }
    let (clusters_put, clusters_removed) = compare(clusters(old), clusters(new));
    let (listeners_put, listeners_removed) = compare(listeners(old), listeners(new));
    let mut needs_restart = Vec::new();
    let address = |s: &Snapshot| s.admin.as_ref().and_then(|a| a.address.clone());
    if address(old) != address(new) {
        needs_restart.push("admin.address");
    }
    if old.stats.source != new.stats.source {
        needs_restart.push("stats_config");
    }
    if old.node != new.node {
        needs_restart.push("node");
    }
    if old.local.cluster != new.local.cluster {
        needs_restart.push("cluster_manager.local_cluster_name");
    }
    Changes { clusters_put, clusters_removed, listeners_put, listeners_removed, needs_restart }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_touched() {
        let old = [("a", &b"1"[..]), ("b", b"1"), ("c", b"1")];
        let new = [("c", &b"1"[..]), ("b", b"2"), ("d", b"1")];
        let (put, gone) = compare(old.into_iter(), new.into_iter());
        assert_eq!(put, [1, 2]);
        assert_eq!(gone, ["a"]);
    }
}
