//! Clusters that choose hosts in a way of their own, and assignments that change.

mod support;

use nuncio_core::NameLookup;
use nuncio_rt::Address;
use nuncio_stats::Store;
use nuncio_stats::tables::{cluster as stat, dns_cache};
use nuncio_upstream::config::{
    Assignment, Discovery, DnsCacheConfig, DnsConfig, DynamicConfig, EdsConfig, Endpoint, EndpointAddress, EndpointHealth, LocalityEndpoints,
    OriginalDstConfig,
};
use nuncio_upstream::dns::{Answer, LookupError};
use nuncio_upstream::{ClusterConfig, ClusterManager, EndpointFiles, FileFault, PickCx, ReadEndpoints, WorkerCluster, WorkerClusters};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use support::*;

const MS: Duration = Duration::from_millis(1);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn port(cluster: &WorkerCluster, cx: &PickCx<'_>) -> Option<u16> {
    match &*cluster.pick(cx)?.host.address {
        Address::Ip(address) => Some(address.port()),
        Address::Pipe(_) | Address::Internal(_) => None,
    }
}

fn of(discovery: Discovery, name: &str) -> ClusterConfig {
    ClusterConfig { discovery, ..ClusterConfig::named(name) }
}

fn sick(name: &str, port: u16) -> ClusterConfig {
    let mut config = cluster(name, &[at(port)]);
    Arc::make_mut(&mut config.assignment).localities[0].endpoints[0].health = EndpointHealth::Unhealthy;
    config
}

#[test]
fn an_aggregate_follows_its_members() {
    run(async {
        let bench = Bench::new();
        let names: Arc<[Arc<str>]> = ["first", "second"].map(Arc::from).into();
        let whole = bench.put(of(Discovery::Aggregate(names), "whole")).await;
        assert_eq!(port(&whole, &PickCx::default()), None, "there are no members yet");
        assert_eq!(bench.counter("whole", stat::UPSTREAM_CX_NONE_HEALTHY), 1);
        bench.put(cluster("second", &[at(2)])).await;
        assert_eq!(port(&whole, &PickCx::default()), Some(2));
        bench.put(cluster("first", &[at(1)])).await;
        assert_eq!(port(&whole, &PickCx::default()), Some(1));
        let host = whole.pick(&PickCx::default()).expect("a host");
        assert_eq!((&**host.cluster().info.name(), whole.priority_of(&host), whole.priorities()), ("first", 0, 2));
        bench.put(sick("first", 1)).await;
        assert_eq!(port(&whole, &PickCx::default()), Some(2), "the first cannot carry anything");
        let loads = whole.loads_without(&[false, true]);
        assert!(loads.is_none(), "what is left is sick: {loads:?}");
        assert!(bench.manager.remove("second"));
        settle().await;
        assert_eq!(port(&whole, &PickCx::default()), Some(1), "in panic the sick one is used");
    });
}

#[test]
fn a_composite_may_contain_itself_and_passes_over_what_is_not_there() {
    run(async {
        let bench = Bench::new();
        let names: Arc<[Arc<str>]> = ["nowhere", "whole", "first", "second"].map(Arc::from).into();
        let whole = bench.put(of(Discovery::Composite(names), "whole")).await;
        bench.put(cluster("first", &[at(1)])).await;
        bench.put(cluster("second", &[at(2)])).await;
        let ports: Vec<_> = (1..=5).map(|attempt| port(&whole, &PickCx { attempt, ..PickCx::default() })).collect();
        assert_eq!(ports, [Some(1), Some(1), Some(1), Some(2), None]);
    });
}

#[test]
fn hosts_made_on_demand_are_shown_to_all_and_go_when_they_are_not_used() {
    run(async {
        let bench = Bench::new();
        let config = OriginalDstConfig { header: None, metadata: None, port: None, cleanup_interval: 30 * MS };
        let made = bench.put(of(Discovery::OriginalDst(Box::new(config)), "made")).await;
        let address = Address::Ip(at(7));
        let wanted = PickCx { destination: Some(&address), ..PickCx::default() };
        assert!(made.pick(&PickCx::default()).is_none());
        let first = made.pick(&wanted).expect("a host");
        assert_eq!(&*first.host.hostname, "made127.0.0.1:7");
        until("the main thread has it", || bench.gauge("made", stat::MEMBERSHIP_TOTAL) == 1).await;
        settle().await;
        assert!(Rc::ptr_eq(&first, &made.pick(&wanted).expect("a host")), "the worker keeps its own");
        until("it goes", || bench.gauge("made", stat::MEMBERSHIP_TOTAL) == 0).await;
        settle().await;
        assert!(!Rc::ptr_eq(&first, &made.pick(&wanted).expect("another host")));
    });
}

