//! One client's connection: choosing a host, relaying, counting, and the log line at its end, however it ends.

use super::{
    Chosen, TcpHash, TcpProxy,
    relay::{End, Patience, Relay},
    tunnel::{Tunnel, Tunneling},
};
use nuncio_core::names::{DYNAMIC_HOST, DYNAMIC_PORT};
use nuncio_core::{ConnInfo, Connection, DrainSignal, LeftByFilters, NameLookup, Protocol, ResponseFlags, StreamCx, StreamInfo, WireBytes, Worker};
use nuncio_rt::{Address, Deadline, Time};
use nuncio_stats::{
    CounterId,
    tables::{
        cluster::UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED,
        tcp_proxy::{
            DOWNSTREAM_CX_NO_ROUTE, DOWNSTREAM_CX_RX_BYTES_TOTAL, DOWNSTREAM_CX_TOTAL, DOWNSTREAM_CX_TX_BYTES_TOTAL,
            IDLE_TIMEOUT, MAX_DOWNSTREAM_CONNECTION_DURATION,
        },
    },
};
use nuncio_upstream::{
    Host, MetadataMatch, PickCx, PoolFailure, ProxiedClient, ResetReason, RoutingPriority, SharedObjects, TcpConnection, TransportOptions, WorkerCluster, WorkerHost,
    xxh64,
};
use nuncio_upstream::config::Discovery;
use nuncio_core::format::LogMoment;
use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// The object of the filter state that stands in the place of `idle_timeout`.
const IDLE_TIMEOUT_MS: &str = "envoy.tcp_proxy.per_connection_idle_timeout_ms";

/// The object of the filter state that says `true` where this connection goes without a tunnel.
const DISABLE_TUNNELING: &str = "envoy.tcp_proxy.disable_tunneling";

/// The way to the host.
enum Link {
    Plain(TcpConnection),
    Tunnel(Tunnel),
}

/// A connection under way.
pub(super) struct Session {
    pub(super) proxy: Arc<TcpProxy>,
    pub(super) worker: Rc<Worker>,
    pub(super) stream: StreamCx,
}

impl Session {
    pub(super) fn begin(proxy: Arc<TcpProxy>, worker: &Rc<Worker>, conn: Rc<ConnInfo>) -> Session {
        let mut stream = StreamCx::new(worker.clone(), conn);
        stream.info.start = stream.conn.start;
        stream.info.protocol = Protocol::None;
        let mut session = Session { proxy, worker: worker.clone(), stream };
        session.inc(DOWNSTREAM_CX_TOTAL);
        if session.proxy.config.moments.on_start {
            session.log(LogMoment::TcpConnectionStart);
        }
        session
    }

    fn inc(&self, id: CounterId) {
        self.proxy.scope.inc(self.worker.lane, id);
    }

    /// Writes the line of this moment.
    fn log(&mut self, moment: LogMoment) {
        self.stream.info.moment = moment;
        self.stream.info.downstream.received = self.stream.info.bytes_received;
        self.stream.info.downstream.sent = self.stream.info.bytes_sent;
        let StreamInfo { upstream, bytes_received, bytes_sent, .. } = &mut self.stream.info;
        if upstream.is_connected() {
            // Bytes go through as they are; what frames of a tunnel add is not told of.
            upstream.bytes = WireBytes { sent: *bytes_received, received: *bytes_sent, ..WireBytes::default() };
        }
        self.proxy.config.access_logs.iter().for_each(|log| log.log(&self.stream));
    }

    /// Connects and relays to the end.
    pub(super) async fn run(&mut self, mut client: Connection, choose: impl FnOnce(&ConnInfo) -> Option<Chosen>) {
        if self.proxy.config.connect_on_data && client.first.is_none() {
            // Whoever goes away before that has cost no connection to a host.
            if poll_fn(|cx| client.io.poll_read_ready(cx)).await.is_err() {
                return;
            }
        }
        let Some((cluster, wanted)) = choose(&client.info) else {
            self.inc(DOWNSTREAM_CX_NO_ROUTE);
            self.stream.info.flags.set(ResponseFlags::NC);
            unread(&client);
            return;
        };
        if let Some(left) = LeftByFilters::find(&client.info) {
            left.objects(&mut self.stream);
            left.metadata(&mut self.stream);
        }
        if let Some(link) = self.connect(&cluster, wanted.as_deref()).await {
            if self.proxy.config.moments.on_connected {
                self.log(LogMoment::TcpUpstreamConnected);
            }
            self.relay(client, link).await;
        } else {
            unread(&client);
        }
    }

