//! What a YAML syntax error really means, and where it really is.
//!
//! A parser notices a wrong indentation only when a later line fits nowhere; the key that is to blame stands above.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};
use granit_parser::ScanError;

/// Turns a parser's error into a diagnostic at the place to change.
pub(super) fn explain(source: &Source, error: &ScanError, shift: usize) -> Diagnostic {
    let at = error
        .marker()
        .byte_offset()
        .map_or(0, |b| b + shift)
        .min(source.text.len());
    // An error at the end of the text belongs to the last line that has some.
    let at = if source.text[at..].trim().is_empty() {
        source.text.trim_end().len()
    } else {
        at
    };
    let here = one_character(source, at);
    // What looks like JSON was meant as JSON, and JSON's errors are plainer.
    if source.text.trim_start().starts_with(['{', '['])
        && let Err(error) = super::json::parse(source)
    {
        return *error;
    }
    let known = tab(source, at)
        .or_else(|| indentation(source, at))
        .or_else(|| unclosed(source, at));
    if let Some(diagnostic) = known {
        return diagnostic.note(format!("the YAML parser says: {}", error.info()));
    }
    let mut diagnostic = Diagnostic::error(
        codes::YAML_SYNTAX,
        here,
        format!("not valid YAML: {}", error.info()),
    );
    let line = source.line(source.position(here.start).line);
    if let Some(help) = hint(line) {
        diagnostic = diagnostic.help(help);
    }
    diagnostic
}

fn one_character(source: &Source, at: usize) -> Span {
    let mut at = at.min(source.text.len());
    while !source.text.is_char_boundary(at) {
        at -= 1;
    }
    let length = source.text[at..]
        .chars()
        .next()
        .filter(|c| *c != '\n')
        .map_or(0, char::len_utf8);
    Span::new(at, at + length)
}

/// Mistakes that one line shows by itself.
fn hint(line: &str) -> Option<&'static str> {
    let value = line.split_once(": ").map_or("", |(_, v)| v.trim_start());
    if value.starts_with(['@', '`', '%']) {
        return Some("a value cannot begin with this character; put the value in quotes");
    }
    if value.contains(": ") && !value.starts_with(['{', '[', '"', '\'', '#']) {
        return Some("a value that contains `: ` needs quotes");
    }
    None
}

/// A tab where indentation should be, on the line of the error or a line beside it: a scalar that a tab cuts short is
/// reported where it began.
fn tab(source: &Source, at: usize) -> Option<Diagnostic> {
    let start = source.line_start(at as u32);
    let before = start
        .checked_sub(1)
        .map(|end| source.line_start(end as u32));
    for start in [Some(start), before, Some(source.line_end(at as u32))]
        .into_iter()
        .flatten()
    {
        let line = source.text.get(start..)?;
        let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..blank].find('\t') {
            let span = Span::new(start + tab, start + tab + 1);
            let diagnostic =
                Diagnostic::error(codes::YAML_SYNTAX, span, "a tab is used for indentation");
            return Some(
                diagnostic
                    .label("tab character")
                    .help("indent with spaces; YAML forbids tabs here"),
            );
        }
    }
    None
}

/// A bracket that the line of the error, or the one before, leaves open.
fn unclosed(source: &Source, at: usize) -> Option<Diagnostic> {
    let start = source.line_start(at as u32);
    let before = start
        .checked_sub(1)
        .map(|end| source.line_start(end as u32));
    let at = [before, Some(start)]
        .into_iter()
        .flatten()
        .find_map(|start| {
            let line = source.text.get(start..)?.lines().next()?;
            open_bracket(line).map(|at| start + at)
        })?;
    let bracket = &source.text[at..=at];
    let diagnostic = Diagnostic::error(
        codes::YAML_SYNTAX,
        Span::new(at, at + 1),
        format!("`{bracket}` is not closed"),
    );
    Some(diagnostic.label("opened here"))
}

/// The innermost bracket that is opened and not closed in a line, outside of quotes and comments.
fn open_bracket(line: &str) -> Option<usize> {
    let mut open = Vec::new();
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(q), _) if c == q && before != '\\' => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (None, '#') if before == ' ' => break,
            // A bracket inside a plain word opens nothing.
            (None, '[' | '{') if matches!(before, ' ' | '[' | '{' | ',' | ':') => open.push(at),
            (None, ']' | '}') => drop(open.pop()),
            _ => {}
        }
        before = c;
    }
    open.pop()
}