fn found(last: u8) -> Answer {
    Answer::Found { addresses: vec![IpAddr::from([127, 0, 0, last])], ttl: None }
}

fn dynamic(cache: &str, max_hosts: u32) -> ClusterConfig {
    let dns = DnsConfig { refresh_rate: 2 * MS, min_refresh_rate: MS, ..DnsConfig::default() };
    let cache = DnsCacheConfig {
        name: cache.into(),
        dns,
        host_ttl: 50 * MS,
        max_hosts,
        disable_refresh_on_failure: false,
        max_pending_requests: 1,
        preresolve: Vec::new(),
        query_timeout: Duration::ZERO,
    };
    of(Discovery::Dynamic(Box::new(DynamicConfig { cache, default_port: 80, insecure: false })), cache_user(max_hosts))
}

fn cache_user(max_hosts: u32) -> &'static str {
    if max_hosts == 1 { "small" } else { "names" }
}

/// A manager and one worker's clusters, over a resolver that is told what to say.
fn worker(told: &Told) -> (Arc<Store>, ClusterManager, Rc<WorkerClusters>) {
    let store = Store::new(2);
    let manager = ClusterManager::new(store.clone(), Rc::new(told.clone()));
    let worker = nuncio_core::Worker::new(0, nuncio_stats::Lane::worker(0));
    let clusters = WorkerClusters::start(&worker);
    nuncio_rt::spawn(clusters.clone().follow(manager.subscribe()));
    (store, manager, clusters)
}

async fn resolved(cluster: &WorkerCluster, name: &str) -> Result<String, String> {
    match cluster.lookup(name, true) {
        NameLookup::Known(known) => known.map(|address| address.to_string()).map_err(|why| why.to_string()),
        NameLookup::Pending(pending) => pending.await.map(|address| address.to_string()).map_err(|why| why.to_string()),
        NameLookup::TooManyNames => Err("too many names".into()),
        NameLookup::TooManyWait => Err("too many wait".into()),
        NameLookup::NotAsked => Err("not asked".into()),
    }
}

#[test]
fn names_lead_where_they_led_when_later_lookups_fail_and_go_when_nobody_asks() {
    run(async {
        let told = Told(Rc::new(RefCell::new(found(1))), Rc::default());
        let (store, manager, clusters) = worker(&told);
        manager.put(dynamic("cache", 10));
        manager.ready().await;
        settle().await;
        let cluster = clusters.by_name("names").expect("the cluster");
        let wanted = PickCx { name: Some("a.test:80"), ..PickCx::default() };
        assert!(cluster.pick(&wanted).is_none(), "it is not known yet");
        assert_eq!(resolved(&cluster, "a.test:80").await.as_deref(), Ok("127.0.0.1:80"));
        let first = cluster.pick(&wanted).expect("a host");
        *told.0.borrow_mut() = found(2);
        until("the other address", || cluster.pick(&wanted).is_some_and(|host| host.host.address.to_string() == "127.0.0.2:80")).await;
        let second = cluster.pick(&wanted).expect("a host");
        assert!(Arc::ptr_eq(&first.host.state, &second.host.state), "what is known of it stays");
        *told.0.borrow_mut() = Answer::Failed(LookupError::Server);
        let asked = told.1.get();
        until("more questions", || { cluster.pick(&wanted); told.1.get() > asked + 3 }).await;
        assert_eq!(resolved(&cluster, "a.test:80").await.as_deref(), Ok("127.0.0.2:80"));
        let why = resolved(&cluster, "b.test:80").await;
        assert_eq!(why, Err("cares_failure:DNS_server_returned_general_failure".to_owned()));
        let stats = store.scope("dns_cache.cache.", &dns_cache::DNS_CACHE);
        until("both are gone", || stats.gauge(dns_cache::NUM_HOSTS) == 0).await;
        settle().await;
        assert!(cluster.pick(&wanted).is_none());
        assert_eq!(stats.counter(dns_cache::HOST_REMOVED), 2);
        assert_eq!(stats.counter(dns_cache::HOST_ADDRESS_CHANGED), 2);
    });
}

