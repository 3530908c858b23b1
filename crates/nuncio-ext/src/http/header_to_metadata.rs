//! `envoy.filters.http.header_to_metadata`: values of headers and cookies become dynamic metadata.

use base64::{Engine, engine::general_purpose::STANDARD};
use crate::read::{self, within};
use nuncio_api::envoy::extensions::filters::http::header_to_metadata::v3 as proto;
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_core::matching::{Substitution, cookie};
use nuncio_core::metadata::{MetadataValue, set_dynamic};
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, Phases, Posture, Step, StreamCx};
use prost::Message;
use proto::config::{ValueEncode, ValueType};
use std::{any::Any, borrow::Cow, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.header_to_metadata",
    message: MESSAGE,
    route_message: MESSAGE,
    posture: Posture::UntrustedBoth,
    build,
    route,
};

const MESSAGE: &str = "envoy.extensions.filters.http.header_to_metadata.v3.Config";
/// Namespace of rules that name none.
const NAMESPACE: &str = "envoy.filters.http.header_to_metadata";
/// Longer values are not taken.
const MAX_VALUE_BYTES: usize = 8 * 1024;

#[derive(Debug, Default)]
struct Rules {
    request: Box<[Rule]>,
    response: Box<[Rule]>,
}

#[derive(Debug)]
struct Rule {
    source: Source,
    present: Option<Pair>,
    missing: Option<Pair>,
    remove: bool,
}

#[derive(Debug)]
enum Source {
    Header(HeaderName),
    Cookie(Box<[u8]>),
}

/// `KeyValuePair`
#[derive(Debug)]
struct Pair {
    namespace: Box<str>,
    key: Box<str>,
    value: Box<str>,
    rewrite: Option<Substitution>,
    kind: ValueType,
    base64: bool,
}

#[derive(Debug)]
struct HeaderToMetadata {
    name: String,
    rules: Rules,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    Ok(Arc::new(HeaderToMetadata { name: cx.filter_name.to_owned(), rules: rules(config, cx)? }))
}

fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(rules(config, cx)?))
}

fn rules(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Rules, ConfigError> {
    let proto::Config { request_rules, response_rules, stat_prefix } = read::message(config)?;
    if !stat_prefix.is_empty() {
        cx.warnings.push(ConfigError::at("stat_prefix", "is accepted without effect: these statistics are not kept yet"));
    }
    Ok(Rules { request: read::each("request_rules", &request_rules, rule)?, response: read::each("response_rules", &response_rules, rule)? })
}

fn rule(from: &proto::config::Rule) -> Result<Rule, ConfigError> {
    let proto::config::Rule { header, cookie, on_header_present, on_header_missing, remove } = from;
    let source = match (header.is_empty(), cookie.is_empty()) {
        (false, true) => Source::Header(read::header_name(header).map_err(within("header"))?),
        (true, false) => Source::Cookie(cookie.as_bytes().into()),
        (true, true) => return Err(ConfigError::at("", "a rule needs a `header` or a `cookie`")),
        (false, false) => return Err(ConfigError::at("", "`header` and `cookie` exclude each other")),
    };
    if *remove && matches!(source, Source::Cookie(_)) {
        return Err(ConfigError::at("remove", "a cookie cannot be removed"));
    }
    if on_header_present.is_none() && on_header_missing.is_none() {
        return Err(ConfigError::at("", "a rule needs `on_header_present` or `on_header_missing`"));
    }
    Ok(Rule {
        source,
        present: on_header_present.as_ref().map(pair).transpose().map_err(within("on_header_present"))?,
        missing: on_header_missing.as_ref().map(pair).transpose().map_err(within("on_header_missing"))?,
        remove: *remove,
    })
}

fn pair(from: &proto::config::KeyValuePair) -> Result<Pair, ConfigError> {
    let proto::config::KeyValuePair { metadata_namespace, key, value, regex_value_rewrite, r#type, encode } = from;
    let rewrite = regex_value_rewrite.as_ref().map(|rewrite| {
        let pattern = rewrite.pattern.as_ref().map_or("", |pattern| &pattern.regex);
        Substitution::new(pattern, &rewrite.substitution).map_err(|error| ConfigError::at("regex_value_rewrite.pattern.regex", error.message))
    });
    Ok(Pair {
        namespace: if metadata_namespace.is_empty() { NAMESPACE.into() } else { metadata_namespace.as_str().into() },
        key: key.as_str().into(),
        value: value.as_str().into(),
        rewrite: rewrite.transpose()?,
        kind: ValueType::try_from(*r#type).unwrap_or(ValueType::String),
        base64: *encode == ValueEncode::Base64 as i32,
    })
}

impl Pair {
    /// What the value of a header becomes.
    fn of<'v>(&'v self, value: Cow<'v, [u8]>) -> Option<MetadataValue> {
        let text = match &self.rewrite {
            _ if !self.value.is_empty() => Cow::Borrowed(self.value.as_bytes()),
            Some(rewrite) => Cow::Owned(rewrite.replace_all(&value)),
            None => value,
        };
        self.value(&text)
    }

    fn value(&self, text: &[u8]) -> Option<MetadataValue> {
        if text.is_empty() || text.len() > MAX_VALUE_BYTES {
            return None;
        }
        let decoded = if self.base64 { Cow::Owned(STANDARD.decode(text).ok()?) } else { Cow::Borrowed(text) };
        match self.kind {
            ValueType::String => Some(MetadataValue::Text(String::from_utf8_lossy(&decoded).into_owned())),
            ValueType::Number => std::str::from_utf8(&decoded).ok()?.trim().parse().ok().map(MetadataValue::Number),
            ValueType::ProtobufValue => prost_types::Value::decode(&*decoded).ok().map(|value| read::value(&value)),
        }
    }
}

impl Source {
    fn value<'h>(&'h self, headers: &'h HeaderMap) -> Option<Cow<'h, [u8]>> {
        match self {
            Source::Header(name) => headers.get_joined(name),
            Source::Cookie(name) => cookie(headers, name).map(Cow::Borrowed),
        }
    }
}

/// Applies the rules to a head; values are set once all have been read, and headers removed.
#[inline]
fn apply(rules: &[Rule], headers: &mut HeaderMap, metadata: &mut nuncio_core::metadata::Metadata) {
    for rule in rules {
        let (pair, made) = match rule.source.value(headers) {
            Some(value) => (&rule.present, rule.present.as_ref().and_then(|pair| pair.of(value))),
            None => (&rule.missing, rule.missing.as_ref().and_then(|pair| pair.value(pair.value.as_bytes()))),
        };
        if let (Some(pair), Some(value)) = (pair, made) {
            set_dynamic(metadata, &pair.namespace, &pair.key, value);
        }
        if let (true, Source::Header(name)) = (rule.remove, &rule.source) {
            headers.remove(name);
        }
    }
}

impl HttpFilter for HeaderToMetadata {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_HEADERS)
    }
    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let rules = super::settings(&route, &self.name, &self.rules);
        apply(&rules.request, &mut cx.request, &mut cx.metadata);
        Step::Continue
    }
    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let rules = super::settings(&route, &self.name, &self.rules);
        apply(&rules.response, &mut cx.response, &mut cx.metadata);
        Step::Continue
    }
}
