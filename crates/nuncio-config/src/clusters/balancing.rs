//! Which host is chosen: `lb_policy` with its options, `load_balancing_policy`, `common_lb_config`.

use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::load_balancing_policies as policies;
use nuncio_upstream::config::{CommonLbConfig, LbConfig};
use policies::common::v3 as common;
use prost::Message as _;
use proto::cluster::common_lb_config::LocalityConfigSpecifier;
use proto::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig as ProtoLbConfig, LbPolicy};

/// The policy and what all policies share.
pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> (LbConfig, CommonLbConfig) {
    let mut shared = match &cluster.common_lb_config {
        Some(from) => cx.at("common_lb_config", |cx| common_lb(cx, from)),
        None => CommonLbConfig::default(),
    };
    let policy = LbPolicy::try_from(cluster.lb_policy).unwrap_or_default();
    check_provided(cx, cluster, policy);
    unused_options(cx, cluster, policy);
    if cluster.load_balancing_policy.is_some() || policy == LbPolicy::LoadBalancingPolicyConfig {
        let lb = configured(cx, cluster, &mut shared);
        return (lb, shared);
    }
    if cluster.lb_subset_config.is_some() {
        if policy == LbPolicy::ClusterProvided {
            conflict(cx, "lb_subset_config", "LB policy CLUSTER_PROVIDED cannot be combined with lb_subset_config");
        }
        cx.without_effect("lb_subset_config").note("hosts are chosen from the whole cluster");
    }
    let lb = named(cx, cluster, policy);
    (lb, shared)
}

fn conflict(cx: &mut CompileCx<'_>, field: &'static str, envoy: &str) {
    cx.at(field, |cx| {
        cx.error(codes::CONFLICT, format!("`{field}` does not go with the cluster's load balancing")).envoy(format!("cluster: {envoy}"));
    });
}

/// Where the cluster's type picks the hosts itself, the policy must say so, and only there.
fn check_provided(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, policy: LbPolicy) {
    let provides = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(t)) => *t == DiscoveryType::OriginalDst as i32,
        Some(ClusterDiscoveryType::ClusterType(_)) => return check_custom(cx, cluster, policy),
        None => false,
    };
    let delegated = policy == LbPolicy::LoadBalancingPolicyConfig || cluster.load_balancing_policy.is_some();
    if provides && !matches!(policy, LbPolicy::ClusterProvided | LbPolicy::LoadBalancingPolicyConfig) {
        let text = format!(
            "cluster: LB policy {} is not valid for Cluster type ORIGINAL_DST. Only 'CLUSTER_PROVIDED' is allowed with cluster type \
             'ORIGINAL_DST'",
            policy.as_str_name()
        );
        cx.at("lb_policy", |cx| {
            cx.error(codes::CONFLICT, "a cluster of type ORIGINAL_DST needs `lb_policy: CLUSTER_PROVIDED`").envoy(text);
        });
    }
    if !provides && policy == LbPolicy::ClusterProvided && !delegated {
        let name = &cluster.name;
        cx.at("lb_policy", |cx| {
            cx.error(codes::CONFLICT, "CLUSTER_PROVIDED is only for clusters whose type picks hosts itself").envoy(format!(
                "cluster manager: cluster provided LB specified but cluster '{name}' did not provide one. Check cluster documentation."
            ));
        });
    }
}

/// Custom types that pick hosts themselves.
const PROVIDING_TYPES: [&str; 3] = [
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
    "envoy.extensions.clusters.aggregate.v3.ClusterConfig",
    "envoy.extensions.clusters.composite.v3.ClusterConfig",
];

fn check_custom(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, policy: LbPolicy) {
    let Some(ClusterDiscoveryType::ClusterType(custom)) = &cluster.cluster_discovery_type else { return };
    let Some(config) = &custom.typed_config else { return };
    let provides = PROVIDING_TYPES.contains(&nuncio_api::schema::type_name(&config.type_url));
    let delegated = policy == LbPolicy::LoadBalancingPolicyConfig || cluster.load_balancing_policy.is_some();
    if provides && policy != LbPolicy::ClusterProvided && !delegated {
        let name = &cluster.name;
        cx.at("lb_policy", |cx| {
            cx.error(codes::CONFLICT, format!("a cluster of type `{}` needs `lb_policy: CLUSTER_PROVIDED`", custom.name)).envoy(format!(
                "cluster manager: cluster provided LB not specified but cluster '{name}' provided one. Check cluster documentation."
            ));
        });
    }
}

