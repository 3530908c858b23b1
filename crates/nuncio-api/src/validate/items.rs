//! Packed repeated numbers, taken apart.

use crate::schema::{Encoding, Field, Kind, Reader, Wire};

/// The items of one packed value, as if each stood on the wire by itself. Ends at malformed bytes.
pub(crate) struct Items<'a> {
    rest: Reader<'a>,
    width: Width,
}

#[derive(Clone, Copy)]
enum Width {
    Varint,
    Four,
    Eight,
}

impl<'a> Items<'a> {
    pub fn new(field: &Field, bytes: &'a [u8]) -> Self {
        let width = match (field.kind, field.encoding) {
            (Kind::Double, _) | (Kind::Int64 | Kind::Uint64, Encoding::Fixed) => Width::Eight,
            (Kind::Float, _) | (_, Encoding::Fixed) => Width::Four,
            _ => Width::Varint,
        };
        Items {
            rest: Reader::new(bytes),
            width,
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Wire<'a>;

    fn next(&mut self) -> Option<Wire<'a>> {
        match self.width {
            Width::Varint => self.rest.varint().ok().map(Wire::Varint),
            Width::Four => self.rest.fixed32().ok().map(Wire::Fixed32),
            Width::Eight => self.rest.fixed64().ok().map(Wire::Fixed64),
        }
    }
}
