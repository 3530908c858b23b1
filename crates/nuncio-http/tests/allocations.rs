//! The gate on memory: a warm exchange allocates nothing, neither for its head nor for its body.
//!
//! A whole worker runs on the test's thread: connection manager, router, pool, timers, statistics. Client and backend
//! are other threads, whose allocations are not counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use nuncio_core::{ConnInfo, Connection, DrainSignal, Terminal, TerminalWorker, Worker};
use nuncio_http::{Hcm, config, routes::*};
use nuncio_rt::{Address, Time};
use nuncio_stats::{Lane, Store};
use nuncio_upstream::*;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
};
use tokio::sync::Notify;

/// Exchanges until maps, buffers, pools and histograms have their working size.
const WARM_UP: usize = 100;
/// Exchanges that are counted at a time.
const COUNTED: usize = 100;
/// How often.
const ROUNDS: usize = 4;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nserver: backend\r\n\r\nhello";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

#[test]
fn a_get_allocates_nothing() {
    let request = b"GET /a?b=c HTTP/1.1\r\nhost: example.com\r\nuser-agent: test\r\naccept: */*\r\n\r\n";
    assert_eq!(allocations(request, RESPONSE), 0);
}

#[test]
fn many_headers_allocate_nothing() {
    let mut request = b"GET / HTTP/1.1\r\nhost: example.com\r\n".to_vec();
    for n in 0..20 {
        write!(request, "x-header-{n}: value-{n}-0123456789abcdef\r\n").unwrap();
    }
    request.extend_from_slice(b"\r\n");
    assert_eq!(allocations(&request, RESPONSE), 0);
}

#[test]
fn bodies_of_known_length_allocate_nothing() {
    let mut request = b"POST / HTTP/1.1\r\nhost: example.com\r\ncontent-length: 2000\r\n\r\n".to_vec();
    request.resize(request.len() + 2000, b'a');
    assert_eq!(allocations(&request, RESPONSE), 0);
}

#[test]
fn chunked_bodies_allocate_nothing() {
    let request = b"POST / HTTP/1.1\r\nhost: example.com\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(allocations(request, CHUNKED), 0);
}

/// Allocations of a worker, at least, over [`COUNTED`] warm exchanges of `request` and `response` on one connection.
fn allocations(request: &[u8], response: &'static [u8]) -> u64 {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = backend.local_addr().unwrap();
    thread::spawn(move || serve(&backend, response));

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(tokio::runtime::LocalOptions::default()).unwrap();
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr().unwrap();
    runtime.block_on(async { start_worker(front, upstream) });

    let (go, wait) = mpsc::channel();
    let done = Arc::new(Notify::new());
    let client = thread::spawn({
        let (request, done) = (request.to_vec(), done.clone());
        move || {
            let mut stream = TcpStream::connect(address).unwrap();
            for count in wait {
                (0..count).for_each(|_| exchange(&mut stream, &request));
                done.notify_one();
            }
        }
    });
    go.send(WARM_UP).unwrap();
    let warm_up = allocation_counter::measure(|| runtime.block_on(done.notified()));
    assert_ne!(warm_up.count_total, 0, "the counter does not count");
    // An exchange that the machine held up opens another bin of a histogram: what counts happens in every round.
    let rounds = (0..ROUNDS).map(|_| {
        go.send(COUNTED).unwrap();
        allocation_counter::measure(|| runtime.block_on(done.notified())).count_total
    });
    let fewest = rounds.min().unwrap();
    drop(go);
    client.join().unwrap();
    fewest
}

/// Starts a worker that forwards what comes in on `front` to `upstream`.
fn start_worker(front: TcpListener, upstream: SocketAddr) {
    let store = Store::new(2);
    let worker = Worker::new(0, Lane::worker(0));
    nuncio_rt::spawn(worker.timers.clone().drive());
    let clusters = WorkerClusters::start(&worker);
    let info = ClusterInfo::new(Arc::new(ClusterConfig::named("backend")), &store, Arc::default());
    clusters.apply(ClusterUpdate::Put(info, Arc::new(HostSet::new(vec![host(upstream)], &Default::default(), 140, false))));
    let terminal = Arc::new(Hcm::new(manager(), &store, "listener.127.0.0.1_10000.")).on_worker(&worker);
    nuncio_rt::spawn(accept(front, terminal));
}

