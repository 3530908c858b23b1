//! `/config_dump`: the configuration in force.
//!
//! Without parameters every section; with `resource` the items of one repeated field, found in whichever section has it;
//! with `mask` only some fields of either. A mask may go into messages and into an `Any`, not into a list.

use super::{Choice, Endpoint, Param};
use crate::context::{AdminContext, Search};
use crate::request::AdminRequest;
use crate::response::AdminResponse;
use crate::view::{ConfigItem, ConfigList, ConfigSection};
use nuncio_api::schema::{self, Label};
use nuncio_api::{Json, JsonOptions, to_json_value, trim};

pub(super) const CONFIG_DUMP: Endpoint = Endpoint {
    path: "/config_dump",
    help: "dump current Envoy configs",
    command: false,
    params: &[
        Param {
            name: "resource",
            help: "The resource to dump",
            choice: Choice::Text,
        },
        Param {
            name: "mask",
            help: "The mask to apply. When both resource and mask are specified, the mask is applied to every \
                   element in the desired repeated field so that only a subset of fields are returned. The mask is \
                   parsed as a Protobuf::FieldMask",
            choice: Choice::Text,
        },
        Param {
            name: "name_regex",
            help: "Dump only the currently loaded configurations whose names match the specified regex. Can be used \
                   with both resource and mask query parameters.",
            choice: Choice::Text,
        },
        Param {
            name: "include_eds",
            help: "Dump currently loaded configuration including EDS. See the response definition for more \
                   information",
            choice: Choice::Flag,
        },
    ],
    answer,
};

fn answer(request: &AdminRequest, cx: &dyn AdminContext) -> AdminResponse {
    let params = &request.params;
    let names = match params
        .filled("name_regex")
        .map(|regex| (regex, cx.regex(&format!("^(?:{regex})$"))))
    {
        None => None,
        Some((_, Ok(search))) => Some(search),
        Some((regex, Err(_))) => return refuse_regex(regex, cx),
    };
    let mut sections = cx.config_dump(params.has("include_eds"));
    retain(&mut sections, names);
    let paths: Option<Vec<_>> = params.filled("mask").map(|mask| mask.split(',').collect());
    let configs = match params.filled("resource") {
        Some(resource) => resource_items(&sections, resource, paths.as_deref()),
        None => whole_sections(&sections, paths.as_deref()),
    };
    match configs {
        Ok(configs) if configs.is_empty() => AdminResponse::json(&Json::Object(Vec::new())),
        Ok(configs) => AdminResponse::json(&Json::object(vec![("configs", Json::List(configs))])),
        Err((status, why)) => AdminResponse::error(status, why).with_type("text/plain"),
    }
}

/// The error of an expression, told of it alone and not of what was put around it.
fn refuse_regex(regex: &str, cx: &dyn AdminContext) -> AdminResponse {
    let why = cx.regex(regex).err().unwrap_or_default();
    let text = format!("INVALID_ARGUMENT: Error while parsing name_regex from {regex}: {why}");
    AdminResponse::error(400, text).with_type("text/plain")
}

/// Drops the items whose names do not match.
fn retain(sections: &mut [ConfigSection], names: Option<Search>) {
    if let Some(names) = names {
        let lists = sections.iter_mut().flat_map(|section| &mut section.lists);
        lists.for_each(|list| list.items.retain(|item| names(&item.name)));
    }
}

type Configs = Result<Vec<Json>, (u16, String)>;

/// Every section, or those that the mask fits.
fn whole_sections(sections: &[ConfigSection], paths: Option<&[&str]>) -> Configs {
    let configs: Vec<_> = sections
        .iter()
        .filter_map(|section| section_json(section, paths))
        .collect();
    match paths {
        Some(paths) if configs.is_empty() => {
            let mask = paths.join(",");
            Err((
                400,
                format!("FieldMask {mask} could not be successfully applied to any configs."),
            ))
        }
        _ => Ok(configs),
    }
}

/// A section with `@type`; nothing if the mask names what it does not have.
fn section_json(section: &ConfigSection, paths: Option<&[&str]>) -> Option<Json> {
    let repeated = |path: &&&str| label(section, path) == Some(Label::Repeated);
    let (lists, message) = match paths {
        None => (None, section.message.clone()),
        Some(paths) => {
            let others: Vec<_> = paths
                .iter()
                .filter(|path| !repeated(path))
                .copied()
                .collect();
            (
                Some(paths),
                trim(section.type_name, &section.message, &others)?,
            )
        }
    };
    let mut members = with_type(section.type_name, &message);
    for list in section.lists.iter().filter(|list| !list.items.is_empty()) {
        if lists.is_none_or(|paths| paths.contains(&list.field)) {
            let items = list
                .items
                .iter()
                .map(|item| to_json_value(list.type_name, &item.message, REDACTED));
            members.push((list.field.to_owned(), Json::List(items.collect())));
        }
    }
    Some(Json::Object(members))
}

/// The items of the repeated field `resource`.
fn resource_items(sections: &[ConfigSection], resource: &str, paths: Option<&[&str]>) -> Configs {
    for section in sections {
        match label(section, resource) {
            Some(Label::Repeated) => {
                let Some(list) = section.lists.iter().find(|list| list.field == resource) else {
                    return Ok(Vec::new());
                };
                return list
                    .items
                    .iter()
                    .map(|item| item_json(list, item, paths))
                    .collect();
            }
            Some(_) => {
                let why = format!(
                    "{resource} is not a repeated field. Use ?mask={resource} to get only this field"
                );
                return Err((400, why));
            }
            None => {}
        }
    }
    Err((404, format!("{resource} not found in config dump")))
}

fn item_json(
    list: &ConfigList,
    item: &ConfigItem,
    paths: Option<&[&str]>,
) -> Result<Json, (u16, String)> {
    let Some(paths) = paths else {
        return Ok(Json::Object(with_type(list.type_name, &item.message)));
    };
    match trim(list.type_name, &item.message, paths) {
        Some(message) => Ok(Json::Object(with_type(list.type_name, &message))),
        None => {
            let paths: String = paths
                .iter()
                .map(|path| format!("paths: \"{path}\"\n"))
                .collect();
            Err((
                400,
                format!("FieldMask {paths} could not be successfully used."),
            ))
        }
    }
}

const REDACTED: JsonOptions = JsonOptions { redact: true };

/// A message as it stands in an `Any`.
fn with_type(name: &str, message: &[u8]) -> Vec<(String, Json)> {
    let mut members = vec![(
        "@type".to_owned(),
        Json::text(format!("type.googleapis.com/{name}")),
    )];
    if let Json::Object(own) = to_json_value(name, message, REDACTED) {
        members.extend(own);
    }
    members
}

/// Whether a section's message has a field of that name, and which kind.
fn label(section: &ConfigSection, field: &str) -> Option<Label> {
    let message = schema::message(section.type_name)?;
    message
        .fields
        .iter()
        .find(|found| found.name == field)
        .map(|found| found.label)
}
