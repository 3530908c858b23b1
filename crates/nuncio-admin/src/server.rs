//! Accepting admin connections, on the main thread.
//!
//! A task per connection; endpoints are quick and never wait, so one at a time is enough. What the connections do is
//! counted under `http.admin.` and `listener.admin.`, as Envoy counts it.

use crate::context::AdminContext;
use crate::view::Client;
use crate::endpoints::{handle, reload};
use crate::exchange::{Exchange, Next};
use nuncio_stats::tables::{
    http_connection_manager as http, http1, listener, listener_http, listener_worker,
};
use nuncio_stats::{Lane, Scope, Store};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

/// A connection that says nothing for this long is closed (Envoy's default stream and connection idle time).
const IDLE: Duration = Duration::from_secs(3600);
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// A wait after a failed accept, so that a lack of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The admin listener's connections.
pub struct Server<C> {
    cx: Rc<C>,
    stats: Rc<AdminStats>,
    connections: Cell<u64>,
}

/// What is counted about them.
#[derive(Debug)]
pub struct AdminStats {
    http: Arc<Scope>,
    http1: Arc<Scope>,
    listener: Arc<Scope>,
    listener_http: Arc<Scope>,
    thread: Arc<Scope>,
}

impl AdminStats {
    /// The scopes of the admin listener.
    pub fn new(store: &Store) -> AdminStats {
        AdminStats {
            http: store.scope("http.admin.", &http::HTTP),
            http1: store.scope("http1.", &http1::HTTP1),
            listener: store.scope("listener.admin.", &listener::LISTENER),
            listener_http: store.scope("listener.admin.http.admin.", &listener_http::LISTENER_HTTP),
            thread: store.scope(
                "listener.admin.main_thread.",
                &listener_worker::LISTENER_WORKER,
            ),
        }
    }

    fn opened(&self) {
        let lane = Lane::MAIN;
        self.http1.open(lane, http1::OPEN);
        self.listener.inc(lane, listener::DOWNSTREAM_CX_TOTAL);
        self.thread.inc(lane, listener_worker::DOWNSTREAM_CX_TOTAL);
        self.http.inc(lane, http::DOWNSTREAM_CX_TOTAL);
        self.http.inc(lane, http::DOWNSTREAM_CX_HTTP1_TOTAL);
        self.listener
            .record(lane, listener::CONNECTIONS_ACCEPTED_PER_SOCKET_EVENT, 1);
        self.active(1);
    }

    fn closed(&self, after: Duration) {
        let lane = Lane::MAIN;
        self.active(-1);
        self.listener.inc(lane, listener::DOWNSTREAM_CX_DESTROY);
        self.http.inc(lane, http::DOWNSTREAM_CX_DESTROY);
        let millis = after.as_millis() as u64;
        self.listener
            .record(lane, listener::DOWNSTREAM_CX_LENGTH_MS, millis);
        self.http
            .record(lane, http::DOWNSTREAM_CX_LENGTH_MS, millis);
    }

    fn active(&self, n: i64) {
        let lane = Lane::MAIN;
        self.listener
            .gauge_add(lane, listener::DOWNSTREAM_CX_ACTIVE, n);
        self.thread
            .gauge_add(lane, listener_worker::DOWNSTREAM_CX_ACTIVE, n);
        self.http.gauge_add(lane, http::DOWNSTREAM_CX_ACTIVE, n);
        self.http
            .gauge_add(lane, http::DOWNSTREAM_CX_HTTP1_ACTIVE, n);
    }

    fn request(&self) {
        self.http.inc(Lane::MAIN, http::DOWNSTREAM_RQ_TOTAL);
        self.http.inc(Lane::MAIN, http::DOWNSTREAM_RQ_HTTP1_TOTAL);
        self.http
            .gauge_add(Lane::MAIN, http::DOWNSTREAM_RQ_ACTIVE, 1);
    }

