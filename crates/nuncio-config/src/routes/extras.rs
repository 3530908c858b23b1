//! What few forwarding routes have: mirrors, hashing, upgrades, internal redirects, hedging, stream limits.

use super::{Rules, clusters, conditions, headers, text};
use crate::codes;
use crate::context::CompileCx;
use crate::{unbuilt, unsafe_unbuilt};
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_api::envoy::extensions::early_data::v3::DefaultEarlyDataPolicy;
use nuncio_api::envoy::extensions::internal_redirect::{
    allow_listed_routes::v3::AllowListedRoutesConfig, filter_state::v3::FilterStateConfig,
    previous_routes::v3::PreviousRoutesConfig, safe_cross_scheme::v3::SafeCrossSchemeConfig,
};
use nuncio_http::routes::{
    ClusterName, HashPolicy, HashSource, HedgePolicy, InternalRedirect, MaxStreamDuration, MirrorPolicy, RedirectPredicate, Upgrade,
};
use prost::{Message, Name};
use proto::route_action as action;
use std::sync::Arc;

/// The list `request_mirror_policies` of the current message.
pub(super) fn mirrors(
    cx: &mut CompileCx<'_>,
    list: &[action::RequestMirrorPolicy],
    rules: Rules,
) -> Arc<[MirrorPolicy]> {
    cx.each("request_mirror_policies", list, |cx, policy| mirror(cx, policy, rules)).into()
}

/// The same list of a cluster's options. Its clusters need not be there.
pub(crate) fn mirrors_of_cluster(cx: &mut CompileCx<'_>, list: &[action::RequestMirrorPolicy]) -> Box<[MirrorPolicy]> {
    let rules = Rules { validate_clusters: false, direct_response_limit: 0 };
    cx.each("request_mirror_policies", list, |cx, policy| mirror(cx, policy, rules)).into()
}

fn mirror(cx: &mut CompileCx<'_>, from: &action::RequestMirrorPolicy, rules: Rules) -> Option<MirrorPolicy> {
    let action::RequestMirrorPolicy {
        cluster,
        cluster_header,
        runtime_fraction,
        trace_sampled,
        disable_shadow_host_suffix_append,
        request_headers_mutations,
        host_rewrite_literal,
    } = from;
    let request_mutations = cx.each("request_headers_mutations", request_headers_mutations, headers::mutation);
    let cluster = match (cluster.is_empty(), cluster_header.is_empty()) {
        (true, true) => {
            cx.error(codes::MISSING, "a mirror needs a `cluster` or a `cluster_header`")
                .envoy("Exactly one of cluster or cluster_header in request mirror policy need to be specified");
            return None;
        }
        (false, false) => {
            cx.error(codes::CONFLICT, "`cluster` and `cluster_header` exclude each other").envoy(format!(
                "Only one of cluster '{cluster}' or cluster_header '{cluster_header}' in request mirror policy can be specified"
            ));
            return None;
        }
        (false, true) => {
            cx.at("cluster", |cx| clusters::must_exist(cx, cluster, "shadow cluster", rules));
            ClusterName::Name(cluster.as_str().into())
        }
        (true, false) => ClusterName::Header(cx.at("cluster_header", |cx| headers::name(cx, cluster_header))?),
    };
    Some(MirrorPolicy {
        cluster,
        fraction: runtime_fraction.as_ref().map(conditions::runtime_fraction),
        shadow_host_suffix: !disable_shadow_host_suffix_append,
        trace_sampled: *trace_sampled,
        request_mutations: request_mutations.into(),
        host_rewrite: (!host_rewrite_literal.is_empty()).then(|| host_rewrite_literal.as_bytes().into()),
    })
}

/// The list `rate_limits` of the current message.
pub(super) fn rate_limits(cx: &mut CompileCx<'_>, list: &[proto::RateLimit]) -> Box<[nuncio_core::rate_limit::RateLimitPolicy]> {
    cx.each("rate_limits", list, |cx, from| {
        let mut warnings = Vec::new();
        let cluster = cx.identity.cluster.clone();
        let made = nuncio_ext::rate_limits::policy(from, &cluster, &mut warnings);
        cx.extension_findings(warnings);
        made.map_err(|error| { cx.extension_error(codes::BAD_VALUE, error); }).ok()
    })
    .into()
}

