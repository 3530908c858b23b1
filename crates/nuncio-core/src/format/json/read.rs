//! Reading the small JSON texts that stand inside formats.

/// Deepest nesting read.
const MAX_DEPTH: u32 = 32;

/// A JSON value; numbers as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// `null`, `true`, `false`
    Word,
    Number(String),
    String(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    /// A property of an object; the last of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let Value::Object(properties) = self else { return None };
        properties.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Reads one value; the error is the byte where it stops being JSON.
pub(crate) fn read(text: &str) -> Result<Value, usize> {
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
                if text.parse::<f64>().is_ok() { Ok(Value::Number(text.to_owned())) } else { Err(from) }
            }
            _ => {
                let rest = &self.text[self.at..];
                let word = ["null", "true", "false"].into_iter().find(|word| rest.starts_with(word));
                self.at += word.ok_or(self.at)?.len();
                Ok(Value::Word)
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
                let digits = self.text.get(self.at..self.at + 4).ok_or(self.at)?;
                let code = u32::from_str_radix(digits, 16).map_err(|_| self.at)?;
                self.at += 4;
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.at - 1),
        })
    }
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
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
