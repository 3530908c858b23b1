//! Setting fields one by one and seeing what the compiler says.

use crate::wire::{Hop, field, insert};
use nuncio_api::envoy::config::bootstrap::v3::Bootstrap;
use nuncio_api::schema::{self, Field, Kind, Label, Message, Reader, WellKnown, Wire};
use nuncio_api::{Document, Source, Syntax};
use nuncio_config::{CompileCx, Finding, Mode, Purpose, bootstrap, codes};
use nuncio_ext::registry;
use prost::Message as _;
use std::collections::{BTreeMap, HashSet, VecDeque, btree_map::Entry};

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It does what it does in Envoy.
    Implemented,
    /// It does, but for these of its values.
    But(Vec<&'static str>),
    /// A warning, and nothing else.
    WithoutEffect,
    /// Nothing starts with it; checking warns.
    Refused,
}

/// A message and its fields, in the order of the API.
pub type Rows = Vec<(&'static str, Status)>;

/// Everything the page needs.
pub struct Matrix {
    /// By message.
    pub messages: BTreeMap<&'static str, Rows>,
    /// By category: name of the extension and what becomes of it.
    pub extensions: BTreeMap<&'static str, Rows>,
}

/// Where a message stands in the template.
#[derive(Clone)]
struct Place {
    message: &'static Message,
    hops: Vec<Hop>,
    path: String,
}

pub struct Probe {
    template: Vec<u8>,
    /// What is said of the template itself.
    known: HashSet<(String, &'static str)>,
}

impl Probe {
    pub fn new() -> Probe {
        let source = Source::new("template.yaml", include_str!("template.yaml"));
        let document = Document::parse(source, Syntax::Yaml).expect("the template is YAML");
        let encoded = nuncio_api::encode(bootstrap::MESSAGE, &document, &nuncio_api::Options::default());
        let errors: Vec<_> = encoded.diagnostics.iter().filter(|d| d.is_error()).map(|d| (&d.path, &d.message)).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let mut probe = Probe { template: encoded.bytes, known: HashSet::new() };
        let known = probe.compile(&probe.template).into_iter().map(|f| (f.path, f.code)).collect();
        probe.known = known;
        probe
    }

    fn compile(&self, bytes: &[u8]) -> Vec<Finding> {
        let mode = Mode { purpose: Purpose::Start, ..Mode::default() };
        let mut cx = CompileCx::new(mode, nuncio_stats::Store::new(1), registry::HTTP_FILTERS);
        cx.network_filters = registry::NETWORK_FILTERS;
        cx.listener_filters = registry::LISTENER_FILTERS;
        cx.access_loggers = registry::ACCESS_LOGGERS;
        let message = Bootstrap::decode(bytes).expect("still well-formed");
        bootstrap::compile(&mut cx, &message, &bytes.into());
        cx.into_findings()
    }

    pub fn matrix(&self) -> Matrix {
        let mut messages: BTreeMap<&'static str, Rows> = BTreeMap::new();
        let mut held = Vec::new();
        let mut anys: BTreeMap<&'static str, Place> = BTreeMap::new();
        let root = schema::message(bootstrap::MESSAGE).expect("known");
        let mut queue = VecDeque::from([Place { message: root, hops: Vec::new(), path: String::new() }]);
        while let Some(place) = queue.pop_front() {
            // What stands in the template is looked at wherever it stands; what does not, once.
            if messages.contains_key(place.message.name) && !self.stands(&place.hops) {
                continue;
            }
            let mut rows = Rows::new();
            for of in &place.message.fields {
                rows.push((of.name, self.field(&place, of)));
            }
            for (of, (_, status)) in place.message.fields.iter().zip(&rows) {
                if !matches!(status, Status::Implemented | Status::But(_)) {
                    continue;
                }
                queue.extend(self.below(&place, of, &mut anys, &mut held));
            }
            match messages.entry(place.message.name) {
                Entry::Vacant(entry) => drop(entry.insert(rows)),
                Entry::Occupied(mut entry) => merge(entry.get_mut(), rows),
            }
        }
        let reached = reachable(&messages, &held);
        messages.retain(|name, _| reached.contains(name));
        let extensions = anys.iter().map(|(category, place)| (*category, self.extensions(category, place))).collect();
        Matrix { messages, extensions }
    }

    /// Places that a field leads to: one for each kind of message that stands there in the template.
    fn below(&self, place: &Place, of: &'static Field, anys: &mut BTreeMap<&'static str, Place>, held: &mut Vec<&'static str>) -> Vec<Place> {
        let Some(mut message) = of.kind.message() else { return Vec::new() };
        let occurrences = self.occurrences(&place.hops, of.number).max(1);
        let mut places = Vec::new();
        for at in 0..occurrences {
            let mut hops = place.hops.clone();
            hops.push((of.number, at));
            let mut path = if place.path.is_empty() { of.name.to_owned() } else { format!("{}.{}", place.path, of.name) };
            match of.label {
                Label::Single => {}
                Label::Repeated => path = format!("{path}[{at}]"),
                Label::Map => {
                    let entry = of.kind.message().and_then(|e| e.field_by_number(2)).and_then(|f| f.kind.message());
                    let Some(value) = entry else { continue };
                    message = value;
                    path = format!("{path}[\"{}\"]", self.text(&hops, 1));
                    hops.push((2, 0));
                }
            }
            match message.well_known {
                None => places.push(Place { message, hops, path }),
                Some(WellKnown::Any) => {
                    let Some(inside) = schema::message(schema::type_name(&self.text(&hops, 1))) else { continue };
                    held.push(inside.name);
                    let category = nuncio_api::extensions().iter().find(|e| e.types.split(',').any(|t| t == inside.name));
                    if let Some(category) = category {
                        anys.entry(category.category).or_insert(Place { message, hops: hops.clone(), path: path.clone() });
                    }
                    hops.push((2, 0));
                    places.push(Place { message: inside, hops, path });
                }
                Some(_) => {}
            }
        }
        places
    }

    /// The bytes of the message at a place of the template.
    fn at(&self, hops: &[Hop]) -> &[u8] {
        let mut bytes = self.template.as_slice();
        for (number, occurrence) in hops {
            let mut found = Reader::new(bytes).filter(|(n, _)| n == number);
            bytes = found.nth(*occurrence).map_or(&[], |(_, wire)| wire.bytes());
        }
        bytes
    }

    fn stands(&self, hops: &[Hop]) -> bool {
        hops.split_last().is_none_or(|((number, at), outer)| self.occurrences(outer, *number) > *at)
    }

    fn occurrences(&self, hops: &[Hop], number: u32) -> usize {
        Reader::new(self.at(hops)).filter(|(n, _)| *n == number).count()
    }

    fn text(&self, hops: &[Hop], number: u32) -> String {
        let found = Reader::new(self.at(hops)).find(|(n, _)| *n == number);
        found.map_or(String::new(), |(_, wire)| wire.text().to_owned())
    }

    fn field(&self, place: &Place, of: &'static Field) -> Status {
        let path = if place.path.is_empty() { of.name.to_owned() } else { format!("{}.{}", place.path, of.name) };
        if let Some(values) = of.kind.enumeration() {
            let unbuilt = |value: &&schema::EnumValue| {
                value.number != 0 && self.set(place, &path, &field(of.number, Wire::Varint(value.number as u64))) != Status::Implemented
            };
            let some: Vec<&'static str> = values.values.iter().filter(unbuilt).map(|v| v.name).collect();
            let all = values.values.iter().filter(|v| v.number != 0).count();
            return match some.len() {
                0 => Status::Implemented,
                n if n == all && all > 1 => Status::WithoutEffect,
                _ if of.label == Label::Single => Status::But(some),
                _ => Status::WithoutEffect,
            };
        }
        self.set(place, &path, &special(place.message, of).unwrap_or_else(|| dummy(of)))
    }

    /// What is said of the place once the bytes are added to it.
    fn set(&self, place: &Place, path: &str, addition: &[u8]) -> Status {
        let bytes = insert(&self.template, &place.hops, addition);
        let at_field = |f: &&Finding| {
            let rest = f.path.strip_prefix(path);
            let here = rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('[') && !rest.contains('.')));
            // What a field makes of its message is said of the message.
            let holder = f.path == place.path && !place.path.is_empty();
            (here || holder) && !self.known.contains(&(f.path.clone(), f.code))
        };
        let findings = self.compile(&bytes);
        let said = |code| findings.iter().filter(at_field).any(|f| f.code == code);
        if said(codes::NOT_BUILT) {
            Status::Refused
        } else if said(codes::WITHOUT_EFFECT) {
            Status::WithoutEffect
        } else {
            Status::Implemented
        }
    }

    /// Every extension of a category, put where one of them stands in the template.
    fn extensions(&self, category: &str, place: &Place) -> Rows {
        let of_category = nuncio_api::extensions().iter().filter(|e| e.category == category && !e.types.is_empty());
        of_category
            .map(|extension| {
                let url = format!("type.googleapis.com/{}", extension.main_type());
                // A later field of the same number replaces the one before it; what it held goes, too.
                let mut any = field(1, Wire::Bytes(url.as_bytes()));
                any.extend(field(2, Wire::Bytes(&[])));
                let parent = &place.hops[..place.hops.len() - 1];
                let (number, _) = place.hops[place.hops.len() - 1];
                let bytes = replace(&self.template, parent, number, &any);
                let findings = self.compile(&bytes);
                let owner = place.path.rsplit_once('.').map_or("", |(owner, _)| owner);
                // What an extension has against an empty configuration is said in its own words.
                let whole = |f: &Finding| f.path == owner || f.code != codes::NOT_BUILT || f.message.contains("is not built yet");
                let said = |code| findings.iter().any(|f| f.code == code && (f.path == owner || f.path == place.path) && whole(f));
                let status = if said(codes::NOT_BUILT) {
                    Status::Refused
                } else if said(codes::WITHOUT_EFFECT) {
                    Status::WithoutEffect
                } else {
                    Status::Implemented
                };
                (extension.name, status)
            })
            .collect()
    }
}

