//! The process's statistics: every scope that somebody holds.

use crate::scope::Scope;
use crate::table::Table;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// All scopes, by prefix. Shared by every thread; its lock is taken when a scope is made and when output is, never to
/// count.
#[derive(Debug)]
pub struct Store {
    lanes: usize,
    scopes: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    by_prefix: BTreeMap<(Box<str>, &'static str), Weak<Scope>>,
    /// Sweep out dropped scopes when the map has grown to this size.
    sweep_at: usize,
}

impl Store {
    /// A store for this many lanes: the main thread's and one per worker.
    pub fn new(lanes: usize) -> Arc<Store> {
        Arc::new(Store {
            lanes: lanes.max(1),
            scopes: Mutex::default(),
        })
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The scope of this prefix and table: the living one if there is one (a reload goes on counting), else a new one.
    ///
    /// A full name is `prefix` and the definition's name put together: end the prefix with a dot.
    pub fn scope(&self, prefix: &str, table: &'static Table) -> Arc<Scope> {
        let mut registry = self.registry();
        let key = (Box::from(prefix), table.label);
        if let Some(scope) = registry.by_prefix.get(&key).and_then(Weak::upgrade) {
            return scope;
        }
        if registry.by_prefix.len() >= registry.sweep_at {
            registry
                .by_prefix
                .retain(|_, scope| scope.strong_count() > 0);
            registry.sweep_at = 2 * registry.by_prefix.len() + 64;
        }
        let scope = Arc::new(Scope::new(prefix, table, self.lanes));
        registry.by_prefix.insert(key, Arc::downgrade(&scope));
        scope
    }

    /// Every living scope, in order of prefix.
    pub fn scopes(&self) -> Vec<Arc<Scope>> {
        self.registry()
            .by_prefix
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Ends a histogram interval: what `/stats` shows until the next flush. Envoy does it every 5 s
    /// (`stats_flush_interval`).
    pub fn flush(&self) {
        self.scopes().iter().for_each(|scope| scope.flush());
    }

    /// Makes every counter read 0 from here on (`/reset_counters`).
    pub fn reset_counters(&self) {
        self.scopes()
            .iter()
            .for_each(|scope| scope.reset_counters());
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
