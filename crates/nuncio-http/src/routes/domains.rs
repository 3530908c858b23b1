//! Which virtual host a host name belongs to: exact, then the longest `*.x`, then the longest `x.*`, then `*`.
//!
//! A lookup costs one hash of the name and, where there are wildcards, a walk through a trie; the number of
//! virtual hosts does not matter, and nothing is allocated. Letter case does not count.

use super::trie::{Key, Trie};

/// Virtual hosts by domain.
#[derive(Debug, Default)]
pub(super) struct Domains {
    exact: ExactDomains,
    /// `*.x`, spelled backwards.
    suffixes: Trie,
    /// `x.*`
    prefixes: Trie,
    any: Option<u32>,
}

/// How a domain came to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainMatch {
    /// The name itself.
    Exact,
    /// `*.x`
    Suffix,
    /// `x.*`
    Prefix,
    /// `*`
    Any,
}

/// A domain that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Another virtual host has it.
    Domain,
    /// Another virtual host has `*`.
    Any,
}

impl Domains {
    /// Indexes `(domain, virtual host)` pairs; `refuse` is told the place in the list of what is taken already.
    pub(super) fn build<'d>(
        list: impl Iterator<Item = (&'d str, u32)>,
        mut refuse: impl FnMut(usize, Taken),
    ) -> Domains {
        let mut domains = Domains::default();
        let (mut suffixes, mut prefixes) = (Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        for (place, (domain, host)) in list.enumerate() {
            let domain = domain.to_ascii_lowercase();
            if domain == "*" {
                if domains.any.replace(host).is_some() {
                    refuse(place, Taken::Any);
                }
                continue;
            }
            if !seen.insert(domain.clone()) {
                refuse(place, Taken::Domain);
                continue;
            }
            if let Some(suffix) = domain.strip_prefix('*') {
                let bytes = suffix.bytes().rev().collect();
                suffixes.push(Key { bytes, entry: host, ends: false });
            } else if let Some(prefix) = domain.strip_suffix('*') {
                prefixes.push(Key { bytes: prefix.as_bytes().into(), entry: host, ends: false });
            } else {
                domains.exact.list.push((domain.into_boxed_str(), host));
            }
        }
        domains.exact.index();
        (domains.suffixes, domains.prefixes) = (Trie::build(suffixes), Trie::build(prefixes));
        domains
    }

    /// The virtual host of a name.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<(u32, DomainMatch)> {
        if let Some(host) = self.exact.find(name) {
            return Some((host, DomainMatch::Exact));
        }
        if let Some(host) = deepest(&self.suffixes, name.len(), |at| name[name.len() - 1 - at]) {
            return Some((host, DomainMatch::Suffix));
        }
        if let Some(host) = deepest(&self.prefixes, name.len(), |at| name[at]) {
            return Some((host, DomainMatch::Prefix));
        }
        self.any.map(|host| (host, DomainMatch::Any))
    }

    /// The virtual host of `*`, if there is nothing but it: then the name does not matter, nor whether there is one.
    pub(super) fn only(&self) -> Option<u32> {
        let alone = self.exact.list.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty();
        self.any.filter(|_| alone)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.exact.memory_bytes() + self.suffixes.memory_bytes() + self.prefixes.memory_bytes()
    }
}

/// The entry of the longest wildcard; `*` stands for one character at least.
fn deepest(trie: &Trie, len: usize, byte: impl Fn(usize) -> u8) -> Option<u32> {
    let mut found = None;
    trie.walk(
        len,
        |at| byte(at).to_ascii_lowercase(),
        |depth, entries| {
            if depth < len {
                found = entries.first().copied();
            }
        },
    );
    found
}

/// An open-addressing table that hashes and compares without regard to letter case, so that a lookup need not
/// make a lower-case copy of the name.
#[derive(Debug, Default)]
struct ExactDomains {
    list: Vec<(Box<str>, u32)>,
    /// Index + 1 into `list`; at most half full, a power of two long.
    slots: Box<[u32]>,
}

