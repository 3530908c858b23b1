//! Header blocks to fields.

use super::{DEFAULT_TABLE_BYTES, MAX_FIELD_BYTES, huffman, table::Table};
use crate::headers::{Known, classify};

/// The block is no valid HPACK: the connection's compression state is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressionError;

/// One decoded field.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Number of the name.
    pub known: Known,
    /// The name as it came.
    pub name: &'a [u8],
    /// The value as it came.
    pub value: &'a [u8],
}

/// Decodes the header blocks of one direction of a connection, in order.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What we announced with `SETTINGS_HEADER_TABLE_SIZE`.
    limit: usize,
    /// The beginning of a representation that the pieces so far have cut.
    pending: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
    /// A field of this block has been seen: no size update may follow.
    in_fields: bool,
}

/// Why a representation was not decoded.
enum Stop {
    /// It goes on in the next piece.
    Incomplete,
    Invalid,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new(DEFAULT_TABLE_BYTES)
    }
}

impl Decoder {
    /// A decoder whose peer may use a table of up to `limit` bytes.
    pub fn new(limit: usize) -> Decoder {
        Decoder {
            table: Table::new(limit.min(DEFAULT_TABLE_BYTES)),
            limit,
            pending: Vec::new(),
            name: Vec::new(),
            value: Vec::new(),
            in_fields: false,
        }
    }

    /// Decodes the next piece of a block; `last` says that the block ends with it.
    ///
    /// # Errors
    /// [`CompressionError`] for what is not HPACK, or asks for more than was granted.
    pub fn decode(&mut self, piece: &[u8], last: bool, mut each: impl FnMut(Field<'_>)) -> Result<(), CompressionError> {
        let mut held = std::mem::take(&mut self.pending);
        let whole = if held.is_empty() {
            piece
        } else {
            held.extend_from_slice(piece);
            &held[..]
        };
        let mut at = 0;
        let mut done = Ok(());
        while at < whole.len() {
            match self.step(&whole[at..], &mut each) {
                Ok(used) => at += used,
                Err(Stop::Incomplete) if !last => break,
                Err(_) => {
                    done = Err(CompressionError);
                    break;
                }
            }
        }
        // What is cut waits in the same memory.
        if held.is_empty() {
            held.extend_from_slice(&piece[at..]);
        } else {
            held.drain(..at);
        }
        if last {
            held.clear();
            self.in_fields = false;
        }
        // A name and a value of largest size, coded as badly as can be.
        if held.len() > 8 * MAX_FIELD_BYTES {
            done = Err(CompressionError);
        }
        self.pending = held;
        done
    }

    /// Decodes one representation and says how many bytes it took.
    fn step(&mut self, bytes: &[u8], each: &mut impl FnMut(Field<'_>)) -> Result<usize, Stop> {
        let first = bytes[0];
        if first & 0x80 != 0 {
            let (index, used) = integer(bytes, 7)?;
            let (known, name, value) = self.table.get(index).ok_or(Stop::Invalid)?;
            self.in_fields = true;
            each(Field { known, name, value });
            return Ok(used);
        }
        if first & 0xe0 == 0x20 {
            let (size, used) = integer(bytes, 5)?;
            if self.in_fields || size > self.limit {
                return Err(Stop::Invalid);
            }
            self.table.set_max(size);
            return Ok(used);
        }
        let keep = first & 0x40 != 0;
        let (index, mut used) = integer(bytes, if keep { 6 } else { 4 })?;
        if index == 0 {
            used += string(&bytes[used..], &mut self.name)?;
        }
        used += string(&bytes[used..], &mut self.value)?;
        self.in_fields = true;
        if index == 0 {
            let known = classify(&self.name);
            each(Field { known, name: &self.name, value: &self.value });
            if keep {
                self.table.add(known, &self.name, &self.value);
            }
        } else {
            let (known, name, _) = self.table.get(index).ok_or(Stop::Invalid)?;
            each(Field { known, name, value: &self.value });
            if keep {
                self.table.add_named(index, &self.value, &mut self.name);
            }
        }
        Ok(used)
    }
}

/// An integer with a prefix of `bits` bits (RFC 7541, section 5.1), and the bytes it takes.
fn integer(bytes: &[u8], bits: u32) -> Result<(usize, usize), Stop> {
    let mask = (1usize << bits) - 1;
    let mut value = usize::from(*bytes.first().ok_or(Stop::Incomplete)?) & mask;
    if value < mask {
        return Ok((value, 1));
    }
    let mut shift = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        // More than 32 bits are of no use to anybody.
        if shift > 28 {
            return Err(Stop::Invalid);
        }
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value, at + 1));
        }
        shift += 7;
    }
    Err(Stop::Incomplete)
}

/// A string (section 5.2), decoded into `out`, and the bytes it takes.
fn string(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Stop> {
    let (len, head) = integer(bytes, 7)?;
    if len > MAX_FIELD_BYTES {
        return Err(Stop::Invalid);
    }
    let text = bytes.get(head..head + len).ok_or(Stop::Incomplete)?;
    out.clear();
    if bytes[0] & 0x80 == 0 {
        out.extend_from_slice(text);
    } else if !huffman::decode(text, out) || out.len() > MAX_FIELD_BYTES {
        return Err(Stop::Invalid);
    }
    Ok(head + len)
}
