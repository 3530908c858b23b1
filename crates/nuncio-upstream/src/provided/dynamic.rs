//! `envoy.clusters.dynamic_forward_proxy`: the request's host is the host.
//!
//! Names are looked up on the main thread (`crate::names`), which shows what it finds as hosts of the cluster; their
//! hostname is the name with its port. A worker knows a name when the host set has it, or when it has been told of a failure.

use crate::host::Host;
use crate::host_set::HostSet;
use crate::info::ClusterCx;
use crate::names::CacheInfo;
use crate::outlier::Feedback;
use crate::pool::WorkerHost;
use nuncio_core::{NameLookup, Resolved};
use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};
use tokio::sync::oneshot;

/// One worker's hosts.
#[derive(Debug, Default)]
pub(crate) struct Dynamic {
    hosts: RefCell<HashMap<Arc<str>, Place>>,
    failed: RefCell<HashMap<Arc<str>, Arc<str>>>,
    waiting: RefCell<HashMap<Arc<str>, Vec<oneshot::Sender<Resolved>>>>,
}

#[derive(Debug)]
struct Place {
    host: Arc<Host>,
    /// Made when first used here.
    here: Option<Rc<WorkerHost>>,
}

impl Dynamic {
    /// The host of a name, where it has been looked up.
    pub(crate) fn find(&self, cx: &Rc<ClusterCx>, name: &str) -> Option<Rc<WorkerHost>> {
        let mut hosts = self.hosts.borrow_mut();
        let place = hosts.get_mut(name)?;
        place.host.state.mark_used();
        Some(place.here.get_or_insert_with(|| WorkerHost::new(place.host.clone(), cx.clone())).clone())
    }

    /// What is known of a name; if nothing is, it is looked up. `limited` requests are held to the cache's limit of those
    /// that wait.
    pub(crate) fn lookup(&self, cx: &ClusterCx, name: &str, limited: bool) -> NameLookup {
        let Some(cache) = cx.info.names.get() else { return NameLookup::NotAsked };
        let lane = cx.worker.lane;
        let place = match limited.then(|| CacheInfo::wait(cache, lane)) {
            Some(None) => return NameLookup::TooManyWait,
            Some(place) => place,
            None => None,
        };
        if let Some(place) = self.hosts.borrow().get(name) {
            place.host.state.mark_used();
            return NameLookup::Known(Ok(place.host.address.clone()));
        }
        if let Some(details) = self.failed.borrow().get(name) {
            return NameLookup::Known(Err(details.clone()));
        }
        let (tell, told) = oneshot::channel();
        let mut waiting = self.waiting.borrow_mut();
        match waiting.get_mut(name) {
            Some(others) => others.push(tell),
            None if !cache.has_room(lane) => return NameLookup::TooManyNames,
            None => {
                let name: Arc<str> = name.into();
                cx.info.tell(Feedback::Wanted(name.clone()));
                waiting.insert(name, vec![tell]);
            }
        }
        NameLookup::Pending(Box::pin(async move {
            let resolved = told.await.unwrap_or_else(|_| Err("cluster_removed".into()));
            drop(place);
            resolved
        }))
    }

    /// Takes in another host set.
    pub(crate) fn set_hosts(&self, set: &HostSet) {
        let mut before = self.hosts.take();
        let mut now = HashMap::with_capacity(set.hosts().count());
        for host in set.hosts() {
            let here = before.remove(&host.hostname).and_then(|place| {
                let here = place.here?;
                if here.has_failed_since() {
                    here.close_raw();
                    here.drain();
                }
                Some(if Arc::ptr_eq(&place.host, host) { here } else { here.with_host(host.clone()) })
            });
            self.failed.borrow_mut().remove(&host.hostname);
            for waiting in self.waiting.borrow_mut().remove(&host.hostname).into_iter().flatten() {
                // Whoever does not wait any more need not know.
                let _ = waiting.send(Ok(host.address.clone()));
            }
            now.insert(host.hostname.clone(), Place { host: host.clone(), here });
        }
        before.into_values().filter_map(|place| place.here).for_each(|here| here.retire());
        self.hosts.replace(now);
    }

    /// A name leads nowhere, and why; or nothing is known of it any more.
    pub(crate) fn set_failed(&self, name: Arc<str>, details: Option<Arc<str>>) {
        let Some(details) = details else {
            self.failed.borrow_mut().remove(&name);
            return;
        };
        for waiting in self.waiting.borrow_mut().remove(&name).into_iter().flatten() {
            let _ = waiting.send(Err(details.clone()));
        }
        self.failed.borrow_mut().insert(name, details);
    }

    /// The cluster is gone or replaced.
    pub(crate) fn retire(&self) {
        self.hosts.take().into_values().filter_map(|place| place.here).for_each(|here| here.retire());
        self.waiting.take();
    }
}
