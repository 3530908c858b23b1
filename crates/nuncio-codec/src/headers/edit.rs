//! Changing a map: setting, adding, removing, and the bookkeeping that keeps sets and sizes true.

use super::value::{ValueWriter, put_decimal, scrub};
use super::{
    DEAD, Entry, HeaderMap, Known, KnownSet, LINE, MAX_BYTES, MAX_NAME_LEN, Name, WIRE, length_bit,
};

/// Garbage beyond this many bytes, and beyond half of the buffer, is worth a compaction.
const COMPACT_AT_BYTES: usize = 64 * 1024;
/// Removed entries beyond this number, and beyond half of all, are worth a compaction.
const COMPACT_AT_ENTRIES: usize = 1024;

impl HeaderMap {
    /// Sets a name to one value: the first entry keeps its place, others go.
    #[inline]
    pub fn insert(&mut self, name: impl Name, value: impl AsRef<[u8]>) {
        let known = self.resolve(name.known());
        if known == Known::Other || known.is_pseudo() || self.repeated.has(known) {
            self.set_with(name, |out| out.put(value.as_ref()));
        } else {
            self.insert_known(known, value.as_ref());
        }
    }

    /// What nearly every `insert` is: a well-known name that has at most one value.
    fn insert_known(&mut self, known: Known, value: &[u8]) {
        self.tidy();
        let start = known.line_start();
        let len = start.len() + value.len() + 2;
        if !self.make_room(len) {
            return;
        }
        let name_at = self.bytes.len();
        self.bytes.reserve(len);
        self.bytes.extend_from_slice(start);
        let value_at = self.bytes.len();
        self.bytes.extend_from_slice(value);
        scrub(&mut self.bytes[value_at..]);
        self.bytes.extend_from_slice(b"\r\n");
        let entry = Entry {
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_len: value.len() as u32,
            name_len: (start.len() - 2) as u16,
            known,
            flags: LINE,
        };
        match self.index_of(known) {
            Some(index) => self.replace(index, entry),
            None => {
                self.push(entry);
            }
        }
    }

    /// Sets a name to the value that `write` appends; no copy in between. What `write` may not hold
    /// (CR, LF, NUL) becomes a space.
    pub fn set_with(&mut self, name: impl Name, write: impl FnOnce(&mut ValueWriter<'_>)) {
        self.tidy();
        let known = self.resolve(name.known());
        if known.is_pseudo() {
            self.set_pseudo_with(known, write);
            return;
        }
        let found = self.find(known, name.bytes());
        let Some(entry) = self.write_line(known, name.bytes(), write) else {
            return;
        };
        match found {
            Some(index) => {
                self.remove_after(index, known, name.bytes());
                self.replace(index, entry);
            }
            None => {
                self.push(entry);
            }
        }
    }

    /// Adds a value behind those the name already has, as an entry of its own. Pseudo-headers have one
    /// value: the new one takes its place.
    pub fn append(&mut self, name: impl Name, value: impl AsRef<[u8]>) {
        self.tidy();
        let known = self.resolve(name.known());
        if known.is_pseudo() {
            self.set_pseudo_with(known, |out| out.put(value.as_ref()));
        } else if let Some(entry) =
            self.write_line(known, name.bytes(), |out| out.put(value.as_ref()))
        {
            self.push(entry);
        }
    }

    /// Adds to the name's first value behind a separator, or sets it if there is none: how Envoy appends to
    /// `x-forwarded-for` (`,`), `via` (`, `) and `cookie` (`; `).
    pub fn append_joined(&mut self, name: impl Name, separator: &str, value: impl AsRef<[u8]>) {
        self.tidy();
        let known = self.resolve(name.known());
        let Some(old) = self.first(&name).copied() else {
            return self.append(name, value);
        };
        let old_value = old.value_at as usize..old.value_end();
        let write = |out: &mut ValueWriter<'_>| {
            out.bytes.extend_from_within(old_value);
            out.put(separator.as_bytes());
            out.put(value.as_ref());
        };
        if known.is_pseudo() {
            return self.set_pseudo_with(known, write);
        }
        let found = self.find(known, name.bytes());
        if let (Some(index), Some(entry)) = (found, self.write_line(known, name.bytes(), write)) {
            self.replace(index, entry);
        }
    }

