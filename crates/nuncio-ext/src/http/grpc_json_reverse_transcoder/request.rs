//! The request that a message makes: a path with its query, and a body.

use super::invalid;
use crate::transcoding::{
    json::{Json, Parser},
    print::quoted_but,
    wire,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use nuncio_codec::path::percent_encode;
use nuncio_core::Step;
use std::fmt::Write as _;

/// What goes into a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) path: String,
    /// Where it is not JSON.
    pub(super) content_type: Option<Vec<u8>>,
    pub(super) body: Option<Vec<u8>>,
}

/// A `google.api.HttpBody`.
#[derive(Debug, Default)]
pub(super) struct HttpBody {
    pub(super) content_type: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl HttpBody {
    /// Reads its bytes; `None` if they are none of it.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let tag = wire::take_varint(&mut bytes)?;
            match tag & 7 {
                0 => drop(wire::take_varint(&mut bytes)?),
                1 => drop(wire::take(&mut bytes, 8)?),
                5 => drop(wire::take(&mut bytes, 4)?),
                2 => {
                    let value = wire::take_delimited(&mut bytes)?;
                    match tag >> 3 {
                        1 => self.content_type = value.to_vec(),
                        2 => self.data = value.to_vec(),
                        _ => {}
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }
}

/// The value at the end of names with points between them.
fn nested<'j>(json: &'j Json, names: &str) -> Option<&'j Json> {
    names.split('.').try_fold(json, |json, name| match json {
        Json::Object(entries) => entries.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value),
        _ => None,
    })
}

/// A value as compact JSON, names in order.
fn dump(json: &Json, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match json {
        Json::Null => write!(out, "null"),
        Json::Bool(value) => write!(out, "{value}"),
        Json::Int(value) => write!(out, "{value}"),
        Json::Uint(value) => write!(out, "{value}"),
        Json::Double(value) => write!(out, "{}", crate::transcoding::print::double(*value)),
        Json::Text(text) => {
            quoted_but(out, text, |c| (c as u32) < 0x20);
            Ok(())
        }
        Json::List(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                dump(value, out);
            }
            out.push(']');
            Ok(())
        }
        Json::Object(entries) => {
            out.push('{');
            for (at, (name, value)) in sorted(entries).into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quoted_but(out, name, |c| (c as u32) < 0x20);
                out.push(':');
                dump(value, out);
            }
            out.push('}');
            Ok(())
        }
    };
}

fn sorted(entries: &[(String, Json)]) -> Vec<(&String, &Json)> {
    let mut sorted: Vec<_> = entries.iter().map(|(name, value)| (name, value)).collect();
    sorted.sort_by(|a, b| a.0.cmp(b.0));
    sorted
}

/// A scalar as it stands in a path or query.
fn plain(json: &Json) -> String {
    match json {
        Json::Text(text) => text.clone(),
        other => {
            let mut out = String::new();
            dump(other, &mut out);
            out
        }
    }
}

fn escape(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    percent_encode(text.as_bytes(), &mut out, keep);
    String::from_utf8_lossy(&out).into_owned()
}

/// The path that a template makes of a message, and the fields it has used.
fn path(message: &Json, template: &str) -> Result<(String, Vec<String>), String> {
    let mut path = String::with_capacity(template.len());
    let mut used = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else { return Err(format!("Invalid HTTP path: {template}")) };
        let inside = &rest[open + 1..open + close];
        let (key, one_segment) = inside.split_once('=').map_or((inside, true), |(key, _)| (key, false));
        let value = nested(message, key).ok_or_else(|| format!("Key, {key}, not found in the request message"))?;
        path.push_str(&rest[..open]);
        let reserved = |byte: u8| b"!#$&'()*+,:;=?@[]% ".contains(&byte) || one_segment && byte == b'/';
        path.push_str(&escape(&plain(value), |byte| (0x20..0x7e).contains(&byte) && !reserved(byte)));
        used.push(key.to_owned());
        rest = &rest[open + close + 1..];
    }
    path.push_str(rest);
    Ok((path, used))
}

