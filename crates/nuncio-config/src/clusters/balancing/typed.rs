//! Policies that are extensions: `load_balancing_policy`.

use super::{Balancing, ClusterDiscoveryType, DiscoveryType, options, reported, subset};
use crate::codes;
use nuncio_upstream::NamedBy;
use crate::context::CompileCx;
use nuncio_api::envoy::config::cluster::v3::{self as proto, load_balancing_policy::Policy};
use nuncio_api::envoy::extensions::load_balancing_policies as policies;
use nuncio_upstream::config::{HashLb, HashTableConfig, LbConfig};
use policies::common::v3 as common;
use prost::Message as _;
use std::sync::Arc;

/// Reads the first policy of a list that Envoy has; `None` if it has none of them.
pub(super) fn first_known<T>(
    cx: &mut CompileCx<'_>,
    list: &[Policy],
    read: impl FnOnce(&mut CompileCx<'_>, &prost_types::Any) -> T,
) -> Option<T> {
    let (index, config) = list.iter().enumerate().find_map(|(index, policy)| {
        let Policy { typed_extension_config } = policy;
        let config = typed_extension_config.as_ref()?.typed_config.as_ref()?;
        is_known(nuncio_api::schema::type_name(&config.type_url)).then_some((index, config))
    })?;
    Some(cx.item("policies", index, |cx| cx.at("typed_extension_config", |cx| cx.at("typed_config", |cx| read(cx, config)))))
}

/// Their names, as Envoy lists them.
pub(super) fn names(list: &[Policy]) -> String {
    let names: Vec<&str> = list.iter().filter_map(|p| Some(p.typed_extension_config.as_ref()?.name.as_str())).collect();
    names.join(", ")
}

fn is_known(message: &str) -> bool {
    let mut known = nuncio_api::extensions().iter().filter(|e| e.category == "envoy.load_balancing_policies");
    known.any(|e| e.types.split(',').any(|t| t == message))
}

/// Reads one policy into `made`.
pub(super) fn policy(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, config: &prost_types::Any, made: &mut Balancing) {
    let bytes = config.value.as_slice();
    match nuncio_api::schema::type_name(&config.type_url) {
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin" => {
            let decoded = policies::round_robin::v3::RoundRobin::decode(bytes).unwrap_or_default();
            let policies::round_robin::v3::RoundRobin { slow_start_config, locality_lb_config } = decoded;
            options::locality(locality_lb_config.as_ref(), &mut made.common);
            made.lb = LbConfig::RoundRobin { slow_start: options::typed_slow_start(cx, slow_start_config.as_ref()) };
        }
        "envoy.extensions.load_balancing_policies.random.v3.Random" => {
            let policies::random::v3::Random { locality_lb_config } = policies::random::v3::Random::decode(bytes).unwrap_or_default();
            options::locality(locality_lb_config.as_ref(), &mut made.common);
            made.lb = LbConfig::Random;
        }
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest" => {
            least_request(cx, policies::least_request::v3::LeastRequest::decode(bytes).unwrap_or_default(), made);
        }
        "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash" => {
            ring_hash(cx, policies::ring_hash::v3::RingHash::decode(bytes).unwrap_or_default(), made);
        }
        "envoy.extensions.load_balancing_policies.maglev.v3.Maglev" => {
            let decoded = policies::maglev::v3::Maglev::decode(bytes).unwrap_or_default();
            let policies::maglev::v3::Maglev { table_size, consistent_hashing_lb_config, locality_weighted_lb_config } = decoded;
            let table = options::maglev(cx, table_size);
            made.common.locality_weighted |= locality_weighted_lb_config.is_some();
            hashing(cx, table, consistent_hashing_lb_config.as_ref(), (false, None), made);
        }
        "envoy.extensions.load_balancing_policies.subset.v3.Subset" => {
            subsets(cx, cluster, &policies::subset::v3::Subset::decode(bytes).unwrap_or_default(), made);
        }
        "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality" => wrr_locality(cx, cluster, bytes, made),
        "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided" => provided(cx, cluster),
        "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost" => {
            override_host(cx, cluster, &policies::override_host::v3::OverrideHost::decode(bytes).unwrap_or_default(), made);
        }
        "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin" => {
            reported::compile(cx, bytes, made);
        }
        "envoy.extensions.load_balancing_policies.load_aware_locality.v3.LoadAwareLocality" => {
            load_aware_locality(cx, cluster, bytes, made);
        }
        message => {
            let short = message.rsplit('.').next().unwrap_or(message);
            cx.value_without_effect(&format!("the load balancing policy {short}")).note("hosts are chosen in turn, as by RoundRobin");
        }
    }
}

