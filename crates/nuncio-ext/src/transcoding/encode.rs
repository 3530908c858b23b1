//! A JSON value as a message on the wire.
//!
//! Fields go out in the order they came in; unknown ones are ignored, as Envoy ignores them. What does not fit is told
//! with its place (`subs[1].count: invalid value …`); the last such thing is the one that is told.

use super::{
    descriptors::{Field, Kind, Known, Message, Pool},
    json::Json,
    well_known, wire,
};

/// How a message is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Names of enumerations' values may be in any case.
    pub(crate) fold_enums: bool,
}

/// The message of type `message` that a value says; else what is wrong with it.
pub(crate) fn encode(pool: &Pool, message: usize, value: Json, options: Options) -> Result<Vec<u8>, String> {
    let mut encoder = Encoder { pool, options, root: message, out: Vec::new(), path: Vec::new(), wrong: None };
    encoder.root(value);
    encoder.wrong.map_or(Ok(encoder.out), Err)
}

type Entries = Vec<(String, Json)>;

/// A part of the place that is being written.
#[derive(Debug, Clone, Copy)]
struct Element<'p> {
    field: &'p Field,
    /// How many values the list has so far; `None` for what is no list.
    count: Option<usize>,
}

struct Encoder<'p> {
    pool: &'p Pool,
    options: Options,
    root: usize,
    out: Vec<u8>,
    path: Vec<Element<'p>>,
    wrong: Option<String>,
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Spot<'p, 'n> {
    field: &'p Field,
    /// As it was called; empty for the values of a list.
    name: &'n str,
}

/// Oneofs of a message that are taken.
#[derive(Default)]
struct Taken(Vec<usize>);

impl<'p> Encoder<'p> {
    fn place(&self) -> String {
        let mut place = String::new();
        let mut outer: Option<&Field> = None;
        for Element { field, count } in &self.path {
            let same = outer.is_some_and(|outer| std::ptr::eq(outer, *field));
            if !field.repeated || !same {
                if !place.is_empty() {
                    place.push('.');
                }
                place += &field.name;
            }
            if let Some(count) = count.filter(|count| field.repeated && *count > 0) {
                place += &format!("[{}]", count - 1);
            }
            outer = Some(field);
        }
        place
    }

    fn invalid(&mut self, kind: &str, value: &str) {
        self.wrong = Some(format!("{}: invalid value {value} for type {kind}", self.place()));
    }

    fn misplaced(&mut self, message: &str) {
        self.wrong = Some(format!("{}: {message}", self.place()));
    }

    fn url(&self, field: &Field) -> String {
        match field.kind {
            Kind::Message(at) => format!("type.googleapis.com/{}", self.pool.messages[at].name),
            Kind::Enum(at) => format!("type.googleapis.com/{}", self.pool.enums[at].name),
            kind => kind.name().to_owned(),
        }
    }

    fn known(&self, field: &Field) -> Option<Known> {
        self.pool.message_of(field)?.known
    }

