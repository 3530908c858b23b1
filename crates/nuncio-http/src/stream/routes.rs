//! A connection manager's routes on one worker: the table, pinned by the streams that match in it, and what a
//! matched route leads to.

use crate::routes::RouteTable;
use nuncio_codec::headers::HeaderMap;
use nuncio_core::{RouteId, RouteTableView, RouteView};
use nuncio_stats::Scope;
use nuncio_upstream::WorkerClusters;
use std::{fmt, rc::Rc, sync::Arc};

/// Routes and clusters as streams of one worker use them.
pub(crate) struct Routes {
    table: Arc<RouteTable>,
    /// The worker's clusters.
    pub(crate) clusters: Rc<WorkerClusters>,
    /// The router's part of `http.<prefix>.`.
    pub(crate) router_stats: Arc<Scope>,
    /// `vhost.<v>.vcluster.<n>.` by virtual host: those of its virtual clusters, then that of the rest.
    classes: Arc<[Vec<Arc<Scope>>]>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}

impl Routes {
    pub(crate) fn new(table: Arc<RouteTable>, clusters: Rc<WorkerClusters>, router_stats: Arc<Scope>, classes: Arc<[Vec<Arc<Scope>>]>) -> Rc<Routes> {
        Rc::new(Routes { table, clusters, router_stats, classes })
    }

    /// The statistics of the virtual cluster that a request belongs to, in a virtual host that has any.
    pub(crate) fn class(&self, id: RouteId, head: &HeaderMap) -> Option<Arc<Scope>> {
        let (rest, own) = self.classes.get(id.virtual_host as usize)?.split_last()?;
        let host = &self.table.get(id)?.host;
        let found = host.virtual_clusters.iter().position(|c| c.headers.iter().all(|h| h.matches(head)));
        Some(found.and_then(|at| own.get(at)).unwrap_or(rest).clone())
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
