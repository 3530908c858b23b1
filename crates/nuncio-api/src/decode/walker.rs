//! The walk over the tree: where we are, what was written, what was found.
//!
//! `fields` reads objects, `scalar` lone values, `well_known` and `any` protobuf's special messages, `unknown` explains
//! keys that fit nothing.

use super::Options;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::schema::Message;
use crate::source::{Source, Span};
use crate::tree::{NodeId, Tree};
use std::collections::HashSet;
use std::fmt::Write as _;

/// Objects of which a part could not be read.
pub(super) type Broken = HashSet<NodeId>;

/// What a walk gives.
pub(super) struct Walked {
    pub bytes: Vec<u8>,
    pub diagnostics: Vec<Diagnostic>,
    pub broken: Broken,
}

/// One step of the current path.
#[derive(Clone, Copy)]
pub(super) enum Step<'d> {
    Field(&'static str),
    Index(usize),
    Key(&'d str),
}

/// A message that is being read.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub message: &'static Message,
    pub node: NodeId,
    /// The key that opened it; `None` for the root and for list items.
    pub key: Option<NodeId>,
}

/// Objects and lists that one walk may visit beyond those that the text holds: aliases make the two differ.
const MAX_REPEATED: usize = 300_000;
/// Nested messages. Protobuf readers stop at 100.
const MAX_DEPTH: usize = 100;
/// Findings of one walk; more help nobody.
const MAX_FINDINGS: usize = 200;

pub(super) struct Walker<'d> {
    pub document: &'d Document,
    pub tree: &'d Tree,
    pub options: &'d Options,
    pub out: Vec<u8>,
    pub places: Vec<Place>,
    /// Inside the configuration of an extension.
    pub in_any: bool,
    diagnostics: Vec<Diagnostic>,
    broken: Broken,
    path: Vec<Step<'d>>,
    /// Visits that are left.
    visits: usize,
    exhausted: bool,
}

/// Reads the whole document as `message`.
pub(super) fn walk(message: &'static Message, document: &Document, options: &Options) -> Walked {
    let mut walker = Walker {
        document,
        tree: document.tree(),
        options,
        out: Vec::with_capacity(document.source().text.len() / 2),
        places: Vec::new(),
        in_any: false,
        diagnostics: Vec::new(),
        broken: Broken::new(),
        path: Vec::new(),
        visits: document.tree().len() + MAX_REPEATED,
        exhausted: false,
    };
    if !walker.foreign_object(message) {
        walker.message(message, document.root(), None);
    }
    Walked {
        bytes: walker.out,
        diagnostics: walker.diagnostics,
        broken: walker.broken,
    }
}

impl<'d> Walker<'d> {
    pub fn source(&self) -> &'d Source {
        self.document.source()
    }

    /// Records a finding at the current path.
    pub fn report(&mut self, mut diagnostic: Diagnostic) {
        if self.diagnostics.len() >= MAX_FINDINGS {
            return;
        }
        if diagnostic.path.is_empty() {
            diagnostic.path = self.path();
        }
        if diagnostic.is_error()
            && let Some(place) = self.places.last()
        {
            self.broken.insert(place.node);
        }
        self.diagnostics.push(diagnostic);
    }

    /// Runs `read` one step deeper in the path.
    pub fn at<T>(&mut self, step: Step<'d>, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let result = read(self);
        self.path.pop();
        result
    }

    /// Runs `read` with the message as the innermost place; refuses what is too deep or too much.
    pub fn inside(&mut self, place: Place, read: impl FnOnce(&mut Self)) {
        if self.places.len() >= MAX_DEPTH || self.visits == 0 {
            // Say it once; the rest of the walk finds nothing left.
            if !self.exhausted {
                self.exhausted = true;
                let span = self.document.point(place.key, place.node);
                let text = "nested too deeply, or repeated by aliases too often";
                self.report(Diagnostic::error(codes::TOO_DEEP, span, text));
            }
            return;
        }
        self.visits -= 1;
        self.places.push(place);
        read(self);
        self.places.pop();
    }

    /// The current path, as Envoy writes paths.
    pub fn path(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            // Writing to a String cannot fail.
            let _ = match step {
                Step::Field(name) if text.is_empty() => write!(text, "{name}"),
                Step::Field(name) => write!(text, ".{name}"),
                Step::Index(at) => write!(text, "[{at}]"),
                Step::Key(key) => write!(text, "[\"{key}\"]"),
            };
        }
        text
    }

    /// The field that the current path is in, whatever item or entry of it.
    pub fn field_step(&self) -> Option<&'static str> {
        self.path.iter().rev().find_map(|step| {
            if let Step::Field(name) = step {
                Some(*name)
            } else {
                None
            }
        })
    }

    /// Line of a place, for sentences.
    pub fn line(&self, span: Span) -> usize {
        self.source().position(span.start).line
    }
}
