//! RE2's dialect put into the words of the `regex` crate.
//!
//! Both are linear-time engines of the same family; they differ in a few places, and each of them decides whether
//! a configuration behaves as it does on Envoy: Envoy 1.40 runs RE2 on bytes (Latin-1), so `.` is one byte and
//! a letter outside ASCII in a pattern is the bytes of its UTF-8; `\s` has no vertical tab, `[` and `&&` are plain
//! inside a class, `{` that begins no repetition is plain, `\Q…\E`, `\C` and octal escapes exist, repetitions end at
//! 1000. The translation is made once, when a configuration is compiled, for an engine with Unicode switched off.
//!
//! Promise: what RE2 refuses is refused, with RE2's sentence (Envoy prints it) and the place in the pattern.
//! Known difference: `(?i)` folds ASCII letters only.

mod class;
mod escape;
mod size;
#[cfg(test)]
mod tests;

pub(super) use size::program_size;

use escape::{counted, literal_escape};
use std::fmt;

/// Largest count in `{n,m}`, and of counts within counts multiplied (RE2's `kMaxRepeat`).
const MAX_REPEAT: u32 = 1000;

/// A pattern that RE2 refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// RE2's sentence, `missing ]: [a`.
    pub message: String,
    /// Byte offset in the pattern of what it complains about.
    pub at: usize,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PatternError {}

/// What stands before the place we are at, as far as a repetition operator cares.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Start of the pattern or a group, `|`: nothing to repeat.
    Nothing,
    /// Something that can be repeated, and how often it repeats things itself.
    Piece(u32),
    /// A repetition operator that began at this offset.
    Repetition(usize),
}

/// A group that is still open.
struct Group {
    at: usize,
    /// The largest count in it.
    count: u32,
}

struct Translator<'p> {
    pattern: &'p [u8],
    at: usize,
    out: String,
    before: Before,
    /// Every `(?flags)` just read: a repetition after them still belongs to what stands before them.
    flags: String,
    open: Vec<Group>,
    /// The largest count outside of groups that are still open.
    count: u32,
}

/// Says `pattern` (RE2 syntax) in the syntax of the `regex` crate without Unicode.
pub(super) fn translate(pattern: &str) -> Result<String, PatternError> {
    let mut translator = Translator {
        pattern: pattern.as_bytes(),
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
        before: Before::Nothing,
        flags: String::new(),
        open: Vec::new(),
        count: 1,
    };
    while translator.at < pattern.len() {
        translator.piece()?;
    }
    match translator.open.last() {
        Some(group) => Err(error("missing )", pattern.as_bytes(), group.at)),
        None => Ok(translator.out),
    }
}

fn error(what: &str, argument: &[u8], at: usize) -> PatternError {
    PatternError { message: format!("{what}: {}", String::from_utf8_lossy(argument)), at }
}

fn trailing_backslash(at: usize) -> PatternError {
    PatternError { message: "trailing \\".to_owned(), at }
}

/// Whether `rest` begins with a `(?flags)` that opens no group.
fn only_flags(rest: &[u8]) -> bool {
    rest.strip_prefix(b"(?").is_some_and(|inner| {
        inner.iter().find(|b| !b"imsU-".contains(b)) == Some(&b')')
    })
}

/// Writes a byte that stands for itself.
fn push_literal(out: &mut String, byte: u8) {
    match byte {
        // `\<` and `\>` mean something to the other engine, `<` and `>` never do.
        b'<' | b'>' => out.push(char::from(byte)),
        _ if byte.is_ascii_punctuation() => {
            out.push('\\');
            out.push(char::from(byte));
        }
        b' '..=b'~' => out.push(char::from(byte)),
        _ => out.push_str(&format!("\\x{byte:02x}")),
    }
}