/// Adds what is not in `used` to a query.
fn query(json: &Json, prefix: &str, used: &[String], out: &mut String) {
    if used.iter().any(|used| used == prefix) {
        return;
    }
    match json {
        Json::Object(entries) => {
            for (name, value) in sorted(entries) {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                query(value, &name, used, out);
            }
        }
        Json::List(values) => values.iter().for_each(|value| query(value, prefix, used, out)),
        scalar => {
            if !out.is_empty() {
                out.push('&');
            }
            out.push_str(prefix);
            out.push('=');
            out.push_str(&escape(&plain(scalar), |byte| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte)));
        }
    }
}

/// The request of a message in JSON. `body` is the rule's: a field, `*` for all, or nothing.
pub(super) fn made(json: String, template: &str, body: &str, raw: bool) -> Result<Made, Step> {
    let mut values = Vec::new();
    let parsed = Parser::new(false).feed(json.as_bytes(), &mut values);
    let message = match (parsed, values.pop()) {
        (Ok(()), Some(message @ Json::Object(_))) => message,
        _ => return Err(invalid("Failed to parse the transcoded request", "failed_to_parse_request_body")),
    };
    let mut content_type = None;
    let bytes = match body {
        "" => None,
        "*" => Some(json.into_bytes()),
        field => {
            let missing = || invalid("Failed to get the request body from the gRPC message", "failed_to_create_request_body");
            let value = nested(&message, field).ok_or_else(missing)?;
            if raw {
                let data = match nested(value, "data") {
                    Some(Json::Text(text)) => STANDARD.decode(text).ok(),
                    _ => Some(Vec::new()),
                };
                if let Some(Json::Text(kind)) = nested(value, "content_type") {
                    content_type = Some(kind.clone().into_bytes());
                }
                let broken = || invalid("Failed to decode the request body from the gRPC message", "failed_to_decode_request_body");
                Some(data.ok_or_else(broken)?)
            } else {
                let mut out = String::new();
                dump(value, &mut out);
                Some(out.into_bytes())
            }
        }
    };
    let (mut path, mut used) = path(&message, template).map_err(|text| invalid(text, "failed_to_build_request_path"))?;
    if body != "*" {
        if !body.is_empty() {
            used.push(body.to_owned());
        }
        let mut parameters = String::new();
        query(&message, "", &used, &mut parameters);
        if !parameters.is_empty() {
            path.push('?');
            path.push_str(&parameters);
        }
    }
    Ok(Made { path, content_type, body: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str, template: &str, body: &str) -> (String, Option<String>) {
        let made = made(json.to_owned(), template, body, false).expect("a request");
        (made.path, made.body.map(|body| String::from_utf8(body).expect("text")))
    }

    #[test]
    fn fields_go_into_the_path_the_body_and_the_query() {
        let json = r#"{"name":"a/b","sub":{"n":1,"k":"x y"},"list":[1,{"z":2}],"t":true}"#;
        assert_eq!(request(json, "/v1/{name}", "sub"), ("/v1/a%2Fb?list=1&list.z=2&t=true".to_owned(), Some(r#"{"k":"x y","n":1}"#.to_owned())));
        assert_eq!(request(json, "/v1/{name=shelves/*}/{sub.n}:go", "*"), ("/v1/a/b/1:go".to_owned(), Some(json.to_owned())));
        assert_eq!(request(json, "/v1", ""), ("/v1?list=1&list.z=2&name=a%2Fb&sub.k=x%20y&sub.n=1&t=true".to_owned(), None));
        assert!(made(json.to_owned(), "/v1/{nope}", "*", false).is_err());
        assert!(made(json.to_owned(), "/v1/{name", "*", false).is_err());
        assert!(made(json.to_owned(), "/v1", "nope", false).is_err());
    }
}
