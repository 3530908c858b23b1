//! Limits, queues, and the life of idle connections.

mod support;

use nuncio_stats::tables::cluster as stat;
use nuncio_upstream::{ResetReason, Resource, RoutingPriority};
use std::sync::Arc;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use support::*;

/// Polls until every acquisition has an outcome or waits.
async fn poll_once(acquire: &mut nuncio_upstream::Acquire) -> Option<Result<nuncio_upstream::UpstreamConn, ResetReason>> {
    poll_fn(|cx| match acquire.poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome.map_err(|failure| failure.reset.reason))),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn one_connection_serves_three_requests_in_turn() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| ok("x")).await;
        let mut config = cluster("c", &[server]);
        Arc::make_mut(&mut config.circuit_breakers).default.max_connections = 1;
        let cluster = bench.put(config).await;
        let host = pick(&cluster);
        let mut first = acquire(&host).await.expect("a connection");
        let mut second = host.acquire(RoutingPriority::Default, nuncio_core::Protocol::Http11);
        let mut third = host.acquire(RoutingPriority::Default, nuncio_core::Protocol::Http11);
        assert!(poll_once(&mut second).await.is_none() && poll_once(&mut third).await.is_none());
        assert_eq!(bench.gauge("c", stat::UPSTREAM_RQ_PENDING_ACTIVE), 2);
        assert_eq!(bench.gauge("c", stat::CIRCUIT_BREAKERS_DEFAULT_CX_OPEN), 1);
        exchange(&mut first, &request("GET", "/1")).await.expect("an answer");
        first.finish();
        // First come, first served.
        assert!(poll_once(&mut third).await.is_none());
        let mut conn = poll_fn(|cx| second.poll(cx)).await.expect("a connection");
        exchange(&mut conn, &request("GET", "/2")).await.expect("an answer");
        conn.finish();
        let mut conn = poll_fn(|cx| third.poll(cx)).await.expect("a connection");
        exchange(&mut conn, &request("GET", "/3")).await.expect("an answer");
        conn.finish();
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_TOTAL), 1);
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_OVERFLOW), 3);
        assert_eq!(bench.counter("c", stat::UPSTREAM_RQ_PENDING_TOTAL), 3);
        assert_eq!(bench.gauge("c", stat::UPSTREAM_RQ_PENDING_ACTIVE), 0);
    });
}

#[test]
fn too_many_waiting_and_too_many_active_requests_overflow() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| ok("x")).await;
        let mut config = cluster("c", &[server]);
        Arc::make_mut(&mut config.circuit_breakers).default.max_connections = 1;
        Arc::make_mut(&mut config.circuit_breakers).default.max_pending_requests = 1;
        let pending = bench.put(config).await;
        let host = pick(&pending);
        let _busy = acquire(&host).await.expect("a connection");
        let mut waiting = host.acquire(RoutingPriority::Default, nuncio_core::Protocol::Http11);
        assert!(poll_once(&mut waiting).await.is_none());
        let failure = acquire(&host).await.expect_err("the queue is full");
        assert_eq!((failure.reset.reason, failure.host.is_none()), (ResetReason::Overflow, true));
        assert_eq!(bench.counter("c", stat::UPSTREAM_RQ_PENDING_OVERFLOW), 1);
        drop(waiting);
        assert_eq!(bench.counter("c", stat::UPSTREAM_RQ_CANCELLED), 1);

        let mut config = cluster("r", &[server]);
        Arc::make_mut(&mut config.circuit_breakers).default.max_requests = 1;
        let requests = bench.put(config).await;
        let host = pick(&requests);
        let _busy = acquire(&host).await.expect("a connection");
        assert_eq!(bench.gauge("r", stat::CIRCUIT_BREAKERS_DEFAULT_RQ_OPEN), 1);
        let failure = acquire(&host).await.expect_err("one request only");
        assert_eq!((failure.reset.reason, failure.host.is_some()), (ResetReason::Overflow, true));
        assert_eq!(bench.counter("r", stat::UPSTREAM_RQ_ACTIVE_OVERFLOW), 1);
        assert_eq!(bench.counter("r", stat::UPSTREAM_CX_TOTAL), 2);
        // HIGH has limits, and connections, of its own.
        let mut high = host.acquire(RoutingPriority::High, nuncio_core::Protocol::Http11);
        poll_fn(|cx| high.poll(cx)).await.expect("a connection");
    });
}

#[test]
fn a_connection_whose_request_gave_up_becomes_idle() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| ok("x")).await;
        let cluster = bench.put(cluster("c", &[server])).await;
        let host = pick(&cluster);
        let mut gone = host.acquire(RoutingPriority::Default, nuncio_core::Protocol::Http11);
        assert!(poll_once(&mut gone).await.is_none());
        drop(gone);
        get(&cluster, "/").await.expect("an answer");
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_TOTAL), 1);
        assert_eq!(bench.counter("c", stat::UPSTREAM_RQ_CANCELLED), 1);
    });
}

