//! A set of well-known names, one bit each.
//!
//! [`Known::Other`] is no name: it is never in a set.

use super::Known;

const WORDS: usize = Known::COUNT.div_ceil(64);

/// A set of well-known names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KnownSet([u64; WORDS]);

impl KnownSet {
    /// No name.
    pub const EMPTY: KnownSet = KnownSet([0; WORDS]);

    /// The set of these names.
    pub const fn of(names: &[Known]) -> KnownSet {
        let mut set = KnownSet::EMPTY;
        let mut i = 0;
        while i < names.len() {
            set.add(names[i]);
            i += 1;
        }
        set
    }

    /// Whether the name is in the set.
    #[inline]
    pub const fn has(&self, known: Known) -> bool {
        self.0[known as usize / 64] >> (known as usize % 64) & 1 != 0
    }

    /// Adds a name; [`Known::Other`] adds nothing.
    #[inline]
    pub const fn add(&mut self, known: Known) {
        self.0[known as usize / 64] |= 1 << (known as usize % 64);
        self.0[0] &= !1;
    }

    /// Takes a name out.
    #[inline]
    pub const fn remove(&mut self, known: Known) {
        self.0[known as usize / 64] &= !(1 << (known as usize % 64));
    }

    /// Whether there is no name in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// The names in both sets.
    #[inline]
    pub fn and(&self, other: &KnownSet) -> KnownSet {
        KnownSet(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    /// The names that are not in the other set.
    #[inline]
    pub fn minus(&self, other: &KnownSet) -> KnownSet {
        KnownSet(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    /// The names that are no pseudo-headers'.
    #[inline]
    pub(super) fn without_pseudo(&self) -> KnownSet {
        let mut set = *self;
        set.0[0] &= !PSEUDO_BITS;
        set
    }

    /// The pseudo-headers' names.
    #[inline]
    pub(super) fn only_pseudo(&self) -> KnownSet {
        let mut set = KnownSet::EMPTY;
        set.0[0] = self.0[0] & PSEUDO_BITS;
        set
    }
}

/// Pseudo-headers are numbered `1..=PSEUDO`.
const PSEUDO_BITS: u64 = (1 << (Known::PSEUDO + 1)) - 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_added_and_never_other() {
        let mut set = KnownSet::of(&[Known::Method, Known::XEnvoyUpstreamStreamDurationMs]);
        set.add(Known::Other);
        let held: Vec<Known> = Known::all().filter(|known| set.has(*known)).collect();
        assert_eq!(held, [Known::Method, Known::XEnvoyUpstreamStreamDurationMs]);
        assert!(!set.has(Known::Other));
        assert_eq!(set.only_pseudo(), KnownSet::of(&[Known::Method]));
        assert_eq!(set.minus(&set.only_pseudo()), set.without_pseudo());
        set.remove(Known::Method);
        assert!(!set.is_empty() && set.and(&KnownSet::of(&[Known::Path])).is_empty());
    }
}
