//! One worker's entries on their way to a service: they wait for company, then go out on a stream that stays open.
//!
//! A stream that ends, or cannot be had, is opened again with the next batch; entries of a batch that went down with it
//! are lost.

use super::Shared;
use crate::service::grpc_stream::GrpcStream;
use nuncio_api::envoy::config::core::v3::Node;
use nuncio_api::envoy::data::accesslog::v3::{HttpAccessLogEntry, TcpAccessLogEntry};
use nuncio_api::envoy::service::accesslog::v3::stream_access_logs_message::{HttpAccessLogEntries, Identifier, LogEntries, TcpAccessLogEntries};
use nuncio_api::envoy::service::accesslog::v3::{StreamAccessLogsMessage, StreamAccessLogsResponse};
use nuncio_core::{ConnInfo, NodePart, StreamCx, Worker};
use nuncio_rt::{Deadline, Time};
use nuncio_stats::tables::grpc_access_log as stat;
use prost::Message as _;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::{Rc, Weak as RcWeak},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The method.
const METHOD: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
/// Bytes that may wait for the service before no more is sent.
const HIGH_WATERMARK: usize = 1 << 20;

/// How long a service may take to end a stream that no logger needs any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An entry.
pub(super) enum Entry {
    Http(Box<HttpAccessLogEntry>),
    Tcp(Box<TcpAccessLogEntry>),
}

/// What waits, and the stream.
pub(super) struct Queue {
    /// A logger with this configuration; the last of those there were.
    owner: RefCell<Weak<Shared>>,
    /// The logger whose entries wait: it stays until they are sent.
    holding: RefCell<Option<Arc<Shared>>>,
    entries: RefCell<Vec<Entry>>,
    bytes: Cell<usize>,
    stream: RefCell<Option<GrpcStream<StreamAccessLogsResponse>>>,
    task: RefCell<Option<Waker>>,
}

/// A worker's queues by configuration.
#[derive(Default)]
struct Queues(RefCell<HashMap<(Vec<u8>, bool), Rc<Queue>>>);

/// The queue for a configuration on a worker.
pub(super) fn of_worker(shared: &Arc<Shared>, worker: &Rc<Worker>) -> Rc<Queue> {
    let queues = worker.parts.get::<Queues>().unwrap_or_else(|| {
        let made = Rc::new(Queues::default());
        worker.parts.set(made.clone());
        made
    });
    if let Some(queue) = queues.0.borrow().get(&shared.key) {
        if queue.owner.borrow().as_ptr() != Arc::as_ptr(shared) {
            queue.owner.replace(Arc::downgrade(shared));
        }
        return queue.clone();
    }
    let queue = Rc::new(Queue {
        owner: RefCell::new(Arc::downgrade(shared)),
        holding: RefCell::default(),
        entries: RefCell::default(),
        bytes: Cell::new(0),
        stream: RefCell::default(),
        task: RefCell::default(),
    });
    queues.0.borrow_mut().insert(shared.key.clone(), queue.clone());
    nuncio_rt::spawn(serve(queue.clone(), Rc::downgrade(worker), shared.key.clone()));
    queue
}

impl Queue {
    /// Whether there is room for one more HTTP entry; counts it, or that it is dropped.
    pub(super) fn takes_more(&self, shared: &Shared, worker: &Rc<Worker>) -> bool {
        let full = || shared.most > 0 && self.bytes.get() >= shared.most;
        if full() {
            self.flush(shared, worker);
        }
        let dropped = full();
        shared.stats.inc(worker.lane, if dropped { stat::LOGS_DROPPED } else { stat::LOGS_WRITTEN });
        !dropped
    }

    /// Takes an entry, and sends what waits once it is enough.
    pub(super) fn add(&self, shared: &Arc<Shared>, worker: &Rc<Worker>, entry: Entry) {
        let bytes = match &entry {
            Entry::Http(entry) => entry.encoded_len(),
            Entry::Tcp(entry) => entry.encoded_len(),
        };
        self.entries.borrow_mut().push(entry);
        self.holding.borrow_mut().get_or_insert_with(|| shared.clone());
        self.bytes.set(self.bytes.get() + bytes);
        if self.bytes.get() >= shared.most {
            self.flush(shared, worker);
        }
    }

