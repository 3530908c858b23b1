//! Caches of names (`dns_cache_config`), on the main thread: which names requests have asked for, and where they lead.
//!
//! A [`NameCache`] looks a name up when a worker asks for it, and again when its time is up; names that nobody has asked
//! for within `host_ttl` go. Clusters that share a cache, by its name, all have its hosts. What workers may know is in
//! [`CacheInfo`]; the outcome of lookups reaches them through their clusters.

mod keep;

use crate::config::{DnsCacheConfig, LookupFamily};
use crate::dns::{Answer, LookupError, Resolve};
use crate::manager::{Cluster, Task};
use nuncio_rt::Address;
use nuncio_stats::{Lane, Scope, Store, tables::dns_cache as stat};
use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What all threads know of a cache.
#[derive(Debug)]
pub(crate) struct CacheInfo {
    pub(crate) config: DnsCacheConfig,
    /// `dns_cache.<name>.*`
    pub(crate) stats: Arc<Scope>,
    names: AtomicU64,
    waiting: AtomicU64,
}

/// A place among those that wait for lookups.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<CacheInfo>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl CacheInfo {
    /// Whether there is room for another name; counts where there is not.
    pub(crate) fn has_room(&self, lane: Lane) -> bool {
        let room = self.names.load(Relaxed) < u64::from(self.config.max_hosts);
        if !room {
            self.stats.inc(lane, stat::HOST_OVERFLOW);
        }
        room
    }

    /// A place among those that wait; `None`, and counted, where there are too many.
    pub(crate) fn wait(self: &Arc<Self>, lane: Lane) -> Option<Waiting> {
        if self.waiting.fetch_add(1, Relaxed) < u64::from(self.config.max_pending_requests) {
            return Some(Waiting(self.clone()));
        }
        self.waiting.fetch_sub(1, Relaxed);
        self.stats.inc(lane, stat::DNS_RQ_PENDING_OVERFLOW);
        None
    }
}

/// One cache.
pub(crate) struct NameCache {
    pub(crate) info: Arc<CacheInfo>,
    resolver: Rc<dyn Resolve>,
    entries: RefCell<HashMap<Arc<str>, Entry>>,
    clusters: RefCell<Vec<Weak<Cluster>>>,
}

impl fmt::Debug for NameCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameCache({}, {} names)", self.info.config.name, self.entries.borrow().len())
    }
}

#[derive(Debug)]
struct Entry {
    found: Found,
    /// Keeps it looked up.
    _task: Task,
}

/// What a name has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is being looked up for the first time.
    Nothing,
    /// At least one address.
    Addresses(Vec<Address>),
    /// Why there is none, in Envoy's words.
    Failed(Arc<str>),
}

impl NameCache {
    pub(crate) fn new(config: DnsCacheConfig, store: &Arc<Store>, resolver: Rc<dyn Resolve>) -> Rc<NameCache> {
        let stats = store.scope(&format!("dns_cache.{}.", config.name), &stat::DNS_CACHE);
        stats.gauge_set(stat::RQ_PENDING_REMAINING, u64::from(config.max_pending_requests));
        let info = Arc::new(CacheInfo { config, stats, names: AtomicU64::new(0), waiting: AtomicU64::new(0) });
        let cache = Rc::new(NameCache { info, resolver, entries: RefCell::default(), clusters: RefCell::default() });
        for name in &cache.info.config.preresolve {
            cache.wanted(name);
        }
        cache
    }

    /// A cluster has these hosts, too, from now on.
    pub(crate) fn join(&self, cluster: &Rc<Cluster>) {
        let mut clusters = self.clusters.borrow_mut();
        clusters.retain(|cluster| cluster.strong_count() > 0);
        clusters.push(Rc::downgrade(cluster));
        drop(clusters);
        for (name, entry) in self.entries.borrow().iter() {
            cluster.named(name, &entry.found);
        }
    }

