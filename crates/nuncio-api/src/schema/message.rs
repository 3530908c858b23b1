//! One message, field, oneof or enum of the API, parsed from its descriptor.

use super::enumeration::Enum;
use super::pool::{self, TypeId};
use super::rules::Rules;
use super::wire::{Reader, Wire};

/// Messages whose JSON form is not an object of their fields (protobuf's "well-known types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WellKnown {
    /// `google.protobuf.Any`
    Any,
    /// `google.protobuf.Duration`
    Duration,
    /// `google.protobuf.Timestamp`
    Timestamp,
    /// `google.protobuf.BoolValue`, `UInt32Value`, …: a scalar that knows whether it is set
    Wrapper,
    /// `google.protobuf.Struct`
    Struct,
    /// `google.protobuf.Value`
    Value,
    /// `google.protobuf.ListValue`
    ListValue,
    /// `google.protobuf.FieldMask`
    FieldMask,
}

/// A message type.
#[derive(Debug)]
pub struct Message {
    /// Full name, for example `envoy.config.route.v3.Route`.
    pub name: &'static str,
    /// Fields in the order of the .proto file.
    pub fields: Vec<Field>,
    /// Oneofs; the one-member ones that proto3 `optional` makes are left out.
    pub oneofs: Vec<Oneof>,
    /// Set when the JSON form is special.
    pub well_known: Option<WellKnown>,
    /// The entry type of a map field.
    pub map_entry: bool,
    /// Both spellings of every field, sorted, with the index into `fields`.
    spellings: Vec<(&'static str, u16)>,
    /// Field numbers, sorted, with the index into `fields`.
    numbers: Vec<(u32, u16)>,
}

/// A set of fields of which at most one may be set.
#[derive(Debug)]
pub struct Oneof {
    /// Its name, for example `path_specifier`.
    pub name: &'static str,
    /// A validation rule asks for one of them to be set.
    pub required: bool,
}

/// How often a field occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// At most once.
    Single,
    /// A list.
    Repeated,
    /// A map; the field's kind is the entry message (`key` = 1, `value` = 2).
    Map,
}

/// A field's type.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// 64-bit float.
    Double,
    /// 32-bit float.
    Float,
    /// `int32`, `sint32`, `sfixed32`: see [`Field::encoding`].
    Int32,
    /// `int64`, `sint64`, `sfixed64`.
    Int64,
    /// `uint32`, `fixed32`.
    Uint32,
    /// `uint64`, `fixed64`.
    Uint64,
    /// `bool`.
    Bool,
    /// UTF-8 text.
    String,
    /// Any bytes; base64 in JSON.
    Bytes,
    /// An enumeration.
    Enum(TypeId),
    /// A message.
    Message(TypeId),
}

impl Kind {
    /// The message type, if it is one.
    pub fn message(self) -> Option<&'static Message> {
        if let Kind::Message(id) = self {
            pool::message_at(id)
        } else {
            None
        }
    }

    /// The enumeration, if it is one.
    pub fn enumeration(self) -> Option<&'static Enum> {
        if let Kind::Enum(id) = self {
            pool::enum_at(id)
        } else {
            None
        }
    }
}

/// How an integer lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Plain varint.
    Varint,
    /// `sint32`, `sint64`.
    ZigZag,
    /// 4 or 8 bytes.
    Fixed,
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Name in the .proto file, `snake_case`.
    pub name: &'static str,
    /// The other spelling that JSON accepts, `lowerCamelCase`.
    pub json_name: &'static str,
    /// Number on the wire.
    pub number: u32,
    /// Type of one value.
    pub kind: Kind,
    /// Single, list or map.
    pub label: Label,
    /// Index into [`Message::oneofs`].
    pub oneof: Option<u16>,
    /// Presence is known: message, member of a oneof, or proto3 `optional`.
    pub presence: bool,
    /// Deprecated: works, with a warning.
    pub deprecated: bool,
    /// Envoy refuses it unless a runtime flag allows it.
    pub disallowed: bool,
    /// Its value is a secret: shown as `[redacted]` in dumps.
    pub sensitive: bool,
    /// Validation rules, if it has any.
    pub rules: Option<Box<Rules>>,
    pub(crate) encoding: Encoding,
}

/// Numbers of the option extensions that Envoy's .proto files use.
pub(super) mod option {
    /// `validate.rules` on fields, `validate.required` on oneofs.
    pub const VALIDATE: u32 = 1071;
    /// `envoy.annotations.disallowed_by_default`
    pub const DISALLOWED: u32 = 189_503_207;
    /// `envoy.annotations.disallowed_by_default_enum`
    pub const ENUM_DISALLOWED: u32 = 70_100_853;
    /// `udpa.annotations.sensitive`
    pub const SENSITIVE: u32 = 76_569_463;
}

impl Message {
    /// The field that a key of a JSON object names, in either spelling.
    pub fn field(&self, key: &str) -> Option<&Field> {
        let at = self
            .spellings
            .binary_search_by(|(name, _)| (*name).cmp(key))
            .ok()?;
        self.fields.get(usize::from(self.spellings[at].1))
    }

    /// The field of that number.
    pub fn field_by_number(&self, number: u32) -> Option<&Field> {
        let at = self
            .numbers
            .binary_search_by_key(&number, |(n, _)| *n)
            .ok()?;
        self.fields.get(usize::from(self.numbers[at].1))
    }

    /// Position of a field of this message in [`Message::fields`].
    pub fn index_of(&self, field: &Field) -> usize {
        let at = self
            .numbers
            .binary_search_by_key(&field.number, |(n, _)| *n);
        at.map_or(0, |at| usize::from(self.numbers[at].1))
    }