#[allow(deprecated)]
fn least_request(cx: &mut CompileCx<'_>, from: policies::least_request::v3::LeastRequest, made: &mut Balancing) {
    let policies::least_request::v3::LeastRequest {
        choice_count,
        active_request_bias,
        slow_start_config,
        locality_lb_config,
        enable_full_scan,
        selection_method,
    } = from;
    options::locality(locality_lb_config.as_ref(), &mut made.common);
    let full_scan = selection_method == policies::least_request::v3::least_request::SelectionMethod::FullScan as i32;
    let slow_start = options::typed_slow_start(cx, slow_start_config.as_ref());
    let full_scan = full_scan || enable_full_scan.unwrap_or(false);
    made.lb = options::least_request(cx, choice_count, active_request_bias.as_ref(), full_scan, slow_start);
}

#[allow(deprecated)]
fn ring_hash(cx: &mut CompileCx<'_>, from: policies::ring_hash::v3::RingHash, made: &mut Balancing) {
    let policies::ring_hash::v3::RingHash {
        hash_function,
        minimum_ring_size,
        maximum_ring_size,
        use_hostname_for_hashing,
        hash_balance_factor,
        consistent_hashing_lb_config,
        locality_weighted_lb_config,
    } = from;
    let murmur = hash_function == policies::ring_hash::v3::ring_hash::HashFunction::MurmurHash2 as i32;
    let table = options::ring(cx, minimum_ring_size, maximum_ring_size, murmur);
    made.common.locality_weighted |= locality_weighted_lb_config.is_some();
    hashing(cx, table, consistent_hashing_lb_config.as_ref(), (use_hostname_for_hashing, hash_balance_factor), made);
}

/// The newer message stands for the older fields altogether.
fn hashing(
    cx: &mut CompileCx<'_>,
    table: HashTableConfig,
    shared: Option<&common::ConsistentHashingLbConfig>,
    older: (bool, Option<u32>),
    made: &mut Balancing,
) {
    let Some(common::ConsistentHashingLbConfig { use_hostname_for_hashing, hash_balance_factor, hash_policy }) = shared else {
        made.lb = LbConfig::Hash(HashLb { table, use_hostname: older.0, balance_factor: older.1.unwrap_or(0) });
        return;
    };
    made.hash_policy = cx.at("consistent_hashing_lb_config", |cx| super::hash_policy(cx, hash_policy));
    let (use_hostname, balance_factor) = (*use_hostname_for_hashing, hash_balance_factor.unwrap_or(0));
    made.lb = LbConfig::Hash(HashLb { table, use_hostname, balance_factor });
}

fn subsets(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, from: &policies::subset::v3::Subset, made: &mut Balancing) {
    let config = subset::typed(cx, from);
    if made.subsets.is_some() {
        cx.value_without_effect("a subset policy within another").note("hosts are chosen within the outer subsets");
    } else {
        made.subsets = Some(Arc::new(config));
    }
    let list = from.subset_lb_policy.as_ref().map_or(&[][..], |p| &p.policies);
    let known = match from.subset_lb_policy {
        Some(_) => cx.at("subset_lb_policy", |cx| first_known(cx, list, |cx, config| policy(cx, cluster, config, made))),
        None => None,
    };
    if known.is_none() {
        let names = names(list);
        cx.error(codes::UNKNOWN_EXTENSION, "subset_lb_policy has no load balancing policy that exists").envoy(format!(
            "cluster: didn't find a registered load balancer factory implementation for subset lb with names from [{names}]"
        ));
    }
}

