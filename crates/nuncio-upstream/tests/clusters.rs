//! Clusters that come, change and go; hosts found by name; health checks; several workers.

mod support;

use nuncio_core::Worker;
use nuncio_stats::tables::{cluster as stat, cluster_manager, health_check};
use nuncio_stats::{Lane, Store};
use nuncio_upstream::config::{
    Discovery, DnsConfig, Endpoint, EndpointAddress, LocalityEndpoints,
};
use nuncio_upstream::dns::{Answer, LookupError};
use nuncio_upstream::health::{HealthCheckConfig, HealthCheckKind, HttpHealthCheck, TcpHealthCheck};
use nuncio_upstream::{
    Change, ClusterConfig, ClusterManager, HealthFlags, HostStat, PickCx, Resource, RoutingPriority, WorkerClusters,
};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use support::*;

const MS: Duration = Duration::from_millis(1);

fn found(last: &[u8]) -> Answer {
    Answer::Found { addresses: last.iter().map(|n| IpAddr::from([127, 0, 0, *n])).collect(), ttl: None }
}

fn named(name: &str, logical: bool) -> ClusterConfig {
    let dns = DnsConfig { refresh_rate: 2 * MS, ..DnsConfig::default() };
    let mut config = ClusterConfig::named(name);
    config.discovery = if logical { Discovery::LogicalDns(dns) } else { Discovery::StrictDns(dns) };
    let endpoints = vec![Endpoint::at(EndpointAddress::Name { host: "a.test".into(), port: 80 })];
    Arc::make_mut(&mut config.assignment).localities.push(LocalityEndpoints { endpoints, ..LocalityEndpoints::default() });
    config
}

fn addresses(manager: &ClusterManager, cluster: &str) -> Vec<String> {
    let view = manager.view().into_iter().find(|view| &**view.info.name() == cluster).expect("the cluster");
    view.hosts.hosts().map(|host| host.address.to_string()).collect()
}

#[test]
fn a_changed_cluster_replaces_the_old_one_and_an_equal_one_does_not() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| ok("x")).await;
        let slot = bench.clusters.slot("c");
        assert!(slot.get().is_none());
        let config = cluster("c", &[server]);
        let first = bench.put(config.clone()).await;
        get(&first, "/").await.expect("an answer");
        assert_eq!(bench.manager.put(config.clone()), Change::None);
        let changed = ClusterConfig { connect_timeout: Duration::from_secs(1), ..config };
        assert_eq!(bench.manager.put(changed), Change::Modified);
        settle().await;
        let second = slot.get().expect("the cluster");
        assert!(!Rc::ptr_eq(&first, &second));
        let stats = bench.stats("c");
        assert_eq!(stats.gauge(stat::UPSTREAM_CX_ACTIVE), 0, "idle connections of the old one are closed");
        get(&second, "/").await.expect("an answer");
        assert_eq!(stats.counter(stat::UPSTREAM_RQ_TOTAL), 2, "statistics go on");
        assert!(bench.manager.remove("c"));
        settle().await;
        assert!(slot.get().is_none() && bench.clusters.by_name("c").is_none());
        let counts = bench.store.scope("cluster_manager.", &cluster_manager::CLUSTER_MANAGER);
        assert_eq!(counts.counter(cluster_manager::CLUSTER_ADDED), 1);
        assert_eq!(counts.counter(cluster_manager::CLUSTER_MODIFIED), 1);
        assert_eq!(counts.counter(cluster_manager::CLUSTER_REMOVED), 1);
        assert_eq!(counts.gauge(cluster_manager::ACTIVE_CLUSTERS), 0);
    });
}

#[test]
fn replacing_all_clusters_removes_those_that_are_gone() {
    run(async {
        let bench = Bench::new();
        bench.manager.replace_static(vec![cluster("a", &[]), cluster("b", &[])]);
        bench.manager.replace_static(vec![cluster("b", &[]), cluster("c", &[])]);
        let names: Vec<String> = bench.manager.view().iter().map(|view| view.info.name().to_string()).collect();
        assert_eq!(names, ["b", "c"]);
        settle().await;
        for thread in ["main_thread", "worker_0"] {
            let scope = bench.store.scope(
                &format!("thread_local_cluster_manager.{thread}."),
                &cluster_manager::THREAD_CLUSTERS,
            );
            assert_eq!(scope.gauge(cluster_manager::CLUSTERS_INFLATED), 2, "{thread}");
        }
    });
}

