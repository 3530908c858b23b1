//! A connection to a host, shared by all who have commands for it: they go out in a row, and answers come in the same one.
//!
//! Whoever sends gets a [`Handle`], which is ready when the answer is here, or when it is sure that none will come. A handle
//! that is dropped takes no answer; the row goes on. A host that says nothing for `op_timeout` while it should is hung up on.

use crate::config::{Credential, RedisConfig, RedisOptions};
use nuncio_codec::resp::{self, Decoder, Role, Value};
use nuncio_rt::{Deadline, Time};
use nuncio_stats::{
    Scope,
    tables::{
        cluster as stat,
        redis::{UPSTREAM_CX_DRAINED, UPSTREAM_FAILURE, UPSTREAM_LATENCY, UPSTREAM_RQ_TIME, UPSTREAM_SUCCESS, UPSTREAM_TOTAL},
    },
};
use nuncio_upstream::{HostStat, TcpConnection, WorkerHost};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io::IoSlice,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

/// How often a connection looks whether its host is still one of the cluster's.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What became of a command: its answer, or `None` when there is none.
pub(crate) type Outcome = Option<Value>;

/// The place of an answer.
#[derive(Default)]
struct Slot {
    outcome: RefCell<Option<Outcome>>,
    waker: Cell<Option<Waker>>,
    forsaken: Cell<bool>,
}

/// Waits for an answer.
pub(crate) struct Handle {
    slot: Rc<Slot>,
    host: Rc<WorkerHost>,
}

impl Handle {
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.slot.outcome.borrow_mut().take() {
            self.slot.forsaken.set(true);
            return Poll::Ready(outcome);
        }
        self.slot.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Wants no answer, and counts as done all the same.
    pub(crate) fn forget(self) {
        self.slot.forsaken.set(true);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.slot.forsaken.replace(true) && self.slot.outcome.borrow().is_none() {
            self.host.cluster().inc(stat::UPSTREAM_RQ_CANCELLED);
        }
    }
}

/// Where a command is counted (`enable_command_stats`).
#[derive(Clone)]
pub(crate) struct Counts {
    pub(crate) command: Arc<Scope>,
    pub(crate) cluster: Arc<Scope>,
}

/// A command that was sent.
struct Waiting {
    slot: Rc<Slot>,
    counts: Option<Counts>,
    begun: Time,
}

#[derive(Default)]
struct Row {
    /// Bytes to be sent.
    out: Vec<u8>,
    /// When they are sent, where they may wait for more.
    flush_at: Option<Time>,
    waiting: VecDeque<Waiting>,
}

/// A connection to a host.
pub(crate) struct Client {
    host: Rc<WorkerHost>,
    /// `cluster.<name>.redis_cluster.*`
    stats: Arc<Scope>,
    row: RefCell<Row>,
    /// Nothing more can be sent.
    closed: Cell<bool>,
    /// It ends with the last answer.
    finishing: Cell<bool>,
    waker: Cell<Option<Waker>>,
    op_timeout: Duration,
    buffering: Option<(usize, Duration)>,
}

impl Client {
    /// Begins to connect. Must be called on the worker's executor.
    pub(crate) fn connect(host: Rc<WorkerHost>, stats: Arc<Scope>, greeting: Option<Counts>, config: &RedisConfig) -> Rc<Client> {
        let client = Rc::new(Client {
            host,
            stats,
            row: RefCell::default(),
            closed: Cell::new(false),
            finishing: Cell::new(false),
            waker: Cell::new(None),
            op_timeout: config.op_timeout,
            buffering: config.buffering,
        });
        client.greet(config.replicas, greeting);
        nuncio_rt::spawn(client.clone().run());
        client
    }

    /// Says who we are, and that replicas may answer.
    fn greet(&self, replicas: bool, counts: Option<Counts>) {
        let options = self.host.cluster().info.config.redis.as_ref();
        let address = match &*self.host.host.address {
            nuncio_rt::Address::Ip(address) => Some(*address),
            nuncio_rt::Address::Pipe(_) | nuncio_rt::Address::Internal(_) => None,
        };
        if let Some(Credential { username, password }) = options.and_then(|options| options.get::<RedisOptions>()).map(|o| o.credential(address))
            && !password.is_empty()
        {
            match username.as_slice() {
                [] => self.say(&[b"auth", password], counts.clone()),
                username => self.say(&[b"auth", username, password], counts.clone()),
            }
        }
        if replicas {
            self.say(&[b"readonly"], counts);
        }
    }

