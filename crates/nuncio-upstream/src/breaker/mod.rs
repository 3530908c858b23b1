//! Circuit breakers: how many connections, pending requests, requests and retries a cluster may have at once.
//!
//! Limits hold for the whole process, so each count is one atomic that all workers share; that of requests, the only
//! one touched by every request, has a cache line of its own. A [`Permit`] stands for one thing counted and gives its
//! place back when dropped. Whether a breaker is open is read off the counts when somebody asks.

mod limits;
mod window;

use crate::config::{CircuitBreakers, Thresholds};
use crate::info::ClusterCx;
pub(crate) use limits::RUNTIME_PREFIX;
use limits::Limits;
use nuncio_core::RuntimeValues;
use nuncio_rt::Time;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use window::Window;

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

/// The limits and counts of one cluster over all workers.
#[derive(Debug)]
pub struct Breakers {
    limits: [Limits; 2],
    /// Made when first needed: most clusters have no traffic, and few have two priorities.
    counts: [OnceLock<Box<Counts>>; 2],
    budgets: [Budget; 2],
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

impl Counts {
    #[inline]
    fn of(&self, resource: Resource) -> &AtomicU64 {
        match resource {
            Resource::Connections => &self.rare.connections,
            Resource::PendingRequests => &self.rare.pending,
            Resource::Requests => &self.requests,
            Resource::Retries => &self.rare.retries,
        }
    }
}

/// What a retry budget notes.
#[derive(Debug, Default)]
struct Budget {
    /// Requests of the last `budget_interval`, where there is one.
    window: Option<Box<Window>>,
    /// Somebody has asked for it.
    asked: AtomicBool,
}

impl Breakers {
    /// Nothing counted yet.
    pub fn new(limits: &CircuitBreakers) -> Breakers {
        let budget = |limits: &Thresholds| {
            let interval = limits.retry_budget.map_or(Duration::ZERO, |budget| budget.interval);
            Budget { window: (!interval.is_zero()).then(|| Box::new(Window::new(interval))), asked: AtomicBool::new(false) }
        };
        Breakers {
            limits: [Limits::new(&limits.default), Limits::new(&limits.high)],
            counts: Default::default(),
            budgets: [budget(&limits.default), budget(&limits.high)],
        }
    }

    /// Puts the limits in force that the runtime has for the cluster.
    pub(crate) fn apply(&self, configured: &CircuitBreakers, cluster: &str, runtime: &RuntimeValues) {
        for (limits, (configured, priority)) in
            self.limits.iter().zip([(&configured.default, RoutingPriority::Default), (&configured.high, RoutingPriority::High)])
        {
            limits.apply(configured, cluster, priority, runtime);
        }
    }

    #[inline]
    fn limits(&self, priority: RoutingPriority) -> &Limits {
        let [normal, high] = &self.limits;
        if priority == RoutingPriority::High { high } else { normal }
    }

    #[inline]
    fn counts(&self, priority: RoutingPriority) -> &Counts {
        let [normal, high] = &self.counts;
        (if priority == RoutingPriority::High { high } else { normal }).get_or_init(Box::default)
    }

    /// What has been counted, without beginning to.
    fn counted(&self, priority: RoutingPriority) -> Option<&Counts> {
        let [normal, high] = &self.counts;
        (if priority == RoutingPriority::High { high } else { normal }).get().map(|counts| &**counts)
    }

    fn budget(&self, priority: RoutingPriority) -> &Budget {
        let [normal, high] = &self.budgets;
        if priority == RoutingPriority::High { high } else { normal }
    }

    /// How many there are now.
    pub fn current(&self, priority: RoutingPriority, resource: Resource) -> u64 {
        self.counted(priority).map_or(0, |counts| counts.of(resource).load(Relaxed))
    }

    /// How many there may be now; only a retry budget moves.
    #[inline]
    pub fn max(&self, priority: RoutingPriority, resource: Resource) -> u64 {
        let limits = self.limits(priority);
        match resource {
            Resource::Connections => u64::from(limits.connections.load(Relaxed)),
            Resource::PendingRequests => u64::from(limits.pending.load(Relaxed)),
            Resource::Requests => u64::from(limits.requests.load(Relaxed)),
            Resource::Retries => match limits.budget() {
                None => u64::from(limits.retries.load(Relaxed)),
                Some((percent, least)) => self.retry_budget(priority, percent, least),
            },
        }
    }

    /// Connection pools there may be, over all hosts and workers.
    #[inline]
    pub fn max_pools(&self, priority: RoutingPriority) -> u64 {
        self.limits(priority).pools.load(Relaxed)
    }

    fn retry_budget(&self, priority: RoutingPriority, percent: f64, least: u32) -> u64 {
        let budget = self.budget(priority);
        budget.asked.store(true, Relaxed);
        let active = self.current(priority, Resource::Requests) + self.current(priority, Resource::PendingRequests);
        let lately = budget.window.as_ref().map_or(0, |window| window.sum(Time::now()));
        let share = (percent / 100.0 * active.max(lately) as f64) as u64;
        share.max(u64::from(least))
    }

