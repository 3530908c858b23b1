//! JSON text → [`Tree`]: RFC 8259, plus what Envoy's JSON reader also takes (each with a warning): keys without quotes,
//! single quotes, a comma before a closing bracket.
//!
//! Stops at the first error, which it reports where it is.

use super::yaml::{duplicate, duplicates};
use super::{Content, NodeId, Tree};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};

/// Deeper documents are refused.
const MAX_DEPTH: usize = 255;

struct Reader<'s> {
    source: &'s Source,
    text: &'s [u8],
    at: usize,
    depth: usize,
    tree: Tree,
    warnings: Vec<Diagnostic>,
}

/// Parses the text; warnings come with the tree, an error instead of it.
pub(crate) fn parse(source: &Source) -> Result<(Tree, Vec<Diagnostic>), Box<Diagnostic>> {
    let text = source.text.as_bytes();
    let mut reader = Reader {
        source,
        text,
        at: 0,
        depth: 0,
        tree: Tree::default(),
        warnings: Vec::new(),
    };
    if text.starts_with("\u{feff}".as_bytes()) {
        reader.at = 3;
    }
    reader.blank();
    if reader.at < text.len() {
        let root = reader.value()?;
        reader.tree.set_root(root);
        reader.blank();
        if reader.at < text.len() {
            return Err(reader.error("text after the end of the JSON document"));
        }
    }
    Ok((reader.tree, reader.warnings))
}

impl<'s> Reader<'s> {
    fn error(&self, message: impl Into<String>) -> Box<Diagnostic> {
        self.error_at(self.at, message)
    }

    fn error_at(&self, at: usize, message: impl Into<String>) -> Box<Diagnostic> {
        let mut start = at.min(self.text.len());
        while !self.source.text.is_char_boundary(start) {
            start -= 1;
        }
        let length = self.source.text[start..]
            .chars()
            .next()
            .map_or(0, char::len_utf8);
        Box::new(Diagnostic::error(
            codes::JSON_SYNTAX,
            Span::new(start, start + length),
            message,
        ))
    }

    fn lenient(&mut self, span: Span, what: &str) {
        let text = format!("{what} is not JSON, though Envoy takes it");
        self.warnings
            .push(Diagnostic::warning(codes::JSON_LENIENT, span, text));
    }

    fn blank(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expected(&self, what: &str) -> Box<Diagnostic> {
        match self
            .source
            .text
            .get(self.at..)
            .and_then(|t| t.chars().next())
        {
            None => self.error(format!("the text ends where {what} should be")),
            Some(found) => self.error(format!("found `{found}` where {what} should be")),
        }
    }

    fn value(&mut self) -> Result<NodeId, Box<Diagnostic>> {
        let start = self.at;
        match self.text.get(self.at) {
            Some(b'{' | b'[') if self.depth == MAX_DEPTH => Err(Box::new(Diagnostic::error(
                codes::TOO_DEEP,
                Span::new(start, start + 1),
                "nested too deeply",
            ))),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"' | b'\'') => {
                let text = self.string()?;
                let text = self.tree.add_text(&text);
                Ok(self.tree.add(
                    Span::new(start, self.at),
                    false,
                    Content::String { text, plain: false },
                ))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z') => self.literal(),
            _ => Err(self.expected("a value")),
        }
    }

    fn nested(
        &mut self,
        read: impl Fn(&mut Self) -> Result<NodeId, Box<Diagnostic>>,
    ) -> Result<NodeId, Box<Diagnostic>> {
        self.depth += 1;
        let node = read(self);
        self.depth -= 1;
        node
    }

    fn literal(&mut self) -> Result<NodeId, Box<Diagnostic>> {
        let words = [
            ("true", Content::Bool(true)),
            ("false", Content::Bool(false)),
            ("null", Content::Null),
        ];
        for (word, content) in words {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                let span = Span::new(self.at, self.at + word.len());
                self.at += word.len();
                return Ok(self.tree.add(span, false, content));
            }
        }
        Err(self.expected("a value"))
    }

    fn object(&mut self) -> Result<NodeId, Box<Diagnostic>> {
        let start = self.at;
        self.at += 1;
        let mut pairs = Vec::new();
        loop {
            self.blank();
            if self.text.get(self.at) == Some(&b'}') {
                break;
            }
            let key = self.key()?;
            self.blank();
            if self.text.get(self.at) != Some(&b':') {
                return Err(self.expected("`:`"));
            }
            self.at += 1;
            self.blank();
            let value = self.value()?;
            pairs.push((key, value));
            if !self.comma(b'}')? {
                break;
            }
        }
        self.at += 1;
        for (first, again) in duplicates(&self.tree, &pairs) {
            let (was, is) = (
                self.tree.span(pairs[first].0),
                self.tree.span(pairs[again].0),
            );
            self.warnings.push(duplicate(
                self.source,
                was,
                is,
                self.tree.key(pairs[again].0),
            ));
        }
        Ok(self.tree.add_map(Span::new(start, self.at), true, &pairs))
    }

