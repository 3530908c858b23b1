//! Listeners over real loopback sockets, with four workers.

mod process;

use nuncio_listen::{
    ChainMatch, ConnectionBudget, DrainPace, DrainStrategy, FilterChainConfig, ListenAddress, Which, status,
};
use nuncio_stats::tables::listener_manager as lm;
use process::{Named, WORKERS, ask, connect, eventually, is_closed, listener, process};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

#[test]
fn four_workers_share_the_connections_of_a_port_that_was_left_open() {
    let process = process(None);
    let applied = process.apply(vec![listener("a", b"v1")]);
    assert_eq!(applied.added.len(), 1);
    let port = process.port("a");
    assert_ne!(port.port(), 0);
    assert_eq!(status::text(&process.manager.statuses()), format!("a::{port}\n"));
    let mut clients: Vec<_> = (0..200).map(|_| connect(port)).collect();
    assert!(clients.iter_mut().all(|client| ask(client) == "v1"));
    assert_eq!(process.manager.active_connections(), 200);
    assert_eq!(process.stat("listener.127.0.0.1_0.downstream_cx_total"), 200);
    let per_worker: Vec<_> =
        (0..WORKERS).map(|n| process.stat(&format!("listener.127.0.0.1_0.worker_{n}.downstream_cx_total"))).collect();
    assert_eq!(per_worker.iter().sum::<u64>(), 200);
    assert!(per_worker.iter().all(|&n| n > 0), "{per_worker:?}");
    drop(clients);
    eventually("all closed", || process.stat("listener.127.0.0.1_0.downstream_cx_destroy") == 200);
    assert_eq!(process.gauge(lm::TOTAL_LISTENERS_ACTIVE), 1);
    assert_eq!(process.counter(lm::LISTENER_CREATE_SUCCESS), WORKERS as u64);
}

#[test]
fn a_reload_leaves_unchanged_listeners_alone_and_retires_changed_chains_only() {
    let process = process(None);
    let stays = listener("stays", b"s1");
    let mut changes = listener("changes", b"v1");
    process.apply(vec![stays.clone(), changes.clone()]);
    let (stays_at, changes_at) = (process.port("stays"), process.port("changes"));
    let (mut old_stays, mut old_changes) = (connect(stays_at), connect(changes_at));
    assert_eq!((ask(&mut old_stays), ask(&mut old_changes)), ("s1".into(), "v1".into()));

    changes.filter_chains = vec![Arc::new(FilterChainConfig::plain(Arc::new(Named(b"v2"))))];
    let applied = process.apply(vec![stays, changes]);
    assert_eq!((applied.unchanged, applied.updated.len()), (1, 1));
    assert_eq!((process.port("stays"), process.port("changes")), (stays_at, changes_at));
    assert_eq!(process.counter(lm::LISTENER_IN_PLACE_UPDATED), 1);
    eventually("new connections get the new chain", || ask(&mut connect(changes_at)) == "v2");
    eventually("one chain drains", || process.gauge(lm::TOTAL_FILTER_CHAINS_DRAINING) == 1);
    assert_eq!(ask(&mut old_stays), "s1");
    assert_eq!(ask(&mut old_changes), "v1", "the old connection goes on under the old chain");
    drop(old_changes);
    eventually("nothing drains", || process.gauge(lm::TOTAL_FILTER_CHAINS_DRAINING) == 0);
    assert!(process.drained_within(Duration::from_secs(5)));
}

#[test]
fn a_removed_listener_serves_its_connections_to_the_end_and_frees_the_port() {
    let process = process(None);
    process.apply(vec![listener("gone", b"v1")]);
    let port = process.port("gone");
    let mut open = connect(port);
    assert_eq!(ask(&mut open), "v1");
    process.apply(vec![]);
    eventually("nobody listens", || TcpStream::connect(port).is_err());
    assert_eq!(process.gauge(lm::TOTAL_LISTENERS_DRAINING), 1);
    assert_eq!(ask(&mut open), "v1");
    drop(open);
    assert!(process.drained_within(Duration::from_secs(5)));
    assert_eq!(process.gauge(lm::TOTAL_LISTENERS_DRAINING), 0);
    assert_eq!(process.counter(lm::LISTENER_REMOVED), 1);
}

