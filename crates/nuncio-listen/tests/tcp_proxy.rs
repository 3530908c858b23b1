//! The TCP proxy between real sockets: clients and hosts are threads, the proxy has one worker.

use nuncio_core::{AccessLogger, StreamCx, Worker};
use nuncio_listen::{
    DrainPace, FilterChainConfig, ListenAddress, ListenerConfig, ListenerManager, WorkerListeners,
    tcp_proxy::{TcpCluster, TcpProxy, TcpProxyConfig},
};
use nuncio_rt::Address;
use nuncio_stats::{
    CounterId, Lane, Store,
    tables::{
        cluster::{self, CLUSTER},
        tcp_proxy::{self, TCP},
    },
};
use nuncio_upstream::{
    ClusterConfig, ClusterManager, WorkerClusters,
    config::{CircuitBreakers, Endpoint, EndpointAddress, LocalityEndpoints, Thresholds},
    dns::StubResolvers,
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Keeps what a log line would say.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<String>>);

impl AccessLogger for Kept {
    fn log(&self, stream: &StreamCx) {
        let info = &stream.info;
        let host = info.upstream.host.as_ref().map_or("-".into(), |host| host.address.to_string());
        let line = format!(
            "{} cl={} up={host} rx={} tx={} fail={}",
            info.flags,
            info.upstream.cluster.as_ref().map_or("-", |cluster| &cluster.name),
            info.bytes_received,
            info.bytes_sent,
            info.upstream.transport_failure
        );
        self.0.lock().expect("test lock").push(line);
    }
}

struct Bench {
    store: Arc<Store>,
    listeners: ListenerManager,
    clusters: ClusterManager,
    log: Arc<Kept>,
}

impl Bench {
    async fn new(hosts: &[(&str, SocketAddr)]) -> Bench {
        let store = Store::new(2);
        let clusters = ClusterManager::new(store.clone(), StubResolvers::new(&store));
        let worker = Worker::new(0, Lane::worker(0));
        nuncio_rt::spawn(worker.timers.clone().drive());
        nuncio_rt::spawn(WorkerClusters::start(&worker).follow(clusters.subscribe()));
        let (listeners, inboxes) = ListenerManager::new(&store, 1, DrainPace::default(), None);
        inboxes.into_iter().for_each(|inbox| drop(WorkerListeners::start(&worker, inbox)));
        let bench = Bench { store, listeners, clusters, log: Arc::default() };
        for (name, host) in hosts {
            bench.put(at(name, *host)).await;
        }
        bench
    }

    async fn put(&self, config: ClusterConfig) {
        self.clusters.put(config);
        self.clusters.ready().await;
    }

    /// Starts a proxy; where it listens.
    async fn proxy(&self, mut config: TcpProxyConfig) -> SocketAddr {
        config.access_logs.push(self.log.clone());
        let mut listener = ListenerConfig::new("tcp", ListenAddress::ip(([127, 0, 0, 1], 0).into()));
        listener.filter_chains.push(Arc::new(FilterChainConfig::plain(TcpProxy::new(config, &self.store))));
        self.listeners.apply(vec![Arc::new(listener)]).expect("listens");
        let Some(Address::Ip(local)) = self.listeners.statuses()[0].locals.first().cloned() else { unreachable!("IP") };
        local
    }

    fn tcp(&self, id: CounterId) -> u64 {
        self.store.scope("tcp.t.", &TCP).counter(id)
    }

    fn cluster(&self, name: &str, id: CounterId) -> u64 {
        self.store.scope(&format!("cluster.{name}."), &CLUSTER).counter(id)
    }

    async fn lines(&self, n: usize) -> Vec<String> {
        until("logged", || self.log.0.lock().expect("test lock").len() >= n).await;
        self.log.0.lock().expect("test lock").clone()
    }
}

fn at(name: &str, host: SocketAddr) -> ClusterConfig {
    let mut config = ClusterConfig::named(name);
    let endpoints = vec![Endpoint::at(EndpointAddress::Resolved(Address::Ip(host)))];
    Arc::make_mut(&mut config.assignment).localities.push(LocalityEndpoints { endpoints, ..LocalityEndpoints::default() });
    config
}

