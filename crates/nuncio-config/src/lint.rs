//! Traps: configurations that are valid, run, and most likely do not do what was meant.
//!
//! One table of [`RULES`], each with its code. They are told by `check`, not at every start, and are never errors.
//! Routes that nothing reaches and filter chains without a router are reported where they are compiled.

use crate::codes;
use crate::context::{CompileCx, Purpose};
use crate::finding::{Finding, Severity};
use crate::snapshot::{StaticCluster, StaticListener};
use nuncio_http::Hcm;
use nuncio_http::config::RouteSource;
use nuncio_http::routes::{Action, ClusterName, ClusterSpecifier, RouteTable};
use nuncio_upstream::ClusterConfig;
use nuncio_upstream::config::{Discovery, EndpointAddress};
use std::any::Any;
use std::net::IpAddr;
use std::time::Duration;

/// What the rules look at.
struct Whole<'a> {
    clusters: &'a [StaticCluster],
    listeners: &'a [StaticListener],
}

/// Looks for one trap and reports each place it finds.
type Rule = fn(&Whole<'_>, &mut Vec<Finding>);

const RULES: &[Rule] = &[nobody_is_ejected, retries_stay_with_one_host, idle_clusters_are_checked_slowly];

/// Applies every rule to a configuration without errors.
pub(crate) fn report(cx: &mut CompileCx<'_>, clusters: &[StaticCluster], listeners: &[StaticListener]) {
    if cx.mode.purpose != Purpose::Check || cx.mode.parity || cx.findings().iter().any(Finding::is_error) {
        return;
    }
    let whole = Whole { clusters, listeners };
    let mut found = Vec::new();
    RULES.iter().for_each(|rule| rule(&whole, &mut found));
    for finding in found {
        cx.push(finding);
    }
}

fn warning(code: &'static str, path: String, message: String) -> Finding {
    Finding::new(Severity::Warning, code, path, message)
}

impl Whole<'_> {
    fn clusters(&self) -> impl Iterator<Item = (String, &ClusterConfig)> {
        self.clusters.iter().enumerate().map(|(at, cluster)| (format!("static_resources.clusters[{at}]"), &*cluster.config))
    }

    fn cluster(&self, name: &str) -> Option<&ClusterConfig> {
        self.clusters.iter().map(|cluster| &*cluster.config).find(|config| *config.name == *name)
    }

    /// Every route table with the path of its `route_config`.
    fn tables(&self) -> impl Iterator<Item = (String, &RouteTable)> {
        self.listeners.iter().flat_map(|listener| {
            listener.config.filter_chains.iter().enumerate().filter_map(move |(at, chain)| {
                let terminal: &dyn Any = &*chain.terminal;
                let RouteSource::Fixed(table) = &terminal.downcast_ref::<Hcm>()?.config().routes else { return None };
                // The terminal filter is the last one, and nearly always the only one.
                Some((format!("{}.filter_chains[{at}].filters[0].typed_config.route_config", listener.path), &**table))
            })
        })
    }
}

/// How many hosts a cluster has, where the configuration alone tells.
fn hosts(config: &ClusterConfig) -> Option<usize> {
    let endpoints = || config.assignment.localities.iter().flat_map(|locality| &locality.endpoints);
    let fixed = |address: &EndpointAddress| match address {
        EndpointAddress::Resolved(_) => true,
        EndpointAddress::Service(_) => false,
        EndpointAddress::Name { host, .. } => host.parse::<IpAddr>().is_ok(),
    };
    match config.discovery {
        Discovery::LogicalDns(_) => Some(1),
        Discovery::Eds(_) => None,
        Discovery::Aggregate(_) | Discovery::Composite(_) | Discovery::OriginalDst(_) | Discovery::Dynamic(_) => None,
        Discovery::Static | Discovery::StrictDns(_) => endpoints().all(|endpoint| fixed(&endpoint.address)).then(|| endpoints().count()),
    }
}

/// With few hosts, `max_ejection_percent` (10 by default) is less than one host.
fn nobody_is_ejected(whole: &Whole<'_>, found: &mut Vec<Finding>) {
    for (path, config) in whole.clusters() {
        let (Some(outlier), Some(hosts)) = (&config.outlier, hosts(config)) else { continue };
        let percent = outlier.max_ejection_percent;
        if outlier.always_eject_one_host || hosts == 0 || 100 <= hosts as u64 * u64::from(percent) {
            continue;
        }
        let text = format!("outlier detection can eject nobody: one of {hosts} hosts is more than {percent} % of them");
        let mut finding = warning(codes::NOBODY_EJECTED, format!("{path}.outlier_detection"), text);
        finding.help("set `always_eject_one_host: true`, or a larger `max_ejection_percent`");
        found.push(finding);
    }
}