impl<'p> Translator<'p> {
    fn rest(&self) -> &'p [u8] {
        &self.pattern[self.at..]
    }

    fn piece(&mut self) -> Result<(), PatternError> {
        let Some(&byte) = self.rest().first() else { return Ok(()) };
        let start = self.at;
        let counted = if byte == b'{' { counted(self.rest()) } else { None };
        let repeats = matches!(byte, b'*' | b'+' | b'?') || counted.is_some();
        if !repeats && !only_flags(self.rest()) {
            self.out.push_str(&std::mem::take(&mut self.flags));
        }
        match byte {
            b'(' => return self.group(),
            b')' => {
                let Some(group) = self.open.pop() else {
                    return Err(error("unexpected )", self.pattern, start));
                };
                self.emit(1, ")", Before::Piece(group.count));
            }
            b'|' => self.emit(1, "|", Before::Nothing),
            b'*' | b'+' | b'?' => return self.repetition(1, None),
            b'{' => match counted {
                Some((len, bounds)) => return self.repetition(len, Some(bounds)),
                None => self.emit(1, "\\{", Before::Piece(1)),
            },
            b'[' => return self.class(),
            b'\\' => return self.escape(),
            b'^' => self.emit(1, "^", Before::Piece(1)),
            b'$' => self.emit(1, "$", Before::Piece(1)),
            b'.' => self.emit(1, ".", Before::Piece(1)),
            byte => {
                push_literal(&mut self.out, byte);
                self.emit(1, "", Before::Piece(1));
            }
        }
        Ok(())
    }

    fn emit(&mut self, len: usize, text: &str, before: Before) {
        self.out.push_str(text);
        self.at += len;
        self.before = before;
    }

    fn repetition(&mut self, len: usize, bounds: Option<(u32, Option<u32>)>) -> Result<(), PatternError> {
        let start = self.at;
        let operator = &self.pattern[start..start + len];
        let lazy = self.pattern.get(start + len) == Some(&b'?');
        let end = start + len + usize::from(lazy);
        let within = match self.before {
            Before::Repetition(from) => return Err(error("bad repetition operator", &self.pattern[from..end], from)),
            Before::Nothing => return Err(error("no argument for repetition operator", operator, start)),
            Before::Piece(within) => within,
        };
        if let Some((low, high)) = bounds {
            let most = high.unwrap_or(low).max(low);
            let count = within.saturating_mul(most.max(1));
            if most > MAX_REPEAT || high.is_some_and(|high| high < low) || (most > 1 && count > MAX_REPEAT) {
                return Err(error("invalid repetition size", operator, start));
            }
            let outer = self.open.last_mut().map_or(&mut self.count, |group| &mut group.count);
            *outer = count.max(*outer);
        }
        self.out.extend(self.pattern[start..end].iter().copied().map(char::from));
        self.at = end;
        self.before = Before::Repetition(start);
        Ok(())
    }

    fn group(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        let rest = self.rest();
        let Some(inner) = rest.strip_prefix(b"(?") else {
            self.open_group(1, "(");
            return Ok(());
        };
        for look_around in [&b"(?="[..], b"(?!", b"(?<=", b"(?<!"] {
            if rest.starts_with(look_around) {
                return Err(error("invalid perl operator", look_around, start));
            }
        }
        let named = inner.strip_prefix(b"P<").map(|n| (n, 4)).or_else(|| inner.strip_prefix(b"<").map(|n| (n, 3)));
        if let Some((name, opening)) = named {
            let Some(len) = name.iter().position(|&b| b == b'>') else {
                return Err(error("invalid named capture group", rest, start));
            };
            let whole = &rest[..opening + len + 1];
            if len == 0 || !name[..len].iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80) {
                return Err(error("invalid named capture group", whole, start));
            }
            // Names are of no use to us: substitutions go by number.
            self.open_group(whole.len(), "(");
            return Ok(());
        }
        self.flag_group(inner)
    }

    fn open_group(&mut self, len: usize, text: &str) {
        self.open.push(Group { at: self.at, count: 1 });
        self.emit(len, text, Before::Nothing);
    }

    /// `(?flags)` and `(?flags:`.
    fn flag_group(&mut self, inner: &[u8]) -> Result<(), PatternError> {
        let start = self.at;
        let (mut negated, mut any) = (false, false);
        for (index, byte) in inner.iter().enumerate() {
            let whole = &self.pattern[start..start + index + 3];
            let text: String = whole.iter().copied().map(char::from).collect();
            match byte {
                b'i' | b'm' | b's' | b'U' => any = true,
                b'-' if !negated => (negated, any) = (true, false),
                b':' if any || !negated => {
                    self.open_group(whole.len(), &text);
                    return Ok(());
                }
                b')' if any || !negated => {
                    // RE2 takes an empty `(?)` for nothing at all; the other engine has no such thing.
                    self.flags += if index == 0 { "" } else { &text };
                    self.at += whole.len();
                    return Ok(());
                }
                _ => return Err(error("invalid perl operator", whole, start)),
            }
        }
        Err(error("invalid perl operator", &self.pattern[start..], start))
    }

    /// `\…` outside a class.
    fn escape(&mut self) -> Result<(), PatternError> {
        let rest = self.rest();
        if let Some(quoted) = rest.strip_prefix(b"\\Q") {
            let len = quoted.windows(2).position(|pair| pair == b"\\E").unwrap_or(quoted.len());
            for &byte in &quoted[..len] {
                push_literal(&mut self.out, byte);
                self.before = Before::Piece(1);
            }
            self.at = (self.at + 2 + len + 2).min(self.pattern.len());
            return Ok(());
        }
        let text = match rest.get(1) {
            None => return Err(trailing_backslash(self.at)),
            Some(b'b') => "\\b",
            Some(b'B') => "\\B",
            Some(b'A') => "\\A",
            Some(b'z') => "\\z",
            Some(b'C') => "(?s:.)",
            // Outside `\Q` it ends nothing and means nothing.
            Some(b'E') => {
                self.at += 2;
                return Ok(());
            }
            Some(_) => {
                if let Some((class, len)) = self.named_class()? {
                    self.emit(len, &format!("[{class}]"), Before::Piece(1));
                } else {
                    let (byte, len) = literal_escape(rest, self.at)?;
                    push_literal(&mut self.out, byte);
                    self.emit(len, "", Before::Piece(1));
                }
                return Ok(());
            }
        };
        self.emit(2, text, Before::Piece(1));
        Ok(())
    }
}
