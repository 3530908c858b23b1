//! The task that looks after a worker's idle connections.
//!
//! Every idle connection has its pool's waker registered for reading. When the peer closes (or says something out of
//! turn), the waker puts the pool's number into a channel and the task looks through that pool. Idle and lifetime
//! limits are a heap of moments at which a pool wants to be looked at; a pool is in it at most once. So an idle
//! connection costs no task, no timer and no memory beyond its own.

use super::ahead::Load;
use super::{Http1Pool, Http2Pool};
use nuncio_rt::{Deadline, Time, Timers};
use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    future::poll_fn,
    rc::{Rc, Weak},
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Poll, Wake, Waker},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A worker's idle connections by pool.
#[derive(Debug)]
pub(crate) struct Reaper {
    pools: RefCell<HashMap<u64, Weak<Http1Pool>>>,
    /// Pools of connections that look after themselves, to know what there is of them.
    http2: RefCell<Vec<Weak<Http2Pool>>>,
    next_id: Cell<u64>,
    sweeps: RefCell<BinaryHeap<Reverse<(Time, u64)>>>,
    task: RefCell<Option<Waker>>,
    stirred: UnboundedSender<u64>,
}

/// Tells the reaper that a connection of a pool is readable.
#[derive(Debug)]
pub(crate) struct Stir {
    pool: u64,
    queued: AtomicBool,
    to: UnboundedSender<u64>,
}

impl Wake for Stir {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Relaxed) {
            // Fails only when the worker is gone, and its connections with it.
            let _ = self.to.send(self.pool);
        }
    }
}

impl Stir {
    /// The pool is being looked through: what stirs from now on counts anew.
    pub(super) fn heard(&self) {
        self.queued.store(false, Relaxed);
    }
}

impl Reaper {
    /// The reaper of a worker and the task to run there.
    pub(crate) fn start(timers: Timers) -> (Rc<Reaper>, impl Future<Output = ()>) {
        let (stirred, heard) = unbounded_channel();
        let reaper = Rc::new(Reaper {
            pools: RefCell::default(),
            http2: RefCell::default(),
            next_id: Cell::new(0),
            sweeps: RefCell::default(),
            task: RefCell::default(),
            stirred,
        });
        let task = reaper.clone().run(heard, timers);
        (reaper, task)
    }

    /// Enters a pool; returns its number and the end of the line that its connections pull.
    pub(super) fn enter(&self, pool: Weak<Http1Pool>) -> (u64, Arc<Stir>) {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        self.pools.borrow_mut().insert(id, pool);
        (id, Arc::new(Stir { pool: id, queued: AtomicBool::new(false), to: self.stirred.clone() }))
    }

    pub(super) fn note_http2(&self, pool: &Rc<Http2Pool>) {
        let mut pools = self.http2.borrow_mut();
        if pools.len() == pools.capacity() {
            pools.retain(|pool| pool.strong_count() > 0);
        }
        pools.push(Rc::downgrade(pool));
    }

    /// Tells what every pool of the worker carries.
    pub(super) fn each(&self, mut tell: impl FnMut(Load)) {
        self.pools.borrow().values().filter_map(Weak::upgrade).for_each(|pool| tell(pool.load()));
        self.http2.borrow().iter().filter_map(Weak::upgrade).for_each(|pool| tell(pool.load()));
    }

    pub(super) fn leave(&self, id: u64) {
        self.pools.borrow_mut().remove(&id);
    }

    /// Has a pool looked through at `at`.
    pub(super) fn sweep_at(&self, at: Time, id: u64) {
        let mut sweeps = self.sweeps.borrow_mut();
        let sooner = sweeps.peek().is_none_or(|Reverse((first, _))| at < *first);
        sweeps.push(Reverse((at, id)));
        drop(sweeps);
        if sooner && let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    async fn run(self: Rc<Self>, mut heard: UnboundedReceiver<u64>, timers: Timers) {
        let mut deadline = Deadline::new(timers);
        poll_fn(|cx| {
            *self.task.borrow_mut() = Some(cx.waker().clone());
            while let Poll::Ready(Some(id)) = heard.poll_recv(cx) {
                if let Some(pool) = self.pool(id) {
                    pool.reap();
                }
            }
            loop {
                let now = Time::now();
                while let Some(id) = self.due(now) {
                    if let Some(pool) = self.pool(id) {
                        pool.sweep(now);
                    }
                }
                deadline.set(self.sweeps.borrow().peek().map(|Reverse((at, _))| *at));
                if deadline.poll(cx, now).is_pending() {
                    return Poll::<()>::Pending;
                }
            }
        })
        .await;
    }

    fn due(&self, now: Time) -> Option<u64> {
        let mut sweeps = self.sweeps.borrow_mut();
        let Reverse((at, id)) = *sweeps.peek()?;
        (at <= now).then(|| {
            sweeps.pop();
            id
        })
    }

    fn pool(&self, id: u64) -> Option<Rc<Http1Pool>> {
        self.pools.borrow().get(&id).and_then(Weak::upgrade)
    }
}
