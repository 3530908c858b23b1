//! Substitution formats, wherever they stand.

use super::data_source::read;
use crate::codes;
use crate::context::CompileCx;
use crate::path::Step;
use nuncio_api::envoy::config::core::v3::{SubstitutionFormatString, substitution_format_string::Format as Kind};
use nuncio_core::format::{Format, Formatter};
use prost_types::value::Kind as ValueKind;

#[allow(deprecated)]
pub(super) fn check(cx: &mut CompileCx<'_>, from: &SubstitutionFormatString) {
    let mut formatters = Vec::new();
    for formatter in &from.formatters {
        let message = formatter.typed_config.as_ref().map_or("", |any| nuncio_api::any_type(any));
        match Formatter::by_message(message) {
            Some(known) => formatters.push(known),
            // Commands that it adds would look unknown.
            None => return,
        }
    }
    match &from.format {
        Some(Kind::TextFormat(text)) => cx.at("text_format", |cx| text_format(cx, text, &formatters)),
        Some(Kind::TextFormatSource(source)) => {
            if let Some(text) = read(Some(source)) {
                cx.at("text_format_source", |cx| text_format(cx, &String::from_utf8_lossy(&text), &formatters));
            }
        }
        Some(Kind::JsonFormat(tree)) => cx.at("json_format", |cx| object(cx, tree, &formatters)),
        None => {}
    }
}

fn text_format(cx: &mut CompileCx<'_>, text: &str, formatters: &[Formatter]) {
    if let Err(error) = Format::compile_with(text, formatters) {
        let said = error.to_string();
        cx.error(codes::BAD_FORMAT, said.clone()).envoy(said);
    }
}

fn object(cx: &mut CompileCx<'_>, tree: &prost_types::Struct, formatters: &[Formatter]) {
    for (name, inner) in &tree.fields {
        cx.step(Step::Text(name.as_str().into()), |cx| value(cx, inner, formatters));
    }
}

fn value(cx: &mut CompileCx<'_>, from: &prost_types::Value, formatters: &[Formatter]) {
    match &from.kind {
        Some(ValueKind::StringValue(text)) => text_format(cx, text, formatters),
        Some(ValueKind::StructValue(tree)) => object(cx, tree, formatters),
        Some(ValueKind::ListValue(list)) => {
            for (index, item) in list.values.iter().enumerate() {
                cx.step(Step::Index(index), |cx| value(cx, item, formatters));
            }
        }
        _ => {}
    }
}
