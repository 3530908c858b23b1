//! The first line of a response (rfc9112#4).

use super::Version;
use super::head::Lead;
use super::rules::Strictness;
use super::scan::{is_forbidden, text_len};
use super::violation::Violation;
use crate::headers::{HeaderMap, Known};

/// What the line said; the map has `:status` afterwards. The reason phrase is not kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusLine {
    pub(super) version: Version,
    pub(super) status: u16,
}

/// Reads the line at the front of `bytes`. `None`: not all there.
#[inline]
pub(super) fn parse_status_line(
    bytes: &mut [u8],
    map: &mut HeaderMap,
    strictness: Strictness,
) -> Result<Option<Lead<StatusLine>>, Violation> {
    let Some((status, next)) = plain_line(bytes) else {
        return parse_odd_line(bytes, map, strictness);
    };
    map.set_pseudo_loaded(Known::Status, PLAIN_STATUS_AT, 3);
    Ok(Some(Lead {
        line: StatusLine {
            version: Version::Http11,
            status,
        },
        next,
        is_all: false,
    }))
}

/// Where the status stands behind `HTTP/1.1 `.
const PLAIN_STATUS_AT: usize = 9;

/// `HTTP/1.1 SP nnn SP phrase CRLF`, which is nearly every line there is: the status and where the line ends.
#[inline]
fn plain_line(bytes: &[u8]) -> Option<(u16, usize)> {
    let [
        a @ b'1'..=b'5',
        b @ b'0'..=b'9',
        c @ b'0'..=b'9',
        b' ',
        phrase @ ..,
    ] = bytes.strip_prefix(b"HTTP/1.1 ")?
    else {
        return None;
    };
    let len = text_len(phrase);
    let digit = |byte: &u8| u16::from(byte - b'0');
    let status = digit(a) * 100 + digit(b) * 10 + digit(c);
    phrase[len..]
        .starts_with(b"\r\n")
        .then_some((status, PLAIN_STATUS_AT + 4 + len + 2))
}

/// Any other line.
#[cold]
fn parse_odd_line(
    bytes: &mut [u8],
    map: &mut HeaderMap,
    strictness: Strictness,
) -> Result<Option<Lead<StatusLine>>, Violation> {
    if bytes.first().is_some_and(|&b| b != b'H') {
        return Err(Violation::StartLine);
    }
    let Some(line_end) = bytes.iter().position(|&b| b == b'\n') else {
        return Ok(None);
    };
    let line = &bytes[..line_end];
    let (version, rest) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', rest @ ..] => (Version::Http11, rest),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', rest @ ..] => (Version::Http10, rest),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, rest @ ..]
            if strictness.is_parity() && major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            (Version::Http10, rest)
        }
        _ => return Err(Violation::StartLine),
    };
    let Some(blank) = rest.iter().position(|&b| b > b' ') else {
        return Err(Violation::Status);
    };
    if blank == 0 || (!strictness.is_parity() && (blank != 1 || rest[0] != b' ')) {
        return Err(Violation::StartLine);
    }
    let digits = &rest[blank..];
    let len = digits
        .iter()
        .position(|&b| b <= b' ')
        .unwrap_or(digits.len());
    let status = parse_status(&digits[..len], strictness)?;
    let phrase = digits[len..].strip_suffix(b"\r").unwrap_or(&digits[len..]);
    if phrase
        .iter()
        .any(|&b| is_forbidden(b) || (b == b'\r' && !strictness.is_parity()))
    {
        return Err(Violation::Characters);
    }
    let at = line_end - digits.len();
    map.set_pseudo_loaded(Known::Status, at, len);
    Ok(Some(Lead {
        line: StatusLine { version, status },
        next: line_end + 1,
        is_all: false,
    }))
}

/// Three digits from 100 to 599; Envoy passes on any number.
fn parse_status(digits: &[u8], strictness: Strictness) -> Result<u16, Violation> {
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Violation::Status);
    }
    let status = digits
        .iter()
        .fold(0u16, |n, &b| n * 10 + u16::from(b - b'0'));
    if status < 100 {
        return Err(Violation::Status);
    }
    if !strictness.is_parity() && (digits.len() != 3 || !(100..=599).contains(&status)) {
        return Err(Violation::Status);
    }
    Ok(status)
}
