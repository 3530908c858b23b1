//! Cases that are made of parts: routing by zones, and subsets. Each becomes a cluster of the bootstrap, beside `cases.yaml`.
//!
//! We stand in zone `a`, with three of the six hosts of the cluster `local`; two are in `b`, one in `c`.

use super::PORT;
use nuncio_core::metadata::{MetadataMatch, MetadataValue};
use std::fmt::Write as _;

/// What a request asks of hosts' metadata.
pub type Criteria = &'static [(&'static str, &'static str)];

/// A case: its name, fields of its cluster, its endpoints, and what its requests ask for.
pub struct Case {
    pub name: &'static str,
    fields: &'static str,
    endpoints: String,
    pub criteria: Criteria,
}

impl Case {
    /// `metadata_match` of its route.
    pub fn metadata_match(&self) -> String {
        if self.criteria.is_empty() {
            return String::new();
        }
        let values: Vec<String> = self.criteria.iter().map(|(key, value)| format!("{key}: '{value}'")).collect();
        format!(", metadata_match: {{filter_metadata: {{envoy.lb: {{{}}}}}}}", values.join(", "))
    }

    pub fn wanted(&self) -> Option<MetadataMatch> {
        let value = |(key, value): &(&str, &str)| ((*key).to_owned(), MetadataValue::Text((*value).to_owned()));
        (!self.criteria.is_empty()).then(|| MetadataMatch::new(self.criteria.iter().map(value).collect()))
    }
}

/// Who we are; the local cluster.
pub const HERE: &str = "node: {id: here, cluster: us, locality: {zone: a}}\ncluster_manager: {local_cluster_name: local}\n";

/// The clusters, as items of the list that `cases.yaml` ends with.
pub fn clusters() -> String {
    let mut text = String::new();
    let local = Case { name: "local", fields: "", endpoints: zones(&[("a", 3, 0), ("b", 2, 0), ("c", 1, 0)], ""), criteria: &[] };
    for Case { name, fields, endpoints, .. } in [local].iter().chain(&all()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  - {{name: {name}, {fields}load_assignment: {{cluster_name: {name}, endpoints: [{endpoints}]}}}}");
    }
    text
}

pub fn all() -> Vec<Case> {
    let zone = |name, fields, layout: &[(&str, usize, usize)]| Case { name, fields, endpoints: zones(layout, ""), criteria: &[] };
    let few: &[(&str, usize, usize)] = &[("a", 2, 0), ("b", 3, 0), ("c", 3, 0)];
    let mut cases = vec![
        zone("zones_round_robin", "", few),
        zone("zones_random", "lb_policy: RANDOM, ", few),
        zone("zones_least_request", "lb_policy: LEAST_REQUEST, ", few),
        zone("zones_at_home", "", &[("a", 5, 0), ("b", 2, 0), ("c", 1, 0)]),
        zone("zones_unhealthy", "", &[("a", 2, 2), ("b", 4, 1), ("c", 3, 1)]),
        zone("zones_away", "", &[("b", 3, 0), ("c", 4, 0)]),
        zone("zones_elsewhere", "", &[("a", 1, 0), ("b", 3, 0), ("d", 4, 0)]),
        zone("zones_too_few", "", &[("a", 1, 0), ("b", 2, 0), ("c", 2, 0)]),
        zone("zones_small", "common_lb_config: {zone_aware_lb_config: {min_cluster_size: 2}}, ", &[("a", 1, 0), ("b", 2, 0)]),
        zone("zones_sometimes", "common_lb_config: {zone_aware_lb_config: {routing_enabled: {value: 30}}}, ", few),
        zone("zones_by_weight", BY_WEIGHT, few),
        zone("zones_forced", FORCED, few),
    ];
    let weighted = zones(few, ", load_balancing_weight: 3");
    cases.push(Case { name: "zones_weights", fields: "", endpoints: weighted.clone(), criteria: &[] });
    cases.push(Case { name: "zones_weights_by_weight", fields: BY_WEIGHT, endpoints: weighted, criteria: &[] });
    let subset = |name, fields, criteria| Case { name, fields, endpoints: stages(), criteria };
    cases.extend([
        subset("subset_round_robin", "lb_subset_config: {subset_selectors: [{keys: [stage]}]}, ", PROD),
        subset("subset_random", "lb_policy: RANDOM, lb_subset_config: {subset_selectors: [{keys: [stage]}]}, ", PROD),
        subset("subset_least_request", "lb_policy: LEAST_REQUEST, lb_subset_config: {subset_selectors: [{keys: [stage]}]}, ", PROD),
        subset("ring_subset_even", "lb_policy: RING_HASH, lb_subset_config: {subset_selectors: [{keys: [stage]}]}, ", PROD),
        subset("maglev_subset_even", "lb_policy: MAGLEV, lb_subset_config: {subset_selectors: [{keys: [stage]}]}, ", PROD),
        subset("subset_two_keys", "lb_subset_config: {subset_selectors: [{keys: [stage, version]}, {keys: [version]}]}, ", BOTH),
        subset("subset_any", "lb_subset_config: {fallback_policy: ANY_ENDPOINT, subset_selectors: [{keys: [stage]}]}, ", NOBODY),
        subset("subset_default", "lb_subset_config: {fallback_policy: DEFAULT_SUBSET, default_subset: {stage: dev}, subset_selectors: [{keys: [stage]}]}, ", NOBODY),
        subset("subset_fewer_keys", FEWER, &[("stage", "prod"), ("version", "9")]),
        subset("subset_list", "lb_subset_config: {list_as_any: true, subset_selectors: [{keys: [tags]}]}, ", &[("tags", "blue")]),
        subset("subset_one_host", "lb_subset_config: {subset_selectors: [{keys: [id], single_host_per_subset: true}]}, ", &[("id", "h4")]),
        subset("subset_panic", "lb_subset_config: {panic_mode_any: true, fallback_policy: DEFAULT_SUBSET, default_subset: {stage: none}, subset_selectors: [{keys: [stage]}]}, ", NOBODY),
        subset("subset_localities", LOCALITIES, PROD),
        subset("subset_localities_scaled", SCALED, PROD),
        subset("subset_unhealthy", "lb_subset_config: {subset_selectors: [{keys: [version]}]}, ", &[("version", "2")]),
        subset("subset_zones", "common_lb_config: {zone_aware_lb_config: {min_cluster_size: 1}}, lb_subset_config: {subset_selectors: [{keys: [stage]}]}, ", PROD),
    ]);
    cases
}