    /// Waits between attempts to connect.
    async fn back_off(&self, attempts: u32) {
        let Some((base, most)) = self.proxy.config.backoff else { return };
        let limit = base.saturating_mul(1 << attempts.min(16)).min(most).as_millis();
        let ms = self.worker.rng.below(u64::try_from(limit).unwrap_or(u64::MAX).max(1));
        self.worker.timers.sleep(Duration::from_millis(ms)).await;
    }

    /// What hosts are told of the client.
    fn told(&self) -> Option<ProxiedClient> {
        let mut client = ProxiedClient::of(&self.stream.conn)?;
        if let Some(tlvs) = &self.proxy.config.tlvs {
            let had_header = nuncio_core::proxy_protocol::attached(&self.stream.conn).is_some();
            client.tlvs = tlvs.beside(client.tlvs, had_header, &self.stream);
        }
        Some(client)
    }

    /// A connection to a host of the cluster, in as many attempts as allowed.
    async fn connect(&mut self, cluster: &Rc<WorkerCluster>, wanted: Option<&MetadataMatch>) -> Option<Link> {
        self.stream.info.upstream.cluster = Some(cluster.cx().facts.clone());
        let name = self.name(cluster).await;
        for attempt in 0..self.proxy.config.max_connect_attempts.max(1) {
            if attempt > 0 {
                self.back_off(attempt - 1).await;
            }
            let destination = self.destination(cluster);
            let cx = PickCx { hash: self.hash(), metadata: wanted, destination: destination.as_ref(), name: name.as_deref(), ..PickCx::default() };
            let Some(host) = cluster.pick(&cx) else {
                self.stream.info.flags.set(ResponseFlags::UH);
                return None;
            };
            self.stream.info.attempts += 1;
            match self.open(cluster, &host).await {
                Ok(link) => {
                    self.tried(&host.host);
                    return Some(link);
                }
                Err(PoolFailure { reset, host }) => {
                    if let Some(host) = &host {
                        self.tried(host);
                    }
                    self.stream.info.flags.set(reset.reason.flag());
                    self.stream.info.upstream.transport_failure = reset.transport_failure;
                    if reset.reason == ResetReason::Overflow {
                        return None;
                    }
                }
            }
        }
        cluster.cx().inc(UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED);
        self.stream.info.flags.set(ResponseFlags::URX);
        None
    }

    /// One attempt.
    async fn open(&mut self, cluster: &WorkerCluster, host: &Rc<WorkerHost>) -> Result<Link, PoolFailure> {
        let client = if cluster.info().config.tells_client { self.told() } else { None };
        let shares = cluster.info().config.shares_state;
        let shared = if shares { SharedObjects::of(&self.stream) } else { SharedObjects::default() };
        let options = (shares || client.is_some()).then(|| TransportOptions { client, shared, ..TransportOptions::default() });
        if let Some(tunneling) = self.tunneling() {
            return self.open_tunnel(&tunneling, host, options).await.map(Link::Tunnel);
        }
        let connection = host.connect_tcp(RoutingPriority::Default, options).await?;
        self.stream.info.upstream.local = connection.local;
        self.stream.info.upstream.connection_id = connection.id;
        self.stream.info.upstream.tls = connection.tls.clone();
        Ok(Link::Plain(connection))
    }

    /// How it goes through a tunnel, if it does.
    fn tunneling(&self) -> Option<Arc<Tunneling>> {
        let disabled = self.stream.filter_state.get(DISABLE_TUNNELING).is_some_and(|object| object == b"true");
        self.proxy.config.tunneling.clone().filter(|_| !disabled)
    }

