//! The UDP proxy: datagrams of clients to hosts of a cluster, and theirs back.
//!
//! A session is what comes from one address: it has a host and a socket of its own, by which the host's answers are known,
//! and ends when nothing has moved for `idle_timeout`, or its host has left the cluster or failed. Datagrams that cannot be
//! passed on are dropped, as datagrams are.

use crate::datagrams::{DatagramSocket, Datagrams};
use nuncio_core::{
    AccessLogger, ConnInfo, LocalFuture, Protocol, StreamCx, Worker,
    format::LogMoment,
    metadata::{MetadataValue, set_dynamic},
};
use nuncio_rt::{Address, Deadline, Time};
use nuncio_stats::{
    Scope, Store,
    tables::{
        cluster as stat,
        udp::{
            DOWNSTREAM_RX_DATAGRAM_DROPPED, DOWNSTREAM_SESS_ACTIVE, DOWNSTREAM_SESS_NO_ROUTE, DOWNSTREAM_SESS_RX_BYTES, DOWNSTREAM_SESS_RX_DATAGRAMS,
            DOWNSTREAM_SESS_RX_ERRORS, DOWNSTREAM_SESS_TOTAL, DOWNSTREAM_SESS_TX_BYTES, DOWNSTREAM_SESS_TX_DATAGRAMS, DOWNSTREAM_SESS_TX_ERRORS,
            IDLE_TIMEOUT, SESS_RX_DATAGRAMS, SESS_RX_ERRORS, SESS_TX_DATAGRAMS, SESS_TX_ERRORS, UDP, UDP_CLUSTER,
        },
    },
};
use nuncio_upstream::{ClusterSlot, Health, HostSet, Permit, PickCx, Resource, RoutingPriority, WorkerCluster, WorkerClusters, WorkerHost, xxh64};
use socket2::SockRef;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{io::ReadBuf, net::UdpSocket};

/// `idle_timeout` when not set.
pub const IDLE: Duration = Duration::from_secs(60);
/// `max_rx_datagram_size` when not set: bytes of a datagram; a longer one is dropped.
pub const MAX_DATAGRAM_BYTES: usize = 1500;
/// Datagrams that are taken before others have their turn.
const BATCH: usize = 64;
/// Dynamic metadata of sessions.
const NAMESPACE: &str = "udp.proxy.session";

/// `UdpProxyConfig`
#[derive(Debug)]
pub struct UdpProxyConfig {
    /// `stat_prefix`
    pub stat_prefix: String,
    /// `cluster`, or what the matcher leads to.
    pub cluster: Arc<str>,
    /// `idle_timeout`
    pub idle_timeout: Duration,
    /// `hash_policies`
    pub hash: UdpHash,
    /// `use_per_packet_load_balancing`: each datagram has a host of its own.
    pub per_packet: bool,
    /// `downstream_socket_config.max_rx_datagram_size`, bytes.
    pub max_downstream_bytes: usize,
    /// `upstream_socket_config.max_rx_datagram_size`, bytes.
    pub max_upstream_bytes: usize,
    /// `access_log`
    pub access_logs: Vec<Arc<dyn AccessLogger>>,
}

/// What consistent balancing goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UdpHash {
    /// Nothing.
    #[default]
    None,
    /// `source_ip`
    SourceIp,
    /// `key`: always the same.
    Key(Box<str>),
}

/// A UDP proxy.
#[derive(Debug)]
pub struct UdpProxy {
    config: UdpProxyConfig,
    scope: Arc<Scope>,
}

impl UdpProxy {
    /// A proxy that counts under `udp.<stat_prefix>.`.
    pub fn new(config: UdpProxyConfig, store: &Store) -> Arc<UdpProxy> {
        let scope = store.scope(&format!("udp.{}.", crate::stat_name(&config.stat_prefix)), &UDP);
        Arc::new(UdpProxy { config, scope })
    }
}

