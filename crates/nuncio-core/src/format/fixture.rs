//! An exchange to format in tests: `GET /b/x?a=1%202&b=xyz&e` rewritten to `/rew`, answered by an upstream.

use crate::{ClusterFacts, ConnInfo, HostFacts, Protocol, ResponseFlags, FilterLevel, RouteId, RouteRef, RouteTableView, RouteView, StreamCx, Worker};
use nuncio_rt::{Address, Time};
use std::{any::Any, rc::Rc, sync::Arc, time::Duration};

#[derive(Debug)]
struct Route;

impl RouteView for Route {
    fn name(&self) -> &str {
        "rb"
    }
    fn virtual_host_name(&self) -> &str {
        "vh"
    }
    fn filter_config_at(&self, _: FilterLevel, _: &str) -> Option<&(dyn Any + Send + Sync)> {
        None
    }
}

impl RouteTableView for Route {
    fn route(&self, _: RouteId) -> Option<&dyn RouteView> {
        Some(self)
    }
}

fn address(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

/// An exchange of which nothing is known yet.
pub(super) fn empty() -> StreamCx {
    let conn = ConnInfo {
        id: 7,
        start: Time::ORIGIN,
        direct_remote: address("10.1.2.3:4567"),
        remote: address("10.1.2.3:4567"),
        local: address("127.0.0.1:10000"),
        listener: Arc::from("main"),
        filter_chain: Arc::from(""),
        server_name: None,
        tls: false,
        client_certificate: Default::default(),
        tls_facts: None,
        transport_failure: Default::default(),
        fingerprints: None,
        attached: Default::default(),
    };
    StreamCx::new(Worker::new(0, nuncio_stats::Lane(0)), Rc::new(conn))
}

/// A proxied exchange.
pub(super) fn proxied() -> StreamCx {
    let mut cx = empty();
    let ms = |n: u64| Time::from_nanos(n * 1_000_000);
    for (name, value) in [
        (":method", &b"GET"[..]),
        (":path", b"/rew?a=1%202&b=xyz+w&c=%zz&e"),
        (":authority", b"ex.com:8080"),
        (":scheme", b"http"),
        ("x-two", b"1"),
        ("x-two", b"2"),
        ("x-empty", b""),
        ("x-raw", b"\xe9 \"q\""),
        ("user-agent", b"curl/7.88.1"),
        ("x-request-id", b"abc-1"),
        ("x-envoy-original-path", b"/b/x?a=1%202&b=xyz+w&c=%zz&e"),
    ] {
        cx.request.append(name, value);
    }
    for (name, value) in [(":status", "200"), ("content-type", "text/plain"), ("x-envoy-upstream-service-time", "5")] {
        cx.response.append(name, value.as_bytes());
    }
    cx.route = Some(RouteRef::new(Rc::new(Route), RouteId { virtual_host: 0, route: 0 }, None));
    let info = &mut cx.info;
    info.start = ms(100);
    info.end = Some(ms(106));
    info.status = 200;
    info.details = "via upstream".into();
    info.bytes_sent = 5;
    info.attempts = 1;
    info.route_resolutions = 1;
    info.timings.request_received = Some(ms(101));
    info.timings.upstream_first_rx = Some(ms(105));
    info.timings.response_last_tx = Some(Time::from_nanos(106_900_000));
    info.timings.upstream_pool_wait = Some(Duration::from_micros(1_500));
    info.upstream.cluster = Some(cluster("b", "alt_b"));
    info.upstream.host = Some(host("127.0.0.1:18081", ""));
    info.upstream.local = Some("127.0.0.1:46906".parse().unwrap());
    info.upstream.protocol = Some(Protocol::Http11);
    info.upstream.connection_id = 9;
    cx
}

fn cluster(name: &str, display_name: &str) -> Rc<ClusterFacts> {
    Rc::new(ClusterFacts { name: name.into(), display_name: display_name.into(), metadata: None })
}

pub(super) fn host(at: &str, name: &str) -> Rc<HostFacts> {
    Rc::new(HostFacts::new(Arc::new(address(at)), name.into(), None))
}

/// A gRPC exchange whose upstream could not be reached.
pub(super) fn refused() -> StreamCx {
    let mut cx = empty();
    cx.request.append(":method", b"POST");
    cx.request.append("content-type", b"application/grpc");
    let info = &mut cx.info;
    info.start = Time::ORIGIN;
    info.end = Some(Time::from_nanos(1_000_000));
    info.status = 503;
    info.attempts = 2;
    info.flags.set(ResponseFlags::URX);
    info.flags.set(ResponseFlags::UF);
    info.upstream.transport_failure = "delayed connect error: Connection refused".into();
    info.upstream.cluster = Some(cluster("down", "down"));
    info.upstream.host = Some(host("[::1]:9", ""));
    cx
}