    /// Whether the limit is reached (`circuit_breakers.<priority>.*_open`).
    pub fn is_open(&self, priority: RoutingPriority, resource: Resource) -> bool {
        let current = self.current(priority, resource);
        current > 0 && current >= self.max(priority, resource)
    }

    /// How many more there may be (`circuit_breakers.<priority>.remaining_*`). A retry budget has no such number: as on
    /// Envoy it is that of `max_retries` until somebody asks for the budget, and 0 from then on.
    pub fn remaining(&self, priority: RoutingPriority, resource: Resource) -> u64 {
        let limits = self.limits(priority);
        if resource == Resource::Retries && limits.budget().is_some() {
            let asked = self.budget(priority).asked.load(Relaxed);
            return if asked { 0 } else { u64::from(limits.retries.load(Relaxed)) };
        }
        self.max(priority, resource).saturating_sub(self.current(priority, resource))
    }

    #[inline]
    fn count(&self, priority: RoutingPriority, resource: Resource) -> &AtomicU64 {
        self.counts(priority).of(resource)
    }

    /// Connection pools there are, over all hosts and workers.
    pub fn pools(&self, priority: RoutingPriority) -> u64 {
        self.counted(priority).map_or(0, |counts| counts.rare.pools.load(Relaxed))
    }

    /// Counts one more pool unless there may be no more.
    pub(crate) fn take_pool(&self, priority: RoutingPriority) -> bool {
        let max = self.max_pools(priority);
        let more = |n| (n < max).then_some(n + 1);
        self.counts(priority).rare.pools.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(crate) fn pool_gone(&self, priority: RoutingPriority) {
        self.counts(priority).rare.pools.fetch_sub(1, Relaxed);
    }

    /// Counts one more unless the limit is reached.
    #[inline]
    fn try_take(&self, priority: RoutingPriority, resource: Resource) -> bool {
        let max = self.max(priority, resource);
        // Not add and take back: a worker that is refused must not make another one's attempt fail.
        let more = |n| (n < max).then_some(n + 1);
        let taken = self.count(priority, resource).fetch_update(Relaxed, Relaxed, more).is_ok();
        if taken
            && resource == Resource::Requests
            && let Some(window) = &self.budget(priority).window
        {
            window.count(Time::now());
        }
        taken
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
    use crate::config::RetryBudget;
    use nuncio_core::RuntimeValue;
    use RoutingPriority::{Default as Normal, High};

    fn breakers(limits: Thresholds) -> Breakers {
        Breakers::new(&CircuitBreakers { default: limits, ..CircuitBreakers::default() })
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
        let budget = RetryBudget::default();
        let b = breakers(Thresholds { retry_budget: Some(budget), ..Thresholds::default() });
        assert_eq!(b.max(Normal, Resource::Retries), 3);
        (0..50).for_each(|_| assert!(b.try_take(Normal, Resource::Requests)));
        assert_eq!(b.max(Normal, Resource::Retries), 10);
    }

    #[test]
    fn a_budget_with_an_interval_remembers_requests_that_have_ended() {
        let budget = RetryBudget { percent: 50.0, min_retry_concurrency: 0, interval: Duration::from_secs(100) };
        let b = breakers(Thresholds { retry_budget: Some(budget), track_remaining: true, ..Thresholds::default() });
        assert_eq!(b.remaining(Normal, Resource::Retries), 3);
        (0..5).for_each(|_| {
            assert!(b.try_take(Normal, Resource::Requests));
            b.count(Normal, Resource::Requests).fetch_sub(1, Relaxed);
        });
        assert_eq!((b.max(Normal, Resource::Retries), b.remaining(Normal, Resource::Retries)), (2, 0));
    }

    #[test]
    fn runtime_keys_replace_limits_and_let_go_of_them() {
        let configured = CircuitBreakers { high: Thresholds { max_requests: 7, ..Thresholds::default() }, ..CircuitBreakers::default() };
        let b = Breakers::new(&configured);
        let value = |number: f64| RuntimeValue { number: Some(number), ..RuntimeValue::default() };
        let runtime: RuntimeValues = [
            ("circuit_breakers.a.default.max_requests", 2.0),
            ("circuit_breakers.a.default.max_connection_pools", 3.0),
            ("circuit_breakers.a.high.retry_budget.budget_percent", 50.0),
            ("circuit_breakers.other.high.max_requests", 1.0),
        ]
        .map(|(key, number)| (key.into(), value(number)))
        .into_iter()
        .collect();
        b.apply(&configured, "a", &runtime);
        let limits = |b: &Breakers| (b.max(Normal, Resource::Requests), b.max(High, Resource::Requests), b.max_pools(Normal));
        assert_eq!(limits(&b), (2, 7, 3));
        (0..7).for_each(|_| assert!(b.try_take(High, Resource::Requests)));
        assert_eq!((b.max(High, Resource::Retries), b.max(Normal, Resource::Retries)), (3, 3));
        b.apply(&configured, "a", &RuntimeValues::default());
        assert_eq!(limits(&b), (1024, 7, u64::MAX));
    }
}
