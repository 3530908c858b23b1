//! `TypedStruct`: a message given as free-form JSON with its type's name beside it.

use super::Options;
use super::walker;
use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::schema::{self, Message, Reader, Wire};
use crate::source::Span;
use crate::tree::{Content, NodeId, Tree};

/// It is one of the two messages of that name.
pub(crate) fn is(message: &Message) -> bool {
    matches!(
        message.name,
        "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct"
    )
}

/// Nested values, so that hostile bytes cannot exhaust the stack.
const MAX_DEPTH: usize = 100;

/// The message that a serialized `TypedStruct` means, and its wire bytes as far as they could be made. `None` when its
/// type is unknown: its consumer then takes the structure as it is.
pub(crate) fn expand(bytes: &[u8]) -> Option<(&'static Message, Vec<u8>)> {
    let (message, bytes, _) = read(bytes)?;
    Some((message, bytes))
}

/// As [`expand`], with what was found.
pub(super) fn read(bytes: &[u8]) -> Option<(&'static Message, Vec<u8>, Vec<Diagnostic>)> {
    let (mut url, mut value) = ("", &[][..]);
    for (number, wire) in Reader::new(bytes) {
        match number {
            1 => url = wire.text(),
            2 => value = wire.bytes(),
            _ => {}
        }
    }
    let message = schema::message(schema::type_name(url))?;
    let mut tree = Tree::default();
    let root = structure(&mut tree, value, 0);
    tree.set_root(root);
    let document = Document::of_tree(tree, root);
    let walked = walker::walk(message, &document, &Options::default());
    Some((message, walked.bytes, walked.diagnostics))
}

fn add(tree: &mut Tree, content: Content) -> NodeId {
    tree.add(Span::default(), true, content)
}

fn text(tree: &mut Tree, text: &str) -> NodeId {
    let text = tree.add_text(text);
    add(tree, Content::String { text, plain: false })
}

fn structure(tree: &mut Tree, bytes: &[u8], depth: usize) -> NodeId {
    let mut pairs = Vec::new();
    for (_, entry) in Reader::new(bytes).filter(|(n, _)| *n == 1) {
        let (mut key, mut held) = ("", &[][..]);
        for (number, wire) in Reader::new(entry.bytes()) {
            match number {
                1 => key = wire.text(),
                2 => held = wire.bytes(),
                _ => {}
            }
        }
        let key = text(tree, key);
        let held = value(tree, held, depth + 1);
        pairs.push((key, held));
    }
    tree.add_map(Span::default(), true, &pairs)
}

fn value(tree: &mut Tree, bytes: &[u8], depth: usize) -> NodeId {
    let last = Reader::new(bytes).last();
    match last {
        _ if depth > MAX_DEPTH => add(tree, Content::Null),
        Some((2, Wire::Fixed64(bits))) => {
            let number = tree.add_text(&f64::from_bits(bits).to_string());
            add(tree, Content::Number(number))
        }
        Some((3, wire)) => text(tree, wire.text()),
        Some((4, wire)) => add(tree, Content::Bool(wire.integer() != 0)),
        Some((5, wire)) => structure(tree, wire.bytes(), depth),
        Some((6, wire)) => {
            let values = Reader::new(wire.bytes()).filter(|(n, _)| *n == 1);
            let items: Vec<NodeId> = values
                .map(|(_, v)| value(tree, v.bytes(), depth + 1))
                .collect();
            tree.add_list(Span::default(), true, &items)
        }
        _ => add(tree, Content::Null),
    }
}