/// The message with the one occurrence of a field at `path` replaced.
fn replace(message: &[u8], path: &[Hop], number: u32, value: &[u8]) -> Vec<u8> {
    let Some(((hop, occurrence), rest)) = path.split_first() else {
        let mut out = Vec::new();
        for (at, wire) in Reader::new(message).filter(|(at, _)| *at != number) {
            out.extend(field(at, wire));
        }
        out.extend(field(number, Wire::Bytes(value)));
        return out;
    };
    let mut out = Vec::new();
    let mut seen = 0;
    for (at, wire) in Reader::new(message) {
        seen += usize::from(at == *hop);
        if at == *hop && seen == occurrence + 1 {
            out.extend(field(at, Wire::Bytes(&replace(wire.bytes(), rest, number, value))));
        } else {
            out.extend(field(at, wire));
        }
    }
    out
}

/// Of a field that has an effect in one place and none in another, the page says the latter; but options of a load
/// balancing policy have none beside another policy, in Envoy neither.
fn merge(rows: &mut Rows, others: Rows) {
    let rank = |status: &Status| match status {
        Status::Implemented => 0,
        Status::But(_) => 1,
        Status::WithoutEffect => 2,
        Status::Refused => 3,
    };
    for (row, other) in rows.iter_mut().zip(others) {
        let worse = rank(&other.1) > rank(&row.1);
        if worse != row.0.ends_with("_lb_config") && other.1 != row.1 {
            *row = other;
        }
    }
}

