//! Conditions of a list of matchers.

use super::facts::Facts;
use super::input::{Datum, Input};
use crate::hash::xxh64;
use crate::matching::{Cidr, TextMatch, ValueMatch};
use crate::RuntimeFraction;
use crate::cel::Program;
use std::sync::Arc;

/// `Predicate`
#[derive(Debug)]
pub enum Predicate {
    /// `single_predicate`
    Single(Input, Test),
    /// `and_matcher`
    All(Box<[Predicate]>),
    /// `or_matcher`
    Or(Box<[Predicate]>),
    /// `not_matcher`
    Not(Box<Predicate>),
}

/// What is asked of an input.
#[derive(Debug)]
pub enum Test {
    /// `value_match`
    Text(TextMatch),
    /// `input_matchers.ip`: an address in one of the ranges.
    Ip(Box<[Cidr]>),
    /// `input_matchers.runtime_fraction`: a part of the values.
    Fraction {
        /// How large a part.
        fraction: RuntimeFraction,
        /// For the hash of the value.
        seed: u64,
    },
    /// `input_matchers.consistent_hashing`: the value's hash, modulo `modulo`, is `threshold` or more.
    Hash {
        /// From here on.
        threshold: u64,
        /// Not zero.
        modulo: u64,
        /// For the hash of the value.
        seed: u64,
    },
    /// `input_matchers.metadata`
    Value {
        /// What is asked of the value.
        wanted: ValueMatch,
        /// The answer is turned round.
        invert: bool,
    },
    /// `CelMatcher`
    Cel(Arc<Program>),
    /// It is not built, and whoever has it is not started.
    Never,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// What it depends on has not come.
    NotYet,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::Yes } else { Truth::No }
    }
}

impl Predicate {
    /// Whether it holds. What comes later cannot change a `Yes` or `No`.
    pub fn holds(&self, facts: &Facts<'_>) -> Truth {
        match self {
            Predicate::Single(input, test) => match input.get(facts) {
                Datum::NotYet => Truth::NotYet,
                datum => test.holds(&datum, facts).into(),
            },
            Predicate::All(all) => all.iter().map(|one| one.holds(facts)).find(|truth| *truth != Truth::Yes).unwrap_or(Truth::Yes),
            Predicate::Or(any) => {
                let mut outcome = Truth::No;
                for one in any {
                    match one.holds(facts) {
                        Truth::Yes => return Truth::Yes,
                        Truth::NotYet => outcome = Truth::NotYet,
                        Truth::No => {}
                    }
                }
                outcome
            }
            Predicate::Not(one) => match one.holds(facts) {
                Truth::Yes => Truth::No,
                Truth::No => Truth::Yes,
                Truth::NotYet => Truth::NotYet,
            },
        }
    }

    pub(super) fn asks_for_response(&self) -> bool {
        match self {
            Predicate::Single(input, _) => input.is_of_response(),
            Predicate::All(list) | Predicate::Or(list) => list.iter().any(Predicate::asks_for_response),
            Predicate::Not(one) => one.asks_for_response(),
        }
    }
}

impl Test {
    fn holds(&self, datum: &Datum<'_>, facts: &Facts<'_>) -> bool {
        let hash = |seed: &u64| datum.with_text(|text| xxh64(text, *seed));
        match self {
            Test::Text(wanted) => datum.with_text(|text| wanted.matches(text)).unwrap_or(false),
            Test::Ip(ranges) => datum.address().is_some_and(|address| {
                // An IPv4 address that is written as IPv6 is one of IPv6 here, as on Envoy.
                ranges.iter().any(|range| range.is_ipv4() == address.is_ipv4() && range.contains(address))
            }),
            Test::Fraction { fraction, seed } => hash(seed).is_some_and(|hash| {
                let now = facts.runtime.map_or(fraction.default, |runtime| fraction.now(runtime));
                now.holds(hash)
            }),
            Test::Hash { threshold, modulo, seed } => hash(seed).is_some_and(|hash| hash.checked_rem(*modulo).is_some_and(|rest| rest >= *threshold)),
            Test::Value { wanted, invert } => matches!(datum, Datum::Value(value) if wanted.matches(value)) != *invert,
            // An expression looks at the whole exchange, not at the value.
            Test::Cel(program) => facts.stream.is_some_and(|cx| program.holds(cx)),
            Test::Never => false,
        }
    }
}
