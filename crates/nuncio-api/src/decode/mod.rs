//! Spanned tree → protobuf bytes → message, all findings in one run.
//!
//! The walker follows the descriptors and writes wire bytes; the rules are then checked on those bytes, so that messages
//! from a file and from xDS pass the same check.

mod any;
mod deprecated;
mod extensions;
mod fields;
mod numbers;
mod registered;
mod scalar;
pub(crate) mod spelling;
pub(crate) mod typed_struct;
mod unknown;
mod v2;
mod walker;
mod well_known;
pub(crate) mod wire_out;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::schema::{self, Message};
use crate::validate;
use prost::Name;
use prost_types::Any;
use std::collections::HashSet;

pub use extensions::{Extension, extension, extensions};

/// How strictly to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Refuse everything that Envoy 1.40 refuses (`--strict`). Access control by name only is refused in every mode.
    pub strict: bool,
    /// Unknown fields and enum values are warnings (`--allow-unknown-static-fields`).
    pub allow_unknown: bool,
}

/// A decoded message and everything found on the way.
#[derive(Debug)]
pub struct Decoded<M> {
    /// `None` when a finding is an error.
    pub message: Option<M>,
    /// The message's wire bytes, as far as they could be made.
    pub bytes: Vec<u8>,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Decodes a whole document as a message of type `M` and checks its validation rules.
pub fn decode<M: prost::Message + Default + Name>(
    document: &Document,
    options: &Options,
) -> Decoded<M> {
    let Encoded {
        bytes,
        mut diagnostics,
    } = encode(&M::full_name(), document, options);
    let mut message = None;
    if !diagnostics.iter().any(Diagnostic::is_error) {
        match M::decode(bytes.as_slice()) {
            Ok(decoded) => message = Some(decoded),
            Err(why) => diagnostics.push(Diagnostic::error(codes::TOO_DEEP, None, why.to_string())),
        }
    }
    Decoded {
        message,
        bytes,
        diagnostics,
    }
}

/// Why an `Any` is not the message that its reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyError {
    /// It holds another message.
    OtherType {
        /// Full name of what it holds.
        found: String,
    },
    /// Its bytes are not that message.
    Malformed(String),
    /// A `TypedStruct` whose structure does not fit the message.
    BadStruct(Vec<Diagnostic>),
}

impl std::fmt::Display for AnyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AnyError::OtherType { found } => write!(f, "holds `{found}`"),
            AnyError::Malformed(why) => f.write_str(why),
            AnyError::BadStruct(found) => {
                let first = found
                    .iter()
                    .find(|d| d.is_error())
                    .map_or("", |d| d.message.as_str());
                f.write_str(first)
            }
        }
    }
}

impl std::error::Error for AnyError {}

/// The message in an `Any`, also when it comes as a `TypedStruct`.
pub fn decode_any<M: prost::Message + Default + Name>(any: &Any) -> Result<M, AnyError> {
    let malformed = |why: prost::DecodeError| AnyError::Malformed(why.to_string());
    let found = schema::type_name(&any.type_url);
    if found == M::full_name() {
        return M::decode(any.value.as_slice()).map_err(malformed);
    }
    let is_struct = schema::message(found).is_some_and(typed_struct::is);
    match is_struct.then(|| typed_struct::read(&any.value)).flatten() {
        Some((message, bytes, found)) if message.name == M::full_name() => {
            if found.iter().any(Diagnostic::is_error) {
                return Err(AnyError::BadStruct(found));
            }
            M::decode(bytes.as_slice()).map_err(malformed)
        }
        Some((message, ..)) => Err(AnyError::OtherType {
            found: message.name.to_owned(),
        }),
        None => Err(AnyError::OtherType {
            found: found.to_owned(),
        }),
    }
}

/// Full name of the message that an `Any` configures, looking through a `TypedStruct`.
pub fn any_type(any: &Any) -> &str {
    let found = schema::type_name(&any.type_url);
    if !schema::message(found).is_some_and(typed_struct::is) {
        return found;
    }
    let url = schema::Reader::new(&any.value)
        .filter(|(n, _)| *n == 1)
        .last();
    url.map_or(found, |(_, url)| schema::type_name(url.text()))
}

/// A message's wire bytes and everything found on the way.
#[derive(Debug)]
pub struct Encoded {
    /// As far as they could be made; complete when no finding is an error.
    pub bytes: Vec<u8>,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// As [`decode`], for a type known by its full name only, without building a Rust message.
pub fn encode(name: &str, document: &Document, options: &Options) -> Encoded {
    let Some(message) = schema::message(name) else {
        let error = Diagnostic::error(
            codes::UNKNOWN_TYPE,
            None,
            format!("no message is called `{name}`"),
        );
        return Encoded {
            bytes: Vec::new(),
            diagnostics: vec![error],
        };
    };
    let walked = walker::walk(message, document, options);
    let mut diagnostics = document.warnings().to_vec();
    diagnostics.extend(walked.diagnostics);
    let broken = violations(
        message,
        document,
        &walked.bytes,
        &walked.broken,
        &diagnostics,
    );
    diagnostics.extend(broken);
    diagnostics.sort_by_key(|d| d.span.unwrap_or_default());
    Encoded {
        bytes: walked.bytes,
        diagnostics,
    }
}

/// Broken rules, without those that only follow from an error already reported: in an object of which a part could not be
/// read a missing field is no news, nor is a rule about a value that could not be read.
fn violations(
    message: &'static Message,
    document: &Document,
    bytes: &[u8],
    broken: &walker::Broken,
    found: &[Diagnostic],
) -> Vec<Diagnostic> {
    let unread: HashSet<&str> = found
        .iter()
        .filter(|d| d.is_error())
        .map(|d| d.path.as_str())
        .collect();
    let mut violations = Vec::new();
    validate::check(message, bytes, &mut |violation| {
        let owner = || document.node_of(&violation.owner);
        let follows = violation.missing
            && !broken.is_empty()
            && owner().is_some_and(|node| broken.contains(&node));
        if !follows && !unread.contains(violation.path.as_str()) {
            violations.push(violation.locate(document));
        }
    });
    violations
}