impl ExactDomains {
    fn index(&mut self) {
        self.list.shrink_to_fit();
        if self.list.is_empty() {
            return;
        }
        self.slots = vec![0; (self.list.len() * 2).next_power_of_two()].into_boxed_slice();
        for (index, (domain, _)) in self.list.iter().enumerate() {
            let mut slot = fold_hash(domain.as_bytes()) as usize & (self.slots.len() - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = index as u32 + 1;
        }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mut slot = fold_hash(name) as usize & (self.slots.len() - 1);
        loop {
            let (domain, host) = &self.list[(self.slots[slot] as usize).checked_sub(1)?];
            if domain.as_bytes().eq_ignore_ascii_case(name) {
                return Some(*host);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn memory_bytes(&self) -> usize {
        self.slots.len() * 4 + self.list.iter().map(|(domain, _)| domain.len() + 24).sum::<usize>()
    }
}

/// A hash in which letter case does not count. Clients cannot add to the table, so a plain hash will do.
#[inline]
fn fold_hash(name: &[u8]) -> u64 {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = name.len() as u64;
    let (words, rest) = name.as_chunks::<8>();
    for word in words {
        hash = (hash ^ (u64::from_le_bytes(*word) | FOLD)).wrapping_mul(MULTIPLIER).rotate_left(29);
    }
    for byte in rest {
        hash = (hash ^ u64::from(byte | 0x20)).wrapping_mul(MULTIPLIER).rotate_left(29);
    }
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(list: &[(&str, u32)]) -> Domains {
        let mut refused = Vec::new();
        let built = Domains::build(list.iter().copied(), |place, taken| refused.push((place, taken)));
        assert_eq!(refused, []);
        built
    }

    fn found(domains: &Domains, name: &str) -> Option<u32> {
        domains.find(name.as_bytes()).map(|(host, _)| host)
    }

    #[test]
    fn the_most_specific_domain_wins() {
        let domains = domains(&[
            ("www.foo.com", 0),
            ("*.foo.com", 1),
            ("*-bar.foo.com", 2),
            ("foo.*", 3),
            ("*", 4),
            ("www.foo.com:8080", 5),
            ("foo.b*", 6),
        ]);
        for (name, host) in [
            ("www.foo.com", 0),
            ("WWW.Foo.com", 0),
            ("www.foo.com:8080", 5),
            ("www.foo.com:81", 4),
            ("api.foo.com", 1),
            ("API.FOO.COM", 1),
            ("x-bar.foo.com", 2),
            ("-bar.foo.com", 1),
            (".foo.com", 4),
            ("foo.com", 3),
            ("foo.bar", 6),
            ("foo.b", 3),
            ("foo.", 4),
            ("foo.org:99", 3),
            ("other", 4),
            ("", 4),
        ] {
            assert_eq!(found(&domains, name), Some(host), "{name}");
        }
    }

    #[test]
    fn without_a_wildcard_unknown_names_find_nothing() {
        let domains = domains(&[("a.test", 0)]);
        assert_eq!(found(&domains, "b.test"), None);
        assert_eq!(domains.only(), None);
        assert_eq!(Domains::default().find(b"x"), None);
    }

    #[test]
    fn what_is_taken_is_told() {
        let mut refused = Vec::new();
        let list = [("*", 0), ("a", 0), ("A", 1), ("*", 1), ("*.b", 0), ("*.B", 1)];
        Domains::build(list.into_iter(), |place, taken| refused.push((place, taken)));
        assert_eq!(refused, [(2, Taken::Domain), (3, Taken::Any), (5, Taken::Domain)]);
    }

    #[test]
    fn many_domains_are_all_found() {
        let names: Vec<String> = (0..5000).map(|n| format!("host-{n}.example.com")).collect();
        let domains = Domains::build(names.iter().zip(0..).map(|(name, n)| (name.as_str(), n)), |_, _| {});
        for (n, name) in names.iter().enumerate() {
            assert_eq!(found(&domains, &name.to_uppercase()), Some(n as u32));
        }
        assert_eq!(found(&domains, "host-5000.example.com"), None);
    }
}
