//! Types and services out of a `FileDescriptorSet`.
//!
//! A pool is made once per configuration and never changes. Types are looked up by name once, at the edges, and by
//! index inside.

use super::rules::HttpRule;
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, field_descriptor_proto as of};
use std::collections::HashMap;

/// The file set, with the parts of options that are of use here.
#[derive(Clone, PartialEq, prost::Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    dependency: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    message_type: Vec<DescriptorProto>,
    #[prost(message, repeated, tag = "5")]
    enum_type: Vec<EnumDescriptorProto>,
    #[prost(message, repeated, tag = "6")]
    service: Vec<ServiceProto>,
    #[prost(string, tag = "12")]
    syntax: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServiceProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<MethodProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MethodProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input_type: String,
    #[prost(string, tag = "3")]
    output_type: String,
    #[prost(message, optional, tag = "4")]
    options: Option<MethodOptions>,
    #[prost(bool, tag = "5")]
    client_streaming: bool,
    #[prost(bool, tag = "6")]
    server_streaming: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MethodOptions {
    /// `google.api.http`
    #[prost(message, optional, tag = "72295728")]
    http: Option<HttpRule>,
}

/// Types that JSON has a form of its own for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Any,
    Duration,
    FieldMask,
    ListValue,
    Struct,
    Timestamp,
    Value,
    Wrapper,
    HttpBody,
}

impl Known {
    fn of(name: &str) -> Option<Known> {
        if name == "google.api.HttpBody" {
            return Some(Known::HttpBody);
        }
        Some(match name.strip_prefix("google.protobuf.")? {
            "Any" => Known::Any,
            "Duration" => Known::Duration,
            "FieldMask" => Known::FieldMask,
            "ListValue" => Known::ListValue,
            "Struct" => Known::Struct,
            "Timestamp" => Known::Timestamp,
            "Value" => Known::Value,
            "BoolValue" | "BytesValue" | "DoubleValue" | "FloatValue" | "Int32Value" | "Int64Value" | "StringValue" | "UInt32Value"
            | "UInt64Value" => Known::Wrapper,
            _ => return None,
        })
    }

    /// It can be given by one scalar.
    pub(crate) fn is_scalar(self) -> bool {
        matches!(self, Known::Duration | Known::FieldMask | Known::Timestamp | Known::Value | Known::Wrapper)
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Bytes,
    Uint32,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
    /// An index in [`Pool::enums`].
    Enum(usize),
    /// An index in [`Pool::messages`].
    Message(usize),
    /// Of groups nothing is known.
    Group,
}

impl Kind {
    /// As the API of descriptors names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Double => "TYPE_DOUBLE",
            Kind::Float => "TYPE_FLOAT",
            Kind::Int64 => "TYPE_INT64",
            Kind::Uint64 => "TYPE_UINT64",
            Kind::Int32 => "TYPE_INT32",
            Kind::Fixed64 => "TYPE_FIXED64",
            Kind::Fixed32 => "TYPE_FIXED32",
            Kind::Bool => "TYPE_BOOL",
            Kind::String => "TYPE_STRING",
            Kind::Bytes => "TYPE_BYTES",
            Kind::Uint32 => "TYPE_UINT32",
            Kind::Sfixed32 => "TYPE_SFIXED32",
            Kind::Sfixed64 => "TYPE_SFIXED64",
            Kind::Sint32 => "TYPE_SINT32",
            Kind::Sint64 => "TYPE_SINT64",
            Kind::Enum(_) => "TYPE_ENUM",
            Kind::Message(_) => "TYPE_MESSAGE",
            Kind::Group => "TYPE_GROUP",
        }
    }

    /// Its number in descriptors.
    pub(crate) fn number(self) -> u32 {
        match self {
            Kind::Double => 1,
            Kind::Float => 2,
            Kind::Int64 => 3,
            Kind::Uint64 => 4,
            Kind::Int32 => 5,
            Kind::Fixed64 => 6,
            Kind::Fixed32 => 7,
            Kind::Bool => 8,
            Kind::String => 9,
            Kind::Group => 10,
            Kind::Message(_) => 11,
            Kind::Bytes => 12,
            Kind::Uint32 => 13,
            Kind::Enum(_) => 14,
            Kind::Sfixed32 => 15,
            Kind::Sfixed64 => 16,
            Kind::Sint32 => 17,
            Kind::Sint64 => 18,
        }
    }
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) json_name: String,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
    pub(crate) required: bool,
    /// Whether it was set cannot be told from its value.
    pub(crate) implicit: bool,
    /// An index in the message's oneofs.
    pub(crate) oneof: Option<usize>,
}

