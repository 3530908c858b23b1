//! A parsed configuration text, and the way from a field's path back to its place.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};
use crate::tree::{self, NodeId, Tree, Value};

/// The language of a configuration text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// YAML 1.2 with 1.1's booleans, as Envoy reads it. JSON is a subset but for corner cases.
    Yaml,
    /// JSON (RFC 8259) with the leniencies of Envoy's reader.
    Json,
}

impl Syntax {
    /// By a file's name: `.json` is JSON, everything else YAML.
    pub fn of(name: &str) -> Syntax {
        let json = name
            .get(name.len().wrapping_sub(5)..)
            .is_some_and(|end| end.eq_ignore_ascii_case(".json"));
        if json { Syntax::Json } else { Syntax::Yaml }
    }
}

/// A configuration text with its tree.
#[derive(Debug)]
pub struct Document {
    source: Source,
    tree: Tree,
    root: NodeId,
    warnings: Vec<Diagnostic>,
}

/// Texts larger than this are refused: offsets are 32 bits wide.
const MAX_BYTES: usize = 1 << 30;

/// One step of a field's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

impl Document {
    /// Parses the text. Errors are all that can be known of it; warnings stay with the document until it is decoded.
    pub fn parse(source: Source, syntax: Syntax) -> Result<Document, Vec<Diagnostic>> {
        if source.text.len() > MAX_BYTES {
            return Err(vec![Diagnostic::error(
                codes::TOO_DEEP,
                None,
                "larger than 1 GiB",
            )]);
        }
        let parsed = match syntax {
            Syntax::Yaml => tree::yaml::parse(&source),
            Syntax::Json => tree::json::parse(&source),
        };
        let (tree, warnings) = parsed.map_err(|error| vec![*error])?;
        match tree.root() {
            Some(root) if matches!(tree.value(root), Value::Map(_)) => Ok(Document {
                source,
                tree,
                root,
                warnings,
            }),
            Some(root) if !matches!(tree.value(root), Value::Null) => {
                let message = format!(
                    "a configuration is an object, this is {}",
                    tree.value(root).describe()
                );
                let start = tree.span(root).start as usize;
                Err(vec![Diagnostic::error(
                    codes::NOT_AN_OBJECT,
                    Span::new(start, start + 1),
                    message,
                )])
            }
            _ => {
                let error = Diagnostic::error(codes::EMPTY, Span::default(), "the file is empty");
                Err(vec![
                    error.help("`nuncio demo --write DIR` writes a configuration to start from"),
                ])
            }
        }
    }

    /// A document without a text.
    pub(crate) fn of_tree(tree: Tree, root: NodeId) -> Document {
        Document {
            source: Source::new("", ""),
            tree,
            root,
            warnings: Vec::new(),
        }
    }

    /// The text.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The outermost object.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// What parsing found odd but took.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Where to point for a field of that path, for example
    /// `static_resources.clusters[0].load_assignment.endpoints[1]` or `node.metadata["a.b"]`.
    ///
    /// A scalar or a bracketed value is pointed at itself, a block by the key that opens it. Either spelling of a field
    /// finds either. A path that leads nowhere gives the place of its nearest existing ancestor.
    pub fn span_of(&self, path: &str) -> Span {
        self.place(path).0
    }

    /// As [`Document::span_of`], but the key rather than the value.
    pub fn key_span_of(&self, path: &str) -> Span {
        let (span, key) = self.place(path);
        key.map_or(span, |key| self.tree.span(key))
    }

    /// The node at a path, if there is one.
    pub fn node_of(&self, path: &str) -> Option<NodeId> {
        let mut node = self.root;
        for step in Steps(path) {
            node = self.step(node, step)?.1;
        }
        Some(node)
    }

    /// Where to point for a value that a key opens.
    pub(crate) fn point(&self, key: Option<NodeId>, value: NodeId) -> Span {
        let block = matches!(self.tree.value(value), Value::Map(_) | Value::List(_))
            && !self.tree.is_flow(value);
        let span = self.tree.span(value);
        match key {
            Some(key) if block || span.start == span.end => self.tree.span(key),
            // An item of a block list: its first key stands for it.
            None if block => match self.tree.value(value) {
                Value::Map([(first, _), ..]) => self.tree.span(*first),
                _ => Span::new(span.start as usize, span.start as usize + 1),
            },
            _ => span,
        }
    }

    fn place(&self, path: &str) -> (Span, Option<NodeId>) {
        let (mut node, mut key) = (self.root, None);
        for step in Steps(path) {
            let Some((next_key, next)) = self.step(node, step) else {
                break;
            };
            node = next;
            key = next_key;
        }
        (self.point(key, node), key)
    }

    fn step(&self, node: NodeId, step: Step<'_>) -> Option<(Option<NodeId>, NodeId)> {
        match (step, self.tree.value(node)) {
            (Step::Index(at), Value::List(items)) => items.get(at).map(|item| (None, *item)),
            // A lone value where a list is meant counts as the list's one item.
            (Step::Index(0), _) => Some((None, node)),
            (Step::Name(name), Value::Map(pairs)) => {
                let exact = pairs.iter().rev().find(|(k, _)| self.tree.key(*k) == name);
                let similar = || {
                    pairs
                        .iter()
                        .rev()
                        .find(|(k, _)| same_field(self.tree.key(*k), name))
                };
                if let Some((key, value)) = exact.or_else(similar) {
                    return Some((Some(*key), *value));
                }
                // What a merge key brings in stands where its anchor does.
                let (_, merged) = self.tree.get(node, "<<")?;
                self.step(merged, step)
            }
            _ => None,
        }
    }
}

