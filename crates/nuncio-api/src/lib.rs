//! Everything about Envoy's v3 API as data.

pub mod codes;
mod decode;
mod diagnostic;
mod document;
mod json;
mod report;
pub mod schema;
mod source;
mod tree;
pub mod validate;

pub use decode::{
    AnyError, Decoded, Encoded, Extension, Options, any_type, decode, decode_any, encode,
    extension, extensions,
};
pub use diagnostic::{Diagnostic, Edit, Fix, Label, Severity};
pub use document::{Document, Syntax};
pub use json::{Json, JsonOptions, to_json, to_json_value, trim};
pub use nuncio_messages::*;
pub use report::{Look, apply_fixes, json_line, render, tally};
pub use source::{Position, Source, Span};
pub use tree::{NodeId, Tree, Value};
