//! One request's way to a connection.

use super::http1::{Http1Pool, Waiting};
use super::WorkerHost;
use crate::breaker::{Permit, Resource};
use crate::conn::UpstreamConn;
use crate::reset::{PoolFailure, Reset, ResetReason};
use nuncio_stats::tables::cluster::{UPSTREAM_RQ_ACTIVE_OVERFLOW};
use std::{
    rc::Rc,
    task::{Context, Poll},
};

/// A request that wants a connection. Dropping it gives up the place in the queue (`upstream_rq_cancelled`), not the
/// connection that is being made: that becomes idle.
#[derive(Debug)]
pub struct Acquire {
    host: Rc<WorkerHost>,
    pool: Rc<Http1Pool>,
    waiting: Option<Rc<Waiting>>,
    watched: bool,
}

impl Acquire {
    pub(super) fn new(host: Rc<WorkerHost>, pool: Rc<Http1Pool>) -> Acquire {
        Acquire { host, pool, waiting: None, watched: false }
    }

    /// The host that was asked.
    pub fn host(&self) -> &Rc<WorkerHost> {
        &self.host
    }

    /// True once a connection was had that had been idle: the poll that yielded it found nothing to read, and the
    /// task is registered for what will come, so that reading from it within the same poll would be in vain.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.watched
    }

    /// Takes an idle connection, or waits for one. Do not poll again after it was ready.
    ///
    /// # Errors
    /// [`PoolFailure`] when a breaker is open or the host cannot be connected to.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<UpstreamConn, PoolFailure>> {
        let conn = match &self.waiting {
            None => match self.pool.take_idle(cx) {
                Some(conn) => {
                    self.watched = true;
                    self.pool.preconnect();
                    conn
                }
                None => return self.wait(cx),
            },
            Some(waiting) => match waiting.outcome(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(reset)) => {
                    self.waiting = None;
                    return Poll::Ready(Err(PoolFailure { reset, host: Some(self.host.host.clone()) }));
                }
                Poll::Ready(Ok(conn)) => {
                    self.waiting = None;
                    conn
                }
            },
        };
        let Some(permit) = Permit::take(&self.host.cluster, self.pool.priority, Resource::Requests) else {
            self.host.cluster.inc(UPSTREAM_RQ_ACTIVE_OVERFLOW);
            self.pool.give_back(conn);
            let reset = Reset::new(ResetReason::Overflow);
            return Poll::Ready(Err(PoolFailure { reset, host: Some(self.host.host.clone()) }));
        };
        Poll::Ready(Ok(UpstreamConn::begin(conn, self.host.clone(), self.pool.clone(), permit)))
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<UpstreamConn, PoolFailure>> {
        match self.pool.wait(cx) {
            Ok(waiting) => {
                self.waiting = Some(waiting);
                Poll::Pending
            }
            Err(reset) => Poll::Ready(Err(PoolFailure { reset, host: None })),
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.pool.cancel(&waiting);
        }
    }
}
