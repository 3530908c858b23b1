//! A request that waits for a connection.

use crate::breaker::{Permit, Resource, RoutingPriority};
use super::http1::Http1Pool;
use crate::host::{Host, HostStat};
use crate::info::ClusterCx;
use crate::reset::{Reset, ResetReason};
use nuncio_stats::tables::cluster as stat;
use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A request in the queue, for a connection of type `T`.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    cluster: Rc<ClusterCx>,
    host: Arc<Host>,
    outcome: RefCell<Option<Result<T, Reset>>>,
    waker: RefCell<Waker>,
    permit: RefCell<Option<Permit>>,
    /// There is nothing to be had here, but there.
    sent_to: RefCell<Option<Rc<Http1Pool>>>,
}

impl<T> Waiting<T> {
    /// Enters the queue, where the breaker permits.
    pub(super) fn enter(
        cluster: &Rc<ClusterCx>,
        host: &Arc<Host>,
        priority: RoutingPriority,
        cx: &Context<'_>,
    ) -> Result<Rc<Waiting<T>>, Reset> {
        let Some(permit) = Permit::take(cluster, priority, Resource::PendingRequests) else {
            cluster.inc(stat::UPSTREAM_RQ_PENDING_OVERFLOW);
            return Err(Reset::new(ResetReason::Overflow));
        };
        cluster.inc(stat::UPSTREAM_RQ_PENDING_TOTAL);
        cluster.gauge(stat::UPSTREAM_RQ_PENDING_ACTIVE, 1);
        super::count_host(cluster, host, |cells| cells.inc(HostStat::RqPendingActive));
        Ok(Rc::new(Waiting {
            cluster: cluster.clone(),
            host: host.clone(),
            outcome: RefCell::new(None),
            waker: RefCell::new(cx.waker().clone()),
            permit: RefCell::new(Some(permit)),
            sent_to: RefCell::default(),
        }))
    }

    /// What the wait came to.
    pub(super) fn outcome(&self, cx: &Context<'_>) -> Poll<Result<T, Reset>> {
        match self.outcome.borrow_mut().take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.waker.borrow_mut().clone_from(cx.waker());
                Poll::Pending
            }
        }
    }

    /// What it came to without anybody having looked.
    pub(super) fn take_outcome(&self) -> Option<Result<T, Reset>> {
        self.outcome.borrow_mut().take()
    }

    pub(super) fn settle(&self, outcome: Result<T, Reset>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.leave_queue();
        self.waker.borrow().wake_by_ref();
    }

    /// Has the request ask in another pool.
    pub(super) fn send_to(&self, pool: &Rc<Http1Pool>) {
        *self.sent_to.borrow_mut() = Some(pool.clone());
        self.leave_queue();
        self.waker.borrow().wake_by_ref();
    }

    /// Where the request is to ask instead.
    pub(super) fn take_sent_to(&self) -> Option<Rc<Http1Pool>> {
        self.sent_to.borrow_mut().take()
    }

    pub(super) fn leave_queue(&self) {
        drop(self.permit.borrow_mut().take());
        self.cluster.gauge(stat::UPSTREAM_RQ_PENDING_ACTIVE, -1);
        super::count_host(&self.cluster, &self.host, |cells| cells.dec(HostStat::RqPendingActive));
    }
}
