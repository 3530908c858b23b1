//! A connection manager's routes on one worker: the table, pinned by the streams that match in it, and what a
//! matched route leads to.

use crate::routes::{Action, ClusterName, ClusterSpecifier, PickedCluster, RouteEntry, RouteTable};
use nuncio_codec::headers::HeaderMap;
use nuncio_core::{RouteId, RouteTableView, RouteView};
use nuncio_stats::Scope;
use nuncio_upstream::{ClusterSlot, WorkerCluster, WorkerClusters};
use std::{fmt, rc::Rc, sync::Arc};

/// Routes and clusters as streams of one worker use them.
pub(crate) struct Routes {
    table: Arc<RouteTable>,
    /// The worker's clusters.
    pub(crate) clusters: Rc<WorkerClusters>,
    /// The router's part of `http.<prefix>.`.
    pub(crate) router_stats: Arc<Scope>,
    /// How long it takes to find routes is counted.
    pub(crate) timed: bool,
    /// By virtual host.
    stats: Arc<[HostStats]>,
    /// Where the clusters are that routes name, by virtual host and route.
    slots: Vec<Vec<Slots>>,
}

/// Statistics of a virtual host.
#[derive(Debug, Default)]
pub(crate) struct HostStats {
    /// `vhost.<v>.vcluster.<n>.`: those of its virtual clusters, then that of the rest; empty without any.
    pub(crate) classes: Vec<Arc<Scope>>,
    /// `vhost.<v>.route.<p>.`: those of routes with a `stat_prefix`, by the route's number.
    pub(crate) routes: Vec<(u32, Arc<Scope>)>,
}

/// Where the clusters of a route are: looked up by name once, not at each request.
#[derive(Debug)]
enum Slots {
    /// It names none, or a header does.
    None,
    /// `cluster`
    One(Rc<ClusterSlot>),
    /// `weighted_clusters`, in their order; `None` where a header names it.
    Each(Box<[Option<Rc<ClusterSlot>>]>),
}

impl Slots {
    fn of(entry: &RouteEntry, clusters: &WorkerClusters) -> Slots {
        let Action::Forward(action) = &entry.route.action else { return Slots::None };
        match &action.cluster {
            ClusterSpecifier::Cluster(name) => Slots::One(clusters.slot(name)),
            ClusterSpecifier::Header(_) => Slots::None,
            ClusterSpecifier::Weighted(weighted) => {
                let slot = |name: &ClusterName| match name {
                    ClusterName::Name(name) => Some(clusters.slot(name)),
                    ClusterName::Header(_) => None,
                };
                Slots::Each(weighted.clusters.iter().map(|choice| slot(&choice.cluster)).collect())
            }
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}

impl Routes {
    pub(crate) fn new(
        table: Arc<RouteTable>,
        clusters: Rc<WorkerClusters>,
        router_stats: Arc<Scope>,
        stats: Arc<[HostStats]>,
        timed: bool,
    ) -> Rc<Routes> {
        let of = |host: &crate::routes::HostEntry| host.routes.iter().map(|entry| Slots::of(entry, &clusters)).collect();
        let slots = table.hosts().iter().map(of).collect();
        Rc::new(Routes { table, clusters, router_stats, timed, stats, slots })
    }

    /// The statistics of the virtual cluster that a request belongs to, in a virtual host that has any.
    pub(crate) fn class(&self, id: RouteId, head: &HeaderMap) -> Option<Arc<Scope>> {
        let (rest, own) = self.stats.get(id.virtual_host as usize)?.classes.split_last()?;
        let host = &self.table.get(id)?.host;
        let found = host.virtual_clusters.iter().position(|c| c.headers.iter().all(|h| h.matches(head)));
        Some(found.and_then(|at| own.get(at)).unwrap_or(rest).clone())
    }

    /// The statistics of a route that has its own.
    pub(crate) fn route_stats(&self, id: RouteId) -> Option<Arc<Scope>> {
        let routes = &self.stats.get(id.virtual_host as usize)?.routes;
        let at = routes.binary_search_by_key(&id.route, |(route, _)| *route).ok()?;
        routes.get(at).map(|(_, scope)| scope.clone())
    }

    /// The cluster that was picked for a request on this route.
    #[inline]
    pub(crate) fn cluster(&self, id: RouteId, picked: &PickedCluster<'_>) -> Option<Rc<WorkerCluster>> {
        let slots = self.slots.get(id.virtual_host as usize)?.get(id.route as usize)?;
        match (slots, picked.choice) {
            (Slots::One(slot), _) => slot.get(),
            (Slots::Each(slots), Some(choice)) => match slots.get(choice)? {
                Some(slot) => slot.get(),
                None => self.clusters.by_name(picked.name),
            },
            _ => self.clusters.by_name(picked.name),
        }
    }

    /// The table.
    #[inline]
    pub(crate) fn table(&self) -> &RouteTable {
        &self.table
    }
}

impl RouteTableView for Routes {
    fn route(&self, id: RouteId) -> Option<&dyn RouteView> {
        self.table.get(id).map(|entry| entry as &dyn RouteView)
    }
}
