//! Several documents as one message, as `--config-yaml` goes over `-c`.
//!
//! Serialized messages merge by being joined: lone values of a later document win, messages are merged, lists appended
//! (protobuf's MergeFrom). The rules are checked on the whole, and each finding goes to the document it is about.

use super::{Options, walker, wire_out};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::document::{Document, place_among};
use crate::schema::{self, Label, Message, Reader};
use crate::validate;
use prost::Name;
use std::collections::HashSet;

/// A message made of several documents.
#[derive(Debug)]
pub struct Merged<M> {
    /// `None` when a finding is an error. Without the list that is left apart.
    pub message: Option<M>,
    /// The message's wire bytes, as far as they could be made.
    pub bytes: Vec<u8>,
    /// The findings about each document, in the order of the documents.
    pub diagnostics: Vec<Vec<Diagnostic>>,
}

/// Decodes the documents as one message of type `M`, later ones merged over earlier ones. The items of the list `apart`, the
/// numbers of a field and of one within it, are not in the message: there may be very many of them, and who wants them reads
/// them one after the other from the bytes.
pub fn decode_merged<M: prost::Message + Default + Name>(
    documents: &[&Document],
    options: &Options,
    apart: [u32; 2],
) -> Merged<M> {
    let (bytes, mut diagnostics) = encode(&M::full_name(), documents, options);
    let mut message = None;
    if !diagnostics.iter().flatten().any(Diagnostic::is_error) {
        match diagnostics.last_mut() {
            Some(last) => message = super::finish(&without(&bytes, &apart), last),
            None => message = Some(M::default()),
        }
    }
    Merged {
        message,
        bytes,
        diagnostics,
    }
}

/// A message's bytes without the fields at the end of a path of numbers.
fn without(bytes: &[u8], path: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((&first, rest)) = path.split_first() else { return out };
    for (number, wire) in Reader::new(bytes) {
        match rest {
            [] if number == first => {}
            [_, ..] if number == first => wire_out::put_bytes(&mut out, number, &without(wire.bytes(), rest)),
            _ => wire_out::put(&mut out, number, wire),
        }
    }
    out
}

/// Wire bytes of the whole, and the findings about each document.
pub(super) fn encode(
    name: &str,
    documents: &[&Document],
    options: &Options,
) -> (Vec<u8>, Vec<Vec<Diagnostic>>) {
    let Some(message) = schema::message(name) else {
        let error = Diagnostic::error(
            codes::UNKNOWN_TYPE,
            None,
            format!("no message is called `{name}`"),
        );
        return (Vec::new(), vec![vec![error]]);
    };
    let (mut bytes, mut findings, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        let walked = walker::walk(message, document, options);
        if bytes.is_empty() {
            bytes = walked.bytes;
        } else {
            bytes.extend_from_slice(&walked.bytes);
        }
        let mut found = document.warnings().to_vec();
        found.extend(walked.diagnostics);
        findings.push(found);
        broken.push(walked.broken);
    }
    if documents.len() > 1 || findings.iter().any(|f| !f.is_empty()) {
        bytes = joined(message, &bytes, 0);
    }
    check_rules(message, documents, &bytes, &broken, &mut findings);
    for found in &mut findings {
        found.sort_by_key(|d| d.span.unwrap_or_default());
    }
    (bytes, findings)
}