/// Localities by their configured weight, endpoints by the policy inside, of which Envoy knows one.
fn wrr_locality(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, bytes: &[u8], made: &mut Balancing) {
    let policies::wrr_locality::v3::WrrLocality { endpoint_picking_policy } =
        policies::wrr_locality::v3::WrrLocality::decode(bytes).unwrap_or_default();
    made.common.locality_weighted = true;
    let list = endpoint_picking_policy.as_ref().map_or(&[][..], |p| &p.policies);
    let known = match endpoint_picking_policy {
        Some(_) => cx.at("endpoint_picking_policy", |cx| {
            first_known(cx, list, |cx, config| {
                let message = nuncio_api::schema::type_name(&config.type_url);
                if !message.ends_with(".ClientSideWeightedRoundRobin") {
                    cx.error(codes::CONFLICT, "Envoy takes only ClientSideWeightedRoundRobin within WrrLocality").envoy(
                        "Currently WrrLocalityLoadBalancer only supports ClientSideWeightedRoundRobinLoadBalancer as its endpoint picking policy.",
                    );
                }
                policy(cx, cluster, config, made);
            })
        }),
        None => None,
    };
    if known.is_none() {
        cx.error(codes::UNKNOWN_EXTENSION, "endpoint_picking_policy has no policy that exists").envoy("No supported endpoint picking policy.");
    }
}

/// Localities by what their endpoints report, endpoints by the policy inside: of the two only the second.
fn load_aware_locality(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, bytes: &[u8], made: &mut Balancing) {
    let from = policies::load_aware_locality::v3::LoadAwareLocality::decode(bytes).unwrap_or_default();
    let warning = cx.value_without_effect("the load balancing policy LoadAwareLocality");
    warning.note("hosts are chosen by endpoint_picking_policy, whatever their locality");
    if let Some(inner) = &from.endpoint_picking_policy {
        cx.at("endpoint_picking_policy", |cx| first_known(cx, &inner.policies, |cx, config| policy(cx, cluster, config, made)));
    }
}

/// The cluster's type picks the hosts itself.
fn provided(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) {
    let provides = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => *kind == DiscoveryType::OriginalDst as i32,
        Some(ClusterDiscoveryType::ClusterType(_)) => true,
        None => false,
    };
    if !provides {
        let name = &cluster.name;
        cx.error(codes::CONFLICT, "ClusterProvided is only for clusters whose type picks hosts itself").envoy(format!(
            "cluster manager: cluster provided LB specified but cluster '{name}' did not provide one. Check cluster documentation."
        ));
    }
}

/// Hosts that requests name come first.
fn override_host(cx: &mut CompileCx<'_>, cluster: &proto::Cluster, from: &policies::override_host::v3::OverrideHost, made: &mut Balancing) {
    use policies::override_host::v3::override_host::OverrideHostSource;
    let policies::override_host::v3::OverrideHost { override_host_sources, selected_host_key, fallback_policy } = from;
    if let Some(key) = selected_host_key {
        let read = nuncio_ext::read::metadata_key(key);
        let read = cx.at("selected_host_key", |cx| read.map_err(|error| { cx.extension_error(codes::BAD_VALUE, error); }));
        made.selected_key = read.ok().map(Arc::new);
    }
    if made.subsets.is_some() {
        cx.value_without_effect("OverrideHost within a subset policy").note("Envoy does not heed it there, either");
    }
    let headers = cx.each("override_host_sources", override_host_sources, |cx, OverrideHostSource { header, metadata }| {
        let wrong = match (header.is_empty(), metadata.is_none()) {
            (true, true) => ("a source is a header or a metadata key", "Empty override source"),
            (false, false) => ("a source is a header or a metadata key, not both", "Only one override source must be set"),
            _ => match metadata {
                None => return Some(NamedBy::Header(header.to_ascii_lowercase())),
                Some(key) => {
                    let read = nuncio_ext::read::metadata_key(key);
                    let read = read.map_err(|error| { cx.extension_error(codes::BAD_VALUE, error); });
                    return read.ok().map(|(namespace, path)| NamedBy::Metadata { namespace, path });
                }
            },
        };
        cx.error(codes::CONFLICT, wrong.0).envoy(wrong.1);
        None
    });
    made.named_by = if made.subsets.is_some() { Vec::new() } else { headers };
    let list = fallback_policy.as_ref().map_or(&[][..], |p| &p.policies);
    cx.at("fallback_policy", |cx| first_known(cx, list, |cx, config| policy(cx, cluster, config, made)));
}
