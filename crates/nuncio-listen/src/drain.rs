//! How draining is ordered and how its end is noticed.
//!
//! The main thread orders; each worker holds the order's [`Ticket`] for as long as it has a connection left to finish.
//! The order is done when the last of them lets go: nothing has to be asked or polled.

use nuncio_stats::{
    Lane, Scope,
    tables::listener_manager::{LISTENER_STOPPED, TOTAL_FILTER_CHAINS_DRAINING, TOTAL_LISTENERS_DRAINING},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// `--drain-strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DrainStrategy {
    /// Responses ask for the connection's close more and more often over the drain time.
    #[default]
    Gradual,
    /// All do from the start, and idle connections are closed.
    Immediate,
    /// All do from the start, but idle connections stay for their next exchange: nobody who sends a request just then is
    /// cut off. Ours, for reloads; Envoy has no such strategy.
    NextResponse,
}

/// How fast to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPace {
    /// `--drain-strategy`.
    pub strategy: DrainStrategy,
    /// `--drain-time-s`: what is open after it is closed.
    pub time: Duration,
}

impl Default for DrainPace {
    /// Envoy's: gradual, over 600 seconds.
    fn default() -> Self {
        DrainPace { strategy: DrainStrategy::Gradual, time: Duration::from_secs(600) }
    }
}

/// What is finished when an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draining {
    /// A listener that is going away.
    Listener,
    /// So many filter chains of a listener that stays.
    Chains(u64),
    /// A listener's sockets only; its connections live on.
    Sockets,
    /// Everything, before the process ends.
    Process,
}

/// How many orders of which kind are under way, and a bell for each that ends.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    connections: AtomicU64,
    ended: Notify,
}

impl Outstanding {
    /// Waits until no order that finishes connections is under way.
    pub(crate) async fn none(&self) {
        loop {
            let ended = self.ended.notified();
            if self.connections.load(SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// Held by everything an order still waits for.
#[derive(Debug)]
pub struct Ticket {
    what: Draining,
    manager: Arc<Scope>,
    outstanding: Arc<Outstanding>,
}

impl Ticket {
    /// Opens an order. Main thread only.
    pub(crate) fn open(what: Draining, manager: &Arc<Scope>, outstanding: &Arc<Outstanding>) -> Arc<Ticket> {
        match what {
            Draining::Listener => manager.gauge_add(Lane::MAIN, TOTAL_LISTENERS_DRAINING, 1),
            Draining::Chains(n) => manager.gauge_add(Lane::MAIN, TOTAL_FILTER_CHAINS_DRAINING, n as i64),
            Draining::Sockets | Draining::Process => {}
        }
        outstanding.connections.fetch_add(1, SeqCst);
        Arc::new(Ticket { what, manager: manager.clone(), outstanding: outstanding.clone() })
    }

    /// Lets go of one hold, on the thread of `lane`. The last one ends the order.
    pub(crate) fn release(self: Arc<Self>, lane: Lane) {
        let Some(ticket) = Arc::into_inner(self) else { return };
        match ticket.what {
            Draining::Listener => ticket.manager.gauge_add(lane, TOTAL_LISTENERS_DRAINING, -1),
            Draining::Chains(n) => ticket.manager.gauge_add(lane, TOTAL_FILTER_CHAINS_DRAINING, -(n as i64)),
            Draining::Sockets => ticket.manager.inc(lane, LISTENER_STOPPED),
            Draining::Process => {}
        }
    }
}

impl Drop for Ticket {
    /// Also when a worker was lost: nobody waits for what will not come.
    fn drop(&mut self) {
        self.outstanding.connections.fetch_sub(1, SeqCst);
        self.outstanding.ended.notify_waiters();
    }
}

/// An order to one worker.
#[derive(Debug, Clone)]
pub struct DrainOrder {
    /// How fast.
    pub pace: DrainPace,
    /// To be held until done.
    pub ticket: Arc<Ticket>,
}
