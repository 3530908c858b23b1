//! What a bootstrap becomes, and what a reload changes.

use nuncio_api::Syntax;
use nuncio_config::{Input, Mode, Options, Purpose, Snapshot, diff};
use nuncio_upstream::config::{Discovery, EndpointAddress, LbConfig, LookupFamily};
use nuncio_upstream::health::{HealthCheckKind, StatusRange};
use std::time::Duration;

fn load(text: &str, purpose: Purpose) -> Result<Snapshot, String> {
    let options = Options {
        http_filters: nuncio_ext::registry::HTTP_FILTERS,
        network_filters: nuncio_ext::registry::NETWORK_FILTERS,
        listener_filters: nuncio_ext::registry::LISTENER_FILTERS,
        access_loggers: nuncio_ext::registry::ACCESS_LOGGERS,
        ..Options::checking(Mode { purpose, ..Mode::default() })
    };
    let input = Input { name: "test.yaml".to_owned(), text: Ok(text.to_owned()), syntax: Syntax::Yaml };
    let loaded = nuncio_config::load(&[input], &options);
    loaded.snapshot.ok_or_else(|| loaded.report.text(nuncio_api::Look::default()))
}

fn started(text: &str) -> Snapshot {
    load(text, Purpose::Start).expect("nothing is refused")
}

const CANARY: &str = r#"
node: { id: one, cluster: front, locality: { zone: z } }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 9901 } } }
stats_flush_interval: 2s
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{ match: { prefix: / }, route: { cluster: v1 } }]
          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
  - name: v1
    type: STRICT_DNS
    dns_lookup_family: V4_ONLY
    connect_timeout: 2s
    lb_policy: LEAST_REQUEST
    least_request_lb_config: { choice_count: 3 }
    circuit_breakers: { thresholds: [{ priority: HIGH, max_retries: 7 }, { max_connections: 100 }] }
    health_checks:
    - timeout: 1s
      interval: 5s
      unhealthy_threshold: 3
      healthy_threshold: 1
      http_health_check: { path: /health, expected_statuses: [{ start: 200, end: 400 }] }
    load_assignment:
      cluster_name: v1
      endpoints:
      - priority: 1
        locality: { region: r }
        lb_endpoints:
        - load_balancing_weight: 5
          health_status: DRAINING
          endpoint: { hostname: h, address: { socket_address: { address: one.example, port_value: 80 } } }
  - name: v2
    load_assignment:
      cluster_name: v2
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: /run/v2.sock } } } }] }]
"#;

#[test]
fn a_cluster_has_its_fields_and_envoys_defaults() {
    let snapshot = started(CANARY);
    let [v1, v2] = snapshot.clusters.as_slice() else { panic!("two clusters") };
    let v1 = &v1.config;
    assert!(matches!(&v1.discovery, Discovery::StrictDns(dns) if dns.lookup_family == LookupFamily::V4Only && dns.refresh_rate == Duration::from_secs(5)));
    assert_eq!(v1.connect_timeout, Duration::from_secs(2));
    assert_eq!(v1.lb, LbConfig::LeastRequest { choice_count: 3, active_request_bias: 1.0, full_scan: false, slow_start: None });
    assert_eq!((v1.circuit_breakers.default.max_connections, v1.circuit_breakers.default.max_requests), (100, 1024));
    assert_eq!((v1.circuit_breakers.high.max_retries, v1.circuit_breakers.high.max_connections), (7, 1024));
    let check = &v1.health_checks[0];
    assert_eq!((check.unhealthy_threshold, check.no_traffic_interval), (3, Duration::from_secs(60)));
    assert!(matches!(&check.kind, HealthCheckKind::Http(http) if http.expected_statuses == [StatusRange { start: 200, end: 400 }] && &*http.method == "GET"));
    let locality = &v1.assignment.localities[0];
    assert_eq!((locality.priority, locality.locality.region.as_str()), (1, "r"));
    assert_eq!(locality.endpoints[0].weight, 5);
    assert_eq!(locality.endpoints[0].address, EndpointAddress::Name { host: "one.example".into(), port: 80 });
    let v2 = &v2.config;
    assert_eq!((v2.discovery.clone(), v2.lb, v2.connect_timeout), (Discovery::Static, LbConfig::ROUND_ROBIN, Duration::from_secs(5)));
    assert!(matches!(&v2.assignment.localities[0].endpoints[0].address, EndpointAddress::Resolved(nuncio_rt::Address::Pipe(_))));
}

