//! A cluster, a worker and a scripted server on loopback.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::panic, reason = "a test may")]

use nuncio_codec::headers::{HeaderMap, Known, Trailers};
use nuncio_core::{LocalFuture, Worker};
use nuncio_rt::{Address, Buf};
use nuncio_stats::{CounterId, GaugeId, Lane, Scope, Store};
use nuncio_upstream::config::{Endpoint, EndpointAddress, LocalityEndpoints, LookupFamily, ResolverConfig};
use nuncio_upstream::dns::{Answer, Resolve, Resolvers, Services, StubResolvers};
use nuncio_upstream::{
    ClusterConfig, ClusterManager, HeadOptions, PickCx, PoolFailure, Reset, RoutingPriority, UpPiece, UpstreamConn,
    WorkerCluster, WorkerClusters, WorkerHost,
};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Resolves every name to what the test says, and counts the questions.
#[derive(Clone)]
pub struct Told(pub Rc<RefCell<Answer>>, pub Rc<Cell<u32>>);

impl Resolve for Told {
    fn resolve(&self, _: &str, _: LookupFamily) -> LocalFuture<Answer> {
        self.1.set(self.1.get() + 1);
        let answer = self.0.borrow().clone();
        Box::pin(async move { answer })
    }

    fn services(&self, _: &str) -> LocalFuture<Services> {
        Box::pin(async { Ok(None) })
    }
}

impl Resolvers for Told {
    fn resolver(&self, _: &ResolverConfig) -> Rc<dyn Resolve> {
        Rc::new(self.clone())
    }
}

/// Runs a test on a worker's executor, and fails it if it hangs.
pub fn run(test: impl Future<Output = ()> + 'static) {
    let done = async {
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs");
    };
    nuncio_rt::block_on_worker(done).expect("the test failed");
}

/// A cluster of this name with these endpoints.
pub fn cluster(name: &str, hosts: &[SocketAddr]) -> ClusterConfig {
    let mut config = ClusterConfig::named(name);
    let endpoints = hosts.iter().map(|a| Endpoint::at(EndpointAddress::Resolved(Address::Ip(*a)))).collect();
    Arc::make_mut(&mut config.assignment).localities.push(LocalityEndpoints { endpoints, ..LocalityEndpoints::default() });
    config
}

/// One worker with its clusters.
pub struct Bench {
    pub store: Arc<Store>,
    pub manager: ClusterManager,
    pub worker: Rc<Worker>,
    pub clusters: Rc<WorkerClusters>,
}

impl Bench {
    /// A worker that follows a manager. Must be made on an executor.
    pub fn new() -> Bench {
        let store = Store::new(2);
        let manager = ClusterManager::new(store.clone(), StubResolvers::new(&store));
        let worker = Worker::new(0, Lane::worker(0));
        nuncio_rt::spawn(worker.timers.clone().drive());
        let clusters = WorkerClusters::start(&worker);
        nuncio_rt::spawn(clusters.clone().follow(manager.subscribe()));
        Bench { store, manager, worker, clusters }
    }

    /// Adds a cluster and waits until the worker has it.
    pub async fn put(&self, config: ClusterConfig) -> Rc<WorkerCluster> {
        let name = config.name.clone();
        self.manager.put(config);
        self.manager.ready().await;
        settle().await;
        self.clusters.by_name(&name).expect("the cluster serves")
    }

    pub fn stats(&self, cluster: &str) -> Arc<Scope> {
        self.store.scope(&format!("cluster.{cluster}."), &nuncio_stats::tables::cluster::CLUSTER)
    }

    pub fn counter(&self, cluster: &str, id: CounterId) -> u64 {
        self.stats(cluster).counter(id)
    }

    pub fn gauge(&self, cluster: &str, id: GaugeId) -> u64 {
        self.manager.refresh_gauges();
        self.stats(cluster).gauge(id)
    }
}

/// Lets everything that can run do so.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Waits until `done` says so.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never happened: {what}");
}

