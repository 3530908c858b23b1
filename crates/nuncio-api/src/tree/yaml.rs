//! YAML text → [`Tree`], with plain scalars resolved as Envoy (yaml-cpp) resolves them.
//!
//! Promises: one document, every node with its span, later duplicates of a key win (with a warning), an alias is the
//! anchor's node itself. Leaves to the walker: merge keys, which have a meaning only inside messages.

use super::yaml_errors;
use super::{Content, NodeId, Tree};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};
use granit_parser::{Event, Options, Parser, ScalarStyle, StructureStyle, Tag};
use std::collections::HashMap;

/// A map or list that is still open.
struct Open {
    flow: bool,
    anchor: usize,
    start: Span,
    children: Children,
}

enum Children {
    List(Vec<NodeId>),
    Map {
        pairs: Vec<(NodeId, NodeId)>,
        key: Option<NodeId>,
    },
}

struct Builder<'s> {
    source: &'s Source,
    tree: Tree,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    warnings: Vec<Diagnostic>,
}

/// Parses the first document; warnings come with the tree, an error instead of it.
pub(crate) fn parse(source: &Source) -> Result<(Tree, Vec<Diagnostic>), Box<Diagnostic>> {
    let mut builder = Builder {
        source,
        tree: Tree::default(),
        open: Vec::new(),
        anchors: HashMap::new(),
        warnings: Vec::new(),
    };
    // Offsets reported by the parser do not count a byte order mark.
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let shift = source.text.len() - text.len();
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, Options::default()) {
        let (event, span) = event.map_err(|e| Box::new(yaml_errors::explain(source, &e, shift)))?;
        let range = span.byte_range().unwrap_or_default();
        let span = Span::new(range.start + shift, range.end + shift);
        if let Event::DocumentStart(..) = event {
            documents += 1;
            if documents == 2 {
                let text = "only the first YAML document of a file is read";
                builder.warnings.push(
                    Diagnostic::warning(codes::SECOND_DOCUMENT, span, text)
                        .label("ignored from here"),
                );
                break;
            }
        }
        builder.event(event, span)?;
    }
    Ok((builder.tree, builder.warnings))
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Diagnostic>> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), span);
                self.done(node, anchor);
            }
            Event::Alias(anchor) => {
                let Some(&node) = self.anchors.get(&anchor) else {
                    let text = "this alias stands inside the value that it names";
                    return Err(Box::new(Diagnostic::error(codes::YAML_SYNTAX, span, text)));
                };
                self.done(node, 0);
            }
            Event::SequenceStart(style, anchor, _) => {
                self.start(style, anchor, span, Children::List(Vec::new()))
            }
            Event::MappingStart(style, anchor, _) => {
                self.start(
                    style,
                    anchor,
                    span,
                    Children::Map {
                        pairs: Vec::new(),
                        key: None,
                    },
                );
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, style: StructureStyle, anchor: usize, start: Span, children: Children) {
        self.open.push(Open {
            flow: style == StructureStyle::Flow,
            anchor,
            start,
            children,
        });
    }

    fn end(&mut self, end: Span) {
        let Some(Open {
            flow,
            anchor,
            start,
            children,
        }) = self.open.pop()
        else {
            return;
        };
        let node = match children {
            Children::List(items) => self.tree.add_list(start.to(end), flow, &items),
            Children::Map { pairs, .. } => {
                let pairs = self.without_duplicates(pairs);
                // A block map is reported where it begins, which is its first key.
                let start = pairs
                    .first()
                    .filter(|_| !flow)
                    .map_or(start, |(k, _)| self.tree.span(*k));
                self.tree.add_map(start.to(end), flow, &pairs)
            }
        };
        self.done(node, anchor);
    }

    /// A finished node goes to its parent.
    fn done(&mut self, node: NodeId, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node);
        }
        match self.open.last_mut().map(|o| &mut o.children) {
            None => self.tree.set_root(node),
            Some(Children::List(items)) => items.push(node),
            Some(Children::Map { pairs, key }) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> NodeId {
        let plain = style == ScalarStyle::Plain && !tag.is_some_and(is_non_specific);
        let is_key = matches!(
            self.open.last(),
            Some(Open {
                children: Children::Map { key: None, .. },
                ..
            })
        );
        let content = if !plain {
            Content::String {
                text: self.tree.add_text(text),
                plain: false,
            }
        } else if tag.is_none() && is_null(text) {
            Content::Null
        } else if is_key {
            // Keys are never booleans or numbers.
            Content::String {
                text: self.tree.add_text(text),
                plain: false,
            }
        } else {
            self.plain(text)
        };
        self.tree.add(span, false, content)
    }

    /// Boolean, then integer, else text. Floats stay text: whoever needs a number reads it from there.
    fn plain(&mut self, text: &str) -> Content {
        if let Some(value) = boolean(text) {
            return Content::Bool(value);
        }
        match integer(text) {
            Some(value) if i32::try_from(value).is_ok() => {
                Content::Number(self.tree.add_text(&value.to_string()))
            }
            Some(value) => Content::String {
                text: self.tree.add_text(&value.to_string()),
                plain: true,
            },
            None => Content::String {
                text: self.tree.add_text(text),
                plain: true,
            },
        }
    }

    fn without_duplicates(&mut self, pairs: Vec<(NodeId, NodeId)>) -> Vec<(NodeId, NodeId)> {
        let tree = &self.tree;
        let doubled = duplicates(tree, &pairs);
        if doubled.is_empty() {
            return pairs;
        }
        for &(first, again) in &doubled {
            let (was, is) = (tree.span(pairs[first].0), tree.span(pairs[again].0));
            self.warnings
                .push(duplicate(self.source, was, is, tree.key(pairs[again].0)));
        }
        let gone = |at: &usize| doubled.iter().any(|(first, _)| first == at);
        pairs
            .iter()
            .enumerate()
            .filter(|(at, _)| !gone(at))
            .map(|(_, pair)| *pair)
            .collect()
    }
}

