//! A message as JSON with the fields that have their default value: protobuf's `always_print_primitive_fields`.

use nuncio_api::schema::{self, Field, Kind, Label, Message};
use nuncio_api::{Json, JsonOptions, to_json_value};

/// A serialized message of that full name as JSON, with nothing left out but unset messages and oneof members.
pub(crate) fn with_defaults(name: &str, bytes: &[u8]) -> Json {
    let mut value = to_json_value(name, bytes, JsonOptions { redact: true });
    if let Some(message) = schema::message(name) {
        fill(message, &mut value);
    }
    value
}

fn fill(message: &Message, value: &mut Json) {
    // What has a JSON form of its own is complete.
    let (Json::Object(members), None) = (value, message.well_known) else {
        return;
    };
    let mut found = std::mem::take(members);
    let mut fields: Vec<&Field> = message.fields.iter().collect();
    fields.sort_by_key(|field| field.number);
    for field in fields {
        match found.iter().position(|(name, _)| name == field.name) {
            Some(at) => {
                let (name, mut value) = found.swap_remove(at);
                fill_nested(field, &mut value);
                members.push((name, value));
            }
            None => members.extend(default(field).map(|value| (field.name.to_owned(), value))),
        }
    }
}

fn fill_nested(field: &Field, value: &mut Json) {
    let Some(message) = field.kind.message() else {
        return;
    };
    match (field.label, value) {
        (Label::Single, value) => fill(message, value),
        (Label::Repeated, Json::List(items)) => {
            items.iter_mut().for_each(|item| fill(message, item))
        }
        (Label::Map, Json::Object(entries)) => {
            if let Some(of_value) = message.field_by_number(2) {
                entries
                    .iter_mut()
                    .for_each(|(_, value)| fill_nested(of_value, value));
            }
        }
        _ => {}
    }
}

/// What a field prints as while it is unset; nothing if it knows that it is.
fn default(field: &Field) -> Option<Json> {
    match (field.label, field.kind) {
        (Label::Repeated, _) => Some(Json::List(Vec::new())),
        (Label::Map, _) => Some(Json::Object(Vec::new())),
        (Label::Single, _) if field.presence => None,
        (Label::Single, Kind::Message(_)) => None,
        (Label::Single, Kind::Bool) => Some(Json::Bool(false)),
        (Label::Single, Kind::String | Kind::Bytes) => Some(Json::text("")),
        (Label::Single, Kind::Int64 | Kind::Uint64) => Some(Json::text("0")),
        (Label::Single, Kind::Enum(_)) => {
            let zero = field
                .kind
                .enumeration()
                .and_then(|values| values.by_number(0));
            zero.map(|value| Json::text(value.name))
        }
        (Label::Single, _) => Some(Json::from(0u64)),
    }
}
