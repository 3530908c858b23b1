//! The HTTP/1 connections of one worker to one host: idle, being made, and those that requests wait for.

use super::Closed;
use super::reaper::Stir;
use super::waiting::Waiting;
use crate::breaker::{Permit, RoutingPriority};
use crate::conn::Http1Connection;
use crate::host::Host;
use crate::info::ClusterCx;
use crate::reset::Reset;
use crate::transport::{Opened, Wanted};
use nuncio_rt::Time;
use nuncio_stats::tables::cluster as stat;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Connections of one worker to one host.
#[derive(Debug)]
pub(crate) struct Http1Pool {
    pub(crate) cluster: Rc<ClusterCx>,
    pub(crate) host: Arc<Host>,
    pub(super) priority: RoutingPriority,
    pub(super) wanted: Wanted,
    id: u64,
    stir: Arc<Stir>,
    waker: Waker,
    #[expect(clippy::vec_box, reason = "connections move between stack, queue and streams: as a pointer, not as 400 bytes")]
    pub(super) idle: RefCell<Vec<Box<Http1Connection>>>,
    pub(super) waiting: RefCell<VecDeque<Rc<Waiting<Box<Http1Connection>>>>>,
    /// Connections being made.
    pub(super) connecting: Cell<u32>,
    /// Connections in all: being made, idle, busy.
    pub(super) open: Cell<u32>,
    /// Grows with each drain: connections of an earlier era are not kept.
    pub(super) era: Cell<u32>,
    retired: Cell<bool>,
    /// It has connections or requests, and so counts against `max_connection_pools`.
    pub(super) counted: Cell<bool>,
    /// When the reaper will look in next.
    sweep: Cell<Time>,
}

impl Http1Pool {
    pub(super) fn new(cluster: Rc<ClusterCx>, host: Arc<Host>, priority: RoutingPriority, wanted: Wanted) -> Rc<Http1Pool> {
        Rc::new_cyclic(|pool| {
            let (id, stir) = cluster.reaper.enter(pool.clone());
            Http1Pool {
                cluster,
                host,
                priority,
                wanted,
                id,
                waker: stir.clone().into(),
                stir,
                idle: RefCell::default(),
                waiting: RefCell::default(),
                connecting: Cell::new(0),
                open: Cell::new(0),
                era: Cell::new(0),
                retired: Cell::new(false),
                counted: Cell::new(false),
                sweep: Cell::new(Time::NEVER),
            }
        })
    }

    /// The warmest idle connection that is still quiet; the caller's task is registered for what it will read.
    #[inline]
    pub(super) fn take_idle(&self, cx: &mut Context<'_>) -> Option<Box<Http1Connection>> {
        loop {
            let mut conn = self.idle.borrow_mut().pop()?;
            match self.stirred(&mut conn, cx) {
                None => return Some(conn),
                Some(by) => self.close(conn, by, false),
            }
        }
    }

    /// Enters the queue, and sees to it that a connection comes.
    pub(super) fn wait(self: &Rc<Self>, cx: &Context<'_>) -> Result<Rc<Waiting<Box<Http1Connection>>>, Reset> {
        let entered = Waiting::enter(&self.cluster, &self.host, self.priority, cx);
        let waiting = entered.inspect_err(|_| self.leave_if_unused())?;
        self.waiting.borrow_mut().push_back(waiting.clone());
        self.enter();
        self.grow();
        Ok(waiting)
    }

