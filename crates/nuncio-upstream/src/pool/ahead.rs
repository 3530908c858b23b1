//! Connections in advance (`preconnect_policy`): how many a load is worth, and making one at the host that is likely next.

use super::{Reaper, WorkerHost};
use crate::breaker::RoutingPriority;
use crate::config::Attached;
use crate::host::{Health, Host};
use crate::info::ClusterCx;
use crate::transport::TransportOptions;
use nuncio_core::Protocol;
use nuncio_core::matching::MetadataMatcher;
use nuncio_core::metadata::Metadata;
use nuncio_stats::tables::cluster::UPSTREAM_CX_PRECONNECT_SKIPPED;
use std::rc::Rc;

/// Streams, and what carries them: of one pool, or of all of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Requests that wait for a connection.
    pub waiting: u64,
    /// Streams under way.
    pub active: u64,
    /// Streams that could begin at once on connections that stand or are being made.
    pub ready: u64,
}

impl Load {
    /// Whether another connection is wanted where every stream is worth `ratio` of them, with `coming` streams more.
    pub(super) fn wants_connection(self, ratio: f64, coming: u64) -> bool {
        (self.waiting + self.active + coming) as f64 * ratio > (self.ready + self.active) as f64
    }
}

impl std::ops::AddAssign for Load {
    fn add_assign(&mut self, other: Load) {
        self.waiting += other.waiting;
        self.active += other.active;
        self.ready += other.ready;
    }
}

/// Whether a host that could do with a connection in advance may have it: it is well, and its metadata are as wanted.
/// `upstream_cx_preconnect_skipped` counts those that may not for their metadata.
pub(super) fn may_preconnect(cluster: &ClusterCx, host: &Host) -> bool {
    if host.state.flags().health() != Health::Healthy {
        return false;
    }
    let Some(only) = cluster.info.config.preconnect.only.as_ref().and_then(Attached::get::<MetadataMatcher>) else { return true };
    let fits = host.metadata.as_ref().map_or_else(|| only.matches(&Metadata::new()), |metadata| only.matches(metadata));
    if !fits {
        cluster.inc(UPSTREAM_CX_PRECONNECT_SKIPPED);
    }
    fits
}

impl Reaper {
    /// Whether the worker, with one stream more, should have another connection. As Envoy counts it, over all its clusters.
    pub(crate) fn wants_connection(&self, ratio: f64) -> bool {
        let mut all = Load::default();
        self.each(|load| all += load);
        all.wants_connection(ratio, 1)
    }
}

impl WorkerHost {
    /// Begins a connection for a request that is likely to come here next; true if it did so within the limits.
    pub(crate) fn preconnect(self: &Rc<Self>, ratio: f64, options: Option<&TransportOptions>, priority: RoutingPriority, downstream: Protocol) -> bool {
        if !self.may_have_pool(priority) {
            return false;
        }
        let pools = options.map_or_else(|| self.pools.clone(), |options| self.pools_for(options.clone()));
        match self.speaks_http2(&pools, downstream) {
            true => self.http2_pool(&pools, priority).connect_ahead(ratio),
            false => self.pool(&pools, priority).connect_ahead(ratio),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_worth_connections() {
        let load = |waiting, active, ready| Load { waiting, active, ready };
        // Without a ratio one connection for each that waits.
        assert!(load(1, 0, 0).wants_connection(1.0, 0) && !load(1, 0, 1).wants_connection(1.0, 0));
        assert!(!load(0, 3, 0).wants_connection(1.0, 0));
        // Two for each, and one stream is expected.
        assert!(load(0, 0, 1).wants_connection(2.0, 1) && !load(0, 0, 2).wants_connection(2.0, 1));
        assert!(load(0, 1, 2).wants_connection(2.0, 1) && !load(0, 1, 3).wants_connection(2.0, 1));
    }
}
