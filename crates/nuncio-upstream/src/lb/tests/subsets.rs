//! Which hosts a request may have, by its criteria and theirs.

use super::*;
use crate::config::{SelectorFallback, SubsetConfig, SubsetFallback, SubsetSelector};
use nuncio_core::metadata::Metadata;
use std::collections::{BTreeMap, BTreeSet};

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn text(pairs: Pairs<'_>) -> BTreeMap<String, MetadataValue> {
    pairs.iter().map(|(k, v)| ((*k).into(), MetadataValue::Text((*v).into()))).collect()
}

fn with(port: u16, fields: BTreeMap<String, MetadataValue>) -> Arc<Host> {
    let mut made = Arc::into_inner(host(port, 1, 0, HealthFlags::default())).expect("only owner");
    made.metadata = Some(Arc::new(Metadata::from([("envoy.lb".into(), MetadataValue::Struct(fields))])));
    Arc::new(made)
}

fn hosts() -> Vec<Arc<Host>> {
    vec![
        with(0, text(&[("version", "1"), ("stage", "prod")])),
        with(1, text(&[("version", "1"), ("stage", "dev")])),
        with(2, text(&[("version", "2"), ("stage", "prod")])),
        host(3, 1, 0, HealthFlags::default()),
    ]
}

fn selector(keys: &[&str]) -> SubsetSelector {
    SubsetSelector { keys: keys.iter().map(|k| (*k).into()).collect(), ..SubsetSelector::default() }
}

fn built(hosts: Vec<Arc<Host>>, config: SubsetConfig, policy: LbConfig) -> Balancer {
    let set = HostSet::new(hosts, &HashMap::new(), 140, false);
    let (config, common) = (Arc::new(config), CommonLbConfig::default());
    let cx = PlanCx { lb: &policy, common: &common, subsets: Some(&config), local: None, local_hosts: None, named_hosts: false };
    Balancer::new(Arc::new(set.prepared(&cx)), policy, None)
}

/// The hosts that twenty requests with these criteria reach.
fn reached(b: &mut Balancer, wanted: &MetadataMatch) -> Vec<usize> {
    let rng = Rng::seeded(1, 2);
    let cx = PickCx { metadata: Some(wanted), ..PickCx::default() };
    let all: BTreeSet<usize> = (0..20).filter_map(|_| pick(b, &rng, &cx)).map(|c| c.index).collect();
    all.into_iter().collect()
}

fn asks(pairs: Pairs<'_>) -> MetadataMatch {
    MetadataMatch::new(text(pairs))
}

#[test]
fn criteria_name_a_subset_by_all_of_their_keys() {
    let selectors = vec![selector(&["version"]), selector(&["stage", "version"])];
    let mut b = built(hosts(), SubsetConfig { selectors, ..SubsetConfig::default() }, LbConfig::ROUND_ROBIN);
    assert_eq!(reached(&mut b, &asks(&[("version", "1")])), [0, 1]);
    assert_eq!(reached(&mut b, &asks(&[("version", "1"), ("stage", "dev")])), [1]);
    assert!(reached(&mut b, &asks(&[("stage", "dev")])).is_empty());
    assert!(reached(&mut b, &asks(&[("version", "9")])).is_empty());
    assert!(reached(&mut b, &asks(&[("version", "1"), ("x", "y")])).is_empty());
    assert_eq!(pick(&mut b, &Rng::seeded(1, 1), &PickCx::default()), None);
}

#[test]
fn fallbacks_lead_to_any_host_or_the_default_ones() {
    let config = |fallback| SubsetConfig {
        selectors: vec![selector(&["version"])],
        fallback,
        default_subset: text(&[("stage", "prod")]),
        ..SubsetConfig::default()
    };
    let mut b = built(hosts(), config(SubsetFallback::Any), LbConfig::ROUND_ROBIN);
    assert_eq!(reached(&mut b, &asks(&[("version", "9")])), [0, 1, 2, 3]);
    let mut b = built(hosts(), config(SubsetFallback::Default), LbConfig::ROUND_ROBIN);
    assert_eq!(reached(&mut b, &asks(&[("version", "9")])), [0, 2]);
    assert_eq!(reached(&mut b, &asks(&[])), [0, 2]);
    let panics = SubsetConfig { default_subset: text(&[("stage", "none")]), panic_mode_any: true, ..config(SubsetFallback::Default) };
    let mut b = built(hosts(), panics, LbConfig::ROUND_ROBIN);
    assert_eq!(reached(&mut b, &asks(&[("version", "9")])), [0, 1, 2, 3]);
}