    /// Where the client connected to if a proxy in front says so, for clusters that make hosts of that.
    fn destination(&self, cluster: &WorkerCluster) -> Option<Address> {
        let Discovery::OriginalDst(config) = &cluster.info().config.discovery else { return None };
        nuncio_core::original_dst::restored(&self.stream.conn).map(|address| config.over(address))
    }

    /// The name that the client asks for, with its port, for clusters whose hosts are names. It is looked up where somebody has said
    /// which port (`sni_dynamic_forward_proxy`).
    async fn name(&self, cluster: &WorkerCluster) -> Option<String> {
        let Discovery::Dynamic(_) = cluster.info().config.discovery else { return None };
        let state = |key: &str| self.stream.filter_state.get(key).and_then(|value| std::str::from_utf8(value).ok());
        let host = state(DYNAMIC_HOST).or(self.stream.conn.server_name.as_deref()).filter(|host| !host.is_empty())?;
        let port = state(DYNAMIC_PORT).and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        let name = cluster.with_port(host, port).into_owned();
        if port.is_some()
            && let NameLookup::Pending(lookup) = cluster.lookup(&name, true)
        {
            // However it went, the cluster knows.
            drop(lookup.await);
        }
        Some(name)
    }

    /// What consistent balancing goes by, hashed.
    fn hash(&self) -> Option<u64> {
        match &self.proxy.config.hash {
            TcpHash::None => None,
            TcpHash::SourceIp => Some(xxh64(self.stream.conn.remote_ip()?.ip().to_string().as_bytes(), 0)),
            TcpHash::FilterState(key) => self.stream.filter_state.get(key).map(|object| xxh64(object, 0)),
        }
    }

    /// The longest that nothing may move: an object of the filter state goes before the configuration.
    fn idle_timeout(&self) -> Option<Duration> {
        let own = self.stream.filter_state.get(IDLE_TIMEOUT_MS).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        own.map(Duration::from_millis).or(self.proxy.config.idle_timeout)
    }

    /// The longest that the connection may live.
    fn max_duration(&self) -> Option<Duration> {
        let (config, rng) = (&self.proxy.config, &self.worker.rng);
        config.max_duration.map(|most| rng.stretched(most, config.max_duration_jitter_percent))
    }

    fn tried(&mut self, host: &Host) {
        self.stream.info.upstream.host = Some(host.facts());
    }

    /// When to give up.
    fn patience(&self) -> Patience {
        let mut age = Deadline::new(self.worker.timers.clone());
        age.set(self.max_duration().map(|most| self.stream.conn.start + most));
        Patience::new(Deadline::new(self.worker.timers.clone()), self.idle_timeout(), age)
    }

    async fn relay(&mut self, client: Connection, link: Link) {
        let end = match link {
            Link::Tunnel(tunnel) => self.relay_tunnel(client, tunnel).await,
            Link::Plain(host) => self.relay_plain(client, host).await,
        };
        match end {
            End::Complete { .. } | End::HostGone | End::ClientGone | End::HostFailed | End::Drained => {}
            End::Idle => self.inc(IDLE_TIMEOUT),
            End::TooLong => {
                self.inc(MAX_DOWNSTREAM_CONNECTION_DURATION);
                self.stream.info.flags.set(ResponseFlags::DT);
            }
        }
    }

    async fn relay_plain(&mut self, mut client: Connection, mut host: TcpConnection) -> End {
        let relay = Relay::new(client.first.take(), self.patience());
        let mut relaying = Relaying { watch: Watch::new(self), session: self, relay, client: &mut client, host: &mut host };
        let end = poll_fn(|cx| relaying.poll(cx)).await;
        drop(relaying);
        if end == End::Drained {
            // Both are told that it was on purpose; who is gone already has no use for our goodbye.
            let _ = poll_fn(|cx| host.io.poll_shutdown(cx)).await;
            let _ = poll_fn(|cx| client.io.poll_shutdown(cx)).await;
        }
        if matches!(end, End::Complete { by_host: true } | End::HostGone) {
            host.closed_by_peer();
        }
        end
    }