    /// Adds the header unless the name has a value already; says whether it was added.
    pub fn add_if_absent(&mut self, name: impl Name, value: impl AsRef<[u8]>) -> bool {
        let absent = !self.contains(&name);
        if absent {
            self.append(name, value);
        }
        absent
    }

    /// Sets `:status`.
    pub fn set_status(&mut self, status: u16) {
        self.set_pseudo_with(Known::Status, |out| {
            put_decimal(out.bytes, u64::from(status))
        });
    }

    /// Removes every value of a name; says whether there was one.
    pub fn remove(&mut self, name: impl Name) -> bool {
        let known = self.resolve(name.known());
        if known.is_pseudo() {
            return self.remove_pseudo(known);
        }
        let found = self.find(known, name.bytes());
        let Some(first) = found else { return false };
        self.remove_after(first, known, name.bytes());
        self.kill(first);
        self.present.remove(known);
        true
    }

    /// Removes every value of every name of the set, pseudo-headers excepted; says how many. Costs next to
    /// nothing if there is none.
    #[inline]
    pub fn remove_all(&mut self, names: &KnownSet) -> usize {
        let doomed = self.present.and(names).without_pseudo();
        if doomed.is_empty() { 0 } else { self.remove_present(doomed) }
    }

    fn remove_present(&mut self, doomed: KnownSet) -> usize {
        let before = self.live;
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            if entry.is_live() && doomed.has(entry.known) {
                self.kill(index);
            }
        }
        self.present = self.present.minus(&doomed);
        self.repeated = self.repeated.minus(&doomed);
        (before - self.live) as usize
    }

    /// Removes every header whose name begins with `prefix` (lower case); says how many.
    pub fn remove_prefix(&mut self, prefix: &[u8]) -> usize {
        self.remove_where(|name, _| name.starts_with(prefix))
    }

    /// Removes every header, pseudo-headers excepted, of which `condemn(name, value)` says so; says how many.
    pub fn remove_where(&mut self, mut condemn: impl FnMut(&[u8], &[u8]) -> bool) -> usize {
        let mut removed = 0;
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            if !entry.is_live() || !condemn(self.name_of(&entry), self.value_of(&entry)) {
                continue;
            }
            self.kill(index);
            removed += 1;
        }
        if removed > 0 {
            self.recount();
        }
        removed
    }

    // --- for the codecs -------------------------------------------------------------------------------

    /// Takes a copy of raw head bytes as the buffer of an empty map; a copy of the spelling too if asked.
    pub(crate) fn load(&mut self, raw: &[u8], keep_spelling: bool) {
        self.clear();
        self.bytes.extend_from_slice(raw);
        if keep_spelling {
            self.spelled.extend_from_slice(raw);
        }
    }

    /// Lends the loaded bytes to a parser, which lower-cases names and blanks folds in place, beside the
    /// map, to which it pushes what it finds.
    #[inline]
    pub(crate) fn with_bytes<R>(
        &mut self,
        parse: impl FnOnce(&mut [u8], &mut HeaderMap) -> R,
    ) -> R {
        let mut bytes = std::mem::take(&mut self.bytes);
        let result = parse(&mut bytes, self);
        self.bytes = bytes;
        result
    }

    /// Cuts off what was loaded behind the head.
    #[inline]
    pub(crate) fn truncate_bytes(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Describes a header in the loaded bytes. `line` says that it stands there as `name: value\r\n`.
    /// Answers whether the name is well-known and was there before.
    #[inline]
    pub(crate) fn push_loaded(
        &mut self,
        known: Known,
        (name_at, name_len): (usize, usize),
        (value_at, value_len): (usize, usize),
        line: bool,
    ) -> bool {
        self.push(Entry {
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_len: value_len as u32,
            name_len: name_len as u16,
            known,
            flags: if line { LINE | WIRE } else { WIRE },
        })
    }

    /// Describes a pseudo-header whose value stands in the loaded bytes.
    #[inline]
    pub(crate) fn set_pseudo_loaded(&mut self, known: Known, value_at: usize, value_len: usize) {
        self.set_pseudo(known, value_at, value_len, WIRE);
    }

    /// Whether a pseudo-header is as a decoder found, and checked, it.
    pub(crate) fn is_as_received(&self, known: Known) -> bool {
        self.pseudo_entry(known)
            .is_some_and(|entry| entry.flags & WIRE != 0)
    }

    /// Makes one entry of all entries of a name, values joined with `,`; empty ones add nothing.
    /// Whether a well-known name has several values.
    pub(crate) fn has_repeated(&self) -> bool {
        !self.repeated.is_empty()
    }

    pub(crate) fn join_entries(&mut self, known: Known) {
        if self.repeated.has(known) {
            let values: Vec<&[u8]> = self
                .get_all(known)
                .filter(|value| !value.is_empty())
                .collect();
            let joined = values.join(&b","[..]);
            self.insert(known, joined);
        }
    }

    /// Joins `host` entries that stand beside `:authority` to it.
    pub(crate) fn join_host(&mut self) {
        let hosts = self
            .entries
            .iter()
            .filter(|entry| entry.known == Known::Host && entry.is_live());
        let values = self
            .authority()
            .into_iter()
            .chain(hosts.map(|entry| self.value_of(entry)));
        let values: Vec<&[u8]> = values.filter(|value| !value.is_empty()).collect();
        let joined = values.join(&b","[..]);
        if self.remove_where(|name, _| name == b"host") > 0 {
            self.insert(Known::Authority, joined);
        }
    }

    /// The spelling of an entry's name on the wire, if it was kept.
    pub(crate) fn spelling_of(&self, entry: &Entry) -> Option<&[u8]> {
        if entry.flags & WIRE == 0 {
            return None;
        }
        self.spelled
            .get(entry.name_at as usize..entry.name_at as usize + entry.name_len as usize)
    }

    // --- bookkeeping ----------------------------------------------------------------------------------

    #[inline]
    fn push(&mut self, entry: Entry) -> bool {
        let mut repeated = false;
        if entry.known == Known::Other {
            self.lengths |= length_bit(entry.name_len as usize);
        } else if self.present.has(entry.known) {
            self.repeated.add(entry.known);
            repeated = true;
        } else {
            self.present.add(entry.known);
        }
        self.live += 1;
        self.size += entry.size();
        self.entries.push(entry);
        repeated
    }

    /// Gives an entry a new value; it keeps its place and, where kept, its spelling.
    fn replace(&mut self, index: usize, mut entry: Entry) {
        let old = self.entries[index];
        self.size = self.size + entry.size() - old.size();
        self.garbage += old.size() + 4;
        if old.flags & WIRE != 0 && !self.spelled.is_empty() {
            entry.name_at = old.name_at;
            entry.flags = (entry.flags & !LINE) | WIRE;
        }
        self.entries[index] = entry;
    }

    /// Removes later entries of the same name.
    fn remove_after(&mut self, first: usize, known: Known, name: &[u8]) {
        if known != Known::Other && !self.repeated.has(known) {
            return;
        }
        for index in first + 1..self.entries.len() {
            if self.is_named(&self.entries[index], known, name) {
                self.kill(index);
            }
        }
        self.repeated.remove(known);
    }

    fn kill(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        entry.flags |= DEAD;
        self.live -= 1;
        self.size -= entry.size();
        self.garbage += entry.size() + 4;
    }

    /// Finds out again which names are there, after removals.
    fn recount(&mut self) {
        let mut present = self.present.only_pseudo();
        let mut repeated = KnownSet::EMPTY;
        for entry in self.entries.iter().filter(|entry| entry.is_live() && entry.known != Known::Other) {
            if present.has(entry.known) {
                repeated.add(entry.known);
            }
            present.add(entry.known);
        }
        (self.present, self.repeated) = (present, repeated);
    }

    fn set_pseudo_with(&mut self, known: Known, write: impl FnOnce(&mut ValueWriter<'_>)) {
        if !self.make_room(0) {
            return;
        }
        let value_at = self.bytes.len();
        write(&mut ValueWriter {
            bytes: &mut self.bytes,
        });
        scrub(&mut self.bytes[value_at..]);
        self.set_pseudo(known, value_at, self.bytes.len() - value_at, 0);
    }

    #[inline]
    fn set_pseudo(&mut self, known: Known, value_at: usize, value_len: usize, flags: u8) {
        self.remove_pseudo(known);
        let entry = Entry {
            name_at: 0,
            value_at: value_at as u32,
            value_len: value_len as u32,
            name_len: known.as_str().len() as u16,
            known,
            flags,
        };
        self.live += 1;
        self.size += entry.size();
        self.present.add(known);
        self.pseudo[known as usize - 1] = entry;
    }

    fn remove_pseudo(&mut self, known: Known) -> bool {
        let was_present = self.present.has(known);
        if was_present {
            let entry = &self.pseudo[known as usize - 1];
            self.live -= 1;
            self.size -= entry.size();
            self.garbage += entry.value_len as usize;
            self.present.remove(known);
        }
        was_present
    }

    /// Writes a finished line at the tail; `None` if it cannot be described (see [`MAX_BYTES`]).
    fn write_line(
        &mut self,
        known: Known,
        name: &[u8],
        write: impl FnOnce(&mut ValueWriter<'_>),
    ) -> Option<Entry> {
        if name.is_empty() || name.len() > MAX_NAME_LEN || !self.make_room(name.len()) {
            return None;
        }
        let name_at = self.bytes.len();
        if known == Known::Other {
            self.bytes.extend_from_slice(name);
            scrub(&mut self.bytes[name_at..]);
            self.bytes.extend_from_slice(b": ");
        } else {
            self.bytes.extend_from_slice(known.line_start());
        }
        let value_at = self.bytes.len();
        write(&mut ValueWriter {
            bytes: &mut self.bytes,
        });
        scrub(&mut self.bytes[value_at..]);
        let value_len = self.bytes.len() - value_at;
        self.bytes.extend_from_slice(b"\r\n");
        if self.bytes.len() > MAX_BYTES {
            self.bytes.truncate(name_at);
            return None;
        }
        Some(Entry {
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_len: value_len as u32,
            name_len: name.len() as u16,
            known,
            flags: LINE,
        })
    }

    #[inline]
    fn make_room(&mut self, need: usize) -> bool {
        self.bytes.len() + need < MAX_BYTES
    }

    /// Keeps a map that is edited again and again from growing without end. Runs before an edit, while
    /// nobody holds an index.
    #[inline]
    fn tidy(&mut self) {
        if self.garbage > COMPACT_AT_BYTES || self.entries.len() > COMPACT_AT_ENTRIES {
            self.compact_if_wasteful();
        }
    }

    /// Rewrites a map in which most bytes or entries are leftovers of removed headers.
    #[cold]
    fn compact_if_wasteful(&mut self) {
        let dead = self.entries.len().saturating_sub(self.live as usize);
        if self.garbage > self.bytes.len() / 2 || dead > self.entries.len() / 2 {
            *self = self
                .iter()
                .map(|header| (header.name, header.value))
                .collect();
        }
    }
}
