//! Everything that can go wrong with a cluster, at once: hosts that refuse, answer errors, hang, die in the middle; clients
//! that go away; retries, timeouts, ejections and breakers at their limits. What is counted as going on must be nothing when
//! it is over, and the process may not have grown meanwhile.
//!
//! `NUNCIO_CHAOS_REQUESTS` says how many requests, where the usual number is not enough.

use crate::{load, proxy::Proxy};
use std::{
    env,
    io::Write,
    net::{SocketAddr, TcpStream},
    thread,
};

const REQUESTS: usize = 8_000;
const CLIENTS: usize = 24;
/// Memory that may come late: buffers of workers that had less to do than others at first.
const GROWTH_KIB: u64 = 4096;

/// What a request asks for, most of them for something that works.
fn path(n: usize) -> &'static str {
    match n % 400 {
        7 => "/slow",
        20 | 120 | 220 => "/half/length/reset",
        30 | 130 | 230 => "/half/chunked/close",
        n if n % 5 == 0 => "/retried",
        _ => "/x",
    }
}

#[test]
fn whatever_fails_nothing_stays_counted() {
    let requests = env::var("NUNCIO_CHAOS_REQUESTS").ok().and_then(|n| n.parse().ok()).unwrap_or(REQUESTS);
    let backends = [load::backend("one"), load::failing_backend()];
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hosts = [backends[0], backends[1], refused];
    let proxy = Proxy::start_with("mixed", &backends, |front| configuration(front, &hosts));
    let front = proxy.front;
    let send = |requests: usize| -> usize {
        let clients: Vec<_> = (0..CLIENTS).map(|client| thread::spawn(move || run(front, client, requests / CLIENTS))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    };
    // What a quarter of the requests has brought to its height stays there.
    let mut answered = send(requests / 4);
    let before = proxy.resident_kib();
    answered += send(requests - requests / 4);
    let after = proxy.resident_kib();
    eprintln!("{before} KiB after a quarter, {after} KiB after all");
    assert!(after < before + GROWTH_KIB, "{before} KiB after a quarter, {after} KiB after all");
    eprintln!("{answered} of {requests} requests were answered");
    assert!(answered > requests / 2, "{answered} of {requests} requests were answered");
    let ejected = proxy.stats("cluster.one.outlier_detection.ejections_enforced_total");
    assert!(ejected[0].1 > 0, "{ejected:?}");
    for gauge in ["http.main.downstream_rq_active", "http.main.downstream_cx_active"] {
        proxy.wait_for_gauge(gauge, 0);
    }
    for gauge in ["upstream_rq_active", "upstream_rq_pending_active", "outlier_detection.ejections_active"] {
        proxy.wait_for_gauge(&format!("cluster.one.{gauge}"), 0);
    }
    for (resource, limit) in [("rq", 20), ("pending", 8), ("retries", 2)] {
        proxy.wait_for_gauge(&format!("cluster.one.circuit_breakers.default.remaining_{resource}"), limit);
    }
    let open = proxy.stats("cluster.one.upstream_cx_active")[0].1;
    proxy.wait_for_gauge("cluster.one.circuit_breakers.default.remaining_cx", 16 - open);
    let hosts = proxy.admin("GET", "/clusters");
    let busy = |line: &&str| line.contains("::rq_active::") || line.contains("::rq_pending_active::");
    assert!(hosts.lines().filter(busy).all(|line| line.ends_with("::0")), "{hosts}");
}

/// Sends requests, and answers how many were answered.
fn run(to: SocketAddr, client: usize, requests: usize) -> usize {
    let (mut answered, mut kept) = (0, None);
    for n in 0..requests {
        let n = n * CLIENTS + client;
        let Some(mut stream) = kept.take().or_else(|| TcpStream::connect(to).ok()) else { continue };
        if n % 50 == 3 {
            // The client goes away at once; that it cannot even send is as good.
            let _ = stream.write_all(format!("GET {} HTTP/1.1\r\nhost: chaos\r\n\r\n", path(n)).as_bytes());
            continue;
        }
        if let Ok(answer) = load::get_on(&mut stream, path(n)) {
            answered += 1;
            kept = (!answer.closes).then_some(stream);
        }
    }
    answered
}

fn configuration(front: SocketAddr, hosts: &[SocketAddr]) -> String {
    let address = |of: &SocketAddr| format!(r#"{{"socket_address": {{"address": "127.0.0.1", "port_value": {}}}}}"#, of.port());
    let endpoints: Vec<String> = hosts.iter().map(|host| format!(r#"{{"endpoint": {{"address": {}}}}}"#, address(host))).collect();
    let (endpoints, front) = (endpoints.join(", "), address(&front));
    format!(
        r#"{{
  "admin": {{"address": {{"socket_address": {{"address": "127.0.0.1", "port_value": 0}}}}}},
  "static_resources": {{
    "clusters": [{{
      "name": "one",
      "load_assignment": {{"cluster_name": "one", "endpoints": [{{"lb_endpoints": [{endpoints}]}}]}},
      "common_lb_config": {{"update_merge_window": "0s"}},
      "circuit_breakers": {{"thresholds": [
        {{"max_connections": 16, "max_pending_requests": 8, "max_requests": 20, "max_retries": 2, "track_remaining": true}}]}},
      "outlier_detection": {{
        "consecutive_5xx": 3, "interval": "0.05s", "base_ejection_time": "0.05s", "max_ejection_time": "0.1s",
        "max_ejection_percent": 70, "success_rate_minimum_hosts": 2, "success_rate_request_volume": 5,
        "enforcing_failure_percentage": 50, "failure_percentage_minimum_hosts": 2, "failure_percentage_request_volume": 5}}
    }}],
    "listeners": [{{"name": "front", "address": {front}, "filter_chains": [{{"filters": [{{
      "name": "envoy.filters.network.http_connection_manager",
      "typed_config": {{
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "delayed_close_timeout": "0.05s",
        "route_config": {{"virtual_hosts": [{{"name": "all", "domains": ["*"], "routes": [
          {{"match": {{"prefix": "/retried"}}, "route": {{"cluster": "one", "retry_policy": {{
            "retry_on": "5xx", "num_retries": 2, "retry_back_off": {{"base_interval": "0.001s"}}}}}}}},
          {{"match": {{"prefix": "/"}}, "route": {{"cluster": "one", "timeout": "0.2s"}}}}]}}]}},
        "http_filters": [{{
          "name": "envoy.filters.http.router",
          "typed_config": {{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}}]
      }}}}]}}]}}]
  }}
}}"#
    )
}
