//! `envoy.filters.http.set_filter_state`: leaves objects made from the request for other filters, routes and logs.

use crate::read::{self, within};
use nuncio_api::envoy::config::core::v3::substitution_format_string::Format as FormatField;
use nuncio_api::envoy::config::core::v3::{SubstitutionFormatString, data_source::Specifier};
use nuncio_api::envoy::extensions::filters::common::set_filter_state::v3 as value;
use nuncio_api::envoy::extensions::filters::http::set_filter_state::v3 as proto;
use nuncio_core::format::Format;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, Phases, Posture, StateObject, Step, StreamCx,
};
use nuncio_core::filter_state::Sharing;
use nuncio_core::internal::{LOCAL_IP, REMOTE_IP};
use value::filter_state_value::SharedWithUpstream;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.set_filter_state",
    message: MESSAGE,
    route_message: MESSAGE,
    posture: Posture::UntrustedBoth,
    build,
    route,
};

const MESSAGE: &str = "envoy.extensions.filters.http.set_filter_state.v3.Config";

#[derive(Debug)]
struct Objects {
    objects: Vec<Object>,
    clear_route_cache: bool,
}

/// One object, and what it is made from.
#[derive(Debug)]
pub(crate) struct Object {
    key: Box<str>,
    value: Format,
    read_only: bool,
    skip_if_empty: bool,
    shared: Sharing,
    hashable: bool,
}

/// Objects of these kinds tell upstream connections apart where they are shared with them.
const HASHABLE: [&str; 3] = ["envoy.hashable_string", LOCAL_IP, REMOTE_IP];

#[derive(Debug)]
struct SetFilterState {
    name: String,
    objects: Objects,
}

fn objects(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Objects, ConfigError> {
    let proto::Config { on_request_headers, clear_route_cache } = read::message(config)?;
    let objects = read_list("on_request_headers", &on_request_headers, cx)?;
    Ok(Objects { objects, clear_route_cache })
}

/// Reads the objects of a field.
pub(crate) fn read_list(field: &str, from: &[value::FilterStateValue], cx: &mut BuildCx<'_>) -> Result<Vec<Object>, ConfigError> {
    let mut objects = Vec::with_capacity(from.len());
    for (index, from) in from.iter().enumerate() {
        let place = format!("{field}[{index}]");
        let known = cx.warnings.len();
        objects.push(Object::read(from, cx).map_err(within(&place))?);
        cx.warnings.iter_mut().skip(known).for_each(|warning| warning.path = format!("{place}.{}", warning.path));
    }
    Ok(objects)
}

impl Object {
    /// Reads the message.
    fn read(from: &value::FilterStateValue, cx: &mut BuildCx<'_>) -> Result<Object, ConfigError> {
        #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
        let value::FilterStateValue { factory_key, read_only, shared_with_upstream, skip_if_empty, key, value } = from;
        if !["", "envoy.string", "envoy.bool"].contains(&factory_key.as_str()) && !HASHABLE.contains(&factory_key.as_str()) {
            cx.warnings.push(ConfigError::at("factory_key", format!("`{factory_key}` is accepted without effect: the object is only a text here")));
        }
        let value::filter_state_value::Key::ObjectKey(key) = key.as_ref().ok_or_else(|| ConfigError::at("object_key", "is missing"))?;
        let value::filter_state_value::Value::FormatString(format) =
            value.as_ref().ok_or_else(|| ConfigError::at("format_string", "is missing"))?;
        let value = self::format(format, cx).map_err(within("format_string"))?;
        let shared = match SharedWithUpstream::try_from(*shared_with_upstream).unwrap_or(SharedWithUpstream::None) {
            SharedWithUpstream::None => Sharing::None,
            SharedWithUpstream::Once => Sharing::Once,
            SharedWithUpstream::Transitive => Sharing::Transitive,
        };
        let hashable = HASHABLE.contains(&if factory_key.is_empty() { key.as_str() } else { factory_key });
        Ok(Object { key: key.as_str().into(), value, read_only: *read_only, skip_if_empty: *skip_if_empty, shared, hashable })
    }
}

fn format(from: &SubstitutionFormatString, cx: &mut BuildCx<'_>) -> Result<Format, ConfigError> {
    let text = match &from.format {
        #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
        Some(FormatField::TextFormat(text)) => text,
        Some(FormatField::TextFormatSource(source)) => match &source.specifier {
            Some(Specifier::InlineString(text)) => text,
            _ => return Err(ConfigError::at("text_format_source", "only `inline_string` is built")),
        },
        _ => return Err(ConfigError::at("json_format", "only texts are built")),
    };
    let (format, warnings) = Format::compile(text).map_err(|error| ConfigError::at("text_format_source.inline_string", error.to_string()))?;
    cx.warnings.extend(warnings.iter().map(|warning| ConfigError::at("format_string", warning.to_string())));
    Ok(if from.omit_empty_values { format.omit_empty() } else { format })
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    Ok(Arc::new(SetFilterState { name: cx.filter_name.to_owned(), objects: objects(config, cx)? }))
}

fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(objects(config, cx)?))
}

/// Makes the objects, one after the other: each may be made from those before.
pub(crate) fn set(objects: &[Object], cx: &mut StreamCx) {
    for object in objects {
        let mut value = Vec::new();
        object.value.write(cx, &mut value);
        if !(value.is_empty() && object.skip_if_empty) {
            let Object { key, read_only, shared, hashable, .. } = object;
            let (key, read_only, shared, hashable) = (key.clone(), *read_only, *shared, *hashable);
            cx.filter_state.set(StateObject { key, value, read_only, shared, hashable, json: false });
        }
    }
}

impl Objects {
    fn set(&self, cx: &mut StreamCx) {
        set(&self.objects, cx);
        cx.route_is_stale |= self.clear_route_cache;
    }
}

impl HttpFilter for SetFilterState {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }
    /// Objects of the filter itself come first, then those of all levels of the route; the most specific ones last.
    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        self.objects.set(cx);
        let route = cx.configured_route();
        for more in route.iter().flat_map(|route| route.filter_configs::<Objects>(&self.name)).rev() {
            more.set(cx);
        }
        Step::Continue
    }
}
