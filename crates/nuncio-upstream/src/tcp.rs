//! Raw TCP connections to a host: one per use, never pooled, counted as Envoy's TCP pool counts them.

use crate::breaker::{Permit, Resource, RoutingPriority};
use crate::conn::next_id;
use crate::host::HostStat;
use crate::outlier::Outcome;
use crate::pool::{HostFailed, WorkerHost};
use crate::reset::{PoolFailure, Reset, ResetReason};
use crate::transport::{Opened, TransportOptions, Wanted};
use nuncio_core::TlsFacts;
use nuncio_rt::{Io, Time};
use nuncio_stats::tables::cluster as stat;
use std::{
    fmt,
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll},
};

/// A connection to a host; dropping it closes it. It counts as one request for as long as it lives.
pub struct TcpConnection {
    /// Number of the connection, unique in the process.
    pub id: u64,
    /// The bytes.
    pub io: Io,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// What the TLS handshake came to.
    pub tls: Option<Rc<TlsFacts>>,
    counted: Counted,
    failure: Option<Rc<HostFailed>>,
    _request: Option<Permit>,
}

impl fmt::Debug for TcpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpConnection({})", self.counted.host.host.address)
    }
}

impl WorkerHost {
    /// Connects to the host, within the cluster's `connect_timeout` and limits.
    ///
    /// # Errors
    /// [`PoolFailure`] when a breaker is open or the host cannot be connected to.
    pub async fn connect_tcp(self: &Rc<Self>, priority: RoutingPriority, options: Option<TransportOptions>) -> Result<TcpConnection, PoolFailure> {
        let cluster = self.cluster();
        let overflow = || PoolFailure { reset: Reset::new(ResetReason::Overflow), host: None };
        // A queue for connections would wait for one that is never given back: full is full.
        let Some(permit) = Permit::take(cluster, priority, Resource::Connections) else {
            cluster.inc(stat::UPSTREAM_CX_OVERFLOW);
            return Err(overflow());
        };
        let Some(pending) = Pending::enter(self, priority) else {
            cluster.inc(stat::UPSTREAM_RQ_PENDING_OVERFLOW);
            return Err(overflow());
        };
        let wanted = Wanted { options: options.map(Rc::new), protocols: &[] };
        let mut counted = Counted::begin(self, Some(permit));
        let again = || {
            cluster.inc(stat::UPSTREAM_CX_TOTAL);
            self.count(HostStat::CxTotal);
        };
        let made = cluster.open(&self.host, &wanted, again).await;
        drop(pending);
        let failed = |reset| PoolFailure { reset, host: Some(self.host.clone()) };
        let Opened { io, local, tls } = made.map_err(|reset| {
            counted.failed(&reset);
            let timed_out = reset.reason == ResetReason::ConnectionTimeout;
            self.note(if timed_out { Outcome::TimedOut(504) } else { Outcome::ConnectFailed });
            failed(reset)
        })?;
        let Some(request) = Permit::take(cluster, priority, Resource::Requests) else {
            cluster.inc(stat::UPSTREAM_RQ_ACTIVE_OVERFLOW);
            return Err(failed(Reset::new(ResetReason::Overflow)));
        };
        counted.connected();
        self.note(Outcome::ConnectedOnly);
        Ok(TcpConnection { id: next_id(), io, local, tls, counted, failure: self.watch_failure(), _request: Some(request) })
    }

    /// Connects to the host for many requests of a protocol of the caller's, who counts them: outside of the cluster's limits,
    /// as in Envoy.
    ///
    /// # Errors
    /// [`PoolFailure`] when the host cannot be connected to.
    pub async fn connect_shared(self: &Rc<Self>) -> Result<TcpConnection, PoolFailure> {
        let wanted = Wanted { options: None, protocols: &[] };
        let mut counted = Counted::begin(self, None);
        let made = self.cluster().open(&self.host, &wanted, || {}).await;
        let Opened { io, local, tls } = made.map_err(|reset| {
            counted.failed(&reset);
            self.note(Outcome::ConnectFailed);
            PoolFailure { reset, host: Some(self.host.clone()) }
        })?;
        self.note(Outcome::ConnectedOnly);
        Ok(TcpConnection { id: next_id(), io, local, tls, counted, failure: self.watch_failure(), _request: None })
    }
}

impl TcpConnection {
    /// Counts bytes read from the host.
    pub fn received(&self, bytes: u64) {
        self.counted.host.cluster().add(stat::UPSTREAM_CX_RX_BYTES_TOTAL, bytes);
    }