#[test]
fn shutting_down_serves_what_has_connected_and_closes_what_is_idle() {
    let process = process(None);
    process.apply(vec![listener("a", b"v1")]);
    let port = process.port("a");
    let mut idle = connect(port);
    assert_eq!(ask(&mut idle), "v1");
    // These may still wait in the queues of the sockets when the order comes.
    let mut queued: Vec<_> = (0..50).map(|_| connect(port)).collect();
    queued.iter_mut().for_each(|client| client.write_all(b".").expect("write"));
    process.manager.drain_all(DrainPace { strategy: DrainStrategy::Immediate, time: Duration::from_secs(60) });
    assert!(process.drained_within(Duration::from_secs(5)));
    assert!(is_closed(&mut idle));
    for client in &mut queued {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("an answer and an orderly end");
        assert_eq!(answer, b"v1");
    }
    assert!(TcpStream::connect(port).is_err());
}

#[test]
fn what_does_not_finish_in_the_drain_time_is_closed() {
    let process = process(None);
    process.apply(vec![listener("a", b"v1")]);
    let mut stubborn = connect(process.port("a"));
    assert_eq!(ask(&mut stubborn), "v1");
    process.manager.drain_all(DrainPace { strategy: DrainStrategy::Gradual, time: Duration::from_millis(20) });
    assert!(process.drained_within(Duration::from_secs(5)));
    assert!(is_closed(&mut stubborn));
}

#[test]
fn stopped_listeners_refuse_new_connections_and_keep_the_old() {
    let process = process(None);
    let mut inbound = listener("inbound", b"in");
    inbound.traffic_direction = nuncio_listen::TrafficDirection::Inbound;
    process.apply(vec![inbound, listener("other", b"ot")]);
    let (inbound_at, other_at) = (process.port("inbound"), process.port("other"));
    let mut open = connect(inbound_at);
    assert_eq!(ask(&mut open), "in");
    process.manager.stop(Which::Inbound);
    eventually("nobody listens", || TcpStream::connect(inbound_at).is_err());
    assert_eq!(ask(&mut open), "in");
    assert_eq!(ask(&mut connect(other_at)), "ot");
    eventually("counted", || process.counter(lm::LISTENER_STOPPED) == 1);
    assert_eq!(process.gauge(lm::TOTAL_LISTENERS_ACTIVE), 2, "as Envoy counts");
}

#[test]
fn limits_hold_over_all_workers() {
    let process = process(Some(Arc::new(ConnectionBudget::new(5))));
    let mut narrow = listener("narrow", b"v1");
    narrow.connection_limit = Some(2);
    process.apply(vec![narrow, listener("wide", b"v1")]);
    let (narrow_at, wide_at) = (process.port("narrow"), process.port("wide"));
    let mut open: Vec<_> = (0..2).map(|_| connect(narrow_at)).collect();
    assert!(open.iter_mut().all(|client| ask(client) == "v1"));
    assert!(is_closed(&mut connect(narrow_at)));
    open.extend((0..3).map(|_| connect(wide_at)));
    assert!(open.iter_mut().all(|client| ask(client) == "v1"));
    assert!(is_closed(&mut connect(wide_at)));
    assert_eq!(process.stat("listener.127.0.0.1_0.downstream_cx_overflow"), 1);
    assert_eq!(process.stat("listener.127.0.0.1_0.downstream_global_cx_overflow"), 1);
    drop(open);
    eventually("room again", || {
        let mut client = connect(wide_at);
        client.write_all(b".").expect("write");
        !is_closed(&mut client)
    });
}

#[test]
fn a_panic_ends_one_connection_only() {
    let process = process(None);
    process.apply(vec![listener("a", b"v1")]);
    let port = process.port("a");
    let mut others: Vec<_> = (0..20).map(|_| connect(port)).collect();
    let mut victim = connect(port);
    victim.write_all(b"!").expect("write");
    assert!(is_closed(&mut victim));
    assert!(others.iter_mut().all(|client| ask(client) == "v1"));
    assert_eq!(process.stat("listener.127.0.0.1_0.downstream_cx_panic"), 1);
    assert!(process.threads.iter().all(|thread| !thread.is_finished()));
}

#[test]
fn a_bad_set_of_listeners_changes_nothing() {
    let process = process(None);
    process.apply(vec![listener("a", b"v1")]);
    let port = process.port("a");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut bad = listener("bad", b"v2");
    bad.addresses = vec![ListenAddress::ip(taken.local_addr().expect("bound"))];
    let errors = process.manager.apply(vec![Arc::new(bad)]).expect_err("taken");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().ends_with("Address already in use"), "{}", errors[0]);
    let mut twin = listener("twin", b"v3");
    twin.addresses = vec![ListenAddress::ip(port)];
    let mut first = listener("first", b"v3");
    first.addresses = twin.addresses.clone();
    let errors = process.manager.apply(vec![Arc::new(first), Arc::new(twin)]).expect_err("duplicate");
    assert!(errors[0].to_string().starts_with("error adding listener: 'twin' has duplicate address"), "{}", errors[0]);
    assert_eq!(ask(&mut connect(port)), "v1");
}