    /// A request gave up waiting.
    pub(super) fn cancel(self: &Rc<Self>, waiting: &Rc<Waiting<Box<Http1Connection>>>) {
        self.cluster.inc(stat::UPSTREAM_RQ_CANCELLED);
        match waiting.take_outcome() {
            Some(Ok(conn)) => self.give_back(conn, Time::now()),
            Some(Err(_)) => {}
            None => {
                self.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, waiting));
                waiting.leave_queue();
                self.leave_if_unused();
            }
        }
    }

    /// A connection made by somebody else is this pool's from now on.
    pub(super) fn adopt(self: &Rc<Self>, opened: Opened, permit: Permit, begun: Time) {
        self.open.set(self.open.get() + 1);
        self.cluster.inc(stat::UPSTREAM_CX_HTTP1_TOTAL);
        self.give_back(Box::new(Http1Connection::new(opened, &self.cluster, permit, begun, self.era.get())), Time::now());
    }

    pub(super) fn is_used(&self) -> bool {
        self.open.get() > 0 || !self.waiting.borrow().is_empty()
    }

    /// A connection is free: the first in the queue gets it, or it becomes idle, or it is not fit to be kept.
    pub(crate) fn give_back(self: &Rc<Self>, mut conn: Box<Http1Connection>, now: Time) {
        if conn.is_spent() || conn.era != self.era.get() {
            return self.close(conn, Closed::Local, false);
        }
        let next = self.waiting.borrow_mut().pop_front();
        if let Some(next) = next {
            next.settle(Ok(conn));
            return self.grow_for_waiting();
        }
        if self.retired.get() {
            return self.close(conn, Closed::Local, false);
        }
        match self.stirred(&mut conn, &mut Context::from_waker(&self.waker)) {
            None => self.keep(conn, now),
            Some(by) => self.close(conn, by, false),
        }
    }

    /// Whether an idle connection has been closed by its peer, or has to be because the peer spoke out of turn. If
    /// neither, the task is woken when one of them happens.
    #[inline]
    fn stirred(&self, conn: &mut Http1Connection, cx: &mut Context<'_>) -> Option<Closed> {
        if conn.io.poll_read_ready(cx).is_pending() {
            return None;
        }
        // Ready may only mean that the last read happened to fill its buffer. One read settles it.
        let bufs = &self.cluster.worker.bufs;
        let mut probe = bufs.get();
        let read = conn.io.poll_read(cx, &mut probe);
        bufs.put(probe);
        match read {
            Poll::Pending => None,
            Poll::Ready(Ok(n)) if n > 0 => {
                self.cluster.add(stat::UPSTREAM_CX_RX_BYTES_TOTAL, n as u64);
                Some(Closed::Local)
            }
            Poll::Ready(_) => Some(Closed::Remote),
        }
    }

    fn keep(&self, mut conn: Box<Http1Connection>, now: Time) {
        if conn.has_expired(now) {
            self.cluster.inc(stat::UPSTREAM_CX_MAX_DURATION_REACHED);
            return self.close(conn, Closed::Local, false);
        }
        let idle = self.cluster.info.config.http.idle_timeout;
        conn.idle_until = idle.map_or(Time::NEVER, |limit| now + limit);
        let due = conn.idle_until.min(conn.expires);
        self.idle.borrow_mut().push(conn);
        // The pool is looked through when the first idle connection would have ended; later ones wait for that.
        if due < self.sweep.get() && (self.sweep.get() == Time::NEVER || self.sweep.get() > due + SWEEP_SLACK) {
            self.sweep.set(due);
            self.cluster.reaper.sweep_at(due, self.id);
        }
    }

    /// Closes what has been idle or alive for too long.
    pub(super) fn sweep(&self, now: Time) {
        if self.sweep.get() > now {
            return;
        }
        self.sweep.set(Time::NEVER);
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        let mut next = Time::NEVER;
        let mut kept = Vec::with_capacity(idle.len());
        for conn in idle {
            if conn.has_expired(now) {
                self.cluster.inc(stat::UPSTREAM_CX_MAX_DURATION_REACHED);
                self.close(conn, Closed::Local, false);
            } else if conn.idle_until <= now {
                self.cluster.inc(stat::UPSTREAM_CX_IDLE_TIMEOUT);
                self.close(conn, Closed::Local, false);
            } else {
                next = next.min(conn.idle_until).min(conn.expires);
                kept.push(conn);
            }
        }
        *self.idle.borrow_mut() = kept;
        if next != Time::NEVER {
            self.sweep.set(next);
            self.cluster.reaper.sweep_at(next, self.id);
        }
    }

    /// Closes idle connections whose peer has closed, or has spoken out of turn.
    pub(super) fn reap(&self) {
        self.stir.heard();
        let cx = &mut Context::from_waker(&self.waker);
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        let mut kept = Vec::with_capacity(idle.len());
        for mut conn in idle {
            match self.stirred(&mut conn, cx) {
                None => kept.push(conn),
                Some(by) => self.close(conn, by, false),
            }
        }
        *self.idle.borrow_mut() = kept;
    }

    /// Closes a connection and counts that.
    pub(crate) fn close(&self, conn: Box<Http1Connection>, by: Closed, with_active_request: bool) {
        self.cluster.record(stat::UPSTREAM_RQ_PER_CX, u64::from(conn.requests));
        self.count_close(by, with_active_request, conn.created);
    }

    pub(super) fn count_close(&self, by: Closed, with_active_request: bool, created: Time) {
        self.open.set(self.open.get().saturating_sub(1));
        self.leave_if_unused();
        super::count_closed(&self.cluster, &self.host, by, with_active_request, created);
    }

    /// A busy connection was closed: whoever waits needs another.
    pub(crate) fn close_busy(self: &Rc<Self>, conn: Box<Http1Connection>, by: Closed, with_active_request: bool) {
        self.close(conn, by, with_active_request);
        self.grow_for_waiting();
    }

    /// Closes idle connections; those now busy are not kept.
    pub(super) fn drain(self: &Rc<Self>) {
        self.era.set(self.era.get() + 1);
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        idle.into_iter().for_each(|conn| self.close(conn, Closed::Local, false));
    }

    /// The host is gone: nothing is kept any more. Requests that wait still get their connection.
    pub(super) fn retire(self: &Rc<Self>) {
        self.retired.set(true);
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        idle.into_iter().for_each(|conn| self.close(conn, Closed::Local, false));
    }
}

/// Idle connections are looked for at most this much later than they are due, to save timers.
const SWEEP_SLACK: std::time::Duration = std::time::Duration::from_millis(1);

impl Drop for Http1Pool {
    fn drop(&mut self) {
        self.cluster.reaper.leave(self.id);
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        idle.into_iter().for_each(|conn| self.close(conn, Closed::Local, false));
        self.leave_if_unused();
    }
}