#[test]
fn a_cache_is_limited_and_so_are_those_that_wait() {
    run(async {
        let told = Told(Rc::new(RefCell::new(found(1))), Rc::default());
        let (store, manager, clusters) = worker(&told);
        manager.put(dynamic("little", 1));
        manager.ready().await;
        settle().await;
        let cluster = clusters.by_name("small").expect("the cluster");
        let NameLookup::Pending(first) = cluster.lookup("a.test:80", true) else { panic!("it is not known yet") };
        assert_eq!(resolved(&cluster, "a.test:80").await, Err("too many wait".to_owned()));
        assert!(first.await.is_ok());
        assert_eq!(resolved(&cluster, "b.test:80").await, Err("too many names".to_owned()));
        assert_eq!(resolved(&cluster, "a.test:80").await.as_deref(), Ok("127.0.0.1:80"));
        let stats = store.scope("dns_cache.little.", &dns_cache::DNS_CACHE);
        assert_eq!(stats.counter(dns_cache::HOST_OVERFLOW), 1);
        assert_eq!(stats.counter(dns_cache::DNS_RQ_PENDING_OVERFLOW), 1);
    });
}

/// Says what the test says, whatever is in the file.
struct Files(Rc<RefCell<Vec<LocalityEndpoints>>>);

impl EndpointFiles for Files {
    fn read(&self, _: &str, _: &EdsConfig) -> Result<ReadEndpoints, FileFault> {
        let localities = self.0.borrow().clone();
        Ok(ReadEndpoints { version: String::new(), stale_after: None, assignment: Some(Assignment { localities, ..Assignment::default() }) })
    }

    fn refused(&self, _: &str, _: &EdsConfig, _: &str) {}
}

#[test]
fn hosts_that_stay_in_an_assignment_keep_what_is_known_of_them() {
    run(async {
        let endpoint = |port, weight| Endpoint { weight, ..Endpoint::at(EndpointAddress::Resolved(Address::Ip(at(port)))) };
        let tier = |priority, endpoints| LocalityEndpoints { priority, endpoints, ..LocalityEndpoints::default() };
        let folder = std::env::temp_dir().join(format!("nuncio-eds-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("eds");
        std::fs::write(&path, "1").expect("a file");
        let told = Rc::new(RefCell::new(vec![tier(0, vec![endpoint(1, 1), endpoint(2, 1)])]));
        let bench = Bench::new();
        bench.manager.set_endpoint_files(Rc::new(Files(told.clone())));
        let eds = EdsConfig { service_name: "e".into(), path: path.clone(), poll_interval: MS };
        bench.put(of(Discovery::Eds(Box::new(eds)), "e")).await;
        let hosts = || bench.manager.view()[0].hosts.hosts().cloned().collect::<Vec<_>>();
        let before = hosts();
        assert_eq!(before.len(), 2);
        let next = folder.join("next");
        let replace = |text: &str| { std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, &path)).expect("another file") };
        *told.borrow_mut() = vec![tier(0, vec![endpoint(3, 1)]), tier(1, vec![endpoint(2, 5)])];
        replace("2");
        until("the other hosts", || hosts().iter().any(|host| host.priority == 1)).await;
        let after = hosts();
        let moved = after.iter().find(|host| host.priority == 1).expect("a host");
        assert!(Arc::ptr_eq(&moved.state, &before[1].state) && moved.weight == 5);
        // One went, one came, one moved: both priorities have changed.
        assert_eq!(bench.counter("e", stat::MEMBERSHIP_CHANGE), 3);
        replace("3");
        until("it is read again", || bench.counter("e", stat::UPDATE_SUCCESS) == 3).await;
        assert_eq!(bench.counter("e", stat::UPDATE_NO_REBUILD), 1);
        let _ = std::fs::remove_dir_all(&folder);
    });
}
