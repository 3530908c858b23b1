//! Matchers over filters, read.

use super::{Act, COMPOSITE_STATS, Delegating, Execute, Kind, RouteMatcher};
use crate::matcher::{self, Findings, Place};
use crate::read::{self, runtime_fraction, within};
use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_api::envoy::extensions::common::matching::v3 as delegating;
use nuncio_api::envoy::extensions::filters::http::composite::v3 as proto;
use nuncio_api::xds::core::v3 as xds;
use nuncio_api::xds::r#type::matcher::v3::Matcher;
use nuncio_core::matching::tree::MatchTree;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, Fraction, HttpFilter, Phases};
use std::{any::Any, collections::HashMap, sync::Arc};

type Chains = HashMap<String, proto::FilterChainConfiguration>;

/// What building inside `part` has noted gets the path of `part`.
fn inside<T>(cx: &mut BuildCx<'_>, path: &str, part: impl FnOnce(&mut BuildCx<'_>) -> Result<T, ConfigError>) -> Result<T, ConfigError> {
    let (warnings, refusals) = (cx.warnings.len(), cx.unsafe_without.len());
    let made = part(cx).map_err(within(path));
    for noted in cx.warnings[warnings..].iter_mut().chain(&mut cx.unsafe_without[refusals..]) {
        *noted = within(path)(noted.clone());
    }
    made
}

/// A filter behind a matcher. The filter may be `composite`: then the matcher is that one's.
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(super) fn delegate(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let delegating::ExtensionWithMatcher { matcher, xds_matcher, extension_config } = read::message(config)?;
    let matcher = match (&xds_matcher, &matcher) {
        (Some(matcher), _) => Some(matcher.clone()),
        (None, Some(matcher)) => Some(matcher::from_legacy(matcher)?),
        (None, None) => None,
    };
    let field = if xds_matcher.is_some() { "xds_matcher" } else { "matcher" };
    let extension = extension_config.ok_or_else(|| ConfigError::at("extension_config", "is missing"))?;
    let any = extension.typed_config.as_ref().ok_or_else(|| ConfigError::at("extension_config.typed_config", "is missing"))?;
    let mut chains = Chains::new();
    let is_composite = any.type_url.ends_with("/envoy.extensions.filters.http.composite.v3.Composite");
    if is_composite {
        let inner = FilterConfig { type_url: &any.type_url, value: &any.value };
        chains = read::message::<proto::Composite>(inner)?.named_filter_chains;
    }
    let tree = matcher.map(|matcher| inside(cx, field, |cx| tree(&matcher, &chains, cx))).transpose()?;
    let kind = if is_composite {
        composite_kind(cx)
    } else {
        match inside(cx, "extension_config", |cx| one(&extension, cx))? {
            Some(filter) => Kind::Delegate(filter),
            None => composite_kind(cx),
        }
    };
    Ok(made(tree, kind, cx))
}

pub(super) fn composite(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::Composite { named_filter_chains, matcher } = read::message(config)?;
    let tree = matcher.map(|matcher| inside(cx, "matcher", |cx| tree(&matcher, &named_filter_chains, cx))).transpose()?;
    let kind = composite_kind(cx);
    Ok(made(tree, kind, cx))
}

pub(super) fn delegate_route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let delegating::ExtensionWithMatcherPerRoute { xds_matcher } = read::message(config)?;
    route(xds_matcher.as_ref(), "xds_matcher", cx)
}

pub(super) fn composite_route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::CompositePerRoute { matcher } = read::message(config)?;
    route(matcher.as_ref(), "matcher", cx)
}

/// Filters have their places in a stream by the chain they are built with: a route can only skip them.
fn route(matcher: Option<&Matcher>, field: &str, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let mut findings = Findings::default();
    let mut skip = |at: &str, config: &xds::TypedExtensionConfig, findings: &mut Findings| {
        if !is_skip(config) {
            findings.refusals.push(ConfigError::at(at, "running a filter for a route alone is not built yet, and unsafe to ignore"));
        }
        Some(Act::Skip)
    };
    let tree = matcher.and_then(|matcher| matcher::read(matcher, Place::Http, &mut skip, &mut findings));
    settle(findings, cx).map_err(within(field))?;
    Ok(Arc::new(RouteMatcher(tree)))
}

fn settle(findings: Findings, cx: &mut BuildCx<'_>) -> Result<(), ConfigError> {
    cx.unsafe_without.extend(findings.refusals);
    findings.errors.into_iter().next().map_or(Ok(()), Err)
}

fn composite_kind(cx: &BuildCx<'_>) -> Kind {
    Kind::Composite(cx.stats.scope(&format!("{}composite.", cx.stat_prefix), &COMPOSITE_STATS))
}

