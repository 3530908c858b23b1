//! Circuit breakers: how many connections, pending requests, requests and retries a cluster may have at once.
//!
//! Limits hold for the whole process, so each count is one atomic that all workers share; that of requests, the only
//! one touched by every request, has a cache line of its own. A [`Permit`] stands for one thing counted and gives its
//! place back when dropped. Whether a breaker is open is read off the counts when somebody asks.

use crate::config::{CircuitBreakers, RetryBudget, Thresholds};
use crate::info::ClusterCx;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// `RoutingPriority` of a route: which of the two sets of limits applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoutingPriority {
    /// `DEFAULT`.
    #[default]
    Default,
    /// `HIGH`.
    High,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Connections, busy and idle.
    Connections,
    /// Requests that wait for a connection.
    PendingRequests,
    /// Requests on a connection.
    Requests,
    /// Retries in flight.
    Retries,
}

/// The counts of one cluster over all workers.
#[derive(Debug)]
pub struct Breakers {
    limits: CircuitBreakers,
    counts: [Counts; 2],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Counts {
    requests: AtomicU64,
    rare: Rare,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Rare {
    connections: AtomicU64,
    pending: AtomicU64,
    retries: AtomicU64,
    pools: AtomicU64,
}

impl Breakers {
    /// Nothing counted yet.
    pub fn new(limits: CircuitBreakers) -> Breakers {
        Breakers { limits, counts: Default::default() }
    }

    /// The limits of a priority.
    pub fn thresholds(&self, priority: RoutingPriority) -> &Thresholds {
        match priority {
            RoutingPriority::Default => &self.limits.default,
            RoutingPriority::High => &self.limits.high,
        }
    }

    /// How many there are now.
    pub fn current(&self, priority: RoutingPriority, resource: Resource) -> u64 {
        self.count(priority, resource).load(Relaxed)
    }

    /// How many there may be now; only a retry budget moves.
    pub fn max(&self, priority: RoutingPriority, resource: Resource) -> u64 {
        let limits = self.thresholds(priority);
        match (resource, limits.retry_budget) {
            (Resource::Connections, _) => u64::from(limits.max_connections),
            (Resource::PendingRequests, _) => u64::from(limits.max_pending_requests),
            (Resource::Requests, _) => u64::from(limits.max_requests),
            (Resource::Retries, None) => u64::from(limits.max_retries),
            (Resource::Retries, Some(budget)) => self.retry_budget(priority, budget),
        }
    }

    fn retry_budget(&self, priority: RoutingPriority, budget: RetryBudget) -> u64 {
        let active = self.current(priority, Resource::Requests) + self.current(priority, Resource::PendingRequests);
        let share = (budget.percent / 100.0 * active as f64) as u64;
        share.max(u64::from(budget.min_retry_concurrency))
    }

    /// Whether the limit is reached (`circuit_breakers.<priority>.*_open`).
    pub fn is_open(&self, priority: RoutingPriority, resource: Resource) -> bool {
        let current = self.current(priority, resource);
        current > 0 && current >= self.max(priority, resource)
    }

    /// How many more there may be (`circuit_breakers.<priority>.remaining_*`).
    pub fn remaining(&self, priority: RoutingPriority, resource: Resource) -> u64 {
        self.max(priority, resource).saturating_sub(self.current(priority, resource))
    }

    fn count(&self, priority: RoutingPriority, resource: Resource) -> &AtomicU64 {
        let counts = &self.counts[priority as usize];
        match resource {
            Resource::Connections => &counts.rare.connections,
            Resource::PendingRequests => &counts.rare.pending,
            Resource::Requests => &counts.requests,
            Resource::Retries => &counts.rare.retries,
        }
    }

    /// Connection pools there are, over all hosts and workers.
    pub fn pools(&self, priority: RoutingPriority) -> u64 {
        self.counts[priority as usize].rare.pools.load(Relaxed)
    }

    /// Counts one more pool unless there may be no more.
    pub(crate) fn take_pool(&self, priority: RoutingPriority) -> bool {
        let max = self.thresholds(priority).max_connection_pools;
        let more = |n| (n < max).then_some(n + 1);
        self.counts[priority as usize].rare.pools.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(crate) fn pool_gone(&self, priority: RoutingPriority) {
        self.counts[priority as usize].rare.pools.fetch_sub(1, Relaxed);
    }

    /// Counts one more unless the limit is reached.
    fn try_take(&self, priority: RoutingPriority, resource: Resource) -> bool {
        let max = self.max(priority, resource);
        // Not add and take back: a worker that is refused must not make another one's attempt fail.
        let more = |n| (n < max).then_some(n + 1);
        self.count(priority, resource).fetch_update(Relaxed, Relaxed, more).is_ok()
    }
}

/// One thing counted; gives its place back when dropped.
#[derive(Debug)]
pub struct Permit {
    cluster: Rc<ClusterCx>,
    priority: RoutingPriority,
    resource: Resource,
}

impl Permit {
    /// Counts one more, unless the limit is reached.
    #[inline]
    pub fn take(cluster: &Rc<ClusterCx>, priority: RoutingPriority, resource: Resource) -> Option<Permit> {
        let taken = cluster.info.breakers.try_take(priority, resource);
        taken.then(|| Permit { cluster: cluster.clone(), priority, resource })
    }

    /// Counts one more whatever the limit: a host without any connection may always have one.
    pub fn force(cluster: &Rc<ClusterCx>, priority: RoutingPriority, resource: Resource) -> Permit {
        cluster.info.breakers.count(priority, resource).fetch_add(1, Relaxed);
        Permit { cluster: cluster.clone(), priority, resource }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.cluster.info.breakers.count(self.priority, self.resource).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RoutingPriority::{Default as Normal, High};

    fn breakers(limits: Thresholds) -> Breakers {
        Breakers::new(CircuitBreakers { default: limits, ..CircuitBreakers::default() })
    }

    #[test]
    fn four_workers_never_hold_more_than_the_limit() {
        let b = breakers(Thresholds { max_requests: 10, ..Thresholds::default() });
        let held = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        if b.try_take(Normal, Resource::Requests) {
                            assert!(held.fetch_add(1, Relaxed) < 10);
                            held.fetch_sub(1, Relaxed);
                            b.count(Normal, Resource::Requests).fetch_sub(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(b.current(Normal, Resource::Requests), 0);
    }

    #[test]
    fn priorities_are_counted_apart_and_zero_is_a_limit() {
        let b = breakers(Thresholds { max_requests: 1, max_retries: 0, ..Thresholds::default() });
        assert!(b.try_take(Normal, Resource::Requests));
        assert!(!b.try_take(Normal, Resource::Requests) && b.is_open(Normal, Resource::Requests));
        assert!(b.try_take(High, Resource::Requests) && !b.is_open(High, Resource::Requests));
        assert!(!b.try_take(Normal, Resource::Retries) && !b.is_open(Normal, Resource::Retries));
        assert_eq!(b.remaining(High, Resource::Requests), 1023);
    }

    #[test]
    fn a_retry_budget_follows_the_requests_in_flight() {
        let budget = RetryBudget { percent: 20.0, min_retry_concurrency: 3 };
        let b = breakers(Thresholds { retry_budget: Some(budget), ..Thresholds::default() });
        assert_eq!(b.max(Normal, Resource::Retries), 3);
        (0..50).for_each(|_| assert!(b.try_take(Normal, Resource::Requests)));
        assert_eq!(b.max(Normal, Resource::Retries), 10);
    }
}
