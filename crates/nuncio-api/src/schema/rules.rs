//! Validation rules of a field (`validate.rules`, protoc-gen-validate), parsed once with the field.
//!
//! Only the rules that Envoy's API uses are read; a test holds that there are no others in the descriptors.

use super::wire::{Reader, Wire};

/// Bounds of a number; durations are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit<T> {
    /// Less than.
    pub lt: Option<T>,
    /// Less than or equal.
    pub lte: Option<T>,
    /// Greater than.
    pub gt: Option<T>,
    /// Greater than or equal.
    pub gte: Option<T>,
}

impl<T> Default for Limit<T> {
    fn default() -> Self {
        Limit {
            lt: None,
            lte: None,
            gt: None,
            gte: None,
        }
    }
}

impl<T: PartialOrd + Copy> Limit<T> {
    /// No bound is set.
    pub fn is_empty(&self) -> bool {
        self.lt.is_none() && self.lte.is_none() && self.gt.is_none() && self.gte.is_none()
    }

    /// The value breaks no bound. NaN breaks none: it is not beyond any, which is how Envoy asks.
    pub fn admits(&self, value: T) -> bool {
        let beyond = self.lt.is_some_and(|l| value >= l)
            || self.lte.is_some_and(|l| value > l)
            || self.gt.is_some_and(|l| value <= l)
            || self.gte.is_some_and(|l| value < l);
        !beyond
    }
}

/// What a string must be as part of an HTTP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderPart {
    /// A header name.
    Name,
    /// A header value.
    Value,
}

/// Rules of strings and bytes. Lengths of strings count characters, except where they say bytes.
#[derive(Debug, Default)]
pub struct Text {
    /// Exact length.
    pub len: Option<u64>,
    /// Least length.
    pub min_len: Option<u64>,
    /// Greatest length.
    pub max_len: Option<u64>,
    /// Greatest length in bytes.
    pub max_bytes: Option<u64>,
    /// A regular expression that must match.
    pub pattern: Option<&'static str>,
    /// How it must begin.
    pub prefix: Option<&'static str>,
    /// How it must end.
    pub suffix: Option<&'static str>,
    /// The only values allowed, if any are listed.
    pub one_of: Vec<&'static str>,
    /// Must be fit for an HTTP header.
    pub header: Option<HeaderPart>,
    /// With `header`: the characters of the RFC only, instead of anything but NUL and line ends.
    pub strict: bool,
}

/// All rules of one field.
#[derive(Debug, Default)]
pub struct Rules {
    /// A message that must be present.
    pub required: bool,
    /// The message's own rules are not looked at.
    pub skip: bool,
    /// The empty value passes without further checks.
    pub ignore_empty: bool,
    /// Bounds of integers, and of durations in nanoseconds.
    pub whole: Limit<i128>,
    /// Bounds of floats.
    pub float: Limit<f64>,
    /// The only boolean allowed.
    pub constant: Option<bool>,
    /// An enum value must be one that has a name.
    pub defined_only: bool,
    /// Enum values that are not allowed.
    pub not_in: Vec<i32>,
    /// Rules of text.
    pub text: Option<Text>,
    /// Least number of items or pairs.
    pub min_items: Option<u64>,
    /// Greatest number of items.
    pub max_items: Option<u64>,
    /// No item twice.
    pub unique: bool,
    /// Rules of each item.
    pub items: Option<Box<Rules>>,
    /// Rules of each key of a map.
    pub keys: Option<Box<Rules>>,
    /// Rules of each value of a map.
    pub values: Option<Box<Rules>>,
    /// A rule that this reader does not know.
    pub(super) unread: bool,
}

impl Rules {
    /// `validate.FieldRules`.
    pub(super) fn parse(bytes: &'static [u8]) -> Rules {
        let mut rules = Rules::default();
        for (kind, value) in Reader::new(bytes) {
            let mut of = Reader::new(value.bytes());
            match kind {
                1 => of.for_each(|(n, v)| {
                    rules.float(n, || f64::from(f32::from_bits(v.integer() as u32)))
                }),
                2 => of.for_each(|(n, v)| rules.float(n, || f64::from_bits(v.integer()))),
                3 | 4 | 11 | 12 => {
                    of.for_each(|(n, v)| rules.whole(n, i128::from(v.integer() as i64)))
                }
                5 | 6 | 9 | 10 => of.for_each(|(n, v)| rules.whole(n, i128::from(v.integer()))),
                13 => of.for_each(|(n, v)| match n {
                    1 => rules.constant = Some(v.integer() != 0),
                    _ => rules.unread = true,
                }),
                14 => rules.text(of, false),
                15 => rules.text(of, true),
                16 => of.for_each(|(n, v)| rules.enumeration(n, v)),
                17 => of.for_each(|(n, v)| match n {
                    1 => rules.skip = v.integer() != 0,
                    _ => rules.required = v.integer() != 0,
                }),
                18 => of.for_each(|(n, v)| rules.list(n, v)),
                19 => of.for_each(|(n, v)| rules.map(n, v)),
                20 => rules.required = of.any(|(n, v)| n == 1 && v.integer() != 0),
                21 => of.for_each(|(n, v)| match n {
                    1 => rules.required = v.integer() != 0,
                    3..=6 => rules.whole(n - 1, nanoseconds(v.bytes())),
                    _ => rules.unread = true,
                }),
                _ => rules.unread = true,
            }
        }
        rules
    }