/// The list `hash_policy`.
pub(crate) fn hash_policy(cx: &mut CompileCx<'_>, list: &[action::HashPolicy]) -> Box<[HashPolicy]> {
    cx.each("hash_policy", list, |cx, policy| {
        let action::HashPolicy { terminal, policy_specifier } = policy;
        let source = hash_source(cx, policy_specifier.as_ref()?)?;
        Some(HashPolicy { source, terminal: *terminal })
    })
    .into()
}

fn hash_source(cx: &mut CompileCx<'_>, from: &action::hash_policy::PolicySpecifier) -> Option<HashSource> {
    use action::hash_policy::{
        ConnectionProperties, Cookie, CookieAttribute, FilterState, Header, PolicySpecifier, QueryParameter,
    };
    match from {
        PolicySpecifier::Header(Header { header_name, regex_rewrite }) => cx.at("header", |cx| {
            let rewrite = match regex_rewrite {
                Some(regex) => Some(Box::new(cx.at("regex_rewrite", |cx| text::substitution(cx, regex))?)),
                None => None,
            };
            let name = cx.at("header_name", |cx| headers::name(cx, header_name))?;
            Some(HashSource::Header { name, rewrite })
        }),
        PolicySpecifier::Cookie(Cookie { name, ttl, path, attributes }) => cx.at("cookie", |cx| {
            let attribute = |CookieAttribute { name, value }: &CookieAttribute| (name.as_str().into(), value.as_str().into());
            Some(HashSource::Cookie {
                name: name.as_str().into(),
                ttl: cx.duration("ttl", ttl.as_ref()),
                path: path.as_str().into(),
                attributes: attributes.iter().map(attribute).collect(),
            })
        }),
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip }) => {
            source_ip.then_some(HashSource::SourceIp)
        }
        PolicySpecifier::QueryParameter(QueryParameter { name }) => Some(HashSource::QueryParameter(name.as_str().into())),
        PolicySpecifier::FilterState(FilterState { key }) => Some(HashSource::FilterState(key.as_str().into())),
    }
}

/// The list `upgrade_configs`.
pub(super) fn upgrades(cx: &mut CompileCx<'_>, list: &[action::UpgradeConfig]) -> Box<[Upgrade]> {
    let mut seen: Vec<String> = Vec::new();
    cx.each("upgrade_configs", list, |cx, upgrade| {
        let action::UpgradeConfig { upgrade_type, enabled, connect_config } = upgrade;
        let kind = upgrade_type.to_ascii_lowercase();
        if seen.contains(&kind) {
            cx.error(codes::DUPLICATE_NAME, format!("the upgrade `{upgrade_type}` stands here twice"))
                .envoy(format!("Duplicate upgrade {upgrade_type}"));
            return None;
        }
        let is_connect = kind == "connect" || kind == "connect-udp";
        seen.push(kind);
        if connect_config.is_some() && !is_connect {
            cx.at("connect_config", |cx| {
                cx.error(codes::CONFLICT, "connect_config is for the upgrade type CONNECT only")
                    .envoy(format!("Non-CONNECT upgrade type {upgrade_type} has ConnectConfig"));
            });
            return None;
        }
        if upgrade_type.eq_ignore_ascii_case("connect-udp") {
            unbuilt!(cx, connect_config);
            return Some(Upgrade { kind: upgrade_type.as_str().into(), enabled: enabled.unwrap_or(true), connect: None });
        }
        let connect = connect_config.as_ref().map(|connect| {
            let action::upgrade_config::ConnectConfig { proxy_protocol_config, allow_post } = connect;
            cx.at("connect_config", |cx| {
                unsafe_unbuilt!(cx, proxy_protocol_config);
            });
            *allow_post
        });
        Some(Upgrade { kind: upgrade_type.as_str().into(), enabled: enabled.unwrap_or(true), connect })
    })
    .into()
}

/// `internal_redirect_policy`; `None` after a report.
pub(super) fn internal_redirect(
    cx: &mut CompileCx<'_>,
    from: &proto::InternalRedirectPolicy,
) -> Option<InternalRedirect> {
    let proto::InternalRedirectPolicy {
        max_internal_redirects,
        redirect_response_codes,
        predicates,
        allow_cross_scheme_redirect,
        response_headers_to_copy,
    } = from;
    cx.at("internal_redirect_policy", |cx| {
        let predicates = cx.each("predicates", predicates, redirect_predicate);
        // Envoy follows redirects only, whatever the list says.
        let followed = |code: &u32| u16::try_from(*code).ok().filter(|code| matches!(code, 301 | 302 | 303 | 307 | 308));
        let statuses: Box<[u16]> = redirect_response_codes.iter().filter_map(followed).collect();
        let copied = cx.each("response_headers_to_copy", response_headers_to_copy, |cx, name| {
            if headers::is_protected(name) {
                cx.error(codes::BAD_HEADER, format!("`{name}` cannot be copied into the new request"))
                    .envoy(":-prefixed headers or Hosts may not be specified here.");
                return None;
            }
            headers::name(cx, name)
        });
        Some(InternalRedirect {
            max: max_internal_redirects.unwrap_or(1),
            statuses: if redirect_response_codes.is_empty() { [302].into() } else { statuses },
            allow_cross_scheme: *allow_cross_scheme_redirect,
            response_headers_to_copy: copied.into(),
            predicates: predicates.into(),
        })
    })
}

