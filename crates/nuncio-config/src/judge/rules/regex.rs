//! Regular expressions, in RE2's dialect.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::r#type::matcher::v3::RegexMatcher;
use nuncio_http::routes::Pattern;

pub(super) fn check(cx: &mut CompileCx<'_>, matcher: &RegexMatcher) {
    cx.at("regex", |cx| expression(cx, &matcher.regex));
}

pub(super) fn check_xds(cx: &mut CompileCx<'_>, matcher: &nuncio_api::xds::r#type::matcher::v3::RegexMatcher) {
    cx.at("regex", |cx| expression(cx, &matcher.regex));
}

fn expression(cx: &mut CompileCx<'_>, regex: &str) {
    if let Err(error) = Pattern::new(regex) {
        let text = error.to_string();
        cx.error(codes::BAD_REGEX, format!("bad regular expression: {text}")).envoy(text);
    }
}
