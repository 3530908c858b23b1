//! A filter chain on one worker: its terminal filter, the connections it serves, and how they end.

use crate::{
    config::{FilterChainConfig, Transport},
    drain::{DrainOrder, DrainPace, DrainStrategy, Ticket},
    tls::ServerContext,
};
use nuncio_core::{DrainSignal, TerminalWorker, Worker};
use nuncio_stats::Lane;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::task::AbortHandle;

/// A filter chain at work.
pub(crate) struct Chain {
    pub(crate) config: Arc<FilterChainConfig>,
    pub(crate) terminal: Rc<dyn TerminalWorker>,
    pub(crate) tls: Option<Rc<ServerContext>>,
    pub(crate) drain: DrainSignal,
    lane: Lane,
    open: RefCell<Open>,
    tickets: RefCell<Vec<Arc<Ticket>>>,
    retired: Cell<bool>,
}

/// The tasks of open connections, by slot.
#[derive(Default)]
struct Open {
    slots: Vec<Option<AbortHandle>>,
    free: Vec<usize>,
}

impl Open {
    fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Chain {
    /// `config` on `worker`; `scope` is what stands before the listener's statistics.
    pub(crate) fn new(
        config: &Arc<FilterChainConfig>,
        worker: &Rc<Worker>,
        tls: Option<Rc<ServerContext>>,
        drain: DrainSignal,
    ) -> Rc<Chain> {
        debug_assert_eq!(tls.is_some(), matches!(config.transport, Transport::Tls(_)));
        Rc::new(Chain {
            config: config.clone(),
            terminal: config.terminal.clone().on_worker(worker),
            tls,
            drain,
            lane: worker.lane,
            open: RefCell::default(),
            tickets: RefCell::default(),
            retired: Cell::new(false),
        })
    }

    /// Connections it serves now.
    pub(crate) fn count(&self) -> usize {
        self.open.borrow().count()
    }

    /// Makes room for one more connection.
    pub(crate) fn opened(&self) -> usize {
        let mut open = self.open.borrow_mut();
        open.free.pop().unwrap_or_else(|| {
            open.slots.push(None);
            open.slots.len() - 1
        })
    }

    /// Says how to end the connection in `slot`.
    pub(crate) fn started(&self, slot: usize, task: AbortHandle) {
        if let Some(place) = self.open.borrow_mut().slots.get_mut(slot) {
            *place = Some(task);
        }
    }

    /// Forgets the connection in `slot`; the last one of a retired chain ends the orders it holds.
    pub(crate) fn closed(&self, slot: usize) {
        let last = {
            let mut open = self.open.borrow_mut();
            if let Some(place) = open.slots.get_mut(slot) {
                *place = None;
            }
            open.free.push(slot);
            open.count() == 0
        };
        if last && self.retired.get() {
            self.finish();
        }
    }

    fn finish(&self) {
        for ticket in self.tickets.take() {
            ticket.release(self.lane);
        }
    }

    /// Lets its connections finish at the order's pace; it must get no new ones. A second order can only be faster.
    pub(crate) fn retire(self: &Rc<Self>, worker: &Rc<Worker>, order: &DrainOrder) {
        self.retired.set(true);
        self.tickets.borrow_mut().push(order.ticket.clone());
        if self.count() == 0 {
            self.finish();
            return;
        }
        self.ease(order.pace);
        let (chain, worker, time) = (Rc::downgrade(self), worker.clone(), order.pace.time);
        nuncio_rt::spawn(async move {
            worker.timers.sleep(time).await;
            if let Some(chain) = chain.upgrade() {
                chain.close_all(&worker).await;
            }
        });
    }

    /// Asks connections to close at this pace.
    pub(crate) fn ease(&self, pace: DrainPace) {
        match pace.strategy {
            DrainStrategy::Immediate => self.drain.begin(),
            DrainStrategy::Gradual => self.drain.begin_over(pace.time),
            DrainStrategy::NextResponse => self.drain.begin_over(Duration::ZERO),
        }
    }

    /// Closes what is idle, then, a moment later, whatever is left.
    async fn close_all(&self, worker: &Worker) {
        /// What an idle connection needs to say goodbye.
        const GOODBYE: Duration = Duration::from_millis(100);
        self.drain.begin();
        worker.timers.sleep(GOODBYE).await;
        for task in self.open.borrow().slots.iter().flatten() {
            task.abort();
        }
    }
}
