//! Everything about Envoy's v3 API as data: which messages there are, how a configuration text becomes one, what is
//! wrong with it, and how a message is printed.
//!
//! ```
//! use nuncio_api::envoy::config::bootstrap::v3::Bootstrap;
//! use nuncio_api::{Document, Look, Options, Source, Syntax, decode, render};
//!
//! let source = Source::new("envoy.yaml", "static_resources: { clusters: [{ name: c, conect_timeout: 2s }] }");
//! let document = Document::parse(source, Syntax::Yaml).expect("YAML");
//! let decoded = decode::<Bootstrap>(&document, &Options::default());
//! assert!(decoded.message.is_none());
//! let text = render(document.source(), &decoded.diagnostics[0], Look::default());
//! assert!(text.starts_with("error[NUN0103]: unknown field `conect_timeout` in Cluster\n --> envoy.yaml:1:43\n"));
//! assert!(text.contains("did you mean `connect_timeout`?"));
//! ```
//!
//! The way of a configuration: text → [`Document`] (a tree whose every node knows its place; `tree`) → wire bytes by the
//! descriptors (`decode`, [`schema`]) → rules ([`validate`]) → message. All findings of a run come together, as
//! [`Diagnostic`]s with stable [`codes`]; `report` prints them and applies their repairs. `json` goes the other way.
//!
//! Promises: any text and any bytes give findings or a message, never a panic; what Envoy 1.40 accepts is accepted, and
//! with [`Options::strict`] what it refuses here is refused. Leaves to others: everything that needs more than the API's
//! own rules (names that refer to each other, files, regular expressions, which features are built). They report by
//! field path and find the place with [`Document::span_of`].

pub mod codes;
mod decode;
mod diagnostic;
mod document;
pub mod fuzz;
mod json;
mod report;
pub mod schema;
mod source;
mod tree;
pub mod validate;

pub use decode::{
    AnyError, Decoded, Encoded, Extension, Merged, Options, any_type, decode, decode_any,
    decode_merged, encode, expand_typed_struct, extension, extensions,
};
pub use diagnostic::{Diagnostic, Edit, Fix, Label, Severity};
pub use document::{Document, Syntax};
pub use json::{Json, JsonOptions, to_json, to_json_value, trim};
pub use nuncio_messages::*;
pub use report::{Look, apply_fixes, json_line, render, tally};
pub use source::{NotUtf8, Position, Source, Span};
pub use tree::{NodeId, Tree, Value};