    async fn relay_tunnel(&mut self, mut client: Connection, mut tunnel: Tunnel) -> End {
        tunnel.begin(client.first.take(), self.patience());
        let mut watch = Watch::new(self);
        let end = poll_fn(|cx| {
            let done = tunnel.poll(cx, &mut client.io, &self.worker.bufs);
            let moved = watch.count(self, tunnel.received, tunnel.sent);
            watch.periodic(self, cx);
            watch.end(done, moved, tunnel.is_empty(), self, &client.drain)
        });
        let end = end.await;
        self.keep_trailers(&tunnel);
        end
    }
}

/// What nobody will read is answered so.
fn unread(client: &Connection) {
    if client.first.is_some() {
        client.io.reset_on_close();
    }
}

/// What is counted and told of while bytes move.
struct Watch {
    /// When the next line is to be written.
    tick: Deadline,
    /// It ends as soon as nothing is in hand.
    draining: bool,
}

impl Watch {
    fn new(session: &Session) -> Watch {
        let mut tick = Deadline::new(session.worker.timers.clone());
        tick.set(session.proxy.config.moments.every.map(|every| Time::now() + every));
        Watch { tick, draining: false }
    }

    /// Counts what has moved by now; whether anything has since it was last asked.
    fn count(&mut self, session: &mut Session, received: u64, sent: u64) -> bool {
        let info = &mut session.stream.info;
        let (scope, lane) = (&session.proxy.scope, session.worker.lane);
        let moved = received > info.bytes_received || sent > info.bytes_sent;
        if received > info.bytes_received {
            scope.add(lane, DOWNSTREAM_CX_RX_BYTES_TOTAL, received - info.bytes_received);
            info.bytes_received = received;
        }
        if sent > info.bytes_sent {
            scope.add(lane, DOWNSTREAM_CX_TX_BYTES_TOTAL, sent - info.bytes_sent);
            info.bytes_sent = sent;
        }
        moved
    }

    /// Writes the line that is due.
    fn periodic(&mut self, session: &mut Session, cx: &mut Context<'_>) {
        if let Some(every) = session.proxy.config.moments.every
            && self.tick.poll(cx, Time::now()).is_ready()
        {
            session.log(LogMoment::TcpConnectionPeriodic);
            self.tick.set(Some(Time::now() + every));
            // For the new moment to be waited for.
            let _ = self.tick.poll(cx, Time::now());
        }
    }

    /// The end, which comes also when bytes have moved while the listener drains, and all of them have gone on.
    fn end(&mut self, done: Poll<End>, moved: bool, empty: bool, session: &Session, drain: &DrainSignal) -> Poll<End> {
        self.draining |= moved && session.proxy.config.check_drain_close && drain.is_draining();
        if done.is_pending() && self.draining && empty { Poll::Ready(End::Drained) } else { done }
    }
}

/// A relay under way; counts its bytes also when it is cut off.
struct Relaying<'a> {
    watch: Watch,
    session: &'a mut Session,
    relay: Relay,
    client: &'a mut Connection,
    host: &'a mut TcpConnection,
}

impl Relaying<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.host.poll_host_failed(cx).is_ready() {
            return Poll::Ready(End::HostFailed);
        }
        let done = self.relay.poll(cx, &mut self.client.io, &mut self.host.io, &self.session.worker.bufs);
        let moved = self.watch.count(self.session, self.relay.up.read, self.relay.down.written);
        self.watch.periodic(self.session, cx);
        self.watch.end(done, moved, self.relay.is_empty(), self.session, &self.client.drain)
    }
}

impl Drop for Relaying<'_> {
    fn drop(&mut self) {
        self.host.received(self.relay.down.read);
        self.host.sent(self.relay.up.written);
        self.relay.release(&self.session.worker.bufs);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stream.info.end = Some(Time::now());
        if let Some(left) = LeftByFilters::find(&self.stream.conn) {
            left.tell(&mut self.stream);
        }
        self.log(LogMoment::TcpConnectionEnd);
    }
}