fn run(test: impl Future<Output = ()> + 'static) {
    nuncio_rt::block_on_worker(async {
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs");
    })
    .expect("the test failed");
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    unreachable!("never: {what}");
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || drop(tell.send(work())));
    told.await.expect("the thread")
}

/// Sends everything back, turned to upper case, and `.` at the end of input; then closes.
fn shouting_host() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut block = vec![0; 65536];
                while let Ok(n) = stream.read(&mut block) {
                    block[..n].make_ascii_uppercase();
                    let answer = if n == 0 { b"." } else { &block[..n] };
                    if stream.write_all(answer).is_err() || n == 0 {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn silent_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port nobody listens on")
}

/// Sends `bytes`, half-closes, and reads to the end.
fn talk(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).expect("connect");
    let mut reader = stream.try_clone().expect("clone");
    let answer = std::thread::spawn(move || {
        let mut got = Vec::new();
        // A reset is an end too.
        let _ = reader.read_to_end(&mut got);
        got
    });
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    answer.join().expect("reader")
}

#[test]
fn bytes_pass_both_ways_and_half_closes_are_passed_on() {
    run(async {
        let host = shouting_host();
        let bench = Bench::new(&[("c", host)]).await;
        let port = bench.proxy(TcpProxyConfig::to_cluster("t", "c")).await;
        assert_eq!(on_thread(move || talk(port, b"hello")).await, b"HELLO.");
        assert_eq!(bench.lines(1).await, [format!("- cl=c up={host} rx=5 tx=6 fail=")]);
        assert_eq!(bench.tcp(tcp_proxy::DOWNSTREAM_CX_TOTAL), 1);
        assert_eq!(bench.tcp(tcp_proxy::DOWNSTREAM_CX_RX_BYTES_TOTAL), 5);
        assert_eq!(bench.tcp(tcp_proxy::DOWNSTREAM_CX_TX_BYTES_TOTAL), 6);
        for (id, count) in [
            (cluster::UPSTREAM_CX_TOTAL, 1),
            (cluster::UPSTREAM_RQ_TOTAL, 1),
            (cluster::UPSTREAM_RQ_PENDING_TOTAL, 1),
            (cluster::UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ, 1),
            (cluster::UPSTREAM_CX_TX_BYTES_TOTAL, 5),
            (cluster::UPSTREAM_CX_RX_BYTES_TOTAL, 6),
        ] {
            assert_eq!(bench.cluster("c", id), count, "{id:?}");
        }
    });
}

#[test]
fn more_than_any_buffer_holds_arrives_whole() {
    run(async {
        let bench = Bench::new(&[("c", shouting_host())]).await;
        let port = bench.proxy(TcpProxyConfig::to_cluster("t", "c")).await;
        let sent: Vec<u8> = (0..4_u32 << 20).map(|n| (n % 26) as u8 + b'a').collect();
        let mut expected = sent.to_ascii_uppercase();
        expected.push(b'.');
        assert!(on_thread(move || talk(port, &sent)).await == expected);
    });
}

#[test]
fn a_refused_connection_is_tried_as_often_as_allowed() {
    run(async {
        let host = silent_port();
        let bench = Bench::new(&[("down", host)]).await;
        let config = TcpProxyConfig { max_connect_attempts: 2, ..TcpProxyConfig::to_cluster("t", "down") };
        let port = bench.proxy(config).await;
        assert_eq!(on_thread(move || talk(port, b"hello")).await, b"");
        let fail = "delayed_connect_error:_Connection_refused";
        assert_eq!(bench.lines(1).await, [format!("UF,URX cl=down up={host} rx=0 tx=0 fail={fail}")]);
        for (id, count) in [
            (cluster::UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED, 1),
            (cluster::UPSTREAM_CX_CONNECT_FAIL, 2),
            (cluster::UPSTREAM_CX_DESTROY, 2),
            (cluster::UPSTREAM_CX_DESTROY_REMOTE, 2),
            (cluster::UPSTREAM_CX_TOTAL, 2),
            (cluster::UPSTREAM_RQ_PENDING_FAILURE_EJECT, 2),
            (cluster::UPSTREAM_RQ_PENDING_TOTAL, 2),
            (cluster::UPSTREAM_RQ_TOTAL, 0),
        ] {
            assert_eq!(bench.cluster("down", id), count, "{id:?}");
        }
    });
}