/// Messages that fields with an effect lead to.
fn reachable(messages: &BTreeMap<&'static str, Rows>, held: &[&'static str]) -> HashSet<&'static str> {
    let mut found: HashSet<&'static str> = HashSet::new();
    let mut queue: Vec<&'static str> = [bootstrap::MESSAGE].into_iter().chain(held.iter().copied()).collect();
    while let Some(name) = queue.pop() {
        let (Some((name, rows)), Some(message)) = (messages.get_key_value(name), schema::message(name)) else { continue };
        if !found.insert(name) {
            continue;
        }
        for (of, (_, status)) in message.fields.iter().zip(rows) {
            if !matches!(status, Status::Implemented | Status::But(_)) {
                continue;
            }
            let target = of.kind.message().map(|m| if of.label == Label::Map { m.field_by_number(2).and_then(|f| f.kind.message()) } else { Some(m) });
            queue.extend(target.flatten().map(|m| m.name));
        }
    }
    found
}

/// Fields whose empty value would say nothing of them.
fn special(holder: &Message, of: &Field) -> Option<Vec<u8>> {
    let any = |name: &str| field(1, Wire::Bytes(format!("type.googleapis.com/{name}").as_bytes()));
    if of.name == "typed_per_filter_config" {
        let config = any("envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute");
        let entry = [field(1, Wire::Bytes(b"envoy.filters.http.header_mutation")), field(2, Wire::Bytes(&config))].concat();
        return Some(field(of.number, Wire::Bytes(&entry)));
    }
    if of.name == "transport_socket" {
        let side = if holder.name.contains("listener") { "Downstream" } else { "Upstream" };
        let config = any(&format!("envoy.extensions.transport_sockets.tls.v3.{side}TlsContext"));
        let socket = [field(1, Wire::Bytes(b"tls")), field(3, Wire::Bytes(&config))].concat();
        return Some(field(of.number, Wire::Bytes(&socket)));
    }
    None
}

/// A field with some value that is not its default.
fn dummy(of: &Field) -> Vec<u8> {
    let wire = |bytes: &[u8]| field(of.number, Wire::Bytes(bytes));
    if of.label == Label::Map {
        let key = field(1, Wire::Bytes(b"probe"));
        let entry = of.kind.message().and_then(|e| e.field_by_number(2));
        let value = entry.map(dummy).unwrap_or_default();
        return wire(&[key, value].concat());
    }
    match of.kind {
        Kind::Double => field(of.number, Wire::Fixed64(1f64.to_bits())),
        Kind::Float => field(of.number, Wire::Fixed32(1f32.to_bits())),
        Kind::String | Kind::Bytes => wire(b"127.0.0.1"),
        Kind::Message(_) => match of.kind.message() {
            Some(m) if m.well_known == Some(WellKnown::Wrapper) => wire(&wrapped(m)),
            Some(m) if m.well_known == Some(WellKnown::Duration) => wire(&field(1, Wire::Varint(1))),
            _ => wire(&[]),
        },
        _ => field(of.number, Wire::Varint(1)),
    }
}

fn wrapped(message: &Message) -> Vec<u8> {
    message.field_by_number(1).map(dummy).unwrap_or_default()
}
