//! RE2's dialect put into the words of the `regex` crate.
//!
//! Both are linear-time engines of the same family; they differ in a few places, and each of them decides whether
//! a configuration behaves as it does on Envoy: `\d \w \s \b` are ASCII in RE2, `[` and `&&` are plain inside a
//! class, `{` that begins no repetition is plain, `\Q…\E`, `\C` and octal escapes exist, repetitions end at 1000.
//! The translation is made once, when a configuration is compiled.
//!
//! Promise: what RE2 refuses is refused, with RE2's sentence (Envoy prints it) and the place in the pattern.

use std::fmt;

/// Largest count in `{n,m}` (RE2's `kMaxRepeat`).
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
    /// Something that can be repeated.
    Piece,
    /// A repetition operator that began at this offset.
    Repetition(usize),
}

struct Translator<'p> {
    pattern: &'p str,
    at: usize,
    out: String,
    before: Before,
    /// Every `(?flags)` just read: a repetition after them still belongs to what stands before them.
    flags: String,
    /// Offsets of the groups that are still open.
    open: Vec<usize>,
    names: Vec<&'p str>,
}

/// Says `pattern` (RE2 syntax) in the syntax of the `regex` crate.
pub(super) fn translate(pattern: &str) -> Result<String, PatternError> {
    let mut translator = Translator {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
        before: Before::Nothing,
        flags: String::new(),
        open: Vec::new(),
        names: Vec::new(),
    };
    while translator.at < pattern.len() {
        translator.piece()?;
    }
    match translator.open.last() {
        Some(&at) => Err(error("missing )", pattern, at)),
        None => Ok(translator.out),
    }
}

fn error(what: &str, argument: &str, at: usize) -> PatternError {
    PatternError { message: format!("{what}: {argument}"), at }
}

/// Whether `rest` begins with a `(?flags)` that opens no group.
fn only_flags(rest: &str) -> bool {
    rest.strip_prefix("(?").is_some_and(|inner| inner.trim_start_matches(['i', 'm', 's', 'U', '-']).starts_with(')'))
}

/// Writes a character that stands for itself.
fn push_literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() && c != '<' && c != '>' {
        out.push('\\');
    }
    out.push(c);
}