    /// Sends a command whose answer is of no interest.
    fn say(&self, words: &[&[u8]], counts: Option<Counts>) {
        let write = |out: &mut Vec<u8>| {
            resp::array_of(out, words.len());
            words.iter().for_each(|word| resp::bulk(out, word));
        };
        self.send(write, counts).forget();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Sends what `write` appends: one command.
    pub(crate) fn send(&self, write: impl FnOnce(&mut Vec<u8>), counts: Option<Counts>) -> Handle {
        let slot = Rc::<Slot>::default();
        let cluster = self.host.cluster();
        cluster.inc(stat::UPSTREAM_RQ_TOTAL);
        cluster.gauge(stat::UPSTREAM_RQ_ACTIVE, 1);
        self.host.count(HostStat::RqTotal);
        self.host.count(HostStat::RqActive);
        if let Some(counts) = &counts {
            counts.command.inc(cluster.worker.lane, UPSTREAM_TOTAL);
        }
        let mut row = self.row.borrow_mut();
        write(&mut row.out);
        if let Some((_, wait)) = self.buffering
            && row.flush_at.is_none()
        {
            row.flush_at = Some(Time::now() + wait);
        }
        row.waiting.push_back(Waiting { slot: slot.clone(), counts, begun: Time::now() });
        drop(row);
        self.wake();
        Handle { slot, host: self.host.clone() }
    }

    fn wake(&self) {
        self.waker.take().inspect(Waker::wake_by_ref);
    }

    /// Hangs up when all that was sent is answered.
    pub(crate) fn finish(&self) {
        self.finishing.set(true);
        self.wake();
    }

    /// Hangs up, whatever is under way.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    async fn run(self: Rc<Self>) {
        if let Ok(mut conn) = self.host.connect_shared().await {
            let mut link = Link::new(&self);
            let end = poll_fn(|cx| link.poll(cx, &self, &mut conn)).await;
            self.count_end(end, &mut conn);
        }
        self.closed.set(true);
        let left = std::mem::take(&mut self.row.borrow_mut().waiting);
        left.into_iter().for_each(|waiting| self.answer(waiting, None));
    }

    fn count_end(&self, end: End, conn: &mut TcpConnection) {
        let cluster = self.host.cluster();
        if !self.row.borrow().waiting.is_empty() {
            conn.closed_with_requests();
        }
        match end {
            End::Ours => {}
            End::Host => conn.closed_by_peer(),
            End::TimedOut => {
                cluster.inc(stat::UPSTREAM_RQ_TIMEOUT);
                self.host.count(HostStat::RqTimeout);
            }
            End::Nonsense => cluster.inc(stat::UPSTREAM_CX_PROTOCOL_ERROR),
            End::Drained => self.stats.inc(cluster.worker.lane, UPSTREAM_CX_DRAINED),
        }
    }

    fn answer(&self, waiting: Waiting, outcome: Outcome) {
        let cluster = self.host.cluster();
        let lane = cluster.worker.lane;
        cluster.gauge(stat::UPSTREAM_RQ_ACTIVE, -1);
        self.host.uncount(HostStat::RqActive);
        if let (Some(Counts { command, cluster }), Some(value)) = (&waiting.counts, &outcome) {
            let fine = !matches!(value, Value::Error(_));
            command.inc(lane, if fine { UPSTREAM_SUCCESS } else { UPSTREAM_FAILURE });
            let took = u64::try_from(Time::now().since(waiting.begun).as_micros()).unwrap_or(u64::MAX);
            command.record(lane, UPSTREAM_LATENCY, took);
            cluster.record(lane, UPSTREAM_RQ_TIME, took);
        }
        if !waiting.slot.forsaken.get() {
            *waiting.slot.outcome.borrow_mut() = Some(outcome);
            waiting.slot.waker.take().inspect(Waker::wake_by_ref);
        }
    }

    /// The cluster has the host no more: only this connection knows it.
    fn host_is_gone(&self) -> bool {
        // One is ours, one is that of the connection's place in the statistics.
        Rc::strong_count(&self.host) <= 2
    }
}

/// Why a connection ended.
enum End {
    /// Nobody needs it.
    Ours,
    /// The host ended it.
    Host,
    /// An answer did not come in time.
    TimedOut,
    /// What the host said is no RESP, or answers nothing.
    Nonsense,
    /// The host has left the cluster.
    Drained,
}