impl Datagrams for UdpProxy {
    fn serve(self: Arc<Self>, worker: &Rc<Worker>, socket: Rc<DatagramSocket>) -> LocalFuture<()> {
        let clusters = worker.parts.get::<WorkerClusters>();
        let slot = clusters.map(|clusters| clusters.slot(&self.config.cluster)).unwrap_or_default();
        let serving = Rc::new(Serving { proxy: self, worker: worker.clone(), socket, slot, sessions: RefCell::default() });
        Box::pin(async move {
            let mut buf = vec![0; serving.proxy.config.max_downstream_bytes + 1];
            poll_fn(|cx| serving.poll(cx, &mut buf)).await;
        })
    }
}

/// A client's address; the host too, where datagrams have hosts of their own.
type Key = (SocketAddr, Option<SocketAddr>);

/// A proxy on one socket of one worker.
struct Serving {
    proxy: Arc<UdpProxy>,
    worker: Rc<Worker>,
    socket: Rc<DatagramSocket>,
    slot: Rc<ClusterSlot>,
    sessions: RefCell<HashMap<Key, Rc<Session>>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.sessions.take().into_values().for_each(|session| session.end());
    }
}

impl Serving {
    fn poll(self: &Rc<Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<()> {
        let (scope, lane) = (&self.proxy.scope, self.worker.lane);
        for _ in 0..BATCH {
            let mut read = ReadBuf::new(buf);
            match ready!(self.socket.socket.poll_recv_from(cx, &mut read)) {
                Ok(_) if read.filled().len() > self.proxy.config.max_downstream_bytes => {
                    self.socket.stats.inc(lane, DOWNSTREAM_RX_DATAGRAM_DROPPED);
                }
                Ok(peer) => self.take(peer, read.filled()),
                // Word of a client that is gone: it is nobody's.
                Err(_) => scope.inc(lane, DOWNSTREAM_SESS_RX_ERRORS),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take(self: &Rc<Self>, peer: SocketAddr, bytes: &[u8]) {
        let Some(session) = self.session(peer) else { return };
        let (scope, lane) = (&self.proxy.scope, self.worker.lane);
        scope.inc(lane, DOWNSTREAM_SESS_RX_DATAGRAMS);
        scope.add(lane, DOWNSTREAM_SESS_RX_BYTES, bytes.len() as u64);
        session.forward(bytes);
    }

    /// The session of a client, begun if there is none.
    fn session(self: &Rc<Self>, peer: SocketAddr) -> Option<Rc<Session>> {
        let per_packet = self.proxy.config.per_packet;
        if !per_packet && let Some(session) = self.sessions.borrow().get(&(peer, None)).filter(|session| session.is_fit()) {
            return Some(session.clone());
        }
        let Some(cluster) = self.slot.get() else {
            self.proxy.scope.inc(self.worker.lane, DOWNSTREAM_SESS_NO_ROUTE);
            return None;
        };
        let hash = match &self.proxy.config.hash {
            UdpHash::None => None,
            UdpHash::SourceIp => Some(xxh64(peer.ip().to_string().as_bytes(), 0)),
            UdpHash::Key(key) => Some(xxh64(key.as_bytes(), 0)),
        };
        let host = cluster.pick(&PickCx { hash, ..PickCx::default() })?;
        let Address::Ip(address) = *host.host.address else { return None };
        let key = (peer, per_packet.then_some(address));
        if per_packet && let Some(session) = self.sessions.borrow().get(&key) {
            return Some(session.clone());
        }
        let Some(permit) = Permit::take(cluster.cx(), RoutingPriority::Default, Resource::Connections) else {
            cluster.cx().inc(stat::UPSTREAM_CX_OVERFLOW);
            return None;
        };
        let session = Session::begin(self, &cluster, host, key, address, permit).ok()?;
        if let Some(old) = self.sessions.borrow_mut().insert(key, session.clone()) {
            old.end();
        }
        Some(session)
    }
}

/// What one client has to do with one host.
struct Session {
    serving: Weak<Serving>,
    proxy: Arc<UdpProxy>,
    worker: Rc<Worker>,
    downstream: Rc<DatagramSocket>,
    cluster: Rc<WorkerCluster>,
    host: Rc<WorkerHost>,
    /// `cluster.<name>.udp.*`
    stats: Arc<Scope>,
    key: Key,
    socket: UdpSocket,
    moved: Cell<Time>,
    /// It takes nothing more.
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// The cluster's hosts, its own among them.
    seen: RefCell<Arc<HostSet>>,
    received: Cell<(u64, u64)>,
    sent: Cell<(u64, u64)>,
    errors: Cell<u64>,
    begun: Time,
    _permit: Permit,
}

impl Session {
    fn begin(
        serving: &Rc<Serving>,
        cluster: &Rc<WorkerCluster>,
        host: Rc<WorkerHost>,
        key: Key,
        address: SocketAddr,
        permit: Permit,
    ) -> io::Result<Rc<Session>> {
        let any = if address.is_ipv4() { SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) } else { SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)) };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        // The system drops what others send.
        socket.connect(address)?;
        let info = cluster.info();
        let store = info.store().ok_or(io::ErrorKind::NotConnected)?;
        let session = Rc::new(Session {
            serving: Rc::downgrade(serving),
            proxy: serving.proxy.clone(),
            worker: serving.worker.clone(),
            downstream: serving.socket.clone(),
            stats: store.scope(&format!("{}udp.", info.stats.prefix()), &UDP_CLUSTER),
            cluster: cluster.clone(),
            host,
            key,
            socket: UdpSocket::from_std(socket)?,
            moved: Cell::new(Time::now()),
            over: Cell::new(false),
            waker: RefCell::default(),
            seen: RefCell::new(cluster.hosts()),
            received: Cell::default(),
            sent: Cell::default(),
            errors: Cell::default(),
            begun: Time::now(),
            _permit: permit,
        });
        session.proxy.scope.inc(session.worker.lane, DOWNSTREAM_SESS_TOTAL);
        session.proxy.scope.gauge_add(session.worker.lane, DOWNSTREAM_SESS_ACTIVE, 1);
        nuncio_rt::spawn(session.clone().run());
        Ok(session)
    }

    /// Whether its host may still be used.
    fn is_fit(&self) -> bool {
        let (own, hosts) = (&self.host.host.state, self.cluster.hosts());
        let mut seen = self.seen.borrow_mut();
        if !Arc::ptr_eq(&seen, &hosts) {
            if !hosts.hosts().any(|host| Arc::ptr_eq(&host.state, own)) {
                return false;
            }
            *seen = hosts;
        }
        !self.over.get() && own.flags().health() != Health::Unhealthy
    }

    /// Ends it now.
    fn end(&self) {
        self.over.set(true);
        self.waker.take().inspect(Waker::wake_by_ref);
    }

    /// From the client to the host.
    fn forward(&self, bytes: &[u8]) {
        let lane = self.worker.lane;
        self.moved.set(Time::now());
        let (datagrams, total) = self.received.get();
        self.received.set((datagrams + 1, total + bytes.len() as u64));
        // The system is asked itself: the event loop does not know a new socket yet.
        match SockRef::from(&self.socket).send(bytes) {
            Ok(_) => {
                self.stats.inc(lane, SESS_TX_DATAGRAMS);
                self.cluster.cx().add(stat::UPSTREAM_CX_TX_BYTES_TOTAL, bytes.len() as u64);
            }
            Err(_) => self.stats.inc(lane, SESS_TX_ERRORS),
        }
    }

    /// From the host to the client, until it is over.
    async fn run(self: Rc<Self>) {
        let mut idle = Deadline::new(self.worker.timers.clone());
        let mut buf = vec![0; self.proxy.config.max_upstream_bytes + 1];
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            if let Poll::Ready(()) = self.poll_answers(cx, &mut buf) {
                cx.waker().wake_by_ref();
            }
            idle.set(Some(self.moved.get() + self.proxy.config.idle_timeout));
            if self.over.get() || self.serving.strong_count() == 0 { Poll::Ready(()) } else { idle.poll(cx, Time::now()) }
        })
        .await;
        if !self.over.get() && self.serving.strong_count() > 0 {
            self.proxy.scope.inc(self.worker.lane, IDLE_TIMEOUT);
        }
        if let Some(serving) = self.serving.upgrade() {
            let mut sessions = serving.sessions.borrow_mut();
            if sessions.get(&self.key).is_some_and(|session| Rc::ptr_eq(session, &self)) {
                sessions.remove(&self.key);
            }
        }
    }

    /// Ready when there may be more.
    fn poll_answers(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<()> {
        let (scope, lane) = (&self.proxy.scope, self.worker.lane);
        for _ in 0..BATCH {
            let mut read = ReadBuf::new(buf);
            match ready!(self.socket.poll_recv(cx, &mut read)) {
                Err(_) => {
                    self.stats.inc(lane, SESS_RX_ERRORS);
                    continue;
                }
                Ok(()) if read.filled().len() > self.proxy.config.max_upstream_bytes => continue,
                Ok(()) => {}
            }
            let bytes = read.filled();
            self.moved.set(Time::now());
            self.stats.inc(lane, SESS_RX_DATAGRAMS);
            self.cluster.cx().add(stat::UPSTREAM_CX_RX_BYTES_TOTAL, bytes.len() as u64);
            let (datagrams, total) = self.sent.get();
            match SockRef::from(&self.downstream.socket).send_to(bytes, &self.key.0.into()) {
                Ok(_) => {
                    self.sent.set((datagrams + 1, total + bytes.len() as u64));
                    scope.inc(lane, DOWNSTREAM_SESS_TX_DATAGRAMS);
                    scope.add(lane, DOWNSTREAM_SESS_TX_BYTES, bytes.len() as u64);
                }
                Err(_) => {
                    self.errors.set(self.errors.get() + 1);
                    scope.inc(lane, DOWNSTREAM_SESS_TX_ERRORS);
                }
            }
        }
        Poll::Ready(())
    }

    /// Writes its line.
    fn log(&self) {
        if self.proxy.config.access_logs.is_empty() {
            return;
        }
        let remote = Address::Ip(self.key.0);
        let conn = ConnInfo { local: self.downstream.local.clone(), direct_remote: remote.clone(), remote, start: self.begun, ..ConnInfo::nobody() };
        let mut stream = StreamCx::new(self.worker.clone(), Rc::new(conn));
        stream.info.start = self.begun;
        stream.info.end = Some(Time::now());
        stream.info.protocol = Protocol::None;
        stream.info.moment = LogMoment::UdpSessionEnd;
        let ((datagrams_received, received), (datagrams_sent, sent)) = (self.received.get(), self.sent.get());
        (stream.info.bytes_received, stream.info.bytes_sent) = (received, sent);
        stream.info.upstream.host = Some(self.host.facts.clone());
        let numbers = [
            ("bytes_received", received),
            ("bytes_sent", sent),
            ("datagrams_received", datagrams_received),
            ("datagrams_sent", datagrams_sent),
            ("errors_sent", self.errors.get()),
        ];
        for (name, number) in numbers {
            set_dynamic(&mut stream.metadata, NAMESPACE, name, MetadataValue::Number(number as f64));
        }
        let cluster = self.cluster.info().name().to_string();
        set_dynamic(&mut stream.metadata, NAMESPACE, "cluster_name", MetadataValue::Text(cluster));
        self.proxy.config.access_logs.iter().for_each(|log| log.log(&stream));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.proxy.scope.gauge_add(self.worker.lane, DOWNSTREAM_SESS_ACTIVE, -1);
        self.log();
    }
}
