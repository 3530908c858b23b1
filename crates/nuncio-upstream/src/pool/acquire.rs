//! One request's way to a connection.

use super::WorkerHost;
use super::http1::Http1Pool;
use super::http2::Http2Pool;
use super::waiting::Waiting;
use crate::breaker::{Permit, Resource, RoutingPriority};
use crate::conn::{Http1Connection, Http2Connection, UpstreamConn};
use crate::reset::{PoolFailure, Reset, ResetReason};
use crate::tcp::TcpConnection;
use crate::transport::TransportOptions;
use nuncio_core::LocalFuture;
use nuncio_rt::Time;
use nuncio_stats::tables::cluster::UPSTREAM_RQ_ACTIVE_OVERFLOW;
use std::{
    fmt,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// A request that wants a connection. Dropping it gives up the place in the queue (`upstream_rq_cancelled`), not the
/// connection that is being made: that becomes idle.
#[derive(Debug)]
pub struct Acquire {
    host: Rc<WorkerHost>,
    way: Way,
    watched: bool,
}

/// The pool, and the place in its queue.
#[derive(Debug)]
enum Way {
    Http1(Rc<Http1Pool>, Option<Rc<Waiting<Box<Http1Connection>>>>),
    Http2(Rc<Http2Pool>, Option<Rc<Waiting<Rc<Http2Connection>>>>),
    Raw(Connecting),
}

/// A raw connection that is being made: it has no pool.
struct Connecting(LocalFuture<Result<TcpConnection, PoolFailure>>);

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connecting")
    }
}

impl Acquire {
    pub(super) fn http1(host: Rc<WorkerHost>, pool: Rc<Http1Pool>) -> Acquire {
        Acquire { host, way: Way::Http1(pool, None), watched: false }
    }

    pub(super) fn http2(host: Rc<WorkerHost>, pool: Rc<Http2Pool>) -> Acquire {
        Acquire { host, way: Way::Http2(pool, None), watched: false }
    }

    pub(super) fn raw(host: Rc<WorkerHost>, options: Option<TransportOptions>, priority: RoutingPriority) -> Acquire {
        let to = host.clone();
        let connecting = Connecting(Box::pin(async move { to.connect_tcp(priority, options).await }));
        Acquire { host, way: Way::Raw(connecting), watched: false }
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
        if let Way::Http2(_, Some(waiting)) = &self.way
            && let Some(pool) = waiting.take_sent_to()
        {
            self.way = Way::Http1(pool, None);
        }
        match &mut self.way {
            Way::Raw(connecting) => {
                let conn = ready!(connecting.0.as_mut().poll(cx))?;
                Poll::Ready(Ok(UpstreamConn::raw(conn, self.host.clone())))
            }
            Way::Http1(pool, waiting) => {
                let conn = match waiting {
                    None => match pool.take_idle(cx) {
                        Some(conn) => {
                            self.watched = true;
                            pool.preconnect();
                            conn
                        }
                        None => return enter(waiting, pool.wait(cx)),
                    },
                    Some(_) => match ready!(served(waiting, cx)) {
                        Ok(conn) => conn,
                        Err(reset) => return failed(&self.host, reset),
                    },
                };
                let Some(permit) = permit(&self.host, pool.priority) else {
                    pool.give_back(conn, Time::now());
                    return failed(&self.host, Reset::new(ResetReason::Overflow));
                };
                Poll::Ready(Ok(UpstreamConn::http1(conn, self.host.clone(), pool.clone(), permit)))
            }
            Way::Http2(pool, waiting) => {
                let conn = match waiting {
                    None => match pool.promise() {
                        Some(conn) => conn,
                        None => return enter(waiting, pool.wait(cx)),
                    },
                    Some(_) => match ready!(served(waiting, cx)) {
                        Ok(conn) => conn,
                        Err(reset) => return failed(&self.host, reset),
                    },
                };
                let Some(permit) = permit(&self.host, pool.priority) else {
                    conn.release_promise();
                    return failed(&self.host, Reset::new(ResetReason::Overflow));
                };
                Poll::Ready(Ok(UpstreamConn::http2(conn, self.host.clone(), permit)))
            }
        }
    }
}

/// What the wait came to; the place in the queue is given up with it.
fn served<T>(place: &mut Option<Rc<Waiting<T>>>, cx: &Context<'_>) -> Poll<Result<T, Reset>> {
    let Some(waiting) = place else { return Poll::Pending };
    let outcome = ready!(waiting.outcome(cx));
    *place = None;
    Poll::Ready(outcome)
}

fn permit(host: &WorkerHost, priority: RoutingPriority) -> Option<Permit> {
    let permit = Permit::take(&host.cluster, priority, Resource::Requests);
    if permit.is_none() {
        host.cluster.inc(UPSTREAM_RQ_ACTIVE_OVERFLOW);
    }
    permit
}

fn failed(host: &WorkerHost, reset: Reset) -> Poll<Result<UpstreamConn, PoolFailure>> {
    Poll::Ready(Err(PoolFailure { reset, host: Some(host.host.clone()) }))
}

fn enter<T>(place: &mut Option<Rc<Waiting<T>>>, entered: Result<Rc<Waiting<T>>, Reset>) -> Poll<Result<UpstreamConn, PoolFailure>> {
    match entered {
        Ok(waiting) => {
            *place = Some(waiting);
            Poll::Pending
        }
        Err(reset) => Poll::Ready(Err(PoolFailure { reset, host: None })),
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        match &mut self.way {
            Way::Raw(_) => {}
            Way::Http1(pool, waiting) => {
                if let Some(waiting) = waiting.take() {
                    pool.cancel(&waiting);
                }
            }
            Way::Http2(pool, waiting) => {
                if let Some(waiting) = waiting.take() {
                    pool.cancel(&waiting);
                }
            }
        }
    }
}
