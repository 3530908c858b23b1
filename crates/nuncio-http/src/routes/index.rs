//! Which routes of a virtual host may take a path, in the order of the configuration.
//!
//! Every route is filed under bytes that its paths begin with: exact paths, prefixes, and the literal beginning of
//! expressions and templates. A walk along the request's path gives a few ascending lists; merged, they are the
//! candidates. The index never decides: whoever asks checks each candidate in full, so that the answer is the
//! linear scan's as long as no route is left out.

use super::config::Route;
use super::matcher::PathMatch;
use nuncio_core::matching::Fold;
use super::trie::{Key, Trie};

/// With so few routes the scan is as fast as the walk, and needs no memory.
const WORTH_AN_INDEX: usize = 8;
/// Lists merged without allocating: routes nested deeper than this cost an allocation per lookup.
const INLINE_LISTS: usize = 16;

#[derive(Debug)]
pub(super) struct PathIndex {
    /// Routes whose letter case counts.
    plain: Trie,
    /// Those for which it does not, in lower case.
    folded: Trie,
    /// Candidates for every path.
    anywhere: Box<[u32]>,
}

/// The bytes that every path a route takes begins with.
pub(super) struct Beginning {
    pub(super) bytes: Box<[u8]>,
    /// The whole path is known.
    pub(super) whole: bool,
    pub(super) ignore_case: bool,
}

impl Beginning {
    /// `None` if it may take any path, or none.
    pub(super) fn of(path: &PathMatch) -> Option<Beginning> {
        let text = |text: &Fold, whole| Beginning { bytes: text.text().into(), whole, ignore_case: text.ignores_case() };
        let literal = |bytes: Box<[u8]>| Beginning { bytes, whole: false, ignore_case: false };
        match path {
            PathMatch::Exact(path) => Some(text(path, true)),
            PathMatch::Prefix(prefix) | PathMatch::Separated(prefix) => Some(text(prefix, false)),
            PathMatch::Regex(pattern) => Some(literal(pattern.literal_prefix())),
            // Templates see parameters that the path of the index may lack; what is before the first is in both.
            PathMatch::Template(template) => {
                let bytes = template.literal_prefix().split(|&b| b == b';').next().unwrap_or_default();
                Some(literal(bytes.into()))
            }
            PathMatch::Connect => None,
        }
    }
}

impl PathIndex {
    /// Files the routes; `None` where a scan does as well.
    pub(super) fn build(routes: &[Route]) -> Option<Box<PathIndex>> {
        if routes.len() < WORTH_AN_INDEX {
            return None;
        }
        let (mut plain, mut folded, mut anywhere) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, route) in (0u32..).zip(routes) {
            match Beginning::of(&route.matcher.path) {
                Some(Beginning { bytes, whole, ignore_case: false }) if !bytes.is_empty() => {
                    plain.push(Key { bytes, entry, ends: whole });
                }
                Some(Beginning { bytes, whole, ignore_case: true }) => {
                    folded.push(Key { bytes: bytes.to_ascii_lowercase().into(), entry, ends: whole });
                }
                _ => anywhere.push(entry),
            }
        }
        Some(Box::new(PathIndex {
            plain: Trie::build(plain),
            folded: Trie::build(folded),
            anywhere: anywhere.into_boxed_slice(),
        }))
    }

    /// The routes that may take `path`, ascending.
    #[inline]
    pub(super) fn candidates(&self, path: &[u8]) -> Candidates<'_> {
        let mut candidates = Candidates { lists: [&[]; INLINE_LISTS], used: 0, more: Vec::new() };
        candidates.add(&self.anywhere);
        self.plain.walk(path.len(), |at| path[at], |_, entries| candidates.add(entries));
        if !self.folded.is_empty() {
            self.folded.walk(path.len(), |at| path[at].to_ascii_lowercase(), |_, entries| candidates.add(entries));
        }
        candidates
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.plain.memory_bytes() + self.folded.memory_bytes() + self.anywhere.len() * 4
    }
}

/// Ascending lists of route numbers, given out as one.
#[derive(Debug)]
pub(super) struct Candidates<'i> {
    lists: [&'i [u32]; INLINE_LISTS],
    used: usize,
    more: Vec<&'i [u32]>,
}

impl<'i> Candidates<'i> {
    #[inline]
    fn add(&mut self, list: &'i [u32]) {
        if list.is_empty() {
            return;
        }
        match self.lists.get_mut(self.used) {
            Some(place) => {
                *place = list;
                self.used += 1;
            }
            None => self.more.push(list),
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let lists = self.lists[..self.used].iter_mut().chain(&mut self.more);
        let next = lists.filter(|list| !list.is_empty()).min_by_key(|list| list[0])?;
        let (first, rest) = next.split_first()?;
        *next = rest;
        Some(*first)
    }
}
