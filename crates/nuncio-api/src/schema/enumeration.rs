//! An enumeration of the API, parsed from its descriptor.

use super::message::option;
use super::wire::Reader;

/// An enumeration.
#[derive(Debug)]
pub struct Enum {
    /// Full name.
    pub name: &'static str,
    /// Values in the order of the .proto file.
    pub values: Vec<EnumValue>,
}

/// A value of an enumeration.
#[derive(Debug)]
pub struct EnumValue {
    /// Its name, for example `STRICT_DNS`.
    pub name: &'static str,
    /// Its number on the wire.
    pub number: i32,
    /// Deprecated: works, with a warning.
    pub deprecated: bool,
    /// Envoy refuses it unless a runtime flag allows it.
    pub disallowed: bool,
}

impl Enum {
    /// The value of that name; the case of the letters does not matter, as in Envoy.
    pub fn value(&self, name: &str) -> Option<&EnumValue> {
        let exact = self.values.iter().find(|v| v.name == name);
        exact.or_else(|| {
            self.values
                .iter()
                .find(|v| v.name.eq_ignore_ascii_case(name))
        })
    }

    /// The value of that number.
    pub fn by_number(&self, number: i32) -> Option<&EnumValue> {
        self.values.iter().find(|v| v.number == number)
    }

    pub(super) fn parse(name: &'static str, bytes: &'static [u8]) -> Enum {
        let values = Reader::new(bytes)
            .filter(|(n, _)| *n == 2)
            .map(|(_, v)| EnumValue::parse(v.bytes()));
        Enum {
            name,
            values: values.collect(),
        }
    }
}

impl EnumValue {
    fn parse(bytes: &'static [u8]) -> EnumValue {
        let mut value = EnumValue {
            name: "",
            number: 0,
            deprecated: false,
            disallowed: false,
        };
        for (number, field) in Reader::new(bytes) {
            match number {
                1 => value.name = field.text(),
                2 => value.number = field.integer() as i32,
                3 => {
                    for (option, set) in Reader::new(field.bytes()) {
                        match option {
                            1 => value.deprecated = set.integer() != 0,
                            option::ENUM_DISALLOWED => value.disallowed = set.integer() != 0,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        value
    }
}
