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
    if let Some(diagnostic) = tab(source, at).or_else(|| indentation(source, at)) {
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

/// A line that begins a key or list item: its indentation in spaces and where its text starts.
#[derive(Clone, Copy)]
struct Line {
    indent: usize,
    at: usize,
}

/// A line that fits no open block: the first key of the block that it should have been a sibling of is to blame when it
/// stands alone, else the line itself.
fn indentation(source: &Source, at: usize) -> Option<Diagnostic> {
    let start = source.line_start(at as u32);
    let lines: Vec<Line> = keys(&source.text[..source.line_end(at as u32)]);
    let (odd, above) = lines.split_last()?;
    if odd.at < start {
        return None;
    }
    let mut open: Vec<Line> = Vec::new();
    let mut members: Vec<usize> = Vec::new();
    for line in above {
        while open.last().is_some_and(|o| o.indent > line.indent) {
            open.pop();
            members.pop();
        }
        if open.last().is_some_and(|o| o.indent == line.indent) {
            *members.last_mut()? += 1;
        } else {
            open.push(*line);
            members.push(1);
        }
    }
    // Blocks that the odd line closes, outermost first; it should have continued one of them.
    let closed = open.iter().position(|o| o.indent > odd.indent)?;
    let parent_fits = closed > 0 && open[closed - 1].indent == odd.indent;
    if parent_fits {
        return None;
    }
    let first = open[closed];
    let (blame, sibling) = if members[closed] == 1 {
        (first, *odd)
    } else {
        (*odd, first)
    };
    let name = |line: Line| {
        source.text[line.at..]
            .split([':', '\n'])
            .next()
            .unwrap_or("")
            .trim()
            .to_owned()
    };
    let span = |line: Line| Span::new(line.at, line.at + name(line).len());
    let message = format!(
        "`{}` is indented by {} spaces, its siblings by {}",
        name(blame),
        blame.indent,
        sibling.indent
    );
    let label = format!("key indented {}, siblings {}", blame.indent, sibling.indent);
    let diagnostic = Diagnostic::error(codes::YAML_SYNTAX, span(blame), message).label(label);
    Some(diagnostic.also(
        span(sibling),
        format!("`{}` is indented by {}", name(sibling), sibling.indent),
    ))
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
