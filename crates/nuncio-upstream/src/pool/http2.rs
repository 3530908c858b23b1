//! The HTTP/2 connections of one worker to one host. A request takes a place on one that has room; another connection
//! is made only when none has.

use super::ahead::{Load, may_preconnect};
use super::http1::Http1Pool;
use super::waiting::Waiting;
use super::{Pools, Spoken};
use crate::breaker::{Permit, Resource, RoutingPriority};
use crate::conn::{Http2Connection, Terms, drive};
use crate::host::Host;
use crate::info::ClusterCx;
use crate::reset::Reset;
use crate::transport::{Opened, Wanted};
use nuncio_rt::Time;
use nuncio_stats::tables::cluster as stat;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    sync::Arc,
    task::Context,
};

/// Connections of one worker to one host.
#[derive(Debug)]
pub(crate) struct Http2Pool {
    pub(crate) cluster: Rc<ClusterCx>,
    host: Arc<Host>,
    pub(super) priority: RoutingPriority,
    wanted: Wanted,
    /// With `auto_config`: where connections go on which HTTP/2 was not agreed, and where that is remembered.
    http1: Option<(Rc<Http1Pool>, Weak<Pools>)>,
    open: RefCell<Vec<Rc<Http2Connection>>>,
    waiting: RefCell<VecDeque<Rc<Waiting<Rc<Http2Connection>>>>>,
    connecting: Cell<u32>,
    retired: Cell<bool>,
    /// It has connections or requests, and so counts against `max_connection_pools`.
    counted: Cell<bool>,
}

impl Http2Pool {
    pub(super) fn new(
        cluster: Rc<ClusterCx>,
        host: Arc<Host>,
        priority: RoutingPriority,
        wanted: Wanted,
        http1: Option<(Rc<Http1Pool>, Weak<Pools>)>,
    ) -> Rc<Http2Pool> {
        let pool = Rc::new(Http2Pool {
            cluster,
            host,
            priority,
            wanted,
            http1,
            open: RefCell::default(),
            waiting: RefCell::default(),
            connecting: Cell::new(0),
            retired: Cell::new(false),
            counted: Cell::new(false),
        });
        pool.cluster.reaper.note_http2(&pool);
        pool
    }

    /// Counts the pool as one that is used, unless there may be no more of them.
    pub(super) fn enter(&self) -> bool {
        if !self.counted.get() {
            self.counted.set(self.cluster.info.breakers.take_pool(self.priority));
        }
        self.counted.get()
    }

    fn leave_if_unused(&self) {
        let unused = self.open.borrow().is_empty() && self.connecting.get() == 0 && self.waiting.borrow().is_empty();
        if unused && self.counted.replace(false) {
            self.cluster.info.breakers.pool_gone(self.priority);
        }
    }

    /// A connection on which a place has been promised.
    pub(super) fn promise(&self) -> Option<Rc<Http2Connection>> {
        self.open.borrow().iter().find(|conn| conn.promise()).cloned()
    }

    /// Enters the queue, and sees to it that a connection comes.
    pub(super) fn wait(self: &Rc<Self>, cx: &Context<'_>) -> Result<Rc<Waiting<Rc<Http2Connection>>>, Reset> {
        let entered = Waiting::enter(&self.cluster, &self.host, self.priority, cx);
        let waiting = entered.inspect_err(|_| self.leave_if_unused())?;
        self.waiting.borrow_mut().push_back(waiting.clone());
        self.enter();
        self.grow();
        Ok(waiting)
    }