/// What came before `internal_redirect_policy`.
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(super) fn old_internal_redirect(action: i32, max: Option<u32>) -> Option<InternalRedirect> {
    let handled = action == proto::route_action::InternalRedirectAction::HandleInternalRedirect as i32;
    handled.then(|| InternalRedirect {
        max: max.unwrap_or(1),
        statuses: [302].into(),
        allow_cross_scheme: false,
        response_headers_to_copy: Box::default(),
        predicates: Box::default(),
    })
}

fn redirect_predicate(cx: &mut CompileCx<'_>, from: &TypedExtensionConfig) -> Option<RedirectPredicate> {
    let TypedExtensionConfig { name, typed_config } = from;
    let Some(config) = typed_config else {
        cx.error(codes::MISSING, format!("`{name}` has no typed_config"))
            .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: ''"));
        return None;
    };
    let message = nuncio_api::schema::type_name(&config.type_url);
    if message == AllowListedRoutesConfig::full_name() {
        let AllowListedRoutesConfig { allowed_route_names } = AllowListedRoutesConfig::decode(config.value.as_slice()).unwrap_or_default();
        return Some(RedirectPredicate::AllowListedRoutes(allowed_route_names.into_iter().map(Into::into).collect()));
    }
    if message == PreviousRoutesConfig::full_name() {
        return Some(RedirectPredicate::PreviousRoutes);
    }
    if message == SafeCrossSchemeConfig::full_name() {
        return Some(RedirectPredicate::SafeCrossScheme);
    }
    if message == FilterStateConfig::full_name() {
        cx.value_without_effect("the redirect predicate filter_state");
        return None;
    }
    cx.error(codes::UNKNOWN_EXTENSION, format!("there is no redirect predicate `{name}`"))
        .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{}'", config.type_url));
    None
}

/// `early_data_policy`: there is one, and it is about hosts that are spoken to over HTTP/3, which clusters warn of.
pub(super) fn early_data(cx: &mut CompileCx<'_>, from: &TypedExtensionConfig) {
    let TypedExtensionConfig { name, typed_config } = from;
    let url = typed_config.as_ref().map_or("", |config| &config.type_url);
    if nuncio_api::schema::type_name(url) != DefaultEarlyDataPolicy::full_name() {
        cx.error(codes::UNKNOWN_EXTENSION, format!("there is no early data policy `{name}`"))
            .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{}'", nuncio_api::schema::type_name(url)));
    }
}

/// `hedge_policy`.
pub(super) fn hedge(cx: &mut CompileCx<'_>, from: Option<&proto::HedgePolicy>) -> Option<HedgePolicy> {
    let proto::HedgePolicy { initial_requests, additional_request_chance, hedge_on_per_try_timeout } = from?;
    // As in Envoy, which has never built them.
    cx.at("hedge_policy", |cx| unbuilt!(cx, initial_requests, additional_request_chance));
    Some(HedgePolicy { hedge_on_per_try_timeout: *hedge_on_per_try_timeout })
}

/// `max_stream_duration` of a route.
pub(super) fn stream_duration(cx: &mut CompileCx<'_>, from: &action::MaxStreamDuration) -> MaxStreamDuration {
    let action::MaxStreamDuration { max_stream_duration, grpc_timeout_header_max, grpc_timeout_header_offset } = from;
    cx.at("max_stream_duration", |cx| MaxStreamDuration {
        max: cx.duration("max_stream_duration", max_stream_duration.as_ref()),
        grpc_timeout_header_max: cx.duration("grpc_timeout_header_max", grpc_timeout_header_max.as_ref()),
        grpc_timeout_header_offset: cx.duration("grpc_timeout_header_offset", grpc_timeout_header_offset.as_ref()),
    })
}
