//! One compact header map for all codecs.
//!
//! The map owns one byte buffer. A codec copies a message's raw head into it once; entries are 16-byte
//! records of offsets into that buffer, names lower-cased in place. What filters add goes to the buffer's
//! tail, written as a finished `name: value\r\n` line, so that an HTTP/1 encoder copies runs of neighbouring
//! lines in one go, decoded or added. A set of one bit for each well-known name ([`KnownSet`]) answers most
//! questions without a look at the entries, and keeps the map small: the memory that a stream touches is what
//! thousands of connections cost. Pseudo-headers have a place of their own and always come first in iteration.
//!
//! Promises: order is kept; a name may have several values; no name or value ever holds CR, LF or NUL, so
//! nothing written from a map can split a message; a reused map ([`HeaderMap::clear`]) allocates nothing.
//! In a request (a map with `:method`) `host` and `:authority` are one header.
//!
//! It leaves to others: limits on size and number (the codecs), which names hop (the connection manager).

mod edit;
mod iter;
mod known;
mod name;
mod set;
mod trailers;
mod value;

pub use iter::{Header, Iter};
pub use known::{Known, classify};

pub use name::{HeaderName, Name, is_token_byte};
pub use set::KnownSet;
pub use trailers::Trailers;
pub use value::ValueWriter;
pub(crate) use value::put_decimal;

use crate::method::Method;
use std::borrow::Cow;
use std::fmt;

/// Longest name an entry can describe, in bytes.
pub const MAX_NAME_LEN: usize = u16::MAX as usize;
/// Most bytes a map holds; offsets are 32 bits wide. Additions beyond it are ignored.
pub(crate) const MAX_BYTES: usize = 1 << 31;

/// The entry was removed.
const DEAD: u8 = 1;
/// The buffer holds the entry as `name: value\r\n`, ready to be copied.
const LINE: u8 = 1 << 1;
/// The name came off the wire: its spelling is in `spelled` at the same offset, if that is kept.
const WIRE: u8 = 1 << 2;

/// Where one header stands in the buffer.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name_at: u32,
    pub(crate) value_at: u32,
    pub(crate) value_len: u32,
    pub(crate) name_len: u16,
    pub(crate) known: Known,
    flags: u8,
}

impl Entry {
    const EMPTY: Entry = Entry {
        name_at: 0,
        value_at: 0,
        value_len: 0,
        name_len: 0,
        known: Known::Other,
        flags: 0,
    };

    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        self.flags & DEAD == 0
    }

    #[inline]
    pub(crate) fn is_line(&self) -> bool {
        self.flags & LINE != 0
    }

    #[inline]
    pub(crate) fn value_end(&self) -> usize {
        self.value_at as usize + self.value_len as usize
    }

    #[inline]
    fn size(&self) -> usize {
        self.name_len as usize + self.value_len as usize
    }
}

/// An ordered multimap of header names to values; see the module.
#[derive(Clone)]
pub struct HeaderMap {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Values of the pseudo-headers that `present` names; the others are leftovers.
    pseudo: [Entry; Known::PSEUDO],
    /// The well-known names that have a value.
    present: KnownSet,
    /// Those of them that may have several entries.
    repeated: KnownSet,
    /// Lengths (modulo 32) of the names that are not well-known, removed ones included: most questions for such a name
    /// are answered by that.
    lengths: u32,
    live: u32,
    size: usize,
    /// Bytes of the buffer that no live entry uses any more; bounds the buffer's growth.
    garbage: usize,
    /// The raw head as it was spelled, offsets as in `bytes`; only kept when asked for.
    spelled: Vec<u8>,
}

impl Default for HeaderMap {
    fn default() -> Self {
        HeaderMap::EMPTY
    }
}

impl HeaderMap {
    /// An empty map.
    pub const EMPTY: HeaderMap = HeaderMap {
        bytes: Vec::new(),
        entries: Vec::new(),
        pseudo: [Entry::EMPTY; Known::PSEUDO],
        present: KnownSet::EMPTY,
        repeated: KnownSet::EMPTY,
        lengths: 0,
        live: 0,
        size: 0,
        garbage: 0,
        spelled: Vec::new(),
    };