/// `lb_policy` with its `*_lb_config`.
fn named(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, policy: LbPolicy) -> LbConfig {
    let options = cluster.lb_config.as_ref();
    match (policy, options) {
        (LbPolicy::RoundRobin, Some(ProtoLbConfig::RoundRobinLbConfig(config))) => {
            let proto::cluster::RoundRobinLbConfig { slow_start_config } = config;
            cx.at("round_robin_lb_config", |cx| unbuilt!(cx, slow_start_config));
            LbConfig::RoundRobin
        }
        (LbPolicy::LeastRequest, Some(ProtoLbConfig::LeastRequestLbConfig(config))) => {
            let proto::cluster::LeastRequestLbConfig { choice_count, active_request_bias, slow_start_config } = config;
            cx.at("least_request_lb_config", |cx| {
                unbuilt!(cx, slow_start_config);
                least_request(cx, *choice_count, active_request_bias.as_ref(), false)
            })
        }
        (LbPolicy::RoundRobin | LbPolicy::ClusterProvided, _) => LbConfig::RoundRobin,
        (LbPolicy::LeastRequest, _) => least_request(cx, None, None, false),
        (LbPolicy::Random, _) => LbConfig::Random,
        (LbPolicy::RingHash | LbPolicy::Maglev | LbPolicy::LoadBalancingPolicyConfig, _) => {
            check_hashing(cx, options);
            cx.at("lb_policy", |cx| {
                let text = format!("lb_policy {}", policy.as_str_name());
                cx.value_without_effect(&text).note("hosts are chosen in turn, as by ROUND_ROBIN");
            });
            LbConfig::RoundRobin
        }
    }
}

/// Options of another policy than the cluster's, or of one that is not built.
fn unused_options(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, policy: LbPolicy) {
    let policy = if cluster.load_balancing_policy.is_some() { LbPolicy::LoadBalancingPolicyConfig } else { policy };
    let (field, used) = match &cluster.lb_config {
        None => return,
        Some(ProtoLbConfig::RingHashLbConfig(_)) => ("ring_hash_lb_config", false),
        Some(ProtoLbConfig::MaglevLbConfig(_)) => ("maglev_lb_config", false),
        Some(ProtoLbConfig::OriginalDstLbConfig(_)) => ("original_dst_lb_config", false),
        Some(ProtoLbConfig::RoundRobinLbConfig(_)) => ("round_robin_lb_config", policy == LbPolicy::RoundRobin),
        Some(ProtoLbConfig::LeastRequestLbConfig(_)) => ("least_request_lb_config", policy == LbPolicy::LeastRequest),
    };
    if !used {
        cx.without_effect(field);
    }
}

fn check_hashing(cx: &mut CompileCx<'_>, options: Option<&ProtoLbConfig>) {
    match options {
        Some(ProtoLbConfig::RingHashLbConfig(config)) => {
            let proto::cluster::RingHashLbConfig { minimum_ring_size, hash_function: _, maximum_ring_size } = config;
            cx.at("ring_hash_lb_config", |cx| ring_size(cx, *minimum_ring_size, *maximum_ring_size));
        }
        Some(ProtoLbConfig::MaglevLbConfig(proto::cluster::MaglevLbConfig { table_size })) => {
            cx.at("maglev_lb_config", |cx| maglev_size(cx, *table_size));
        }
        _ => {}
    }
}

fn ring_size(cx: &mut CompileCx<'_>, min: Option<u64>, max: Option<u64>) {
    let (min, max) = (min.unwrap_or(1024), max.unwrap_or(8 * 1024 * 1024));
    if min > max {
        cx.error(codes::CONFLICT, "minimum_ring_size is greater than maximum_ring_size")
            .envoy(format!("ring hash: minimum_ring_size ({min}) > maximum_ring_size ({max})"));
    }
}

fn maglev_size(cx: &mut CompileCx<'_>, size: Option<u64>) {
    let size = size.unwrap_or(65537);
    let prime = size >= 2 && (2..).take_while(|d| d * d <= size).all(|d| !size.is_multiple_of(d));
    if !prime {
        cx.at("table_size", |cx| {
            cx.error(codes::BAD_VALUE, format!("{size} is not a prime number")).envoy("The table size of maglev must be prime number");
        });
    }
}

fn least_request(cx: &mut CompileCx<'_>, choices: Option<u32>, bias: Option<&core::RuntimeDouble>, full_scan: bool) -> LbConfig {
    let bias = bias.map_or(1.0, |b| cx.at("active_request_bias", |cx| cx.runtime_double(b)));
    LbConfig::LeastRequest { choice_count: choices.unwrap_or(2), active_request_bias: bias, full_scan }
}