    /// Counts bytes written to the host.
    pub fn sent(&self, bytes: u64) {
        self.counted.host.cluster().add(stat::UPSTREAM_CX_TX_BYTES_TOTAL, bytes);
    }

    /// Ready when the connection is to be closed because its host has failed
    /// (`close_connections_on_host_health_failure`).
    pub fn poll_host_failed(&self, cx: &Context<'_>) -> Poll<()> {
        self.failure.as_ref().map_or(Poll::Pending, |failure| failure.poll(cx))
    }

    /// Says that requests are under way on it as it ends.
    pub fn closed_with_requests(&mut self) {
        self.counted.busy = true;
    }

    /// Says that the host ended the connection, or the network did; else its end counts as ours.
    pub fn closed_by_peer(&mut self) {
        self.counted.by_peer = true;
    }
}

/// A place among those that wait for a connection.
struct Pending<'a> {
    host: &'a Rc<WorkerHost>,
    _permit: Permit,
}

impl<'a> Pending<'a> {
    fn enter(host: &'a Rc<WorkerHost>, priority: RoutingPriority) -> Option<Pending<'a>> {
        let cluster = host.cluster();
        let permit = Permit::take(cluster, priority, Resource::PendingRequests)?;
        cluster.inc(stat::UPSTREAM_RQ_PENDING_TOTAL);
        cluster.gauge(stat::UPSTREAM_RQ_PENDING_ACTIVE, 1);
        host.count(HostStat::RqPendingActive);
        Some(Pending { host, _permit: permit })
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.host.cluster().gauge(stat::UPSTREAM_RQ_PENDING_ACTIVE, -1);
        self.host.uncount(HostStat::RqPendingActive);
    }
}

/// A connection in the statistics, from its begin to its end, however it ends.
struct Counted {
    host: Rc<WorkerHost>,
    begun: Time,
    connected: bool,
    by_peer: bool,
    /// Its end cuts off requests.
    busy: bool,
    /// `None`: requests are somebody else's to count.
    permit: Option<Permit>,
}

impl Counted {
    fn begin(host: &Rc<WorkerHost>, permit: Option<Permit>) -> Counted {
        let cluster = host.cluster();
        cluster.inc(stat::UPSTREAM_CX_TOTAL);
        cluster.gauge(stat::UPSTREAM_CX_ACTIVE, 1);
        host.count(HostStat::CxTotal);
        host.count(HostStat::CxActive);
        Counted { host: host.clone(), begun: Time::now(), connected: false, by_peer: false, busy: false, permit }
    }

    fn connected(&mut self) {
        self.connected = true;
        self.busy = true;
        let cluster = self.host.cluster();
        cluster.record(stat::UPSTREAM_CX_CONNECT_MS, self.milliseconds());
        cluster.inc(stat::UPSTREAM_RQ_TOTAL);
        cluster.gauge(stat::UPSTREAM_RQ_ACTIVE, 1);
        self.host.count(HostStat::RqTotal);
        self.host.count(HostStat::RqActive);
    }

    fn failed(&mut self, reset: &Reset) {
        let cluster = self.host.cluster();
        cluster.inc(stat::UPSTREAM_CX_CONNECT_FAIL);
        if self.permit.is_some() {
            cluster.inc(stat::UPSTREAM_RQ_PENDING_FAILURE_EJECT);
        }
        self.host.count(HostStat::CxConnectFail);
        if reset.reason == ResetReason::ConnectionTimeout {
            cluster.inc(stat::UPSTREAM_CX_CONNECT_TIMEOUT);
        } else {
            self.by_peer = true;
        }
    }

    fn milliseconds(&self) -> u64 {
        Time::now().millis_since(self.begun)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let cluster = self.host.cluster();
        cluster.inc(stat::UPSTREAM_CX_DESTROY);
        let (total, with_request) = if self.by_peer {
            (stat::UPSTREAM_CX_DESTROY_REMOTE, stat::UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ)
        } else {
            (stat::UPSTREAM_CX_DESTROY_LOCAL, stat::UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ)
        };
        cluster.inc(total);
        if self.busy {
            cluster.inc(with_request);
            cluster.inc(stat::UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ);
        }
        if self.connected {
            cluster.gauge(stat::UPSTREAM_RQ_ACTIVE, -1);
            self.host.uncount(HostStat::RqActive);
        }
        cluster.gauge(stat::UPSTREAM_CX_ACTIVE, -1);
        self.host.uncount(HostStat::CxActive);
        if self.permit.is_some() {
            cluster.record(stat::UPSTREAM_CX_LENGTH_MS, self.milliseconds());
        }
    }
}