impl<'p> Translator<'p> {
    fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    fn piece(&mut self) -> Result<(), PatternError> {
        let Some(c) = self.rest().chars().next() else { return Ok(()) };
        let start = self.at;
        let repeats = matches!(c, '*' | '+' | '?') || (c == '{' && counted(self.rest()).is_some());
        if !repeats && !only_flags(self.rest()) {
            self.out.push_str(&std::mem::take(&mut self.flags));
        }
        match c {
            '(' => return self.group(),
            ')' => {
                if self.open.pop().is_none() {
                    return Err(error("unexpected )", self.pattern, start));
                }
                self.emit(1, ")", Before::Piece);
            }
            '|' => self.emit(1, "|", Before::Nothing),
            '*' | '+' | '?' => return self.repetition(1, None),
            '{' => match counted(self.rest()) {
                Some((len, bounds)) => return self.repetition(len, Some(bounds)),
                None => self.emit(1, "\\{", Before::Piece),
            },
            '[' => return self.class(),
            '\\' => return self.escape(),
            // A repetition of `^` or `$` is allowed by both.
            '^' | '$' | '.' => {
                self.out.push(c);
                self.at += 1;
                self.before = Before::Piece;
            }
            c => {
                push_literal(&mut self.out, c);
                self.at += c.len_utf8();
                self.before = Before::Piece;
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
        let lazy = self.pattern[start + len..].starts_with('?');
        let end = start + len + usize::from(lazy);
        if let Before::Repetition(from) = self.before {
            return Err(error("bad repetition operator", &self.pattern[from..end], from));
        }
        if self.before == Before::Nothing {
            return Err(error("no argument for repetition operator", operator, start));
        }
        if let Some((low, high)) = bounds
            && (low > MAX_REPEAT || high.is_some_and(|high| high > MAX_REPEAT || high < low))
        {
            return Err(error("invalid repetition size", operator, start));
        }
        self.out.push_str(&self.pattern[start..end]);
        self.at = end;
        self.before = Before::Repetition(start);
        Ok(())
    }

    fn group(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        let rest = self.rest();
        let Some(inner) = rest.strip_prefix("(?") else {
            self.open.push(start);
            self.emit(1, "(", Before::Nothing);
            return Ok(());
        };
        for look_around in ["(?=", "(?!", "(?<=", "(?<!"] {
            if rest.starts_with(look_around) {
                return Err(error("invalid perl operator", look_around, start));
            }
        }
        let named = inner.strip_prefix("P<").map(|n| (n, 4)).or_else(|| inner.strip_prefix('<').map(|n| (n, 3)));
        if let Some((name, opening)) = named {
            let Some(len) = name.find('>') else {
                return Err(error("invalid named capture group", rest, start));
            };
            let whole = &rest[..opening + len + 1];
            let name = &name[..len];
            let valid = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            if !valid || self.names.contains(&name) {
                return Err(error("invalid named capture group", if valid { name } else { whole }, start));
            }
            self.names.push(name);
            self.open.push(start);
            self.emit(whole.len(), "(", Before::Nothing);
            return Ok(());
        }
        self.flags(inner)
    }

    /// `(?flags)` and `(?flags:`.
    fn flags(&mut self, inner: &'p str) -> Result<(), PatternError> {
        let start = self.at;
        let (mut negated, mut any) = (false, false);
        for (index, c) in inner.char_indices() {
            let upto = index + 2 + c.len_utf8();
            let bad = Err(error("invalid perl operator", &self.pattern[start..start + upto], start));
            match c {
                'i' | 'm' | 's' | 'U' => any = true,
                '-' if negated => return bad,
                '-' => (negated, any) = (true, false),
                ':' | ')' if negated && !any => return bad,
                ':' => {
                    self.open.push(start);
                    self.emit(upto, &self.pattern[start..start + upto], Before::Nothing);
                    return Ok(());
                }
                ')' => {
                    // RE2 takes an empty `(?)` for nothing at all; the other engine has no such thing.
                    self.flags += if upto == 3 { "" } else { &self.pattern[start..start + upto] };
                    self.at += upto;
                    return Ok(());
                }
                _ => return bad,
            }
        }
        Err(error("missing )", self.pattern, start))
    }

    /// `\…` outside a class.
    fn escape(&mut self) -> Result<(), PatternError> {
        let rest = self.rest();
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let len = quoted.find("\\E").unwrap_or(quoted.len());
            for c in quoted[..len].chars() {
                push_literal(&mut self.out, c);
                self.before = Before::Piece;
            }
            self.at = (self.at + 2 + len + 2).min(self.pattern.len());
            return Ok(());
        }
        let text = match rest.as_bytes().get(1) {
            None => return Err(PatternError { message: "trailing \\".to_owned(), at: self.at }),
            Some(b'd') => "[0-9]",
            Some(b'D') => "[^0-9]",
            Some(b'w') => "[0-9A-Za-z_]",
            Some(b'W') => "[^0-9A-Za-z_]",
            Some(b's') => "[\\t\\n\\x0c\\r ]",
            Some(b'S') => "[^\\t\\n\\x0c\\r ]",
            Some(b'b') => "(?-u:\\b)",
            Some(b'B') => "(?-u:\\B)",
            Some(b'A') => "\\A",
            Some(b'z') => "\\z",
            Some(b'C') => "(?s-u:.)",
            Some(b'p' | b'P') => return self.unicode_class().map(|()| self.before = Before::Piece),
            // Outside `\Q` it ends nothing and means nothing.
            Some(b'E') => "",
            Some(_) => {
                let (c, len) = literal_escape(rest, self.at)?;
                push_char(&mut self.out, c);
                self.at += len;
                self.before = Before::Piece;
                return Ok(());
            }
        };
        self.emit(2, text, if text.is_empty() { self.before } else { Before::Piece });
        Ok(())
    }

    /// `\pN`, `\p{Greek}`, `\p{^Greek}`, and the same with `P`.
    fn unicode_class(&mut self) -> Result<(), PatternError> {
        let rest = self.rest();
        let mut chars = rest[2..].chars();
        let (name, len) = match chars.next() {
            None => return Err(error("invalid character class range", rest, self.at)),
            Some('{') => match rest.find('}') {
                None => return Err(error("invalid character class range", rest, self.at)),
                Some(end) => (&rest[3..end], end + 1),
            },
            Some(c) => (&rest[2..2 + c.len_utf8()], 2 + c.len_utf8()),
        };
        let (inverted, name) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
        let upper = rest.starts_with("\\P") != inverted;
        let text = format!("\\{}{{{name}}}", if upper { 'P' } else { 'p' });
        if name != "Any" && regex::Regex::new(&text).is_err() {
            return Err(error("invalid character class range", &rest[..len], self.at));
        }
        self.out.push_str(&text);
        self.at += len;
        Ok(())
    }

    /// `[…]`.
    fn class(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        let missing = || error("missing ]", &self.pattern[start..], start);
        self.out.push('[');
        self.at += 1;
        if self.rest().starts_with('^') {
            self.out.push('^');
            self.at += 1;
        }
        let mut first = true;
        loop {
            let rest = &self.pattern[self.at..];
            match rest.as_bytes().first() {
                None => return Err(missing()),
                Some(b']') if !first => break,
                _ => {}
            }
            first = false;
            if rest.starts_with("[:") && rest.contains(":]") {
                let end = rest.find(":]").map_or(rest.len(), |at| at + 2);
                self.posix_class(&rest[..end])?;
                continue;
            }
            let perl = match rest.get(..2) {
                Some("\\d") => "0-9",
                Some("\\D") => "[^0-9]",
                Some("\\w") => "0-9A-Za-z_",
                Some("\\W") => "[^0-9A-Za-z_]",
                Some("\\s") => "\\t\\n\\x0c\\r ",
                Some("\\S") => "[^\\t\\n\\x0c\\r ]",
                Some("\\p" | "\\P") => {
                    self.unicode_class()?;
                    continue;
                }
                _ => "",
            };
            if !perl.is_empty() {
                self.out.push_str(perl);
                self.at += 2;
                continue;
            }
            self.range(&missing)?;
        }
        self.emit(1, "]", Before::Piece);
        Ok(())
    }

    fn posix_class(&mut self, text: &str) -> Result<(), PatternError> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
            "upper", "word", "xdigit",
        ];
        let name = text.trim_matches(['[', ':', ']']).trim_start_matches('^');
        if !NAMES.contains(&name) {
            return Err(error("invalid character class range", text, self.at));
        }
        self.out.push_str(text);
        self.at += text.len();
        Ok(())
    }

    /// One character or `a-z` inside a class.
    fn range(&mut self, missing: &dyn Fn() -> PatternError) -> Result<(), PatternError> {
        let start = self.at;
        let (low, len) = self.class_char(missing)?;
        self.at += len;
        let rest = self.rest();
        push_char(&mut self.out, low);
        if rest.starts_with('-') && !rest.starts_with("-]") && rest.len() > 1 {
            self.at += 1;
            let (high, len) = self.class_char(missing)?;
            self.at += len;
            if high < low {
                return Err(error("invalid character class range", &self.pattern[start..self.at], start));
            }
            self.out.push('-');
            push_char(&mut self.out, high);
        }
        Ok(())
    }

    fn class_char(&self, missing: &dyn Fn() -> PatternError) -> Result<(char, usize), PatternError> {
        let rest = self.rest();
        match rest.chars().next() {
            None => Err(missing()),
            Some('\\') if rest.len() == 1 => Err(PatternError { message: "trailing \\".to_owned(), at: self.at }),
            Some('\\') => literal_escape(rest, self.at),
            Some(c) => Ok((c, c.len_utf8())),
        }
    }
}

