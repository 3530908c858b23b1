//! The page itself.

use crate::probe::{Matrix, Rows, Status};
use std::fmt::Write as _;

const HEAD: &str = "# What of Envoy's configuration is built

Made by a test (`cargo test -p nuncio --test support`) that sets every field, one at a time, and writes down what the
compiler says. Three things can become of a field:

* **implemented**: it does what it does in Envoy 1.40; not listed below, only counted;
* **without effect**: it is read and checked, and a warning with its place says that it does nothing;
* **refused**: it is read and checked, and nothing starts with it, because ignoring it would be unsafe (`check` and
  `--mode validate` only warn).

A message that is not listed is only reached through a field that is without effect or refused. Every message of the API
is decoded and held to its rules, whatever becomes of it.

";

pub fn write(matrix: &Matrix) -> String {
    let mut page = HEAD.to_owned();
    let rows = || matrix.messages.values().flatten();
    let count = |wanted: fn(&Status) -> bool| rows().filter(|(_, status)| wanted(status)).count();
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "{} messages with {} fields: {} implemented, {} without effect, {} refused.\n\n## Messages\n",
        matrix.messages.len(),
        rows().count(),
        count(|s| matches!(s, Status::Implemented | Status::But(_))),
        count(|s| *s == Status::WithoutEffect),
        count(|s| *s == Status::Refused),
    );
    let _ = writeln!(page, "| message | implemented | without effect | refused |\n|---|---|---|---|");
    for (message, rows) in &matrix.messages {
        if !rows.is_empty() {
            let _ = writeln!(page, "| `{message}` | {} | {} | {} |", implemented(rows), named(rows, &Status::WithoutEffect), named(rows, &Status::Refused));
        }
    }
    let _ = writeln!(page, "\n## Extensions\n");
    for (category, rows) in &matrix.extensions {
        let _ = writeln!(page, "### {category}\n");
        for (title, status) in [("implemented", Status::Implemented), ("without effect", Status::WithoutEffect), ("refused", Status::Refused)] {
            let names = named(rows, &status);
            if !names.is_empty() {
                let _ = writeln!(page, "* {title}: {names}");
            }
        }
        page.push('\n');
    }
    page
}

/// "12", "all 12", or "11, `x` but for `A`".
fn implemented(rows: &Rows) -> String {
    let built = rows.iter().filter(|(_, s)| matches!(s, Status::Implemented | Status::But(_))).count();
    let mut text = if built == rows.len() { format!("all {built}") } else { built.to_string() };
    for (name, status) in rows {
        if let Status::But(values) = status {
            let values: Vec<String> = values.iter().map(|v| format!("`{v}`")).collect();
            let _ = write!(text, "; `{name}` but for {}", values.join(", "));
        }
    }
    text
}

fn named(rows: &Rows, wanted: &Status) -> String {
    let names: Vec<String> = rows.iter().filter(|(_, status)| status == wanted).map(|(name, _)| format!("`{name}`")).collect();
    names.join(", ")
}
