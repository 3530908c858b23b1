//! Character classes: `[…]`, `\d` and its like, `\p{…}`. A class is a set of bytes.

use super::escape::literal_escape;
use super::{Before, PatternError, Translator, error, push_literal, trailing_backslash};

impl Translator<'_> {
    /// `\d` and its like, `\pN`, `\p{Greek}`, `\p{^Greek}`, in or outside a class: what goes between brackets.
    pub(super) fn named_class(&self) -> Result<Option<(String, usize)>, PatternError> {
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
    pub(super) fn class(&mut self) -> Result<(), PatternError> {
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
