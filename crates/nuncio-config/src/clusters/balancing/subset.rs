//! Subsets: `lb_subset_config`, and the policy `Subset`, which say the same.

use crate::clusters::metadata::fields;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::cluster::v3::cluster::{self as named_proto, lb_subset_config as named};
use nuncio_api::envoy::extensions::load_balancing_policies::subset::v3::{self as typed_proto, subset as typed};
use nuncio_upstream::config::{SelectorFallback, SubsetConfig, SubsetFallback, SubsetSelector};

/// `lb_subset_config`.
pub(super) fn named(cx: &mut CompileCx<'_>, from: &named_proto::LbSubsetConfig) -> Option<SubsetConfig> {
    let named_proto::LbSubsetConfig {
        fallback_policy,
        default_subset,
        subset_selectors,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy,
    } = from;
    let selectors = cx.each("subset_selectors", subset_selectors, |cx, from| {
        let named::LbSubsetSelector { keys, single_host_per_subset, fallback_policy, fallback_keys_subset } = from;
        selector(cx, keys, *single_host_per_subset, *fallback_policy, fallback_keys_subset)
    });
    Some(SubsetConfig {
        fallback: fallback(*fallback_policy),
        default_subset: default_subset.as_ref().map(fields).unwrap_or_default(),
        selectors,
        allow_redundant_keys: false,
        locality_weight_aware: *locality_weight_aware,
        scale_locality_weight: *scale_locality_weight,
        panic_mode_any: *panic_mode_any,
        list_as_any: *list_as_any,
        metadata_fallback_list: *metadata_fallback_policy == named::LbSubsetMetadataFallbackPolicy::FallbackList as i32,
    })
}

/// The policy, but for the one inside.
pub(super) fn typed(cx: &mut CompileCx<'_>, from: &typed_proto::Subset) -> SubsetConfig {
    let typed_proto::Subset {
        fallback_policy,
        default_subset,
        subset_selectors,
        allow_redundant_keys,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy,
        subset_lb_policy: _,
    } = from;
    let selectors = cx.each("subset_selectors", subset_selectors, |cx, from| {
        let typed::LbSubsetSelector { keys, single_host_per_subset, fallback_policy, fallback_keys_subset } = from;
        selector(cx, keys, *single_host_per_subset, *fallback_policy, fallback_keys_subset)
    });
    SubsetConfig {
        fallback: fallback(*fallback_policy),
        default_subset: default_subset.as_ref().map(fields).unwrap_or_default(),
        selectors,
        allow_redundant_keys: *allow_redundant_keys,
        locality_weight_aware: *locality_weight_aware,
        scale_locality_weight: *scale_locality_weight,
        panic_mode_any: *panic_mode_any,
        list_as_any: *list_as_any,
        metadata_fallback_list: *metadata_fallback_policy == typed::LbSubsetMetadataFallbackPolicy::FallbackList as i32,
    }
}

// The enumerations of both messages have the same numbers.

fn fallback(policy: i32) -> SubsetFallback {
    match named::LbSubsetFallbackPolicy::try_from(policy).unwrap_or_default() {
        named::LbSubsetFallbackPolicy::NoFallback => SubsetFallback::None,
        named::LbSubsetFallbackPolicy::AnyEndpoint => SubsetFallback::Any,
        named::LbSubsetFallbackPolicy::DefaultSubset => SubsetFallback::Default,
    }
}

fn selector(cx: &mut CompileCx<'_>, keys: &[String], single_host: bool, fallback: i32, fewer: &[String]) -> Option<SubsetSelector> {
    use named::lb_subset_selector::LbSubsetSelectorFallbackPolicy as Policy;
    let (keys, fewer) = (sorted(keys), sorted(fewer));
    let policy = Policy::try_from(fallback).unwrap_or_default();
    let wrong = match policy {
        Policy::KeysSubset if fewer.is_empty() => Some(("the fallback KEYS_SUBSET needs keys", "cannot be empty")),
        Policy::KeysSubset if !fewer.iter().all(|key| keys.contains(key)) => {
            Some(("the keys of the fallback must be some of `keys`", "must be a subset of selector keys"))
        }
        Policy::KeysSubset if fewer.len() == keys.len() => {
            Some(("the fallback has the same keys: it would ask for the same again", "cannot be equal to keys"))
        }
        Policy::KeysSubset => None,
        _ if fewer.is_empty() => None,
        _ => Some(("these keys are for the fallback KEYS_SUBSET", "can be set only for KEYS_SUBSET fallback_policy")),
    };
    if let Some((text, envoy)) = wrong {
        cx.at("fallback_keys_subset", |cx| _ = cx.error(codes::CONFLICT, text).envoy(format!("fallback_keys_subset {envoy}")));
        return None;
    }
    let fallback = match policy {
        Policy::NotDefined => None,
        Policy::NoFallback => Some(SelectorFallback::As(SubsetFallback::None)),
        Policy::AnyEndpoint => Some(SelectorFallback::As(SubsetFallback::Any)),
        Policy::DefaultSubset => Some(SelectorFallback::As(SubsetFallback::Default)),
        Policy::KeysSubset => Some(SelectorFallback::Keys(fewer)),
    };
    Some(SubsetSelector { keys, single_host, fallback })
}

fn sorted(keys: &[String]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys.dedup();
    keys
}