/// The same message with every lone message field on the wire once: what occurs again is joined to where it first stood.
fn joined(message: &'static Message, bytes: &[u8], depth: usize) -> Vec<u8> {
    /// Deeper than any document that could be read.
    const MAX_DEPTH: usize = 200;
    let single = |number: u32| {
        let field = message
            .field_by_number(number)
            .filter(|f| f.label == Label::Single)?;
        field.kind.message().filter(|_| field.oneof.is_none())
    };
    let mut parts: Vec<(u32, Vec<u8>)> = Vec::new();
    for (number, wire) in Reader::new(bytes).filter(|(n, _)| single(*n).is_some()) {
        match parts.iter_mut().find(|(n, _)| *n == number) {
            Some((_, part)) => part.extend_from_slice(wire.bytes()),
            None => parts.push((number, wire.bytes().to_vec())),
        }
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut written: Vec<u32> = Vec::new();
    for (number, wire) in Reader::new(bytes) {
        match (single(number), wire) {
            (Some(_), _) if written.contains(&number) => {}
            (Some(inner), _) if depth < MAX_DEPTH => {
                let part = parts
                    .iter()
                    .find(|(n, _)| *n == number)
                    .map_or(&[][..], |(_, part)| part);
                wire_out::put_bytes(&mut out, number, &joined(inner, part, depth + 1));
                written.push(number);
            }
            (_, wire) => wire_out::put(&mut out, number, wire),
        }
    }
    out
}

/// Adds broken rules, but those that only follow from an error already reported: in an object of which a part could not
/// be read a missing field is no news, nor is a rule about a value that could not be read.
fn check_rules(
    message: &'static Message,
    documents: &[&Document],
    bytes: &[u8],
    broken: &[walker::Broken],
    findings: &mut [Vec<Diagnostic>],
) {
    let unread: HashSet<String> = findings
        .iter()
        .flatten()
        .filter(|d| d.is_error())
        .map(|d| d.path.clone())
        .collect();
    validate::check(message, bytes, &mut |violation| {
        if unread.contains(&violation.path) {
            return;
        }
        let path = if violation.missing {
            &violation.owner
        } else {
            &violation.path
        };
        let Some(place) = place_among(documents, path) else {
            return;
        };
        if violation.missing && broken[place.document].contains(&place.node) {
            return;
        }
        findings[place.document].push(violation.into_diagnostic(place.span));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use crate::envoy::config::bootstrap::v3::Bootstrap;
    use crate::{Source, Syntax};

    fn document(name: &str, text: &str) -> Document {
        Document::parse(Source::new(name, text), Syntax::Yaml).expect("parses")
    }

    #[test]
    fn lone_values_win_messages_merge_and_lists_grow() {
        let file = document(
            "a",
            "node: {id: a, cluster: c}\nstatic_resources: {clusters: [{name: x, connect_timeout: 1s}]}\n",
        );
        let over = document(
            "b",
            "node: {id: b}\nstatic_resources: {clusters: [{name: z, connect_timeout: 1s}]}\n",
        );
        let merged = decode_merged::<Bootstrap>(&[&file, &over], &Options::default(), [0, 0]);
        let bootstrap = merged.message.expect("decodes");
        let node = bootstrap.node.expect("set");
        assert_eq!((node.id.as_str(), node.cluster.as_str()), ("b", "c"));
        let names: Vec<_> = bootstrap
            .static_resources
            .expect("set")
            .clusters
            .into_iter()
            .map(|c| c.name)
            .collect();
        assert_eq!(names, ["x", "z"]);
    }

    #[test]
    fn a_list_left_apart_is_in_the_bytes_only() {
        let file = document(
            "a",
            "node: {id: a}\nstatic_resources: {clusters: [{name: x}], listeners: [{name: l}]}\n",
        );
        let merged = decode_merged::<Bootstrap>(&[&file], &Options::default(), [2, 2]);
        let bootstrap = merged.message.expect("decodes");
        let statics = bootstrap.static_resources.expect("set");
        assert_eq!((bootstrap.node.expect("set").id.as_str(), statics.listeners.len(), statics.clusters.len()), ("a", 1, 0));
        let whole = Bootstrap::decode(merged.bytes.as_slice()).expect("decodes");
        assert_eq!(whole.static_resources.expect("set").clusters.len(), 1);
    }

    #[test]
    fn a_finding_goes_to_the_document_it_is_about() {
        let file = document(
            "a",
            "static_resources: {clusters: [{name: x}, {name: \"\"}]}\n",
        );
        let over = document(
            "b",
            "static_resources: {clusters: [{name: w, connect_timeout: 0s}]}\n",
        );
        let merged = decode_merged::<Bootstrap>(&[&file, &over], &Options::default(), [0, 0]);
        let text = |at: usize, source: &Document| -> Vec<String> {
            let found = merged.diagnostics[at].iter();
            found
                .map(|d| source.source().slice(d.span.unwrap_or_default()).to_owned())
                .collect()
        };
        assert!(merged.message.is_none());
        assert_eq!(text(0, &file), ["\"\""]);
        assert_eq!(text(1, &over), ["0s"]);
    }
}
