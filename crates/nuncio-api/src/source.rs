//! A named text and places in it.

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
}

impl Source {
    /// Names a text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source {
            name: name.into(),
            text: text.into(),
        }
    }

    /// The text of a span; empty when it lies outside.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or("")
    }

    /// Line and column of a byte offset. Linear in the offset: for messages, not for loops.
    pub fn position(&self, offset: u32) -> Position {
        let mut at = (offset as usize).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        Position {
            line,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The line (from 1) without its line end; empty beyond the last.
    pub fn line(&self, line: usize) -> &str {
        let text = self
            .text
            .split('\n')
            .nth(line.saturating_sub(1))
            .unwrap_or("");
        text.strip_suffix('\r').unwrap_or(text)
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
    }
}
