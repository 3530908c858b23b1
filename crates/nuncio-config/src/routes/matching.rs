//! `RouteMatch`: which requests a route takes.

use super::{conditions, text};
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_api::envoy::r#type::matcher::v3 as kinds;
use nuncio_api::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use nuncio_core::matching::{MetadataMatcher, TextMatch};
use nuncio_http::routes::{Fold, Matcher, MoreConditions, PathMatch, PathTemplate};
use prost::{Message, Name};

/// Compiles the conditions of a route; `None` after a report.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::RouteMatch) -> Option<Matcher> {
    let proto::RouteMatch {
        case_sensitive,
        runtime_fraction,
        headers,
        query_parameters,
        cookies,
        grpc,
        tls_context,
        dynamic_metadata,
        filter_state,
        path_specifier,
    } = from;
    let path = path(cx, path_specifier.as_ref()?, !case_sensitive.unwrap_or(true));
    let wanted_headers = cx.each("headers", headers, conditions::header);
    let query = cx.each("query_parameters", query_parameters, conditions::query);
    let cookies = cx.each("cookies", cookies, conditions::cookie);
    let tls = tls_context.as_ref().copied().unwrap_or_default();
    let proto::route_match::TlsContextMatchOptions { presented, validated } = tls;
    let more = MoreConditions {
        query: query.into(),
        cookies: cookies.into(),
        grpc: grpc.is_some(),
        fraction: runtime_fraction.as_ref().map(conditions::runtime_fraction),
        certificate_presented: presented,
        certificate_validated: validated,
        metadata: metadata(cx, dynamic_metadata),
        filter_state: self::filter_state(cx, filter_state),
    };
    Some(Matcher { path: path?, headers: wanted_headers.into(), more: more.boxed() })
}

/// `dynamic_metadata`
fn metadata(cx: &mut CompileCx<'_>, list: &[kinds::MetadataMatcher]) -> Box<[MetadataMatcher]> {
    cx.each("dynamic_metadata", list, |cx, from| {
        nuncio_ext::read::metadata_matcher(from).map_err(|error| { cx.extension_error(codes::BAD_VALUE, error); }).ok()
    })
    .into()
}

/// `filter_state`. Objects are texts: one that should be an address never is.
fn filter_state(cx: &mut CompileCx<'_>, list: &[kinds::FilterStateMatcher]) -> Box<[(Box<str>, TextMatch)]> {
    use kinds::filter_state_matcher::Matcher;
    cx.each("filter_state", list, |cx, kinds::FilterStateMatcher { key, matcher }| {
        let wanted = match matcher.as_ref()? {
            Matcher::StringMatch(text) => cx.at("string_match", |cx| text::matcher(cx, text))?,
            Matcher::AddressMatch(_) => {
                cx.without_effect("address_match").note("no object is an address in this version, so it never matches");
                TextMatch::Regex(nuncio_http::routes::Pattern::new("[^\\x00-\\xff]").ok()?)
            }
        };
        Some((key.as_str().into(), wanted))
    })
    .into()
}

fn path(
    cx: &mut CompileCx<'_>,
    from: &proto::route_match::PathSpecifier,
    ignore_case: bool,
) -> Option<PathMatch> {
    use proto::route_match::PathSpecifier;
    let fold = |text: &str| Fold::new(text.as_bytes(), ignore_case);
    Some(match from {
        PathSpecifier::Prefix(text) => {
            warn_of_query(cx, "prefix", text);
            PathMatch::Prefix(fold(text))
        }
        PathSpecifier::Path(text) => {
            warn_of_query(cx, "path", text);
            PathMatch::Exact(fold(text))
        }
        PathSpecifier::PathSeparatedPrefix(text) => PathMatch::Separated(fold(text)),
        PathSpecifier::SafeRegex(regex) => PathMatch::Regex(cx.at("safe_regex", |cx| text::pattern(cx, regex))?),
        PathSpecifier::ConnectMatcher(proto::route_match::ConnectMatcher {}) => PathMatch::Connect,
        PathSpecifier::PathMatchPolicy(policy) => {
            PathMatch::Template(cx.at("path_match_policy", |cx| template(cx, policy))?)
        }
    })
}

/// Paths are matched without their query.
fn warn_of_query(cx: &mut CompileCx<'_>, field: &'static str, text: &str) {
    let problem = if text.contains(['?', '#']) {
        "paths are matched without their query, so this never matches"
    } else if !text.is_empty() && !text.starts_with('/') && text != "*" {
        "a request's path begins with `/`, so this never matches"
    } else {
        return;
    };
    cx.at(field, |cx| {
        let finding = cx.warn(codes::SUSPICIOUS, problem);
        if text.contains('?') {
            finding.help("match the query with `query_parameters`");
        }
    });
}

fn template(cx: &mut CompileCx<'_>, policy: &core::TypedExtensionConfig) -> Option<PathTemplate> {
    let core::TypedExtensionConfig { name, typed_config } = policy;
    let config = typed_config.as_ref()?;
    if !config.type_url.ends_with(&UriTemplateMatchConfig::full_name()) {
        cx.error(codes::UNKNOWN_EXTENSION, format!("there is no path matcher `{name}`"))
            .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{}'", config.type_url));
        return None;
    }
    cx.at("typed_config", |cx| {
        let config = UriTemplateMatchConfig::decode(&*config.value);
        let UriTemplateMatchConfig { path_template } = config.ok()?;
        cx.at("path_template", |cx| {
            PathTemplate::new(&path_template)
                .map_err(|envoy| {
                    cx.error(codes::BAD_VALUE, "not a path template")
                        .envoy(envoy)
                        .help("a template is like `/users/{id}/*/{rest=**}`");
                })
                .ok()
        })
    })
}
