//! Statistics that a filter keeps for each cluster it works for (`cluster.<name>.ext_authz.…`).
//!
//! A scope is made when its cluster is first needed on a worker, and kept there: no lock per request.

use nuncio_core::StreamCx;
use nuncio_stats::{CounterId, Scope, Store, Table};
use std::{cell::RefCell, collections::HashMap, fmt, sync::Arc};

/// Scopes that a worker keeps; beyond that, what is new is not counted: clients choose the names of methods.
const MAX_KEPT: usize = 10_000;

/// One filter's statistics by cluster.
pub struct ClusterScopes {
    store: Arc<Store>,
    table: &'static Table,
    /// Behind the cluster's name, with its dot: `ext_authz.`
    suffix: Box<str>,
}

impl fmt::Debug for ClusterScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterScopes({})", self.suffix)
    }
}

/// A worker's scopes by their whole prefix.
#[derive(Default)]
struct Kept(RefCell<HashMap<String, Arc<Scope>>>);

impl ClusterScopes {
    /// Statistics of `table` under `cluster.<name>.<suffix>`.
    pub fn new(store: &Arc<Store>, table: &'static Table, suffix: &str) -> ClusterScopes {
        ClusterScopes { store: store.clone(), table, suffix: suffix.into() }
    }

    /// Counts one for a cluster, if there is such a cluster.
    pub fn inc(&self, cx: &StreamCx, cluster: &str, id: CounterId) {
        if let Some(scope) = self.of(cx, cluster, "") {
            scope.inc(cx.worker.lane, id);
        }
    }

    /// The scope of a cluster, or of a part of it (`pkg.Service.Method.`); none if there is no such cluster, or too many.
    pub fn of(&self, cx: &StreamCx, cluster: &str, part: &str) -> Option<Arc<Scope>> {
        let name = cx.worker.http_client()?.stat_name(cluster)?;
        let prefix = format!("cluster.{name}.{}{part}", self.suffix);
        let kept = match cx.worker.parts.get::<Kept>() {
            Some(kept) => kept,
            None => {
                cx.worker.parts.set(std::rc::Rc::new(Kept::default()));
                cx.worker.parts.get::<Kept>()?
            }
        };
        if let Some(scope) = kept.0.borrow().get(&prefix) {
            return Some(scope.clone());
        }
        let mut scopes = kept.0.borrow_mut();
        if scopes.len() >= MAX_KEPT {
            return None;
        }
        let scope = self.store.scope(&prefix, self.table);
        scopes.insert(prefix, scope.clone());
        Some(scope)
    }
}

/// The cluster that the exchange's route leads to.
pub fn cluster_of(cx: &StreamCx) -> Option<String> {
    Some(cx.route.as_ref()?.cluster_name(cx)?.to_owned())
}
