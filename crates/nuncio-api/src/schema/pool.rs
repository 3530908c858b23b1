//! All types by name: an index over the compiled-in descriptors, and the parsed messages and enums behind it.

use super::enumeration::Enum;
use super::message::Message;
use super::wire::Reader;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

static DESCRIPTORS: &[u8] = include_bytes!("../../descriptors.bin");

/// `udpa.annotations.versioning` on messages: field 1 is the name of the v2 message that this one replaces.
const VERSIONING: u32 = 7_881_811;

/// A type of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeId(u32);

/// What a name that is not in the pool resolves to; no type has it.
const NOWHERE: TypeId = TypeId(u32::MAX);

enum Parsed {
    Message(OnceLock<Message>),
    Enum(OnceLock<Enum>),
}

struct Entry {
    name: String,
    descriptor: &'static [u8],
    parsed: Parsed,
}

static INDEX: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut entries = Vec::with_capacity(2048);
    for (_, file) in Reader::new(DESCRIPTORS).filter(|(n, _)| *n == 1) {
        let package = Reader::new(file.bytes())
            .find(|(n, _)| *n == 2)
            .map_or("", |(_, v)| v.text());
        for (number, value) in Reader::new(file.bytes()) {
            match number {
                4 => enter_message(&mut entries, package, value.bytes()),
                5 => enter_enum(&mut entries, package, value.bytes()),
                _ => {}
            }
        }
    }
    entries
});

static BY_NAME: LazyLock<HashMap<&'static str, TypeId>> = LazyLock::new(|| {
    INDEX
        .iter()
        .enumerate()
        .map(|(at, e)| (e.name.as_str(), TypeId(at as u32)))
        .collect()
});

/// v2 full name → v3 message.
static SUCCESSORS: LazyLock<HashMap<&'static str, TypeId>> = LazyLock::new(|| {
    let mut found = HashMap::new();
    for (at, entry) in INDEX.iter().enumerate() {
        let options = Reader::new(entry.descriptor)
            .filter(|(n, _)| *n == 7)
            .map(|(_, v)| v.bytes());
        let versioning = options
            .flat_map(Reader::new)
            .find(|(n, _)| *n == VERSIONING);
        let previous = versioning.and_then(|(_, v)| Reader::new(v.bytes()).find(|(n, _)| *n == 1));
        if let Some((_, previous)) = previous {
            found.insert(previous.text(), TypeId(at as u32));
        }
    }
    found
});

fn full_name(scope: &str, descriptor: &'static [u8]) -> String {
    let name = Reader::new(descriptor)
        .find(|(n, _)| *n == 1)
        .map_or("", |(_, v)| v.text());
    if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}.{name}")
    }
}

fn enter_message(entries: &mut Vec<Entry>, scope: &str, descriptor: &'static [u8]) {
    let name = full_name(scope, descriptor);
    for (number, value) in Reader::new(descriptor) {
        match number {
            3 => enter_message(entries, &name, value.bytes()),
            4 => enter_enum(entries, &name, value.bytes()),
            _ => {}
        }
    }
    entries.push(Entry {
        name,
        descriptor,
        parsed: Parsed::Message(OnceLock::new()),
    });
}

fn enter_enum(entries: &mut Vec<Entry>, scope: &str, descriptor: &'static [u8]) {
    entries.push(Entry {
        name: full_name(scope, descriptor),
        descriptor,
        parsed: Parsed::Enum(OnceLock::new()),
    });
}

fn entry(id: TypeId) -> Option<&'static Entry> {
    INDEX.get(id.0 as usize)
}

pub(super) fn find(name: &str) -> TypeId {
    BY_NAME.get(name).copied().unwrap_or(NOWHERE)
}

pub(super) fn message_at(id: TypeId) -> Option<&'static Message> {
    let entry = entry(id)?;
    match &entry.parsed {
        Parsed::Message(cell) => {
            Some(cell.get_or_init(|| Message::parse(&entry.name, entry.descriptor)))
        }
        Parsed::Enum(_) => None,
    }
}

pub(super) fn enum_at(id: TypeId) -> Option<&'static Enum> {
    let entry = entry(id)?;
    match &entry.parsed {
        Parsed::Enum(cell) => Some(cell.get_or_init(|| Enum::parse(&entry.name, entry.descriptor))),
        Parsed::Message(_) => None,
    }
}

/// Asked while a field is parsed, so without parsing the entry's own message.
pub(super) fn is_map_entry(id: TypeId) -> bool {
    let Some(entry) = entry(id) else { return false };
    let options = Reader::new(entry.descriptor).find(|(n, _)| *n == 7);
    options.is_some_and(|(_, o)| Reader::new(o.bytes()).any(|(n, v)| n == 7 && v.integer() != 0))
}

/// The message of that full name (`envoy.config.route.v3.Route`).
pub fn message(name: &str) -> Option<&'static Message> {
    message_at(find(name))
}

/// The enumeration of that full name.
pub fn enumeration(name: &str) -> Option<&'static Enum> {
    enum_at(find(name))
}

/// Full names of all messages, in no useful order.
pub fn message_names() -> impl Iterator<Item = &'static str> {
    INDEX
        .iter()
        .filter(|e| matches!(e.parsed, Parsed::Message(_)))
        .map(|e| e.name.as_str())
}

/// The v3 message that replaced the v2 message of that full name.
pub fn successor(v2_name: &str) -> Option<&'static str> {
    entry(*SUCCESSORS.get(v2_name)?).map(|e| e.name.as_str())
}

/// The type name in a type URL: what follows the last `/`.
pub fn type_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::super::message::{Kind, Label};
    use super::*;

    #[test]
    fn every_type_parses_and_every_reference_resolves() {
        let mut fields = 0;
        for name in message_names() {
            let message = message(name).expect("indexed");
            for field in &message.fields {
                fields += 1;
                match field.kind {
                    Kind::Message(_) => {
                        assert!(field.kind.message().is_some(), "{name}.{}", field.name)
                    }
                    Kind::Enum(_) => {
                        assert!(field.kind.enumeration().is_some(), "{name}.{}", field.name)
                    }
                    _ => {}
                }
            }
        }
        assert!(fields > 5_000, "{fields}");
    }

    #[test]
    fn a_field_answers_to_both_spellings() {
        let cluster = message("envoy.config.cluster.v3.Cluster").expect("known");
        for key in ["connect_timeout", "connectTimeout"] {
            assert_eq!(cluster.field(key).expect(key).number, 4);
        }
        assert!(cluster.field("ConnectTimeout").is_none());
    }

    #[test]
    fn maps_oneofs_and_optionals_are_told_apart() {
        let metadata = message("envoy.config.core.v3.Metadata").expect("known");
        assert_eq!(
            metadata.field("filter_metadata").expect("known").label,
            Label::Map
        );
        let matching = message("envoy.config.route.v3.RouteMatch").expect("known");
        assert!(matching.oneofs[0].required);
        assert!(matching.members(0).any(|f| f.name == "prefix"));
    }

    #[test]
    fn v2_names_lead_to_their_successors() {
        let v2 = "envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager";
        let v3 =
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        assert_eq!(successor(v2), Some(v3));
    }
}