#[test]
fn without_a_cluster_or_a_host_the_client_is_closed_and_the_log_says_why() {
    run(async {
        let bench = Bench::new(&[]).await;
        bench.put(ClusterConfig::named("empty")).await;
        let port = bench.proxy(TcpProxyConfig::to_cluster("t", "nowhere")).await;
        assert_eq!(on_thread(move || talk(port, b"")).await, b"");
        assert_eq!(bench.lines(1).await[0], "NC cl=- up=- rx=0 tx=0 fail=");
        assert_eq!(bench.tcp(tcp_proxy::DOWNSTREAM_CX_NO_ROUTE), 1);
        let port = bench.proxy(TcpProxyConfig::to_cluster("t", "empty")).await;
        assert_eq!(on_thread(move || talk(port, b"")).await, b"");
        assert_eq!(bench.lines(2).await[1], "UH cl=empty up=- rx=0 tx=0 fail=");
        assert_eq!(bench.cluster("empty", cluster::UPSTREAM_CX_NONE_HEALTHY), 1);
    });
}

#[test]
fn a_full_cluster_takes_no_more_connections() {
    run(async {
        let bench = Bench::new(&[]).await;
        let limits = Thresholds { max_connections: 1, ..Thresholds::default() };
        let circuit_breakers = CircuitBreakers { default: limits, ..CircuitBreakers::default() };
        bench.put(ClusterConfig { circuit_breakers: Arc::new(circuit_breakers), ..at("c", shouting_host()) }).await;
        let port = bench.proxy(TcpProxyConfig::to_cluster("t", "c")).await;
        let mut first = on_thread(move || {
            let mut first = TcpStream::connect(port).expect("connect");
            first.write_all(b"a").expect("write");
            first.read_exact(&mut [0]).expect("echo");
            first
        })
        .await;
        assert_eq!(on_thread(move || talk(port, b"")).await, b"");
        assert_eq!(bench.lines(1).await[0], "UO cl=c up=- rx=0 tx=0 fail=");
        assert_eq!(bench.cluster("c", cluster::UPSTREAM_CX_OVERFLOW), 1);
        on_thread(move || first.write_all(b"b").expect("the first goes on")).await;
    });
}

#[test]
fn idle_and_old_connections_are_closed() {
    run(async {
        let bench = Bench::new(&[("c", shouting_host())]).await;
        let idle = TcpProxyConfig {
            idle_timeout: Some(Duration::from_millis(30)),
            ..TcpProxyConfig::to_cluster("t", "c")
        };
        let port = bench.proxy(idle).await;
        let read_to_end = move |port| {
            let mut got = Vec::new();
            TcpStream::connect(port).expect("connect").read_to_end(&mut got).map(|_| got)
        };
        assert_eq!(on_thread(move || read_to_end(port)).await.expect("an orderly end"), b"");
        until("counted", || bench.tcp(tcp_proxy::IDLE_TIMEOUT) == 1).await;
        let old = TcpProxyConfig {
            max_duration: Some(Duration::from_millis(30)),
            ..TcpProxyConfig::to_cluster("t", "c")
        };
        let port = bench.proxy(old).await;
        assert_eq!(on_thread(move || read_to_end(port)).await.expect("an orderly end"), b"");
        until("counted", || bench.tcp(tcp_proxy::MAX_DOWNSTREAM_CONNECTION_DURATION) == 1).await;
        assert!(bench.lines(2).await[1].starts_with("DT cl=c"));
    });
}

#[test]
fn clusters_get_connections_by_their_weight() {
    run(async {
        let bench = Bench::new(&[("a", shouting_host()), ("b", shouting_host())]).await;
        let mut config = TcpProxyConfig::to_cluster("t", "a");
        let part = |name: &str, weight| TcpCluster { name: name.into(), weight, metadata_match: None };
        config.clusters = vec![part("a", 90), part("b", 10)];
        let port = bench.proxy(config).await;
        on_thread(move || (0..200).for_each(|_| assert_eq!(talk(port, b"x"), b"X."))).await;
        let (a, b) = (bench.cluster("a", cluster::UPSTREAM_CX_TOTAL), bench.cluster("b", cluster::UPSTREAM_CX_TOTAL));
        assert!(a + b == 200 && a > 150 && b > 2, "{a} and {b}");
    });
}
