//! Hosts that are names which requests ask for (the dynamic forward proxy): the cluster's side of a cache of names.

use super::{Cluster, Shared};
use crate::config::{Discovery, DnsCacheConfig, EndpointHealthCheck};
use crate::host::{HealthFlags, Host, HostState};
use crate::names::{Found, NameCache};
use crate::worker::ClusterUpdate;
use std::{
    rc::{Rc, Weak},
    sync::Arc,
};

impl Shared {
    /// The cache of this configuration: clusters share it by its name.
    fn cache(&self, config: &DnsCacheConfig) -> Rc<NameCache> {
        let mut caches = self.caches.borrow_mut();
        let known = caches.get(&config.name).and_then(Weak::upgrade).filter(|cache| cache.info.config == *config);
        known.unwrap_or_else(|| {
            let cache = NameCache::new(config.clone(), &self.store, self.resolvers.resolver(&config.dns.resolver));
            caches.insert(config.name.clone(), Rc::downgrade(&cache));
            cache
        })
    }
}

impl Cluster {
    /// Takes part in its cache of names, if it goes by one.
    pub(super) fn join_cache(self: &Rc<Self>) {
        let Discovery::Dynamic(config) = &self.info.config.discovery else { return };
        let Some(shared) = self.shared.upgrade() else { return };
        let cache = shared.cache(&config.cache);
        // It is new.
        let _ = self.info.names.set(cache.info.clone());
        cache.join(self);
        *self.names.borrow_mut() = Some(cache);
    }

    /// Requests ask for a name.
    pub(super) fn wanted(&self, name: &str) {
        let cache = self.names.borrow().clone();
        cache.inspect(|cache| cache.wanted(name));
    }

    /// A name leads somewhere, or not.
    pub(crate) fn named(self: &Rc<Self>, name: &str, found: &Found) {
        let set = self.hosts();
        let known = set.hosts().find(|host| *host.hostname == *name);
        let failed = match found {
            Found::Addresses(addresses) => {
                let Some(address) = addresses.first() else { return };
                let same = known.filter(|known| *known.address == *address && (addresses.len() < 2 || *known.attempts == **addresses));
                let host = match same {
                    // Who asked may not have heard.
                    Some(known) => known.clone(),
                    None => {
                        self.info.count_transport(None, None, usize::from(known.is_none()));
                        let several = if addresses.len() > 1 { addresses.as_slice().into() } else { Arc::default() };
                        let state = known.map_or_else(|| self.named_state(), |known| known.state.clone());
                        Arc::new(Host {
                            address: Arc::new(address.clone()),
                            hostname: name.into(),
                            locality: Arc::default(),
                            priority: 0,
                            weight: 1,
                            metadata: None,
                            observability_name: None,
                            locality_metadata: None,
                            health_check: EndpointHealthCheck::none(),
                            attempts: several,
                            state,
                        })
                    }
                };
                let others = set.hosts().filter(|host| *host.hostname != *name).cloned();
                let hosts = others.chain([host]).collect();
                return self.publish(hosts, u64::from(known.is_none()));
            }
            Found::Nothing => None,
            Found::Failed(details) => Some(details.clone()),
        };
        if known.is_some() {
            self.publish(set.hosts().filter(|host| *host.hostname != *name).cloned().collect(), 1);
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.tell(&ClusterUpdate::Failed(self.info.name().clone(), name.into(), failed));
        }
    }

    /// Whether requests have asked for a name since this was asked last.
    pub(crate) fn take_used(&self, name: &str) -> bool {
        self.hosts().hosts().filter(|host| *host.hostname == *name).filter(|host| host.state.take_used()).count() > 0
    }

    fn named_state(&self) -> Arc<HostState> {
        let lanes = self.shared.upgrade().map_or(1, |shared| shared.store.lanes());
        HostState::of_cluster(lanes, HealthFlags::default(), &self.info.config)
    }
}
