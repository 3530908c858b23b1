//! Address ranges that lead somewhere (`xds.type.matcher.v3.IPMatcher`).

use super::{Facts, OnMatch, Outcome};
use crate::matching::Cidr;
use std::collections::HashMap;
use std::net::IpAddr;

/// Ranges, of which the narrowest is asked first.
#[derive(Debug)]
pub struct RangeMap<A> {
    /// Where ranges lead, and whether only as the narrowest one.
    targets: Box<[(OnMatch<A>, bool)]>,
    /// Targets of a range, in their order.
    ranges: HashMap<Cidr, Vec<usize>>,
    /// How many bits ranges have, by family: most first.
    bits: [Box<[u8]>; 2],
}

impl<A> RangeMap<A> {
    /// Ranges, where they lead, and whether they are `exclusive`: taken only when no narrower range holds the address.
    pub fn new(entries: Vec<(Vec<Cidr>, OnMatch<A>, bool)>) -> RangeMap<A> {
        let mut ranges: HashMap<Cidr, Vec<usize>> = HashMap::new();
        let mut targets = Vec::with_capacity(entries.len());
        for (at, (of, on_match, exclusive)) in entries.into_iter().enumerate() {
            for range in of {
                let known = ranges.entry(range).or_default();
                if known.last() != Some(&at) {
                    known.push(at);
                }
            }
            targets.push((on_match, exclusive));
        }
        let bits = [true, false].map(|v4| {
            let mut bits: Vec<u8> = ranges.keys().filter(|range| range.is_ipv4() == v4).map(Cidr::bits).collect();
            bits.sort_unstable_by(|a, b| b.cmp(a));
            bits.dedup();
            bits.into()
        });
        RangeMap { targets: targets.into(), ranges, bits }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &OnMatch<A>> {
        self.targets.iter().map(|(on_match, _)| on_match)
    }

    pub(super) fn find(&self, address: IpAddr, facts: &Facts<'_>) -> Outcome<'_, A> {
        let bits = &self.bits[usize::from(address.is_ipv6())];
        let fitting = bits.iter().filter_map(|bits| self.ranges.get(&Cidr::new(address, *bits))).flatten();
        let mut narrowest = true;
        for (on_match, exclusive) in fitting.filter_map(|at| self.targets.get(*at)) {
            if *exclusive && !narrowest {
                continue;
            }
            narrowest = false;
            match on_match.follow(facts) {
                Outcome::None => {}
                found => return found,
            }
        }
        Outcome::None
    }
}
