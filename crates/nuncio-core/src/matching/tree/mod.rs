//! The matcher that routes, filters and listeners share (`xds.type.matcher.v3.Matcher`).
//!
//! A [`MatchTree`] leads from what is known of a request or a connection ([`Facts`]) to an action, whatever that is to
//! its user. It is made once from a configuration and never changes; asking it takes no lock, and allocates only where
//! an input has several values that are compared joined. What has not come yet (a response, trailers) makes the answer
//! [`Outcome::NotYet`] where it matters.
//!
//! The order of questions is Envoy's: a list's first match, the longest prefix, the narrowest range, the most specific
//! name; where what is found there leads to nothing, the next is tried, and [`MatchTree::otherwise`] is last.

mod facts;
mod input;
mod predicate;
mod ranges;
mod server_names;
#[cfg(test)]
mod tests;

pub use facts::{ConnectionFacts, Facts};
pub use input::{Datum, Input};
pub use predicate::{Predicate, Test, Truth};
pub use ranges::RangeMap;
pub use server_names::NameMap;

use std::collections::HashMap;

/// A matcher whose actions are `A`.
#[derive(Debug)]
pub struct MatchTree<A> {
    /// How the way is found.
    pub choice: Choice<A>,
    /// `on_no_match`
    pub otherwise: Option<OnMatch<A>>,
}

/// How a tree finds its way.
#[derive(Debug)]
pub enum Choice<A> {
    /// `matcher_list`: the first whose predicate holds.
    List(Box<[(Predicate, OnMatch<A>)]>),
    /// `exact_match_map`
    Exact(Input, HashMap<Box<[u8]>, OnMatch<A>>),
    /// `prefix_match_map`
    Prefix(Input, PrefixMap<A>),
    /// `IPMatcher`
    Ranges(Input, RangeMap<A>),
    /// `ServerNameMatcher`
    Names(Input, NameMap<A>),
}

/// Where a match leads.
#[derive(Debug)]
pub struct OnMatch<A> {
    /// What is found here is noted at most; the search goes on.
    pub keep_matching: bool,
    /// What is found here.
    pub then: Then<A>,
}

/// What a match has found.
#[derive(Debug)]
pub enum Then<A> {
    /// An action.
    Action(A),
    /// Another matcher, which may find nothing.
    Tree(Box<MatchTree<A>>),
}

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<'t, A> {
    /// This is to be done.
    Match(&'t A),
    /// Nothing matches.
    None,
    /// It depends on what has not come yet.
    NotYet,
}

impl<'t, A> Outcome<'t, A> {
    /// The action, if one was found.
    pub fn action(self) -> Option<&'t A> {
        match self {
            Outcome::Match(action) => Some(action),
            Outcome::None | Outcome::NotYet => None,
        }
    }

    fn or_else(self, next: impl FnOnce() -> Outcome<'t, A>) -> Outcome<'t, A> {
        match self {
            Outcome::None => next(),
            found => found,
        }
    }
}

impl<A> OnMatch<A> {
    /// Leads to an action.
    pub fn action(action: A) -> OnMatch<A> {
        OnMatch { keep_matching: false, then: Then::Action(action) }
    }

