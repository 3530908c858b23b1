//! `envoy.clusters.composite`: the first attempt at a request goes to the first of several clusters, the second to the
//! second, and so on; clusters that are not there or have no host for it are passed over. Requests and retries count for the
//! composite, connections for the member.

use super::Member;
use crate::lb::PickCx;
use crate::pool::WorkerHost;
use crate::worker::{ClusterSlot, WorkerCluster};
use std::{cell::Cell, rc::Rc};

/// One worker's half of a composite.
#[derive(Debug)]
pub(crate) struct Composite {
    members: Vec<Rc<ClusterSlot>>,
    /// Being asked: a composite may be a member of itself, by way of others.
    asked: Cell<bool>,
}

impl Composite {
    pub(crate) fn new(members: Vec<Rc<ClusterSlot>>) -> Composite {
        Composite { members, asked: Cell::new(false) }
    }

    /// The member that an attempt goes to.
    pub(crate) fn member(&self, attempt: u32) -> Option<Rc<WorkerCluster>> {
        self.members.get(attempt.saturating_sub(1) as usize)?.get()
    }

    /// A host of the attempt's member, or of the next that has one.
    pub(crate) fn find(&self, cx: &PickCx<'_>) -> Option<Rc<WorkerHost>> {
        if self.asked.replace(true) {
            return None;
        }
        let members = self.members.iter().skip(cx.attempt.saturating_sub(1) as usize).filter_map(|slot| slot.get());
        let mut hosts = members.filter_map(|cluster| match cluster.member(None) {
            Member::Own => cluster.find(&PickCx { loads: None, ..*cx }),
            Member::Of(member) => member.cluster().find(&PickCx { loads: Some(member.loads()), ..*cx }),
            Member::Nowhere => None,
        });
        let host = hosts.next();
        self.asked.set(false);
        host
    }
}