    /// Requests ask for a name: with its port.
    pub(crate) fn wanted(self: &Rc<Self>, name: &str) {
        let known = self.entries.borrow().get(name).map(|entry| entry.found.clone());
        match known {
            // Who asks for what is known has not heard of it yet, and will; but for names that have failed.
            Some(found) => self.tell(name, &found),
            None if !self.info.has_room(Lane::MAIN) => self.tell(name, &Found::Failed("dns_cache_overflow".into())),
            None => {
                let name: Arc<str> = name.into();
                let task = Task::spawn(keep::looked_up(Rc::downgrade(self), name.clone()));
                self.entries.borrow_mut().insert(name, Entry { found: Found::Nothing, _task: task });
                self.info.stats.inc(Lane::MAIN, stat::HOST_ADDED);
                self.count_names();
            }
        }
    }

    /// A name has been looked up. A failure changes nothing about a name that has led somewhere.
    fn found(&self, name: &Arc<str>, found: Found) {
        {
            let mut entries = self.entries.borrow_mut();
            let Some(entry) = entries.get_mut(name) else { return };
            match (&entry.found, &found) {
                (Found::Addresses(_), Found::Failed(_)) => return,
                (before, now) if before == now => return,
                (_, Found::Addresses(_)) => self.info.stats.inc(Lane::MAIN, stat::HOST_ADDRESS_CHANGED),
                _ => {}
            }
            entry.found = found.clone();
        }
        self.tell(name, &found);
    }

    /// Nobody asks for a name any more.
    fn forget(&self, name: &Arc<str>) {
        if self.entries.borrow_mut().remove(name).is_some() {
            self.info.stats.inc(Lane::MAIN, stat::HOST_REMOVED);
            self.count_names();
            self.tell(name, &Found::Nothing);
        }
    }

    /// Whether requests have asked for a name since this was asked last.
    fn take_used(&self, name: &str) -> bool {
        let clusters = self.clusters.borrow();
        clusters.iter().filter_map(Weak::upgrade).filter(|cluster| cluster.take_used(name)).count() > 0
    }

    fn tell(&self, name: &str, found: &Found) {
        let clusters: Vec<Rc<Cluster>> = self.clusters.borrow().iter().filter_map(Weak::upgrade).collect();
        clusters.iter().for_each(|cluster| cluster.named(name, found));
    }

    fn count_names(&self) {
        let n = self.entries.borrow().len() as u64;
        self.info.names.store(n, Relaxed);
        self.info.stats.gauge_set(stat::NUM_HOSTS, n);
    }

    /// Asks for a host.
    async fn look_up(&self, host: &str) -> Answer {
        let family: LookupFamily = self.info.config.dns.lookup_family;
        if host.is_empty() || !host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._/*:".contains(&c)) {
            return Answer::Failed(LookupError::BadName);
        }
        // A colon is part of addresses only.
        if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Answer::Failed(LookupError::BadName);
        }
        self.resolver.resolve(host, family).await
    }
}

/// The host and the port of a name; 80 where it has none.
fn parts(name: &str) -> (&str, u16) {
    let port = name.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = port.unwrap_or((name, 80));
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    (bare.unwrap_or(host), port)
}

/// A name with its port, which is `default` where the request says none. Borrowed where nothing is to be added.
pub(crate) fn with_port(host: &str, default: u16) -> std::borrow::Cow<'_, str> {
    // The colons of an IPv6 address are in brackets.
    let after = host.rfind(']').map_or(0, |at| at + 1);
    let tail = host.get(after..).unwrap_or_default();
    let has_port = tail.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { host.into() } else { format!("{host}:{default}").into() }
}

fn sockets(addresses: &[std::net::IpAddr], port: u16) -> Vec<Address> {
    addresses.iter().map(|ip| Address::Ip(SocketAddr::new(*ip, port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_port_and_only_one() {
        for (host, name, parts_of) in [
            ("a.test", "a.test:443", ("a.test", 443)),
            ("a.test:81", "a.test:81", ("a.test", 81)),
            ("a.test:x", "a.test:x:443", ("a.test:x", 443)),
            ("[::1]", "[::1]:443", ("::1", 443)),
            ("[::1]:5", "[::1]:5", ("::1", 5)),
            ("a.test:99999", "a.test:99999:443", ("a.test:99999", 443)),
        ] {
            assert_eq!(with_port(host, 443), name);
            assert_eq!(parts(name), parts_of);
        }
    }
}