/// What a test's server was sent, and who is connected.
#[derive(Clone, Default)]
pub struct Seen(pub Rc<RefCell<Vec<String>>>);

impl Seen {
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }
}

/// A server that answers each request head with what `answer` says of it; an empty answer means silence, and an
/// answer that ends in `!close` closes.
pub async fn serve(answer: impl Fn(&str) -> String + 'static) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let (seen, answer) = (Seen::default(), Rc::new(answer));
    let log = seen.clone();
    nuncio_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (log, answer) = (log.clone(), answer.clone());
            nuncio_rt::spawn(async move { serve_one(stream, &log, &*answer).await });
        }
    });
    (address, seen)
}

async fn serve_one(stream: TcpStream, seen: &Seen, answer: &dyn Fn(&str) -> String) {
    let mut input = Vec::new();
    loop {
        while let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            let head: Vec<u8> = input.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head).into_owned();
            let reply = answer(&head);
            seen.0.borrow_mut().push(head);
            let (bytes, close) = match reply.strip_suffix("!close") {
                Some(bytes) => (bytes, true),
                None => (reply.as_str(), false),
            };
            if write(&stream, bytes.as_bytes()).await.is_err() || close {
                return;
            }
        }
        let mut part = [0; 4096];
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut part) {
            Ok(0) => return,
            Ok(n) => input.extend_from_slice(&part[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A response with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// The head of a request.
pub fn request(method: &str, path: &str) -> HeaderMap {
    let mut map = HeaderMap::default();
    map.insert(Known::Method, method);
    map.insert(Known::Path, path);
    map.insert(Known::Authority, "host.test");
    map
}

/// Picks a host.
pub fn pick(cluster: &WorkerCluster) -> Rc<WorkerHost> {
    cluster.pick(&PickCx::default()).expect("a host")
}

/// Waits for a connection.
pub async fn acquire(host: &Rc<WorkerHost>) -> Result<UpstreamConn, PoolFailure> {
    let mut acquire = host.acquire(RoutingPriority::Default, nuncio_core::Protocol::Http11);
    poll_fn(|cx| acquire.poll(cx)).await
}

/// What came back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub interim: Vec<u16>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

/// Sends a request without a body and reads the response, not ending the stream.
pub async fn exchange(conn: &mut UpstreamConn, head: &HeaderMap) -> Result<Response, Reset> {
    conn.send_head(head, HeadOptions { end: true })?;
    poll_fn(|cx| conn.poll_flush(cx)).await?;
    read_response(conn).await
}

/// Reads a response to its end.
pub async fn read_response(conn: &mut UpstreamConn) -> Result<Response, Reset> {
    let (mut head, mut trailers) = (HeaderMap::default(), Trailers::default());
    let mut response = Response::default();
    loop {
        match poll_fn(|cx| conn.poll_piece(cx, &mut head, &mut trailers)).await? {
            UpPiece::Informational { status } => response.interim.push(status),
            UpPiece::Head { status, end, .. } => {
                response.status = status;
                if end {
                    return Ok(response);
                }
            }
            UpPiece::Data(data, end) => {
                response.body.extend_from_slice(data.filled());
                if end {
                    return Ok(response);
                }
            }
            UpPiece::Trailers => {
                let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                response.trailers = trailers.iter().map(|h| (text(h.name), text(h.value))).collect();
                return Ok(response);
            }
        }
    }
}

/// A whole request on a fresh acquisition.
pub async fn get(cluster: &WorkerCluster, path: &str) -> Result<Response, Reset> {
    let mut conn = acquire(&pick(cluster)).await.map_err(|failure| failure.reset)?;
    let response = exchange(&mut conn, &request("GET", path)).await?;
    conn.finish();
    Ok(response)
}

/// A buffer of these bytes.
pub fn buf(bytes: &[u8]) -> Buf {
    Buf::copy_of(bytes)
}