    /// An empty map; allocates nothing until something is added.
    pub fn new() -> HeaderMap {
        HeaderMap::default()
    }

    /// Empties the map and keeps its memory.
    #[inline]
    pub fn clear(&mut self) {
        if self.bytes.is_empty() && self.live == 0 {
            return;
        }
        self.bytes.clear();
        self.entries.clear();
        self.present = KnownSet::EMPTY;
        self.repeated = KnownSet::EMPTY;
        self.lengths = 0;
        self.live = 0;
        self.size = 0;
        self.garbage = 0;
        self.spelled.clear();
    }

    /// Bytes of memory the map holds on to; for callers that recycle maps and drop oversize ones.
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.spelled.capacity()
            + self.entries.capacity() * size_of::<Entry>()
    }

    /// Number of headers, pseudo-headers included.
    #[inline]
    pub fn len(&self) -> usize {
        self.live as usize
    }

    /// Whether there is no header at all.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Sum of the lengths of all names and values in bytes, pseudo-headers included, no separators:
    /// Envoy's `HeaderMap::byteSize`, `%REQUEST_HEADERS_BYTES%`.
    #[inline]
    pub fn byte_size(&self) -> usize {
        self.size
    }

    /// The first value of a name.
    #[inline]
    pub fn get(&self, name: impl Name) -> Option<&[u8]> {
        self.first(&name).map(|entry| self.value_of(entry))
    }

    /// The first value of a name given as bytes in lower case.
    #[inline]
    pub fn get_bytes(&self, name: &[u8]) -> Option<&[u8]> {
        self.get(name)
    }

    /// The first value of a name if it is UTF-8.
    #[inline]
    pub fn get_str(&self, name: impl Name) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Whether the name has a value.
    #[inline]
    pub fn contains(&self, name: impl Name) -> bool {
        self.first(&name).is_some()
    }

    /// Whether any name of the set has a value.
    #[inline]
    pub fn contains_any(&self, names: &KnownSet) -> bool {
        !self.present.and(names).is_empty()
    }

    /// Whether a well-known name may have more than one value here; never a pseudo header.
    #[inline]
    pub fn is_repeated(&self, known: Known) -> bool {
        self.repeated.has(self.resolve(known))
    }

    /// Every value of a name, in order.
    pub fn get_all<'a, N: Name + 'a>(
        &'a self,
        name: N,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, N> {
        let known = self.resolve(name.known());
        let pseudo = self.pseudo_entry(known);
        let all = self.entries.len();
        let (from, to) = match known {
            Known::Other => self.find_unnumbered(name.bytes()).map_or((0, 0), |first| (first, all)),
            known => match self.index_of(known) {
                Some(first) if self.repeated.has(known) => (first, all),
                Some(first) => (first, first + 1),
                None => (0, 0),
            },
        };
        let regular = self.entries[from..to]
            .iter()
            .filter(move |entry| self.is_named(entry, known, name.bytes()));
        pseudo
            .into_iter()
            .chain(regular)
            .map(|entry| self.value_of(entry))
    }

    /// Every value of a name joined with `,`, as Envoy hands several values to matchers and formatters.
    pub fn get_joined<'a>(&'a self, name: impl Name + 'a) -> Option<Cow<'a, [u8]>> {
        // Mostly there is none.
        self.first(&name)?;
        let mut values = self.get_all(name);
        let first = values.next()?;
        let Some(second) = values.next() else {
            return Some(Cow::Borrowed(first));
        };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }

    /// `:method` of a request.
    #[inline]
    pub fn method(&self) -> Option<&[u8]> {
        self.get(Known::Method)
    }

    /// `:method`, classified; [`Method::Other`] if there is none.
    #[inline]
    pub fn method_kind(&self) -> Method {
        Method::of(self.get(Known::Method).unwrap_or_default())
    }

    /// Whether `:method` is CONNECT.
    #[inline]
    pub fn is_connect(&self) -> bool {
        self.has_method(b"CONNECT")
    }

    /// Whether `:method` is HEAD.
    #[inline]
    pub fn is_head(&self) -> bool {
        self.has_method(b"HEAD")
    }

    /// Cheaper than [`HeaderMap::method_kind`]: mostly the length tells.
    #[inline]
    fn has_method(&self, method: &[u8]) -> bool {
        self.pseudo_entry(Known::Method)
            .is_some_and(|entry| entry.value_len as usize == method.len() && self.value_of(entry) == method)
    }

    /// `:path` of a request: path and query.
    #[inline]
    pub fn path(&self) -> Option<&[u8]> {
        self.get(Known::Path)
    }

    /// `:authority` of a request, which in HTTP/1 is the `host` header.
    #[inline]
    pub fn authority(&self) -> Option<&[u8]> {
        self.get(Known::Authority)
    }

    /// `:scheme` of a request.
    #[inline]
    pub fn scheme(&self) -> Option<&[u8]> {
        self.get(Known::Scheme)
    }

    /// `:status` of a response.
    #[inline]
    pub fn status(&self) -> Option<u16> {
        let value = self.get(Known::Status)?;
        if value.is_empty() || value.len() > 4 {
            return None;
        }
        value.iter().try_fold(0u16, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0'))
        })
    }

    /// Whether this is a request's head (it has `:method`).
    #[inline]
    pub fn is_request(&self) -> bool {
        self.present.has(Known::Method)
    }

    /// All headers in order, pseudo-headers first.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self)
    }

    // --- for the codecs -------------------------------------------------------------------------------

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[inline]
    pub(crate) fn value_of(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.value_at as usize..entry.value_end()]
    }

    #[inline]
    pub(crate) fn name_of(&self, entry: &Entry) -> &[u8] {
        match entry.known {
            Known::Other => {
                &self.bytes
                    [entry.name_at as usize..entry.name_at as usize + entry.name_len as usize]
            }
            known => known.as_str().as_bytes(),
        }
    }

    // --- finding --------------------------------------------------------------------------------------

    /// `host` of a request is its `:authority`.
    #[inline]
    fn resolve(&self, known: Known) -> Known {
        if known == Known::Host && self.is_request() {
            Known::Authority
        } else {
            known
        }
    }

    /// Where the first entry of a well-known name stands; pseudo-headers have none.
    #[inline]
    fn index_of(&self, known: Known) -> Option<usize> {
        if !self.present.has(known) {
            return None;
        }
        self.entries
            .iter()
            .position(|entry| entry.known == known && entry.is_live())
    }

    #[inline]
    fn find(&self, known: Known, name: &[u8]) -> Option<usize> {
        match known {
            Known::Other => self.find_unnumbered(name),
            known => self.index_of(known),
        }
    }

    #[inline]
    fn pseudo_entry(&self, known: Known) -> Option<&Entry> {
        (known.is_pseudo() && self.present.has(known)).then(|| &self.pseudo[known as usize - 1])
    }

    #[inline]
    fn first(&self, name: &impl Name) -> Option<&Entry> {
        match self.resolve(name.known()) {
            Known::Other => self
                .find_unnumbered(name.bytes())
                .map(|index| &self.entries[index]),
            known if known.is_pseudo() => self.pseudo_entry(known),
            known => self.index_of(known).map(|index| &self.entries[index]),
        }
    }

    #[inline]
    fn find_unnumbered(&self, name: &[u8]) -> Option<usize> {
        if self.lengths & length_bit(name.len()) == 0 { None } else { self.scan_unnumbered(name) }
    }

    fn scan_unnumbered(&self, name: &[u8]) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| self.is_named(entry, Known::Other, name))
    }

    #[inline]
    fn is_named(&self, entry: &Entry, known: Known, name: &[u8]) -> bool {
        entry.known == known
            && entry.is_live()
            && (known != Known::Other
                || (entry.name_len as usize == name.len() && self.name_of(entry) == name))
    }
}

/// Where names of a length stand in [`HeaderMap::lengths`].
#[inline]
fn length_bit(len: usize) -> u32 {
    1 << (len % 32)
}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a HeaderMap {
    type Item = Header<'a>;
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Collects name and value pairs, in order; names in lower case.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.as_ref(), value.as_ref());
        }
        map
    }
}

#[cfg(test)]
mod tests;
