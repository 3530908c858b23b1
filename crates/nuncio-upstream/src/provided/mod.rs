//! Clusters that choose hosts in a way of their own (`lb_policy: CLUSTER_PROVIDED`): the workers' half.

mod aggregate;
mod composite;
mod dynamic;
mod original_dst;

pub(crate) use aggregate::Aggregate;
pub use aggregate::{Member, MemberChoice};
pub(crate) use composite::Composite;
pub(crate) use dynamic::Dynamic;
pub(crate) use original_dst::{OriginalDst, unlisted};

use crate::config::Discovery;
use crate::host_set::HostSet;
use crate::info::{ClusterCx, ClusterInfo};
use crate::lb::PickCx;
use crate::pool::WorkerHost;
use crate::worker::ClusterSlot;
use std::{cell::Cell, rc::Rc, sync::Arc};

/// How one worker chooses hosts of a cluster where it is not by balancing.
#[derive(Debug)]
pub(crate) enum Provided {
    /// By balancing.
    No,
    Aggregate(Box<Aggregate>),
    Composite(Box<Composite>),
    OriginalDst(Box<OriginalDst>),
    Dynamic(Box<Dynamic>),
}

impl Provided {
    /// As the configuration says. `slot` finds the places of other clusters, `generation` moves on when any of them changes.
    pub(crate) fn new(info: &ClusterInfo, hosts: &HostSet, slot: impl Fn(&Arc<str>) -> Rc<ClusterSlot>, generation: &Rc<Cell<u64>>) -> Provided {
        let slots = |names: &[Arc<str>]| names.iter().map(&slot).collect();
        let made = match &info.config.discovery {
            Discovery::Static | Discovery::Eds(_) | Discovery::StrictDns(_) | Discovery::LogicalDns(_) => Provided::No,
            Discovery::Aggregate(names) => {
                let threshold = info.config.common_lb.healthy_panic_threshold;
                Provided::Aggregate(Box::new(Aggregate::new(slots(names), generation.clone(), threshold)))
            }
            Discovery::Composite(names) => Provided::Composite(Box::new(Composite::new(slots(names)))),
            Discovery::OriginalDst(_) => Provided::OriginalDst(Box::default()),
            Discovery::Dynamic(_) => Provided::Dynamic(Box::default()),
        };
        made.set_hosts(hosts);
        made
    }

    /// A host; `Err` where it is to be had by balancing.
    #[inline]
    pub(crate) fn find(&self, cluster: &Rc<ClusterCx>, cx: &PickCx<'_>) -> Result<Option<Rc<WorkerHost>>, ()> {
        match self {
            Provided::No | Provided::Aggregate(_) => Err(()),
            Provided::Composite(composite) => Ok(composite.find(cx)),
            Provided::OriginalDst(hosts) => Ok(cx.destination.map(|address| hosts.find(cluster, address))),
            Provided::Dynamic(hosts) => Ok(cx.name.and_then(|name| hosts.find(cluster, name))),
        }
    }

    /// Takes in another host set. False where that is the business of balancing.
    pub(crate) fn set_hosts(&self, set: &HostSet) -> bool {
        match self {
            Provided::No | Provided::Aggregate(_) | Provided::Composite(_) => return false,
            Provided::OriginalDst(hosts) => hosts.set_hosts(set),
            Provided::Dynamic(hosts) => hosts.set_hosts(set),
        }
        true
    }

    /// The cluster is gone or replaced.
    pub(crate) fn retire(&self) {
        match self {
            Provided::No | Provided::Aggregate(_) | Provided::Composite(_) => {}
            Provided::OriginalDst(hosts) => hosts.retire(),
            Provided::Dynamic(hosts) => hosts.retire(),
        }
    }

    pub(crate) fn aggregate(&self) -> Option<&Aggregate> {
        if let Provided::Aggregate(aggregate) = self { Some(aggregate) } else { None }
    }

    pub(crate) fn composite(&self) -> Option<&Composite> {
        if let Provided::Composite(composite) = self { Some(composite) } else { None }
    }

    pub(crate) fn dynamic(&self) -> Option<&Dynamic> {
        if let Provided::Dynamic(dynamic) = self { Some(dynamic) } else { None }
    }
}
