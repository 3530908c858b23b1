//! The server's life: load, start, serve, reload, drain, end.
//!
//! All of this is the main thread's. Workers are told by messages what changes; nothing here is on a request's path.

mod admin;
mod admin_log;
mod dump;
mod eds;
mod node;
mod options_proto;
mod process;
mod reload;
mod secrets;
mod signals;
mod state;
mod views;
mod workers;

use crate::cli::Options;
use crate::load::{self, Loaded};
use nuncio_admin::Server;
use nuncio_config::EdsFiles;
use nuncio_core::{Common, FailureLog, HttpFilterEntry, NodePart, Worker};
use nuncio_listen::ListenAddress;
use nuncio_listen::{ConnectionBudget, ListenerManager};
use nuncio_rt::Time;
use prost::Message as _;
use nuncio_stats::{Lane, Store, tables::server::SERVER};
use nuncio_upstream::{ClusterManager, dns::StubResolvers};
use signals::{Asked, Signals};
use state::{Phase, Running, Shared};
use std::{
    cell::{Cell, RefCell},
    io,
    os::unix::fs::PermissionsExt,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, mpsc, watch};
use workers::{Feeds, Workers};

/// Lanes beside the workers': the main thread's and the access logs' writer's.
const OWN_LANES: usize = 2;

/// How long writing out the access logs may take at the end.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// Statistics of a process with so many workers.
pub fn store(workers: u32) -> Arc<Store> {
    Store::new(workers as usize + OWN_LANES)
}

/// The lane that the access logs' writer counts in.
pub fn writer_lane(workers: u32) -> Lane {
    Lane::worker(workers as u16)
}

/// Runs the server with a loaded configuration until it is told to end.
pub fn run(options: Options, loaded: Loaded, filters: Vec<HttpFilterEntry>) -> ExitCode {
    let failed = Rc::new(Cell::new(false));
    let outcome = failed.clone();
    let main = async move {
        if let Err(error) = serve(options, loaded, filters).await {
            crate::logger::critical("main", format_args!("{error}"));
            outcome.set(true);
        }
    };
    match nuncio_rt::block_on_worker(main) {
        Ok(()) if !failed.get() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            crate::logger::critical("main", format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options, loaded: Loaded, filters: Vec<HttpFilterEntry>) -> Result<(), String> {
    let Loaded { snapshot, store, files } = loaded;
    let mut signals = Signals::new().map_err(|e| format!("cannot take over signals: {e}"))?;
    let workers = options.workers() as usize;
    let clusters = ClusterManager::new(store.clone(), StubResolvers::new(&store));
    clusters.set_endpoint_files(Rc::new(eds::Files(EdsFiles { mode: crate::load::mode(&options) })));
    let connections = Arc::new(ConnectionBudget::new(u64::MAX));
    let (listeners, inboxes) = ListenerManager::new(&store, workers, state::pace(&options), Some(connections.clone()));
    let (reload_asked, reloads) = mpsc::unbounded_channel();
    let running: Shared = Rc::new(Running {
        output: snapshot.stats.output.clone(),
        filters,
        server_stats: store.scope("server.", &SERVER),
        started: Time::now(),
        quit: Notify::new(),
        phase: Cell::new(Phase::Starting),
        failing_health_checks: Arc::default(),
        runtime: RefCell::default(),
        reload_asked,
        main_worker: Worker::new(usize::MAX, Lane::MAIN),
        failures: RefCell::default(),
        runtime_news: watch::Sender::default(),
        snapshot: RefCell::new(Arc::new(snapshot)),
        store,
        clusters,
        listeners,
        connections,
        files,
        options,
    });
    let runtime = running.loaded().runtime.clone();
    running.set_runtime(runtime);
    nuncio_http::install_client_on_demand(&running.main_worker, &running.clusters);
    let threads = start_workers(&running, inboxes).map_err(|e| format!("cannot start workers: {e}"))?;
    let outcome = life(&running, &mut signals, reloads).await;
    running.phase.set(Phase::Ending);
    threads.stop();
    running.files.flush(LAST_FLUSH);
    outcome
}

fn start_workers(running: &Shared, inboxes: Vec<nuncio_listen::ListenerInbox>) -> io::Result<Workers> {
    let node: Arc<[u8]> = node::shown(running).encode_to_vec().into();
    running.main_worker.parts.set(Rc::new(NodePart(node.clone())));
    let feeds = inboxes.into_iter().map(|listeners| {
        let failures = Arc::<FailureLog>::default();
        running.failures.borrow_mut().push(failures.clone());
        Feeds { clusters: running.clusters.subscribe(), listeners, node: node.clone(), runtime: running.runtime_news.subscribe(), common: Common { failures, failing_health_checks: running.failing_health_checks.clone() } }
    });
    let threads = Workers::start(feeds.collect())?;
    running.listeners.workers_started();
    Ok(threads)
}

/// From the first cluster to the last connection.
async fn life(running: &Shared, signals: &mut Signals, mut reloads: mpsc::UnboundedReceiver<state::ReloadAnswer>) -> Result<(), String> {
    start_admin(running)?;
    nuncio_rt::spawn(flush_statistics(running.clone()));
    nuncio_rt::spawn(secrets::follow(running.clone()));
    running.clusters.set_local(running.loaded().local.clone());
    running.clusters.replace_static(running.loaded().clusters.iter().map(|c| c.config.clone()).collect());
    tokio::select! {
        () = running.clusters.ready() => {}
        asked = ended_early(signals) => return asked,
        () = running.quit.notified() => return Ok(()),
    }
    open_listeners(running)?;
    running.phase.set(Phase::Serving);
    running.refresh();
    announce(running);
    if running.options.mode == crate::cli::Mode::InitOnly {
        return Ok(());
    }
    let mut watch = reload::Watch::new(&running.options);
    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            () = running.quit.notified() => return Ok(()),
            () = watch.changed() => Asked::Reload,
            Some(answer) = reloads.recv() => {
                // Whoever asked may be gone.
                let _ = answer.send(reload::reload(running).await);
                continue;
            }
        };
        match asked {
            Asked::Terminate => return drain(running, signals).await,
            Asked::Reload => {
                // The log has the outcome.
                let _ = reload::reload(running).await;
            }
            Asked::ReopenLogs => reopen(running),
        }
    }
}

