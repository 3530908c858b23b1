//! A process in small: four workers and a manager, with filters to listen for.

#![allow(dead_code, reason = "each test file uses its part")]

use nuncio_core::{Connection, DrainSignal, LocalFuture, Terminal, TerminalWorker, Worker};
use nuncio_listen::{
    ConnectionBudget, DrainPace, DrainStrategy, FilterChainConfig, ListenAddress, ListenerConfig, ListenerInbox,
    ListenerManager, WorkerListeners,
};
use nuncio_rt::{Address, Buf, Io, OutQueue};
use nuncio_stats::{Lane, Store, tables::listener_manager as lm};
use std::{
    future::poll_fn,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    task::Poll,
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub const WORKERS: usize = 4;

/// Answers every byte with its own name; `!` makes it panic, `q` makes it close. Idle while draining it closes, but
/// not before its first answer: what the client sent may still be under way.
#[derive(Debug)]
pub struct Named(pub &'static [u8]);

impl Terminal for Named {
    fn on_worker(self: Arc<Self>, worker: &Rc<Worker>) -> Rc<dyn TerminalWorker> {
        Rc::new(NamedWorker(self.0, worker.clone()))
    }
}

struct NamedWorker(&'static [u8], Rc<Worker>);

impl TerminalWorker for NamedWorker {
    fn serve(self: Rc<Self>, mut connection: Connection) -> LocalFuture<()> {
        Box::pin(async move {
            let mut out = OutQueue::new(self.1.bufs.clone());
            let mut fresh = DrainSignal::default();
            loop {
                let ahead = connection.first.take().and_then(|first| first.filled().first().copied());
                let next = match ahead {
                    Some(byte) => Some(byte),
                    None => next_byte(&mut connection.io, &fresh).await,
                };
                let Some(byte) = next else { return };
                fresh = connection.drain.clone();
                assert_ne!(byte, b'!', "as asked");
                if byte == b'q' {
                    return;
                }
                out.copy(self.0);
                let mut written = 0;
                let flushed = poll_fn(|cx| out.poll_flush(cx, &mut connection.io, &mut written)).await;
                if flushed.is_err() || connection.drain.is_draining() {
                    return;
                }
            }
        })
    }
}

/// The next byte; `None` at the end, or when draining while nothing has arrived.
async fn next_byte(io: &mut Io, drain: &DrainSignal) -> Option<u8> {
    let mut buf = Buf::with_capacity(1);
    let mut registered = None;
    let got = poll_fn(|cx| {
        registered = Some(cx.waker().clone());
        drain.register(cx.waker());
        match io.poll_read(cx, &mut buf) {
            Poll::Ready(Ok(1)) => Poll::Ready(buf.filled().first().copied()),
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending if drain.is_closing() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    registered.iter().for_each(|waker| drain.unregister(waker));
    got
}

pub struct Process {
    pub manager: ListenerManager,
    pub store: Arc<Store>,
    pub threads: Vec<JoinHandle<()>>,
}

fn worker(inbox: ListenerInbox) {
    let index = inbox.worker;
    nuncio_rt::block_on_worker(async move {
        let worker = Worker::new(index, Lane::worker(index as u16));
        nuncio_rt::spawn(worker.timers.clone().drive());
        WorkerListeners::start(&worker, inbox);
        std::future::pending::<()>().await;
    })
    .expect("worker");
}

pub fn process(budget: Option<Arc<ConnectionBudget>>) -> Process {
    let store = Store::new(WORKERS + 1);
    let pace = DrainPace { strategy: DrainStrategy::Gradual, time: Duration::from_secs(60) };
    let (manager, inboxes) = ListenerManager::new(&store, WORKERS, pace, budget);
    let threads = inboxes.into_iter().map(|inbox| std::thread::spawn(move || worker(inbox))).collect();
    Process { manager, store, threads }
}

impl Process {
    pub fn apply(&self, listeners: Vec<ListenerConfig>) -> nuncio_listen::Applied {
        self.manager.apply(listeners.into_iter().map(Arc::new).collect()).expect("good listeners")
    }

    pub fn port(&self, name: &str) -> SocketAddr {
        let statuses = self.manager.statuses();
        let status = statuses.iter().find(|s| &*s.name == name).expect("a listener of that name");
        let Some(Address::Ip(local)) = status.locals.first() else { unreachable!("an IP address") };
        *local
    }

    pub fn gauge(&self, id: nuncio_stats::GaugeId) -> u64 {
        self.store.scope("listener_manager.", &lm::LISTENER_MANAGER).gauge(id)
    }

    pub fn counter(&self, id: nuncio_stats::CounterId) -> u64 {
        self.store.scope("listener_manager.", &lm::LISTENER_MANAGER).counter(id)
    }

    pub fn stat(&self, name: &str) -> u64 {
        let found = self.store.scopes().into_iter().find_map(|scope| {
            let rest = name.strip_prefix(scope.prefix())?;
            let at = scope.table().defs.iter().position(|def| def.name == rest)? as u16;
            Some(scope.counter(nuncio_stats::CounterId(at)))
        });
        found.unwrap_or(0)
    }

    pub fn drained_within(&self, limit: Duration) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        runtime.block_on(async { tokio::time::timeout(limit, self.manager.drained()).await.is_ok() })
    }
}

/// Waits for what happens on another thread without a word to us.
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(5), "never: {what}");
        std::thread::yield_now();
    }
}

pub fn listener(name: &str, terminal: &'static [u8]) -> ListenerConfig {
    let mut config = ListenerConfig::new(name, ListenAddress::ip(([127, 0, 0, 1], 0).into()));
    config.filter_chains.push(Arc::new(FilterChainConfig::plain(Arc::new(Named(terminal)))));
    config
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    stream
}

pub fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b".").expect("write");
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).expect("answer");
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(n) => n == 0,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}
