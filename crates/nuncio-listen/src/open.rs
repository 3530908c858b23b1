//! An open connection as limits and statistics know it: counted in, counted out, however it ends.

use crate::{
    balance::Balance, chain::Chain, connection_log::ConnectionLog, stats::CX_PANIC, update::ConnectionBudget,
};
use nuncio_rt::Time;
use nuncio_stats::{
    Lane, Scope,
    tables::{
        listener::{
            DOWNSTREAM_CX_ACTIVE, DOWNSTREAM_CX_DESTROY, DOWNSTREAM_CX_LENGTH_MS, DOWNSTREAM_CX_OVERFLOW,
            DOWNSTREAM_CX_TOTAL, DOWNSTREAM_GLOBAL_CX_OVERFLOW,
        },
        listener_worker,
    },
};
use std::{rc::Rc, sync::Arc};

/// Counts for one listener on this worker.
pub(crate) struct Counts {
    pub(crate) lane: Lane,
    pub(crate) listener: Arc<Scope>,
    pub(crate) trouble: Arc<Scope>,
    pub(crate) worker: Option<Arc<Scope>>,
    /// Over all listeners, and the listener's own.
    pub(crate) budgets: [Option<Arc<ConnectionBudget>>; 2],
    /// Which of them only count.
    pub(crate) unlimited: [bool; 2],
    /// Its connections by worker, if they are balanced, and which worker this is.
    pub(crate) balance: Option<(Arc<Balance>, usize)>,
}

impl Counts {
    /// Takes a place in every limit there is, or counts which one was used up.
    /// `balanced` connections have been counted by the balance already.
    pub(crate) fn take_places(self: &Rc<Self>, balanced: bool) -> Option<Places> {
        let full = [DOWNSTREAM_GLOBAL_CX_OVERFLOW, DOWNSTREAM_CX_OVERFLOW];
        let mut places = Places { counts: self.clone(), taken: 0, balanced };
        for ((budget, overflow), unlimited) in self.budgets.iter().zip(full).zip(self.unlimited) {
            if unlimited {
                budget.iter().for_each(|budget| budget.count());
            } else if budget.as_ref().is_some_and(|budget| !budget.take()) {
                self.listener.inc(self.lane, overflow);
                return None;
            }
            places.taken += 1;
        }
        Some(places)
    }
}

/// A connection's places in the limits, given back when it ends.
pub(crate) struct Places {
    pub(crate) counts: Rc<Counts>,
    taken: usize,
    balanced: bool,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.counts.budgets.iter().take(self.taken).flatten().for_each(|budget| budget.give_back());
        if let Some((balance, worker)) = self.counts.balance.as_ref().filter(|_| self.balanced) {
            balance.ended(*worker);
        }
    }
}

/// Lives as long as a connection: counted in, counted out, however it ends.
pub(crate) struct OpenConnection {
    pub(crate) places: Places,
    pub(crate) chain: Rc<Chain>,
    pub(crate) slot: usize,
    start: Time,
    pub(crate) log: ConnectionLog,
}

impl OpenConnection {
    pub(crate) fn new(places: Places, chain: Rc<Chain>, start: Time, log: ConnectionLog) -> OpenConnection {
        let counts = &places.counts;
        counts.listener.inc(counts.lane, DOWNSTREAM_CX_TOTAL);
        counts.listener.gauge_add(counts.lane, DOWNSTREAM_CX_ACTIVE, 1);
        if let Some(worker) = &counts.worker {
            worker.inc(counts.lane, listener_worker::DOWNSTREAM_CX_TOTAL);
            worker.gauge_add(counts.lane, listener_worker::DOWNSTREAM_CX_ACTIVE, 1);
        }
        let slot = chain.opened();
        OpenConnection { places, chain, slot, start, log }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let counts = &self.places.counts;
        counts.listener.inc(counts.lane, DOWNSTREAM_CX_DESTROY);
        counts.listener.gauge_add(counts.lane, DOWNSTREAM_CX_ACTIVE, -1);
        let length = Time::now().since(self.start).as_millis();
        counts.listener.record(counts.lane, DOWNSTREAM_CX_LENGTH_MS, u64::try_from(length).unwrap_or(u64::MAX));
        if let Some(worker) = &counts.worker {
            worker.gauge_add(counts.lane, listener_worker::DOWNSTREAM_CX_ACTIVE, -1);
        }
        if std::thread::panicking() {
            counts.trouble.inc(counts.lane, CX_PANIC);
        }
        self.chain.closed(self.slot);
    }
}
