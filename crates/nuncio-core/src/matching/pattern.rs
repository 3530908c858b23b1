//! Regular expressions and substitutions of the configuration (`RegexMatcher`, `RegexMatchAndSubstitute`).
//!
//! [`Pattern`] matches a whole text, as `safe_regex` does; [`Substitution`] replaces every match found anywhere,
//! as `regex_rewrite` does. Both run in time linear in the text. RE2's dialect is the concern of `re2`.

use super::re2::{self, PatternError};
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::fmt;

/// Memory one compiled expression may take; RE2's own budget is 8 MiB.
const PATTERN_LIMIT_BYTES: usize = 8 << 20;

fn compile(source: &str, whole: bool) -> Result<Regex, PatternError> {
    let translated = re2::translate(source)?;
    let text = if whole { format!("\\A(?:{translated})\\z") } else { translated };
    RegexBuilder::new(&text).unicode(false).size_limit(PATTERN_LIMIT_BYTES).build().map_err(|cause| PatternError {
        message: match cause {
            regex::Error::CompiledTooBig(_) => "pattern too large - compile failed".to_owned(),
            other => other.to_string(),
        },
        at: 0,
    })
}

fn program_size(source: &str) -> usize {
    re2::translate(source).map_or(0, |translated| re2::program_size(&translated))
}

/// An expression that must match a whole text.
#[derive(Clone)]
pub struct Pattern {
    source: Box<str>,
    regex: Regex,
}

impl Pattern {
    /// Compiles `source`, written in RE2's syntax.
    pub fn new(source: &str) -> Result<Pattern, PatternError> {
        Ok(Pattern { source: source.into(), regex: compile(source, true)? })
    }

    /// Whether the whole of `text` matches.
    #[inline]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// Its groups in a text that it matches as a whole; those that took no part are empty.
    pub fn groups<'t>(&self, text: &'t [u8]) -> Option<Vec<&'t [u8]>> {
        let found = self.regex.captures(text)?;
        Some(found.iter().skip(1).map(|group| group.map_or(&[][..], |group| group.as_bytes())).collect())
    }

    /// As it was configured.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// About how many instructions RE2 would need for it; Envoy has a limit.
    pub fn program_size(&self) -> usize {
        program_size(&self.source)
    }

    /// Bytes with which every text that matches begins; may be shorter than it could be.
    pub fn literal_prefix(&self) -> Box<[u8]> {
        let mut prefix: Vec<u8> = Vec::new();
        // An alternative or a flag may make what looks like a prefix optional.
        if self.source.contains('|') || self.source.contains("(?") {
            return Box::default();
        }
        let source = self.source.strip_prefix('^').unwrap_or(&self.source).as_bytes();
        let mut at = 0;
        while at < source.len() {
            let (byte, len) = match source[at] {
                b'\\' => match source.get(at + 1) {
                    Some(&next) if next.is_ascii_punctuation() => (next, 2),
                    _ => break,
                },
                byte if b".+*?()[]{}^$".contains(&byte) || !byte.is_ascii() => break,
                byte => (byte, 1),
            };
            if matches!(source.get(at + len), Some(b'*' | b'?' | b'{')) {
                break;
            }
            prefix.push(byte);
            at += len;
        }
        prefix.into_boxed_slice()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.source)
    }
}

/// A piece of what a match is replaced with.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Box<[u8]>),
    Group(usize),
}

/// An expression and what each of its matches is replaced with.
#[derive(Clone)]
pub struct Substitution {
    source: Box<str>,
    substitution: Box<str>,
    regex: Regex,
    /// `None` if nothing is to be replaced.
    pieces: Option<Vec<Piece>>,
    flaw: Option<String>,
}

impl Substitution {
    /// Compiles `source` (RE2's syntax) with `substitution`, in which `\1` to `\9` are groups, `\0` is the whole
    /// match and `\\` a backslash.
    pub fn new(source: &str, substitution: &str) -> Result<Substitution, PatternError> {
        let regex = compile(source, false)?;
        let (pieces, flaw) = pieces(substitution, regex.captures_len() - 1);
        Ok(Substitution { source: source.into(), substitution: substitution.into(), regex, pieces, flaw })
    }

    /// About how many instructions RE2 would need for the expression; Envoy has a limit.
    pub fn program_size(&self) -> usize {
        program_size(&self.source)
    }

