//! YAML as plain values, merged and written out again as JSON (which every YAML reader reads).

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use std::fmt::Write;

/// A value.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Node {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Reads a document.
pub fn read(text: &str) -> Result<Node, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    documents.first().map_or(Ok(Node::Null), convert)
}

fn convert(yaml: &Yaml<'_>) -> Result<Node, String> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Node::Null,
        Yaml::Value(Scalar::Boolean(value)) => Node::Bool(*value),
        Yaml::Value(Scalar::Integer(value)) => Node::Int(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Node::Float(value.into_inner()),
        Yaml::Value(Scalar::String(text)) => Node::Str(text.to_string()),
        Yaml::Sequence(items) => Node::List(items.iter().map(convert).collect::<Result<_, _>>()?),
        Yaml::Mapping(pairs) => Node::Map(
            pairs
                .iter()
                .map(|(key, value)| Ok((convert(key)?.text(), convert(value)?)))
                .collect::<Result<_, String>>()?,
        ),
        Yaml::Tagged(_, inner) => convert(inner)?,
        other => return Err(format!("cannot use {other:?}")),
    })
}

impl Node {
    /// A map of one pair.
    pub fn pair(key: &str, value: impl Into<Node>) -> Node {
        Node::Map(vec![(key.to_owned(), value.into())])
    }

    /// The value under a key; `None` also for null.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Node::Map(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value).filter(|value| **value != Node::Null)
    }

    /// Whether the key is there, even with null.
    pub fn has(&self, key: &str) -> bool {
        self.pairs().iter().any(|(name, _)| name == key)
    }

    /// Pairs of a map; none for anything else.
    pub fn pairs(&self) -> &[(String, Node)] {
        if let Node::Map(pairs) = self { pairs } else { &[] }
    }

    /// Items of a list; the value itself as one item for anything else but null.
    pub fn items(&self) -> &[Node] {
        match self {
            Node::List(items) => items,
            Node::Null => &[],
            one => std::slice::from_ref(one),
        }
    }

    /// A scalar as text.
    pub fn text(&self) -> String {
        match self {
            Node::Null => "null".to_owned(),
            Node::Bool(value) => value.to_string(),
            Node::Int(value) => value.to_string(),
            Node::Float(value) => value.to_string(),
            Node::Str(text) => text.clone(),
            other => other.to_json(),
        }
    }

    /// A number under a key.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key) {
            Some(Node::Int(value)) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A text under a key.
    pub fn string(&self, key: &str) -> Option<String> {
        self.get(key).map(Node::text)
    }

    /// True if the key is there and true.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some(Node::Bool(true)))
    }

    /// Sets a key of a map.
    pub fn replace(&mut self, key: &str, value: &Node) {
        if let Node::Map(pairs) = self {
            pairs.retain(|(name, _)| name != key);
            pairs.push((key.to_owned(), value.clone()));
        }
    }

    /// Lays `over` over this: maps are merged key by key, anything else is replaced.
    pub fn merge(&mut self, over: &Node) {
        match (self, over) {
            (Node::Map(pairs), Node::Map(others)) => {
                for (key, value) in others {
                    match pairs.iter_mut().find(|(name, _)| name == key) {
                        Some((_, mine)) => mine.merge(value),
                        None => pairs.push((key.clone(), value.clone())),
                    }
                }
            }
            (mine, other) => *mine = other.clone(),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Node::Str(text) => quote(text, out),
            Node::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Node::Map(pairs) => {
                out.push('{');
                for (index, (key, value)) in pairs.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    quote(key, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
            scalar => out.push_str(&scalar.text()),
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

impl From<&str> for Node {
    fn from(text: &str) -> Node {
        Node::Str(text.to_owned())
    }
}

impl From<u16> for Node {
    fn from(number: u16) -> Node {
        Node::Int(i64::from(number))
    }
}

impl From<Vec<Node>> for Node {
    fn from(items: Vec<Node>) -> Node {
        Node::List(items)
    }
}