fn made(tree: Option<MatchTree<Act>>, kind: Kind, cx: &mut BuildCx<'_>) -> Arc<dyn HttpFilter> {
    let mut phases = Phases::REQUEST_HEADERS;
    if let Some(tree) = &tree {
        if tree.asks_for_response() {
            phases = phases.and(Phases::RESPONSE_HEADERS).and(Phases::RESPONSE_TRAILERS);
        }
        tree.each_action(&mut |act| {
            if let Act::Run(execute) = act {
                phases = phases.and(execute.filter.phases());
            }
        });
    }
    if let Kind::Delegate(filter) = &kind {
        phases = phases.and(filter.phases());
    }
    Arc::new(Delegating { name: cx.filter_name.to_owned(), tree, kind, phases, slot: cx.state_slot(), actions: cx.state_slot() })
}

fn is_skip(config: &xds::TypedExtensionConfig) -> bool {
    matcher::type_of(config) == "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
}

fn tree(from: &Matcher, chains: &Chains, cx: &mut BuildCx<'_>) -> Result<MatchTree<Act>, ConfigError> {
    let mut findings = Findings::default();
    let mut act = |at: &str, config: &xds::TypedExtensionConfig, findings: &mut Findings| {
        if is_skip(config) {
            return Some(Act::Skip);
        }
        if matcher::type_of(config) != "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction" {
            let message = format!("Didn't find a registered implementation for '{}' with type URL: '{}'", config.name, matcher::type_of(config));
            findings.errors.push(ConfigError::at(at, message));
            return None;
        }
        let run = matcher::message(config).and_then(|action| inside(cx, &format!("{at}.typed_config"), |cx| execute(&action, chains, cx)));
        match run {
            Ok(run) => run.map_or(Some(Act::Skip), |run| Some(Act::Run(run))),
            Err(error) => {
                findings.errors.push(error);
                None
            }
        }
    };
    let tree = matcher::read(from, Place::Http, &mut act, &mut findings);
    settle(findings, cx)?;
    tree.ok_or_else(|| ConfigError::at("", "this leads nowhere"))
}

/// The filter of an action; `None` where it is not built, which is noted.
fn execute(from: &proto::ExecuteFilterAction, chains: &Chains, cx: &mut BuildCx<'_>) -> Result<Option<Execute>, ConfigError> {
    let proto::ExecuteFilterAction { typed_config, dynamic_config, filter_chain, filter_chain_name, sample_percent } = from;
    let not_built = |field: &str, cx: &mut BuildCx<'_>| {
        cx.unsafe_without.push(ConfigError::at(field, "is not built yet, and unsafe to ignore"));
        Ok(None)
    };
    if dynamic_config.is_some() {
        return not_built("dynamic_config", cx);
    }
    let chain = if filter_chain_name.is_empty() { filter_chain.as_ref() } else { chains.get(filter_chain_name) };
    let name = match typed_config {
        _ if !filter_chain_name.is_empty() => filter_chain_name.as_str(),
        Some(filter) if chain.is_none() => filter.name.as_str(),
        _ => "filter_chain",
    };
    let filter = match (chain, typed_config) {
        (Some(proto::FilterChainConfiguration { typed_config }), _) => match typed_config.as_slice() {
            [only] => only,
            // One verdict for each piece is what a filter has.
            _ => return not_built("filter_chain", cx),
        },
        (None, Some(filter)) => filter,
        (None, None) => return Err(ConfigError::at("", "Didn't find a registered implementation for '' with type URL: ''")),
    };
    let made = inside(cx, if chain.is_some() { "filter_chain.typed_config[0]" } else { "typed_config" }, |cx| one(filter, cx))?;
    let none = Fraction { numerator: 0, denominator: 100 };
    let sample = sample_percent.as_ref().map(|percent| runtime_fraction(Some(percent), none));
    Ok(made.map(|made| Execute { name: name.into(), filter: made, sample }))
}

/// Builds a filter; `None` where there is none of its type, which is noted.
fn one(from: &TypedExtensionConfig, cx: &mut BuildCx<'_>) -> Result<Option<Arc<dyn HttpFilter>>, ConfigError> {
    let any = from.typed_config.as_ref().ok_or_else(|| ConfigError::at("typed_config", "is missing"))?;
    let message = any.type_url.rsplit('/').next().unwrap_or_default();
    let Some(entry) = cx.http_filters.iter().find(|entry| entry.message == message) else {
        cx.unsafe_without.push(ConfigError::at("typed_config", format!("the filter `{message}` is not built yet, and unsafe to ignore")));
        return Ok(None);
    };
    inside(cx, "typed_config", |cx| (entry.build)(FilterConfig { type_url: &any.type_url, value: &any.value }, cx).map(Some))
}
