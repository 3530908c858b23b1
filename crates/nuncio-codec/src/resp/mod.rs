//! RESP, the protocol of Redis: values out of bytes and back, without I/O.
//!
//! * [`Decoder`]: values out of bytes that come piece by piece. What is announced costs nothing before it has come;
//!   lengths and depth have limits ([`MAX_BULK_BYTES`], [`MAX_ARRAY_LEN`], [`MAX_DEPTH`], [`MAX_LINE_BYTES`]).
//! * [`Value::encode`]: as version 2 of the protocol writes it.
//!
//! Clients may say commands as plain lines (`GET a`), and the types of version 3 are read: they become their nearest
//! relatives of version 2.

mod decode;
mod inline;

pub use decode::{Decoder, ProtocolError, Role};

/// Longest string, as of Redis (`proto-max-bulk-len`).
pub const MAX_BULK_BYTES: usize = 512 << 20;
/// Most elements of an array.
pub const MAX_ARRAY_LEN: usize = 1 << 22;
/// How deep arrays may stand in each other.
pub const MAX_DEPTH: usize = 128;
/// Longest line: a number, a simple string, a command in plain text.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: a string or an array that is not there.
    Null,
    /// A line of text.
    Simple(Vec<u8>),
    /// A line that tells of a failure.
    Error(Vec<u8>),
    /// A whole number.
    Integer(i64),
    /// Any bytes.
    Bulk(Vec<u8>),
    /// Values.
    Array(Vec<Value>),
}

impl Value {
    /// A failure.
    pub fn error(text: impl Into<Vec<u8>>) -> Value {
        Value::Error(text.into())
    }

    /// A line.
    pub fn simple(text: &str) -> Value {
        Value::Simple(text.into())
    }

    /// Bytes.
    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Value {
        Value::Bulk(bytes.into())
    }

    /// Appends the value as it is on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"$-1\r\n"),
            Value::Simple(text) => line(out, b'+', text),
            Value::Error(text) => line(out, b'-', text),
            Value::Integer(number) => number_line(out, b':', *number),
            Value::Bulk(bytes) => bulk(out, bytes),
            Value::Array(values) => {
                array_of(out, values.len());
                values.iter().for_each(|value| value.encode(out));
            }
        }
    }
}

/// Appends the head of an array of `len` values, which have to follow.
pub fn array_of(out: &mut Vec<u8>, len: usize) {
    number_line(out, b'*', i64::try_from(len).unwrap_or(i64::MAX));
}

/// Appends a string.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    number_line(out, b'$', i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    // A line ends with its end: what would end it sooner becomes a space.
    out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

fn number_line(out: &mut Vec<u8>, kind: u8, number: i64) {
    out.push(kind);
    let (mut digits, mut at, mut rest) = ([0u8; 20], 20, number.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
