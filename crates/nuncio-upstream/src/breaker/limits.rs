//! The limits in force: as configured, or as the runtime has them (`circuit_breakers.<cluster>.<priority>.<limit>`).
//!
//! The main thread writes them when runtime values change, so that a request reads a number and looks nothing up.

use super::RoutingPriority;
use crate::config::{RetryBudget, Thresholds};
use nuncio_core::RuntimeValues;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// `CircuitBreakers.Thresholds` that may change.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) connections: AtomicU32,
    pub(super) pending: AtomicU32,
    pub(super) requests: AtomicU32,
    pub(super) retries: AtomicU32,
    pub(super) pools: AtomicU64,
    has_budget: AtomicBool,
    /// Bits of the `f64`.
    budget_percent: AtomicU64,
    budget_min: AtomicU32,
}

/// What every key begins with.
pub(crate) const RUNTIME_PREFIX: &str = "circuit_breakers.";

impl Limits {
    pub(super) fn new(from: &Thresholds) -> Limits {
        let limits = Limits::default();
        limits.set(from);
        limits
    }

    fn set(&self, from: &Thresholds) {
        self.connections.store(from.max_connections, Relaxed);
        self.pending.store(from.max_pending_requests, Relaxed);
        self.requests.store(from.max_requests, Relaxed);
        self.retries.store(from.max_retries, Relaxed);
        self.pools.store(from.max_connection_pools, Relaxed);
        let budget = from.retry_budget.unwrap_or_default();
        self.budget_percent.store(budget.percent.to_bits(), Relaxed);
        self.budget_min.store(budget.min_retry_concurrency, Relaxed);
        self.has_budget.store(from.retry_budget.is_some(), Relaxed);
    }

    /// Puts those in force that the runtime has, and the configured ones for the rest.
    pub(super) fn apply(&self, configured: &Thresholds, cluster: &str, priority: RoutingPriority, runtime: &RuntimeValues) {
        let priority = match priority {
            RoutingPriority::Default => "default",
            RoutingPriority::High => "high",
        };
        let value = |limit: &str| runtime.get(&format!("{RUNTIME_PREFIX}{cluster}.{priority}.{limit}"));
        let number = |limit: &str, default: u32| {
            let told = value(limit).and_then(|value| value.uint());
            told.map_or(default, |told| u32::try_from(told).unwrap_or(u32::MAX))
        };
        let (percent, least) = (value("retry_budget.budget_percent"), value("retry_budget.min_retry_concurrency"));
        let budget = configured.retry_budget.unwrap_or_default();
        self.set(&Thresholds {
            max_connections: number("max_connections", configured.max_connections),
            max_pending_requests: number("max_pending_requests", configured.max_pending_requests),
            max_requests: number("max_requests", configured.max_requests),
            max_retries: number("max_retries", configured.max_retries),
            max_connection_pools: value("max_connection_pools").and_then(|value| value.uint()).unwrap_or(configured.max_connection_pools),
            retry_budget: (configured.retry_budget.is_some() || percent.is_some() || least.is_some()).then(|| RetryBudget {
                percent: percent.and_then(|value| value.number).unwrap_or(budget.percent),
                min_retry_concurrency: number("retry_budget.min_retry_concurrency", budget.min_retry_concurrency),
                interval: budget.interval,
            }),
            track_remaining: configured.track_remaining,
        });
    }

    /// Percent and least number of retries, where a budget takes the place of `max_retries`.
    pub(super) fn budget(&self) -> Option<(f64, u32)> {
        let has = self.has_budget.load(Relaxed);
        has.then(|| (f64::from_bits(self.budget_percent.load(Relaxed)), self.budget_min.load(Relaxed)))
    }
}
