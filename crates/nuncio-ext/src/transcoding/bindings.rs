//! Values of a path and a query, woven into the JSON of a request's body.
//!
//! What the body says wins over a binding of the same name, unless the field is repeated: then both count. With
//! `reject` the two have to agree.

use super::{
    descriptors::{Field, Kind, Pool},
    json::Json,
};

/// A field, by the names on the way to it, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Binding {
    path: Vec<String>,
    repeated: bool,
    value: String,
}

impl Binding {
    /// A value for the last of the fields, each in the message of the one before it.
    pub(crate) fn new(path: &[&Field], value: String) -> Binding {
        let repeated = path.last().is_some_and(|field| field.repeated);
        Binding { path: path.iter().map(|field| field.name.clone()).collect(), repeated, value }
    }
}

/// The fields on the way of `names` into a message; the error is for people.
pub(crate) fn resolve<'p>(pool: &'p Pool, message: usize, names: &[String]) -> Result<Vec<&'p Field>, String> {
    let mut at = message;
    let mut path = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let of = &pool.messages[at];
        let found = of.field(name).or_else(|| {
            let plain = super::template::unescape(name, super::template::Unescape::All, false);
            std::str::from_utf8(&plain).ok().filter(|plain| plain != name).and_then(|plain| of.field(plain))
        });
        let field = found.ok_or_else(|| format!("Could not find field \"{name}\" in the type \"{}\".", of.name))?;
        path.push(field);
        if index + 1 < names.len() {
            let Kind::Message(inner) = field.kind else {
                return Err(format!("Encountered a non-leaf field \"{}\" that is not a message while parsing a field path", field.name));
            };
            at = inner;
        }
    }
    Ok(path)
}

/// Bindings of one message, and of those in it.
#[derive(Debug, Default)]
struct Level {
    values: Vec<(String, bool, String)>,
    messages: Vec<(String, Level)>,
}

/// Adds bindings to a request; the error is what does not agree.
pub(crate) fn weave(body: &mut Json, bindings: Vec<Binding>, reject: bool) -> Result<(), String> {
    let mut root = Level::default();
    for Binding { mut path, repeated, value } in bindings {
        let Some(last) = path.pop() else { continue };
        let mut level = &mut root;
        for field in path {
            let at = match level.messages.iter().position(|(name, _)| *name == field) {
                Some(at) => at,
                None => {
                    level.messages.push((field, Level::default()));
                    level.messages.len() - 1
                }
            };
            level = &mut level.messages[at].1;
        }
        level.values.push((last, repeated, value));
    }
    let mut wrong = None;
    if let Json::Object(entries) = body {
        merge(entries, &mut root, reject, &mut wrong);
    }
    wrong.map_or(Ok(()), Err)
}

fn merge(entries: &mut Vec<(String, Json)>, level: &mut Level, reject: bool, wrong: &mut Option<String>) {
    let mut merged = Vec::with_capacity(entries.len() + level.values.len());
    for (name, mut value) in entries.drain(..) {
        match &mut value {
            Json::Object(inner) => {
                if let Some((_, inside)) = level.messages.iter_mut().find(|(known, _)| *known == name) {
                    merge(inner, inside, reject, wrong);
                }
            }
            Json::Null | Json::List(_) => {}
            scalar => {
                let told = &*scalar;
                level.values.retain_mut(|(known, repeated, bound)| {
                    if *known != name {
                        return true;
                    }
                    if *repeated {
                        merged.push((name.clone(), Json::Text(std::mem::take(bound))));
                    } else if reject && let Err(disagreement) = agree(&name, told, bound) {
                        *wrong = Some(disagreement);
                    }
                    false
                });
            }
        }
        merged.push((name, value));
    }
    merged.extend(tree(level));
    *entries = merged;
}

/// What is left of a level.
fn tree(level: &mut Level) -> Vec<(String, Json)> {
    let values = level.values.drain(..).map(|(name, _, value)| (name, Json::Text(value)));
    let mut entries: Vec<_> = values.collect();
    for (name, mut inside) in level.messages.drain(..) {
        if !inside.values.is_empty() || !inside.messages.is_empty() {
            entries.push((name, Json::Object(tree(&mut inside))));
        }
    }
    entries
}

fn agree(name: &str, body: &Json, bound: &str) -> Result<(), String> {
    let binding = Json::Text(bound.to_owned());
    let fails = |kind: &str| format!("Failed to convert binding value {name}:{} to {kind}", binding.told());
    let same = match body {
        Json::Int(value) => binding.whole(i128::from(i64::MIN), i128::from(i64::MAX)).map_err(|_| fails("int64"))? == i128::from(*value),
        Json::Uint(value) => binding.whole(0, i128::from(u64::MAX)).map_err(|_| fails("uint64"))? == i128::from(*value),
        Json::Double(value) => (binding.double().map_err(|_| fails("double"))? - value).abs() < f64::from(32.0 * f32::EPSILON),
        Json::Bool(value) => binding.truth().map_err(|_| fails("bool"))? == *value,
        Json::Text(value) => value == bound,
        Json::Null | Json::List(_) | Json::Object(_) => true,
    };
    match same {
        true => Ok(()),
        false => Err(format!(
            "The binding value {} of the field {name} is conflicting with the value {} in the body.",
            binding.told(),
            body.told()
        )),
    }
}
