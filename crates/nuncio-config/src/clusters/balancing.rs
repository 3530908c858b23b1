//! Which host is chosen: `lb_policy` with its options, `load_balancing_policy`, `common_lb_config`, `lb_subset_config`.
//!
//! Both ways of saying it come to the same values: `typed` reads policies that are extensions, `options` what they
//! share with the older fields, `subset` the subsets of either.

mod options;
mod reported;
mod subset;
mod typed;

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::route::v3::route_action::HashPolicy;
use nuncio_upstream::config::{Attached, CommonLbConfig, HashLb, HashTableConfig, LbConfig, MetadataPath, SubsetConfig};
use proto::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig as ProtoLbConfig, LbPolicy};
use nuncio_upstream::orca::OrcaConfig;
use std::sync::Arc;

/// How hosts are chosen.
#[derive(Default)]
pub(super) struct Balancing {
    pub lb: LbConfig,
    pub orca: Option<Arc<OrcaConfig>>,
    pub common: CommonLbConfig,
    pub subsets: Option<Arc<SubsetConfig>>,
    pub hash_policy: Option<Attached>,
    pub named_by: Vec<nuncio_upstream::NamedBy>,
    /// `selected_host_key`.
    pub selected_key: Option<Arc<MetadataPath>>,
}

/// The list `hash_policy` of the current message; `None` if it is empty.
pub(super) fn hash_policy(cx: &mut CompileCx<'_>, list: &[HashPolicy]) -> Option<Attached> {
    let made = crate::routes::hash_policy(cx, list);
    let bytes: Vec<u8> = list.iter().flat_map(prost::Message::encode_length_delimited_to_vec).collect();
    (!list.is_empty()).then(|| Attached::new(bytes, made))
}

/// The policy and what all policies share.
pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> Balancing {
    let mut made = Balancing::default();
    if let Some(from) = &cluster.common_lb_config {
        cx.at("common_lb_config", |cx| options::common(cx, from, &mut made.common));
    }
    let policy = LbPolicy::try_from(cluster.lb_policy).unwrap_or_default();
    check_provided(cx, cluster, policy);
    unused_options(cx, cluster, policy);
    check_hostnames(cx, cluster);
    if cluster.load_balancing_policy.is_some() || policy == LbPolicy::LoadBalancingPolicyConfig {
        configured(cx, cluster, &mut made);
        return made;
    }
    if let Some(subsets) = &cluster.lb_subset_config {
        if policy == LbPolicy::ClusterProvided {
            conflict(cx, "lb_subset_config", "LB policy CLUSTER_PROVIDED cannot be combined with lb_subset_config");
        }
        // Envoy looks for subsets only where there is a selector.
        let subsets = cx.at("lb_subset_config", |cx| subset::named(cx, subsets));
        made.subsets = subsets.filter(|subsets| !subsets.selectors.is_empty()).map(Arc::new);
    }
    made.lb = named(cx, cluster, policy);
    made
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
const PROVIDING_TYPES: [&str; 4] = [
    super::original_dst::MESSAGE,
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
            let slow_start = cx.at("round_robin_lb_config", |cx| options::slow_start(cx, slow_start_config.as_ref()));
            LbConfig::RoundRobin { slow_start }
        }
        (LbPolicy::LeastRequest, Some(ProtoLbConfig::LeastRequestLbConfig(config))) => {
            let proto::cluster::LeastRequestLbConfig { choice_count, active_request_bias, slow_start_config } = config;
            cx.at("least_request_lb_config", |cx| {
                let slow_start = options::slow_start(cx, slow_start_config.as_ref());
                options::least_request(cx, *choice_count, active_request_bias.as_ref(), false, slow_start)
            })
        }
        (LbPolicy::RoundRobin | LbPolicy::ClusterProvided | LbPolicy::LoadBalancingPolicyConfig, _) => LbConfig::ROUND_ROBIN,
        (LbPolicy::LeastRequest, _) => options::least_request(cx, None, None, false, None),
        (LbPolicy::Random, _) => LbConfig::Random,
        (LbPolicy::RingHash, _) => {
            let table = match options {
                Some(ProtoLbConfig::RingHashLbConfig(config)) => {
                    let proto::cluster::RingHashLbConfig { minimum_ring_size, hash_function, maximum_ring_size } = config;
                    let murmur = *hash_function == proto::cluster::ring_hash_lb_config::HashFunction::MurmurHash2 as i32;
                    cx.at("ring_hash_lb_config", |cx| options::ring(cx, *minimum_ring_size, *maximum_ring_size, murmur))
                }
                _ => options::ring(cx, None, None, false),
            };
            hashing(cluster, table)
        }
        (LbPolicy::Maglev, _) => {
            let table = match options {
                Some(ProtoLbConfig::MaglevLbConfig(proto::cluster::MaglevLbConfig { table_size })) => {
                    cx.at("maglev_lb_config", |cx| options::maglev(cx, *table_size))
                }
                _ => options::maglev(cx, None),
            };
            hashing(cluster, table)
        }
    }
}