    fn answered(&self, status: u16, after: Duration) {
        let lane = Lane::MAIN;
        let (of_http, of_listener) = match status / 100 {
            1 => (http::DOWNSTREAM_RQ_1XX, listener_http::DOWNSTREAM_RQ_1XX),
            2 => (http::DOWNSTREAM_RQ_2XX, listener_http::DOWNSTREAM_RQ_2XX),
            3 => (http::DOWNSTREAM_RQ_3XX, listener_http::DOWNSTREAM_RQ_3XX),
            4 => (http::DOWNSTREAM_RQ_4XX, listener_http::DOWNSTREAM_RQ_4XX),
            _ => (http::DOWNSTREAM_RQ_5XX, listener_http::DOWNSTREAM_RQ_5XX),
        };
        self.http.inc(lane, of_http);
        self.http.inc(lane, http::DOWNSTREAM_RQ_COMPLETED);
        self.listener_http.inc(lane, of_listener);
        self.listener_http
            .inc(lane, listener_http::DOWNSTREAM_RQ_COMPLETED);
        self.http.gauge_add(lane, http::DOWNSTREAM_RQ_ACTIVE, -1);
        self.http
            .record(lane, http::DOWNSTREAM_RQ_TIME, after.as_millis() as u64);
    }
}

impl<C: AdminContext + 'static> Server<C> {
    /// A server for this process. Its statistics appear at once.
    pub fn new(cx: Rc<C>) -> Server<C> {
        let stats = Rc::new(AdminStats::new(cx.stats()));
        Server { cx, stats, connections: Cell::new(0) }
    }

    /// Accepts connections for ever. Must run on a runtime with local tasks.
    pub async fn serve_tcp(&self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    // Answers are one write each; waiting to fill a packet helps nobody.
                    let _ = stream.set_nodelay(true);
                    let local = stream.local_addr().ok();
                    self.spawn(stream, Some(remote), local);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// The same on a Unix domain socket.
    pub async fn serve_unix(&self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.spawn(stream, None, None),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn spawn(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        remote: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) {
        let id = self.connections.get();
        self.connections.set(id + 1);
        let (cx, stats) = (Rc::clone(&self.cx), Rc::clone(&self.stats));
        tokio::task::spawn_local(async move {
            let began = Instant::now();
            stats.opened();
            // A client that goes away in the middle is its own affair.
            let client = Client { id, remote, local, connected: began, since: began };
            let _ = converse(stream, client, &*cx, &stats).await;
            stats.closed(began.elapsed());
        });
    }
}

/// Reads requests and writes answers until one side ends it.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut client: Client,
    cx: &impl AdminContext,
    stats: &AdminStats,
) -> io::Result<()> {
    let (mut exchange, mut input) = (Exchange::default(), Vec::new());
    let (mut next, count) = (Next::Read, |id, n| stats.http.add(Lane::MAIN, id, n));
    loop {
        if next == Next::Read {
            input.reserve(READ_BYTES);
            let read = in_time(stream.read_buf(&mut input)).await?;
            count(http::DOWNSTREAM_CX_RX_BYTES_TOTAL, read as u64);
            client.since = Instant::now();
            if cx.logs() {
                exchange.take_notes();
            }
            if read == 0 {
                count(http::DOWNSTREAM_CX_DESTROY_REMOTE, 1);
                return Ok(());
            }
        }
        let (mut out, mut quit) = (Vec::new(), false);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        next = loop {
            let request = match exchange.ask(&mut input, &mut out, now) {
                Ok(request) => request,
                Err(next) => break next,
            };
            let began = Instant::now();
            stats.request();
            let mut response = handle(&request, cx);
            if response.then_reload {
                response = reload::outcome(cx.reload().await);
            }
            stats.answered(response.status, began.elapsed());
            quit |= response.then_quit;
            if let Some(next) = exchange.reply(&response, &mut out, now) {
                break next;
            }
        };
        let written = in_time(stream.write_all(&out)).await;
        for answered in exchange.answered() {
            cx.log(&client, answered);
        }
        written?;
        count(http::DOWNSTREAM_CX_TX_BYTES_TOTAL, out.len() as u64);
        if quit {
            in_time(stream.flush()).await?;
            cx.quit();
        }
        if next == Next::Close {
            count(http::DOWNSTREAM_CX_DESTROY_LOCAL, 1);
            return stream.shutdown().await;
        }
    }
}

/// What `io` gives, or an error if the client does not keep up.
async fn in_time<T>(io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(IDLE, io).await.map_err(io::Error::other)?
}