#[test]
fn the_rest_of_the_bootstrap_is_there_too() {
    let snapshot = started(CANARY);
    assert_eq!((&*snapshot.identity.id, &*snapshot.identity.cluster, &*snapshot.identity.zone), ("one", "front", "z"));
    assert_eq!(snapshot.stats.flush_interval, Some(Duration::from_secs(2)));
    let admin = snapshot.admin.as_ref().and_then(|a| a.address.as_ref());
    assert_eq!(admin.map(ToString::to_string).as_deref(), Some("127.0.0.1:9901"));
    assert_eq!(snapshot.listeners[0].config.stat_scope(), "listener.127.0.0.1_10000.");
    assert!(snapshot.runtime.layers().is_empty());
}

#[test]
fn a_reload_touches_only_what_changed() {
    let old = started(CANARY);
    assert!(diff(&old, &started(CANARY)).is_empty());
    let other = CANARY.replace("/run/v2.sock", "/run/other.sock").replace("port_value: 9901", "port_value: 9902");
    let changes = diff(&old, &started(&other));
    assert_eq!((changes.clusters_put, changes.needs_restart), (vec![1], vec!["admin.address"]));
    assert!(changes.listeners_put.is_empty() && changes.clusters_removed.is_empty());
    let renamed = CANARY.replace("name: main", "name: other").replace("name: v2", "name: v3");
    let changes = diff(&old, &started(&renamed));
    assert_eq!((changes.clusters_put, changes.clusters_removed), (vec![1], vec!["v2".to_owned()]));
    assert_eq!((changes.listeners_put, changes.listeners_removed), (vec![0], vec!["main".to_owned()]));
}

#[test]
fn a_guard_that_is_not_built_stops_the_start_and_not_the_check() {
    let guard = r#"          - name: auth
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: { vm_config: { runtime: envoy.wasm.runtime.null, code: { local: { inline_string: x } } } } }
          - name: router"#;
    let text = CANARY.replace("          - name: router", guard);
    assert!(load(&text, Purpose::Check).is_ok());
    let refused = load(&text, Purpose::Start).expect_err("it is refused");
    assert!(refused.contains("error[NUN0502]: the filter `auth` is not built yet, and unsafe to ignore"), "{refused}");
}

#[test]
fn a_condition_of_rbac_that_is_not_built_stops_the_start_and_not_the_check() {
    let named = r#"          - name: rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules: { policies: { p: { permissions: [{ any: true }], principals: [{ not_id: { custom: { name: x, typed_config: { "@type": type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config } } } }] } } }
          - name: router"#;
    let text = CANARY.replace("          - name: router", named);
    assert!(load(&text, Purpose::Check).is_ok());
    let refused = load(&text, Purpose::Start).expect_err("it is refused");
    assert!(refused.contains("error[NUN0502]: is not built yet, and unsafe to ignore"), "{refused}");
}

#[test]
fn a_text_is_merged_over_a_file_and_findings_name_the_right_one() {
    let inputs = |over: &str| {
        let input = |name: &str, text: &str| Input { name: name.to_owned(), text: Ok(text.to_owned()), syntax: Syntax::Yaml };
        [input("file.yaml", CANARY), input("over.yaml", over)]
    };
    let options = Options::checking(Mode::default());
    let good = nuncio_config::load(&inputs("node: { id: two }\nstatic_resources: { clusters: [{ name: v3 }] }\n"), &options);
    let snapshot = good.snapshot.expect("nothing is refused");
    assert_eq!((&*snapshot.identity.id, &*snapshot.identity.cluster, snapshot.clusters.len()), ("two", "front", 3));
    let bad = nuncio_config::load(&inputs("static_resources: { clusters: [{ name: v4 }, { name: v4 }] }\n"), &options).report;
    let found: Vec<(&str, usize)> = bad.files.iter().map(|f| (f.source.name.as_str(), f.diagnostics.iter().filter(|d| d.is_error()).count())).collect();
    assert_eq!(found, [("file.yaml", 0), ("over.yaml", 1)]);
}

#[test]
fn a_refused_configuration_leaves_no_statistics_behind() {
    let store = nuncio_stats::Store::new(1);
    let options = Options { stats: Some(store.clone()), ..Options::checking(Mode { purpose: Purpose::Start, ..Mode::default() }) };
    let load = |text: &str| {
        let input = Input { name: "test.yaml".to_owned(), text: Ok(text.to_owned()), syntax: Syntax::Yaml };
        nuncio_config::load(&[input], &options).snapshot
    };
    assert!(load(&CANARY.replace("cluster: v1 ", "cluster: v9 ")).is_none());
    assert!(store.scopes().is_empty());
    let running = load(CANARY);
    assert!(running.is_some());
    assert!(!store.scopes().is_empty());
}