#[test]
fn idle_connections_that_the_peer_closes_are_noticed_at_once() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|head| if head.contains("/bye") { ok("x") + "!close" } else { ok("x") }).await;
        let cluster = bench.put(cluster("c", &[server])).await;
        get(&cluster, "/bye").await.expect("an answer");
        let stats = bench.stats("c");
        until("the close is seen", || stats.gauge(stat::UPSTREAM_CX_ACTIVE) == 0).await;
        assert_eq!(stats.counter(stat::UPSTREAM_CX_DESTROY_REMOTE), 1);
        assert_eq!(stats.counter(stat::UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ), 0);
        get(&cluster, "/").await.expect("an answer");
    });
}

#[test]
fn idle_and_aged_connections_are_closed() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| ok("x")).await;
        let mut config = cluster("i", &[server]);
        Arc::make_mut(&mut config.http).idle_timeout = Some(Duration::from_millis(30));
        let idle = bench.put(config).await;
        let mut config = cluster("d", &[server]);
        Arc::make_mut(&mut config.http).max_connection_duration = Some(Duration::from_millis(30));
        let aged = bench.put(config).await;
        get(&idle, "/").await.expect("an answer");
        get(&aged, "/").await.expect("an answer");
        let (i, d) = (bench.stats("i"), bench.stats("d"));
        until("idle is over", || i.counter(stat::UPSTREAM_CX_IDLE_TIMEOUT) == 1).await;
        until("life is over", || d.counter(stat::UPSTREAM_CX_MAX_DURATION_REACHED) == 1).await;
        assert_eq!((i.gauge(stat::UPSTREAM_CX_ACTIVE), d.gauge(stat::UPSTREAM_CX_ACTIVE)), (0, 0));
        assert_eq!(i.counter(stat::UPSTREAM_CX_DESTROY_LOCAL), 1);
    });
}

#[test]
fn a_connection_carries_no_more_requests_than_allowed() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| ok("x")).await;
        let mut config = cluster("c", &[server]);
        Arc::make_mut(&mut config.http).max_requests_per_connection = Some(2);
        let cluster = bench.put(config).await;
        for _ in 0..5 {
            get(&cluster, "/").await.expect("an answer");
        }
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_TOTAL), 3);
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_MAX_REQUESTS), 2);
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_DESTROY_LOCAL), 2);
    });
}

#[test]
fn a_dropped_request_closes_its_connection_and_frees_its_place() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| String::new()).await;
        let mut config = cluster("c", &[server]);
        Arc::make_mut(&mut config.circuit_breakers).default.max_connections = 1;
        let cluster = bench.put(config).await;
        let host = pick(&cluster);
        let conn = acquire(&host).await.expect("a connection");
        let mut waiting = host.acquire(RoutingPriority::Default, nuncio_core::Protocol::Http11);
        assert!(poll_once(&mut waiting).await.is_none());
        drop(conn);
        poll_fn(|cx| waiting.poll(cx)).await.expect("another connection");
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ), 2);
        assert_eq!(bench.gauge("c", stat::UPSTREAM_RQ_ACTIVE), 0);
        assert_eq!(cluster.info().breakers.current(RoutingPriority::Default, Resource::Requests), 0);
        assert_eq!(cluster.info().breakers.current(RoutingPriority::Default, Resource::Connections), 0);
    });
}

#[test]
fn connecting_takes_no_longer_than_allowed() {
    run(async {
        let bench = Bench::new();
        // A full backlog of one: further connections are not answered.
        let full = tokio::net::TcpSocket::new_v4().expect("a socket");
        full.bind(([127, 0, 0, 1], 0).into()).expect("bound");
        let full = full.listen(1).expect("listens");
        let address = full.local_addr().expect("an address");
        let _filling: Vec<_> = (0..8)
            .map(|_| tokio::time::timeout(Duration::from_millis(50), tokio::net::TcpStream::connect(address)))
            .map(tokio::task::spawn_local)
            .collect();
        tokio::time::sleep(Duration::from_millis(60)).await;
        let mut config = cluster("c", &[address]);
        config.connect_timeout = Duration::from_millis(40);
        let cluster = bench.put(config).await;
        let mut reasons = Vec::new();
        for _ in 0..3 {
            reasons.extend(acquire(&pick(&cluster)).await.err().map(|failure| failure.reset.reason));
        }
        assert!(reasons.contains(&ResetReason::ConnectionTimeout), "{reasons:?}");
        let timeouts = bench.counter("c", stat::UPSTREAM_CX_CONNECT_TIMEOUT);
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_CONNECT_FAIL), timeouts);
        assert!(bench.counter("c", stat::UPSTREAM_CX_DESTROY_LOCAL) >= timeouts);
    });
}
