//! Protobuf's wire format, as far as it is written here: tags, varints, lengths put in afterwards.

/// A number in seven bits a byte.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field's tag.
pub(crate) fn tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// A field of bytes.
pub(crate) fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    tag(out, number, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Puts the length of all that was written since `from` before it.
pub(crate) fn close(out: &mut Vec<u8>, from: usize) {
    let mut length = Vec::with_capacity(5);
    varint(&mut length, (out.len() - from) as u64);
    out.splice(from..from, length);
}

/// A number in seven bits a byte, off the front; `None` if it has no end, or not in ten bytes.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Some(value);
        }
    }
    None
}

/// So many bytes off the front.
pub(crate) fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Bytes with their length before them, off the front.
pub(crate) fn take_delimited<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take_varint(bytes)?;
    take(bytes, usize::try_from(length).ok()?)
}
