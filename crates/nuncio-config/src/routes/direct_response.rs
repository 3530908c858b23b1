//! `DirectResponseAction`: status, and a body from the configuration, a file, the environment or a format.

use super::{Rules, headers};
use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_core::format::{JsonFormat, JsonTemplate};
use nuncio_http::routes::{DirectResponse, Value};
use prost_types::value::Kind;
use std::sync::Arc;

/// Compiles a direct response; `None` after a report.
pub(super) fn compile(
    cx: &mut CompileCx<'_>,
    from: &proto::DirectResponseAction,
    rules: Rules,
) -> Option<DirectResponse> {
    let proto::DirectResponseAction { status, body, body_format } = from;
    let body = match body {
        Some(source) => cx.at("body", |cx| data(cx, source, Some(rules.direct_response_limit)))?,
        None => String::new(),
    };
    let (body_format, content_type) = match body_format {
        Some(from) => {
            let (format, kind) = cx.at("body_format", |cx| self::body_format(cx, from))?;
            (Some(format), kind)
        }
        None => (None, None),
    };
    Some(DirectResponse {
        // The API's rules keep it between 200 and 599.
        status: u16::try_from(*status).unwrap_or(200),
        body: body.into(),
        body_format,
        content_type,
    })
}

/// A `DataSource` as text; `None` after a report.
pub(crate) fn data(cx: &mut CompileCx<'_>, from: &core::DataSource, limit: Option<usize>) -> Option<String> {
    use core::data_source::Specifier;
    let core::DataSource { watched_directory, specifier } = from;
    unbuilt!(cx, watched_directory);
    let (field, bytes) = match specifier.as_ref()? {
        Specifier::InlineString(text) => ("inline_string", text.clone().into_bytes()),
        Specifier::InlineBytes(bytes) => ("inline_bytes", bytes.clone()),
        Specifier::Filename(name) => ("filename", cx.at("filename", |cx| file(cx, name))?),
        Specifier::EnvironmentVariable(name) => {
            ("environment_variable", cx.at("environment_variable", |cx| variable(cx, name))?)
        }
    };
    if let Some(limit) = limit.filter(|limit| *limit > 0 && bytes.len() > *limit) {
        cx.at(field, |cx| {
            cx.error(codes::BAD_VALUE, format!("the body has {} bytes, more than {limit}", bytes.len()))
                .envoy(format!("response body size is {} bytes; maximum is {limit}", bytes.len()))
                .help("raise `max_direct_response_body_size_bytes` of the route configuration");
        });
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(_) => {
            cx.at(field, |cx| {
                cx.value_unsafe_without("a body that is not UTF-8");
            });
            None
        }
    }
}

fn file(cx: &mut CompileCx<'_>, name: &str) -> Option<Vec<u8>> {
    std::fs::read(name)
        .map_err(|cause| {
            let envoy = match cause.kind() {
                std::io::ErrorKind::NotFound => format!("file {name} does not exist"),
                _ => format!("unable to read file: {name}"),
            };
            cx.error(codes::MISSING_FILE, format!("cannot read `{name}`: {cause}")).envoy(envoy);
        })
        .ok()
}

fn variable(cx: &mut CompileCx<'_>, name: &str) -> Option<Vec<u8>> {
    match std::env::var_os(name) {
        Some(value) => Some(value.into_encoded_bytes()),
        None => {
            cx.error(codes::MISSING, format!("the environment variable `{name}` is not set"))
                .envoy(format!("Environment variable doesn't exist: {name}"));
            None
        }
    }
}

/// A `SubstitutionFormatString` and the content type of what it makes; `None` after a report.
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(crate) fn body_format(cx: &mut CompileCx<'_>, from: &core::SubstitutionFormatString) -> Option<(Value, Option<Box<str>>)> {
    use core::substitution_format_string::Format;
    // Properties are always sorted here.
    let core::SubstitutionFormatString { omit_empty_values, content_type, formatters, json_format_options: _, format } =
        from;
    unbuilt!(cx, formatters);
    let (value, kind) = match format.as_ref()? {
        Format::TextFormat(text) => {
            (cx.at("text_format", |cx| headers::value(cx, text, *omit_empty_values))?, None)
        }
        Format::TextFormatSource(source) => {
            let text = cx.at("text_format_source", |cx| data(cx, source, None))?;
            (cx.at("text_format_source", |cx| headers::value(cx, &text, *omit_empty_values))?, None)
        }
        Format::JsonFormat(tree) => {
            (cx.at("json_format", |cx| json(cx, tree, *omit_empty_values))?, Some("application/json"))
        }
    };
    let kind = if content_type.is_empty() { kind.map(Into::into) } else { Some(content_type.as_str().into()) };
    Some((value, kind))
}

fn json(cx: &mut CompileCx<'_>, tree: &prost_types::Struct, omit_empty: bool) -> Option<Value> {
    match JsonFormat::compile(&object(tree), omit_empty) {
        Ok((format, warnings)) => {
            for (path, warning) in warnings {
                cx.step(crate::path::Step::Text(path.into()), |cx| {
                    cx.warn(codes::WITHOUT_EFFECT, warning.to_string());
                });
            }
            Some(Value::Formatted(Arc::new(format)))
        }
        Err(error) => {
            cx.step(crate::path::Step::Text(error.path.into()), |cx| {
                cx.error(codes::BAD_FORMAT, format!("not a format: {}", error.error)).envoy(error.error.message);
            });
            None
        }
    }
}

fn object(from: &prost_types::Struct) -> JsonTemplate {
    JsonTemplate::Object(from.fields.iter().map(|(name, value)| (name.clone(), template(value))).collect())
}

fn template(from: &prost_types::Value) -> JsonTemplate {
    match &from.kind {
        None | Some(Kind::NullValue(_)) => JsonTemplate::Null,
        Some(Kind::BoolValue(flag)) => JsonTemplate::Bool(*flag),
        Some(Kind::NumberValue(number)) => JsonTemplate::Number(*number),
        Some(Kind::StringValue(text)) => JsonTemplate::String(text.clone()),
        Some(Kind::ListValue(list)) => JsonTemplate::Array(list.values.iter().map(template).collect()),
        Some(Kind::StructValue(inner)) => object(inner),
    }
}