/// Writes a character by itself or, where it may mean something, by its number.
fn push_char(out: &mut String, c: char) {
    if c.is_ascii_control() {
        out.push_str(&format!("\\x{:02x}", c as u32));
    } else {
        push_literal(out, c);
    }
}

/// An escape that stands for one character, at the start of `rest`: the character and the length.
fn literal_escape(rest: &str, at: usize) -> Result<(char, usize), PatternError> {
    let bytes = rest.as_bytes();
    let invalid = |len: usize| {
        let shown = rest.get(..len).or_else(|| rest.get(..len + 1)).unwrap_or(rest);
        Err(error("invalid escape sequence", shown, at))
    };
    let Some(c) = rest[1..].chars().next() else { return invalid(1) };
    let simple = |c: char| Ok((c, 2));
    match c {
        'a' => simple('\x07'),
        'f' => simple('\x0c'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0b'),
        // `\1` alone would be a back reference, which RE2 has not.
        '1'..='7' if !bytes.get(2).is_some_and(|b| (b'0'..=b'7').contains(b)) => invalid(2),
        '0'..='7' => {
            let len = bytes[1..].iter().take(3).take_while(|b| (b'0'..=b'7').contains(*b)).count();
            match u32::from_str_radix(&rest[1..=len], 8).ok().and_then(char::from_u32) {
                Some(c) => Ok((c, 1 + len)),
                None => invalid(1 + len),
            }
        }
        'x' => {
            let (digits, len) = match rest[2..].strip_prefix('{') {
                Some(braced) => match braced.find('}') {
                    Some(end) => (&braced[..end], end + 4),
                    None => return invalid(rest.len()),
                },
                None => match rest.get(2..4) {
                    Some(digits) => (digits, 4),
                    None => return invalid(rest.len()),
                },
            };
            match u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) {
                Some(c) if !digits.starts_with('+') => Ok((c, len)),
                _ => invalid(len.min(rest.len())),
            }
        }
        c if c.is_ascii_punctuation() => simple(c),
        c => invalid(1 + c.len_utf8()),
    }
}

