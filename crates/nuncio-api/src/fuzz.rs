//! Entry points for fuzzers: give them anything, they must return.

use crate::envoy::config::bootstrap::v3::Bootstrap;
use crate::{
    Document, JsonOptions, Look, Options, Source, Syntax, apply_fixes, decode, json_line, render,
    schema, to_json, validate,
};

/// The full name of the message that [`message`] takes its bytes for.
const MESSAGE: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// Reads a text as a bootstrap in both languages and both modes, prints what is found and applies the repairs.
pub fn configuration(text: &str) {
    for syntax in [Syntax::Yaml, Syntax::Json] {
        let source = Source::new("fuzz", text);
        let found = match Document::parse(source.clone(), syntax) {
            Err(found) => found,
            Ok(document) => {
                let strict = decode::<Bootstrap>(
                    &document,
                    &Options {
                        strict: true,
                        allow_unknown: false,
                    },
                );
                let decoded = decode::<Bootstrap>(&document, &Options::default());
                message(&decoded.bytes);
                for finding in &decoded.diagnostics {
                    document.span_of(&finding.path);
                }
                strict
                    .diagnostics
                    .into_iter()
                    .chain(decoded.diagnostics)
                    .collect()
            }
        };
        for finding in &found {
            render(
                &source,
                finding,
                Look {
                    color: true,
                    docs: true,
                },
            );
            json_line(&source, finding);
        }
        let fixes: Vec<_> = found.into_iter().filter_map(|d| d.fix).collect();
        apply_fixes(&source, &fixes);
    }
}

/// Takes bytes for a serialized bootstrap: checks its rules, prints it, cuts it down.
pub fn message(bytes: &[u8]) {
    validate::violations(MESSAGE, bytes);
    to_json(MESSAGE, bytes, JsonOptions { redact: true });
    if let Some(message) = schema::message(MESSAGE) {
        let paths: Vec<&str> = message.fields.iter().map(|f| f.name).collect();
        crate::trim(MESSAGE, bytes, &paths);
        crate::trim(MESSAGE, bytes, &["node.id", "static_resources"]);
    }
}
