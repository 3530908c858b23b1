//! Normalisation as browsers do it (the URL standard's path state, rfc3986#5.2.4), which Envoy uses.

use super::escapes::{decode_pair, percent_encode};

/// Appends the canonical form of a path that begins with `/` and has no query: backslashes become slashes,
/// `.` and `..` segments are resolved (`%2e` counts as a dot), escapes of unreserved characters are undone,
/// characters that should be escaped are. False if the path holds `%00`: no canonical form.
pub fn normalize(path: &[u8], out: &mut Vec<u8>) -> bool {
    let root = out.len();
    let parts = path.split(|&b| b == b'/').map(without_parameters);
    let mut segments = parts
        .flat_map(|part| part.split(|&b| b == b'\\'))
        .skip(1)
        .peekable();
    out.push(b'/');
    while let Some(segment) = segments.next() {
        let start = out.len();
        if !push_segment(segment, out) {
            return false;
        }
        let is_last = segments.peek().is_none();
        match &out[start..] {
            b"." => out.truncate(start),
            b".." => {
                out.truncate(start);
                // To the slash before the segment before this one.
                let parent = out[root..start - 1]
                    .iter()
                    .rposition(|&b| b == b'/')
                    .unwrap_or(0);
                out.truncate(root + parent + 1);
            }
            _ if !is_last => out.push(b'/'),
            _ => {}
        }
    }
    true
}

/// Some origins take `..;x` for `..`, so it is treated as such; parameters of other segments stay.
fn without_parameters(segment: &[u8]) -> &[u8] {
    match segment {
        [b'.', b'.', b';', ..] => b"..",
        [b'.', b';', ..] => b".",
        _ => segment,
    }
}

/// Appends one segment. Undoing an escape must not make a new one out of a stray `%` before it: then that
/// `%` is escaped itself.
fn push_segment(segment: &[u8], out: &mut Vec<u8>) -> bool {
    let mut stray_percent = None;
    let mut rest = segment;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            push_escaped(*byte, out);
            continue;
        }
        match decode_pair(after) {
            None => {
                stray_percent = Some(out.len());
                out.push(b'%');
            }
            Some(0) => return false,
            Some(decoded) => {
                rest = &after[2..];
                if !is_unreserved(decoded) {
                    out.push(b'%');
                    out.extend_from_slice(&after[..2]);
                    continue;
                }
                out.push(decoded);
                if let Some(percent) = stray_percent
                    && makes_escape(&out[percent + 1..], rest)
                {
                    out.splice(percent + 1..percent + 1, *b"25");
                    stray_percent = None;
                }
            }
        }
    }
    true
}

/// Whether what stands behind a stray `%`, the next input byte included, now reads as two hex digits.
fn makes_escape(behind: &[u8], next: &[u8]) -> bool {
    match (behind, next) {
        ([a, b], _) | ([a], [b, ..]) => a.is_ascii_hexdigit() && b.is_ascii_hexdigit(),
        _ => false,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn push_escaped(byte: u8, out: &mut Vec<u8>) {
    let stays = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}');
    percent_encode(&[byte], out, stays);
}