    /// What is wrong with the substitution. Envoy takes it all the same: with a group that the expression has not,
    /// nothing is ever replaced; a stray backslash ends the substitution.
    pub fn flaw(&self) -> Option<&str> {
        self.flaw.as_deref()
    }

    /// What the first match becomes; `None` if there is none, or the substitution has a flaw.
    pub fn extract(&self, text: &[u8]) -> Option<Vec<u8>> {
        let pieces = self.pieces.as_ref().filter(|_| self.flaw.is_none())?;
        let mut out = Vec::new();
        expand(pieces, &self.regex.captures(text)?, &mut out);
        Some(out)
    }

    /// `text` with every match replaced.
    pub fn replace_all(&self, text: &[u8]) -> Vec<u8> {
        let Some(pieces) = &self.pieces else { return text.to_vec() };
        let mut out = Vec::with_capacity(text.len() + 16);
        let mut done = 0;
        for captures in self.regex.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            out.extend_from_slice(&text[done..whole.start()]);
            expand(pieces, &captures, &mut out);
            done = whole.end();
        }
        out.extend_from_slice(&text[done..]);
        out
    }
}

fn expand(pieces: &[Piece], captures: &Captures<'_>, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Group(group) => out.extend_from_slice(captures.get(*group).map_or(&[][..], |m| m.as_bytes())),
        }
    }
}

impl fmt::Debug for Substitution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Substitution({:?} -> {:?})", self.source, self.substitution)
    }
}

/// The pieces of a substitution, and what is wrong with it.
fn pieces(substitution: &str, groups: usize) -> (Option<Vec<Piece>>, Option<String>) {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut flaw = None;
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'\\') => text.push(b'\\'),
            Some(digit @ b'0'..=b'9') => {
                let group = usize::from(digit - b'0');
                if group > groups {
                    let flaw = format!("the substitution uses group \\{group}, but the expression has {groups}");
                    return (None, Some(flaw));
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text).into_boxed_slice()));
                }
                pieces.push(Piece::Group(group));
            }
            _ => {
                flaw = Some("in a substitution a digit or a backslash must follow a backslash".to_owned());
                break;
            }
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into_boxed_slice()));
    }
    (Some(pieces), flaw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(source: &str, substitution: &str, text: &str) -> String {
        let done = Substitution::new(source, substitution).expect(source).replace_all(text.as_bytes());
        String::from_utf8(done).expect("text")
    }

    #[test]
    fn a_pattern_matches_the_whole_text_only() {
        let pattern = Pattern::new("/item/[0-9]+(/.*)?").expect("valid");
        assert!(pattern.matches(b"/item/42") && pattern.matches(b"/item/42/more"));
        assert!(!pattern.matches(b"/item/42x") && !pattern.matches(b"x/item/42"));
        assert!(Pattern::new("a|ab").expect("valid").matches(b"ab"));
    }

    #[test]
    fn every_match_is_replaced() {
        assert_eq!(replaced("^/rx/([^/]+)/(.*)$", r"/\2/by/\1", "/rx/alice/photos/1"), "/photos/1/by/alice");
        assert_eq!(replaced("one", "two", "/one/one"), "/two/two");
        assert_eq!(replaced("x*", "-", "ab"), "-a-b-");
        assert_eq!(replaced("(b)?a", r"[\1\\]", "aba"), r"[\][b\]");
    }

    #[test]
    fn flawed_substitutions_do_what_they_do_on_envoy() {
        assert_eq!(replaced("(a)", r"b\2", "aa"), "aa");
        assert_eq!(replaced("a", r"b\xc", "aa"), "bb");
        assert!(Substitution::new("(a)", r"\2").expect("valid").flaw().is_some());
        assert!(Substitution::new("(a)", r"\1").expect("valid").flaw().is_none());
    }

    #[test]
    fn a_literal_prefix_is_one_that_every_match_has() {
        for (source, prefix) in [
            ("/item/[0-9]+", "/item/"),
            ("^/a\\.b/.*", "/a.b/"),
            ("/ab*", "/a"),
            ("/ab?c", "/a"),
            ("/ab{0,1}", "/a"),
            ("/ab+", "/ab"),
            ("/a|/b", ""),
            ("(?i)/a", ""),
            ("/a\\d", "/a"),
            (".*", ""),
        ] {
            assert_eq!(*Pattern::new(source).expect(source).literal_prefix(), *prefix.as_bytes(), "{source}");
        }
    }
}