/// Moves bytes of a connection.
struct Link {
    decoder: Decoder,
    /// Being written, and how much of it has gone.
    writing: Vec<u8>,
    gone: usize,
    op: Deadline,
    flush: Deadline,
    look: Deadline,
    /// Since when the host has been silent.
    heard: Time,
}

impl Link {
    fn new(client: &Client) -> Link {
        let timers = &client.host.cluster().worker.timers;
        let deadline = || Deadline::new(timers.clone());
        let mut look = deadline();
        look.set(Some(Time::now() + LOOK_EVERY));
        let decoder = Decoder::new(Role::Server);
        Link { decoder, writing: Vec::new(), gone: 0, op: deadline(), flush: deadline(), look, heard: Time::now() }
    }

    fn poll(&mut self, cx: &mut Context<'_>, client: &Client, conn: &mut TcpConnection) -> Poll<End> {
        client.waker.set(Some(cx.waker().clone()));
        if client.closed.get() || conn.poll_host_failed(cx).is_ready() {
            return Poll::Ready(End::Ours);
        }
        if let Poll::Ready(end) = self.poll_read(cx, client, conn) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(Err(())) = self.poll_write(cx, client, conn) {
            return Poll::Ready(End::Host);
        }
        self.poll_times(cx, client)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, client: &Client, conn: &mut TcpConnection) -> Poll<End> {
        let pool = &client.host.cluster().worker.bufs;
        loop {
            let mut buf = pool.get();
            let read = conn.io.poll_read(cx, &mut buf);
            if let Poll::Ready(Ok(1..)) = read {
                self.heard = Time::now();
                conn.received(buf.len() as u64);
                let mut bytes = buf.filled();
                loop {
                    match self.decoder.next(&mut bytes) {
                        Ok(None) => break,
                        Err(_) => return Poll::Ready(End::Nonsense),
                        Ok(Some(value)) => {
                            let waiting = client.row.borrow_mut().waiting.pop_front();
                            match waiting {
                                Some(waiting) => client.answer(waiting, Some(value)),
                                None => return Poll::Ready(End::Nonsense),
                            }
                        }
                    }
                }
            }
            pool.put(buf);
            if !matches!(ready!(read), Ok(1..)) {
                return Poll::Ready(End::Host);
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, client: &Client, conn: &mut TcpConnection) -> Poll<Result<(), ()>> {
        loop {
            if self.gone == self.writing.len() {
                ready!(conn.io.poll_flush(cx)).map_err(|_| ())?;
                self.writing.clear();
                self.gone = 0;
                ready!(self.poll_due(cx, client));
                std::mem::swap(&mut self.writing, &mut client.row.borrow_mut().out);
            }
            let written = ready!(conn.io.poll_writev(cx, &[IoSlice::new(&self.writing[self.gone..])])).map_err(|_| ())?;
            if written == 0 {
                return Poll::Ready(Err(()));
            }
            conn.sent(written as u64);
            self.gone += written;
        }
    }

    /// Ready when there are bytes that are not to wait for more.
    fn poll_due(&mut self, cx: &mut Context<'_>, client: &Client) -> Poll<()> {
        let mut row = client.row.borrow_mut();
        if row.out.is_empty() {
            return Poll::Pending;
        }
        if let Some((size, _)) = client.buffering
            && row.out.len() < size
        {
            self.flush.set(row.flush_at);
            ready!(self.flush.poll(cx, Time::now()));
        }
        row.flush_at = None;
        Poll::Ready(())
    }

    fn poll_times(&mut self, cx: &mut Context<'_>, client: &Client) -> Poll<End> {
        let now = Time::now();
        let row = client.row.borrow();
        if client.finishing.get() && row.waiting.is_empty() {
            return Poll::Ready(End::Ours);
        }
        let since = row.waiting.front().map(|waiting| waiting.begun.max(self.heard));
        self.op.set(since.filter(|_| !client.op_timeout.is_zero()).map(|since| since + client.op_timeout));
        if self.op.poll(cx, now).is_ready() {
            return Poll::Ready(End::TimedOut);
        }
        if self.look.poll(cx, now).is_ready() {
            if client.host_is_gone() && row.waiting.is_empty() {
                return Poll::Ready(End::Drained);
            }
            self.look.set(Some(now + LOOK_EVERY));
            // For the new moment to be waited for.
            let _ = self.look.poll(cx, now);
        }
        Poll::Pending
    }
}
