//! A finding as text: where, the line itself, carets, what to do.
//!
//! ```text
//! error[NUN0103]: unknown field `retry_policy` in Route
//!   --> canary.yaml:32:27
//!    |
//! 23 |                           route:
//!    |                           ----- `route` starts here
//! 32 |                           retry_policy:
//!    |                           ^^^^^^^^^^^^ not a field of envoy.config.route.v3.Route
//!    |
//!    = help: `retry_policy` belongs inside `route:` — indent lines 32–35 by 2 spaces
//!    = fix:  nuncio check --fix canary.yaml
//!    = docs: nuncio explain-code NUN0103
//! ```

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Source, Span};
use std::fmt::Write as _;

/// How to show findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// With the terminal's colours; for terminals only.
    pub color: bool,
    /// End with the command that explains the code.
    pub docs: bool,
}

/// Longest stretch of a line that is shown, in columns.
const MAX_WIDTH: usize = 160;
/// What is shown of a longer line before the place.
const LEAD: usize = 40;

struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn severity(&self, severity: Severity, text: &str) -> String {
        self.with(
            if severity == Severity::Error {
                "1;31"
            } else {
                "1;33"
            },
            text,
        )
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn edge(&self, text: &str) -> String {
        self.with("1;34", text)
    }
}

/// One line of the source with what is to be marked in it.
struct Mark<'d> {
    line: usize,
    span: Span,
    text: &'d str,
    main: bool,
}

/// Renders one finding, with a line end.
pub fn render(source: &Source, diagnostic: &Diagnostic, look: Look) -> String {
    let paint = Paint(look.color);
    let word = if diagnostic.is_error() {
        "error"
    } else {
        "warning"
    };
    let head = paint.severity(diagnostic.severity, &format!("{word}[{}]", diagnostic.code));
    let mut out = format!(
        "{head}{}\n",
        paint.bold(&format!(": {}", diagnostic.message))
    );
    let marks = marks(source, diagnostic);
    let gutter = marks
        .iter()
        .map(|m| m.line.to_string().len())
        .max()
        .unwrap_or(1);
    let pad = " ".repeat(gutter);
    // Writing to a String cannot fail.
    let _ = match diagnostic.span {
        Some(span) => {
            let at = source.position(span.start);
            writeln!(
                out,
                "{pad}{} {}:{}:{}",
                paint.edge("-->"),
                source.name,
                at.line,
                at.column
            )
        }
        None => writeln!(out, "{pad}{} {}", paint.edge("-->"), source.name),
    };
    if !marks.is_empty() {
        let _ = writeln!(out, "{pad} {}", paint.edge("|"));
        let mut shown = 0;
        for mark in &marks {
            let window = Window::of(source, mark);
            if mark.line != shown {
                let number = paint.edge(&format!("{:gutter$} |", mark.line));
                let _ = writeln!(out, "{number} {}", window.text);
                shown = mark.line;
            }
            let carets = if mark.main { "^" } else { "-" }.repeat(window.marked.max(1));
            let under = format!("{carets} {}", mark.text);
            let under = under.trim_end();
            let under = if mark.main {
                paint.severity(diagnostic.severity, under)
            } else {
                paint.edge(under)
            };
            let _ = writeln!(
                out,
                "{pad} {} {}{under}",
                paint.edge("|"),
                " ".repeat(window.before)
            );
        }
        let _ = writeln!(out, "{pad} {}", paint.edge("|"));
    }
    for (kind, text) in remarks(source, diagnostic, look) {
        let _ = writeln!(
            out,
            "{pad} {} {}",
            paint.edge("="),
            paint.bold(&kind) + &text
        );
    }
    out
}

/// "2 errors, 1 warning"; empty when there is neither.
pub fn tally(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let count = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let parts: Vec<String> = [count(errors, "error"), count(warnings, "warning")]
        .into_iter()
        .flatten()
        .collect();
    parts.join(", ")
}

fn remarks(source: &Source, diagnostic: &Diagnostic, look: Look) -> Vec<(String, String)> {
    let mut remarks = Vec::new();
    for note in &diagnostic.notes {
        remarks.push(("note: ".to_owned(), note.clone()));
    }
    for help in &diagnostic.help {
        remarks.push(("help: ".to_owned(), help.clone()));
    }
    if diagnostic.fix.is_some() {
        remarks.push((
            "fix:  ".to_owned(),
            format!("nuncio check --fix {}", source.name),
        ));
    }
    if look.docs {
        remarks.push((
            "docs: ".to_owned(),
            format!("nuncio explain-code {}", diagnostic.code),
        ));
    }
    remarks
}

