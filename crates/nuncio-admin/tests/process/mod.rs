//! A process to ask, with the data that the recorded Envoy had.

use nuncio_admin::*;
use nuncio_api::{Document, Options, Source, Syntax, encode};
use nuncio_stats::tables::server::{SERVER, UPTIME};
use nuncio_stats::{OutputRules, Scope, Store};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

/// What it was told, and what it shows.
pub struct Process {
    pub store: Arc<Store>,
    pub server: Arc<Scope>,
    pub rules: OutputRules,
    pub failed: Cell<bool>,
    pub quits: Cell<u32>,
    pub told: RefCell<Vec<String>>,
    pub log_level: Cell<&'static str>,
}

impl Process {
    pub fn new() -> Process {
        let store = Store::new(2);
        Process {
            server: store.scope("server.", &SERVER),
            store,
            rules: OutputRules::default(),
            failed: Cell::new(false),
            quits: Cell::new(0),
            told: RefCell::default(),
            log_level: Cell::new("warning"),
        }
    }

    fn tell(&self, what: String) {
        self.told.borrow_mut().push(what);
    }
}

/// A message written as YAML, serialized.
pub fn message(name: &str, yaml: &str) -> Vec<u8> {
    let document = Document::parse(Source::new("test", yaml), Syntax::Yaml).expect("YAML");
    let encoded = encode(name, &document, &Options::default());
    assert!(encoded.diagnostics.is_empty(), "{:?}", encoded.diagnostics);
    encoded.bytes
}

const NODE: &str = "
id: n-1
cluster: c-1
metadata: {a: b}
locality: {region: r}
user_agent_name: envoy
user_agent_build_version:
  version: {major_number: 1, minor_number: 40}
  metadata:
    revision.sha: 9e5580933739775e8bce696a57a2e1bc99368f23
    ssl.version: BoringSSL
    build.type: RELEASE
    revision.status: Clean
";

const OPTIONS: &str = "
concurrency: 2
config_path: one.yaml
log_level: warning
log_format: '[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v'
file_flush_interval: 10s
drain_time: 600s
parent_shutdown_time: 900s
disable_hot_restart: true
socket_path: '@envoy_domain_socket'
base_id: 0
";

const CLUSTERS: [(&str, &str); 3] = [
    (
        "b1",
        "
last_updated: '2026-01-01T00:00:01Z'
cluster:
  '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: b1
  type: STRICT_DNS
  health_checks: [{timeout: 1s, interval: 5s, unhealthy_threshold: 3, healthy_threshold: 1, http_health_check: {path: /}}]
  outlier_detection: {}
  load_assignment: {cluster_name: b1, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 10001}}}}]}]}
",
    ),
    (
        "b2",
        "
last_updated: '2026-01-01T00:00:02Z'
cluster:
  '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: b2
  type: STATIC
  track_cluster_stats: {timeout_budgets: true, request_response_sizes: true, per_endpoint_stats: true}
  circuit_breakers: {thresholds: [{track_remaining: true, retry_budget: {}}]}
  load_assignment: {cluster_name: b2, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 10001}}}}]}]}
",
    ),
    (
        "other",
        "{last_updated: '2026-01-01T00:00:03Z', cluster: {'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, name: other}}",
    ),
];

impl AdminContext for Process {
    fn reload(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<String, String>> + '_>> {
        Box::pin(std::future::ready(Ok("nothing changed".to_owned())))
    }

    fn state(&self) -> State {
        if self.failed.get() {
            State::Draining
        } else {
            State::Live
        }
    }

    fn server_info(&self) -> ServerInfo {
        ServerInfo {
            version: "9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL"
                .into(),
            uptime_current_epoch: Duration::from_millis(2900),
            uptime_all_epochs: Duration::from_millis(2900),
            hot_restart_version: "disabled".into(),
            command_line_options: message("envoy.admin.v3.CommandLineOptions", OPTIONS),
            node: message("envoy.config.core.v3.Node", NODE),
        }
    }

    fn stats(&self) -> &Store {
        &self.store
    }

    fn stats_output(&self) -> &OutputRules {
        &self.rules
    }

    fn refresh_stats(&self) {
        self.server.gauge_set(UPTIME, 7);
    }

