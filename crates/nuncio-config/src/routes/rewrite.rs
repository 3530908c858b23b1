//! How a route changes path and host.

use super::{headers, text};
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::route::v3::route_action::HostRewriteSpecifier;
use nuncio_api::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
use nuncio_api::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use nuncio_http::routes::{HostRewrite, PathMatch, PathRewrite, PathTemplateRewrite};
use prost::{Message, Name};

/// The fields that rewrite a path; one of them at most.
pub(super) struct Paths<'p> {
    pub(super) prefix_rewrite: &'p str,
    pub(super) regex_rewrite: &'p Option<RegexMatchAndSubstitute>,
    pub(super) path_rewrite_policy: &'p Option<core::TypedExtensionConfig>,
    pub(super) path_rewrite: &'p str,
}

impl Paths<'_> {
    /// Compiles the rewrite; `None` after a report.
    pub(super) fn compile(&self, cx: &mut CompileCx<'_>, path: Option<&PathMatch>) -> Option<PathRewrite> {
        let set = [
            !self.prefix_rewrite.is_empty(),
            self.regex_rewrite.is_some(),
            self.path_rewrite_policy.is_some(),
            !self.path_rewrite.is_empty(),
        ];
        if set.into_iter().filter(|set| *set).count() > 1 {
            cx.error(codes::CONFLICT, "prefix_rewrite, regex_rewrite, path_rewrite_policy and path_rewrite exclude each other")
                .envoy("Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy");
            return None;
        }
        if !self.prefix_rewrite.is_empty() {
            if matches!(path, Some(PathMatch::Template(_))) {
                cx.at("prefix_rewrite", |cx| {
                    cx.error(codes::CONFLICT, "prefix_rewrite does not go with path_match_policy: a template has no prefix")
                        .envoy("Cannot use prefix_rewrite with matcher extension")
                        .help("rewrite with path_rewrite_policy");
                });
                return None;
            }
            if matches!(path, Some(PathMatch::Regex(_))) {
                cx.at("prefix_rewrite", |cx| {
                    cx.warn(codes::SUSPICIOUS, "with safe_regex the whole path counts as the prefix, and is replaced")
                        .help("use regex_rewrite to keep a part of the path");
                });
            }
            return Some(PathRewrite::Prefix(self.prefix_rewrite.as_bytes().into()));
        }
        if let Some(regex) = self.regex_rewrite {
            let substitution = cx.at("regex_rewrite", |cx| text::substitution(cx, regex))?;
            return Some(PathRewrite::Regex(Box::new(substitution)));
        }
        if let Some(policy) = self.path_rewrite_policy {
            return cx.at("path_rewrite_policy", |cx| template(cx, policy, path));
        }
        if !self.path_rewrite.is_empty() {
            let value = cx.at("path_rewrite", |cx| headers::value(cx, self.path_rewrite, true))?;
            return Some(PathRewrite::Formatted(value));
        }
        Some(PathRewrite::None)
    }
}

fn template(
    cx: &mut CompileCx<'_>,
    policy: &core::TypedExtensionConfig,
    path: Option<&PathMatch>,
) -> Option<PathRewrite> {
    let core::TypedExtensionConfig { name, typed_config } = policy;
    let config = typed_config.as_ref()?;
    if !config.type_url.ends_with(&UriTemplateRewriteConfig::full_name()) {
        cx.error(codes::UNKNOWN_EXTENSION, format!("there is no path rewriter `{name}`"))
            .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{}'", config.type_url));
        return None;
    }
    let from = match path? {
        PathMatch::Template(from) => from,
        _ => {
            cx.error(codes::CONFLICT, "a path template can only rewrite what a path template matched: `path_match_policy`")
                .envoy("unable to use envoy.path.rewrite.uri_template.uri_template_rewriter extension without envoy.path.match.uri_template.uri_template_matcher extension");
            return None;
        }
    };
    cx.at("typed_config", |cx| {
        let UriTemplateRewriteConfig { path_template_rewrite } =
            UriTemplateRewriteConfig::decode(&*config.value).ok()?;
        cx.at("path_template_rewrite", |cx| match PathTemplateRewrite::new(&path_template_rewrite, from) {
            Ok(rewrite) => Some(PathRewrite::Template(Box::new(rewrite))),
            Err(envoy) => {
                cx.error(codes::BAD_VALUE, "not a path template, or one with variables that the match does not have")
                    .envoy(envoy);
                None
            }
        })
    })
}

/// Compiles a host rewrite; `None` after a report.
pub(super) fn host(cx: &mut CompileCx<'_>, from: Option<&HostRewriteSpecifier>) -> Option<HostRewrite> {
    Some(match from {
        None | Some(HostRewriteSpecifier::AutoHostRewrite(false)) => HostRewrite::None,
        Some(HostRewriteSpecifier::AutoHostRewrite(true)) => HostRewrite::Auto,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if host.is_empty() => HostRewrite::None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => HostRewrite::Literal(host.as_bytes().into()),
        Some(HostRewriteSpecifier::HostRewriteHeader(header)) => {
            match headers::optional_name(cx, "host_rewrite_header", header) {
                Some(name) => HostRewrite::Header(name),
                None => HostRewrite::None,
            }
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(regex)) => {
            HostRewrite::PathRegex(Box::new(cx.at("host_rewrite_path_regex", |cx| text::substitution(cx, regex))?))
        }
        Some(HostRewriteSpecifier::HostRewrite(text)) => {
            // Unlike everywhere else, what is not known is written as `-` here.
            HostRewrite::Formatted(cx.at("host_rewrite", |cx| headers::value(cx, text, false))?)
        }
    })
}
