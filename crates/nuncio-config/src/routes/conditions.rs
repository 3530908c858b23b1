//! `HeaderMatcher`, `QueryParameterMatcher`, `CookieMatcher` and fractions.

use super::{headers, text};
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_api::envoy::r#type::v3 as kinds;
use nuncio_http::routes::{
    CookieMatch, Fold, Fraction, HeaderMatch, HeaderTest, QueryMatch, QueryTest, RuntimeFraction, TextMatch,
};

/// Compiles a header matcher; `None` after a report.
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(crate) fn header(cx: &mut CompileCx<'_>, from: &proto::HeaderMatcher) -> Option<HeaderMatch> {
    use proto::header_matcher::HeaderMatchSpecifier as Specifier;
    let proto::HeaderMatcher { name, invert_match, treat_missing_header_as_empty, header_match_specifier } = from;
    let name = cx.at("name", |cx| headers::name(cx, name))?;
    let fold = |text: &str| Fold::new(text.as_bytes(), false);
    let test = match header_match_specifier {
        None => HeaderTest::Present(true),
        Some(Specifier::PresentMatch(wanted)) => HeaderTest::Present(*wanted),
        Some(Specifier::RangeMatch(kinds::Int64Range { start, end })) => HeaderTest::Range { start: *start, end: *end },
        Some(Specifier::StringMatch(matcher)) => {
            HeaderTest::Text(cx.at("string_match", |cx| text::matcher(cx, matcher))?)
        }
        // Only the old field takes an empty text for any.
        Some(Specifier::ExactMatch(text)) if text.is_empty() => HeaderTest::Text(TextMatch::Any),
        Some(Specifier::ExactMatch(text)) => HeaderTest::Text(TextMatch::Exact(fold(text))),
        Some(Specifier::PrefixMatch(text)) => HeaderTest::Text(TextMatch::Prefix(fold(text))),
        Some(Specifier::SuffixMatch(text)) => HeaderTest::Text(TextMatch::Suffix(fold(text))),
        Some(Specifier::ContainsMatch(text)) => HeaderTest::Text(TextMatch::Contains(fold(text))),
        Some(Specifier::SafeRegexMatch(regex)) => {
            HeaderTest::Text(TextMatch::Regex(cx.at("safe_regex_match", |cx| text::pattern(cx, regex))?))
        }
    };
    Some(HeaderMatch { name, test, invert: *invert_match, missing_as_empty: *treat_missing_header_as_empty })
}

/// Compiles a query parameter matcher; `None` after a report.
pub(super) fn query(cx: &mut CompileCx<'_>, from: &proto::QueryParameterMatcher) -> Option<QueryMatch> {
    use proto::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let proto::QueryParameterMatcher { name, query_parameter_match_specifier } = from;
    let test = match query_parameter_match_specifier {
        None => QueryTest::Present(true),
        Some(Specifier::PresentMatch(wanted)) => QueryTest::Present(*wanted),
        Some(Specifier::StringMatch(matcher)) => {
            QueryTest::Text(cx.at("string_match", |cx| text::matcher(cx, matcher))?)
        }
    };
    Some(QueryMatch { name: name.as_bytes().into(), test })
}

/// Compiles a cookie matcher; `None` after a report.
pub(super) fn cookie(cx: &mut CompileCx<'_>, from: &proto::CookieMatcher) -> Option<CookieMatch> {
    let proto::CookieMatcher { name, string_match, invert_match } = from;
    let test = cx.at("string_match", |cx| text::matcher(cx, string_match.as_ref()?))?;
    Some(CookieMatch { name: name.as_bytes().into(), test, invert: *invert_match })
}

/// A fraction with a runtime key.
pub(super) fn runtime_fraction(from: &core::RuntimeFractionalPercent) -> RuntimeFraction {
    let core::RuntimeFractionalPercent { default_value, runtime_key } = from;
    RuntimeFraction {
        default: default_value.as_ref().map_or(Fraction { numerator: 0, denominator: 100 }, fraction),
        key: runtime_key.as_str().into(),
    }
}

/// A fraction.
pub(crate) fn fraction(from: &kinds::FractionalPercent) -> Fraction {
    use kinds::fractional_percent::DenominatorType;
    let kinds::FractionalPercent { numerator, denominator } = from;
    let denominator = match DenominatorType::try_from(*denominator) {
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Ok(DenominatorType::Hundred) | Err(_) => 100,
    };
    Fraction { numerator: *numerator, denominator }
}
