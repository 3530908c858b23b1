//! Every path of `data/paths.tsv` fares as it did in Envoy 1.40; the file's head says how to read it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "table/mod.rs"]
#[allow(dead_code, reason = "the request tests use the other half")]
mod table;

use nuncio_codec::path::{Cleaned, Cleaning, EscapedSlashes, clean};
use table::unescape;

fn rules(mode: &str) -> Cleaning {
    let rules = |normalize, merge_slashes, escaped_slashes| Cleaning {
        normalize,
        merge_slashes,
        escaped_slashes,
    };
    match mode {
        "off" => Cleaning::default(),
        "norm" => rules(true, false, EscapedSlashes::Keep),
        "merge" => rules(false, true, EscapedSlashes::Keep),
        "both" => rules(true, true, EscapedSlashes::Keep),
        "rej" => rules(false, false, EscapedSlashes::Reject),
        "redir" => rules(false, false, EscapedSlashes::UnescapeAndRedirect),
        "fwd" => rules(false, false, EscapedSlashes::UnescapeAndForward),
        "fwdnorm" => rules(true, false, EscapedSlashes::UnescapeAndForward),
        "redirnorm" => rules(true, true, EscapedSlashes::UnescapeAndRedirect),
        "rejnorm" => rules(true, true, EscapedSlashes::Reject),
        "fwdboth" => rules(true, true, EscapedSlashes::UnescapeAndForward),
        other => panic!("unknown mode {other}"),
    }
}

#[test]
fn paths_are_rewritten_redirected_and_refused_as_by_envoy() {
    let mut failures = Vec::new();
    for line in include_str!("data/paths.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let columns: Vec<&str> = line.split('\t').collect();
        let [mode, path, status, want] = columns[..] else {
            panic!("{line}")
        };
        let (path, want) = (unescape(path), unescape(want));
        let (got_status, got) = match clean(&path, rules(mode)) {
            Cleaned::Unchanged => ("200", path),
            Cleaned::Changed(new) => ("200", new),
            Cleaned::Redirect(new) => ("307", new),
            Cleaned::Refused => ("400", b"-".to_vec()),
        };
        if (status, &want) != (got_status, &got) {
            failures.push(format!("{line}: we {got_status} {}", got.escape_ascii()));
        }
    }
    assert!(
        failures.is_empty(),
        "{}\n{} differ",
        failures.join("\n"),
        failures.len()
    );
}

/// Envoy undoes `%2e` after it has looked for `..;`, so paths with `;` are left out.
#[test]
fn a_normal_path_stays_normal() {
    for line in include_str!("data/paths.tsv")
        .lines()
        .filter(|line| line.starts_with("both\t") && !line.contains(';'))
    {
        let path = unescape(line.split('\t').nth(1).unwrap());
        if let Cleaned::Changed(once) = clean(&path, rules("both")) {
            assert_eq!(clean(&once, rules("both")), Cleaned::Unchanged, "{line}");
        }
    }
}