async fn accept(front: TcpListener, terminal: Rc<dyn TerminalWorker>) {
    front.set_nonblocking(true).unwrap();
    let front = tokio::net::TcpListener::from_std(front).unwrap();
    while let Ok((stream, remote)) = front.accept().await {
        let info = ConnInfo {
            id: 1,
            start: Time::now(),
            direct_remote: Address::Ip(remote),
            remote: Address::Ip(remote),
            local: Address::Ip(stream.local_addr().unwrap()),
            listener: "listener".into(),
            filter_chain: "".into(),
            server_name: None,
            tls: false,
            client_certificate: Default::default(),
            tls_facts: None,
            transport_failure: Default::default(),
            fingerprints: None,
            attached: Default::default(),
        };
        nuncio_rt::spawn(terminal.clone().serve(Connection {
            io: stream.into(),
            first: None,
            info: Rc::new(info),
            drain: DrainSignal::default(),
            buffer_limit_bytes: 1 << 20,
        }));
    }
}

fn host(address: SocketAddr) -> Arc<Host> {
    Arc::new(Host {
        address: Arc::new(Address::Ip(address)),
        hostname: "".into(),
        locality: Default::default(),
        priority: 0,
        weight: 1,
        metadata: None,
        observability_name: None,
        locality_metadata: None,
        health_check: Default::default(),
        attempts: Default::default(),
        state: HostState::new(2, HealthFlags(0)),
    })
}

/// A connection manager as most configurations have it: everything to one cluster, request ids, forwarding headers.
fn manager() -> config::HcmConfig {
    let forward = Action::Forward(Box::new(RouteAction::to(ClusterSpecifier::Cluster("backend".into()))));
    let all = Matcher::path(PathMatch::Prefix(Fold::exact("/")));
    let routes = RouteConfig {
        name: "routes".into(),
        virtual_hosts: vec![VirtualHost {
            name: "all".into(),
            domains: vec!["*".into()],
            routes: vec![Route::new(all, forward)],
            ..Default::default()
        }],
        ..Default::default()
    };
    config::HcmConfig {
        stat_prefix: "ingress".into(),
        codec: Default::default(),
        routes: config::RouteSource::Fixed(Arc::new(RouteTable::compile(routes).unwrap())),
        filters: Vec::new(),
        has_router: true,
        router: config::RouterOptions { dynamic_stats: true, ..Default::default() },
        access_logs: Vec::new(),
        proxy_status: None,
        local_replies: None,
        tracing: None,
        log_options: config::LogOptions::default(),
        early_header_mutations: Vec::new(),
        client_address: config::ClientAddress { use_remote_address: true, ..Default::default() },
        cleaning: config::Cleaning { normalize_path: true, ..Default::default() },
        timeouts: Default::default(),
        server_name: "envoy".into(),
        server_header: Default::default(),
        via: "".into(),
        scheme_overwrite: None,
        generate_request_id: true,
        preserve_external_request_id: false,
        request_id_in_response: false,
        proxy_100_continue: false,
        client_cert: Default::default(),
        client_cert_matcher: None,
        records_route_resolution: false,
        tells_clients: true,
        add_user_agent: None,
        max_requests_per_connection: 0,
        keep_open_on_error: false,
        http1: Default::default(),
        http2: Default::default(),
        header_case: Default::default(),
        default_host_for_http_10: None,
        upgrades: Vec::new(),
        buffer_limit: 1 << 20,
    }
}

/// Sends `request` and reads a response that ends in `hello`, chunked or not.
fn exchange(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).unwrap();
    assert!(read_until(stream, |got| got.ends_with(b"\r\n\r\nhello") || got.ends_with(b"hello\r\n0\r\n\r\n")));
}

/// The backend: answers every request of every connection, one connection after the other.
fn serve(listener: &TcpListener, response: &[u8]) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        while read_until(&mut stream, whole_request) {
            stream.write_all(response).unwrap();
        }
    }
}

/// True for a head and the body it announces.
fn whole_request(got: &[u8]) -> bool {
    let Some(head) = got.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let (head, body) = got.split_at(head + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with(b"0\r\n\r\n");
    }
    let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() == announced.map_or(0, |len| len.parse().unwrap())
}

/// Reads until `done` likes what came; false when the peer has closed instead.
fn read_until(stream: &mut TcpStream, done: impl Fn(&[u8]) -> bool) -> bool {
    let (mut block, mut len) = ([0; 8192], 0);
    while !done(&block[..len]) {
        match stream.read(&mut block[len..]) {
            Ok(0) | Err(_) => return false,
            Ok(more) => len += more,
        }
    }
    true
}
