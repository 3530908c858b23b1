//! A finding as one line of JSON, for editors and pipelines.

use crate::diagnostic::{Diagnostic, Severity};
use crate::json::Json;
use crate::source::{Source, Span};

/// One object on one line, without the line end:
/// `{"code","severity","file","line","column","end_line","end_column","path","message","label","labels","notes","help","fix"}`.
/// Lines and columns count from 1, columns in characters; what does not apply is left out.
pub fn json_line(source: &Source, diagnostic: &Diagnostic) -> String {
    let severity = if diagnostic.severity == Severity::Error {
        "error"
    } else {
        "warning"
    };
    let mut members = vec![
        ("code", Json::text(diagnostic.code)),
        ("severity", Json::text(severity)),
        ("file", Json::text(&source.name)),
    ];
    if let Some(span) = diagnostic.span {
        members.extend(place(source, span));
    }
    if !diagnostic.path.is_empty() {
        members.push(("path", Json::text(&diagnostic.path)));
    }
    members.push(("message", Json::text(&diagnostic.message)));
    if !diagnostic.label.is_empty() {
        members.push(("label", Json::text(&diagnostic.label)));
    }
    let labels = diagnostic.labels.iter().map(|label| {
        let mut members: Vec<_> = place(source, label.span).into();
        members.push(("text", Json::text(&label.text)));
        Json::object(members)
    });
    let lists = [
        ("labels", labels.collect()),
        (
            "notes",
            diagnostic.notes.iter().map(Json::text).collect::<Vec<_>>(),
        ),
        ("help", diagnostic.help.iter().map(Json::text).collect()),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        members.push((name, Json::List(list)));
    }
    if let Some(fix) = &diagnostic.fix {
        let edits = fix.edits.iter().map(|edit| {
            let mut members: Vec<_> = place(source, edit.span).into();
            members.push(("text", Json::text(&edit.text)));
            Json::object(members)
        });
        let edits = Json::List(edits.collect());
        members.push((
            "fix",
            Json::object(vec![("title", Json::text(&fix.title)), ("edits", edits)]),
        ));
    }
    Json::object(members).compact()
}

fn place(source: &Source, span: Span) -> [(&'static str, Json); 4] {
    let (start, end) = (source.position(span.start), source.position(span.end));
    [
        ("line", Json::from(start.line as u64)),
        ("column", Json::from(start.column as u64)),
        ("end_line", Json::from(end.line as u64)),
        ("end_column", Json::from(end.column as u64)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Fix;

    #[test]
    fn one_line_with_everything_a_program_needs() {
        let source = Source::new("x.yaml", "a: 250ms\n");
        let span = Span::new(3, 8);
        let diagnostic = Diagnostic::error("NUN0108", span, "not a duration: \"250ms\"")
            .fix(Fix::replace("write `0.25s`", span, "0.25s"))
            .path("a");
        assert_eq!(
            json_line(&source, &diagnostic),
            r#"{"code":"NUN0108","severity":"error","file":"x.yaml","line":1,"column":4,"end_line":1,"end_column":9,"path":"a","message":"not a duration: \"250ms\"","fix":{"title":"write `0.25s`","edits":[{"line":1,"column":4,"end_line":1,"end_column":9,"text":"0.25s"}]}}"#
        );
    }
}