#[test]
fn names_are_followed_and_a_silent_resolver_changes_nothing() {
    run(async {
        let store = Store::new(1);
        let told = Told(Rc::new(RefCell::new(found(&[1, 2]))), Rc::default());
        let manager = ClusterManager::new(store.clone(), Rc::new(told.clone()));
        manager.put(named("s", false));
        manager.put(named("l", true));
        manager.ready().await;
        assert_eq!(addresses(&manager, "s"), ["127.0.0.1:80", "127.0.0.2:80"]);
        assert_eq!(addresses(&manager, "l"), ["127.0.0.1:80"]);
        let kept = manager.view()[1].hosts.priorities[0].hosts[1].clone();
        *told.0.borrow_mut() = found(&[2, 3]);
        until("the new addresses", || addresses(&manager, "s") == ["127.0.0.2:80", "127.0.0.3:80"]).await;
        assert!(Arc::ptr_eq(&kept, &manager.view()[1].hosts.priorities[0].hosts[0]), "hosts that stay stay themselves");
        until("the new address", || addresses(&manager, "l") == ["127.0.0.2:80"]).await;
        *told.0.borrow_mut() = Answer::Failed(LookupError::Timeout);
        let asked = told.1.get();
        until("more questions", || told.1.get() > asked + 4).await;
        assert_eq!(addresses(&manager, "s").len(), 2);
        *told.0.borrow_mut() = Answer::NotFound;
        until("no hosts", || addresses(&manager, "s").is_empty()).await;
        assert_eq!(addresses(&manager, "l").len(), 1);
        let stats = store.scope("cluster.s.", &stat::CLUSTER);
        assert_eq!(stats.counter(stat::MEMBERSHIP_CHANGE), 3);
        assert_eq!(stats.gauge(stat::MEMBERSHIP_TOTAL), 0);
        assert_eq!(stats.counter(stat::UPDATE_EMPTY), 0);
        let counted = [stat::UPDATE_ATTEMPT, stat::UPDATE_SUCCESS, stat::UPDATE_FAILURE].map(|id| stats.counter(id));
        let (attempts, good, bad) = counted.into();
        assert_eq!(attempts, good + bad);
        until("an answer that changes nothing", || stats.counter(stat::UPDATE_NO_REBUILD) > 0).await;
    });
}

fn checked(name: &str, hosts: &[std::net::SocketAddr], kind: HealthCheckKind) -> ClusterConfig {
    let mut check = HealthCheckConfig::new(500 * MS, 2 * MS, kind);
    check.no_traffic_interval = 2 * MS;
    (check.unhealthy_threshold, check.healthy_threshold) = (2, 2);
    let mut config = cluster(name, hosts);
    config.health_checks.push(check);
    config.common_lb.update_merge_window = Duration::ZERO;
    config.common_lb.healthy_panic_threshold = 0.0;
    config
}

#[test]
fn hosts_serve_once_checked_and_while_their_checks_pass() {
    run(async {
        let bench = Bench::new();
        let well = Rc::new(Cell::new(true));
        let say = well.clone();
        let (server, seen) = serve(move |_| match say.get() {
            true => ok("fine"),
            false => "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        })
        .await;
        let cluster = bench.put(checked("h", &[server], HealthCheckKind::Http(HttpHealthCheck::get("/up")))).await;
        assert_eq!(seen.0.borrow()[0], "GET /up HTTP/1.1\r\nhost: h\r\nuser-agent: Envoy/HC\r\n\r\n");
        assert!(cluster.pick(&PickCx::default()).is_some());
        well.set(false);
        until("it is ejected", || cluster.pick(&PickCx::default()).is_none()).await;
        let host = cluster.hosts().priorities[0].hosts[0].clone();
        assert_eq!(host.state.flags().to_string(), "/failed_active_hc");
        well.set(true);
        until("it is back", || cluster.pick(&PickCx::default()).is_some()).await;
        let checks = bench.store.scope("cluster.h.health_check.", &health_check::HEALTH_CHECK);
        assert_eq!(checks.gauge(health_check::HEALTHY), 1);
        assert_eq!(checks.counter(health_check::NETWORK_FAILURE), 0);
        assert!(checks.counter(health_check::FAILURE) >= 1 && checks.counter(health_check::SUCCESS) >= 3);
        assert_eq!(bench.stats("h").gauge(stat::MEMBERSHIP_HEALTHY), 1);
        assert_eq!(bench.stats("h").counter(stat::MEMBERSHIP_CHANGE), 1);
        assert!(bench.stats("h").counter(stat::UPSTREAM_CX_NONE_HEALTHY) >= 1);
        assert_eq!(host.state.stat(HostStat::CxTotal), 0, "checks are not traffic");
    });
}

#[test]
fn a_host_that_cannot_be_reached_does_not_hold_up_the_start() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| ok("x")).await;
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.and_then(|l| l.local_addr()).expect("an address");
        let cluster = bench.put(checked("t", &[server, gone], HealthCheckKind::Tcp(TcpHealthCheck::default()))).await;
        let flags: Vec<String> = cluster.hosts().hosts().map(|host| host.state.flags().to_string()).collect();
        assert_eq!(flags, ["healthy", "/failed_active_hc"]);
        for _ in 0..10 {
            assert_eq!(pick(&cluster).host.address.to_string(), server.to_string());
        }
        let checks = bench.store.scope("cluster.t.health_check.", &health_check::HEALTH_CHECK);
        assert!(checks.counter(health_check::NETWORK_FAILURE) >= 1);
    });
}