    fn whole(&mut self, number: u32, value: i128) {
        match number {
            2 => self.whole.lt = Some(value),
            3 => self.whole.lte = Some(value),
            4 => self.whole.gt = Some(value),
            5 => self.whole.gte = Some(value),
            8 => self.ignore_empty = value != 0,
            _ => self.unread = true,
        }
    }

    fn float(&mut self, number: u32, value: impl Fn() -> f64) {
        match number {
            2 => self.float.lt = Some(value()),
            3 => self.float.lte = Some(value()),
            4 => self.float.gt = Some(value()),
            5 => self.float.gte = Some(value()),
            _ => self.unread = true,
        }
    }

    fn enumeration(&mut self, number: u32, value: Wire<'static>) {
        match (number, value) {
            (2, v) => self.defined_only = v.integer() != 0,
            (4, Wire::Varint(v)) => self.not_in.push(v as i32),
            (4, Wire::Bytes(packed)) => {
                let mut packed = Reader::new(packed);
                while let (false, Ok(v)) = (packed.is_empty(), packed.varint()) {
                    self.not_in.push(v as i32);
                }
            }
            _ => self.unread = true,
        }
    }

    fn list(&mut self, number: u32, value: Wire<'static>) {
        match number {
            1 => self.min_items = Some(value.integer()),
            2 => self.max_items = Some(value.integer()),
            3 => self.unique = value.integer() != 0,
            4 => self.items = Some(Box::new(Rules::parse(value.bytes()))),
            _ => self.unread = true,
        }
    }

    fn map(&mut self, number: u32, value: Wire<'static>) {
        match number {
            1 => self.min_items = Some(value.integer()),
            4 => self.keys = Some(Box::new(Rules::parse(value.bytes()))),
            5 => self.values = Some(Box::new(Rules::parse(value.bytes()))),
            _ => self.unread = true,
        }
    }

    fn text(&mut self, fields: Reader<'static>, bytes: bool) {
        let mut text = Text {
            strict: true,
            ..Text::default()
        };
        for (number, value) in fields {
            match (number, bytes) {
                (2, _) => text.min_len = Some(value.integer()),
                (3, _) => text.max_len = Some(value.integer()),
                (5, false) => text.max_bytes = Some(value.integer()),
                (6, false) => text.pattern = Some(value.text()),
                (7, false) => text.prefix = Some(value.text()),
                (8, false) => text.suffix = Some(value.text()),
                (10, false) => text.one_of.push(value.text()),
                (19, false) => text.len = Some(value.integer()),
                (24, false) => {
                    text.header = match value.integer() {
                        1 => Some(HeaderPart::Name),
                        2 => Some(HeaderPart::Value),
                        _ => None,
                    }
                }
                (25, false) => text.strict = value.integer() != 0,
                (26, false) => self.ignore_empty = value.integer() != 0,
                _ => self.unread = true,
            }
        }
        self.text = Some(text);
    }
}

/// `google.protobuf.Duration` as nanoseconds.
fn nanoseconds(bytes: &[u8]) -> i128 {
    Reader::new(bytes).fold(0, |sum, (number, value)| match number {
        1 => sum + i128::from(value.integer() as i64) * 1_000_000_000,
        2 => sum + i128::from(value.integer() as i32),
        _ => sum,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{message, message_names};
    use super::*;

    fn rules(name: &str, field: &str) -> &'static Rules {
        message(name)
            .and_then(|m| m.field(field))
            .and_then(|f| f.rules.as_deref())
            .expect("has rules")
    }

    #[test]
    fn no_rule_of_the_api_is_left_unread() {
        for name in message_names().filter(|n| !n.starts_with("validate.")) {
            for field in &message(name).expect("indexed").fields {
                let Some(rules) = field.rules.as_deref() else {
                    continue;
                };
                let nested = [&rules.items, &rules.keys, &rules.values]
                    .into_iter()
                    .flatten();
                assert!(
                    !rules.unread && nested.into_iter().all(|r| !r.unread),
                    "{name}.{}",
                    field.name
                );
            }
        }
    }

    #[test]
    fn bounds_presence_and_text_are_read() {
        let timeout = rules("envoy.config.cluster.v3.Cluster", "connect_timeout");
        assert_eq!(timeout.whole.gt, Some(0));
        assert_eq!(
            rules("envoy.config.core.v3.SocketAddress", "port_value")
                .whole
                .lte,
            Some(65535)
        );
        assert!(rules("envoy.config.route.v3.Route", "match").required);
        let key = rules("envoy.config.core.v3.HeaderValue", "key")
            .text
            .as_ref()
            .expect("text");
        assert_eq!(
            (key.min_len, key.header, key.strict),
            (Some(1), Some(HeaderPart::Name), false)
        );
        assert_eq!(
            rules("envoy.config.route.v3.VirtualHost", "domains").min_items,
            Some(1)
        );
    }
}