    fn array(&mut self) -> Result<NodeId, Box<Diagnostic>> {
        let start = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blank();
            if self.text.get(self.at) == Some(&b']') {
                break;
            }
            items.push(self.value()?);
            if !self.comma(b']')? {
                break;
            }
        }
        self.at += 1;
        Ok(self.tree.add_list(Span::new(start, self.at), true, &items))
    }

    /// After an item: `true` when another may follow, `false` at the closing bracket.
    fn comma(&mut self, close: u8) -> Result<bool, Box<Diagnostic>> {
        self.blank();
        match self.text.get(self.at) {
            Some(b',') => {
                let span = Span::new(self.at, self.at + 1);
                self.at += 1;
                self.blank();
                if self.text.get(self.at) == Some(&close) {
                    self.lenient(span, "a comma before the closing bracket");
                }
                Ok(true)
            }
            Some(b) if *b == close => Ok(false),
            _ => Err(self.expected(if close == b'}' {
                "`,` or `}`"
            } else {
                "`,` or `]`"
            })),
        }
    }

    fn key(&mut self) -> Result<NodeId, Box<Diagnostic>> {
        let start = self.at;
        let text = match self.text.get(self.at) {
            Some(b'"' | b'\'') => self.string()?,
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$') => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$');
                let length = self.text[start..].iter().take_while(|b| word(b)).count();
                self.at += length;
                self.lenient(Span::new(start, self.at), "a key without quotes");
                self.source.text[start..self.at].to_owned()
            }
            _ => return Err(self.expected("a key")),
        };
        let text = self.tree.add_text(&text);
        Ok(self.tree.add(
            Span::new(start, self.at),
            false,
            Content::String { text, plain: false },
        ))
    }

    fn number(&mut self) -> Result<NodeId, Box<Diagnostic>> {
        let start = self.at;
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        let whole = self.digits();
        if whole == 0 {
            return Err(self.expected("a digit"));
        }
        if whole > 1 && self.text[self.at - whole] == b'0' {
            return Err(self.error_at(start, "a number cannot begin with 0"));
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.expected("a digit"));
            }
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.expected("a digit"));
            }
        }
        let text = &self.source.text[start..self.at];
        if !text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(self.error_at(start, format!("{text} is too large a number")));
        }
        let text = self.tree.add_text(text);
        Ok(self
            .tree
            .add(Span::new(start, self.at), false, Content::Number(text)))
    }

    fn digits(&mut self) -> usize {
        let count = self.text[self.at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        self.at += count;
        count
    }

    fn string(&mut self) -> Result<String, Box<Diagnostic>> {
        let start = self.at;
        let quote = self.text[self.at];
        self.at += 1;
        let mut text = String::new();
        loop {
            let from = self.at;
            while self
                .text
                .get(self.at)
                .is_some_and(|b| *b != quote && *b != b'\\')
            {
                self.at += 1;
            }
            text.push_str(&self.source.text[from..self.at]);
            match self.text.get(self.at) {
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => break,
                None => return Err(self.error_at(start, "this string has no end")),
            }
        }
        self.at += 1;
        if quote == b'\'' {
            self.lenient(Span::new(start, self.at), "a string in single quotes");
        }
        Ok(text)
    }

    fn escape(&mut self) -> Result<char, Box<Diagnostic>> {
        let start = self.at;
        self.at += 2;
        Ok(match self.text.get(start + 1) {
            Some(c @ (b'"' | b'\'' | b'\\' | b'/')) => char::from(*c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex(start)?;
                let code = if (0xd800..0xdc00).contains(&high)
                    && self.text[self.at..].starts_with(b"\\u")
                {
                    self.at += 2;
                    let low = self.hex(start)?;
                    if (0xdc00..0xe000).contains(&low) {
                        0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    } else {
                        high
                    }
                } else {
                    high
                };
                char::from_u32(code)
                    .ok_or_else(|| self.error_at(start, "half of a surrogate pair"))?
            }
            _ => return Err(self.error_at(start, "not an escape that JSON has")),
        })
    }

    fn hex(&mut self, start: usize) -> Result<u32, Box<Diagnostic>> {
        let digits = self.source.text.get(self.at..self.at + 4);
        let code = digits
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.ok_or_else(|| self.error_at(start, "`\\u` needs four hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    fn fails_at(text: &str) -> (usize, String) {
        let source = Source::new("t", text);
        let error = parse(&source).expect_err(text);
        (
            source
                .position(error.span.expect("has a place").start)
                .column,
            error.message,
        )
    }

    #[test]
    fn reads_values_with_their_spans() {
        let source = Source::new(
            "t",
            r#"{"a": [1, -2.5e3, "x\u00e9\ud83d\ude00", null, true]}"#,
        );
        let (tree, warnings) = parse(&source).expect("parses");
        assert!(warnings.is_empty());
        let (_, list) = tree.get(tree.root().expect("root"), "a").expect("a");
        let Value::List(items) = tree.value(list) else {
            unreachable!("a list")
        };
        assert!(matches!(tree.value(items[1]), Value::Number("-2.5e3")));
        assert!(matches!(tree.value(items[2]), Value::String("xé😀")));
        assert_eq!(source.slice(tree.span(items[0])), "1");
    }

    #[test]
    fn errors_point_at_the_character() {
        assert_eq!(fails_at(r#"{ "a": { "b": [ }"#).0, 17);
        assert_eq!(fails_at(r#"{"a" 1}"#).0, 6);
        assert_eq!(fails_at(r#"{"a": 01}"#).0, 7);
        assert_eq!(fails_at(r#"{"a": "x}"#).0, 7);
        assert_eq!(fails_at(r#"{"a": 1"#).0, 8);
        assert_eq!(fails_at(r#"{} x"#).0, 4);
        assert_eq!(fails_at(r#"{"a": "\ud83d"}"#).0, 8);
        assert_eq!(fails_at(r#"{"a": "\u00é"}"#).0, 8);
    }

    #[test]
    fn envoys_leniencies_are_taken_with_a_warning() {
        let (tree, warnings) = parse(&Source::new("t", "{a: 'b', \"c\": [1,],}")).expect("parses");
        assert!(matches!(
            tree.value(tree.get(tree.root().expect("root"), "a").expect("a").1),
            Value::String("b")
        ));
        assert_eq!(warnings.len(), 4);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(fails_at(&"[".repeat(100_000)).1.contains("deep"));
    }
}