/// `load_balancing_policy`: the first policy of the list that Envoy has.
fn configured(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, shared: &mut CommonLbConfig) -> LbConfig {
    if cluster.lb_subset_config.is_some() {
        conflict(cx, "lb_subset_config", "load_balancing_policy cannot be combined with lb_subset_config");
    }
    let partial = cluster.common_lb_config.as_ref().is_some_and(|c| c.locality_config_specifier.is_some() || c.consistent_hashing_lb_config.is_some());
    if partial {
        conflict(
            cx,
            "common_lb_config",
            "load_balancing_policy cannot be combined with partial fields (zone_aware_lb_config, locality_weighted_lb_config, \
             consistent_hashing_lb_config) of common_lb_config",
        );
    }
    let Some(proto::LoadBalancingPolicy { policies }) = &cluster.load_balancing_policy else {
        cx.at("lb_policy", |cx| {
            cx.error(codes::MISSING, "`lb_policy: LOAD_BALANCING_POLICY_CONFIG` needs load_balancing_policy")
                .envoy("cluster: field load_balancing_policy need to be set");
        });
        return LbConfig::RoundRobin;
    };
    cx.at("load_balancing_policy", |cx| {
        for (index, policy) in policies.iter().enumerate() {
            let proto::load_balancing_policy::Policy { typed_extension_config } = policy;
            let Some(config) = typed_extension_config.as_ref().and_then(|t| t.typed_config.as_ref()) else { continue };
            if !is_known(nuncio_api::schema::type_name(&config.type_url)) {
                continue;
            }
            return cx.item("policies", index, |cx| {
                cx.at("typed_extension_config", |cx| cx.at("typed_config", |cx| typed(cx, config, shared)))
            });
        }
        let names: Vec<&str> = policies.iter().filter_map(|p| Some(p.typed_extension_config.as_ref()?.name.as_str())).collect();
        let name = &cluster.name;
        cx.error(codes::UNKNOWN_EXTENSION, "none of these load balancing policies exists").envoy(format!(
            "cluster: didn't find a registered load balancer factory implementation for cluster: '{name}' with names from [{}]",
            names.join(", ")
        ));
        LbConfig::RoundRobin
    })
}

fn is_known(message: &str) -> bool {
    let mut known = nuncio_api::extensions().iter().filter(|e| e.category == "envoy.load_balancing_policies");
    known.any(|e| e.types.split(',').any(|t| t == message))
}

fn typed(cx: &mut CompileCx<'_>, config: &prost_types::Any, shared: &mut CommonLbConfig) -> LbConfig {
    let bytes = config.value.as_slice();
    match nuncio_api::schema::type_name(&config.type_url) {
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin" => {
            let decoded = policies::round_robin::v3::RoundRobin::decode(bytes).unwrap_or_default();
            let policies::round_robin::v3::RoundRobin { slow_start_config, locality_lb_config } = decoded;
            unbuilt!(cx, slow_start_config);
            locality(cx, locality_lb_config.as_ref(), shared);
            LbConfig::RoundRobin
        }
        "envoy.extensions.load_balancing_policies.random.v3.Random" => {
            let policies::random::v3::Random { locality_lb_config } = policies::random::v3::Random::decode(bytes).unwrap_or_default();
            locality(cx, locality_lb_config.as_ref(), shared);
            LbConfig::Random
        }
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest" => {
            let decoded = policies::least_request::v3::LeastRequest::decode(bytes).unwrap_or_default();
            typed_least_request(cx, &decoded, shared)
        }
        "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality" => wrr_locality(cx, bytes, shared),
        message => {
            check_typed_hashing(cx, message, bytes);
            let short = message.rsplit('.').next().unwrap_or(message);
            cx.value_without_effect(&format!("the load balancing policy {short}")).note("hosts are chosen in turn, as by RoundRobin");
            LbConfig::RoundRobin
        }
    }
}

fn check_typed_hashing(cx: &mut CompileCx<'_>, message: &str, bytes: &[u8]) {
    match message {
        "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash" => {
            let ring = policies::ring_hash::v3::RingHash::decode(bytes).unwrap_or_default();
            ring_size(cx, ring.minimum_ring_size, ring.maximum_ring_size);
        }
        "envoy.extensions.load_balancing_policies.maglev.v3.Maglev" => {
            let maglev = policies::maglev::v3::Maglev::decode(bytes).unwrap_or_default();
            maglev_size(cx, maglev.table_size);
        }
        _ => {}
    }
}