/// A place in one of several documents.
pub(crate) struct Place {
    pub document: usize,
    pub node: NodeId,
    pub span: Span,
}

/// Where a path of the message merged from several documents leads: lists are appended to each other, so an index counts
/// through the lists of all documents in order; of a field that several set, the last one counts.
pub(crate) fn place_among(documents: &[&Document], path: &str) -> Option<Place> {
    let mut at: Vec<Option<(Option<NodeId>, NodeId)>> =
        documents.iter().map(|d| Some((None, d.root))).collect();
    for step in Steps(path) {
        let next = match step {
            Step::Name(_) => advance(documents, &at, step),
            Step::Index(index) => item(documents, &at, index),
        };
        // The nearest ancestor will do.
        if next.iter().all(Option::is_none) {
            break;
        }
        at = next;
    }
    let (document, (key, node)) = at
        .iter()
        .enumerate()
        .rev()
        .find_map(|(n, found)| Some((n, (*found)?)))?;
    Some(Place {
        document,
        node,
        span: documents[document].point(key, node),
    })
}

type Found = Option<(Option<NodeId>, NodeId)>;

fn advance(documents: &[&Document], at: &[Found], step: Step<'_>) -> Vec<Found> {
    let each = documents.iter().zip(at);
    each.map(|(document, found)| found.and_then(|(_, node)| document.step(node, step)))
        .collect()
}

/// The one document that holds the item of that index.
fn item(documents: &[&Document], at: &[Found], index: usize) -> Vec<Found> {
    let mut left = Some(index);
    let each = documents.iter().zip(at).map(|(document, found)| {
        let (_, node) = (*found)?;
        let length = match document.tree.value(node) {
            Value::List(items) => items.len(),
            _ => 1,
        };
        match left {
            Some(index) if index < length => {
                left = None;
                document.step(node, Step::Index(index))
            }
            Some(index) => {
                left = Some(index - length);
                None
            }
            None => None,
        }
    });
    each.collect()
}

/// `connect_timeout` and `connectTimeout` are the same field.
fn same_field(a: &str, b: &str) -> bool {
    fn letters(name: &str) -> impl Iterator<Item = (bool, char)> + '_ {
        let mut after = false;
        name.chars().filter_map(move |c| {
            if c == '_' {
                after = true;
                return None;
            }
            Some((
                std::mem::take(&mut after) || c.is_ascii_uppercase(),
                c.to_ascii_lowercase(),
            ))
        })
    }
    letters(a).eq(letters(b))
}

/// Splits a path into its steps; what is not a step is skipped.
struct Steps<'p>(&'p str);

impl<'p> Iterator for Steps<'p> {
    type Item = Step<'p>;

    fn next(&mut self) -> Option<Step<'p>> {
        self.0 = self.0.trim_start_matches('.');
        if let Some(rest) = self.0.strip_prefix("[\"") {
            let end = rest.find("\"]")?;
            self.0 = &rest[end + 2..];
            return Some(Step::Name(&rest[..end]));
        }
        if let Some(rest) = self.0.strip_prefix('[') {
            let end = rest.find(']')?;
            self.0 = &rest[end + 1..];
            return rest[..end].parse().ok().map(Step::Index);
        }
        let end = self.0.find(['.', '[']).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        (!name.is_empty()).then_some(Step::Name(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(Source::new("t", text), Syntax::Yaml).expect("parses")
    }

    #[test]
    fn paths_lead_to_their_text() {
        let d = document("a:\n  bC:\n  - {x: 1}\n  - x: 2\n    \"k.l\": {m: 3}\n");
        let text = |path: &str| d.source().slice(d.span_of(path));
        assert_eq!(text("a.b_c[0].x"), "1");
        assert_eq!(text("a.bC[1][\"k.l\"].m"), "3");
        assert_eq!(text("a.b_c[0]"), "{x: 1}");
        assert_eq!(text("a.b_c[1]"), "x");
        assert_eq!(text("a.b_c"), "bC");
        assert_eq!(text("a.b_c[1].none.more"), "x");
        assert_eq!(d.source().slice(d.key_span_of("a.b_c[0].x")), "x");
        assert!(d.node_of("a.nope").is_none());
    }

    #[test]
    fn empty_and_shapeless_documents_are_refused() {
        let code = |text: &str| {
            Document::parse(Source::new("t", text), Syntax::Yaml).expect_err(text)[0].code
        };
        assert_eq!(code(""), codes::EMPTY);
        assert_eq!(code("# nothing\n---\n"), codes::EMPTY);
        assert_eq!(code("- a\n"), codes::NOT_AN_OBJECT);
        assert_eq!(code("word"), codes::NOT_AN_OBJECT);
    }

    #[test]
    fn syntax_goes_by_the_files_name() {
        assert_eq!(Syntax::of("/etc/envoy.JSON"), Syntax::Json);
        assert_eq!(Syntax::of("envoy.yaml"), Syntax::Yaml);
        assert_eq!(Syntax::of("x"), Syntax::Yaml);
    }
}