    /// The members of a oneof.
    pub fn members(&self, oneof: u16) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |f| f.oneof == Some(oneof))
    }

    /// The last part of the full name.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    pub(super) fn parse(name: &'static str, bytes: &'static [u8]) -> Message {
        let mut oneofs: Vec<Oneof> = Vec::new();
        let mut map_entry = false;
        for (number, value) in Reader::new(bytes) {
            match number {
                7 => {
                    map_entry = Reader::new(value.bytes()).any(|(n, v)| n == 7 && v.integer() != 0)
                }
                8 => oneofs.push(Oneof::parse(value.bytes())),
                _ => {}
            }
        }
        let fields: Vec<Field> = Reader::new(bytes)
            .filter(|(n, _)| *n == 2)
            .map(|(_, v)| Field::parse(v.bytes()))
            .collect();
        // Synthetic oneofs come last, so dropping them keeps the indices of the others.
        let real = fields
            .iter()
            .filter_map(|f| f.oneof)
            .max()
            .map_or(0, |m| usize::from(m) + 1);
        oneofs.truncate(real);
        let mut spellings: Vec<(&'static str, u16)> = Vec::with_capacity(fields.len() * 2);
        for (at, field) in fields.iter().enumerate() {
            spellings.push((field.name, at as u16));
            if field.json_name != field.name {
                spellings.push((field.json_name, at as u16));
            }
        }
        spellings.sort_unstable();
        let mut numbers: Vec<(u32, u16)> = fields
            .iter()
            .enumerate()
            .map(|(at, f)| (f.number, at as u16))
            .collect();
        numbers.sort_unstable();
        Message {
            name,
            fields,
            oneofs,
            well_known: WellKnown::of(name),
            map_entry,
            spellings,
            numbers,
        }
    }
}

impl WellKnown {
    fn of(name: &str) -> Option<WellKnown> {
        Some(match name.strip_prefix("google.protobuf.")? {
            "Any" => WellKnown::Any,
            "Duration" => WellKnown::Duration,
            "Timestamp" => WellKnown::Timestamp,
            "Struct" => WellKnown::Struct,
            "Value" => WellKnown::Value,
            "ListValue" => WellKnown::ListValue,
            "FieldMask" => WellKnown::FieldMask,
            "BoolValue" | "BytesValue" | "DoubleValue" | "FloatValue" | "Int32Value"
            | "Int64Value" | "StringValue" | "UInt32Value" | "UInt64Value" => WellKnown::Wrapper,
            _ => return None,
        })
    }
}

impl Oneof {
    fn parse(bytes: &'static [u8]) -> Oneof {
        let mut oneof = Oneof {
            name: "",
            required: false,
        };
        for (number, value) in Reader::new(bytes) {
            match number {
                1 => oneof.name = value.text(),
                2 => {
                    let mut options = Reader::new(value.bytes());
                    oneof.required =
                        options.any(|(n, v)| n == option::VALIDATE && v.integer() != 0);
                }
                _ => {}
            }
        }
        oneof
    }
}

impl Field {
    fn parse(bytes: &'static [u8]) -> Field {
        let mut field = Field {
            name: "",
            json_name: "",
            number: 0,
            kind: Kind::Bool,
            label: Label::Single,
            oneof: None,
            presence: false,
            deprecated: false,
            disallowed: false,
            sensitive: false,
            rules: None,
            encoding: Encoding::Varint,
        };
        let (mut kind, mut type_name, mut optional) = (0, "", false);
        for (number, value) in Reader::new(bytes) {
            match number {
                1 => field.name = value.text(),
                3 => field.number = value.integer() as u32,
                4 if value.integer() == 3 => field.label = Label::Repeated,
                5 => kind = value.integer(),
                6 => type_name = value.text().trim_start_matches('.'),
                8 => field.options(value.bytes()),
                9 => field.oneof = Some(value.integer() as u16),
                10 => field.json_name = value.text(),
                17 => optional = value.integer() != 0,
                _ => {}
            }
        }
        if field.json_name.is_empty() {
            field.json_name = field.name;
        }
        field.presence = kind == 11 || optional || field.oneof.is_some();
        if optional {
            field.oneof = None;
        }
        field.kind(kind, type_name);
        field
    }

    /// Types by their number in `FieldDescriptorProto.Type`.
    fn kind(&mut self, kind: u64, type_name: &str) {
        self.kind = match kind {
            1 => Kind::Double,
            2 => Kind::Float,
            3 | 16 | 18 => Kind::Int64,
            4 | 6 => Kind::Uint64,
            5 | 15 | 17 => Kind::Int32,
            7 | 13 => Kind::Uint32,
            9 => Kind::String,
            11 => Kind::Message(pool::find(type_name)),
            12 => Kind::Bytes,
            14 => Kind::Enum(pool::find(type_name)),
            _ => Kind::Bool,
        };
        self.encoding = match kind {
            6 | 7 | 15 | 16 => Encoding::Fixed,
            17 | 18 => Encoding::ZigZag,
            _ => Encoding::Varint,
        };
        if let (Label::Repeated, Kind::Message(id)) = (self.label, self.kind)
            && pool::is_map_entry(id)
        {
            self.label = Label::Map;
        }
    }

    fn options(&mut self, bytes: &'static [u8]) {
        for (number, value) in Reader::new(bytes) {
            match (number, value) {
                (3, _) => self.deprecated = value.integer() != 0,
                (option::DISALLOWED, _) => self.disallowed = value.integer() != 0,
                (option::SENSITIVE, _) => self.sensitive = value.integer() != 0,
                (option::VALIDATE, Wire::Bytes(rules)) => {
                    self.rules = Some(Box::new(Rules::parse(rules)))
                }
                _ => {}
            }
        }
    }
}
