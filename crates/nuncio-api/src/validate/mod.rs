//! The API's validation rules, checked on wire bytes: for files and for what xDS delivers alike.
//!
//! [`check`] walks a serialized message by its descriptor, into every `Any` whose type is known, and reports what breaks
//! a rule by the field's path. Finding the place in a text is left to [`Violation::locate`].

mod check;
mod items;
mod value;

pub(crate) use items::Items;

use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::schema::{self, Message};
use crate::source::Span;

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Code of the kind, see [`crate::codes`].
    pub code: &'static str,
    /// Path of the message that the rule belongs to.
    pub owner: String,
    /// Path of the field; the owner's for a oneof.
    pub path: String,
    /// Something is not there, rather than wrong.
    pub missing: bool,
    /// One sentence.
    pub message: String,
    /// A few words for under the carets.
    pub label: String,
    /// What to do, if there is something to say.
    pub help: Option<String>,
}

impl Violation {
    /// The finding at its place in a text. What is missing is reported at the object that lacks it.
    pub fn locate(self, document: &Document) -> Diagnostic {
        let span = document.span_of(if self.missing {
            &self.owner
        } else {
            &self.path
        });
        self.into_diagnostic(span)
    }

    pub(crate) fn into_diagnostic(self, span: Span) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(self.code, span, self.message)
            .label(self.label)
            .path(self.path);
        if let Some(help) = self.help {
            diagnostic = diagnostic.help(help);
        }
        diagnostic
    }
}

/// Reports every rule that a serialized message breaks.
pub fn check(message: &'static Message, bytes: &[u8], report: &mut dyn FnMut(Violation)) {
    check::Checker::new(report).message(message, bytes);
}

/// As [`check`], by the message's full name and with the violations in a list. An unknown name breaks nothing.
pub fn violations(name: &str, bytes: &[u8]) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Some(message) = schema::message(name) {
        check(message, bytes, &mut |violation| found.push(violation));
    }
    found
}

/// The message with nothing set breaks no rule.
pub fn admits_empty(name: &str) -> bool {
    violations(name, &[]).is_empty()
}
