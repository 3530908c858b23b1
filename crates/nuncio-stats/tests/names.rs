//! The names that are there at the start, against what an idle Envoy 1.40 listed.
//!
//! `recorded/names_at_start.txt` is Envoy's `/stats`, names only: one HTTP listener with a virtual cluster and a route
//! with a `stat_prefix`, one cluster with health checks and outlier detection, a TCP proxy, two workers, admin.

use nuncio_stats::tables::*;
use nuncio_stats::{Lane, Select, Snapshot, Store, Table};
use std::collections::BTreeSet;

/// Prefixes and the tables behind them.
const SCOPES: &[(&str, &Table)] = &[
    ("cluster.b1.", &cluster::CLUSTER),
    ("cluster.b1.health_check.", &health_check::HEALTH_CHECK),
    (
        "cluster.b1.outlier_detection.",
        &outlier_detection::OUTLIER_DETECTION,
    ),
    ("cluster.b1.http1.", &http1::HTTP1),
    ("cluster.b1.http2.", &http2::HTTP2),
    ("cluster_manager.", &cluster_manager::CLUSTER_MANAGER),
    ("dns.cares.", &dns::DNS),
    (
        "envoy.overload_actions.reset_high_memory_stream.",
        &overload::RESET_STREAMS,
    ),
    ("filesystem.", &filesystem::FILESYSTEM),
    ("http.admin.", &http_connection_manager::HTTP),
    ("http.async-client.", &router::ROUTER),
    ("http.ingress.", &http_connection_manager::HTTP),
    ("http.ingress.", &router::ROUTER),
    ("http1.", &http1::HTTP1),
    ("http2.", &http2::HTTP2),
    ("listener.127.0.0.1_10000.", &listener::LISTENER),
    (
        "listener.127.0.0.1_10000.http.ingress.",
        &listener_http::LISTENER_HTTP,
    ),
    (
        "listener.127.0.0.1_10000.worker_0.",
        &listener_worker::LISTENER_WORKER,
    ),
    (
        "listener.127.0.0.1_10000.worker_1.",
        &listener_worker::LISTENER_WORKER,
    ),
    ("listener.admin.", &listener::LISTENER),
    ("listener.admin.http.admin.", &listener_http::LISTENER_HTTP),
    (
        "listener.admin.main_thread.",
        &listener_worker::LISTENER_WORKER,
    ),
    ("listener_manager.", &listener_manager::LISTENER_MANAGER),
    ("main_thread.", &watchdog::WATCHDOG),
    ("overload.", &overload::OVERLOAD),
    ("runtime.", &runtime::RUNTIME),
    ("server.", &server::SERVER),
    ("server.main_thread.", &watchdog::WATCHDOG),
    ("server.worker_0.", &watchdog::WATCHDOG),
    ("server.worker_1.", &watchdog::WATCHDOG),
    ("tcp.tcpp.", &tcp_proxy::TCP),
    (
        "thread_local_cluster_manager.main_thread.",
        &cluster_manager::THREAD_CLUSTERS,
    ),
    (
        "thread_local_cluster_manager.worker_0.",
        &cluster_manager::THREAD_CLUSTERS,
    ),
    (
        "thread_local_cluster_manager.worker_1.",
        &cluster_manager::THREAD_CLUSTERS,
    ),
    ("vhost.app.route.rsp.", &router::route::ROUTE),
    ("vhost.app.vcluster.other.", &router::route::ROUTE),
    ("vhost.app.vcluster.vc1.", &router::route::ROUTE),
    ("workers.", &watchdog::WATCHDOG),
];

#[test]
fn every_name_is_there_at_the_start_and_no_other() {
    let store = Store::new(3);
    let scopes: Vec<_> = SCOPES
        .iter()
        .map(|(prefix, table)| store.scope(prefix, table))
        .collect();
    for scope in &scopes {
        match scope.prefix() {
            // A codec made by a health check, and one made by the admin listener.
            "cluster.b1.http1." | "http1." => scope.open(Lane::MAIN, http1::OPEN),
            "listener.127.0.0.1_10000." => scope.open(Lane::MAIN, listener::CONFIGURED),
            "http.ingress." if std::ptr::eq(scope.table(), &http_connection_manager::HTTP) => {
                scope.open(Lane::MAIN, http_connection_manager::TRACING);
            }
            _ => {}
        }
    }
    let snapshot = Snapshot::take(&store, &Select::default());
    let found: BTreeSet<_> = snapshot.iter().map(|metric| metric.to_string()).collect();
    let expected: BTreeSet<_> = include_str!("recorded/names_at_start.txt")
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        expected.difference(&found).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "missing"
    );
    assert_eq!(
        found.difference(&expected).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "too many"
    );
}

#[test]
fn every_statistic_has_a_help_text() {
    for (_, table) in SCOPES {
        for def in table.defs {
            assert!(!def.help.is_empty(), "{} {}", table.label, def.name);
        }
    }
}