    fn follow(&self, facts: &Facts<'_>) -> Outcome<'_, A> {
        let found = match &self.then {
            Then::Action(action) => Outcome::Match(action),
            Then::Tree(tree) => tree.find(facts),
        };
        match found {
            Outcome::Match(_) if self.keep_matching => Outcome::None,
            found => found,
        }
    }
}

impl<A> MatchTree<A> {
    /// The action for these facts.
    pub fn find(&self, facts: &Facts<'_>) -> Outcome<'_, A> {
        let found = match &self.choice {
            Choice::List(list) => first(list, facts),
            Choice::Exact(input, map) => with(input, facts, |datum| {
                datum.with_text(|text| map.get(text)).flatten().map_or(Outcome::None, |found| found.follow(facts))
            }),
            Choice::Prefix(input, map) => with(input, facts, |datum| datum.with_text(|text| map.find(text, facts)).unwrap_or(Outcome::None)),
            Choice::Ranges(input, map) => with(input, facts, |datum| datum.address().map_or(Outcome::None, |address| map.find(address, facts))),
            Choice::Names(input, map) => with(input, facts, |datum| datum.with_text(|text| map.find(text, facts)).unwrap_or(Outcome::None)),
        };
        found.or_else(|| self.otherwise.as_ref().map_or(Outcome::None, |otherwise| otherwise.follow(facts)))
    }

    /// Everything that this level may lead to.
    fn arms(&self) -> Vec<&OnMatch<A>> {
        let mut arms: Vec<&OnMatch<A>> = match &self.choice {
            Choice::List(list) => list.iter().map(|(_, on_match)| on_match).collect(),
            Choice::Exact(_, map) => map.values().collect(),
            Choice::Prefix(_, map) => map.entries.values().collect(),
            Choice::Ranges(_, map) => map.all().collect(),
            Choice::Names(_, map) => map.all().collect(),
        };
        arms.extend(&self.otherwise);
        arms
    }

    /// Calls `see` with each action of the tree.
    pub fn each_action<'t>(&'t self, see: &mut dyn FnMut(&'t A)) {
        for on_match in self.arms() {
            match &on_match.then {
                Then::Action(action) => see(action),
                Then::Tree(tree) => tree.each_action(see),
            }
        }
    }

    /// Whether only a response can tell, for some requests.
    pub fn asks_for_response(&self) -> bool {
        let own = match &self.choice {
            Choice::List(list) => list.iter().any(|(predicate, _)| predicate.asks_for_response()),
            Choice::Exact(input, _) | Choice::Prefix(input, _) | Choice::Ranges(input, _) | Choice::Names(input, _) => input.is_of_response(),
        };
        own || self.arms().iter().any(|on_match| matches!(&on_match.then, Then::Tree(tree) if tree.asks_for_response()))
    }
}

fn first<'t, A>(list: &'t [(Predicate, OnMatch<A>)], facts: &Facts<'_>) -> Outcome<'t, A> {
    for (predicate, on_match) in list {
        match predicate.holds(facts) {
            Truth::NotYet => return Outcome::NotYet,
            Truth::No => {}
            Truth::Yes => match on_match.follow(facts) {
                Outcome::None => {}
                found => return found,
            },
        }
    }
    Outcome::None
}

/// Looks up what an input gives, once it can be told.
fn with<'t, A>(input: &Input, facts: &Facts<'_>, look: impl FnOnce(Datum<'_>) -> Outcome<'t, A>) -> Outcome<'t, A> {
    match input.get(facts) {
        Datum::NotYet => Outcome::NotYet,
        datum => look(datum),
    }
}

/// `prefix_match_map`: the longest prefix is asked first.
#[derive(Debug)]
pub struct PrefixMap<A> {
    entries: HashMap<Box<[u8]>, OnMatch<A>>,
    /// Lengths of prefixes that there are, longest first.
    lengths: Box<[usize]>,
}

impl<A> PrefixMap<A> {
    /// A map of these prefixes.
    pub fn new(entries: HashMap<Box<[u8]>, OnMatch<A>>) -> PrefixMap<A> {
        let mut lengths: Vec<usize> = entries.keys().map(|prefix| prefix.len()).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        PrefixMap { entries, lengths: lengths.into() }
    }

    fn find(&self, text: &[u8], facts: &Facts<'_>) -> Outcome<'_, A> {
        let fitting = self.lengths.iter().filter_map(|length| self.entries.get(text.get(..*length)?));
        for found in fitting {
            match found.follow(facts) {
                Outcome::None => {}
                found => return found,
            }
        }
        Outcome::None
    }
}
