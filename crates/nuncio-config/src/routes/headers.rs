//! Header names and header changes, at every level.

use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::common::mutation_rules::v3::{HeaderMutation, header_mutation::{Action, RemoveOnMatch}};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_codec::headers::HeaderName;
use nuncio_core::format::Format;
use nuncio_http::routes::{AppendAction, HeaderAddition, HeaderMutations, HeaderRules, Value};

/// The four lists that every level has.
pub(super) struct Lists<'p> {
    pub(super) request_add: &'p [core::HeaderValueOption],
    pub(super) request_remove: &'p [String],
    pub(super) response_add: &'p [core::HeaderValueOption],
    pub(super) response_remove: &'p [String],
}

impl Lists<'_> {
    pub(super) fn compile(&self, cx: &mut CompileCx<'_>) -> Option<Box<HeaderRules>> {
        let request = HeaderMutations {
            remove: removals(cx, "request_headers_to_remove", self.request_remove),
            remove_matching: Box::default(),
            add: cx.each("request_headers_to_add", self.request_add, addition).into(),
        };
        let response = HeaderMutations {
            remove: removals(cx, "response_headers_to_remove", self.response_remove),
            remove_matching: Box::default(),
            add: cx.each("response_headers_to_add", self.response_add, addition).into(),
        };
        HeaderRules { request, response }.boxed()
    }
}

/// A header's name; `None` after a report. Envoy takes names that no header can have.
pub(super) fn name(cx: &mut CompileCx<'_>, name: &str) -> Option<HeaderName> {
    let made = HeaderName::new(name);
    if made.is_none() {
        cx.error(codes::BAD_HEADER, format!("`{}` cannot be the name of a header", name.escape_debug()));
    }
    made
}

/// The name of a header to be added or removed: in parity one that cannot be is passed over, as no harm comes of it.
pub(crate) fn changed_name(cx: &mut CompileCx<'_>, name: &str) -> Option<HeaderName> {
    let made = HeaderName::new(name);
    if made.is_none() {
        let finding = cx.refused_unless_parity(codes::BAD_HEADER, format!("`{}` cannot be the name of a header", name.escape_debug()));
        finding.note("Envoy accepts it, and sends messages that are not HTTP");
    }
    made
}

/// A list of names.
pub(super) fn names(cx: &mut CompileCx<'_>, field: &'static str, list: &[String]) -> Vec<HeaderName> {
    cx.each(field, list, |cx, text| name(cx, text))
}

/// A name that may be left out.
pub(super) fn optional_name(cx: &mut CompileCx<'_>, field: &'static str, text: &str) -> Option<HeaderName> {
    if text.is_empty() { None } else { cx.at(field, |cx| name(cx, text)) }
}

/// Whether routing depends on the header, so that it cannot be set like others.
pub(super) fn is_protected(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

/// One `HeaderMutation`.
pub(crate) fn mutation(cx: &mut CompileCx<'_>, from: &HeaderMutation) -> Option<HeaderMutations> {
    let HeaderMutation { action } = from;
    match action.as_ref()? {
        Action::Remove(text) => {
            let name = cx.at("remove", |cx| changed_name(cx, text))?;
            Some(HeaderMutations { remove: [name].into(), ..HeaderMutations::default() })
        }
        Action::Append(option) => {
            let add = cx.at("append", |cx| addition(cx, option))?;
            Some(HeaderMutations { add: [add].into(), ..HeaderMutations::default() })
        }
        Action::RemoveOnMatch(RemoveOnMatch { key_matcher }) => {
            let matcher = cx.at("remove_on_match", |cx| cx.at("key_matcher", |cx| super::text::matcher(cx, key_matcher.as_ref()?)))?;
            Some(HeaderMutations { remove_matching: [matcher].into(), ..HeaderMutations::default() })
        }
    }
}

fn removals(cx: &mut CompileCx<'_>, field: &'static str, list: &[String]) -> Box<[HeaderName]> {
    let made = cx.each(field, list, |cx, text| {
        if is_protected(text) {
            cx.error(codes::BAD_HEADER, format!("`{text}` cannot be removed"))
                .envoy(":-prefixed or host headers may not be removed");
            return None;
        }
        changed_name(cx, text)
    });
    made.into()
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(crate) fn addition(cx: &mut CompileCx<'_>, from: &core::HeaderValueOption) -> Option<HeaderAddition> {
    let core::HeaderValueOption { header, append, append_action, keep_empty_value } = from;
    let core::HeaderValue { key, value, raw_value } = header.as_ref()?;
    cx.at("header", |cx| {
        unbuilt!(cx, raw_value);
    });
    if is_protected(key) {
        cx.at("header", |cx| {
            cx.at("key", |cx| {
                let finding = cx.error(codes::BAD_HEADER, format!("`{key}` cannot be set this way"));
                finding.envoy(":-prefixed or host headers may not be modified");
                finding.help("a route changes the host with host_rewrite_literal and its siblings, the path with prefix_rewrite or regex_rewrite");
            });
        });
        return None;
    }
    let action = append_action_of(cx, *append, *append_action)?;
    let (name, value) = cx.at("header", |cx| {
        let name = cx.at("key", |cx| changed_name(cx, key));
        let value = cx.at("value", |cx| self::value(cx, value, true));
        Some((name?, value?))
    })?;
    Some(HeaderAddition { name, value, action, keep_empty_value: *keep_empty_value })
}

/// `append` is the older field of the two.
fn append_action_of(cx: &mut CompileCx<'_>, append: Option<bool>, action: i32) -> Option<AppendAction> {
    use core::header_value_option::HeaderAppendAction;
    if append.is_some() && action != 0 {
        cx.at("append", |cx| {
            cx.error(codes::CONFLICT, "append and append_action exclude each other; append is the deprecated one")
                .envoy("Both append and append_action are set and it's not allowed")
                .on_key();
        });
        return None;
    }
    Some(match (append, HeaderAppendAction::try_from(action)) {
        (Some(false), _) => AppendAction::OverwriteIfExistsOrAdd,
        (Some(true), _) | (None, Err(_) | Ok(HeaderAppendAction::AppendIfExistsOrAdd)) => {
            AppendAction::AppendIfExistsOrAdd
        }
        (None, Ok(HeaderAppendAction::AddIfAbsent)) => AppendAction::AddIfAbsent,
        (None, Ok(HeaderAppendAction::OverwriteIfExistsOrAdd)) => AppendAction::OverwriteIfExistsOrAdd,
        (None, Ok(HeaderAppendAction::OverwriteIfExists)) => AppendAction::OverwriteIfExists,
    })
}

/// A value that may hold `%COMMAND%`s; `None` after a report. With `omit_empty` what is not known is left out, else
/// it is `-`.
pub(super) fn value(cx: &mut CompileCx<'_>, text: &str, omit_empty: bool) -> Option<Value> {
    if !text.contains('%') {
        return Some(Value::literal(text.as_bytes()));
    }
    match Format::compile(text) {
        Ok((format, warnings)) => {
            for warning in warnings {
                cx.warn(codes::WITHOUT_EFFECT, warning.to_string());
            }
            Some(Value::formatted(if omit_empty { format.omit_empty() } else { format }))
        }
        Err(error) => {
            let finding = cx.error(codes::BAD_FORMAT, format!("not a format: {error}"));
            finding.envoy(error.message).help("write `%%` for a percent sign");
            None
        }
    }
}
