//! `ORIGINAL_DST`: the request says where it is to go, and hosts are made as they are asked for.
//!
//! A worker that is asked for an address no host is at makes the host, uses it at once, and tells the main thread, which
//! shows it to everybody. There hosts are removed again when they are not used any more.

use crate::config::EndpointHealthCheck;
use crate::host::{HealthFlags, Host, HostState};
use crate::host_set::HostSet;
use crate::info::ClusterCx;
use crate::outlier::Feedback;
use crate::pool::WorkerHost;
use nuncio_rt::Address;
use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

/// One worker's hosts.
#[derive(Debug, Default)]
pub(crate) struct OriginalDst(RefCell<HashMap<Arc<Address>, Place>>);

#[derive(Debug)]
struct Place {
    host: Arc<Host>,
    /// Made when first used here.
    here: Option<Rc<WorkerHost>>,
    /// The main thread has it, too.
    published: bool,
}

impl Place {
    fn here(&mut self, cx: &Rc<ClusterCx>) -> Rc<WorkerHost> {
        self.here.get_or_insert_with(|| WorkerHost::new(self.host.clone(), cx.clone())).clone()
    }

    fn retire(&self) {
        if let Some(here) = &self.here {
            here.retire();
        }
    }
}

impl OriginalDst {
    /// The host at this address.
    pub(crate) fn find(&self, cx: &Rc<ClusterCx>, address: &Address) -> Rc<WorkerHost> {
        let mut places = self.0.borrow_mut();
        if let Some(place) = places.get_mut(address) {
            place.host.state.mark_used();
            return place.here(cx);
        }
        let host = unlisted(cx, address);
        host.state.mark_used();
        cx.info.tell(Feedback::Made(host.clone()));
        let mut place = Place { host: host.clone(), here: None, published: false };
        let here = place.here(cx);
        places.insert(host.address.clone(), place);
        here
    }

    /// Takes in another host set.
    pub(crate) fn set_hosts(&self, set: &HostSet) {
        let mut places = self.0.borrow_mut();
        let mut now: HashMap<Arc<Address>, Place> = HashMap::new();
        for host in set.hosts() {
            let known = places.get(&host.address).is_some_and(|place| Arc::ptr_eq(&place.host.state, &host.state));
            let known = known.then(|| places.remove(&host.address)).flatten();
            if known.is_none() && now.contains_key(&host.address) {
                continue;
            }
            let here = known.and_then(|place| place.here);
            if let Some(here) = &here
                && here.has_failed_since()
            {
                here.close_raw();
                here.drain();
            }
            let replaced = now.insert(host.address.clone(), Place { host: host.clone(), here, published: true });
            replaced.inspect(Place::retire);
        }
        for (address, place) in places.drain() {
            if place.published {
                place.retire();
            } else {
                now.insert(address, place);
            }
        }
        *places = now;
    }

    /// The cluster is gone or replaced.
    pub(crate) fn retire(&self) {
        self.0.borrow_mut().drain().for_each(|(_, place)| place.retire());
    }
}

/// A host that nobody has listed.
pub(crate) fn unlisted(cx: &ClusterCx, address: &Address) -> Arc<Host> {
    let lanes = cx.info.store().map_or(1, |store| store.lanes());
    Arc::new(Host {
        address: Arc::new(address.clone()),
        hostname: format!("{}{address}", cx.info.name()).into(),
        locality: Arc::default(),
        priority: 0,
        weight: 1,
        metadata: None,
        observability_name: None,
        locality_metadata: None,
        health_check: EndpointHealthCheck::none(),
        attempts: Arc::default(),
        state: HostState::of_cluster(lanes, HealthFlags::default(), &cx.info.config),
    })
}