/// A type of messages.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    /// By number.
    pub(crate) fields: Vec<Field>,
    pub(crate) oneofs: Vec<String>,
    pub(crate) known: Option<Known>,
    pub(crate) map_entry: bool,
    pub(crate) proto3: bool,
    by_name: HashMap<String, usize>,
    by_json_name: HashMap<String, usize>,
}

impl Message {
    /// The field that JSON calls so: by its JSON name, or by its own.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        let at = self.by_json_name.get(name).or_else(|| self.by_name.get(name))?;
        self.fields.get(*at)
    }

    /// The field with this number.
    pub(crate) fn field_numbered(&self, number: u32) -> Option<&Field> {
        let at = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        self.fields.get(at)
    }
}

/// An enumeration.
#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) name: String,
    values: Vec<(String, i32)>,
}

impl Enum {
    /// The number of a value.
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }

    /// The name of the first value with this number.
    pub(crate) fn value(&self, number: i32) -> Option<&str> {
        self.values.iter().find(|(_, known)| *known == number).map(|(name, _)| name.as_str())
    }

    /// The first value's number: the default.
    pub(crate) fn default(&self) -> i32 {
        self.values.first().map_or(0, |(_, number)| *number)
    }
}

/// A method of a service.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: String,
    /// Of its service.
    pub(crate) service: String,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) client_streaming: bool,
    pub(crate) server_streaming: bool,
    pub(crate) rule: Option<HttpRule>,
}

impl Method {
    /// `pkg.Service.Method`
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.service, self.name)
    }
}

#[derive(Debug, Clone, Copy)]
enum Symbol {
    Message(usize),
    Enum(usize),
}

/// All types and services of a descriptor set.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    symbols: HashMap<String, Symbol>,
    services: HashMap<String, Vec<Method>>,
}

/// Why a descriptor set is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is no descriptor set.
    Parse,
    /// Its types do not fit together.
    Build,
}

impl Pool {
    /// The pool of an encoded `FileDescriptorSet`; files come after those they import.
    pub(crate) fn new(bytes: &[u8]) -> Result<Pool, Broken> {
        let set = FileSet::decode(bytes).map_err(|_| Broken::Parse)?;
        let mut pool = Pool::default();
        let mut names: Vec<&str> = Vec::new();
        for file in &set.file {
            if names.contains(&file.name.as_str()) || file.dependency.iter().any(|name| !names.contains(&name.as_str())) {
                return Err(Broken::Build);
            }
            names.push(&file.name);
            pool.add(file)?;
        }
        Ok(pool)
    }

