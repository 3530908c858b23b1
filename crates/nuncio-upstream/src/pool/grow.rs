//! When a pool makes connections: for requests that wait, in advance of those to come, within the limits.

use super::ahead::{Load, may_preconnect};
use super::http1::Http1Pool;
use crate::breaker::{Permit, Resource};
use crate::conn::Http1Connection;
use crate::reset::Reset;
use nuncio_rt::Time;
use nuncio_stats::tables::cluster as stat;
use std::rc::Rc;

/// Connections begun by one request, where it is worth several.
const CONNECT_AT_ONCE: usize = 3;

impl Http1Pool {
    /// Counts the pool as one that is used, unless there may be no more of them.
    pub(super) fn enter(&self) -> bool {
        if !self.counted.get() {
            self.counted.set(self.cluster.info.breakers.take_pool(self.priority));
        }
        self.counted.get()
    }

    pub(super) fn leave_if_unused(&self) {
        if self.open.get() == 0 && self.waiting.borrow().is_empty() && self.counted.replace(false) {
            self.cluster.info.breakers.pool_gone(self.priority);
        }
    }

    /// A request has taken a connection: makes more of them where requests are to find one ready.
    #[inline]
    pub(super) fn preconnect(self: &Rc<Self>) {
        if self.cluster.info.config.preconnect.per_upstream > 1.0 {
            self.grow();
        }
    }

    /// Begins connections while more are wanted than there are or are being made, within the limits.
    pub(super) fn grow(self: &Rc<Self>) {
        for _ in 0..CONNECT_AT_ONCE {
            if !self.wants_connection() || !self.connect_one() {
                return;
            }
        }
    }

    pub(super) fn grow_for_waiting(self: &Rc<Self>) {
        if !self.waiting.borrow().is_empty() {
            self.grow();
        }
    }

    pub(super) fn load(&self) -> Load {
        let ready = u64::from(self.connecting.get()) + self.idle.borrow().len() as u64;
        Load { waiting: self.waiting.borrow().len() as u64, active: u64::from(self.open.get()).saturating_sub(ready), ready }
    }

    fn wants_connection(&self) -> bool {
        let (waiting, connecting) = (self.waiting.borrow().len() as u64, u64::from(self.connecting.get()));
        let ratio = self.cluster.info.config.preconnect.per_upstream;
        waiting > connecting
            || (ratio > 1.0 && self.load().wants_connection(ratio, 0) && may_preconnect(&self.cluster, &self.host))
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
            // A pool without any connection gets one, else its requests would wait forever.
            (self.open.get() == 0).then(|| Permit::force(&self.cluster, self.priority, Resource::Connections))
        });
        if let Some(permit) = permit {
            self.connect(permit);
        }
        permitted
    }

    fn connect(self: &Rc<Self>, permit: Permit) {
        super::count_opened(&self.cluster, &self.host);
        self.cluster.inc(stat::UPSTREAM_CX_HTTP1_TOTAL);
        self.open.set(self.open.get() + 1);
        self.connecting.set(self.connecting.get() + 1);
        let pool = self.clone();
        nuncio_rt::spawn(async move {
            let begun = Time::now();
            let again = || super::count_opened_again(&pool.cluster, &pool.host);
            let made = pool.cluster.open(&pool.host, &pool.wanted, again).await;
            pool.connecting.set(pool.connecting.get() - 1);
            match made {
                Ok(opened) => {
                    let now = Time::now();
                    let ms = now.millis_since(begun);
                    pool.cluster.record(stat::UPSTREAM_CX_CONNECT_MS, ms);
                    let conn = Http1Connection::new(opened, &pool.cluster, permit, begun, pool.era.get());
                    pool.give_back(Box::new(conn), now);
                }
                Err(reset) => pool.connect_failed(reset, begun, permit),
            }
        });
    }

    fn connect_failed(self: &Rc<Self>, reset: Reset, begun: Time, permit: Permit) {
        let closed = super::count_connect_failed(&self.cluster, &self.host, &reset);
        drop(permit);
        self.count_close(closed, false, begun);
        // Everyone who waits learns at once that the host is bad, and may go elsewhere.
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for request in waiting {
            self.cluster.inc(stat::UPSTREAM_RQ_PENDING_FAILURE_EJECT);
            request.settle(Err(reset.clone()));
        }
        self.leave_if_unused();
    }
}
