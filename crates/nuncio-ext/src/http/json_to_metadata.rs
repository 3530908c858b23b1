//! `envoy.filters.http.json_to_metadata`: values of JSON bodies become dynamic metadata.
//!
//! A body is kept until it is complete. One of another content type counts as one that cannot be read (`on_error`), a message
//! without a body as one that has nothing (`on_missing`). Routes are looked up again once a request's values are set.

use crate::read::{self, within};
use nuncio_api::envoy::extensions::filters::http::json_to_metadata::v3 as proto;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::json::{self, Value};
use nuncio_core::matching::Pattern;
use nuncio_core::metadata::{Metadata, MetadataValue, set_dynamic};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, Phases, Posture, StateSlot, Step, StreamCx,
};
use nuncio_rt::Buf;
use nuncio_stats::{CounterId, Scope, stats_table};
use proto::json_to_metadata as rules;
use rules::{ValueType, key_value_pair, selector};
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.json_to_metadata",
    message: "envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route: super::no_route_config,
};

stats_table! {
    /// `json_to_metadata.rq.`, `json_to_metadata.resp.`
    pub JSON_TO_METADATA: "json_to_metadata" {
        /// Bodies that are no JSON.
        counter INVALID_JSON_BODY = "invalid_json_body",
        /// Messages of another content type.
        counter MISMATCHED_CONTENT_TYPE = "mismatched_content_type",
        /// Messages without a body.
        counter NO_BODY = "no_body",
        /// Bodies that the rules were applied to.
        counter SUCCESS = "success",
    }
}

/// Namespace of rules that name none.
const NAMESPACE: &str = "envoy.filters.http.json_to_metadata";

/// What is done with the messages of one direction.
#[derive(Debug)]
struct Direction {
    rules: Box<[Rule]>,
    types: Box<[String]>,
    type_pattern: Option<Pattern>,
    without_type: bool,
    stats: Arc<Scope>,
    /// The body so far.
    body: StateSlot<Option<Vec<u8>>>,
}

#[derive(Debug)]
struct Rule {
    path: Box<[String]>,
    present: Option<Target>,
    missing: Option<Target>,
    error: Option<Target>,
}

/// `KeyValuePair`
#[derive(Debug)]
struct Target {
    namespace: Box<str>,
    key: Box<str>,
    kind: ValueType,
    /// What is set, whatever the body has.
    fixed: Option<MetadataValue>,
    keep_existing: bool,
}

#[derive(Debug)]
struct JsonToMetadata {
    request: Option<Direction>,
    response: Option<Direction>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::JsonToMetadata { request_rules, response_rules } = read::message(config)?;
    let mut made = |field: &str, name: &str, from: Option<rules::MatchRules>| {
        from.map(|from| direction(&from, name, cx).map_err(within(field))).transpose()
    };
    Ok(Arc::new(JsonToMetadata { request: made("request_rules", "rq", request_rules)?, response: made("response_rules", "resp", response_rules)? }))
}

fn direction(from: &rules::MatchRules, name: &str, cx: &mut BuildCx<'_>) -> Result<Direction, ConfigError> {
    let rules::MatchRules { rules, allow_content_types, allow_empty_content_type, allow_content_types_regex } = from;
    let json = || vec!["application/json".to_owned()];
    let pattern = allow_content_types_regex.as_ref().map(read::pattern).transpose();
    Ok(Direction {
        rules: read::each("rules", rules, rule)?,
        types: if allow_content_types.is_empty() { json() } else { allow_content_types.clone() }.into(),
        type_pattern: pattern.map_err(within("allow_content_types_regex"))?,
        without_type: *allow_empty_content_type,
        stats: cx.stats.scope(&format!("json_to_metadata.{name}."), &JSON_TO_METADATA),
        body: cx.state_slot(),
    })
}

fn rule(from: &rules::Rule) -> Result<Rule, ConfigError> {
    let rules::Rule { selectors, on_present, on_missing, on_error } = from;
    if on_present.is_none() && on_missing.is_none() {
        return Err(ConfigError::at("", "a rule needs `on_present` or `on_missing`"));
    }
    for (field, pair) in [("on_missing", on_missing), ("on_error", on_error)] {
        if pair.as_ref().is_some_and(|pair| pair.value_type.is_none()) {
            return Err(ConfigError::at(format!("{field}.value"), "is missing"));
        }
    }
    let path = selectors.iter().map(|rules::Selector { selector }| match selector {
        Some(selector::Selector::Key(key)) => Ok(key.clone()),
        None => Err(ConfigError::at("selectors", "a part of the path is empty")),
    });
    let target = |from: &Option<rules::KeyValuePair>| from.as_ref().map(target);
    Ok(Rule { path: path.collect::<Result<_, _>>()?, present: target(on_present), missing: target(on_missing), error: target(on_error) })
}

