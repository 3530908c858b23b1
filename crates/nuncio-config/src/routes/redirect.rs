//! `RedirectAction`.

use super::{headers, text};
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_http::routes::{PathMatch, PathRewrite, Redirect, RedirectPath};
use proto::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};

/// Compiles a redirect; `None` after a report. `path` is the route's condition, where it could be compiled.
pub(super) fn compile(
    cx: &mut CompileCx<'_>,
    from: &proto::RedirectAction,
    path: Option<&PathMatch>,
) -> Option<Redirect> {
    let proto::RedirectAction {
        host_redirect,
        port_redirect,
        response_code,
        strip_query,
        scheme_rewrite_specifier,
        path_rewrite_specifier,
    } = from;
    let text = |text: &str| (!text.is_empty()).then(|| text.as_bytes().into());
    let scheme = match scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => text("https"),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => text(scheme),
        Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => None,
    };
    let path = match path_rewrite_specifier {
        None => RedirectPath::Keep,
        Some(PathRewriteSpecifier::PathRedirect(path)) => text(path).map_or(RedirectPath::Keep, RedirectPath::Replace),
        Some(PathRewriteSpecifier::PrefixRewrite(_)) if matches!(path, Some(PathMatch::Template(_))) => {
            cx.at("prefix_rewrite", |cx| {
                cx.error(codes::CONFLICT, "prefix_rewrite does not go with path_match_policy: a template has no prefix")
                    .envoy("Cannot use redirect.prefix_rewrite with path_match_policy");
            });
            return None;
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            RedirectPath::rewrite(text(prefix).map_or(PathRewrite::None, PathRewrite::Prefix))
        }
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => {
            let substitution = cx.at("regex_rewrite", |cx| text::substitution(cx, regex))?;
            RedirectPath::Rewrite(PathRewrite::Regex(Box::new(substitution)))
        }
        Some(PathRewriteSpecifier::PathRewrite(format)) => {
            let value = cx.at("path_rewrite", |cx| headers::value(cx, format, true))?;
            RedirectPath::Rewrite(PathRewrite::Formatted(value))
        }
    };
    if *port_redirect > u32::from(u16::MAX) {
        cx.at("port_redirect", |cx| {
            cx.warn(codes::SUSPICIOUS, format!("there is no port {port_redirect}"));
        });
    }
    Some(Redirect {
        scheme,
        host: text(host_redirect),
        port: (*port_redirect != 0).then_some(*port_redirect),
        path,
        strip_query: *strip_query,
        status: match RedirectResponseCode::try_from(*response_code) {
            Ok(RedirectResponseCode::Found) => 302,
            Ok(RedirectResponseCode::SeeOther) => 303,
            Ok(RedirectResponseCode::TemporaryRedirect) => 307,
            Ok(RedirectResponseCode::PermanentRedirect) => 308,
            Ok(RedirectResponseCode::MovedPermanently) | Err(_) => 301,
        },
    })
}