    fn clusters(&self, wanted: &dyn Fn(&str) -> bool, each: &mut dyn FnMut(Cluster)) {
        let limits = Limits {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
        };
        let host = Host {
            address: Address::Socket(([127, 0, 0, 1], 10001).into()),
            hostname: "127.0.0.1".into(),
            counts: HostCounts::default(),
            health: HostHealth {
                failed_active_hc: true,
                ..HostHealth::default()
            },
            weight: 1,
            priority: 0,
            locality: Default::default(),
            canary: false,
            success_rate: -1.0,
            local_origin_success_rate: -1.0,
        };
        let outlier = OutlierRates {
            success_rate_average: -1.0,
            success_rate_ejection_threshold: -1.0,
            local_origin_success_rate_average: -1.0,
            local_origin_success_rate_ejection_threshold: -1.0,
        };
        for name in ["b1", "b2"].into_iter().filter(|name| wanted(name)) {
            each(Cluster {
                name: name.into(),
                observability_name: name.into(),
                outlier: Some(outlier),
                limits: [limits; 2],
                hosts: vec![host.clone()],
                ..Cluster::default()
            });
        }
    }

    fn listeners(&self) -> Vec<Listener> {
        let socket = |port| Address::Socket(([127, 0, 0, 1], port).into());
        let listener = |name: &str, port| Listener {
            name: name.into(),
            address: socket(port),
            more_addresses: vec![],
        };
        vec![listener("main_listener", 10000), listener("back", 10001)]
    }

    fn certificates(&self) -> Vec<Certificates> {
        Vec::new()
    }

    fn config_dump(&self, endpoints: bool) -> Vec<ConfigSection> {
        const ITEM: &str = "envoy.admin.v3.ClustersConfigDump.StaticCluster";
        let item = |(name, yaml): (&str, &str)| ConfigItem {
            name: name.into(),
            message: message(ITEM, yaml),
        };
        let bootstrap =
            "{last_updated: '2026-01-01T00:00:00Z', bootstrap: {node: {id: n-1, cluster: c}}}";
        let section = |type_name, message, lists| ConfigSection {
            type_name,
            message,
            lists,
        };
        let mut sections = vec![
            section(
                "envoy.admin.v3.BootstrapConfigDump",
                message("envoy.admin.v3.BootstrapConfigDump", bootstrap),
                vec![],
            ),
            section(
                "envoy.admin.v3.ClustersConfigDump",
                vec![],
                vec![ConfigList {
                    field: "static_clusters",
                    type_name: ITEM,
                    items: CLUSTERS.map(item).into(),
                }],
            ),
            section("envoy.admin.v3.ListenersConfigDump", vec![], vec![]),
        ];
        if endpoints {
            sections.push(section(
                "envoy.admin.v3.EndpointsConfigDump",
                vec![],
                vec![],
            ));
        }
        sections
    }

    fn memory(&self) -> Memory {
        Memory {
            allocated: 1,
            ..Memory::default()
        }
    }

    fn runtime(&self) -> Runtime {
        let entry = RuntimeEntry {
            key: "x.y".into(),
            layer_values: vec!["5".into(), String::new()],
            final_value: "5".into(),
        };
        Runtime {
            layers: vec!["base".into(), "admin".into()],
            entries: vec![entry],
        }
    }

    fn unready_targets(&self) -> Vec<UnreadyTargets> {
        Vec::new()
    }

    fn loggers(&self) -> Vec<Logger> {
        ["admin", "main"]
            .map(|name| Logger {
                name,
                level: self.log_level.get(),
            })
            .into()
    }

    fn regex(&self, pattern: &str) -> Result<Search, String> {
        let regex = regex::Regex::new(pattern).map_err(|_| format!("missing ): {pattern}"))?;
        Ok(Box::new(move |text| regex.is_match(text)))
    }

    fn set_log_level(&self, component: Option<&str>, level: &str) {
        self.tell(format!("log {} {level}", component.unwrap_or("*")));
    }

    fn modify_runtime(&self, overrides: &[(&str, &str)]) -> Result<(), String> {
        self.tell(format!("runtime {overrides:?}"));
        Ok(())
    }

    fn fail_health_checks(&self, fail: bool) {
        self.failed.set(fail);
    }

    fn drain_listeners(&self, drain: Drain) {
        self.tell(format!("drain {drain:?}"));
    }

    fn reopen_logs(&self) {
        self.tell("reopen".into());
    }

    fn quit(&self) {
        self.quits.set(self.quits.get() + 1);
    }
}
