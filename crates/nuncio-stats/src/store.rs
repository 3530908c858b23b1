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
    /// A full name is `prefix` and the definition's name put together: end the prefix with a dot. What a statistic's
    /// name must not hold (`:`, NUL) becomes an underscore, as Envoy does it: `listener.[__1]_80.`.
    pub fn scope(&self, prefix: &str, table: &'static Table) -> Arc<Scope> {
        let prefix = prefix
            .replace("://", "_")
            .replace(":/", "_")
            .replace([':', '\0'], "_");
        let mut registry = self.registry();
        let key = (Box::from(prefix.as_str()), table.label);
        if let Some(scope) = registry.by_prefix.get(&key).and_then(Weak::upgrade) {
            return scope;
        }
        if registry.by_prefix.len() >= registry.sweep_at {
            registry
                .by_prefix
                .retain(|_, scope| scope.strong_count() > 0);
            registry.sweep_at = 2 * registry.by_prefix.len() + 64;
        }
        let scope = Arc::new(Scope::new(&prefix, table, self.lanes));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Lane;
    use crate::tables::listener::{
        DOWNSTREAM_CX_ACTIVE, DOWNSTREAM_CX_LENGTH_MS, DOWNSTREAM_CX_TOTAL, LISTENER,
    };

    #[test]
    fn a_scope_lives_on_over_a_reload() {
        let store = Store::new(2);
        let old = store.scope("listener.[::1]:80.", &LISTENER);
        old.inc(Lane::worker(0), DOWNSTREAM_CX_TOTAL);
        let new = store.scope("listener.[::1]:80.", &LISTENER);
        drop(old);
        assert_eq!(new.counter(DOWNSTREAM_CX_TOTAL), 1);
        assert_eq!(new.prefix(), "listener.[__1]_80.");
        drop(new);
        assert!(store.scopes().is_empty());
        assert_eq!(
            store
                .scope("listener.[::1]:80.", &LISTENER)
                .counter(DOWNSTREAM_CX_TOTAL),
            0
        );
    }

    #[test]
    fn four_workers_and_a_reader_lose_nothing() {
        const ROUNDS: u64 = 20_000;
        let store = Store::new(5);
        let scope = store.scope("listener.a.", &LISTENER);
        std::thread::scope(|threads| {
            for worker in 0..4 {
                let scope = &scope;
                threads.spawn(move || {
                    let lane = Lane::worker(worker);
                    for i in 0..ROUNDS {
                        scope.inc(lane, DOWNSTREAM_CX_TOTAL);
                        // A connection opened here is closed on the next worker's account.
                        scope.gauge_add(
                            lane,
                            DOWNSTREAM_CX_ACTIVE,
                            if worker % 2 == 0 { 1 } else { -1 },
                        );
                        scope.record(lane, DOWNSTREAM_CX_LENGTH_MS, i);
                    }
                });
            }
            let mut before = 0;
            for _ in 0..100 {
                store.flush();
                let now = scope.counter(DOWNSTREAM_CX_TOTAL);
                assert!(now >= before);
                before = now;
            }
        });
        store.flush();
        assert_eq!(scope.counter(DOWNSTREAM_CX_TOTAL), 4 * ROUNDS);
        assert_eq!(scope.gauge(DOWNSTREAM_CX_ACTIVE), 0);
        let lengths = scope
            .histogram(DOWNSTREAM_CX_LENGTH_MS)
            .map(|view| view.cumulative.count());
        assert_eq!(lengths, Some(4 * ROUNDS));
    }

    #[test]
    fn a_reset_makes_counters_begin_again_and_nothing_else() {
        let store = Store::new(2);
        let scope = store.scope("listener.a.", &LISTENER);
        scope.add(Lane::worker(0), DOWNSTREAM_CX_TOTAL, 5);
        scope.gauge_add(Lane::worker(0), DOWNSTREAM_CX_ACTIVE, 3);
        store.reset_counters();
        assert_eq!(
            (
                scope.counter(DOWNSTREAM_CX_TOTAL),
                scope.gauge(DOWNSTREAM_CX_ACTIVE)
            ),
            (0, 3)
        );
        scope.inc(Lane::MAIN, DOWNSTREAM_CX_TOTAL);
        assert_eq!(scope.counter(DOWNSTREAM_CX_TOTAL), 1);
    }
}
