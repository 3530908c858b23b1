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

    /// `\d` and its like, `\pN`, `\p{Greek}`, `\p{^Greek}`, in or outside a class: what goes between brackets.
    fn named_class(&self) -> Result<Option<(String, usize)>, PatternError> {
        let rest = self.rest();
        let perl = match rest.get(1) {
            Some(b'd') => "0-9",
            Some(b'D') => "[^0-9]",
            Some(b'w') => "0-9A-Za-z_",
            Some(b'W') => "[^0-9A-Za-z_]",
            Some(b's') => "\\t\\n\\x0c\\r ",
            Some(b'S') => "[^\\t\\n\\x0c\\r ]",
            Some(b'p' | b'P') => return self.unicode_class().map(Some),
            _ => return Ok(None),
        };
        Ok(Some((perl.to_owned(), 2)))
    }

    /// The Latin-1 letters of a Unicode class.
    fn unicode_class(&self) -> Result<(String, usize), PatternError> {
        let rest = self.rest();
        let (name, len) = match rest.get(2) {
            Some(b'{') => match rest.iter().position(|&b| b == b'}') {
                None => return Err(error("invalid character class range", rest, self.at)),
                Some(end) => (&rest[3..end], end + 1),
            },
            Some(_) => (&rest[2..3], 3),
            None => return Err(error("invalid character class range", rest, self.at)),
        };
        let (inverted, name) = name.strip_prefix(b"^").map_or((false, name), |name| (true, name));
        let wanted = rest.starts_with(b"\\p") != inverted;
        let known = std::str::from_utf8(name).ok().and_then(|name| match name {
            "Any" => regex::Regex::new("(?s).").ok(),
            name => regex::Regex::new(&format!("\\p{{{name}}}")).ok(),
        });
        let Some(known) = known else {
            return Err(error("invalid character class range", &rest[..len], self.at));
        };
        let mut class = String::new();
        for byte in 0..=0xff_u8 {
            if known.is_match(char::from(byte).encode_utf8(&mut [0; 4])) == wanted {
                class.push_str(&format!("\\x{byte:02x}"));
            }
        }
        // Nothing at all is a class too.
        Ok((if class.is_empty() { "[^\\x00-\\xff]".to_owned() } else { class }, len))
    }

    /// `[…]`.
    fn class(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        self.emit(1, "[", self.before);
        if self.rest().starts_with(b"^") {
            self.emit(1, "^", self.before);
        }
        let mut first = true;
        loop {
            let rest = self.rest();
            match rest.first() {
                None => return Err(error("missing ]", &self.pattern[start..], start)),
                Some(b']') if !first => break,
                _ => first = false,
            }
            let posix = rest.windows(2).position(|pair| pair == b":]").filter(|_| rest.starts_with(b"[:"));
            if let Some(end) = posix {
                self.posix_class(&rest[..end + 2])?;
            } else if rest[0] == b'\\'
                && let Some((class, len)) = self.named_class()?
            {
                self.emit(len, &class, self.before);
            } else {
                self.range(start)?;
            }
        }
        self.emit(1, "]", Before::Piece(1));
        Ok(())
    }

    fn posix_class(&mut self, text: &[u8]) -> Result<(), PatternError> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
            "upper", "word", "xdigit",
        ];
        let whole = String::from_utf8_lossy(text);
        let name = whole.trim_matches(['[', ':', ']']).trim_start_matches('^');
        if !NAMES.contains(&name) {
            return Err(error("invalid character class range", text, self.at));
        }
        self.emit(text.len(), &whole, self.before);
        Ok(())
    }

    /// One character or `a-z` inside the class that began at `class`.
    fn range(&mut self, class: usize) -> Result<(), PatternError> {
        let start = self.at;
        let low = self.class_byte(class)?;
        push_literal(&mut self.out, low);
        let rest = self.rest();
        if rest.starts_with(b"-") && !rest.starts_with(b"-]") && rest.len() > 1 {
            self.at += 1;
            let high = self.class_byte(class)?;
            if high < low {
                return Err(error("invalid character class range", &self.pattern[start..self.at], start));
            }
            self.out.push('-');
            push_literal(&mut self.out, high);
        }
        Ok(())
    }

    fn class_byte(&mut self, class: usize) -> Result<u8, PatternError> {
        let rest = self.rest();
        let (byte, len) = match rest {
            [] => return Err(error("missing ]", &self.pattern[class..], class)),
            [b'\\'] => return Err(trailing_backslash(self.at)),
            [b'\\', ..] => literal_escape(rest, self.at)?,
            [byte, ..] => (*byte, 1),
        };
        self.at += len;
        Ok(byte)
    }
}

/// An escape that stands for one byte, at the start of `rest`: the byte and the length.
fn literal_escape(rest: &[u8], at: usize) -> Result<(u8, usize), PatternError> {
    let invalid = |len: usize| Err(error("invalid escape sequence", &rest[..len.min(rest.len())], at));
    let Some(&byte) = rest.get(1) else { return invalid(1) };
    let is_octal = |at: usize| rest.get(at).is_some_and(|b| (b'0'..=b'7').contains(b));
    match byte {
        b'a' => Ok((0x07, 2)),
        b'f' => Ok((0x0c, 2)),
        b'n' => Ok((b'\n', 2)),
        b'r' => Ok((b'\r', 2)),
        b't' => Ok((b'\t', 2)),
        b'v' => Ok((0x0b, 2)),
        // `\1` alone would be a back reference, which RE2 has not.
        b'1'..=b'7' if !is_octal(2) => invalid(2),
        b'0'..=b'7' => {
            let len = (1..4).take_while(|&at| is_octal(at)).count();
            let value = rest[1..=len].iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            u8::try_from(value).map_or_else(|_| invalid(1 + len), |byte| Ok((byte, 1 + len)))
        }
        b'x' => hexadecimal(rest).map_or_else(invalid, Ok),
        byte if byte.is_ascii_punctuation() => Ok((byte, 2)),
        // A letter that means nothing; outside ASCII, show it whole.
        byte => invalid(2 + rest[2..].iter().take_while(|b| byte >= 0xc0 && (0x80..0xc0).contains(*b)).count()),
    }
}

