//! Names of servers that lead somewhere (`xds.type.matcher.v3.ServerNameMatcher`).

use super::{Facts, OnMatch, Outcome};
use std::collections::HashMap;

/// Names: `a.example.com`, `*.example.com`, `*`. The most specific is asked first. Letter case counts: the names that
/// clients ask for are in lower case by then.
#[derive(Debug)]
pub struct NameMap<A> {
    targets: Box<[OnMatch<A>]>,
    exact: HashMap<Box<[u8]>, usize>,
    /// By what follows `*.`.
    wildcards: HashMap<Box<[u8]>, usize>,
    any: Option<usize>,
}

impl<A> NameMap<A> {
    /// Names and where they lead; of a name that is there twice, the first.
    pub fn new(entries: Vec<(Vec<String>, OnMatch<A>)>) -> NameMap<A> {
        let mut map = NameMap { targets: Box::default(), exact: HashMap::new(), wildcards: HashMap::new(), any: None };
        let mut targets = Vec::with_capacity(entries.len());
        for (at, (names, on_match)) in entries.into_iter().enumerate() {
            for name in names {
                if name == "*" {
                    map.any.get_or_insert(at);
                } else if let Some(suffix) = name.strip_prefix("*.") {
                    map.wildcards.entry(suffix.as_bytes().into()).or_insert(at);
                } else {
                    map.exact.entry(name.into_bytes().into()).or_insert(at);
                }
            }
            targets.push(on_match);
        }
        map.targets = targets.into();
        map
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &OnMatch<A>> {
        self.targets.iter()
    }

    pub(super) fn find(&self, name: &[u8], facts: &Facts<'_>) -> Outcome<'_, A> {
        let suffixes = (0..name.len()).filter(|at| name[*at] == b'.').filter_map(|at| self.wildcards.get(&name[at + 1..]));
        for at in self.exact.get(name).into_iter().chain(suffixes).chain(&self.any) {
            match self.targets.get(*at).map_or(Outcome::None, |on_match| on_match.follow(facts)) {
                Outcome::None => {}
                found => return found,
            }
        }
        Outcome::None
    }
}
