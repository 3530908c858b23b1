//! Runtime values as request-time code asks for them.
//!
//! Configuration names a key and a default ([`RuntimeFraction`], [`RuntimeUint`], [`RuntimeDouble`], [`RuntimeFlag`]); what
//! the key has been given, if anything, is in the worker's [`RuntimeView`]. Each worker has its own reference to the values,
//! replaced by a message when they change: asking takes no lock, and no look-up where no key is configured. Where values
//! come from (layers, files, the admin interface) is `nuncio-config`'s business.

use std::{
    cell::{Ref, RefCell},
    collections::HashMap,
    sync::Arc,
};

/// A part of all requests (`FractionalPercent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    /// How many.
    pub numerator: u32,
    /// Of how many: 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

impl Fraction {
    /// All requests.
    pub const ALL: Fraction = Fraction { numerator: 100, denominator: 100 };

    /// Whether that is every request.
    #[inline]
    pub fn is_all(self) -> bool {
        self.denominator != 0 && self.numerator >= self.denominator
    }

    /// Whether the request that drew `random` is among them.
    #[inline]
    pub fn holds(self, random: u64) -> bool {
        self.denominator != 0 && random % u64::from(self.denominator) < u64::from(self.numerator)
    }
}

/// What a key has been given, in all the forms that it can be read in.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RuntimeValue {
    /// As a number.
    pub number: Option<f64>,
    /// As a boolean: `true` and `false` only.
    pub flag: Option<bool>,
    /// As a fraction; a plain number is a percentage.
    pub fraction: Option<Fraction>,
}

impl RuntimeValue {
    /// As a number of things: what stands before the point. `None` if it is negative.
    pub fn uint(&self) -> Option<u64> {
        self.number.filter(|number| *number >= 0.0).map(|number| number as u64)
    }
}

/// All values at one moment, by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuntimeValues(HashMap<Box<str>, RuntimeValue>);

impl RuntimeValues {
    /// The value under a key; none under the empty key.
    #[inline]
    pub fn get(&self, key: &str) -> Option<&RuntimeValue> {
        if key.is_empty() || self.0.is_empty() { None } else { self.0.get(key) }
    }

    /// Whether any key begins so.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.keys().any(|key| key.starts_with(prefix))
    }
}

impl FromIterator<(Box<str>, RuntimeValue)> for RuntimeValues {
    fn from_iter<I: IntoIterator<Item = (Box<str>, RuntimeValue)>>(values: I) -> Self {
        RuntimeValues(values.into_iter().collect())
    }
}

/// One worker's view of the runtime.
#[derive(Debug, Default)]
pub struct RuntimeView(RefCell<Arc<RuntimeValues>>);

impl RuntimeView {
    /// The values now. Let go of it before anything else runs.
    #[inline]
    pub fn values(&self) -> Ref<'_, RuntimeValues> {
        Ref::map(self.0.borrow(), |values| &**values)
    }

    /// Puts new values in the place of the old.
    pub fn set(&self, values: Arc<RuntimeValues>) {
        self.0.replace(values);
    }
}

/// A part of all requests that a runtime key may change (`RuntimeFractionalPercent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeFraction {
    /// Without a value in the runtime.
    pub default: Fraction,
    /// The runtime key; empty for none.
    pub key: Box<str>,
}

impl RuntimeFraction {
    /// The fraction that counts.
    #[inline]
    pub fn now(&self, runtime: &RuntimeValues) -> Fraction {
        runtime.get(&self.key).and_then(|value| value.fraction).unwrap_or(self.default)
    }

    /// Whether the request that drew `random` is among them.
    #[inline]
    pub fn holds(&self, random: u64, runtime: &RuntimeValues) -> bool {
        self.now(runtime).holds(random)
    }
}

/// A number that a runtime key may change (`RuntimeUInt32` and the like).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeUint {
    /// Without a value in the runtime.
    pub default: u64,
    /// The runtime key; empty for none.
    pub key: Box<str>,
}

impl RuntimeUint {
    /// The number that counts.
    #[inline]
    pub fn now(&self, runtime: &RuntimeValues) -> u64 {
        runtime.get(&self.key).and_then(RuntimeValue::uint).unwrap_or(self.default)
    }
}

impl From<u64> for RuntimeUint {
    fn from(default: u64) -> Self {
        RuntimeUint { default, key: Box::default() }
    }
}

/// A number with a fraction that a runtime key may change (`RuntimeDouble`, `RuntimePercent`).
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeDouble {
    /// Without a value in the runtime.
    pub default: f64,
    /// The runtime key; empty for none.
    pub key: Box<str>,
}

impl RuntimeDouble {
    /// The number that counts.
    #[inline]
    pub fn now(&self, runtime: &RuntimeValues) -> f64 {
        runtime.get(&self.key).and_then(|value| value.number).unwrap_or(self.default)
    }
}

/// A switch that a runtime key may change (`RuntimeFeatureFlag`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeFlag {
    /// Without a value in the runtime.
    pub default: bool,
    /// The runtime key; empty for none.
    pub key: Box<str>,
}

impl RuntimeFlag {
    /// The position that counts.
    #[inline]
    pub fn now(&self, runtime: &RuntimeValues) -> bool {
        runtime.get(&self.key).and_then(|value| value.flag).unwrap_or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> RuntimeValues {
        let percent = |numerator| Some(Fraction { numerator, denominator: 100 });
        let all = [
            ("number", RuntimeValue { number: Some(7.9), fraction: percent(7), ..RuntimeValue::default() }),
            ("below", RuntimeValue { number: Some(-3.0), ..RuntimeValue::default() }),
            ("flag", RuntimeValue { flag: Some(true), ..RuntimeValue::default() }),
        ];
        all.into_iter().map(|(key, value)| (key.into(), value)).collect()
    }

    #[test]
    fn a_fraction_is_of_its_denominator_and_may_be_changed_at_run_time() {
        let of = |key: &str| RuntimeFraction { default: Fraction { numerator: 30, denominator: 100 }, key: key.into() };
        let (none, some) = (RuntimeValues::default(), values());
        assert!(of("").holds(129, &some) && !of("").holds(130, &some));
        assert!(of("number").holds(29, &none) && of("other").holds(29, &some));
        assert!(of("number").holds(6, &some) && !of("number").holds(7, &some));
        assert!(of("flag").holds(29, &some), "a boolean is no fraction");
    }

    #[test]
    fn a_value_that_is_none_of_the_kind_leaves_the_default() {
        let runtime = values();
        let uint = |key: &str| RuntimeUint { default: 1, key: key.into() }.now(&runtime);
        assert_eq!([uint("number"), uint("below"), uint("flag"), uint("")], [7, 1, 1, 1]);
        let flag = |key: &str| RuntimeFlag { default: false, key: key.into() }.now(&runtime);
        assert!(flag("flag") && !flag("number"));
        let double = |key: &str| RuntimeDouble { default: 0.5, key: key.into() }.now(&runtime);
        assert_eq!([double("number"), double("below"), double("flag")], [7.9, -3.0, 0.5]);
    }
}
