//! `envoy.clusters.aggregate`: the priorities of several clusters in a row, as if they were one cluster's.
//!
//! A priority is chosen here, by the health of all; the host within it by the cluster that has it, with all that the
//! cluster says of balancing. Requests count for the aggregate, connections for the member. As in Envoy an aggregate
//! has no hosts of its own: within another one it adds nothing.
//!
//! What there is to choose from is worked out by the first choice after some cluster of the worker has changed, and only
//! if one of these has. A choice itself allocates nothing.

use crate::host_set::{HostSet, PriorityHosts};
use crate::lb::{Availability, PriorityLoads};
use crate::worker::{ClusterSlot, WorkerCluster};
use nuncio_rt::Rng;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

/// One worker's half of an aggregate.
#[derive(Debug)]
pub(crate) struct Aggregate {
    members: Vec<Rc<ClusterSlot>>,
    /// Moves on when any cluster of the worker changes.
    generation: Rc<Cell<u64>>,
    /// `healthy_panic_threshold`, percent.
    panic_threshold: f64,
    seen: Cell<Option<u64>>,
    view: RefCell<Rc<View>>,
}

/// The members at one time.
#[derive(Debug, Default)]
struct View {
    /// Each member and its hosts then.
    of: Vec<(Rc<WorkerCluster>, Arc<HostSet>)>,
    tiers: Vec<Tier>,
    loads: PriorityLoads,
}

/// One priority of one member.
#[derive(Debug)]
struct Tier {
    /// Place of the member in [`View::of`].
    member: usize,
    priority: usize,
    healthy: PriorityLoads,
    degraded: PriorityLoads,
}

/// Which cluster the host for a request comes from.
#[derive(Debug)]
pub enum Member {
    /// The one that was asked.
    Own,
    /// This one, of an aggregate.
    Of(MemberChoice),
    /// No cluster of the aggregate has hosts.
    Nowhere,
}

/// A member of an aggregate and one of its priorities.
#[derive(Debug)]
pub struct MemberChoice {
    view: Rc<View>,
    tier: usize,
    availability: Availability,
}

impl MemberChoice {
    fn tier(&self) -> &Tier {
        &self.view.tiers[self.tier]
    }

    /// The member.
    pub fn cluster(&self) -> &Rc<WorkerCluster> {
        &self.view.of[self.tier().member].0
    }

    /// All load on the priority.
    pub fn loads(&self) -> &PriorityLoads {
        match self.availability {
            Availability::Healthy => &self.tier().healthy,
            Availability::Degraded => &self.tier().degraded,
        }
    }
}

impl Aggregate {
    pub(crate) fn new(members: Vec<Rc<ClusterSlot>>, generation: Rc<Cell<u64>>, panic_threshold: f64) -> Aggregate {
        Aggregate { members, generation, panic_threshold, seen: Cell::new(None), view: RefCell::default() }
    }

    /// Chooses a priority, by `loads` or as usual.
    pub(crate) fn choose(&self, loads: Option<&PriorityLoads>, rng: &Rng) -> Member {
        let view = self.view();
        let (tier, availability) = loads.unwrap_or(&view.loads).choose(rng.next_u64());
        if tier >= view.tiers.len() {
            return Member::Nowhere;
        }
        Member::Of(MemberChoice { view, tier, availability })
    }

    pub(crate) fn priorities(&self) -> usize {
        self.view().tiers.len()
    }

    pub(crate) fn loads_without(&self, avoided: &[bool]) -> Option<PriorityLoads> {
        let view = self.view();
        PriorityLoads::of_without(&view.in_a_row(), avoided)
    }

    /// The aggregate's number for a priority of a member.
    pub(crate) fn priority_of(&self, member: &str, priority: u32) -> u32 {
        let view = self.view();
        let is = |tier: &Tier| tier.priority == priority as usize && **view.of[tier.member].0.info().name() == *member;
        view.tiers.iter().position(is).unwrap_or(0) as u32
    }

    fn view(&self) -> Rc<View> {
        let now = self.generation.get();
        if self.seen.replace(Some(now)) != Some(now) {
            let clusters: Vec<Rc<WorkerCluster>> = self.members.iter().filter_map(|slot| slot.get()).collect();
            let mut view = self.view.borrow_mut();
            let same = |(now, (then, hosts)): (&Rc<WorkerCluster>, &(Rc<WorkerCluster>, Arc<HostSet>))| {
                Rc::ptr_eq(now, then) && Arc::ptr_eq(&now.hosts(), hosts)
            };
            if view.of.len() != clusters.len() || !clusters.iter().zip(&view.of).all(same) {
                *view = Rc::new(View::new(clusters, self.panic_threshold));
            }
        }
        self.view.borrow().clone()
    }
}

impl View {
    fn new(clusters: Vec<Rc<WorkerCluster>>, panic_threshold: f64) -> View {
        let of: Vec<_> = clusters.into_iter().map(|cluster| { let hosts = cluster.hosts(); (cluster, hosts) }).collect();
        let mut tiers = Vec::new();
        for (member, (_, set)) in of.iter().enumerate() {
            let n = set.priorities.len();
            let with_hosts = set.priorities.iter().enumerate().filter(|(_, tier)| !tier.hosts.is_empty());
            tiers.extend(with_hosts.map(|(priority, _)| Tier {
                member,
                priority,
                healthy: PriorityLoads::only(n, priority, Availability::Healthy),
                degraded: PriorityLoads::only(n, priority, Availability::Degraded),
            }));
        }
        let mut view = View { of, tiers, loads: PriorityLoads::default() };
        view.loads = PriorityLoads::of(&view.in_a_row(), panic_threshold);
        view
    }

    fn in_a_row(&self) -> Vec<(&HostSet, &PriorityHosts)> {
        let place = |tier: &Tier| { let set = &*self.of[tier.member].1; (set, &set.priorities[tier.priority]) };
        self.tiers.iter().map(place).collect()
    }
}
