//! What may be done to a request's path before it is matched: dot segments, repeated slashes, escaped slashes.
//! The query is never touched.

use std::borrow::Cow;

/// `path_with_escaped_slashes_action`: what happens to `%2F`, `%5C` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// The request is refused.
    Reject,
    /// They are unescaped and the client is sent to the new path.
    UnescapeAndRedirect,
    /// They are unescaped.
    UnescapeAndForward,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cleaning {
    /// Dot segments are removed, backslashes become slashes (`normalize_path`).
    pub normalize: bool,
    /// Runs of slashes become one (`merge_slashes`).
    pub merge_slashes: bool,
    /// Escaped slashes.
    pub escaped_slashes: EscapedSlashes,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaned {
    /// Nothing had to be done.
    Unchanged,
    /// The new path and query.
    Changed(Vec<u8>),
    /// The client is to be sent to this path and query.
    Redirect(Vec<u8>),
    /// The path is not acceptable.
    Refused,
}

/// Cleans a request target (path and query). A fragment is refused in any case.
pub fn clean(target: &[u8], rules: Cleaning) -> Cleaned {
    if target.contains(&b'#') {
        return Cleaned::Refused;
    }
    if !rules.normalize && !rules.merge_slashes && rules.escaped_slashes == EscapedSlashes::Keep {
        return Cleaned::Unchanged;
    }
    let query_at = target
        .iter()
        .position(|&b| b == b'?')
        .unwrap_or(target.len());
    let (path, query) = target.split_at(query_at);
    let mut path = Cow::Borrowed(path);
    let mut redirect = false;
    if rules.escaped_slashes != EscapedSlashes::Keep && has_escaped_slash(&path) {
        match rules.escaped_slashes {
            EscapedSlashes::Keep => {}
            EscapedSlashes::Reject => return Cleaned::Refused,
            EscapedSlashes::UnescapeAndRedirect => redirect = true,
            EscapedSlashes::UnescapeAndForward => {}
        }
        path = Cow::Owned(unescape_slashes(&path));
    }
    if rules.normalize {
        match normalize(&path) {
            Some(new) => path = Cow::Owned(new),
            None => return Cleaned::Refused,
        }
    }
    if rules.merge_slashes {
        path = Cow::Owned(merge_slashes(&path));
    }
    let new = [&path[..], query].concat();
    match (redirect, new == target) {
        (true, _) => Cleaned::Redirect(new),
        (false, true) => Cleaned::Unchanged,
        (false, false) => Cleaned::Changed(new),
    }
}

fn escaped(path: &[u8], at: usize) -> Option<u8> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    match path.get(at..at + 3)? {
        [b'%', high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

fn has_escaped_slash(path: &[u8]) -> bool {
    (0..path.len()).any(|at| matches!(escaped(path, at), Some(b'/' | b'\\')))
}

fn unescape_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match escaped(path, at) {
            Some(slash @ (b'/' | b'\\')) => {
                out.push(slash);
                at += 3;
            }
            _ => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

/// Whether a byte needs no escape in a path and is therefore unescaped (rfc3986#6.2.2.2).
fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~')
}

/// Dot segments removed (also escaped ones), backslashes turned, needless escapes undone. `None`: a NUL.
fn normalize(path: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match escaped(path, at) {
            Some(0) => return None,
            Some(b) if is_unreserved(b) => {
                plain.push(b);
                at += 3;
            }
            Some(_) => {
                plain.extend_from_slice(&path[at..at + 3]);
                at += 3;
            }
            None => {
                plain.push(if path[at] == b'\\' { b'/' } else { path[at] });
                at += 1;
            }
        }
    }
    let mut out: Vec<u8> = Vec::with_capacity(plain.len());
    let mut segments = plain.split(|&b| b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    out.truncate(out.iter().rposition(|&b| b == b'/').unwrap_or(0));
                }
                if last {
                    out.push(b'/');
                }
            }
            other => {
                out.push(b'/');
                out.extend_from_slice(other);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for &b in path {
        if b != b'/' || out.last() != Some(&b'/') {
            out.push(b);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(rules: Cleaning, target: &str) -> Cleaned {
        clean(target.as_bytes(), rules)
    }

    #[test]
    fn dot_segments_go_and_the_query_stays() {
        let rules = Cleaning {
            normalize: true,
            ..Cleaning::default()
        };
        for (from, to) in [
            ("/a/../b?x=/../", "/b?x=/../"),
            ("/a/./b/.", "/a/b/"),
            ("/..", "/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a\\b", "/a/b"),
        ] {
            assert_eq!(with(rules, from), Cleaned::Changed(to.into()), "{from}");
        }
        assert_eq!(with(rules, "/a//b/%2F"), Cleaned::Unchanged);
    }

    #[test]
    fn escaped_slashes_are_treated_as_asked() {
        let rules = |escaped_slashes| Cleaning {
            escaped_slashes,
            ..Cleaning::default()
        };
        assert_eq!(
            with(rules(EscapedSlashes::Reject), "/a%2fb"),
            Cleaned::Refused
        );
        assert_eq!(
            with(rules(EscapedSlashes::UnescapeAndRedirect), "/a%2Fb"),
            Cleaned::Redirect("/a/b".into())
        );
        assert_eq!(
            with(rules(EscapedSlashes::UnescapeAndForward), "/a%5Cb"),
            Cleaned::Changed("/a\\b".into())
        );
        assert_eq!(
            with(
                Cleaning {
                    merge_slashes: true,
                    ..Cleaning::default()
                },
                "/a///b"
            ),
            Cleaned::Changed("/a/b".into())
        );
    }
}
