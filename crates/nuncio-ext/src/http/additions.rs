//! `HeaderValueOption` lists of filters: headers that are added.

use crate::read::{self, within};
use nuncio_api::envoy::config::core::v3::{HeaderValueOption, header_value_option::HeaderAppendAction};
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_core::format::Format;
use nuncio_core::{BuildCx, ConfigError, StreamCx};

/// One header, and how it is added.
#[derive(Debug)]
pub(super) struct Addition {
    name: HeaderName,
    value: Format,
    action: HeaderAppendAction,
    keep_empty: bool,
}

/// Reads a list.
pub(super) fn additions(field: &str, from: &[HeaderValueOption], cx: &mut BuildCx<'_>) -> Result<Box<[Addition]>, ConfigError> {
    let mut made = Vec::with_capacity(from.len());
    for (index, option) in from.iter().enumerate() {
        made.push(addition(option, &mut cx.warnings).map_err(within(&format!("{field}[{index}]")))?);
    }
    Ok(made.into())
}

fn addition(from: &HeaderValueOption, warnings: &mut Vec<ConfigError>) -> Result<Addition, ConfigError> {
    #[allow(deprecated, reason = "Envoy still obeys it")]
    let action = match from.append {
        Some(true) => HeaderAppendAction::AppendIfExistsOrAdd,
        Some(false) => HeaderAppendAction::OverwriteIfExistsOrAdd,
        None => from.append_action(),
    };
    let header = from.header.clone().unwrap_or_default();
    let raw = String::from_utf8_lossy(&header.raw_value).into_owned();
    let text = if header.value.is_empty() { raw } else { header.value };
    Ok(Addition {
        name: read::header_name(&header.key).map_err(within("header.key"))?,
        value: read::format(&text, warnings).map_err(within("header.value"))?,
        action,
        keep_empty: from.keep_empty_value,
    })
}

impl Addition {
    /// Its name and value for this exchange; `None` where it adds nothing.
    pub(super) fn made(&self, cx: &StreamCx) -> Option<(String, String)> {
        let mut value = Vec::new();
        self.value.write(cx, &mut value);
        let kept = !value.is_empty() || self.keep_empty;
        kept.then(|| (self.name.as_str().to_owned(), String::from_utf8_lossy(&value).into_owned()))
    }

    /// Adds it to the request.
    pub(super) fn add_to_request(&self, cx: &mut StreamCx) {
        let Some((_, value)) = self.made(cx) else { return };
        let map: &mut HeaderMap = &mut cx.request;
        match self.action {
            HeaderAppendAction::AppendIfExistsOrAdd => map.append(&self.name, value),
            HeaderAppendAction::AddIfAbsent => drop(map.add_if_absent(&self.name, value)),
            HeaderAppendAction::OverwriteIfExistsOrAdd => map.insert(&self.name, value),
            HeaderAppendAction::OverwriteIfExists if map.contains(&self.name) => map.insert(&self.name, value),
            HeaderAppendAction::OverwriteIfExists => {}
        }
    }
}
