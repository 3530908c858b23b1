//! Field masks: a message cut down to some of its fields, as `/config_dump?mask=` does.

use crate::decode::wire_out;
use crate::schema::{Field, Label, Message, Reader, WellKnown, Wire, message, type_name};

/// A serialized message with only the fields that the paths name (`cluster.name`, in snake case). A path may lead through
/// messages and into an `Any`, not through lists or maps. `None` when a path is not one of the message's.
pub fn trim(name: &str, bytes: &[u8], paths: &[&str]) -> Option<Vec<u8>> {
    trim_message(message(name)?, bytes, paths)
}

fn trim_message(message: &'static Message, bytes: &[u8], paths: &[&str]) -> Option<Vec<u8>> {
    // For each named field the rest of its paths; none when the whole field is wanted.
    let mut wanted: Vec<(&'static Field, Vec<&str>)> = Vec::new();
    for path in paths {
        let (head, rest) = path
            .split_once('.')
            .map_or((*path, None), |(head, rest)| (head, Some(rest)));
        let field = message.fields.iter().find(|f| f.name == head)?;
        let leads_on = field.label == Label::Single && field.kind.message().is_some();
        if rest.is_some() && !leads_on {
            return None;
        }
        match wanted.iter_mut().find(|(f, _)| f.number == field.number) {
            Some((_, rests)) if rests.is_empty() => {}
            Some((_, rests)) => match rest {
                Some(rest) => rests.push(rest),
                None => rests.clear(),
            },
            None => wanted.push((field, rest.into_iter().collect())),
        }
    }
    // Paths are checked even where the message has nothing.
    for (field, rests) in wanted.iter().filter(|(_, rests)| !rests.is_empty()) {
        let inner = field.kind.message()?;
        if inner.well_known != Some(WellKnown::Any) {
            trim_message(inner, &[], rests)?;
        }
    }
    let mut out = Vec::new();
    for (number, wire) in Reader::new(bytes) {
        let Some((field, rests)) = wanted.iter().find(|(f, _)| f.number == number) else {
            continue;
        };
        match (wire, field.kind.message()) {
            (Wire::Bytes(inner), Some(of)) if !rests.is_empty() => {
                let inner = if of.well_known == Some(WellKnown::Any) {
                    trim_any(inner, rests)?
                } else {
                    trim_message(of, inner, rests)?
                };
                wire_out::put_bytes(&mut out, number, &inner);
            }
            (wire, _) => wire_out::put(&mut out, number, wire),
        }
    }
    Some(out)
}

fn trim_any(bytes: &[u8], paths: &[&str]) -> Option<Vec<u8>> {
    let (mut url, mut value) = ("", &[][..]);
    for (number, wire) in Reader::new(bytes) {
        match number {
            1 => url = wire.text(),
            2 => value = wire.bytes(),
            _ => {}
        }
    }
    let value = trim_message(message(type_name(url))?, value, paths)?;
    let mut out = Vec::new();
    wire_out::put_bytes(&mut out, 1, url.as_bytes());
    wire_out::put_bytes(&mut out, 2, &value);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, JsonOptions, Options, Source, Syntax, encode, to_json_value};

    const DUMP: &str = "envoy.admin.v3.ClustersConfigDump.StaticCluster";

    fn trimmed(paths: &[&str]) -> Option<String> {
        let yaml = "
last_updated: \"2026-01-01T00:00:00Z\"
cluster:
  \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: c
  lb_policy: RANDOM
  metadata: {filter_metadata: {a: {b: 1}}}
";
        let document = Document::parse(Source::new("t", yaml), Syntax::Yaml).expect("parses");
        let bytes = encode(DUMP, &document, &Options::default()).bytes;
        trim(DUMP, &bytes, paths).map(|b| to_json_value(DUMP, &b, JsonOptions::default()).compact())
    }

    #[test]
    fn keeps_what_is_named_also_inside_an_any() {
        let expected = r#"{"cluster":{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"c"}}"#;
        assert_eq!(trimmed(&["cluster.name"]).as_deref(), Some(expected));
        assert_eq!(
            trimmed(&["last_updated"]).as_deref(),
            Some(r#"{"last_updated":"2026-01-01T00:00:00Z"}"#)
        );
        assert!(
            trimmed(&["cluster.metadata.filter_metadata", "cluster"])
                .is_some_and(|t| t.contains("RANDOM"))
        );
    }

    #[test]
    fn refuses_paths_that_are_not_there_or_lead_through_maps() {
        for path in [
            "nope",
            "cluster.nope",
            "cluster.lbPolicy",
            "cluster.metadata.filter_metadata.a",
            "last_updated.x",
        ] {
            assert_eq!(trimmed(&[path]), None, "{path}");
        }
    }
}