fn hashing(cluster: &proto::Cluster, table: HashTableConfig) -> LbConfig {
    let shared = cluster.common_lb_config.as_ref().and_then(|c| c.consistent_hashing_lb_config.as_ref());
    LbConfig::Hash(HashLb {
        table,
        use_hostname: shared.is_some_and(|c| c.use_hostname_for_hashing),
        balance_factor: shared.and_then(|c| c.hash_balance_factor).unwrap_or(0),
    })
}

/// Only hosts of STRICT_DNS have names that Envoy would hash, and it minds whatever the policy is.
fn check_hostnames(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) {
    let shared = cluster.common_lb_config.as_ref().and_then(|c| c.consistent_hashing_lb_config.as_ref());
    if !shared.is_some_and(|c| c.use_hostname_for_hashing) {
        return;
    }
    let kind = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => match DiscoveryType::try_from(*kind).unwrap_or_default() {
            DiscoveryType::StrictDns => return,
            DiscoveryType::Static => "envoy.cluster.static",
            DiscoveryType::LogicalDns => "envoy.cluster.logical_dns",
            DiscoveryType::Eds => "envoy.cluster.eds",
            DiscoveryType::OriginalDst => "envoy.cluster.original_dst",
        },
        Some(ClusterDiscoveryType::ClusterType(custom)) if custom.name != "envoy.clusters.dns" => custom.name.as_str(),
        Some(ClusterDiscoveryType::ClusterType(_)) => "",
        None => "envoy.cluster.static",
    };
    cx.at("common_lb_config", |cx| {
        cx.at("consistent_hashing_lb_config", |cx| {
            cx.at("use_hostname_for_hashing", |cx| {
                cx.error(codes::CONFLICT, "only clusters of type STRICT_DNS can hash the names of their hosts")
                    .envoy(format!("Cannot use hostname for consistent hashing loadbalancing for cluster of type: '{kind}'"));
            });
        });
    });
}

/// Options of another policy than the cluster's.
fn unused_options(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, policy: LbPolicy) {
    let policy = if cluster.load_balancing_policy.is_some() { LbPolicy::LoadBalancingPolicyConfig } else { policy };
    let (field, user) = match &cluster.lb_config {
        None => return,
        Some(ProtoLbConfig::RingHashLbConfig(_)) => ("ring_hash_lb_config", LbPolicy::RingHash),
        Some(ProtoLbConfig::MaglevLbConfig(_)) => ("maglev_lb_config", LbPolicy::Maglev),
        Some(ProtoLbConfig::OriginalDstLbConfig(_)) => {
            let uses = matches!(&cluster.cluster_discovery_type, Some(ClusterDiscoveryType::Type(t)) if *t == DiscoveryType::OriginalDst as i32);
            if !uses {
                cx.without_effect("original_dst_lb_config");
            }
            return;
        }
        Some(ProtoLbConfig::RoundRobinLbConfig(_)) => ("round_robin_lb_config", LbPolicy::RoundRobin),
        Some(ProtoLbConfig::LeastRequestLbConfig(_)) => ("least_request_lb_config", LbPolicy::LeastRequest),
    };
    if user != policy {
        cx.without_effect(field);
    }
}

/// `load_balancing_policy`: the first policy of the list that Envoy has.
fn configured(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, made: &mut Balancing) {
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
        return;
    };
    cx.at("load_balancing_policy", |cx| {
        if typed::first_known(cx, policies, |cx, config| typed::policy(cx, cluster, config, made)).is_some() {
            return;
        }
        let names = typed::names(policies);
        let name = &cluster.name;
        cx.error(codes::UNKNOWN_EXTENSION, "none of these load balancing policies exists").envoy(format!(
            "cluster: didn't find a registered load balancer factory implementation for cluster: '{name}' with names from [{names}]"
        ));
    });
}
