//! Reading JSON texts: those that stand inside formats, and bodies.
//!
//! RFC 8259 to the letter; of properties of one name the last one counts; a half of a surrogate pair becomes U+FFFD.

/// Deepest nesting read.
const MAX_DEPTH: u32 = 32;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// Properties in the order they were written.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// A property of an object; the last of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Value::Object(properties) = self else { return None };
        properties.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Reads one value.
///
/// # Errors
/// The byte where it stops being JSON, or is nested too deep.
pub fn read(text: &str) -> Result<Value, usize> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() { Err(reader.at) } else { Ok(value) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it comes next, white space skipped.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), usize> {
        if self.take(byte) { Ok(()) } else { Err(self.at) }
    }

    fn value(&mut self, depth: u32) -> Result<Value, usize> {
        if depth > MAX_DEPTH {
            return Err(self.at);
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => {
                let from = self.at;
                while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
                    self.at += 1;
                }
                let text = &self.text[from..self.at];
                if is_number(text.as_bytes()) { Ok(Value::Number(text.to_owned())) } else { Err(from) }
            }
            _ => {
                let rest = &self.text[self.at..];
                let words = [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
                let (word, value) = words.into_iter().find(|(word, _)| rest.starts_with(word)).ok_or(self.at)?;
                self.at += word.len();
                Ok(value)
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, usize> {
        self.expect(b'{')?;
        let mut properties = Vec::new();
        if self.take(b'}') {
            return Ok(Value::Object(properties));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.expect(b':')?;
            properties.push((name, self.value(depth + 1)?));
            if !self.take(b',') {
                self.expect(b'}')?;
                return Ok(Value::Object(properties));
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, usize> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.take(b',') {
                self.expect(b']')?;
                return Ok(Value::Array(items));
            }
        }
    }

    fn string(&mut self) -> Result<String, usize> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let next = rest.chars().next().ok_or(self.at)?;
            self.at += next.len_utf8();
            match next {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                c if c < ' ' => return Err(self.at - 1),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, usize> {
        let byte = self.peek().ok_or(self.at)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.four_digits()?;
                let is_pair = (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u");
                if !is_pair {
                    return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                let back = self.at;
                self.at += 2;
                let second = self.four_digits()?;
                if (0xdc00..0xe000).contains(&second) {
                    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).unwrap_or(char::REPLACEMENT_CHARACTER)
                } else {
                    self.at = back;
                    char::REPLACEMENT_CHARACTER
                }
            }
            _ => return Err(self.at - 1),
        })
    }

    fn four_digits(&mut self) -> Result<u32, usize> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())).ok_or(self.at)?;
        let code = u32::from_str_radix(digits, 16).map_err(|_| self.at)?;
        self.at += 4;
        Ok(code)
    }
}

/// Whether a text is a number as JSON writes them.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let len = digits(fraction);
        if len == 0 {
            return false;
        }
        rest = &fraction[len..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_faults_are_placed() {
        let value = read(r#" {"a": ["x", -1.5e3, null], "b": {"c": "\u0041\n"}} "#).unwrap();
        assert_eq!(value.get("b").and_then(|b| b.get("c")), Some(&Value::String("A\n".to_owned())));
        for (text, at) in [("x", 0), ("{\"a\" 1}", 5), ("[1,]", 3), ("\"a", 2), ("1 2", 2), ("", 0)] {
            assert_eq!(read(text), Err(at), "{text}");
        }
        assert_eq!(read(r#""\ud83d\ude00 \ud83d \ud83d\u0041""#), Ok(Value::String("\u{1f600} \u{fffd} \u{fffd}A".to_owned())));
        for number in ["0", "-0", "10.5", "1e3", "1E-3", "-1.0e+2"] {
            assert_eq!(read(number), Ok(Value::Number(number.to_owned())), "{number}");
        }
        for text in ["01", "1.", "-", "+1", ".5", "1e", "1e+", "--1", "1.e3", r#""\u00g0""#, r#""\u+123""#] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
