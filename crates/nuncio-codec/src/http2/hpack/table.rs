//! The static and the dynamic table of HPACK (RFC 7541, section 2.3 and appendix A).
//!
//! A dynamic table keeps its entries' bytes one behind the other in one buffer, so that an entry costs no allocation.

use crate::headers::{Known, classify};
use std::collections::VecDeque;

/// Entries of the static table; the first has index 1.
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// What an entry costs beyond its bytes.
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// Well-known numbers of the static table's names.
static STATIC_KNOWN: std::sync::LazyLock<[Known; 61]> = std::sync::LazyLock::new(|| STATIC.map(|(name, _)| classify(name.as_bytes())));

/// First index of each well-known name in the static table; 0 for none.
static STATIC_INDEX: std::sync::LazyLock<[u8; Known::COUNT]> = std::sync::LazyLock::new(|| {
    let mut index = [0; Known::COUNT];
    for (at, known) in STATIC_KNOWN.iter().enumerate().rev() {
        if *known != Known::Other {
            index[*known as usize] = at as u8 + 1;
        }
    }
    index
});

/// The index under which the static table has a well-known name; 0 for none.
#[inline]
pub(super) fn static_name(known: Known) -> usize {
    usize::from(STATIC_INDEX[known as usize])
}

/// The index under which the static table has this very header; 0 for none.
#[inline]
pub(super) fn static_header(known: Known, value: &[u8]) -> usize {
    let first = static_name(known);
    if first == 0 {
        return 0;
    }
    let same_name = STATIC_KNOWN[first - 1..].iter().take_while(|k| **k == known).count();
    (first..first + same_name).find(|at| STATIC[at - 1].1.as_bytes() == value).unwrap_or(0)
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    known: Known,
    name_len: u32,
    value_len: u32,
    /// Where its bytes begin, counted from the first byte that the table ever held.
    at: u64,
}

impl Entry {
    fn size(&self) -> usize {
        self.name_len as usize + self.value_len as usize + ENTRY_OVERHEAD
    }
}

/// A dynamic table: newest entry first.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Number of the byte that `bytes` begins with.
    base: u64,
    size: usize,
    max: usize,
    /// Entries ever added: names an entry for good.
    added: u64,
}

impl Table {
    pub(super) fn new(max: usize) -> Table {
        Table { max, ..Table::default() }
    }

    /// Largest size in bytes now.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many entries were ever added.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    /// Changes the largest size, dropping what no longer fits.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        self.evict(0);
    }

    /// Name and value of the entry with this index, 1 being the first of the static table.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<(Known, &[u8], &[u8])> {
        let at = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(at) {
            return Some((STATIC_KNOWN[at], name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(at - STATIC.len())?;
        let from = (entry.at - self.base) as usize;
        let middle = from + entry.name_len as usize;
        Some((entry.known, &self.bytes[from..middle], &self.bytes[middle..middle + entry.value_len as usize]))
    }

    /// The index of the entry that was added as the `number`th; `None` if it is gone.
    pub(super) fn index_of(&self, number: u64) -> Option<usize> {
        let age = self.added.checked_sub(number + 1)?;
        (age < self.entries.len() as u64).then(|| STATIC.len() + 1 + age as usize)
    }

    /// Adds an entry, dropping old ones; one too large for the table empties it.
    pub(super) fn add(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        self.evict(size);
        if size > self.max {
            return;
        }
        let at = self.base + self.bytes.len() as u64;
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_front(Entry { known, name_len: name.len() as u32, value_len: value.len() as u32, at });
        self.size += size;
        self.added += 1;
    }

    /// Adds an entry under a name that the table may hold.
    pub(super) fn add_named(&mut self, index: usize, value: &[u8], scratch: &mut Vec<u8>) {
        scratch.clear();
        let Some((known, name, _)) = self.get(index) else { return };
        scratch.extend_from_slice(name);
        self.add(known, scratch, value);
    }

    fn evict(&mut self, room: usize) {
        while self.size + room > self.max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size();
        }
        let dead = match self.entries.back() {
            Some(oldest) => (oldest.at - self.base) as usize,
            None => self.bytes.len(),
        };
        // Once the dead are as many as the living may be: each byte is moved once at most.
        if dead > self.max || self.entries.is_empty() {
            self.bytes.drain(..dead);
            self.base += dead as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_table_is_found_by_name_and_by_header() {
        assert_eq!(static_name(Known::Method), 2);
        assert_eq!(static_header(Known::Method, b"POST"), 3);
        assert_eq!(static_header(Known::Status, b"500"), 14);
        assert_eq!(static_header(Known::Status, b"201"), 0);
        assert_eq!(static_name(Known::WwwAuthenticate), 61);
        assert_eq!(static_name(Known::XRequestId), 0);
    }

    #[test]
    fn old_entries_make_room_for_new_ones() {
        let mut table = Table::new(100);
        for n in 0..50 {
            table.add(Known::Other, b"name", format!("{n}").as_bytes());
        }
        assert_eq!(table.get(62).unwrap().2, b"49");
        assert_eq!(table.get(63).unwrap().2, b"48");
        assert!(table.get(64).is_none());
        assert_eq!((table.index_of(49), table.index_of(48), table.index_of(47)), (Some(62), Some(63), None));
        table.add(Known::Other, b"large", &[b'x'; 100]);
        assert!(table.get(62).is_none());
    }
}