#[allow(deprecated)]
fn typed_least_request(cx: &mut CompileCx<'_>, from: &policies::least_request::v3::LeastRequest, shared: &mut CommonLbConfig) -> LbConfig {
    let policies::least_request::v3::LeastRequest {
        choice_count,
        active_request_bias,
        slow_start_config,
        locality_lb_config,
        enable_full_scan,
        selection_method,
    } = from;
    unbuilt!(cx, slow_start_config);
    locality(cx, locality_lb_config.as_ref(), shared);
    let full_scan = *selection_method == policies::least_request::v3::least_request::SelectionMethod::FullScan as i32;
    least_request(cx, *choice_count, active_request_bias.as_ref(), full_scan || enable_full_scan.unwrap_or(false))
}

/// Localities by their configured weight, endpoints by the policy inside.
fn wrr_locality(cx: &mut CompileCx<'_>, bytes: &[u8], shared: &mut CommonLbConfig) -> LbConfig {
    let policies::wrr_locality::v3::WrrLocality { endpoint_picking_policy } =
        policies::wrr_locality::v3::WrrLocality::decode(bytes).unwrap_or_default();
    let lb = cx.at("endpoint_picking_policy", |cx| {
        let inner = endpoint_picking_policy.as_ref().map_or(&[][..], |p| &p.policies);
        let known = inner.iter().enumerate().find_map(|(index, policy)| {
            let config = policy.typed_extension_config.as_ref()?.typed_config.as_ref()?;
            is_known(nuncio_api::schema::type_name(&config.type_url)).then_some((index, config))
        });
        let (index, config) = known?;
        Some(cx.item("policies", index, |cx| cx.at("typed_extension_config", |cx| cx.at("typed_config", |cx| typed(cx, config, shared)))))
    });
    shared.locality_weighted = true;
    lb.unwrap_or_default()
}

fn locality(cx: &mut CompileCx<'_>, from: Option<&common::LocalityLbConfig>, shared: &mut CommonLbConfig) {
    use common::locality_lb_config::LocalityConfigSpecifier as Specifier;
    let Some(common::LocalityLbConfig { locality_config_specifier }) = from else { return };
    cx.at("locality_lb_config", |cx| match locality_config_specifier {
        Some(Specifier::LocalityWeightedLbConfig(_)) => shared.locality_weighted = true,
        Some(Specifier::ZoneAwareLbConfig(zone)) => cx.at("zone_aware_lb_config", |cx| {
            #[allow(deprecated)]
            let common::locality_lb_config::ZoneAwareLbConfig {
                routing_enabled,
                min_cluster_size,
                fail_traffic_on_panic,
                force_locality_direct_routing,
                force_local_zone,
                locality_basis,
            } = zone;
            unbuilt!(cx, routing_enabled, min_cluster_size, force_locality_direct_routing, force_local_zone, locality_basis);
            shared.fail_traffic_on_panic = *fail_traffic_on_panic;
        }),
        None => {}
    });
}

fn common_lb(cx: &mut CompileCx<'_>, from: &proto::cluster::CommonLbConfig) -> CommonLbConfig {
    let proto::cluster::CommonLbConfig {
        healthy_panic_threshold,
        update_merge_window,
        ignore_new_hosts_until_first_hc,
        close_connections_on_host_set_change,
        consistent_hashing_lb_config,
        override_host_status,
        locality_config_specifier,
    } = from;
    unbuilt!(cx, consistent_hashing_lb_config, override_host_status);
    let mut shared = CommonLbConfig::default();
    if let Some(percent) = healthy_panic_threshold {
        shared.healthy_panic_threshold = percent.value;
    }
    if let Some(window) = cx.duration("update_merge_window", update_merge_window.as_ref()) {
        shared.update_merge_window = window;
    }
    shared.ignore_new_hosts_until_first_hc = *ignore_new_hosts_until_first_hc;
    shared.close_connections_on_host_set_change = *close_connections_on_host_set_change;
    match locality_config_specifier {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => shared.locality_weighted = true,
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) => cx.at("zone_aware_lb_config", |cx| {
            let proto::cluster::common_lb_config::ZoneAwareLbConfig { routing_enabled, min_cluster_size, fail_traffic_on_panic } = zone;
            unbuilt!(cx, routing_enabled, min_cluster_size);
            shared.fail_traffic_on_panic = *fail_traffic_on_panic;
        }),
        None => {}
    }
    shared
}
