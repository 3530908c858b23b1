//! Weights that hosts have of what they report (`orca`): one task per cluster that goes by them.

use super::{Cluster, Task};
use crate::host::Host;
use crate::orca::{Follower, weigh};
use crate::worker::ClusterUpdate;
use nuncio_rt::Time;
use std::{
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

impl Cluster {
    /// Begins to weigh the hosts, if the policy wants that.
    pub(super) fn weigh_always(self: &Rc<Self>) {
        if let Some(config) = &self.info.config.orca {
            *self.weighing.borrow_mut() = Some(Task::spawn(keep_weighing(Rc::downgrade(self), config.update_period)));
            *self.follower.borrow_mut() = self.shared.upgrade().and_then(|shared| Follower::new(self, &shared.store));
        }
    }

    /// The greatest weight that an endpoint is configured with, where hosts have others.
    pub(super) fn configured_weight(&self) -> Option<u64> {
        self.info.config.orca.as_ref()?;
        let assignment = self.assignment.borrow();
        assignment.localities.iter().flat_map(|locality| &locality.endpoints).map(|endpoint| u64::from(endpoint.weight)).max()
    }

    /// Gives hosts the weights that follow from their reports, priority by priority. Nobody counts that as a change.
    fn weigh(self: &Rc<Self>) {
        let (Some(config), Some(shared)) = (&self.info.config.orca, self.shared.upgrade()) else { return };
        let (now, set) = (Time::now(), self.hosts());
        let mut changed = false;
        let hosts: Vec<Arc<Host>> = (set.priorities.iter())
            .flat_map(|tier| {
                let weights = weigh(tier.hosts.iter().map(|host| host.state.reported()), config, now);
                tier.hosts.iter().zip(weights)
            })
            .map(|(host, weight)| {
                if host.weight == weight {
                    return host.clone();
                }
                changed = true;
                Arc::new(Host { weight, ..(**host).clone() })
            })
            .collect();
        if !changed {
            return;
        }
        if let Some(checker) = self.checker.borrow().as_ref() {
            checker.set_hosts(&hosts);
        }
        self.watch_hosts(&hosts);
        self.sort(hosts);
        if shared.serves(self) {
            shared.tell(&ClusterUpdate::Hosts(self.info.name().clone(), self.hosts()));
        }
    }
}

async fn keep_weighing(cluster: Weak<Cluster>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.weigh();
    }
}
