//! A named text and places in it.

use crate::codes;
use crate::diagnostic::Diagnostic;
use std::sync::OnceLock;

/// A range of bytes of a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`; offsets beyond 4 GiB are cut.
    pub fn new(start: usize, end: usize) -> Span {
        let cut = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span {
            start: cut(start),
            end: cut(end.max(start)),
        }
    }

    /// From the start of this one to the end of the other.
    pub fn to(self, other: Span) -> Span {
        Span {
            start: self.start,
            end: self.end.max(other.end),
        }
    }

    /// The other lies within this one.
    pub fn contains(self, other: Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// As indices of the text.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Line and column, both from 1; a column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// A configuration text and the name people know it by (a path, `--config-yaml`, a resource name).
#[derive(Debug, Clone)]
pub struct Source {
    /// Shown before the line number.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Where each line begins; made when first asked for, and right as long as the text is left alone.
    lines: OnceLock<Vec<u32>>,
}

impl Source {
    /// Names a text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source {
            name: name.into(),
            text: text.into(),
            lines: OnceLock::new(),
        }
    }

    /// Names the content of a file, which must be UTF-8.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Source, Box<NotUtf8>> {
        let name = name.into();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source::new(name, text)),
            Err(why) => {
                let at = why.utf8_error().valid_up_to();
                let source =
                    Source::new(name, String::from_utf8_lossy(why.as_bytes()).into_owned());
                let message = "this byte is not UTF-8";
                // The replacement character stands where the byte was, and takes three.
                let error = Diagnostic::error(codes::NOT_UTF8, Span::new(at, at + 3), message)
                    .help("save the file as UTF-8; is it compressed, or in UTF-16?");
                Err(Box::new(NotUtf8 { source, error }))
            }
        }
    }

    /// The text of a span; empty when it lies outside.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or("")
    }

    /// Line and column of a byte offset.
    pub fn position(&self, offset: u32) -> Position {
        let mut at = (offset as usize).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.lines().partition_point(|start| *start as usize <= at);
        let start = self
            .lines()
            .get(line.wrapping_sub(1))
            .map_or(0, |start| *start as usize);
        Position {
            line,
            column: self.text[start..at].chars().count() + 1,
        }
    }

    /// The line (from 1) without its line end; empty beyond the last.
    pub fn line(&self, line: usize) -> &str {
        let start = self
            .lines()
            .get(line.wrapping_sub(1))
            .map(|start| *start as usize);
        let text = start.and_then(|start| self.text.get(start..)).unwrap_or("");
        let text = text.split('\n').next().unwrap_or("");
        text.strip_suffix('\r').unwrap_or(text)
    }

    fn lines(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
            std::iter::once(0)
                .chain(ends.map(|(at, _)| at as u32 + 1))
                .collect()
        })
    }

    /// Byte offset where the line that holds `offset` begins.
    pub fn line_start(&self, offset: u32) -> usize {
        let before = self.text.get(..offset as usize).unwrap_or(&self.text);
        before.rfind('\n').map_or(0, |n| n + 1)
    }

    /// Byte offset just after the line end of the line that holds `offset`.
    pub fn line_end(&self, offset: u32) -> usize {
        let from = (offset as usize).min(self.text.len());
        self.text.as_bytes()[from..]
            .iter()
            .position(|b| *b == b'\n')
            .map_or(self.text.len(), |n| from + n + 1)
    }
}

/// A file that is not text.
#[derive(Debug, Clone)]
pub struct NotUtf8 {
    /// The file with replacement characters, to show the place in.
    pub source: Source,
    /// The finding.
    pub error: Diagnostic,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let source = Source::new("x", "a\n é: b\r\nc");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        let b = source.text.find('b').expect("there") as u32;
        assert_eq!(source.position(b), Position { line: 2, column: 5 });
        assert_eq!(source.position(999), Position { line: 3, column: 2 });
        assert_eq!(source.line(2), " é: b");
        assert_eq!(
            (source.line(3), source.line(4), source.line(0)),
            ("c", "", "")
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_located() {
        let refused = Source::from_bytes("x", b"a: b\nc: \xff".to_vec()).expect_err("not UTF-8");
        let span = refused.error.span.expect("a place");
        assert_eq!(
            refused.source.position(span.start),
            Position { line: 2, column: 4 }
        );
        assert_eq!(refused.source.slice(span), "\u{fffd}");
    }
}
