//! Putting a field into a serialized message, anywhere in it.

use nuncio_api::schema::{Reader, Wire};

/// One hop: the field's number, and which of its occurrences.
pub type Hop = (u32, usize);

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put(out: &mut Vec<u8>, number: u32, wire: Wire<'_>) {
    let key = |kind: u64| u64::from(number) << 3 | kind;
    match wire {
        Wire::Varint(value) => {
            varint(out, key(0));
            varint(out, value);
        }
        Wire::Fixed64(value) => {
            varint(out, key(1));
            out.extend(value.to_le_bytes());
        }
        Wire::Bytes(bytes) => {
            varint(out, key(2));
            varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Wire::Fixed32(value) => {
            varint(out, key(5));
            out.extend(value.to_le_bytes());
        }
    }
}

/// A field, encoded.
pub fn field(number: u32, wire: Wire<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, number, wire);
    out
}

/// The message with `addition` appended to the message at `path` inside it, which is made where it is missing.
pub fn insert(message: &[u8], path: &[Hop], addition: &[u8]) -> Vec<u8> {
    let Some(((number, occurrence), rest)) = path.split_first() else { return [message, addition].concat() };
    let mut out = Vec::new();
    let mut seen = 0;
    for (at, wire) in Reader::new(message) {
        if at == *number {
            seen += 1;
            if seen == occurrence + 1 {
                put(&mut out, at, Wire::Bytes(&insert(wire.bytes(), rest, addition)));
                continue;
            }
        }
        put(&mut out, at, wire);
    }
    if seen <= *occurrence {
        put(&mut out, *number, Wire::Bytes(&insert(&[], rest, addition)));
    }
    out
}
