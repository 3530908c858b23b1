//! Worker threads: each with its own executor, timers, clusters and listeners.

use nuncio_core::{Common, NodePart, RuntimeValues, Worker};
use nuncio_listen::{ListenerInbox, WorkerListeners};
use nuncio_stats::Lane;
use nuncio_upstream::{ClusterUpdate, WorkerClusters};
use std::{
    io,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot, watch};

/// What one worker is told over its life.
pub(super) struct Feeds {
    /// Clusters.
    pub(super) clusters: UnboundedReceiver<ClusterUpdate>,
    /// Listeners.
    pub(super) listeners: ListenerInbox,
    /// The node, as services are told of it.
    pub(super) node: Arc<[u8]>,
    /// Runtime values.
    pub(super) runtime: watch::Receiver<Arc<RuntimeValues>>,
    /// What it shares with the others.
    pub(super) common: Common,
}

/// The running worker threads.
pub(super) struct Workers {
    threads: Vec<JoinHandle<io::Result<()>>>,
    stops: Vec<oneshot::Sender<()>>,
}

impl Workers {
    /// Starts one thread per set of feeds.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(super) fn start(feeds: Vec<Feeds>) -> io::Result<Workers> {
        let mut workers = Workers { threads: Vec::new(), stops: Vec::new() };
        for (index, feeds) in feeds.into_iter().enumerate() {
            let (stop, stopped) = oneshot::channel();
            let thread = thread::Builder::new().name(format!("wrk:worker_{index}"));
            workers.threads.push(thread.spawn(move || nuncio_rt::block_on_worker(work(index, feeds, stopped)))?);
            workers.stops.push(stop);
        }
        Ok(workers)
    }

    /// Ends the workers, whatever they are doing, and waits for their threads.
    pub(super) fn stop(self) {
        for stop in self.stops {
            // A worker that has ended already needs no telling.
            let _ = stop.send(());
        }
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::error!(target: "main", "a worker ended with an error: {error}"),
                Err(_) => log::error!(target: "main", "a worker panicked"),
            }
        }
    }
}

/// Takes over new runtime values as they come.
async fn follow_runtime(worker: Rc<Worker>, mut news: watch::Receiver<Arc<RuntimeValues>>) {
    while news.changed().await.is_ok() {
        let values = news.borrow_and_update().clone();
        worker.runtime.set(values);
    }
}

async fn work(index: usize, feeds: Feeds, stopped: oneshot::Receiver<()>) {
    let worker = Worker::sharing(index, Lane::worker(index as u16), feeds.common);
    nuncio_rt::spawn(worker.timers.clone().drive());
    worker.runtime.set(feeds.runtime.borrow().clone());
    nuncio_rt::spawn(follow_runtime(worker.clone(), feeds.runtime));
    worker.parts.set(Rc::new(NodePart(feeds.node)));
    let clusters = WorkerClusters::start(&worker);
    // Network filters may ask services where no connection manager is.
    nuncio_http::install_client(&worker, &clusters);
    nuncio_rt::spawn(clusters.follow(feeds.clusters));
    let listeners = WorkerListeners::start(&worker, feeds.listeners);
    // Ends when told to, or when the main thread is gone.
    let _ = stopped.await;
    drop(listeners);
}