    /// A request gave up waiting.
    pub(super) fn cancel(self: &Rc<Self>, waiting: &Rc<Waiting<Rc<Http2Connection>>>) {
        self.cluster.inc(stat::UPSTREAM_RQ_CANCELLED);
        match waiting.take_outcome() {
            Some(Ok(conn)) => {
                conn.release_promise();
                self.serve_queue();
            }
            Some(Err(_)) => {}
            None => {
                self.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, waiting));
                waiting.leave_queue();
                self.leave_if_unused();
            }
        }
    }

    /// Gives those who wait what room there is.
    pub(crate) fn serve_queue(self: &Rc<Self>) {
        while !self.waiting.borrow().is_empty() {
            let Some(conn) = self.promise() else { break };
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                Some(next) => next.settle(Ok(conn)),
                None => conn.release_promise(),
            }
        }
        self.grow();
    }

    pub(super) fn load(&self) -> Load {
        let places = u64::from(self.connecting.get()) * u64::from(self.cluster.info.config.http.http2.max_concurrent_streams);
        let mut load = Load { waiting: self.waiting.borrow().len() as u64, active: 0, ready: places };
        for conn in self.open.borrow().iter() {
            let (active, room) = conn.load();
            load.active += u64::from(active);
            load.ready += u64::from(room);
        }
        load
    }

    /// Begins a connection if those there are and those being made will not do for the requests that wait.
    fn grow(self: &Rc<Self>) {
        let (ratio, load) = (self.cluster.info.config.preconnect.per_upstream, self.load());
        let ahead = || ratio > 1.0 && load.wants_connection(ratio, 0) && may_preconnect(&self.cluster, &self.host);
        if load.waiting > load.ready || ahead() {
            self.connect_one();
        }
    }

    /// Begins a connection for a request that is likely to come, where every stream is worth `ratio` of them.
    pub(super) fn connect_ahead(self: &Rc<Self>, ratio: f64) -> bool {
        self.load().wants_connection(ratio, 1) && may_preconnect(&self.cluster, &self.host) && self.connect_one()
    }

    /// Begins one connection if the limits permit; answers whether they do.
    fn connect_one(self: &Rc<Self>) -> bool {
        let permit = match super::host_has_room(&self.cluster, &self.host) {
            true => Permit::take(&self.cluster, self.priority, Resource::Connections),
            false => None,
        };
        let permitted = permit.is_some();
        let permit = permit.or_else(|| {
            self.cluster.inc(stat::UPSTREAM_CX_OVERFLOW);
            let none = self.connecting.get() == 0 && self.open.borrow().iter().all(|conn| conn.is_spent());
            // A pool without any connection gets one, else its requests would wait forever.
            none.then(|| Permit::force(&self.cluster, self.priority, Resource::Connections))
        });
        if let Some(permit) = permit {
            self.connect(permit);
        }
        permitted
    }

    fn connect(self: &Rc<Self>, permit: Permit) {
        super::count_opened(&self.cluster, &self.host);
        if self.http1.is_none() {
            self.cluster.inc(stat::UPSTREAM_CX_HTTP2_TOTAL);
        }
        self.connecting.set(self.connecting.get() + 1);
        let pool = self.clone();
        nuncio_rt::spawn(async move {
            let begun = Time::now();
            let again = || super::count_opened_again(&pool.cluster, &pool.host);
            let made = pool.cluster.open(&pool.host, &pool.wanted, again).await;
            pool.connecting.set(pool.connecting.get() - 1);
            match made {
                Ok(opened) => {
                    pool.cluster.record(stat::UPSTREAM_CX_CONNECT_MS, Time::now().millis_since(begun));
                    if pool.http1.is_some() {
                        // Envoy counts such a connection again when it knows what it speaks.
                        super::count_opened_again(&pool.cluster, &pool.host);
                    }
                    match &pool.http1 {
                        Some((http1, pools)) if !opened.agreed_on_http2() => {
                            if let Some(pools) = pools.upgrade() {
                                pools.spoken.set(Spoken::Http1);
                            }
                            pool.send_to(http1);
                            http1.adopt(opened, permit, begun);
                            pool.leave_if_unused();
                        }
                        Some(_) => {
                            pool.cluster.inc(stat::UPSTREAM_CX_HTTP2_TOTAL);
                            pool.run(opened, begun, permit).await;
                        }
                        None => pool.run(opened, begun, permit).await,
                    }
                }
                Err(reset) => {
                    drop(permit);
                    pool.connect_failed(&reset, begun);
                }
            }
        });
    }

    /// Everyone who waits is told to ask there.
    fn send_to(&self, http1: &Rc<Http1Pool>) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for request in waiting {
            request.send_to(http1);
        }
    }

    pub(super) fn is_used(&self) -> bool {
        !self.open.borrow().is_empty() || self.connecting.get() > 0 || !self.waiting.borrow().is_empty()
    }

    /// Serves a connection to its end.
    async fn run(self: &Rc<Self>, opened: Opened, begun: Time, permit: Permit) {
        let conn = Http2Connection::new(&self.cluster, permit, begun, &opened);
        let http = &self.cluster.info.config.http;
        let terms = Terms {
            idle: http.idle_timeout,
            expires: self.cluster.connection_ends(),
        };
        self.open.borrow_mut().push(conn.clone());
        self.serve_queue();
        if self.retired.get() {
            conn.drain();
        }
        let changed = || self.serve_queue();
        let (by, active) = drive(conn.clone(), opened.io, self.cluster.clone(), terms, changed).await;
        self.open.borrow_mut().retain(|other| !Rc::ptr_eq(other, &conn));
        self.cluster.record(stat::UPSTREAM_RQ_PER_CX, u64::from(conn.requests.get()));
        super::count_closed(&self.cluster, &self.host, by, active, conn.created);
        self.serve_queue();
        self.leave_if_unused();
    }

    fn connect_failed(self: &Rc<Self>, reset: &Reset, begun: Time) {
        let closed = super::count_connect_failed(&self.cluster, &self.host, reset);
        super::count_closed(&self.cluster, &self.host, closed, false, begun);
        // Everyone who waits learns at once that the host is bad, and may go elsewhere.
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for request in waiting {
            self.cluster.inc(stat::UPSTREAM_RQ_PENDING_FAILURE_EJECT);
            request.settle(Err(reset.clone()));
        }
        self.leave_if_unused();
    }

    /// Connections take no more requests and close when theirs have ended; new ones may be made.
    pub(super) fn drain(self: &Rc<Self>) {
        self.open.borrow().iter().for_each(|conn| conn.drain());
    }

    /// The host is gone: nothing is kept any more. Requests that wait still get their connection.
    pub(super) fn retire(self: &Rc<Self>) {
        self.retired.set(true);
        self.drain();
    }
}

impl Drop for Http2Pool {
    fn drop(&mut self) {
        if self.counted.get() {
            self.cluster.info.breakers.pool_gone(self.priority);
        }
    }
}