const PROD: Criteria = &[("stage", "prod")];
const BOTH: Criteria = &[("stage", "prod"), ("version", "1")];
const NOBODY: Criteria = &[("stage", "test")];
const FEWER: &str = "lb_subset_config: {subset_selectors: [{keys: [stage, version], fallback_policy: KEYS_SUBSET, fallback_keys_subset: [stage]}, {keys: [stage]}]}, ";
const LOCALITIES: &str = "common_lb_config: {locality_weighted_lb_config: {}}, lb_subset_config: {locality_weight_aware: true, subset_selectors: [{keys: [stage]}]}, ";
const SCALED: &str = "common_lb_config: {locality_weighted_lb_config: {}}, lb_subset_config: {locality_weight_aware: true, scale_locality_weight: true, subset_selectors: [{keys: [stage]}]}, ";
const BY_WEIGHT: &str = "load_balancing_policy: {policies: [{typed_extension_config: {name: r, typed_config: {'@type': type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random, locality_lb_config: {zone_aware_lb_config: {locality_basis: HEALTHY_HOSTS_WEIGHT}}}}}]}, ";
const FORCED: &str = "load_balancing_policy: {policies: [{typed_extension_config: {name: r, typed_config: {'@type': type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin, locality_lb_config: {zone_aware_lb_config: {force_local_zone: {min_size: 2}}}}}}]}, ";

fn host(n: usize, more: &str) -> String {
    format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.{n}, port_value: {PORT}}}}}}}{more}}}")
}

/// Zones of so many healthy hosts and so many that are not; `first` is said of the first host of each.
fn zones(layout: &[(&str, usize, usize)], first: &str) -> String {
    let mut n = 0;
    let mut localities = Vec::new();
    for (zone, healthy, ill) in layout {
        let hosts: Vec<String> = (0..healthy + ill)
            .map(|at| {
                n += 1;
                host(n, if at >= *healthy { ", health_status: UNHEALTHY" } else if at == 0 { first } else { "" })
            })
            .collect();
        localities.push(format!("{{locality: {{zone: {zone}}}, lb_endpoints: [{}]}}", hosts.join(", ")));
    }
    localities.join(", ")
}

/// Nine hosts in three zones: production everywhere, the rest in the first two.
fn stages() -> String {
    let stage = ["prod", "prod", "dev", "prod", "dev", "dev", "prod", "prod", "prod"];
    let zone = |at: usize, weight: u32| {
        let hosts: Vec<String> = (3 * at..3 * at + 3)
            .map(|n| {
                let tags = if n % 2 == 0 { "[green, blue]" } else { "[green]" };
                let ill = if n == 7 { ", health_status: UNHEALTHY" } else { "" };
                let metadata = format!("{{stage: {}, version: '{}', id: h{n}, tags: {tags}}}", stage[n], 1 + n % 2);
                host(n + 1, &format!(", metadata: {{filter_metadata: {{envoy.lb: {metadata}}}}}{ill}"))
            })
            .collect();
        let name = ["a", "b", "c"][at];
        format!("{{locality: {{zone: {name}}}, load_balancing_weight: {weight}, lb_endpoints: [{}]}}", hosts.join(", "))
    };
    [zone(0, 1), zone(1, 4), zone(2, 2)].join(", ")
}
