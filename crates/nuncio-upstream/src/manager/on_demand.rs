//! Hosts that come because requests ask for them (`ORIGINAL_DST`), and go when nobody does any more.

use super::{Cluster, Task};
use crate::config::Discovery;
use crate::host::{Host, HostStat};
use nuncio_rt::Address;
use std::{
    collections::{HashMap, HashSet},
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

impl Cluster {
    /// Begins to remove hosts that are not used, where hosts come on demand.
    pub(super) fn clean_up_later(self: &Rc<Self>) {
        if let Discovery::OriginalDst(config) = &self.info.config.discovery {
            let task = Task::spawn(clean_up(Rc::downgrade(self), config.cleanup_interval));
            self.discovery.borrow_mut().push(task);
        }
    }

    /// A worker has made a host.
    pub(super) fn made(self: &Rc<Self>, host: Arc<Host>) {
        self.info.count_transport(None, None, 1);
        let hosts = self.hosts().hosts().cloned().chain([host]).collect();
        self.publish(hosts, 1);
    }

    /// Removes hosts that no request has asked for since the last time, and that have no connection. Those at one address
    /// stay or go together.
    fn clean_up(self: &Rc<Self>) {
        let set = self.hosts();
        let mut used: HashMap<&Arc<Address>, bool> = HashMap::new();
        for host in set.hosts() {
            *used.entry(&host.address).or_default() |= host.state.take_used();
        }
        let connected = |host: &Arc<Host>| host.state.stat(HostStat::CxActive) + host.state.stat(HostStat::RqPendingActive) > 0;
        let kept: HashSet<&Arc<Address>> =
            set.hosts().filter(|host| used.get(&host.address) == Some(&true) || connected(host)).map(|host| &host.address).collect();
        let hosts: Vec<Arc<Host>> = set.hosts().filter(|host| kept.contains(&host.address)).cloned().collect();
        if hosts.len() < set.hosts().count() {
            self.publish(hosts, 1);
        }
    }
}

async fn clean_up(cluster: Weak<Cluster>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.clean_up();
    }
}
