//! Metadata of clusters, endpoints, routes and exchanges (`envoy.config.core.v3.Metadata.filter_metadata`).

use crate::ConnInfo;
use std::{collections::BTreeMap, rc::Rc, sync::Arc};

/// The part of metadata that load balancing reads.
pub const LB: &str = "envoy.lb";

/// Structured values by filter name (`envoy.lb`, …).
pub type Metadata = BTreeMap<String, MetadataValue>;

/// A `google.protobuf.Value`.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue {
    /// Null.
    Null,
    /// Boolean.
    Bool(bool),
    /// Number.
    Number(f64),
    /// Text.
    Text(String),
    /// List.
    List(Vec<MetadataValue>),
    /// Struct.
    Struct(BTreeMap<String, MetadataValue>),
}

impl MetadataValue {
    /// The value at the end of a path of keys through structures.
    pub fn at<'k>(&self, path: impl IntoIterator<Item = &'k str>) -> Option<&MetadataValue> {
        path.into_iter().try_fold(self, |value, key| match value {
            MetadataValue::Struct(fields) => fields.get(key),
            _ => None,
        })
    }

    /// Appends it as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            MetadataValue::Null => out.extend_from_slice(b"null"),
            MetadataValue::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
            MetadataValue::Number(n) => write_number(out, *n),
            MetadataValue::Text(text) => write_text(out, text),
            MetadataValue::List(list) => write_items(out, b'[', b']', list.iter(), |out, item| item.write_json(out)),
            MetadataValue::Struct(fields) => write_items(out, b'{', b'}', fields.iter(), |out, (key, value)| {
                write_text(out, key);
                out.push(b':');
                value.write_json(out);
            }),
        }
    }
}

/// Where the metadata of a connection's listener are kept.
const PLACE: usize = usize::MAX - 5;

/// Metadata of the listener that has taken a connection, and of its filter chain.
#[derive(Debug)]
pub struct ListenerMetadata {
    /// `Listener.metadata`
    pub listener: Option<Arc<Metadata>>,
    /// `FilterChain.metadata`
    pub filter_chain: Option<Arc<Metadata>>,
}

/// Keeps them for a connection.
pub fn attach(conn: &ConnInfo, of: ListenerMetadata) {
    conn.attached.get(PLACE, || of);
}

/// Those of a connection, where there are any.
pub fn attached(conn: &ConnInfo) -> Option<Rc<ListenerMetadata>> {
    conn.attached.find(PLACE)
}

/// Sets a value of an exchange's metadata; other values of the namespace stay.
pub fn set_dynamic(metadata: &mut Metadata, namespace: &str, key: &str, value: MetadataValue) {
    if let Some(MetadataValue::Struct(fields)) = metadata.get_mut(namespace) {
        fields.insert(key.to_owned(), value);
    } else {
        let mut fields = BTreeMap::new();
        fields.insert(key.to_owned(), value);
        metadata.insert(namespace.to_owned(), MetadataValue::Struct(fields));
    }
}

/// Sets a value of an exchange's metadata that is within structs of a namespace; they are made where they are not.
pub fn set_dynamic_at(metadata: &mut Metadata, namespace: &str, path: &[Box<str>], value: MetadataValue) {
    let mut place = metadata.entry(namespace.to_owned()).or_insert_with(|| MetadataValue::Struct(BTreeMap::new()));
    for key in path {
        if !matches!(place, MetadataValue::Struct(_)) {
            *place = MetadataValue::Struct(BTreeMap::new());
        }
        let MetadataValue::Struct(fields) = place else { return };
        place = fields.entry(key.to_string()).or_insert(MetadataValue::Null);
    }
    *place = value;
}

fn write_items<T>(out: &mut Vec<u8>, open: u8, close: u8, items: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(close);
}

fn write_number(out: &mut Vec<u8>, number: f64) {
    let text = if number.fract() == 0.0 && number.abs() < 1e15 { format!("{number:.0}") } else { format!("{number}") };
    out.extend_from_slice(text.as_bytes());
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Whether an endpoint is a canary: `envoy.lb` has `canary: true`.
pub fn is_canary(metadata: Option<&Metadata>) -> bool {
    matches!(
        metadata.and_then(|m| m.get(LB)),
        Some(MetadataValue::Struct(fields)) if fields.get("canary") == Some(&MetadataValue::Bool(true))
    )
}

/// What `envoy.lb` says of a host.
pub fn of_lb(metadata: Option<&Metadata>) -> Option<&BTreeMap<String, MetadataValue>> {
    match metadata?.get(LB)? {
        MetadataValue::Struct(fields) => Some(fields),
        _ => None,
    }
}

/// What a request asks of hosts' metadata (`metadata_match`): keys and values, by key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetadataMatch {
    fields: BTreeMap<String, MetadataValue>,
    /// All criteria as bytes, so that finding a subset is one lookup.
    key: Box<[u8]>,
}

impl MetadataMatch {
    /// Asks for these values.
    pub fn new(fields: BTreeMap<String, MetadataValue>) -> MetadataMatch {
        let key = encode(fields.iter().map(|(name, value)| (name.as_str(), value)));
        MetadataMatch { fields, key }
    }

    /// These criteria with others put over them.
    pub fn merged(&self, over: &BTreeMap<String, MetadataValue>) -> MetadataMatch {
        let mut fields = self.fields.clone();
        fields.extend(over.iter().map(|(name, value)| (name.clone(), value.clone())));
        MetadataMatch::new(fields)
    }

    /// The criteria whose keys are wanted.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> MetadataMatch {
        MetadataMatch::new(self.fields.iter().filter(|(k, _)| wanted(k)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// Keys and values.
    pub fn fields(&self) -> &BTreeMap<String, MetadataValue> {
        &self.fields
    }

    /// Whether a host has all of these values; a list of the host's has each of its members.
    pub fn matches(&self, host: Option<&Metadata>) -> bool {
        let Some(of_host) = of_lb(host) else { return self.fields.is_empty() };
        self.fields.iter().all(|(name, wanted)| match of_host.get(name) {
            Some(MetadataValue::List(list)) => list.contains(wanted),
            found => found == Some(wanted),
        })
    }

    /// The criteria as bytes, by which a subset is found.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

/// Keys and values as bytes: equal exactly if they are equal.
pub fn encode<'a>(fields: impl Iterator<Item = (&'a str, &'a MetadataValue)>) -> Box<[u8]> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        encode_text(&mut bytes, name);
        encode_value(&mut bytes, value);
    }
    bytes.into()
}

fn encode_text(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(&(text.len() as u64).to_le_bytes());
    to.extend_from_slice(text.as_bytes());
}

fn encode_value(to: &mut Vec<u8>, value: &MetadataValue) {
    match value {
        MetadataValue::Null => to.push(0),
        MetadataValue::Bool(b) => to.extend_from_slice(&[1, u8::from(*b)]),
        MetadataValue::Number(n) => {
            to.push(2);
            // Adding zero makes one zero of two.
            to.extend_from_slice(&(n + 0.0).to_le_bytes());
        }
        MetadataValue::Text(text) => {
            to.push(3);
            encode_text(to, text);
        }
        MetadataValue::List(list) => {
            to.push(4);
            to.extend_from_slice(&(list.len() as u64).to_le_bytes());
            list.iter().for_each(|value| encode_value(to, value));
        }
        MetadataValue::Struct(fields) => {
            to.push(5);
            to.extend_from_slice(&(fields.len() as u64).to_le_bytes());
            for (name, value) in fields {
                encode_text(to, name);
                encode_value(to, value);
            }
        }
    }
}
