//! `/`: the table of endpoints as a page with forms.

use super::{Choice, ENDPOINTS, Endpoint, Param};
use crate::response::{AdminResponse, HTML};
use std::fmt::Write;

pub(super) const HOME: Endpoint = Endpoint {
    path: "/",
    help: "Admin home page",
    command: false,
    params: &[],
    answer: |_, _| AdminResponse::text(page()).with_type(HTML),
};

/// The head of every page: one column of plain text, no script, nothing fetched from elsewhere.
pub(super) const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<title>Nuncio admin</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #ddd; padding: .4em .6em; vertical-align: top; }
td.param { border-top: 0; padding-left: 3em; white-space: nowrap; }
td.what { border-top: 0; color: #555; }
form { margin: 0; }
button { font: inherit; }
pre { font: 13px/1.4 ui-monospace, monospace; white-space: pre-wrap; }
</style>
</head>
<body>
";

/// The end of every page.
pub(super) const TAIL: &str = "</body>\n</html>\n";

fn page() -> String {
    let mut out = format!("{HEAD}<h1>Nuncio admin</h1>\n<table>\n");
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.path != "/") {
        push_endpoint(&mut out, endpoint);
    }
    out.push_str("</table>\n");
    out.push_str(TAIL);
    out
}

fn push_endpoint(out: &mut String, endpoint: &Endpoint) {
    let (path, help) = (&endpoint.path[1..], escaped(endpoint.help));
    let form = !endpoint.params.is_empty() || endpoint.command;
    let method = if endpoint.command { "post" } else { "get" };
    let link = if form {
        format!(
            "<form id=\"{path}\" action=\"{path}\" method=\"{method}\"><button>{path}</button></form>"
        )
    } else {
        format!("<a href=\"{path}\">{path}</a>")
    };
    let _ = writeln!(out, "<tr><td>{link}</td><td>{help}</td></tr>");
    for param in endpoint.params {
        push_param(out, path, param);
    }
}

fn push_param(out: &mut String, path: &str, param: &Param) {
    let (name, help) = (param.name, escaped(param.help));
    let id = format!("{path}-{name}");
    let input = match param.choice {
        Choice::Flag => {
            format!("<input type=\"checkbox\" name=\"{name}\" id=\"{id}\" form=\"{path}\">")
        }
        Choice::Text => format!("<input name=\"{name}\" id=\"{id}\" form=\"{path}\">"),
        Choice::OneOf(choices) => {
            let options: String = choices
                .iter()
                .map(|choice| format!("<option>{choice}</option>"))
                .collect();
            format!("<select name=\"{name}\" id=\"{id}\" form=\"{path}\">{options}</select>")
        }
    };
    let _ = writeln!(
        out,
        "<tr><td class=\"param\">{input} <label for=\"{id}\">{name}</label></td><td class=\"what\">{help}</td></tr>"
    );
}

/// Text as it may stand in a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