#[test]
fn a_connection_that_no_chain_matches_is_closed_and_counted() {
    let process = process(None);
    let mut config = listener("a", b"v1");
    let never = ChainMatch { destination_port: Some(1), ..ChainMatch::default() };
    config.filter_chains = vec![Arc::new(FilterChainConfig { matches: never, ..(*config.filter_chains[0]).clone() })];
    process.apply(vec![config.clone()]);
    assert!(is_closed(&mut connect(process.port("a"))));
    assert_eq!(process.stat("listener.127.0.0.1_0.no_filter_chain_match"), 1);
    config.default_filter_chain = Some(Arc::new(FilterChainConfig::plain(Arc::new(Named(b"df")))));
    process.apply(vec![config]);
    eventually("the default chain takes it", || {
        let mut client = connect(process.port("a"));
        client.write_all(b".").expect("write");
        !is_closed(&mut client)
    });
}

#[test]
fn moving_to_another_address_binds_the_new_one_before_the_old_is_closed() {
    let process = process(None);
    let mut config = listener("a", b"v1");
    process.apply(vec![config.clone()]);
    let before = process.port("a");
    let mut open = connect(before);
    assert_eq!(ask(&mut open), "v1");
    config.addresses = vec![ListenAddress::ip(([127, 0, 0, 2], 0).into())];
    process.apply(vec![config]);
    let after = process.port("a");
    assert_ne!(before, after);
    assert_eq!(ask(&mut connect(after)), "v1");
    eventually("nobody listens", || TcpStream::connect(before).is_err());
    assert_eq!(ask(&mut open), "v1");
    assert_eq!(process.counter(lm::LISTENER_MODIFIED), 1);
}

/// Keeps flags and details.
#[derive(Debug, Default)]
struct Kept(std::sync::Mutex<Vec<String>>);

impl nuncio_core::AccessLogger for Kept {
    fn log(&self, stream: &nuncio_core::StreamCx) {
        let line = format!("{} {} {}", stream.conn.listener, stream.info.flags, stream.info.details);
        self.0.lock().expect("test lock").push(line);
    }
}

#[test]
fn each_connection_is_a_line_in_the_listeners_log() {
    let process = process(None);
    let log = Arc::new(Kept::default());
    let mut config = listener("a", b"v1");
    config.access_logs = vec![log.clone()];
    let mut matchless = listener("b", b"v1");
    let never = ChainMatch { destination_port: Some(1), ..ChainMatch::default() };
    matchless.filter_chains =
        vec![Arc::new(FilterChainConfig { matches: never, ..(*matchless.filter_chains[0]).clone() })];
    matchless.access_logs = vec![log.clone()];
    process.apply(vec![config, matchless]);
    assert_eq!(ask(&mut connect(process.port("a"))), "v1");
    let lines = || log.0.lock().expect("test lock").clone();
    eventually("logged", || lines() == ["a - "]);
    assert!(is_closed(&mut connect(process.port("b"))));
    eventually("logged", || lines() == ["a - ", "b NR filter_chain_not_found"]);
}

#[test]
fn after_a_reload_connections_end_with_their_next_response_and_not_before() {
    let process = process(None);
    let mut config = listener("a", b"v1");
    process.apply(vec![config.clone()]);
    let mut client = connect(process.port("a"));
    assert_eq!(ask(&mut client), "v1");
    config.filter_chains = vec![Arc::new(FilterChainConfig::plain(Arc::new(Named(b"v2"))))];
    let pace = DrainPace { strategy: DrainStrategy::NextResponse, time: Duration::from_secs(60) };
    process.manager.apply_at(vec![Arc::new(config)], pace).expect("good listeners");
    // Enough connections to have met every worker.
    eventually("the new chain serves", || (0..64).all(|_| ask(&mut connect(process.port("a"))) == "v2"));
    assert_eq!(ask(&mut client), "v1", "idle, it was left alone");
    assert!(is_closed(&mut client));
    assert!(process.drained_within(Duration::from_secs(5)));
}