fn target(from: &rules::KeyValuePair) -> Target {
    let namespace = if from.metadata_namespace.is_empty() { NAMESPACE } else { &from.metadata_namespace };
    Target {
        namespace: namespace.into(),
        key: from.key.as_str().into(),
        kind: from.r#type(),
        fixed: from.value_type.as_ref().map(|key_value_pair::ValueType::Value(value)| read::value(value)),
        keep_existing: from.preserve_existing_metadata_value,
    }
}

/// What a number is, as its type asks; `None` for one that no number of 64 bits is.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn is_integer(text: &str) -> bool {
    !text.contains(['.', 'e', 'E'])
}

/// Whether every number fits into 64 bits.
fn fits(value: &Value) -> bool {
    match value {
        Value::Number(text) if is_integer(text) => text.parse::<i64>().is_ok(),
        Value::Number(text) => number(text).is_some(),
        Value::Array(items) => items.iter().all(fits),
        Value::Object(fields) => fields.iter().all(|(_, value)| fits(value)),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// What a rule finds.
enum Found {
    Nothing,
    /// An empty text, where a text is wanted: neither here nor missing.
    Empty,
    Value(MetadataValue),
}

impl Target {
    /// A value of the body as the metadata shall have it.
    fn convert(&self, value: &Value) -> Found {
        let text = |text: String| Found::Value(MetadataValue::Text(text));
        match (self.kind, value) {
            (_, Value::Null | Value::Array(_) | Value::Object(_)) => Found::Nothing,
            (ValueType::String, Value::String(value)) if value.is_empty() => Found::Empty,
            (ValueType::String | ValueType::ProtobufValue, Value::String(value)) => text(value.clone()),
            (ValueType::String, Value::Number(value)) if is_integer(value) => text(value.clone()),
            (ValueType::String, Value::Number(value)) => number(value).map_or(Found::Nothing, |number| text(format!("{number:.6}"))),
            (ValueType::String, Value::Bool(value)) => text(u8::from(*value).to_string()),
            (ValueType::ProtobufValue, Value::Bool(value)) => Found::Value(MetadataValue::Bool(*value)),
            (ValueType::Number, Value::Bool(value)) => Found::Value(MetadataValue::Number(f64::from(u8::from(*value)))),
            (ValueType::Number | ValueType::ProtobufValue, Value::Number(value)) | (ValueType::Number, Value::String(value)) => {
                number(value.trim()).map_or(Found::Nothing, |number| Found::Value(MetadataValue::Number(number)))
            }
        }
    }

    fn set(&self, value: MetadataValue, before: &Metadata, made: &mut Metadata) {
        let exists = || before.get(&*self.namespace).is_some_and(|fields| fields.at([&*self.key]).is_some());
        if !self.keep_existing || !exists() {
            set_dynamic(made, &self.namespace, &self.key, value);
        }
    }
}

/// Sets the fixed value of a target.
fn set_fixed(target: &Option<Target>, before: &Metadata, made: &mut Metadata) {
    if let Some((target, value)) = target.as_ref().and_then(|target| Some((target, target.fixed.clone()?))) {
        target.set(value, before, made);
    }
}

impl Rule {
    fn apply(&self, body: &Value, before: &Metadata, made: &mut Metadata) {
        let Some((last, way)) = self.path.split_last() else { return };
        let node = way.iter().try_fold(body, |node, key| node.get(key).filter(|node| matches!(node, Value::Object(_))));
        let is_there = node.is_some() && matches!(body, Value::Object(_) | Value::Array(_));
        match (&self.present, is_there) {
            (_, false) => set_fixed(&self.missing, before, made),
            (None, true) => {}
            // As on Envoy: what shall be set in any case does not ask for the value.
            (Some(Target { fixed: Some(_), .. }), true) => set_fixed(&self.present, before, made),
            (Some(target), true) => match node.and_then(|node| node.get(last)).map_or(Found::Nothing, |value| target.convert(value)) {
                Found::Value(value) => target.set(value, before, made),
                Found::Empty => {}
                Found::Nothing => set_fixed(&self.missing, before, made),
            },
        }
    }
}

impl Direction {
    fn is_wanted(&self, head: &HeaderMap) -> bool {
        match head.get(Known::ContentType).filter(|kind| !kind.is_empty()) {
            None => self.without_type,
            Some(kind) => {
                self.types.iter().any(|wanted| wanted.as_bytes() == kind) || self.type_pattern.as_ref().is_some_and(|pattern| pattern.matches(kind))
            }
        }
    }

    fn finish(&self, cx: &mut StreamCx, outcome: CounterId, apply: impl Fn(&Rule, &Metadata, &mut Metadata)) {
        self.stats.inc(cx.worker.lane, outcome);
        let mut made = Metadata::new();
        self.rules.iter().for_each(|rule| apply(rule, &cx.metadata, &mut made));
        for (namespace, fields) in made {
            let MetadataValue::Struct(fields) = fields else { continue };
            fields.into_iter().for_each(|(key, value)| set_dynamic(&mut cx.metadata, &namespace, &key, value));
        }
    }

    /// True if there is a body to wait for.
    fn head(&self, cx: &mut StreamCx, wanted: bool, end: bool) -> bool {
        if !wanted {
            self.finish(cx, MISMATCHED_CONTENT_TYPE, |rule, before, made| set_fixed(&rule.error, before, made));
            return false;
        }
        if end {
            self.finish(cx, NO_BODY, |rule, before, made| set_fixed(&rule.missing, before, made));
            return false;
        }
        *cx.state(&self.body) = Some(Vec::new());
        true
    }

    /// True while there is more to wait for.
    fn data(&self, cx: &mut StreamCx, data: &[u8], end: bool) -> bool {
        let Some(Some(body)) = cx.held_state(&self.body) else { return false };
        body.extend_from_slice(data);
        if end {
            self.complete(cx);
        }
        !end
    }

    /// The body is complete. True if rules have been applied.
    fn complete(&self, cx: &mut StreamCx) -> bool {
        let Some(body) = cx.held_state(&self.body).and_then(Option::take) else { return false };
        let read = || json::read(std::str::from_utf8(&body).ok()?).ok().filter(fits);
        if body.is_empty() {
            self.finish(cx, NO_BODY, |rule, before, made| set_fixed(&rule.missing, before, made));
        } else if let Some(value) = read() {
            self.finish(cx, SUCCESS, |rule, before, made| rule.apply(&value, before, made));
        } else {
            self.finish(cx, INVALID_JSON_BODY, |rule, before, made| set_fixed(&rule.error, before, made));
        }
        true
    }
}

fn step(waits: bool) -> Step {
    if waits { Step::Hold(Hold::Buffer) } else { Step::Continue }
}

impl HttpFilter for JsonToMetadata {
    fn phases(&self) -> Phases {
        let request = Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA).and(Phases::REQUEST_TRAILERS);
        let response = Phases::RESPONSE_HEADERS.and(Phases::RESPONSE_DATA).and(Phases::RESPONSE_TRAILERS);
        match (&self.request, &self.response) {
            (Some(_), Some(_)) => request.and(response),
            (Some(_), None) => request,
            (None, Some(_)) => response,
            (None, None) => Phases::NONE,
        }
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let Some(direction) = &self.request else { return Step::Continue };
        let wanted = direction.is_wanted(&cx.request);
        let waits = direction.head(cx, wanted, end);
        cx.route_is_stale |= !waits;
        step(waits)
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(direction) = &self.request else { return Step::Continue };
        let waits = direction.data(cx, data.filled(), end);
        cx.route_is_stale |= end;
        step(waits)
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        cx.route_is_stale |= self.request.as_ref().is_some_and(|direction| direction.complete(cx));
        Step::Continue
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let Some(direction) = &self.response else { return Step::Continue };
        let wanted = direction.is_wanted(&cx.response);
        step(direction.head(cx, wanted, end))
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let Some(direction) = &self.response else { return Step::Continue };
        step(direction.data(cx, data.filled(), end))
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        if let Some(direction) = &self.response {
            direction.complete(cx);
        }
        Step::Continue
    }
}