/// `\x41` and `\x{41}`; the error is the length of what RE2 complains about.
fn hexadecimal(rest: &[u8]) -> Result<(u8, usize), usize> {
    let digit = |at: usize| rest.get(at).and_then(|&b| char::from(b).to_digit(16));
    if rest.get(2) != Some(&b'{') {
        let high = digit(2).ok_or(3_usize)?;
        let low = digit(3).ok_or(4_usize)?;
        return Ok(((high * 16 + low) as u8, 4));
    }
    let mut value = 0;
    let mut at = 3;
    while let Some(next) = digit(at) {
        value = value * 16 + next;
        at += 1;
        if value > 0xff {
            return Err(at);
        }
    }
    if at == 3 || rest.get(at) != Some(&b'}') {
        return Err(at + 1);
    }
    Ok((value as u8, at + 1))
}

/// `{n}`, `{n,}` or `{n,m}` at the start of `rest`: its length and bounds.
fn counted(rest: &[u8]) -> Option<(usize, (u32, Option<u32>))> {
    let end = rest.iter().position(|&b| b == b'}')?;
    let inner = std::str::from_utf8(&rest[1..end]).ok()?;
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
            ("(?", "invalid perl operator: (?"),
            ("(?P", "invalid perl operator: (?P"),
            ("(?i", "invalid perl operator: (?i"),
            ("(?i-)a", "invalid perl operator: (?i-)"),
            ("(?--i)", "invalid perl operator: (?--"),
            ("a*?+", "bad repetition operator: *?+"),
            ("x{2}{3}", "bad repetition operator: {2}{3}"),
            ("(ab{500}){3}", "invalid repetition size: {3}"),
            ("((a{100}){100}){100}", "invalid repetition size: {100}"),
            ("\\x{110000}", "invalid escape sequence: \\x{110"),
            ("\\x", "invalid escape sequence: \\x"),
            ("\\xg", "invalid escape sequence: \\xg"),
            ("\\u1234", "invalid escape sequence: \\u"),
            ("[a-\\d]", "invalid escape sequence: \\d"),
            ("\\p{Nope}", "invalid character class range: \\p{Nope}"),
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
            (r"[\s]\S", &["\t!"], &["\x0b!"]),
            (r"a{,2}", &["a{,2}"], &["aa"]),
            (r"x{", &["x{"], &["x"]),
            (r"[[a]+", &["[a"], &["b"]),
            (r"[a&&b]+", &["a&b"], &["c"]),
            (r"[!--]+", &["!,-"], &["."]),
            (r"[a-b-c]+", &["a-c"], &["d"]),
            (r"a(?i)*b", &["aaB", "b"], &["Ab"]),
            (r"[]a]+", &["]a"], &["b"]),
            (r"\Qa.b\E+", &["a.b", "a.bb"], &["axb"]),
            (r"\x41\x{42}\103", &["ABC"], &["abc"]),
            (r"(?P<n>a)(?<m>b)(?P<n>c)", &["abc"], &["a"]),
            (r"(?i)abc", &["ABC"], &["ABD"]),
            (r"\<a\>", &["<a>"], &["a"]),
            (r"[\d\-.]+", &["1-2.3"], &["a"]),
            (r"[^\W]+", &["ab"], &["a-"]),
            (r"[[:alpha:]]+", &["ab"], &["a1"]),
            (r"\pL+", &["ab"], &["a1"]),
            (r"[^\p{Greek}]", &["a"], &["ab"]),
            (r"\p{Greek}", &[], &["a", "α"]),
        ];
        for (pattern, yes, no) in cases {
            let regex = compiled(pattern);
            assert!(yes.iter().all(|t| regex.is_match(t.as_bytes())), "{regex}: {yes:?}");
            assert!(!no.iter().any(|t| regex.is_match(t.as_bytes())), "{regex}: {no:?}");
        }
    }

    #[test]
    fn patterns_are_about_bytes() {
        let cases: &[(&str, &[&[u8]], &[&[u8]])] = &[
            ("a.b", &[b"a\xffb"], &["aéb".as_bytes()]),
            ("aé*b", &["aéb".as_bytes(), b"a\xc3\xa9\xa9b", b"a\xc3b"], &[b"ab"]),
            (r"\x{e9}", &[b"\xe9"], &["é".as_bytes()]),
            ("[é]", &[b"\xc3", b"\xa9"], &["é".as_bytes()]),
            (r"\pL\D", &[b"\xe9\xe9"], &["é1".as_bytes()]),
        ];
        for (pattern, yes, no) in cases {
            let regex = compiled(pattern);
            assert!(yes.iter().all(|t| regex.is_match(t)), "{regex}: {yes:?}");
            assert!(!no.iter().any(|t| regex.is_match(t)), "{regex}: {no:?}");
        }
    }

    fn compiled(pattern: &str) -> regex::bytes::Regex {
        let text = format!("^(?:{})$", translate(pattern).expect(pattern));
        regex::bytes::RegexBuilder::new(&text).unicode(false).build().expect(&text)
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

    fn regex_compiles(text: &str) -> bool {
        regex::bytes::RegexBuilder::new(text).unicode(false).build().is_ok()
    }
}
