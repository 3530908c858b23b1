//! Writing the protobuf wire format.

use crate::schema::Wire;

/// A bare varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field's key.
fn key(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// A varint field.
pub(crate) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    key(out, number, 0);
    varint(out, value);
}

/// An 8-byte field.
pub(crate) fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    key(out, number, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A 4-byte field.
pub(crate) fn put_fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    key(out, number, 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A string, bytes or ready-made message field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    key(out, number, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A field as it was read.
pub(crate) fn put(out: &mut Vec<u8>, number: u32, wire: Wire<'_>) {
    match wire {
        Wire::Varint(value) => put_varint(out, number, value),
        Wire::Fixed64(value) => put_fixed64(out, number, value),
        Wire::Fixed32(value) => put_fixed32(out, number, value),
        Wire::Bytes(bytes) => put_bytes(out, number, bytes),
    }
}

/// Begins a message field whose length is not known yet; give the result to [`end`].
pub(crate) fn begin(out: &mut Vec<u8>, number: u32) -> usize {
    key(out, number, 2);
    // Most messages are shorter than 128 bytes: one byte of length.
    out.push(0);
    out.len()
}

/// Ends a message field by writing its length in front of it.
pub(crate) fn end(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
        return;
    }
    let mut head = Vec::with_capacity(5);
    varint(&mut head, length as u64);
    out.splice(start - 1..start, head);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Reader;

    #[test]
    fn nested_lengths_come_out_right_whatever_their_size() {
        for size in [0usize, 1, 127, 128, 300, 20_000] {
            let mut out = Vec::new();
            let outer = begin(&mut out, 1);
            let inner = begin(&mut out, 2);
            put_bytes(&mut out, 3, &vec![7; size]);
            end(&mut out, inner);
            put_varint(&mut out, 4, 9);
            end(&mut out, outer);
            let outer: Vec<_> = Reader::new(&out).collect();
            let fields: Vec<_> = Reader::new(outer[0].1.bytes()).collect();
            assert_eq!(fields[1], (4, Wire::Varint(9)));
            let inner: Vec<_> = Reader::new(fields[0].1.bytes()).collect();
            assert_eq!(inner[0].1.bytes().len(), size);
        }
    }
}
