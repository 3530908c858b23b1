//! A configuration as a tree whose every key and value knows its place.
//!
//! Values are what protobuf's JSON reader would be given: null, boolean, number, string, list, map. YAML's plain scalars
//! are resolved as Envoy resolves them (`tree::yaml`). Nodes live in one arena; an alias is the anchor's node again, so
//! a tree is small however often it repeats itself, and whoever walks it must bound the walk.

pub(crate) mod json;
pub(crate) mod yaml;
mod yaml_errors;

use crate::source::Span;

/// A node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u32);

/// A text in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Str {
    start: u32,
    end: u32,
}

/// A range of children.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    /// Decimal text of a JSON number.
    Number(Str),
    /// Decoded text; `plain` when YAML would have taken it for something else had it looked so.
    String {
        text: Str,
        plain: bool,
    },
    List(Range),
    Map(Range),
}

#[derive(Debug, Clone, Copy)]
struct Node {
    span: Span,
    flow: bool,
    content: Content,
}

/// A value, borrowed from a tree.
#[derive(Debug, Clone, Copy)]
pub enum Value<'t> {
    /// `null`, `~` or nothing at all.
    Null,
    /// A boolean.
    Bool(bool),
    /// The decimal text of a number.
    Number(&'t str),
    /// A string.
    String(&'t str),
    /// A list's items.
    List(&'t [NodeId]),
    /// A map's pairs, in order.
    Map(&'t [(NodeId, NodeId)]),
}

impl Value<'_> {
    /// What it is, in a person's words.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }
}

/// A parsed configuration.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    items: Vec<NodeId>,
    pairs: Vec<(NodeId, NodeId)>,
    text: String,
    root: Option<NodeId>,
}

impl Tree {
    /// The whole document.
    pub fn root(&self) -> Option<NodeId> {
        self.root
    }

    /// Number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Where a node stands. A block map or list begins at its first key or dash.
    pub fn span(&self, id: NodeId) -> Span {
        self.node(id).span
    }

    /// The value of a node.
    pub fn value(&self, id: NodeId) -> Value<'_> {
        match self.node(id).content {
            Content::Null => Value::Null,
            Content::Bool(b) => Value::Bool(b),
            Content::Number(text) => Value::Number(self.str(text)),
            Content::String { text, .. } => Value::String(self.str(text)),
            Content::List(range) => {
                Value::List(&self.items[range.start as usize..range.end as usize])
            }
            Content::Map(range) => {
                Value::Map(&self.pairs[range.start as usize..range.end as usize])
            }
        }
    }

    /// A string that stood without quotes in YAML.
    pub fn is_plain(&self, id: NodeId) -> bool {
        matches!(self.node(id).content, Content::String { plain: true, .. })
    }

    /// A map or list in brackets rather than by indentation.
    pub fn is_flow(&self, id: NodeId) -> bool {
        self.node(id).flow
    }

    /// The text of a map's key.
    pub fn key(&self, id: NodeId) -> &str {
        match self.value(id) {
            Value::String(text) | Value::Number(text) => text,
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            _ => "null",
        }
    }

    /// The pairs of a map; empty for anything else.
    pub fn pairs(&self, id: NodeId) -> &[(NodeId, NodeId)] {
        if let Value::Map(pairs) = self.value(id) {
            pairs
        } else {
            &[]
        }
    }

    /// The last pair of that key in a map.
    pub fn get(&self, id: NodeId, key: &str) -> Option<(NodeId, NodeId)> {
        self.pairs(id)
            .iter()
            .rev()
            .find(|(k, _)| self.key(*k) == key)
            .copied()
    }

    /// Where a node's text really ends: that of its last child, without trailing blanks and comments.
    pub fn end(&self, id: NodeId) -> u32 {
        if self.is_flow(id) {
            return self.span(id).end;
        }
        match self.value(id) {
            Value::List(items) => items
                .last()
                .map_or(self.span(id).end, |last| self.end(*last)),
            // An empty last value ends where its key does.
            Value::Map(pairs) => pairs.last().map_or(self.span(id).end, |(k, v)| {
                self.end(*v).max(self.span(*k).end)
            }),
            _ => self.span(id).end,
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn str(&self, text: Str) -> &str {
        &self.text[text.start as usize..text.end as usize]
    }

    pub(crate) fn add_text(&mut self, text: &str) -> Str {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Str {
            start,
            end: self.text.len() as u32,
        }
    }

    pub(crate) fn add(&mut self, span: Span, flow: bool, content: Content) -> NodeId {
        self.nodes.push(Node {
            span,
            flow,
            content,
        });
        NodeId(self.nodes.len() as u32 - 1)
    }

    pub(crate) fn add_list(&mut self, span: Span, flow: bool, items: &[NodeId]) -> NodeId {
        let start = self.items.len() as u32;
        self.items.extend_from_slice(items);
        let end = self.items.len() as u32;
        self.add(span, flow, Content::List(Range { start, end }))
    }

    pub(crate) fn add_map(&mut self, span: Span, flow: bool, pairs: &[(NodeId, NodeId)]) -> NodeId {
        let start = self.pairs.len() as u32;
        self.pairs.extend_from_slice(pairs);
        let end = self.pairs.len() as u32;
        self.add(span, flow, Content::Map(Range { start, end }))
    }

    pub(crate) fn set_root(&mut self, root: NodeId) {
        self.root = Some(root);
    }
}