/// All places in the order of the text.
fn marks<'d>(source: &Source, diagnostic: &'d Diagnostic) -> Vec<Mark<'d>> {
    let line = |span: Span| source.position(span.start).line;
    let main = diagnostic.span.map(|span| Mark {
        line: line(span),
        span,
        text: &diagnostic.label,
        main: true,
    });
    let others = diagnostic.labels.iter().map(|l| Mark {
        line: line(l.span),
        span: l.span,
        text: &l.text,
        main: false,
    });
    let mut marks: Vec<Mark<'d>> = main.into_iter().chain(others).collect();
    if source.text.is_empty() {
        marks.clear();
    }
    marks.sort_by_key(|m| (m.line, !m.main, m.span.start));
    marks
}

/// The part of a line that is shown, and how many columns stand before and under the marked text.
struct Window {
    text: String,
    before: usize,
    marked: usize,
}

impl Window {
    fn of(source: &Source, mark: &Mark<'_>) -> Window {
        let line = source.line(mark.line);
        let start = source.line_start(mark.span.start);
        let from = (mark.span.start as usize)
            .saturating_sub(start)
            .min(line.len());
        let to = (mark.span.end as usize)
            .saturating_sub(start)
            .min(line.len());
        let (from, to) = (floor(line, from), floor(line, to).max(floor(line, from)));
        let (head, marked, tail) = (&line[..from], &line[from..to], &line[to..]);
        if width(line) <= MAX_WIDTH {
            return Window {
                text: visible(line),
                before: width(head),
                marked: width(marked),
            };
        }
        // A long line, minified JSON mostly: what is around the place.
        let skip = head.chars().count().saturating_sub(LEAD);
        let lead: String = head.chars().skip(skip).collect();
        let lead = if skip > 0 { format!("…{lead}") } else { lead };
        let marked: String = marked.chars().take(MAX_WIDTH - LEAD).collect();
        let rest: String = tail.chars().take(LEAD).collect();
        let dots = if rest.len() < tail.len() { "…" } else { "" };
        Window {
            before: width(&lead),
            marked: width(&marked),
            text: visible(&format!("{lead}{marked}{rest}{dots}")),
        }
    }
}

/// The nearest character boundary at or before.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Control characters would spoil the terminal; a tab counts one column.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Columns on a terminal: East Asian wide characters take two, combining marks none.
fn width(text: &str) -> usize {
    text.chars()
        .map(|c| match c as u32 {
            0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f
            | 0x2e80..=0xa4cf
            | 0xac00..=0xd7a3
            | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f
            | 0xff00..=0xff60
            | 0xffe0..=0xffe6
            | 0x1f300..=0x1faff
            | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_both_places_and_what_to_do() {
        let source = Source::new("canary.yaml", "a:\n  route:\n    x: 1\n  retry: 2\n");
        let diagnostic = Diagnostic::error(
            "NUN0103",
            Span::new(23, 28),
            "unknown field `retry` in Route",
        )
        .label("not a field of Route")
        .also(Span::new(5, 10), "`route` starts here")
        .help("indent it");
        let text = render(
            &source,
            &diagnostic,
            Look {
                color: false,
                docs: true,
            },
        );
        let expected = "\
error[NUN0103]: unknown field `retry` in Route
 --> canary.yaml:4:3
  |
2 |   route:
  |   ----- `route` starts here
4 |   retry: 2
  |   ^^^^^ not a field of Route
  |
  = help: indent it
  = docs: nuncio explain-code NUN0103
";
        assert_eq!(text, expected);
        assert_eq!(tally(&[diagnostic]), "1 error");
    }

    #[test]
    fn carets_stand_under_wide_characters_and_long_lines_are_cut() {
        let source = Source::new(
            "x",
            format!("精确: é\n{}HERE{}", "a".repeat(300), "b".repeat(300)),
        );
        let at = source.text.find('é').expect("there");
        let text = render(
            &source,
            &Diagnostic::error("X", Span::new(at, at + 2), "m"),
            Look::default(),
        );
        assert!(text.contains("1 | 精确: é\n  |       ^\n"), "{text}");
        let at = source.text.find("HERE").expect("there");
        let text = render(
            &source,
            &Diagnostic::error("X", Span::new(at, at + 4), "m"),
            Look::default(),
        );
        assert!(
            text.lines().all(|l| l.chars().count() < 200) && text.contains("HERE"),
            "{text}"
        );
    }

    #[test]
    fn spans_outside_the_text_do_no_harm() {
        let source = Source::new("x", "é");
        for span in [Span::new(1, 2), Span::new(5, 9), Span::new(0, 99)] {
            render(&source, &Diagnostic::error("X", span, "m"), Look::default());
        }
    }
}
