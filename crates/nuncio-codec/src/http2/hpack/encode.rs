//! Fields to header blocks.
//!
//! What will come again is put into the dynamic table; what is different in every message is not, so that it does
//! not push the rest out. Credentials are never put into a table, by nobody on the way.

use super::{DEFAULT_TABLE_BYTES, huffman, table};
use crate::headers::{Header, Known, KnownSet};
use table::Table;

/// Names whose values hardly ever come twice.
const FLEETING: KnownSet = KnownSet::of(&[
    Known::Path,
    Known::Age,
    Known::ContentLength,
    Known::ContentRange,
    Known::Cookie,
    Known::Etag,
    Known::Expires,
    Known::GrpcMessage,
    Known::GrpcTimeout,
    Known::IfModifiedSince,
    Known::IfNoneMatch,
    Known::LastModified,
    Known::Location,
    Known::Range,
    Known::SetCookie,
    Known::Traceparent,
    Known::Tracestate,
    Known::XB3SpanId,
    Known::XB3TraceId,
    Known::XEnvoyExpectedRqTimeoutMs,
    Known::XEnvoyUpstreamServiceTime,
    Known::XForwardedFor,
    Known::XRequestId,
]);

/// Names whose values are secrets (RFC 7541, section 7.1.3).
const SECRET: KnownSet = KnownSet::of(&[Known::Authorization, Known::ProxyAuthorization]);

/// Places in which the encoder looks for what the table may hold.
const SLOTS: usize = 128;

/// Encodes the header blocks of one direction of a connection, in order.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// By hash of name and value: the last bits of the number of the entry that had it last. Whoever finds one looks whether
    /// that is what the entry says.
    headers: Box<[u16; SLOTS]>,
    /// By hash of the name.
    names: Box<[u16; SLOTS]>,
    /// The smallest size since the last block, and the size now, where the next block must tell.
    resized: Option<(usize, usize)>,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder {
            table: Table::new(DEFAULT_TABLE_BYTES),
            headers: Box::new([0; SLOTS]),
            names: Box::new([0; SLOTS]),
            resized: None,
        }
    }
}

fn hash(name: &[u8], value: &[u8]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    for part in [name, value] {
        for word in part.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            state = (state ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            state ^= state >> 29;
        }
        state = state.wrapping_add(part.len() as u64);
    }
    state
}

impl Encoder {
    /// The peer's decoder has a table of up to `limit` bytes (`SETTINGS_HEADER_TABLE_SIZE`). No more than
    /// [`DEFAULT_TABLE_BYTES`] are used.
    pub fn set_limit(&mut self, limit: usize) {
        let size = limit.min(DEFAULT_TABLE_BYTES);
        if size == self.table.max() && self.resized.is_none() {
            return;
        }
        let smallest = self.resized.map_or(size, |(smallest, _)| smallest.min(size));
        self.resized = Some((smallest, size));
        self.table.set_max(size);
    }

    /// Begins a block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((smallest, size)) = self.resized.take() {
            if smallest < size {
                integer(out, 0x20, 5, smallest);
            }
            integer(out, 0x20, 5, size);
        }
    }

    /// Writes one field.
    pub fn field(&mut self, field: Header<'_>, out: &mut Vec<u8>) {
        let Header { name, value, known } = field;
        let exact = table::static_header(known, value);
        if exact > 0 {
            return integer(out, 0x80, 7, exact);
        }
        if SECRET.has(known) {
            return self.literal(0x10, 4, field, out);
        }
        let large = name.len() + value.len() + table::ENTRY_OVERHEAD > self.table.max() / 2;
        // Of what differs in every message the name comes again: once, it is worth an entry.
        if large || FLEETING.has(known) && (table::static_name(known) > 0 || self.held_name(name).is_some()) {
            return self.literal(0, 4, field, out);
        }
        let slot = hash(name, value) as usize % SLOTS;
        if let Some(index) = self.held(self.headers[slot])
            && let Some((_, n, v)) = self.table.get(index)
            && n == name
            && v == value
        {
            return integer(out, 0x80, 7, index);
        }
        self.literal(0x40, 6, field, out);
        self.table.add(known, name, value);
        self.headers[slot] = self.table.added() as u16;
        if table::static_name(known) == 0 {
            self.names[hash(name, b"") as usize % SLOTS] = self.table.added() as u16;
        }
    }

    /// The index of the entry that a slot names, if it is still there.
    fn held(&self, slot: u16) -> Option<usize> {
        let added = self.table.added();
        let since = u64::from((added as u16).wrapping_sub(slot));
        self.table.index_of(added.checked_sub(since + 1)?)
    }

    /// The index of an entry with this name.
    fn held_name(&self, name: &[u8]) -> Option<usize> {
        let held = self.held(self.names[hash(name, b"") as usize % SLOTS])?;
        self.table.get(held).filter(|(_, of, _)| *of == name).map(|_| held)
    }

    fn literal(&self, kind: u8, bits: u32, field: Header<'_>, out: &mut Vec<u8>) {
        let mut index = table::static_name(field.known);
        if index == 0 {
            index = self.held_name(field.name).unwrap_or(0);
        }
        integer(out, kind, bits, index);
        if index == 0 {
            string(out, field.name);
        }
        string(out, field.value);
    }
}

fn integer(out: &mut Vec<u8>, first: u8, bits: u32, mut value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        return out.push(first | value as u8);
    }
    out.push(first | mask as u8);
    value -= mask;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        integer(out, 0x80, 7, coded);
        huffman::encode(text, out);
    } else {
        integer(out, 0, 7, text.len());
        out.extend_from_slice(text);
    }
}