#[test]
fn a_selector_may_have_a_fallback_of_its_own() {
    let by = |fallback| SubsetConfig {
        selectors: vec![SubsetSelector { fallback: Some(fallback), ..selector(&["stage", "version"]) }, selector(&["version"])],
        fallback: SubsetFallback::Any,
        default_subset: text(&[("version", "2")]),
        ..SubsetConfig::default()
    };
    let wanted = asks(&[("version", "1"), ("stage", "nowhere")]);
    let run = |fallback| reached(&mut built(hosts(), by(fallback), LbConfig::ROUND_ROBIN), &wanted);
    assert_eq!(run(SelectorFallback::Keys(vec!["version".into()])), [0, 1]);
    assert!(run(SelectorFallback::As(SubsetFallback::None)).is_empty());
    assert_eq!(run(SelectorFallback::As(SubsetFallback::Default)), [2]);
    assert_eq!(run(SelectorFallback::As(SubsetFallback::Any)), [0, 1, 2, 3]);
}

#[test]
fn a_list_puts_a_host_into_several_subsets() {
    let list = |values: &[&str]| MetadataValue::List(values.iter().map(|v| MetadataValue::Text((*v).into())).collect());
    let mut hosts = hosts();
    hosts.push(with(4, BTreeMap::from([("version".into(), list(&["2", "3"]))])));
    let config = |list_as_any| SubsetConfig { selectors: vec![selector(&["version"])], list_as_any, ..SubsetConfig::default() };
    let mut b = built(hosts.clone(), config(true), LbConfig::ROUND_ROBIN);
    assert_eq!(reached(&mut b, &asks(&[("version", "2")])), [2, 4]);
    assert_eq!(reached(&mut b, &asks(&[("version", "3")])), [4]);
    let mut b = built(hosts, config(false), LbConfig::ROUND_ROBIN);
    assert_eq!(reached(&mut b, &asks(&[("version", "2")])), [2]);
}

#[test]
fn one_host_per_subset_is_the_first_of_them() {
    let single = SubsetSelector { single_host: true, ..selector(&["version"]) };
    let mut b = built(hosts(), SubsetConfig { selectors: vec![single], ..SubsetConfig::default() }, LbConfig::ROUND_ROBIN);
    assert_eq!(reached(&mut b, &asks(&[("version", "1")])), [0]);
    assert_eq!(reached(&mut b, &asks(&[("version", "2")])), [2]);
}

#[test]
fn alternatives_are_tried_in_their_order() {
    let config = SubsetConfig { selectors: vec![selector(&["version"])], metadata_fallback_list: true, ..SubsetConfig::default() };
    let mut b = built(hosts(), config, LbConfig::ROUND_ROBIN);
    let list = ["9", "2", "1"].map(|v| MetadataValue::Struct(text(&[("version", v)])));
    let wanted = MetadataMatch::new(BTreeMap::from([("fallback_list".into(), MetadataValue::List(list.into()))]));
    assert_eq!(reached(&mut b, &wanted), [2]);
}

#[test]
fn redundant_keys_may_be_passed_over() {
    let selectors = vec![selector(&["version"]), selector(&["stage", "version"])];
    let config = SubsetConfig { selectors, allow_redundant_keys: true, ..SubsetConfig::default() };
    let mut b = built(hosts(), config, LbConfig::ROUND_ROBIN);
    assert_eq!(reached(&mut b, &asks(&[("version", "1"), ("x", "y")])), [0, 1]);
    assert_eq!(reached(&mut b, &asks(&[("version", "1"), ("stage", "dev"), ("x", "y")])), [1]);
}

#[test]
fn round_robin_in_a_subset_goes_on_when_hosts_change() {
    let config = SubsetConfig { selectors: vec![selector(&["version"])], ..SubsetConfig::default() };
    let mut before = built(hosts(), config.clone(), LbConfig::ROUND_ROBIN);
    let wanted = asks(&[("version", "1")]);
    let cx = PickCx { metadata: Some(&wanted), ..PickCx::default() };
    let rng = Rng::seeded(5, 6);
    let first = pick(&mut before, &rng, &cx).map(|c| c.index);
    let mut hosts = hosts();
    hosts.push(with(4, text(&[("version", "3")])));
    let fresh = built(hosts, config, LbConfig::ROUND_ROBIN);
    let mut after = Balancer::new(fresh.whole.set.clone(), LbConfig::ROUND_ROBIN, Some(before));
    assert_eq!(pick(&mut after, &rng, &cx).map(|c| 1 - c.index), first);
}
