//! What must not happen when things change or break under load: no request fails because of a reload or a drain, and a
//! backend that dies in the middle of a response harms that response only.
//!
//! `score` counts how many requests fail while hosts misbehave, and holds that against Envoy's count.
//!
//! `proxy` runs Nuncio with four workers, `load` the backends and the clients. Nothing here measures time; waits end as soon
//! as what they wait for has happened.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod endpoints;
mod load;
mod mixed;
mod proxy;
mod score;

use load::{Answer, Clients, get, get_on};
use proxy::Proxy;
use std::{
    net::TcpStream,
    thread,
    time::Instant,
};

/// Reloads that are asked for; every second one by SIGHUP.
const RELOADS: usize = 100;
/// Clients that send one request after the other meanwhile.
const CLIENTS: usize = 8;
/// Requests in flight when the process is told to end.
const IN_FLIGHT: usize = 50;

#[test]
fn no_request_fails_while_the_configuration_is_reloaded_again_and_again() {
    let backends = [load::backend("one"), load::backend("two")];
    let proxy = Proxy::start("reload", &backends, 0);
    let clients = Clients::start(CLIENTS, proxy.front, "/x");
    for round in 1..=RELOADS {
        proxy.write(round % 2);
        if round % 2 == 0 {
            proxy.signal("HUP");
        } else {
            let outcome = proxy.admin("POST", "/reload");
            assert!(outcome.starts_with("HTTP/1.1 200 "), "{outcome}");
        }
    }
    proxy.write(1);
    let outcome = proxy.admin("POST", "/reload");
    assert!(outcome.starts_with("HTTP/1.1 200 "), "{outcome}");
    // The last configuration is in force, on every worker.
    for _ in 0..20 {
        assert_eq!(get(proxy.front, "/x").map(|answer| answer.body).as_deref(), Ok("two"));
    }
    let (answered, failures) = clients.stop();
    eprintln!("{answered} requests over {RELOADS} reloads");
    assert!(failures.is_empty(), "{} of {answered} requests failed, first: {}", failures.len(), failures[0]);
    assert!(answered > RELOADS, "{answered} requests are no load");
    proxy.gauges_return_to_zero();
}

#[test]
fn requests_in_flight_are_answered_when_the_process_is_told_to_end() {
    let backends = [load::backend("one"), load::backend("two")];
    let mut proxy = Proxy::start("term", &backends, 0);
    let front = proxy.front;
    let waiting: Vec<_> = (0..IN_FLIGHT).map(|_| thread::spawn(move || get(front, "/slow"))).collect();
    proxy.wait_for_gauge("http.main.downstream_rq_active", IN_FLIGHT as u64);
    proxy.signal("TERM");
    let told = Instant::now();
    for request in waiting {
        assert_eq!(request.join().unwrap().map(|answer| answer.body).as_deref(), Ok("one"));
    }
    let status = proxy.ended();
    assert!(status.success(), "{status}");
    assert!(told.elapsed() < proxy::DRAIN_TIME, "it waited for the drain time with nothing left to wait for");
    TcpStream::connect(front).expect_err("nobody listens any more");
}

#[test]
fn a_backend_that_dies_in_the_middle_of_a_response_harms_that_response_only() {
    let backends = [load::backend("one"), load::backend("two")];
    let proxy = Proxy::start("die", &backends, 0);
    let clients = Clients::start(CLIENTS, proxy.front, "/x");
    for path in ["/half/length/close", "/half/length/reset", "/half/chunked/close", "/half/chunked/reset"] {
        let mut client = TcpStream::connect(proxy.front).unwrap();
        for _ in 0..5 {
            // What was asked for on the connection before is as it should be.
            let before = get_on(&mut client, "/x").unwrap();
            assert!(before.complete && !before.closes, "{before:?}");
        }
        let cut = get_on(&mut client, path).unwrap();
        let wanted = Answer { status: 200, body: "x".repeat(50), complete: false, closes: true };
        assert_eq!(cut, wanted, "{path}");
    }
    let (answered, failures) = clients.stop();
    assert!(failures.is_empty(), "{} of {answered} requests failed, first: {}", failures.len(), failures[0]);
    proxy.gauges_return_to_zero();
    let resets = proxy.stats("http.main.downstream_rq_tx_reset");
    assert_eq!(resets, [("http.main.downstream_rq_tx_reset".to_owned(), 4)]);
}