/// A retry goes to another host of the cluster that was picked, not to another cluster of the split.
fn retries_stay_with_one_host(whole: &Whole<'_>, found: &mut Vec<Finding>) {
    for (path, table) in whole.tables() {
        for (host_at, host) in table.hosts().iter().enumerate() {
            for (route_at, entry) in (0..).zip(&host.routes) {
                let Action::Forward(action) = &entry.route.action else { continue };
                let ClusterSpecifier::Weighted(weighted) = &action.cluster else { continue };
                let retry = action.retry_policy.as_ref().or(host.host.retry_policy.as_ref());
                if retry.is_none_or(|policy| policy.retry_on.is_empty() || policy.refresh_cluster_on_retry) || weighted.clusters.len() < 2 {
                    continue;
                }
                let alone: Vec<&str> = weighted
                    .clusters
                    .iter()
                    .filter_map(|choice| match &choice.cluster {
                        ClusterName::Name(name) => Some(&**name),
                        ClusterName::Header(_) => None,
                    })
                    .filter(|name| whole.cluster(name).and_then(hosts) == Some(1))
                    .collect();
                if alone.is_empty() {
                    continue;
                }
                let text = format!("retries cannot help when the one host of {} is down: they stay inside the cluster that was picked", alone.join(" or "));
                let place = format!("{path}.virtual_hosts[{host_at}].{}.route.weighted_clusters", host.place(route_at));
                let mut finding = warning(codes::RETRY_CANNOT_HELP, place, text);
                finding.help("set `refresh_cluster_on_retry: true` in the retry policy, or give the cluster more hosts");
                found.push(finding);
            }
        }
    }
}

/// `no_traffic_interval` holds until a cluster has had its first connection: 60 s by default.
fn idle_clusters_are_checked_slowly(whole: &Whole<'_>, found: &mut Vec<Finding>) {
    const DEFAULT: Duration = Duration::from_secs(60);
    for (path, config) in whole.clusters() {
        for (at, check) in config.health_checks.iter().enumerate() {
            if check.no_traffic_interval != DEFAULT || check.interval >= DEFAULT {
                continue;
            }
            let text = format!("until it has had traffic, this cluster is checked every 60 s, not every {:?}", check.interval);
            let mut finding = warning(codes::IDLE_UNCHECKED, format!("{path}.health_checks[{at}]"), text);
            finding.help("set `no_traffic_interval` to the interval if a failing host must be known before the first request");
            found.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Input, Mode, Options, check};

    /// The codes that `check` reports, in order.
    fn codes(yaml: &str) -> Vec<String> {
        let mode = Mode { strict: false, parity: false, purpose: crate::Purpose::Check };
        let report = check(&[Input::inline(yaml)], &Options::checking(mode));
        report.files.iter().flat_map(|file| file.diagnostics.iter().map(|found| found.code.to_string())).collect()
    }

    fn cluster(name: &str, more: &str, hosts: usize) -> String {
        let endpoint = |port| format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}");
        let endpoints: Vec<String> = (1..=hosts).map(endpoint).collect();
        let assignment = format!("{{cluster_name: {name}, endpoints: [{{lb_endpoints: [{}]}}]}}", endpoints.join(", "));
        format!("  - {{name: {name}, {more}load_assignment: {assignment}}}\n")
    }

    #[test]
    fn ten_percent_of_nine_hosts_is_nobody() {
        let clusters = |more, hosts| codes(&format!("static_resources:\n  clusters:\n{}", cluster("a", more, hosts)));
        assert_eq!(clusters("outlier_detection: {}, ", 9), ["NUN0601"]);
        assert_eq!(clusters("outlier_detection: {}, ", 10), [""; 0]);
        assert_eq!(clusters("outlier_detection: {always_eject_one_host: true}, ", 2), [""; 0]);
        assert_eq!(clusters("outlier_detection: {max_ejection_percent: 50}, ", 2), [""; 0]);
    }

    #[test]
    fn idle_clusters_are_told_about_once_for_each_check() {
        let check = |more: &str| {
            let check = format!("health_checks: [{{timeout: 1s, interval: 5s, unhealthy_threshold: 1, healthy_threshold: 1, {more}tcp_health_check: {{}}}}], ");
            codes(&format!("static_resources:\n  clusters:\n{}", cluster("a", &check, 1)))
        };
        assert_eq!(check(""), ["NUN0603"]);
        assert_eq!(check("no_traffic_interval: 5s, "), [""; 0]);
    }

    #[test]
    fn a_split_over_single_hosts_cannot_retry_its_way_out() {
        let split = |hosts, retry: &str| {
            let filter = "name: envoy.filters.network.http_connection_manager\n        typed_config:\n          \
                 '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          \
                 stat_prefix: s\n          http_filters: [{name: envoy.filters.http.router, typed_config: {'@type': \
                 type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]";
            let weighted = "weighted_clusters: {clusters: [{name: a, weight: 9}, {name: b, weight: 1}]}";
            let routes = format!("routes: [{{match: {{prefix: /}}, route: {{{weighted}, retry_policy: {{{retry}}}}}}}]");
            let table = format!("route_config: {{virtual_hosts: [{{name: v, domains: ['*'], {routes}}}]}}");
            let listener = "  listeners:\n  - name: l\n    address: {socket_address: {address: 127.0.0.1, port_value: 1}}\n";
            let chain = format!("    filter_chains:\n    - filters:\n      - {filter}\n          {table}\n");
            codes(&format!("static_resources:\n{listener}{chain}  clusters:\n{}{}", cluster("a", "", 2), cluster("b", "", hosts)))
        };
        assert_eq!(split(1, "retry_on: 5xx"), ["NUN0602"]);
        assert_eq!(split(2, "retry_on: 5xx"), [""; 0]);
        assert_eq!(split(1, "num_retries: 2"), [""; 0]);
    }
}