#[test]
fn a_host_no_longer_resolved_stays_while_its_checks_pass() {
    run(async {
        let store = Store::new(1);
        let (server, _) = serve(|head| if head.contains("/up") { ok("") } else { String::new() }).await;
        let told = Told(Rc::new(RefCell::new(found(&[1]))), Rc::default());
        let manager = ClusterManager::new(store.clone(), Rc::new(told.clone()));
        let mut config = named("k", false);
        Arc::make_mut(&mut config.assignment).localities[0].endpoints[0].address =
            EndpointAddress::Name { host: "a.test".into(), port: server.port() };
        config.health_checks = checked("k", &[], HealthCheckKind::Http(HttpHealthCheck::get("/up"))).health_checks;
        manager.put(config);
        manager.ready().await;
        *told.0.borrow_mut() = Answer::NotFound;
        let flags = || manager.view()[0].hosts.hosts().map(|host| host.state.flags()).next();
        until("it is on notice", || flags().is_some_and(|f| f.has(HealthFlags::PENDING_DYNAMIC_REMOVAL))).await;
        assert_eq!(store.scope("cluster.k.", &stat::CLUSTER).gauge(stat::MEMBERSHIP_TOTAL), 1);
    });
}

/// One worker thread: so many requests, one after the other; returns how many got through.
fn hammer(feed: tokio::sync::mpsc::UnboundedReceiver<nuncio_upstream::ClusterUpdate>, index: u16, n: usize) -> usize {
    let got = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = got.clone();
    nuncio_rt::block_on_worker(async move {
        let worker = Worker::new(usize::from(index), Lane::worker(index));
        nuncio_rt::spawn(worker.timers.clone().drive());
        let clusters = WorkerClusters::start(&worker);
        nuncio_rt::spawn(clusters.clone().follow(feed));
        settle().await;
        let cluster = clusters.by_name("c").expect("the cluster");
        for _ in 0..n {
            let limit = cluster.info().breakers.current(RoutingPriority::Default, Resource::Requests);
            assert!(limit <= 4, "one request per worker");
            if get(&cluster, "/").await.is_ok() {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    })
    .expect("the worker ran");
    got.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn four_workers_share_limits_and_add_up_their_counts() {
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let main = std::thread::spawn(move || {
        run(async move {
            let store = Store::new(5);
            let (server, _) = serve(|_| ok("x")).await;
            let manager = ClusterManager::new(store.clone(), Rc::new(Told(Rc::new(RefCell::new(found(&[]))), Rc::default())));
            let mut config = cluster("c", &[server]);
            config.lb = nuncio_upstream::config::LbConfig::LeastRequest {
                choice_count: 2,
                active_request_bias: 1.0,
                full_scan: false,
                slow_start: None,
            };
            manager.put(config);
            manager.ready().await;
            let feeds: Vec<_> = (0..4).map(|_| manager.subscribe()).collect();
            tell.send((store.clone(), feeds)).expect("the test listens");
            let _ = stopped.await;
            manager.refresh_gauges();
            let host = manager.view()[0].hosts.priorities[0].hosts[0].clone();
            assert_eq!((host.state.stat(HostStat::RqTotal), host.state.stat(HostStat::RqActive)), (400, 0));
            assert_eq!(host.state.active_requests(), 0);
            assert_eq!(host.state.stat(HostStat::CxTotal), 4);
            let stats = store.scope("cluster.c.", &stat::CLUSTER);
            assert_eq!(stats.counter(stat::UPSTREAM_RQ_TOTAL), 400);
            assert_eq!(stats.gauge(stat::CIRCUIT_BREAKERS_DEFAULT_RQ_OPEN), 0);
            assert_eq!(stats.gauge(stat::UPSTREAM_RQ_ACTIVE), 0);
        });
    });
    let (_store, feeds) = told.recv().expect("the main thread starts");
    let workers: Vec<_> = feeds
        .into_iter()
        .enumerate()
        .map(|(i, feed)| std::thread::spawn(move || hammer(feed, i as u16, 100)))
        .collect();
    let done: usize = workers.into_iter().map(|worker| worker.join().expect("the worker ends")).sum();
    assert_eq!(done, 400);
    stop.send(()).expect("the main thread waits");
    main.join().expect("the main thread agrees");
}
