//! `re.extract`, `re.capture` and `re.captureN`: parts of a text that a regular expression finds.
//!
//! The expression and the replacement stand in the text, and are compiled once. What does not compile, or finds nothing, is
//! without a value, as on Envoy.

use super::eval::{NoValue, Result};
use super::expr::{Expr, Literal, Wrong};
use super::value::{Map, Value};
use crate::matching::{Pattern, Substitution};
use std::borrow::Cow;

/// What is taken out of a text.
#[derive(Debug)]
pub enum Taken {
    /// The first match anywhere, rewritten.
    Extract(Substitution),
    /// The first group of an expression that matches the whole text.
    Capture(Pattern),
    /// All its groups, and what they are called.
    CaptureAll(Pattern, Vec<String>),
    /// Nothing: the expression does not compile.
    Never,
}

/// The call `re.<name>(arguments)`; `None` if there is no such function.
pub(super) fn call(name: &str, mut arguments: Vec<Expr>) -> Option<std::result::Result<Expr, Wrong>> {
    let count = match name {
        "extract" => 3,
        "capture" | "captureN" => 2,
        _ => return None,
    };
    if arguments.len() != count {
        return Some(Err(Wrong(format!("No overload found in reference resolve step for re.{name}"))));
    }
    let mut texts = arguments[1..].iter().map(|argument| match argument {
        Expr::Literal(Literal::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    let (Some(Some(source)), rewrite) = (texts.next(), texts.next()) else { return Some(Err(unbuilt(name))) };
    let taken = match (name, rewrite) {
        ("extract", Some(Some(rewrite))) => Substitution::new(&source, &rewrite).map(Taken::Extract),
        ("extract", _) => return Some(Err(unbuilt(name))),
        ("capture", _) => Pattern::new(&source).map(Taken::Capture),
        _ => Pattern::new(&source).map(|pattern| Taken::CaptureAll(pattern, group_names(&source))),
    };
    Some(Ok(Expr::Taken(Box::new(arguments.swap_remove(0)), Box::new(taken.unwrap_or(Taken::Never)))))
}

fn unbuilt(name: &str) -> Wrong {
    Wrong(format!("re.{name} with an expression that does not stand in the text is not built yet"))
}

/// What the groups of an expression that compiles are called: by their names, or by their numbers from 1.
fn group_names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = source;
    let mut in_class = false;
    while let Some(next) = rest.chars().next() {
        let mut len = next.len_utf8();
        match next {
            '\\' => len += rest[len..].chars().next().map_or(0, char::len_utf8),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => match rest.strip_prefix("(?") {
                None => names.push((names.len() + 1).to_string()),
                Some(inner) => {
                    let name = inner.trim_start_matches('P').strip_prefix('<').and_then(|inner| inner.split_once('>'));
                    names.extend(name.map(|(name, _)| name.to_owned()));
                }
            },
            _ => {}
        }
        rest = &rest[len..];
    }
    names
}

/// What is taken out of a value.
pub(super) fn eval<'a>(taken: &Taken, of: &Value<'a>) -> Result<'a> {
    let Value::Text(text) = of else { return Err(NoValue) };
    let owned = |bytes: &[u8]| Value::Text(Cow::Owned(bytes.to_vec()));
    match taken {
        Taken::Extract(substitution) => substitution.extract(text).map(|found| Value::Text(Cow::Owned(found))),
        Taken::Capture(pattern) => pattern.groups(text).and_then(|groups| Some(owned(groups.first()?))),
        Taken::CaptureAll(pattern, names) => pattern.groups(text).filter(|groups| !groups.is_empty()).map(|groups| {
            let entries = names.iter().zip(groups).map(|(name, found)| (owned(name.as_bytes()), owned(found)));
            Value::Map(Map::Made(entries.collect()))
        }),
        Taken::Never => None,
    }
    .ok_or(NoValue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_called_by_their_names_or_numbers() {
        assert_eq!(group_names(r"(a)(?:b)\((?P<word>[(\]]c)(?<x>d)(?i)(e)"), ["1", "word", "x", "4"]);
    }
}
