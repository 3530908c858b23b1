//! Matching a value of metadata (`envoy.type.matcher.v3.MetadataMatcher`, `ValueMatcher`).

use super::text::TextMatch;
use crate::metadata::{Metadata, MetadataValue};

/// `MetadataMatcher`: a value found by its path, and what is asked of it.
#[derive(Debug, Clone)]
pub struct MetadataMatcher {
    /// Whose metadata: `filter`.
    pub namespace: Box<str>,
    /// Keys from the outside in; at least one.
    pub path: Box<[Box<str>]>,
    /// What is asked of the value.
    pub value: ValueMatch,
    /// The answer is turned round.
    pub invert: bool,
}

/// `ValueMatcher`. A value that is not there satisfies none of these.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// It is null.
    Null,
    /// It is this number.
    Number(f64),
    /// It is a number from the first to before the second.
    Range(f64, f64),
    /// It is a text that matches.
    Text(TextMatch),
    /// It is this boolean.
    Bool(bool),
    /// It is there; with false it matches nothing, as on Envoy.
    Present(bool),
    /// It is a list, and one of its items matches.
    OneOf(Box<ValueMatch>),
    /// One of these matches.
    Or(Box<[ValueMatch]>),
}

impl MetadataMatcher {
    /// Whether the metadata satisfy it.
    pub fn matches(&self, metadata: &Metadata) -> bool {
        let keys = self.path.iter().map(|key| &**key);
        let value = metadata.get(&*self.namespace).and_then(|value| value.at(keys));
        value.is_some_and(|value| self.value.matches(value)) != self.invert
    }
}

impl ValueMatch {
    /// Whether a value that is there satisfies it.
    pub fn matches(&self, value: &MetadataValue) -> bool {
        match (self, value) {
            (ValueMatch::Null, MetadataValue::Null) => true,
            (ValueMatch::Number(wanted), MetadataValue::Number(n)) => n == wanted,
            (ValueMatch::Range(start, end), MetadataValue::Number(n)) => start <= n && n < end,
            (ValueMatch::Text(wanted), MetadataValue::Text(text)) => wanted.matches(text.as_bytes()),
            (ValueMatch::Bool(wanted), MetadataValue::Bool(b)) => b == wanted,
            (ValueMatch::Present(wanted), _) => *wanted,
            (ValueMatch::OneOf(wanted), MetadataValue::List(list)) => list.iter().any(|item| wanted.matches(item)),
            (ValueMatch::Or(any), value) => any.iter().any(|wanted| wanted.matches(value)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let fields = [
            ("n".to_owned(), MetadataValue::Number(2.0)),
            ("list".to_owned(), MetadataValue::List(vec![MetadataValue::Text("a".to_owned()), MetadataValue::Bool(true)])),
            ("null".to_owned(), MetadataValue::Null),
        ];
        [("ns".to_owned(), MetadataValue::Struct(fields.into()))].into()
    }

    fn matches(key: &str, value: ValueMatch, invert: bool) -> bool {
        MetadataMatcher { namespace: "ns".into(), path: [key.into()].into(), value, invert }.matches(&metadata())
    }

    #[test]
    fn values_match_by_kind() {
        assert!(matches("n", ValueMatch::Number(2.0), false) && matches("n", ValueMatch::Range(2.0, 3.0), false));
        assert!(!matches("n", ValueMatch::Range(1.0, 2.0), false) && !matches("n", ValueMatch::Bool(true), false));
        assert!(matches("list", ValueMatch::OneOf(Box::new(ValueMatch::Bool(true))), false));
        assert!(matches("null", ValueMatch::Null, false) && matches("null", ValueMatch::Present(true), false));
        assert!(matches("n", ValueMatch::Or([ValueMatch::Null, ValueMatch::Number(2.0)].into()), false));
    }

    #[test]
    fn what_is_not_there_satisfies_only_inverted_matchers() {
        for wanted in [ValueMatch::Present(true), ValueMatch::Present(false), ValueMatch::Null] {
            assert!(!matches("none", wanted.clone(), false) && matches("none", wanted, true));
        }
    }
}
