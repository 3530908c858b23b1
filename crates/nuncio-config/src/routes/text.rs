//! `StringMatcher`, `RegexMatcher`, `RegexMatchAndSubstitute`.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::r#type::matcher::v3 as proto;
use nuncio_http::routes::{Fold, Pattern, PatternError, Substitution, TextMatch};

/// Compiles a string matcher; `None` after a report.
pub(crate) fn matcher(cx: &mut CompileCx<'_>, from: &proto::StringMatcher) -> Option<TextMatch> {
    use proto::string_matcher::MatchPattern;
    let proto::StringMatcher { ignore_case, match_pattern } = from;
    let fold = |text: &str| Fold::new(text.as_bytes(), *ignore_case);
    Some(match match_pattern.as_ref()? {
        MatchPattern::Exact(text) => TextMatch::Exact(fold(text)),
        MatchPattern::Prefix(text) => TextMatch::Prefix(fold(text)),
        MatchPattern::Suffix(text) => TextMatch::Suffix(fold(text)),
        MatchPattern::Contains(text) => TextMatch::Contains(fold(text)),
        MatchPattern::SafeRegex(regex) => {
            if *ignore_case {
                cx.at("ignore_case", |cx| {
                    cx.warn(codes::SUSPICIOUS, "ignore_case has no effect on safe_regex").help("begin the expression with `(?i)`");
                });
            }
            TextMatch::Regex(cx.at("safe_regex", |cx| pattern(cx, regex))?)
        }
        MatchPattern::Custom(custom) => {
            cx.at("custom", |cx| {
                cx.value_unsafe_without(&format!("the string matcher `{}`", custom.name));
            });
            return None;
        }
    })
}

/// Compiles an expression that must match a whole text; `None` after a report.
pub(super) fn pattern(cx: &mut CompileCx<'_>, from: &proto::RegexMatcher) -> Option<Pattern> {
    let proto::RegexMatcher { regex, engine_type } = from;
    let made = cx.at("regex", |cx| refuse(cx, regex, Pattern::new(regex)))?;
    cx.at("regex", |cx| large(cx, regex, made.program_size(), engine_type.as_ref()));
    Some(made)
}

/// Envoy's default `re2.max_program_size.error_level`.
const MAX_PROGRAM_SIZE: usize = 100;

/// Envoy refuses large programs, for the memory they may take; here that is limited in bytes.
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
fn large(cx: &mut CompileCx<'_>, regex: &str, size: usize, engine: Option<&proto::regex_matcher::EngineType>) {
    // The engine has been RE2 for years; naming it is only deprecated, which is reported when the file is read.
    let configured = engine.and_then(|proto::regex_matcher::EngineType::GoogleRe2(re2)| re2.max_program_size);
    let limit = configured.map_or(MAX_PROGRAM_SIZE, |limit| limit as usize);
    if size > limit {
        cx.refused_if_strict(codes::BAD_REGEX, format!("an expression of about {size} instructions; Envoy takes no more than {limit}"))
            .envoy(format!(
                "regex '{regex}' RE2 program size of {size} > max program size of {limit} set for the error level \
                 threshold. Increase configured max program size if necessary."
            ));
    }
}

/// Compiles an expression with its substitution; `None` after a report.
pub(super) fn substitution(cx: &mut CompileCx<'_>, from: &proto::RegexMatchAndSubstitute) -> Option<Substitution> {
    let proto::RegexMatchAndSubstitute { pattern, substitution } = from;
    let proto::RegexMatcher { regex, engine_type } = pattern.as_ref()?;
    let made = cx.at("pattern", |cx| {
        cx.at("regex", |cx| {
            let made = refuse(cx, regex, Substitution::new(regex, substitution))?;
            large(cx, regex, made.program_size(), engine_type.as_ref());
            Some(made)
        })
    })?;
    if let Some(flaw) = made.flaw() {
        cx.at("substitution", |cx| {
            cx.warn(codes::SUSPICIOUS, flaw).note("Envoy accepts it, and does not do what is meant");
        });
    }
    Some(made)
}

fn refuse<T>(cx: &mut CompileCx<'_>, regex: &str, made: Result<T, PatternError>) -> Option<T> {
    made.map_err(|PatternError { message, at }| {
        let rest = regex.get(at..).unwrap_or_default();
        let plain = match message.split_once(": ") {
            Some((what, argument)) if !argument.is_empty() => format!("not a regular expression of RE2: {what} at `{argument}`"),
            _ => format!("not a regular expression of RE2: {message}"),
        };
        let finding = cx.error(codes::BAD_REGEX, plain);
        finding.envoy(message);
        if at > 0 {
            let character = regex.get(..at).map_or(at, |before| before.chars().count()) + 1;
            finding.label(format!("from character {character} on: `{rest}`"));
        }
    })
    .ok()
}