async fn ended_early(signals: &mut Signals) -> Result<(), String> {
    loop {
        if signals.next().await == Asked::Terminate {
            return Ok(());
        }
    }
}

fn open_listeners(running: &Shared) -> Result<(), String> {
    running.files.open_pending().map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(|e| format!("cannot open access log `{}`: {}", e.path, e.error)).collect();
        texts.join("; ")
    })?;
    let applied = running.listeners.apply(listeners_of(&running.loaded())).map_err(|errors| {
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    })?;
    applied.warnings.iter().for_each(|warning| log::warn!(target: "config", "{warning}"));
    Ok(())
}

/// A snapshot's listeners as the manager takes them.
fn listeners_of(snapshot: &nuncio_config::Snapshot) -> Vec<Arc<nuncio_listen::ListenerConfig>> {
    snapshot.listeners.iter().map(|l| Arc::new(l.config.clone())).collect()
}

/// Binds the admin listener and serves it.
fn start_admin(running: &Shared) -> Result<(), String> {
    let snapshot = running.loaded();
    let Some(address) = snapshot.admin.as_ref().and_then(|admin| admin.address.clone()) else { return Ok(()) };
    let server = Server::new(running.clone());
    let cannot = |e: io::Error| format!("cannot bind the admin interface to {address}: {e}");
    let bound = match &address {
        ListenAddress::Ip { socket, .. } => {
            let listener = std::net::TcpListener::bind(socket).map_err(cannot)?;
            listener.set_nonblocking(true).map_err(cannot)?;
            let bound = listener.local_addr().map_err(cannot)?.to_string();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(cannot)?;
            nuncio_rt::spawn(async move { server.serve_tcp(listener).await });
            bound
        }
        ListenAddress::Pipe { path, mode } => {
            // A socket left behind by an earlier run is in the way of ours.
            let _ = std::fs::remove_file(path);
            let listener = tokio::net::UnixListener::bind(path).map_err(cannot)?;
            if *mode != 0 {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)).map_err(cannot)?;
            }
            nuncio_rt::spawn(async move { server.serve_unix(listener).await });
            path.display().to_string()
        }
        // Whoever reads configurations has no such address for it.
        ListenAddress::Internal(_) => return Err(format!("the admin interface cannot listen on {address}")),
    };
    let file = &running.options.admin_address_path;
    if !file.is_empty() {
        std::fs::write(file, &bound).map_err(|e| format!("cannot write the admin address to {file}: {e}"))?;
    }
    log::info!(target: "admin", "admin address: {bound}");
    Ok(())
}

/// Merges histograms and brings gauges up to date, every `stats_flush_interval`.
async fn flush_statistics(running: Shared) {
    loop {
        let interval = running.loaded().stats.flush_interval;
        tokio::time::sleep(interval.unwrap_or(Duration::from_secs(5))).await;
        if interval.is_some() {
            running.refresh();
            running.store.flush();
        }
    }
}

fn announce(running: &Shared) {
    for listener in running.listeners.statuses() {
        let locals: Vec<String> = listener.locals.iter().map(ToString::to_string).collect();
        log::info!(target: "main", "listener {} on {}", listener.name, locals.join(", "));
    }
    log::info!(target: "main", "starting main dispatch loop");
}

fn reopen(running: &Shared) {
    running.files.reopen();
    if let Err(error) = crate::logger::reopen() {
        log::warn!(target: "main", "cannot open the log file again: {error}");
    }
}

/// SIGTERM: no new connections, requests in flight finish, at most for the drain time. A second SIGTERM ends at once.
/// Envoy ends at once the first time, and so do we when compared with it.
async fn drain(running: &Shared, signals: &mut Signals) -> Result<(), String> {
    if running.options.parity {
        return Ok(());
    }
    running.phase.set(Phase::Ending);
    let open = running.listeners.active_connections();
    log::info!(target: "main", "draining: {open} connections, at most {} s", running.options.drain_time.as_secs());
    let pace = nuncio_listen::DrainPace { strategy: nuncio_listen::DrainStrategy::Immediate, ..running.pace() };
    running.listeners.drain_all(pace);
    tokio::select! {
        () = running.listeners.drained() => {}
        ended = ended_early(signals) => return ended,
        () = running.quit.notified() => {}
        () = tokio::time::sleep(running.options.drain_time) => {
            log::warn!(target: "main", "drain time is over: {} connections are cut", running.listeners.active_connections());
        }
    }
    Ok(())
}

/// Reads the configuration again, on a helper thread.
async fn load_again(running: &Shared) -> Result<nuncio_config::Snapshot, String> {
    let (options, filters) = (running.options.clone(), running.filters.clone());
    let (store, files) = (running.store.clone(), running.files.clone());
    let work = tokio::task::spawn_blocking(move || load::snapshot(&options, &filters, &store, &files));
    work.await.unwrap_or_else(|_| Err("reading the configuration failed".into()))
}