/// Warns about a key that stands twice in one map.
pub(super) fn duplicate(source: &Source, first: Span, again: Span, key: &str) -> Diagnostic {
    let line = source.position(first.start).line;
    Diagnostic::warning(
        codes::DUPLICATE_KEY,
        again,
        format!("`{key}` is set twice here; this one wins"),
    )
    .label(format!("replaces the one of line {line}"))
    .also(first, "ignored")
}

/// Indices (earlier, later) of pairs with the same key.
pub(super) fn duplicates(tree: &Tree, pairs: &[(NodeId, NodeId)]) -> Vec<(usize, usize)> {
    /// Up to here comparing all with all is cheaper than hashing.
    const FEW: usize = 12;
    let key = |at: usize| tree.key(pairs[at].0);
    let mut found = Vec::new();
    if pairs.len() <= FEW {
        for again in 1..pairs.len() {
            if let Some(first) = (0..again).rev().find(|first| key(*first) == key(again)) {
                found.push((first, again));
            }
        }
    } else {
        let mut seen = HashMap::with_capacity(pairs.len());
        for again in 0..pairs.len() {
            if let Some(first) = seen.insert(key(again), again) {
                found.push((first, again));
            }
        }
    }
    found
}

/// The tag `!`, which says "not what it looks like, a string".
fn is_non_specific(tag: &Tag) -> bool {
    tag.to_string() == "!"
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// YAML 1.1's words, in lower case, upper case or with a capital.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true,
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            false
        }
        _ => return None,
    })
}

/// C's base 0: `0x` is hexadecimal, a leading `0` octal.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let value = match hexadecimal {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => {
            i128::from_str_radix(digits, 16)
        }
        Some(_) => return None,
        None if digits.len() > 1 && digits.starts_with('0') => {
            i128::from_str_radix(&digits[1..], 8)
        }
        None => digits.parse(),
    };
    let value = value.ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    fn tree(text: &str) -> Tree {
        parse(&Source::new("t", text)).expect("parses").0
    }

    fn at<'t>(tree: &'t Tree, key: &str) -> Value<'t> {
        let (_, value) = tree.get(tree.root().expect("root"), key).expect(key);
        tree.value(value)
    }

    #[test]
    fn plain_scalars_become_what_envoy_takes_them_for() {
        let t = tree(
            "a: yes\nb: 0x10\nc: 017\nd: 08\ne: 1.5\nf: 99999999999\ng: \"1\"\nh: ~\ni: oN\nj: ! 1\nk: !!str 1\n",
        );
        assert!(matches!(at(&t, "a"), Value::Bool(true)));
        assert!(matches!(at(&t, "b"), Value::Number("16")));
        assert!(matches!(at(&t, "c"), Value::Number("15")));
        assert!(matches!(at(&t, "d"), Value::String("08")));
        assert!(matches!(at(&t, "e"), Value::String("1.5")));
        assert!(matches!(at(&t, "f"), Value::String("99999999999")));
        assert!(matches!(at(&t, "g"), Value::String("1")));
        assert!(matches!(at(&t, "h"), Value::Null));
        assert!(matches!(at(&t, "i"), Value::String("oN")));
        assert!(matches!(at(&t, "j"), Value::String("1")));
        assert!(matches!(at(&t, "k"), Value::Number("1")));
    }

    #[test]
    fn spans_are_those_of_the_text() {
        let source = Source::new("t", "a:\n  bé: { c: \"x\" }\n  d: [1, 2]\n");
        let (t, _) = parse(&source).expect("parses");
        let (_, a) = t.get(t.root().expect("root"), "a").expect("a");
        let (key, b) = t.get(a, "bé").expect("b");
        assert_eq!(source.slice(t.span(key)), "bé");
        assert_eq!(source.slice(t.span(b)), "{ c: \"x\" }");
        let (_, c) = t.get(b, "c").expect("c");
        assert_eq!(source.slice(t.span(c)), "\"x\"");
        assert_eq!(t.span(a).start, t.span(key).start);
        let (_, d) = t.get(a, "d").expect("d");
        assert_eq!(source.slice(t.span(d)), "[1, 2]");
        assert_eq!(t.end(a) as usize, source.text.trim_end().len());
    }

    #[test]
    fn a_later_duplicate_wins_with_a_warning() {
        let (t, warnings) = parse(&Source::new("t", "a: x\nb: y\na: z\n")).expect("parses");
        assert!(matches!(at(&t, "a"), Value::String("z")));
        assert_eq!(t.pairs(t.root().expect("root")).len(), 2);
        assert_eq!(warnings.len(), 1);
        assert_eq!(
            (warnings[0].code, warnings[0].span),
            (codes::DUPLICATE_KEY, Some(Span::new(10, 11)))
        );
    }

    #[test]
    fn an_alias_is_the_anchors_node() {
        let t = tree("a: &x {k: v}\nb: *x\n");
        let root = t.root().expect("root");
        assert_eq!(
            t.get(root, "a").expect("a").1,
            t.get(root, "b").expect("b").1
        );
    }
}