    /// A field by number of a well-known type; those that a file set declares otherwise have it not.
    fn part(&mut self, of: &'p Field, number: u32) -> Option<&'p Field> {
        let part = self.pool.message_of(of).and_then(|message| message.field_numbered(number));
        if part.is_none() {
            self.misplaced("Missing descriptor for field");
        }
        part
    }

    fn root(&mut self, value: Json) {
        let pool = self.pool;
        let message = &pool.messages[self.root];
        match (message.known, value) {
            (Some(Known::Any), Json::Object(entries)) => self.any(entries),
            (Some(Known::Struct), Json::Object(entries)) => self.fields_of(message, entries),
            (Some(Known::Value), Json::Object(entries)) => {
                if let Some(field) = message.field_numbered(5) {
                    self.wrapped(field, |encoder| encoder.structure(field, entries));
                }
            }
            (Some(Known::Value), Json::List(values)) => {
                if let Some(field) = message.field_numbered(6) {
                    self.wrapped(field, |encoder| encoder.values(field, values));
                }
            }
            (Some(Known::ListValue), Json::List(values)) => {
                if let Some(field) = message.field_numbered(1) {
                    self.list(field, values);
                }
            }
            (_, Json::Object(entries)) => self.message(message, entries),
            (Some(known), value) if known.is_scalar() && !matches!(value, Json::List(_)) => {
                if let Err(text) = self.render(message, known, &value) {
                    self.invalid(&message.name, &format!("Field '', {text}"));
                }
            }
            _ => self.misplaced("Root element must be a message."),
        }
    }

    /// Writes a field that is a message, and its length afterwards.
    fn wrapped(&mut self, field: &'p Field, inside: impl FnOnce(&mut Self)) {
        let list = self.path.last_mut().filter(|_| field.repeated);
        if let Some(Element { count: Some(count), .. }) = list {
            *count += 1;
        }
        wire::tag(&mut self.out, field.number, 2);
        let from = self.out.len();
        self.path.push(Element { field, count: None });
        inside(self);
        self.path.pop();
        wire::close(&mut self.out, from);
    }

    fn message(&mut self, message: &'p Message, entries: Entries) {
        let mut taken = Taken::default();
        let mut seen: Vec<u32> = Vec::new();
        for (name, value) in entries {
            if name.is_empty() {
                self.misplaced("Proto fields must have a name.");
                continue;
            }
            let Some(field) = message.field(&name) else { continue };
            seen.push(field.number);
            self.value(Spot { field, name: &name }, value, message, &mut taken);
        }
        if !message.proto3 {
            let missing = message.fields.iter().filter(|field| field.required && !seen.contains(&field.number));
            missing.for_each(|field| self.misplaced(&format!("missing field {}", field.name)));
        }
    }

    /// True if the field may be set beside what was set before.
    fn is_free(&mut self, spot: Spot<'p, '_>, message: &Message, taken: &mut Taken) -> bool {
        let Some(oneof) = spot.field.oneof else { return true };
        if !taken.0.contains(&oneof) {
            taken.0.push(oneof);
            return true;
        }
        let of = message.oneofs.get(oneof).map_or("", String::as_str);
        self.invalid("oneof", &format!("oneof field '{of}' is already set. Cannot set '{}'", spot.name));
        false
    }

    fn value(&mut self, spot: Spot<'p, '_>, value: Json, message: &Message, taken: &mut Taken) {
        let Spot { field, name } = spot;
        let known = self.known(field);
        match value {
            Json::Object(entries) => {
                if !name.is_empty() && self.pool.map_entry(field).is_some() {
                    self.map(field, entries);
                } else if !matches!(field.kind, Kind::Message(_)) {
                    self.invalid(&field.name, "Starting an object on a scalar field");
                } else if self.is_free(spot, message, taken) {
                    self.wrapped(field, |encoder| encoder.object(field, entries));
                }
            }
            Json::List(values) => {
                let inside = !field.repeated || name.is_empty();
                match known {
                    Some(Known::Value) if inside => {
                        if let (true, Some(list)) = (self.is_free(spot, message, taken), self.part(field, 6)) {
                            self.wrapped(field, |encoder| encoder.wrapped(list, |encoder| encoder.values(list, values)));
                        }
                    }
                    Some(Known::ListValue) if inside => {
                        if self.is_free(spot, message, taken) {
                            self.wrapped(field, |encoder| encoder.values(field, values));
                        }
                    }
                    _ if !field.repeated => self.misplaced("Proto field is not repeating, cannot start list."),
                    _ if self.pool.map_entry(field).is_some() => {
                        self.invalid("Map", &format!("Cannot bind a list to map for field '{name}'."));
                    }
                    _ => self.list(field, values),
                }
            }
            scalar => self.scalar(spot, &scalar, message, taken),
        }
    }

    fn list(&mut self, field: &'p Field, values: Vec<Json>) {
        self.path.push(Element { field, count: Some(0) });
        let Some(message) = self.pool.messages.get(self.root) else { return };
        for value in values {
            self.value(Spot { field, name: "" }, value, message, &mut Taken::default());
        }
        self.path.pop();
    }

    /// The values of a `ListValue` that `field` holds.
    fn values(&mut self, field: &'p Field, values: Vec<Json>) {
        if let Some(list) = self.part(field, 1) {
            self.list(list, values);
        }
    }

    /// What an object makes of the message that `field` holds.
    fn object(&mut self, field: &'p Field, entries: Entries) {
        let pool = self.pool;
        let Some(message) = pool.message_of(field) else { return };
        match message.known {
            Some(Known::Any) => self.any(entries),
            Some(Known::Struct) => self.structure(field, entries),
            Some(Known::Value) => {
                if let Some(inner) = self.part(field, 5) {
                    self.wrapped(inner, |encoder| encoder.structure(inner, entries));
                }
            }
            _ => self.message(message, entries),
        }
    }

    /// The fields of a `Struct` that `field` holds.
    fn structure(&mut self, field: &'p Field, entries: Entries) {
        if let Some(message) = self.pool.message_of(field) {
            self.fields_of(message, entries);
        }
    }

    fn fields_of(&mut self, message: &'p Message, entries: Entries) {
        if let Some(fields) = message.field_numbered(1) {
            self.map(fields, entries);
        }
    }

    fn map(&mut self, field: &'p Field, entries: Entries) {
        let Some((key_field, value_field)) = self.pool.map_entry(field) else { return };
        let Some(entry) = self.pool.message_of(field) else { return };
        self.path.push(Element { field, count: Some(0) });
        let mut keys: std::collections::HashSet<String> = std::collections::HashSet::new();
        for (key, value) in entries {
            if !keys.insert(key.clone()) {
                self.misplaced(&format!("Repeated map key: '{key}' is already set."));
                continue;
            }
            self.wrapped(field, |encoder| {
                let named = Json::Text(key.clone());
                encoder.primitive(key_field, &named);
                let spot = Spot { field: value_field, name: &key };
                match value {
                    Json::List(values) if !matches!(encoder.known(value_field), Some(Known::Value | Known::ListValue)) => {
                        encoder.path.push(Element { field: value_field, count: None });
                        match values.is_empty() {
                            true => encoder.invalid("Map", &format!("Cannot have repeated items ('{key}') within a map.")),
                            false => encoder.misplaced("Proto fields must have a name."),
                        }
                        encoder.path.pop();
                    }
                    Json::Null if encoder.known(value_field).is_some_and(Known::is_scalar) => {
                        encoder.wrapped(value_field, |encoder| encoder.rendered(spot, &Json::Null));
                    }
                    value => encoder.value(spot, value, entry, &mut Taken::default()),
                }
            });
        }
        self.path.pop();
    }

    fn scalar(&mut self, spot: Spot<'p, '_>, value: &Json, message: &Message, taken: &mut Taken) {
        let Spot { field, .. } = spot;
        let known = self.known(field);
        if known.is_some_and(Known::is_scalar) {
            if (*value != Json::Null || known == Some(Known::Value)) && self.is_free(spot, message, taken) {
                self.wrapped(field, |encoder| encoder.rendered(spot, value));
            }
            return;
        }
        let null = matches!(field.kind, Kind::Enum(at) if self.pool.enums[at].name == "google.protobuf.NullValue");
        if (*value != Json::Null || null) && self.is_free(spot, message, taken) {
            self.primitive(field, value);
        }
    }

    fn rendered(&mut self, spot: Spot<'p, '_>, value: &Json) {
        let pool = self.pool;
        let Some((message, known)) = pool.message_of(spot.field).and_then(|message| Some((message, message.known?))) else { return };
        if let Err(text) = self.render(message, known, value) {
            let url = self.url(spot.field);
            self.invalid(&url, &format!("Field '{}', {text}", spot.name));
        }
    }

    /// The inside of a well-known type that one scalar says.
    fn render(&mut self, message: &'p Message, known: Known, value: &Json) -> Result<(), String> {
        if *value == Json::Null && known != Known::Value {
            return Ok(());
        }
        let text = |what: &str| match value {
            Json::Text(text) => Ok(text.as_str()),
            other => Err(format!("Invalid data type for {what}, value is {}", other.told())),
        };
        match known {
            Known::Timestamp | Known::Duration => {
                let (seconds, nanos) = match known {
                    Known::Timestamp => well_known::timestamp(text("timestamp")?)?,
                    _ => well_known::duration(text("duration")?)?,
                };
                for (number, part) in [(1, seconds), (2, i64::from(nanos))] {
                    wire::tag(&mut self.out, number, 0);
                    wire::varint(&mut self.out, part as u64);
                }
            }
            Known::FieldMask => {
                let paths = well_known::mask(text("field mask")?)?;
                paths.iter().for_each(|path| wire::bytes(&mut self.out, 1, path.as_bytes()));
            }
            Known::Wrapper => {
                if let Some(field) = message.field_numbered(1) {
                    self.primitive(field, value);
                }
            }
            Known::Value => match value {
                Json::Null => wire_bool(&mut self.out, 1, false),
                Json::Bool(truth) => wire_bool(&mut self.out, 4, *truth),
                Json::Text(text) => wire::bytes(&mut self.out, 3, text.as_bytes()),
                number => {
                    let number = number.double()?;
                    wire::tag(&mut self.out, 2, 1);
                    self.out.extend_from_slice(&number.to_le_bytes());
                }
            },
            Known::Any | Known::ListValue | Known::Struct | Known::HttpBody => {}
        }
        Ok(())
    }

    /// A field that is no message, or should be one.
    fn primitive(&mut self, field: &'p Field, value: &Json) {
        if let Err(told) = self.write(field, value) {
            if let Some(Element { count: Some(count), .. }) = self.path.last_mut().filter(|_| field.repeated) {
                *count += 1;
            }
            self.path.push(Element { field, count: None });
            let url = self.url(field);
            self.invalid(&url, &told);
            self.path.pop();
        }
    }

    fn write(&mut self, field: &Field, value: &Json) -> Result<(), String> {
        let number = field.number;
        let (pool, options) = (self.pool, self.options);
        let out = &mut self.out;
        let mut plain = |value: u64| {
            wire::tag(out, number, 0);
            wire::varint(out, value);
        };
        let i64_value = || value.whole(i128::from(i64::MIN), i128::from(i64::MAX)).map(|value| value as i64);
        let u64_value = || value.whole(0, i128::from(u64::MAX)).map(|value| value as u64);
        let u32_value = || value.whole(0, i128::from(u32::MAX)).map(|value| value as u32);
        match field.kind {
            Kind::Int32 => plain(i64::from(value.i32()?) as u64),
            Kind::Int64 => plain(i64_value()? as u64),
            Kind::Uint32 => plain(u64::from(u32_value()?)),
            Kind::Uint64 => plain(u64_value()?),
            Kind::Sint32 => {
                let value = value.i32()?;
                plain(u64::from((value << 1 ^ value >> 31) as u32));
            }
            Kind::Sint64 => {
                let value = i64_value()?;
                plain((value << 1 ^ value >> 63) as u64);
            }
            Kind::Bool => plain(u64::from(value.truth()?)),
            Kind::Enum(at) => plain(match value {
                Json::Null => 0,
                value => i64::from(value.enumeration(&pool.enums[at], options.fold_enums)?) as u64,
            }),
            Kind::Fixed32 => fixed(out, number, 5, &u32_value()?.to_le_bytes()),
            Kind::Sfixed32 => fixed(out, number, 5, &value.i32()?.to_le_bytes()),
            Kind::Float => fixed(out, number, 5, &value.float()?.to_le_bytes()),
            Kind::Fixed64 => fixed(out, number, 1, &u64_value()?.to_le_bytes()),
            Kind::Sfixed64 => fixed(out, number, 1, &i64_value()?.to_le_bytes()),
            Kind::Double => fixed(out, number, 1, &value.double()?.to_le_bytes()),
            Kind::String => wire::bytes(out, number, value.text()?.as_bytes()),
            Kind::Bytes => wire::bytes(out, number, &value.bytes()?),
            Kind::Message(_) | Kind::Group => return Err(value.told()),
        }
        Ok(())
    }

    /// A message of the type that `@type` names.
    fn any(&mut self, mut entries: Entries) {
        if entries.is_empty() {
            return;
        }
        let scalar = |value: &Json| !matches!(value, Json::List(_) | Json::Object(_));
        let Some(at) = entries.iter().position(|(name, value)| name == "@type" && scalar(value)) else {
            let told = format!("Missing @type for any field in {}", self.pool.messages[self.root].name);
            return self.invalid("Any", &told);
        };
        let url = match entries.remove(at).1 {
            Json::Text(url) => url,
            other => return self.invalid("String", &other.told()),
        };
        let inner = match self.pool.by_url(&url) {
            Ok(inner) => inner,
            Err(told) => return self.invalid("Any", &told),
        };
        let pool = self.pool;
        let message = &pool.messages[inner];
        let wrong = self.wrong.take();
        let mut encoder = Encoder { pool, options: self.options, root: inner, out: Vec::new(), path: Vec::new(), wrong };
        match message.known {
            Some(known) if known.is_scalar() || matches!(known, Known::Any | Known::Struct) => {
                for (name, value) in entries {
                    if name != "value" {
                        self.invalid("Any", "Expect a \"value\" field for well-known types.");
                        encoder.wrong = self.wrong.take();
                        continue;
                    }
                    match value {
                        Json::Object(_) | Json::List(_) => encoder.root(value),
                        Json::Null if !known.is_scalar() => {}
                        value if known.is_scalar() => {
                            if let Err(text) = encoder.render(message, known, &value) {
                                encoder.invalid("Any", &text);
                            }
                        }
                        _ => {
                            self.invalid("Any", "Expect a JSON object.");
                            encoder.wrong = self.wrong.take();
                        }
                    }
                }
            }
            _ => encoder.message(message, entries),
        }
        self.wrong = encoder.wrong;
        wire::bytes(&mut self.out, 1, url.as_bytes());
        if !encoder.out.is_empty() {
            wire::bytes(&mut self.out, 2, &encoder.out);
        }
    }
}

fn fixed(out: &mut Vec<u8>, number: u32, wire_type: u8, bytes: &[u8]) {
    wire::tag(out, number, wire_type);
    out.extend_from_slice(bytes);
}

fn wire_bool(out: &mut Vec<u8>, number: u32, value: bool) {
    wire::tag(out, number, 0);
    out.push(u8::from(value));
}