/// A line that begins a key or list item: its indentation in spaces and where its text starts.
#[derive(Clone, Copy)]
struct Line {
    indent: usize,
    at: usize,
}

/// A line that fits no open block. Either it is to blame, or the first key of the block that it should have continued,
/// when that stands alone in it.
fn indentation(source: &Source, at: usize) -> Option<Diagnostic> {
    let start = source.line_start(at as u32);
    let lines = keys(&source.text[..source.line_end(at as u32)]);
    let on_line = lines.iter().position(|l| l.at >= start)?;
    let (above, odd) = (&lines[..on_line], lines[on_line]);
    let last = *above.last()?;
    if odd.indent > last.indent && has_value(&source.text[last.at..]) {
        return Some(blame(source, odd, last));
    }
    let (open, members) = blocks(above);
    // Blocks that the odd line closes, outermost first; it should have continued one of them.
    let closed = open.iter().position(|o| o.indent > odd.indent)?;
    if closed > 0 && open[closed - 1].indent == odd.indent {
        return None;
    }
    let first = open[closed];
    if members[closed] == 1 {
        Some(blame(source, first, odd))
    } else {
        Some(blame(source, odd, first))
    }
}

/// First lines of the blocks that are open after these lines, and how many members each has.
fn blocks(lines: &[Line]) -> (Vec<Line>, Vec<usize>) {
    let (mut open, mut members): (Vec<Line>, Vec<usize>) = (Vec::new(), Vec::new());
    for line in lines {
        while open.last().is_some_and(|o| o.indent > line.indent) {
            open.pop();
            members.pop();
        }
        match (open.last(), members.last_mut()) {
            (Some(block), Some(count)) if block.indent == line.indent => *count += 1,
            _ => {
                open.push(*line);
                members.push(1);
            }
        }
    }
    (open, members)
}

/// The line is a key with its value beside it, so nothing can be indented below it.
fn has_value(text: &str) -> bool {
    let line = text.lines().next().unwrap_or("");
    line.split_once(": ").is_some_and(|(_, value)| {
        let value = value.trim();
        !value.is_empty() && !value.starts_with(['#', '|', '>', '&', '!'])
    })
}

fn blame(source: &Source, blamed: Line, other: Line) -> Diagnostic {
    let name = |line: Line| {
        let text = source.text[line.at..].lines().next().unwrap_or("");
        text.split(": ")
            .next()
            .unwrap_or("")
            .trim_end()
            .trim_end_matches(':')
            .to_owned()
    };
    let span = |line: Line| Span::new(line.at, line.at + name(line).len());
    let (this, that) = (blamed.indent, other.indent);
    let message = format!(
        "`{}` is indented by {this} spaces, its siblings by {that}",
        name(blamed)
    );
    Diagnostic::error(codes::YAML_SYNTAX, span(blamed), message)
        .label(format!("key indented {this}, siblings {that}"))
        .also(
            span(other),
            format!("`{}` is indented by {that}", name(other)),
        )
}

/// Lines that hold a key, an item or a lone value; comments, blanks and block scalars are left out.
fn keys(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut scalar_of: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start_matches(' ');
        let mut indent = line.len() - content.len();
        let mut at = start + indent;
        start += line.len();
        if content.trim().is_empty() || content.starts_with('#') {
            continue;
        }
        if scalar_of.is_some_and(|of| indent > of) {
            continue;
        }
        scalar_of = content
            .trim_end()
            .ends_with(['|', '>', '-', '+'])
            .then_some(indent)
            .filter(|_| {
                content
                    .trim_end()
                    .rsplit(' ')
                    .next()
                    .is_some_and(|w| w.starts_with(['|', '>']))
            });
        // A dash opens a block of its own, two or more columns in.
        let mut content = content;
        while let Some(rest) = content.strip_prefix("- ") {
            lines.push(Line { indent, at });
            let rest_trimmed = rest.trim_start_matches(' ');
            let step = content.len() - rest_trimmed.len();
            indent += step;
            at += step;
            content = rest_trimmed;
        }
        lines.push(Line { indent, at });
    }
    lines
}