    /// Sends what waits, unless the service does not take what it was sent before.
    fn flush(&self, shared: &Shared, worker: &Rc<Worker>) {
        let count = self.entries.borrow().len() as u64;
        if count == 0 {
            return;
        }
        let mut stream = self.stream.borrow_mut();
        let mut identifier = None;
        if stream.is_none() {
            let node = worker.parts.get::<NodePart>().and_then(|node| Node::decode(&*node.0).ok());
            identifier = Some(Identifier { node, log_name: shared.log_name.clone() });
            let cx = StreamCx::new(worker.clone(), Rc::new(ConnInfo::nobody()));
            *stream = shared.service.open(&cx, METHOD).ok();
        }
        if stream.as_ref().is_some_and(|stream| stream.waiting() > HIGH_WATERMARK) {
            shared.stats.add(worker.lane, stat::GRPC_ENTRIES_FLUSH_FAILED, count);
            return;
        }
        let message = StreamAccessLogsMessage { identifier, log_entries: self.take(shared) };
        if let Some(stream) = &mut *stream {
            stream.send(&message);
        }
        shared.stats.add(worker.lane, stat::GRPC_ENTRIES_FLUSHED, count);
        drop(stream);
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    fn take(&self, shared: &Shared) -> Option<LogEntries> {
        let (mut http, mut tcp) = (HttpAccessLogEntries::default(), TcpAccessLogEntries::default());
        self.bytes.set(0);
        self.holding.take();
        for entry in self.entries.take() {
            match entry {
                Entry::Http(entry) => http.log_entry.push(*entry),
                Entry::Tcp(entry) => tcp.log_entry.push(*entry),
            }
        }
        Some(if shared.key.1 { LogEntries::HttpLogs(http) } else { LogEntries::TcpLogs(tcp) })
    }

    /// Moves the stream; what the service says is not asked, but that it has ended.
    fn poll_stream(&self, task: &mut Context<'_>) {
        let mut stream = self.stream.borrow_mut();
        while let Some(open) = &mut *stream {
            match open.poll_next(task) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(StreamAccessLogsResponse {}))) => {}
                Poll::Ready(None | Some(Err(_))) => *stream = None,
            }
        }
    }
}

/// Sends what waits whenever it is time, until no logger has the configuration any more.
async fn serve(queue: Rc<Queue>, worker: RcWeak<Worker>, key: (Vec<u8>, bool)) {
    let Some(timers) = worker.upgrade().map(|worker| worker.timers.clone()) else { return };
    let mut deadline = Deadline::new(timers);
    let mut due = None;
    let mut leaving = false;
    poll_fn(|task| {
        queue.task.replace(Some(task.waker().clone()));
        loop {
            queue.poll_stream(task);
            let now = Time::now();
            let Some(worker) = worker.upgrade() else { return Poll::Ready(()) };
            let owner = queue.owner.borrow().upgrade();
            if owner.is_none() && !leaving {
                leaving = true;
                worker.parts.get::<Queues>().inspect(|queues| _ = queues.0.borrow_mut().remove(&key));
                queue.stream.borrow_mut().iter_mut().for_each(GrpcStream::finish);
                due = Some(now + LAST_WORDS);
                continue;
            }
            if leaving && queue.stream.borrow().is_none() {
                return Poll::Ready(());
            }
            deadline.set(Some(*due.get_or_insert(now + owner.as_ref().map_or(LAST_WORDS, |shared| shared.interval))));
            if deadline.poll(task, now).is_pending() {
                return Poll::Pending;
            }
            due = None;
            match owner {
                Some(shared) => queue.flush(&shared, &worker),
                None => return Poll::Ready(()),
            }
        }
    })
    .await;
}
