//! What the policies share, whichever way they are configured.

use super::LbConfig;
use crate::codes;
use crate::context::CompileCx;
use crate::clusters::endpoints;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::load_balancing_policies::common::v3 as common;
use nuncio_api::envoy::r#type::v3::Percent;
use nuncio_upstream::config::{CommonLbConfig, HashFunction, HashTableConfig, RingHashConfig, SlowStart, ZoneAware};
use proto::cluster::common_lb_config::LocalityConfigSpecifier;

/// `common_lb_config`; what concerns hashing is read where the policy is.
pub(super) fn common(cx: &mut CompileCx<'_>, from: &proto::cluster::CommonLbConfig, shared: &mut CommonLbConfig) {
    let proto::cluster::CommonLbConfig {
        healthy_panic_threshold,
        update_merge_window,
        ignore_new_hosts_until_first_hc,
        close_connections_on_host_set_change,
        consistent_hashing_lb_config: _,
        override_host_status,
        locality_config_specifier,
    } = from;
    if let Some(percent) = healthy_panic_threshold {
        shared.healthy_panic_threshold = percent.value;
    }
    if let Some(window) = cx.duration("update_merge_window", update_merge_window.as_ref()) {
        shared.update_merge_window = window;
    }
    if let Some(core::HealthStatusSet { statuses }) = override_host_status {
        shared.override_host_status = statuses.iter().map(|status| endpoints::health(*status)).collect();
    }
    shared.ignore_new_hosts_until_first_hc = *ignore_new_hosts_until_first_hc;
    shared.close_connections_on_host_set_change = *close_connections_on_host_set_change;
    match locality_config_specifier {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => shared.locality_weighted = true,
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) => {
            let proto::cluster::common_lb_config::ZoneAwareLbConfig { routing_enabled, min_cluster_size, fail_traffic_on_panic } = zone;
            shared.zone_aware = zone_aware(routing_enabled.as_ref(), *min_cluster_size, *fail_traffic_on_panic);
        }
        None => {}
    }
}

fn zone_aware(routing_enabled: Option<&Percent>, min_cluster_size: Option<u64>, fail_traffic_on_panic: bool) -> ZoneAware {
    let default = ZoneAware::default();
    ZoneAware {
        routing_enabled: routing_enabled.map_or(default.routing_enabled, |p| p.value),
        min_cluster_size: min_cluster_size.unwrap_or(default.min_cluster_size),
        fail_traffic_on_panic,
        ..default
    }
}

/// `locality_lb_config` of a policy.
pub(super) fn locality(from: Option<&common::LocalityLbConfig>, shared: &mut CommonLbConfig) {
    use common::locality_lb_config::{LocalityConfigSpecifier as Specifier, ZoneAwareLbConfig, zone_aware_lb_config};
    match from.and_then(|from| from.locality_config_specifier.as_ref()) {
        Some(Specifier::LocalityWeightedLbConfig(_)) => shared.locality_weighted = true,
        Some(Specifier::ZoneAwareLbConfig(zone)) => {
            #[allow(deprecated)]
            let ZoneAwareLbConfig {
                routing_enabled,
                min_cluster_size,
                fail_traffic_on_panic,
                force_locality_direct_routing,
                force_local_zone,
                locality_basis,
            } = zone;
            shared.zone_aware = ZoneAware {
                force_local_zone: match force_local_zone {
                    Some(forced) => Some(forced.min_size.unwrap_or(1)),
                    None => force_locality_direct_routing.then_some(1),
                },
                by_weight: *locality_basis == zone_aware_lb_config::LocalityBasis::HealthyHostsWeight as i32,
                ..zone_aware(routing_enabled.as_ref(), *min_cluster_size, *fail_traffic_on_panic)
            };
        }
        None => {}
    }
}

/// `slow_start_config` of a policy's older options.
pub(super) fn slow_start(cx: &mut CompileCx<'_>, from: Option<&proto::cluster::SlowStartConfig>) -> Option<SlowStart> {
    let proto::cluster::SlowStartConfig { slow_start_window, aggression, min_weight_percent } = from?;
    growing(cx, slow_start_window.as_ref(), aggression.as_ref(), min_weight_percent.as_ref())
}

/// `slow_start_config` of a policy that is an extension.
pub(super) fn typed_slow_start(cx: &mut CompileCx<'_>, from: Option<&common::SlowStartConfig>) -> Option<SlowStart> {
    let common::SlowStartConfig { slow_start_window, aggression, min_weight_percent } = from?;
    growing(cx, slow_start_window.as_ref(), aggression.as_ref(), min_weight_percent.as_ref())
}

fn growing(
    cx: &mut CompileCx<'_>,
    window: Option<&prost_types::Duration>,
    aggression: Option<&core::RuntimeDouble>,
    least: Option<&Percent>,
) -> Option<SlowStart> {
    cx.at("slow_start_config", |cx| {
        let window = cx.duration("slow_start_window", window)?;
        let aggression = aggression.map_or(1.0, |a| cx.at("aggression", |cx| cx.runtime_double(a)));
        // As Envoy takes what makes no sense.
        let aggression = if aggression > 0.0 { aggression } else { 1.0 };
        let least = least.map_or(10.0, |p| p.value) / 100.0;
        (!window.is_zero()).then_some(SlowStart { window, aggression, min_weight: least })
    })
}

/// The options of LEAST_REQUEST.
pub(super) fn least_request(
    cx: &mut CompileCx<'_>,
    choices: Option<u32>,
    bias: Option<&core::RuntimeDouble>,
    full_scan: bool,
    slow_start: Option<SlowStart>,
) -> LbConfig {
    let bias = bias.map_or(1.0, |b| cx.at("active_request_bias", |cx| cx.runtime_double(b)));
    // As Envoy takes what makes no sense.
    let bias = if bias >= 0.0 { bias } else { 1.0 };
    LbConfig::LeastRequest { choice_count: choices.unwrap_or(2), active_request_bias: bias, full_scan, slow_start }
}

/// The options of RING_HASH.
pub(super) fn ring(cx: &mut CompileCx<'_>, min: Option<u64>, max: Option<u64>, murmur: bool) -> HashTableConfig {
    let default = RingHashConfig::default();
    let (min, max) = (min.unwrap_or(default.minimum_ring_size), max.unwrap_or(default.maximum_ring_size));
    if min > max {
        cx.error(codes::CONFLICT, "minimum_ring_size is greater than maximum_ring_size")
            .envoy(format!("ring hash: minimum_ring_size ({min}) > maximum_ring_size ({max})"));
    }
    let hash_function = if murmur { HashFunction::MurmurHash2 } else { HashFunction::XxHash };
    HashTableConfig::Ring(RingHashConfig { minimum_ring_size: min, maximum_ring_size: max, hash_function })
}

/// The options of MAGLEV.
pub(super) fn maglev(cx: &mut CompileCx<'_>, size: Option<u64>) -> HashTableConfig {
    let table_size = size.unwrap_or(65_537);
    let prime = table_size >= 2 && (2..).take_while(|d| d * d <= table_size).all(|d| !table_size.is_multiple_of(d));
    if !prime {
        cx.at("table_size", |cx| {
            cx.error(codes::BAD_VALUE, format!("{table_size} is not a prime number")).envoy("The table size of maglev must be prime number");
        });
    }
    HashTableConfig::Maglev { table_size }
}
