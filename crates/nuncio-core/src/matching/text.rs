//! Matching one text (`envoy.type.matcher.v3.StringMatcher`).

use super::pattern::Pattern;
use std::fmt;

/// How a text is compared.
#[derive(Debug, Clone)]
pub enum TextMatch {
    /// The whole text.
    Exact(Fold),
    /// Its beginning.
    Prefix(Fold),
    /// Its end.
    Suffix(Fold),
    /// Any part of it.
    Contains(Fold),
    /// The whole text matches an expression; `ignore_case` has no effect, as on Envoy.
    Regex(Pattern),
    /// Any text at all (the deprecated `exact_match: ""`).
    Any,
}

/// A text to compare with, and whether ASCII letter case counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    text: Box<[u8]>,
    ignore_case: bool,
}

impl Fold {
    /// Compares with `text`.
    pub fn new(text: impl Into<Box<[u8]>>, ignore_case: bool) -> Fold {
        Fold { text: text.into(), ignore_case }
    }

    /// Compares with `text`, letter by letter.
    pub fn exact(text: &str) -> Fold {
        Fold::new(text.as_bytes(), false)
    }

    /// The text as configured.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// True when letter case does not count.
    pub fn ignores_case(&self) -> bool {
        self.ignore_case
    }

    /// Whether it is `value`.
    #[inline]
    pub fn equals(&self, value: &[u8]) -> bool {
        if self.ignore_case { value.eq_ignore_ascii_case(&self.text) } else { *value == *self.text }
    }

    /// Whether `value` begins with it.
    #[inline]
    pub fn begins(&self, value: &[u8]) -> bool {
        value.get(..self.text.len()).is_some_and(|start| self.equals(start))
    }

    fn ends(&self, value: &[u8]) -> bool {
        value.len().checked_sub(self.text.len()).is_some_and(|at| self.equals(&value[at..]))
    }

    fn within(&self, value: &[u8]) -> bool {
        self.text.is_empty() || value.windows(self.text.len()).any(|part| self.equals(part))
    }
}

impl TextMatch {
    /// Whether `value` matches.
    #[inline]
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            TextMatch::Exact(text) => text.equals(value),
            TextMatch::Prefix(text) => text.begins(value),
            TextMatch::Suffix(text) => text.ends(value),
            TextMatch::Contains(text) => text.within(value),
            TextMatch::Regex(pattern) => pattern.matches(value),
            TextMatch::Any => true,
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, text) = match self {
            TextMatch::Exact(text) => ("is", text),
            TextMatch::Prefix(text) => ("begins with", text),
            TextMatch::Suffix(text) => ("ends with", text),
            TextMatch::Contains(text) => ("contains", text),
            TextMatch::Regex(pattern) => return write!(f, "matches {:?}", pattern.as_str()),
            TextMatch::Any => return f.write_str("is anything"),
        };
        write!(f, "{verb} \"{}\"", text.text.escape_ascii())?;
        if text.ignore_case { f.write_str(" in any letter case") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_comparison() {
        let fold = |text: &str| Fold::new(text.as_bytes(), true);
        let cases: &[(TextMatch, &str, bool)] = &[
            (TextMatch::Exact(Fold::exact("one")), "one", true),
            (TextMatch::Exact(Fold::exact("one")), "One", false),
            (TextMatch::Exact(fold("one")), "oNe", true),
            (TextMatch::Prefix(Fold::exact("pre")), "prefix", true),
            (TextMatch::Prefix(Fold::exact("prefix")), "pre", false),
            (TextMatch::Suffix(Fold::exact("fix")), "suffix", true),
            (TextMatch::Suffix(Fold::exact("suffix")), "fix", false),
            (TextMatch::Contains(fold("MID")), "a mid b", true),
            (TextMatch::Contains(Fold::exact("")), "", true),
            (TextMatch::Contains(Fold::exact("long")), "lon", false),
            (TextMatch::Regex(Pattern::new("v[0-9]+").expect("valid")), "v12", true),
            (TextMatch::Regex(Pattern::new("v[0-9]+").expect("valid")), "v12x", false),
            (TextMatch::Any, "x", true),
        ];
        for (matcher, value, wanted) in cases {
            assert_eq!(matcher.matches(value.as_bytes()), *wanted, "{matcher} against {value:?}");
        }
    }
}
