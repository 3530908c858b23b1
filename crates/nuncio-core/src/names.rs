//! Names that requests ask for, looked up before a cluster chooses a host (the dynamic forward proxy).
//!
//! A filter asks here, by the name of the request's cluster; the clusters' crate leaves a [`NamedClustersPart`] among each
//! worker's parts.

use crate::LocalFuture;
use nuncio_rt::Address;
use std::{rc::Rc, sync::Arc};

/// The object of the filter state that names a host, in the place of the request's.
pub const DYNAMIC_HOST: &str = "envoy.upstream.dynamic_host";

/// The object of the filter state that says which port of it.
pub const DYNAMIC_PORT: &str = "envoy.upstream.dynamic_port";

/// Where a name leads, or what became of the lookup, in Envoy's words.
pub type Resolved = Result<Arc<Address>, Arc<str>>;

/// What is known about a name.
pub enum NameLookup {
    /// The cluster does not go by the names of requests, or there is none.
    NotAsked,
    /// It has been looked up.
    Known(Resolved),
    /// It is being looked up. Whoever drops this does not wait any more.
    Pending(LocalFuture<Resolved>),
    /// There are `max_hosts` other names.
    TooManyNames,
    /// `max_pending_requests` wait for lookups.
    TooManyWait,
}

/// The clusters of one worker that go by the names of requests.
pub trait NamedClusters {
    /// Looks `host` up for the cluster. Where it has no port that is `port`, or what the cluster says.
    fn lookup(&self, cluster: &str, host: &str, port: Option<u16>) -> NameLookup;
    /// Whether the cluster goes by the names of requests.
    fn goes_by_name(&self, cluster: &str) -> bool;
}

/// They, among the worker's parts.
pub struct NamedClustersPart(pub Rc<dyn NamedClusters>);
