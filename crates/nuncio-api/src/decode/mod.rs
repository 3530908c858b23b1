//! Spanned tree → protobuf bytes → message, all findings in one run.
//!
//! The walker follows the descriptors and writes wire bytes; the rules are then checked on those bytes, so that messages
//! from a file and from xDS pass the same check.

mod any;
mod deprecated;
mod extensions;
mod fields;
mod merged;
mod numbers;
mod payload;
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
use crate::schema;
use prost::Name;

pub use extensions::{Extension, extension, extensions};
pub use merged::{Merged, decode_merged};
pub use payload::{AnyError, any_type, decode_any};

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
    let message = finish(&bytes, &mut diagnostics);
    Decoded {
        message,
        bytes,
        diagnostics,
    }
}

/// The message, unless a finding is an error.
fn finish<M: prost::Message + Default>(
    bytes: &[u8],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<M> {
    if diagnostics.iter().any(Diagnostic::is_error) {
        return None;
    }
    match M::decode(bytes) {
        Ok(message) => Some(message),
        // Our own bytes: only a depth that prost does not follow can fail.
        Err(why) => {
            diagnostics.push(Diagnostic::error(codes::TOO_DEEP, None, why.to_string()));
            None
        }
    }
}

/// The message that serialized bytes of a `TypedStruct` mean, and its wire bytes as far as they could be made. `None` when
/// `message` is no `TypedStruct`, or its type is unknown.
pub fn expand_typed_struct(message: &schema::Message, bytes: &[u8]) -> Option<(&'static schema::Message, Vec<u8>)> {
    if typed_struct::is(message) { typed_struct::expand(bytes) } else { None }
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
    let (bytes, mut findings) = merged::encode(name, &[document], options);
    Encoded {
        bytes,
        diagnostics: findings.pop().unwrap_or_default(),
    }
}
