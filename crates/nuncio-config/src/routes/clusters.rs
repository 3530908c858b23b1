//! Which cluster a request goes to: `cluster`, `cluster_header`, `weighted_clusters`.

use super::{Rules, filters, headers};
use crate::clusters::metadata;
use crate::codes;
use crate::context::CompileCx;
use crate::finding::Severity;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_http::routes::{ClusterName, ClusterSpecifier, WeightedCluster, WeightedClusters};
use nuncio_core::RuntimeUint;
use proto::route_action::ClusterSpecifier as Specifier;
use nuncio_upstream::MetadataMatch;
use proto::weighted_cluster::ClusterWeight;
use std::sync::Arc;

/// Compiles the specifier; `None` after a report.
pub(super) fn specifier(
    cx: &mut CompileCx<'_>,
    from: &Specifier,
    route_name: &str,
    rules: Rules,
    wanted: Option<&MetadataMatch>,
) -> Option<ClusterSpecifier> {
    match from {
        Specifier::Cluster(name) => {
            cx.at("cluster", |cx| must_exist(cx, name, "cluster", rules));
            Some(ClusterSpecifier::Cluster(name.as_str().into()))
        }
        Specifier::ClusterHeader(header) => {
            cx.at("cluster_header", |cx| headers::name(cx, header)).map(ClusterSpecifier::Header)
        }
        Specifier::WeightedClusters(weighted) => cx
            .at("weighted_clusters", |cx| self::weighted(cx, weighted, route_name, rules, wanted))
            .map(|weighted| ClusterSpecifier::Weighted(Box::new(weighted))),
        Specifier::ClusterSpecifierPlugin(name) => {
            cx.at("cluster_specifier_plugin", |cx| {
                cx.value_unsafe_without(&format!("the cluster specifier plugin `{name}`"));
            });
            None
        }
        Specifier::InlineClusterSpecifierPlugin(_) => {
            cx.unsafe_without("inline_cluster_specifier_plugin");
            None
        }
    }
}

/// Reports the cluster named at the current path if it is not declared; `kind` is what Envoy calls it.
pub(super) fn must_exist(cx: &mut CompileCx<'_>, name: &str, kind: &str, rules: Rules) {
    if cx.cluster(name).is_some() || (cx.dynamic_clusters() && !rules.validate_clusters) {
        return;
    }
    let severity = if rules.validate_clusters { Severity::Error } else { Severity::Warning };
    let finding = cx.unknown_cluster(severity, name);
    if rules.validate_clusters {
        finding.envoy(format!("route: unknown {kind} '{name}'"));
    } else {
        finding.note("requests are answered 503 as long as there is no such cluster");
    }
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
fn weighted(
    cx: &mut CompileCx<'_>,
    from: &proto::WeightedCluster,
    route_name: &str,
    rules: Rules,
    wanted: Option<&MetadataMatch>,
) -> Option<WeightedClusters> {
    // total_weight has no meaning any more: weights count relative to their sum. Reported as deprecated when read.
    let proto::WeightedCluster { clusters, total_weight: _, runtime_key_prefix, random_value_specifier } = from;
    let before = clusters.len();
    let made = cx.each("clusters", clusters, |cx, cluster| one(cx, cluster, runtime_key_prefix, rules, wanted));
    let (random_header, use_hash_policy) = match random_value_specifier {
        None => (None, false),
        Some(proto::weighted_cluster::RandomValueSpecifier::HeaderName(header)) => {
            (cx.at("header_name", |cx| headers::name(cx, header)), false)
        }
        Some(proto::weighted_cluster::RandomValueSpecifier::UseHashPolicy(wanted)) => {
(None, *wanted)
        }
    };
    if made.len() < before {
        return None;
    }
    let sum: u64 = made.iter().map(|cluster| cluster.weight.default).sum();
    if sum == 0 {
        cx.error(codes::BAD_WEIGHTS, "all weights are zero: there is nothing to choose from")
            .envoy("Sum of weights in the weighted_cluster must be greater than 0.");
        return None;
    }
    if sum > u64::from(u32::MAX) {
        cx.error(codes::BAD_WEIGHTS, format!("the weights add up to {sum}, more than {}", u32::MAX))
            .envoy(format!("The sum of weights of all weighted clusters of route {route_name} exceeds {}", u32::MAX));
        return None;
    }
    Some(WeightedClusters {
        clusters: made.into(),
        random_header,
        use_hash_policy,
        changeable: !runtime_key_prefix.is_empty(),
    })
}

fn one(
    cx: &mut CompileCx<'_>,
    from: &ClusterWeight,
    runtime_key_prefix: &str,
    rules: Rules,
    wanted: Option<&MetadataMatch>,
) -> Option<WeightedCluster> {
    let ClusterWeight {
        name,
        cluster_header,
        weight,
        metadata_match: own,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        typed_per_filter_config,
        host_rewrite_specifier,
    } = from;
    let metadata_match = metadata_match(cx, own.as_ref(), wanted);
    let headers = headers::Lists {
        request_add: request_headers_to_add,
        request_remove: request_headers_to_remove,
        response_add: response_headers_to_add,
        response_remove: response_headers_to_remove,
    }
    .compile(cx);
    let filters = filters::compile(cx, typed_per_filter_config);
    let cluster = cluster_name(cx, name, cluster_header, rules);
    let Some(weight) = weight else {
        cx.error(codes::MISSING, "a weighted cluster needs a `weight`").envoy("Field 'weight' is missing in: ");
        return None;
    };
    let host_rewrite = host_rewrite_specifier.as_ref().map(|rewrite| {
        let proto::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host) = rewrite;
        host.as_bytes().into()
    });
    let key = if runtime_key_prefix.is_empty() { String::new() } else { format!("{runtime_key_prefix}.{name}") };
    let weight = RuntimeUint { default: u64::from(*weight), key: key.into() };
    Some(WeightedCluster { cluster: cluster?, weight, headers, metadata_match, host_rewrite, filters })
}

/// The field `metadata_match`, put over what the route asks for; `None` where it asks for nothing.
pub(crate) fn metadata_match(
    cx: &mut CompileCx<'_>,
    from: Option<&core::Metadata>,
    route: Option<&MetadataMatch>,
) -> Option<Arc<MetadataMatch>> {
    let from = from?;
    cx.at("metadata_match", |cx| {
        let core::Metadata { filter_metadata: _, typed_filter_metadata } = from;
        unbuilt!(cx, typed_filter_metadata);
    });
    let own = metadata::criteria(from)?;
    Some(Arc::new(route.map_or_else(|| own.clone(), |route| route.merged(own.fields()))))
}

/// `name` or `cluster_header`; exactly one of them.
fn cluster_name(cx: &mut CompileCx<'_>, name: &str, header: &str, rules: Rules) -> Option<ClusterName> {
    match (name.is_empty(), header.is_empty()) {
        (true, true) => {
            cx.error(codes::MISSING, "a weighted cluster needs a `name` or a `cluster_header`")
                .envoy("At least one of name or cluster_header need to be specified");
            None
        }
        (false, false) => {
            cx.error(codes::CONFLICT, "`name` and `cluster_header` exclude each other")
                .envoy("Only one of name or cluster_header can be specified");
            None
        }
        (false, true) => {
            cx.at("name", |cx| must_exist(cx, name, "weighted cluster", rules));
            Some(ClusterName::Name(name.into()))
        }
        (true, false) => cx.at("cluster_header", |cx| headers::name(cx, header)).map(ClusterName::Header),
    }
}
