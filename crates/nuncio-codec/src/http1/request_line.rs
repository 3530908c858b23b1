//! The first line of a request (rfc9112#3).

use super::Version;
use super::head::Lead;
use super::rules::RequestRules;
use super::scan::{is_forbidden, visible_len};
use super::target::{Target, parse_target};
use super::violation::Violation;
use crate::headers::{HeaderMap, Known, is_token_byte};
use crate::method::Method;
use std::ops::Range;

/// The methods Envoy knows without `allow_custom_methods`, beside those [`Method`] has a variant for.
const OTHER_METHODS: [&[u8]; 26] = [
    b"ACL",
    b"BIND",
    b"CHECKOUT",
    b"COPY",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MOVE",
    b"MSEARCH",
    b"NOTIFY",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SOURCE",
    b"SUBSCRIBE",
    b"UNBIND",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
];

/// What the line said. The map has `:method` and `:path` afterwards, the rest waits for the fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) target: Target,
}

/// The three parts of the line, as place and length, and where the next line begins.
struct Parts {
    method: (usize, usize),
    target: (usize, usize),
    version: (usize, usize),
    next: usize,
}

/// Reads the line at the front of `bytes`. `None`: not all there.
#[inline]
pub(super) fn parse_request_line(
    bytes: &mut [u8],
    map: &mut HeaderMap,
    rules: &RequestRules,
) -> Result<Option<Lead<RequestLine>>, Violation> {
    let parts = match split_plain(bytes) {
        Some(parts) => parts,
        None => match split_odd(bytes, rules)? {
            Some(parts) => parts,
            None => return Ok(None),
        },
    };
    let text = |(at, len): (usize, usize)| &bytes[at..at + len];
    let method_bytes = text(parts.method);
    let method = Method::of(method_bytes);
    if method == Method::Other && !method_is_known(method_bytes, rules) {
        return Err(Violation::Method);
    }
    // `GET /path` and no version is HTTP/0.9, which Envoy takes for HTTP/1.0 without fields.
    let is_all = parts.version.1 == 0;
    if is_all && rules.accept_http_10 && !rules.strictness.is_parity() {
        return Err(Violation::StartLine);
    }
    let version = if is_all {
        Version::Http10
    } else {
        parse_version(text(parts.version))?
    };
    map.set_pseudo_loaded(Known::Method, parts.method.0, parts.method.1);
    let target = parse_target(bytes, map, parts.target, method, rules)?;
    Ok(Some(Lead {
        line: RequestLine {
            method,
            version,
            target,
        },
        next: parts.next,
        is_all,
    }))
}

/// `METHOD SP target SP HTTP/1.1 CRLF`, which is nearly every line there is.
#[inline]
fn split_plain(bytes: &[u8]) -> Option<Parts> {
    let method_len = bytes.iter().position(|&b| b <= b' ')?;
    let [b' ', rest @ ..] = &bytes[method_len..] else {
        return None;
    };
    let target_len = visible_len(rest);
    if method_len == 0 || target_len == 0 || !rest[target_len..].starts_with(b" HTTP/1.1\r\n") {
        return None;
    }
    let target_at = method_len + 1;
    let version_at = target_at + target_len + 1;
    Some(Parts {
        method: (0, method_len),
        target: (target_at, target_len),
        version: (version_at, 8),
        next: version_at + 10,
    })
}

/// Any other line: parts separated by runs of white space, a bare LF at the end, no version.
#[cold]
fn split_odd(bytes: &[u8], rules: &RequestRules) -> Result<Option<Parts>, Violation> {
    let Some(line_end) = bytes.iter().position(|&b| b == b'\n') else {
        return Ok(None);
    };
    let mut end = line_end;
    while end > 0 && bytes[end - 1] == b'\r' {
        end -= 1;
    }
    let line = &bytes[..end];
    if !rules.strictness.is_parity() && (line.iter().any(|&b| b < b' ') || line_end - end > 1) {
        return Err(Violation::StartLine);
    }
    if line.iter().any(|&b| is_forbidden(b)) {
        return Err(Violation::Characters);
    }
    let word = |from: usize| {
        let start = line[from..]
            .iter()
            .position(|&b| b > b' ')
            .map_or(end, |n| from + n);
        let stop = line[start..]
            .iter()
            .position(|&b| b <= b' ')
            .map_or(end, |n| start + n);
        start..stop
    };
    let method = word(0);
    let target = word(method.end);
    if method.is_empty() || target.is_empty() {
        return Err(Violation::StartLine);
    }
    if !line[target.clone()].iter().all(u8::is_ascii_graphic) {
        return Err(Violation::Target);
    }
    let version_at = word(target.end).start;
    let version_end = line
        .iter()
        .rposition(|&b| b > b' ')
        .map_or(version_at, |last| (last + 1).max(version_at));
    let place = |range: Range<usize>| (range.start, range.len());
    Ok(Some(Parts {
        method: place(method),
        target: place(target),
        version: place(version_at..version_end),
        next: line_end + 1,
    }))
}

fn method_is_known(token: &[u8], rules: &RequestRules) -> bool {
    let custom = rules.allow_custom_methods && token.iter().all(|&b| is_token_byte(b));
    custom || Method::of(token) != Method::Other || OTHER_METHODS.contains(&token)
}

/// `HTTP/x.y`; Envoy takes everything but 1.1 for 1.0.
fn parse_version(text: &[u8]) -> Result<Version, Violation> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Ok(Version::Http10)
        }
        _ => Err(Violation::Version),
    }
}