    /// Adds what errors of gRPC are told by, unless it is there.
    pub(crate) fn add_status(&mut self) -> Result<(), Broken> {
        let field = |name: &str, number, kind: of::Type, label: of::Label, type_name: Option<&str>| FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            r#type: Some(kind as i32),
            label: Some(label as i32),
            type_name: type_name.map(str::to_owned),
            ..FieldDescriptorProto::default()
        };
        let one = of::Label::Optional;
        let any = vec![field("type_url", 1, of::Type::String, one, None), field("value", 2, of::Type::Bytes, one, None)];
        let status = vec![
            field("code", 1, of::Type::Int32, one, None),
            field("message", 2, of::Type::String, one, None),
            field("details", 3, of::Type::Message, of::Label::Repeated, Some(".google.protobuf.Any")),
        ];
        for (package, name, fields) in [("google.protobuf", "Any", any), ("google.rpc", "Status", status)] {
            if self.symbols.contains_key(&format!("{package}.{name}")) {
                continue;
            }
            let message = DescriptorProto { name: Some(name.to_owned()), field: fields, ..DescriptorProto::default() };
            let syntax = "proto3".to_owned();
            self.add(&File { package: package.to_owned(), message_type: vec![message], syntax, ..File::default() })?;
        }
        Ok(())
    }

    /// The type with this full name.
    pub(crate) fn message(&self, name: &str) -> Option<usize> {
        match self.symbols.get(name)? {
            Symbol::Message(at) => Some(*at),
            Symbol::Enum(_) => None,
        }
    }

    /// The methods of a service.
    pub(crate) fn service(&self, name: &str) -> Option<&[Method]> {
        self.services.get(name).map(Vec::as_slice)
    }

    /// The parts of a map's entries, if the field is a map.
    pub(crate) fn map_entry(&self, field: &Field) -> Option<(&Field, &Field)> {
        let Kind::Message(at) = field.kind else { return None };
        let entry = self.messages.get(at).filter(|message| message.map_entry && field.repeated)?;
        Some((entry.field_numbered(1)?, entry.field_numbered(2)?))
    }

    /// The type that a field holds, if that is messages.
    pub(crate) fn message_of(&self, field: &Field) -> Option<&Message> {
        match field.kind {
            Kind::Message(at) => self.messages.get(at),
            _ => None,
        }
    }

    /// The type that `Any` names; the error is for people.
    pub(crate) fn by_url(&self, url: &str) -> Result<usize, String> {
        let name = url.strip_prefix("type.googleapis.com/").ok_or_else(|| {
            format!("Invalid type URL, type URLs must be of the form 'type.googleapis.com/<typename>', got: {url}")
        })?;
        self.message(name).ok_or_else(|| format!("Invalid type URL, unknown type: {name}"))
    }

    fn add(&mut self, file: &File) -> Result<(), Broken> {
        let mut declared = Vec::new();
        for message in &file.message_type {
            self.declare(&file.package, message, &mut declared, 0)?;
        }
        for of in &file.enum_type {
            self.declare_enum(&file.package, of)?;
        }
        let proto3 = file.syntax == "proto3";
        for (at, from) in declared {
            let made = self.build(at, from, proto3)?;
            self.messages[at] = made;
        }
        for service in &file.service {
            let name = joined(&file.package, &service.name);
            let methods = service.method.iter().map(|method| self.method(&name, method)).collect::<Result<_, _>>()?;
            if self.services.insert(name, methods).is_some() {
                return Err(Broken::Build);
            }
        }
        Ok(())
    }

    fn declare<'p>(&mut self, scope: &str, from: &'p DescriptorProto, declared: &mut Vec<(usize, &'p DescriptorProto)>, depth: usize) -> Result<(), Broken> {
        let name = joined(scope, from.name());
        let at = self.messages.len();
        if depth > super::MAX_DEPTH || self.symbols.insert(name.clone(), Symbol::Message(at)).is_some() {
            return Err(Broken::Build);
        }
        self.messages.push(Message {
            known: Known::of(&name),
            name: name.clone(),
            fields: Vec::new(),
            oneofs: Vec::new(),
            map_entry: from.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry),
            proto3: false,
            by_name: HashMap::new(),
            by_json_name: HashMap::new(),
        });
        declared.push((at, from));
        from.nested_type.iter().try_for_each(|inner| self.declare(&name, inner, declared, depth + 1))?;
        from.enum_type.iter().try_for_each(|inner| self.declare_enum(&name, inner))
    }

    fn declare_enum(&mut self, scope: &str, from: &EnumDescriptorProto) -> Result<(), Broken> {
        let name = joined(scope, from.name());
        if self.symbols.insert(name.clone(), Symbol::Enum(self.enums.len())).is_some() {
            return Err(Broken::Build);
        }
        let values = from.value.iter().map(|value| (value.name().to_owned(), value.number())).collect();
        self.enums.push(Enum { name, values });
        Ok(())
    }

    fn build(&self, at: usize, from: &DescriptorProto, proto3: bool) -> Result<Message, Broken> {
        let declared = &self.messages[at];
        let mut fields = from.field.iter().map(|field| self.field(field, proto3)).collect::<Result<Vec<_>, _>>()?;
        fields.sort_by_key(|field| field.number);
        if fields.windows(2).any(|pair| pair[0].number == pair[1].number) {
            return Err(Broken::Build);
        }
        let index = |name: fn(&Field) -> &String| fields.iter().enumerate().rev().map(|(at, field)| (name(field).clone(), at)).collect();
        Ok(Message {
            by_name: index(|field| &field.name),
            by_json_name: index(|field| &field.json_name),
            name: declared.name.clone(),
            known: declared.known,
            map_entry: declared.map_entry,
            oneofs: from.oneof_decl.iter().map(|oneof| oneof.name().to_owned()).collect(),
            fields,
            proto3,
        })
    }

    fn field(&self, from: &FieldDescriptorProto, proto3: bool) -> Result<Field, Broken> {
        let number = u32::try_from(from.number()).ok().filter(|number| (1..1 << 29).contains(number)).ok_or(Broken::Build)?;
        let symbol = || self.symbols.get(from.type_name().strip_prefix('.').unwrap_or(from.type_name()));
        let kind = match from.r#type() {
            of::Type::Double => Kind::Double,
            of::Type::Float => Kind::Float,
            of::Type::Int64 => Kind::Int64,
            of::Type::Uint64 => Kind::Uint64,
            of::Type::Int32 => Kind::Int32,
            of::Type::Fixed64 => Kind::Fixed64,
            of::Type::Fixed32 => Kind::Fixed32,
            of::Type::Bool => Kind::Bool,
            of::Type::String => Kind::String,
            of::Type::Bytes => Kind::Bytes,
            of::Type::Uint32 => Kind::Uint32,
            of::Type::Sfixed32 => Kind::Sfixed32,
            of::Type::Sfixed64 => Kind::Sfixed64,
            of::Type::Sint32 => Kind::Sint32,
            of::Type::Sint64 => Kind::Sint64,
            of::Type::Group => Kind::Group,
            of::Type::Message => match symbol() {
                Some(Symbol::Message(at)) => Kind::Message(*at),
                _ => return Err(Broken::Build),
            },
            of::Type::Enum => match symbol() {
                Some(Symbol::Enum(at)) => Kind::Enum(*at),
                _ => return Err(Broken::Build),
            },
        };
        let repeated = from.label() == of::Label::Repeated;
        // A field that is `optional` is alone in a oneof that nobody wrote.
        let oneof = from.oneof_index.filter(|_| !from.proto3_optional()).and_then(|at| usize::try_from(at).ok());
        let name = from.name().to_owned();
        Ok(Field {
            json_name: from.json_name.clone().unwrap_or_else(|| camel(&name)),
            name,
            number,
            repeated,
            required: from.label() == of::Label::Required,
            implicit: proto3 && !repeated && from.oneof_index.is_none() && !matches!(kind, Kind::Message(_) | Kind::Group),
            oneof,
            kind,
        })
    }

    fn method(&self, service: &str, from: &MethodProto) -> Result<Method, Broken> {
        let message = |name: &str| self.message(name.strip_prefix('.').unwrap_or(name)).ok_or(Broken::Build);
        Ok(Method {
            name: from.name.clone(),
            service: service.to_owned(),
            input: message(&from.input_type)?,
            output: message(&from.output_type)?,
            client_streaming: from.client_streaming,
            server_streaming: from.server_streaming,
            rule: from.options.as_ref().and_then(|options| options.http.clone()),
        })
    }
}

fn joined(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// The JSON name of a field that has none of its own.
fn camel(name: &str) -> String {
    let mut upper = false;
    let mut made = String::with_capacity(name.len());
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else {
            made.push(if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c });
        }
    }
    made
}
