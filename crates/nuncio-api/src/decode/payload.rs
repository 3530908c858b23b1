//! Taking a message out of an `Any`, whichever way it was put in.

use super::typed_struct;
use crate::diagnostic::Diagnostic;
use crate::schema;
use prost::Name;
use prost_types::Any;

/// Why an `Any` is not the message that its reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyError {
    /// It holds another message.
    OtherType {
        /// Full name of what it holds.
        found: String,
    },
    /// Its bytes are not that message.
    Malformed(String),
    /// A `TypedStruct` whose structure does not fit the message.
    BadStruct(Vec<Diagnostic>),
}

impl std::fmt::Display for AnyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AnyError::OtherType { found } => write!(f, "holds `{found}`"),
            AnyError::Malformed(why) => f.write_str(why),
            AnyError::BadStruct(found) => {
                let first = found
                    .iter()
                    .find(|d| d.is_error())
                    .map_or("", |d| d.message.as_str());
                f.write_str(first)
            }
        }
    }
}

impl std::error::Error for AnyError {}

/// The message in an `Any`, also when it comes as a `TypedStruct`.
pub fn decode_any<M: prost::Message + Default + Name>(any: &Any) -> Result<M, AnyError> {
    let malformed = |why: prost::DecodeError| AnyError::Malformed(why.to_string());
    let found = schema::type_name(&any.type_url);
    if found == M::full_name() {
        return M::decode(any.value.as_slice()).map_err(malformed);
    }
    let is_struct = schema::message(found).is_some_and(typed_struct::is);
    match is_struct.then(|| typed_struct::read(&any.value)).flatten() {
        Some((message, bytes, found)) if message.name == M::full_name() => {
            if found.iter().any(Diagnostic::is_error) {
                return Err(AnyError::BadStruct(found));
            }
            M::decode(bytes.as_slice()).map_err(malformed)
        }
        Some((message, ..)) => Err(AnyError::OtherType {
            found: message.name.to_owned(),
        }),
        None => Err(AnyError::OtherType {
            found: found.to_owned(),
        }),
    }
}

/// Full name of the message that an `Any` configures, looking through a `TypedStruct`.
pub fn any_type(any: &Any) -> &str {
    let found = schema::type_name(&any.type_url);
    if !schema::message(found).is_some_and(typed_struct::is) {
        return found;
    }
    let url = schema::Reader::new(&any.value)
        .filter(|(n, _)| *n == 1)
        .last();
    url.map_or(found, |(_, url)| schema::type_name(url.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::config::core::v3::TypedExtensionConfig;
    use crate::envoy::extensions::filters::http::buffer::v3::Buffer;
    use crate::envoy::extensions::filters::http::router::v3::Router;
    use crate::{Document, Options, Source, Syntax, decode};

    fn any(config: &str) -> Any {
        let text = format!("name: buffer\ntyped_config: {config}\n");
        let document = Document::parse(Source::new("t", text), Syntax::Yaml).expect("parses");
        let decoded = decode::<TypedExtensionConfig>(&document, &Options::default());
        assert_eq!(decoded.diagnostics, []);
        decoded
            .message
            .and_then(|m| m.typed_config)
            .expect("decodes")
    }

    #[test]
    fn a_message_comes_out_as_it_went_in_plain_or_as_a_structure() {
        let buffer = "envoy.extensions.filters.http.buffer.v3.Buffer";
        let plain = any(&format!(
            "{{\"@type\": type.googleapis.com/{buffer}, max_request_bytes: 5}}"
        ));
        let by_structure = any(&format!(
            "{{\"@type\": type.googleapis.com/xds.type.v3.TypedStruct, \
             type_url: type.googleapis.com/{buffer}, value: {{max_request_bytes: 5}}}}"
        ));
        for any in [plain, by_structure] {
            assert_eq!(any_type(&any), buffer);
            assert_eq!(
                decode_any::<Buffer>(&any)
                    .expect("a buffer")
                    .max_request_bytes,
                Some(5)
            );
            assert_eq!(
                decode_any::<Router>(&any),
                Err(AnyError::OtherType {
                    found: buffer.to_owned()
                })
            );
        }
    }
}