/// `{n}`, `{n,}` or `{n,m}` at the start of `rest`: its length and bounds.
fn counted(rest: &str) -> Option<(usize, (u32, Option<u32>))> {
    let inner = &rest[1..rest.find('}')?];
    let number = |text: &str| -> Option<u32> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // A number too long for us is too large for RE2 as well.
        digits.then(|| text.parse().unwrap_or(u32::MAX))
    };
    let bounds = match inner.split_once(',') {
        None => (number(inner)?, None),
        Some((low, "")) => (number(low)?, None),
        Some((low, high)) => (number(low)?, Some(number(high)?)),
    };
    Some((inner.len() + 2, bounds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pattern: &str) -> String {
        translate(pattern).expect_err(pattern).message
    }

    #[test]
    fn what_re2_refuses_is_refused_in_its_words() {
        for (pattern, message) in [
            ("[", "missing ]: ["),
            ("/h(", "missing ): /h("),
            ("a)", "unexpected ): a)"),
            ("(?!x)", "invalid perl operator: (?!"),
            ("(?<=x)", "invalid perl operator: (?<="),
            ("(?x)a", "invalid perl operator: (?x"),
            ("*a", "no argument for repetition operator: *"),
            ("a**", "bad repetition operator: **"),
            ("a{1001}", "invalid repetition size: {1001}"),
            ("a{2,1}", "invalid repetition size: {2,1}"),
            ("a\\", "trailing \\"),
            ("\\y", "invalid escape sequence: \\y"),
            ("(a)\\1", "invalid escape sequence: \\1"),
            ("[z-a]", "invalid character class range: z-a"),
            ("[[:nope:]]", "invalid character class range: [:nope:]"),
            ("(?P<n", "invalid named capture group: (?P<n"),
        ] {
            assert_eq!(refused(pattern), message, "{pattern}");
        }
    }

    #[test]
    fn the_place_of_the_mistake_is_told() {
        assert_eq!(translate("ab[c").expect_err("open").at, 2);
        assert_eq!(translate("ab(?!c)").expect_err("perl").at, 2);
    }

    #[test]
    fn what_re2_takes_is_taken_and_means_the_same() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (r"/item/\d+", &["/item/42"], &["/item/x", "/item/٣"]),
            (r"\w+", &["a_1"], &["é", ""]),
            (r"a{,2}", &["a{,2}"], &["aa"]),
            (r"x{", &["x{"], &["x"]),
            (r"[[a]+", &["[a"], &["b"]),
            (r"[a&&b]+", &["a&b"], &["c"]),
            (r"[!--]+", &["!,-"], &["."]),
            (r"a(?i)*b", &["aaB", "b"], &["Ab"]),
            (r"[]a]+", &["]a"], &["b"]),
            (r"\Qa.b\E+", &["a.b", "a.bb"], &["axb"]),
            (r"\x41\x{42}\103", &["ABC"], &["abc"]),
            (r"(?P<n>a)(?<m>b)", &["ab"], &["a"]),
            (r"(?i)abc", &["ABC"], &["ABD"]),
            (r"\<a\>", &["<a>"], &["a"]),
            (r"[\d\-.]+", &["1-2.3"], &["a"]),
            (r"[^\W]+", &["ab"], &["a-"]),
            (r"[[:alpha:]]+", &["ab"], &["a1"]),
            (r"\p{Greek}+\pL", &["αa"], &["aa"]),
            (r"a.b", &["axb", "aéb"], &["a\nb"]),
        ];
        for (pattern, yes, no) in cases {
            let text = format!("^(?:{})$", translate(pattern).expect(pattern));
            let regex = regex::Regex::new(&text).expect(&text);
            assert!(yes.iter().all(|t| regex.is_match(t)), "{pattern} as {text}: {yes:?}");
            assert!(!no.iter().any(|t| regex.is_match(t)), "{pattern} as {text}: {no:?}");
        }
    }

    #[test]
    fn every_translation_compiles_or_is_refused_before() {
        // Pieces that are easy to get wrong, in all orders.
        let pieces = ["(", ")", "[", "]", "{2}", "{", "}", "\\", "^", "-", "a", "?", "*", "|", "&&", "(?i)", "\\d", ":"];
        let count = pieces.len();
        for n in 0..count.pow(4) {
            let pattern: String =
                [n, n / count, n / count / count, n / count.pow(3)].iter().map(|i| pieces[i % count]).collect();
            if let Ok(text) = translate(&pattern) {
                assert!(regex_compiles(&text), "{pattern} became {text}");
            }
        }
    }

    /// Parses without compiling, which is what takes the time; `(?-u:\b)` and classes need the bytes' parser.
    fn regex_compiles(text: &str) -> bool {
        regex::bytes::RegexBuilder::new(text).dfa_size_limit(0).build().is_ok()
    }
}
