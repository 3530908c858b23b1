//! A line's or a body's format as configured: text or JSON. Warnings are added to `told`.

use crate::read;
use nuncio_api::envoy::config::core::v3::{SubstitutionFormatString, substitution_format_string};
use nuncio_core::{
    ConfigError, StreamCx,
    format::{DEFAULT_ACCESS_LOG, Format, FormatCx, Formatter, JsonFormat, JsonTemplate},
};
use prost_types::{Struct, Value, value::Kind};

/// How a format is compiled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// Unknown values print as nothing.
    pub(crate) omit_empty: bool,
    /// Where commands come from besides those built in.
    pub(crate) formatters: &'a [Formatter],
}

/// A compiled format of lines.
#[derive(Debug)]
pub(crate) enum LineFormat {
    /// Ends its lines itself.
    Text(Format),
    /// One object per line.
    Json(JsonFormat),
}

impl LineFormat {
    /// Appends the exchange's line, line end included.
    pub(crate) fn write(&self, stream: &StreamCx, out: &mut Vec<u8>) {
        self.write_in(&FormatCx::from(stream), out);
    }

    /// The same for one moment of an exchange.
    pub(crate) fn write_in(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        match self {
            LineFormat::Text(format) => format.write_in(cx, out),
            LineFormat::Json(format) => {
                format.write_in(cx, out);
                out.push(b'\n');
            }
        }
    }

    /// Envoy's default format.
    pub(crate) fn default_text() -> Result<LineFormat, ConfigError> {
        let (format, _) =
            Format::compile(DEFAULT_ACCESS_LOG).map_err(|error| ConfigError::at("", error.to_string()))?;
        Ok(LineFormat::Text(format))
    }

    /// A text; `path` is that of the field it stands in.
    pub(crate) fn text(
        text: &str,
        options: Options<'_>,
        path: &str,
        told: &mut Vec<ConfigError>,
    ) -> Result<LineFormat, ConfigError> {
        let (format, warnings) =
            Format::compile_with(text, options.formatters).map_err(|error| ConfigError::at(path, error.to_string()))?;
        told.extend(warnings.into_iter().map(|warning| ConfigError::at(path, warning.to_string())));
        Ok(LineFormat::Text(if options.omit_empty { format.omit_empty() } else { format }))
    }

    /// A JSON object; `path` is that of the field it stands in.
    pub(crate) fn json(
        tree: &Struct,
        options: Options<'_>,
        path: &str,
        told: &mut Vec<ConfigError>,
    ) -> Result<LineFormat, ConfigError> {
        let at = |inner: &str| if inner.is_empty() { path.to_owned() } else { format!("{path}.{inner}") };
        let (format, warnings) = JsonFormat::compile_with(&object(tree), options.omit_empty, options.formatters)
            .map_err(|error| ConfigError::at(at(&error.path), error.error.to_string()))?;
        told.extend(warnings.into_iter().map(|(inner, warning)| ConfigError::at(at(&inner), warning.to_string())));
        Ok(LineFormat::Json(format))
    }

    /// `log_format`.
    pub(crate) fn substitution(
        config: &SubstitutionFormatString,
        path: &str,
        told: &mut Vec<ConfigError>,
    ) -> Result<LineFormat, ConfigError> {
        use substitution_format_string::Format as Kind;
        let formatters = read::formatters(&format!("{path}.formatters"), &config.formatters, told);
        let options = Options { omit_empty: config.omit_empty_values, formatters: &formatters };
        #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
        match &config.format {
            Some(Kind::TextFormat(text)) => LineFormat::text(text, options, &format!("{path}.text_format"), told),
            Some(Kind::JsonFormat(tree)) => LineFormat::json(tree, options, &format!("{path}.json_format"), told),
            Some(Kind::TextFormatSource(source)) => {
                let path = format!("{path}.text_format_source");
                let text = read::text_source(source).map_err(read::within(&path))?;
                LineFormat::text(&text, options, &path, told)
            }
            None => LineFormat::default_text(),
        }
    }
}

fn object(tree: &Struct) -> JsonTemplate {
    JsonTemplate::Object(tree.fields.iter().map(|(name, value)| (name.clone(), template(value))).collect())
}

fn template(value: &Value) -> JsonTemplate {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => JsonTemplate::Null,
        Some(Kind::BoolValue(value)) => JsonTemplate::Bool(*value),
        Some(Kind::NumberValue(value)) => JsonTemplate::Number(*value),
        Some(Kind::StringValue(text)) => JsonTemplate::String(text.clone()),
        Some(Kind::ListValue(list)) => JsonTemplate::Array(list.values.iter().map(template).collect()),
        Some(Kind::StructValue(tree)) => object(tree),
    }
}
