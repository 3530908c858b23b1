//! Writing heads, chunks and trailers.
//!
//! Runs of header lines that stand next to each other in a map's buffer are copied in one go. Which framing
//! a head gets follows Envoy's encoder: a `content-length` that is there is kept, a message that has ended
//! gets `content-length: 0` where that is allowed, everything else is chunked.

use super::Version;
use super::connection::is_upgrade;
use super::reason::{frequent_status_line, reason_phrase};
use super::scan::visible_len;
use crate::headers::{HeaderMap, Known, is_token_byte, put_decimal};
use crate::method::Method;
use std::fmt;

/// How names are spelled on the wire (`header_key_format`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NameCase {
    /// As they are kept: lower case.
    #[default]
    Lower,
    /// `proper_case_words`: `Content-Type`.
    Proper,
    /// `preserve_case`: as the sender spelled them, if the decoder kept that; else lower case.
    Preserve,
}

/// How the body behind an encoded head must be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// There is none.
    None,
    /// As it is: its length was announced, or the connection is a tunnel.
    Raw,
    /// In chunks: [`chunk_prefix`], data, [`CHUNK_SUFFIX`], and [`chunk_end`] after the last.
    Chunked,
    /// As it is, and the connection closes behind it.
    UntilClose,
}

/// How to write a request's head.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestEncoding {
    /// No body follows.
    pub end_stream: bool,
    /// How names are spelled.
    pub case: NameCase,
    /// Absolute form (`send_fully_qualified_url`).
    pub full_url: bool,
}

/// How to write a response's head.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEncoding {
    /// No body follows.
    pub end_stream: bool,
    /// The version of the request.
    pub version: Version,
    /// The request was HEAD.
    pub to_head: bool,
    /// The request was CONNECT.
    pub to_connect: bool,
    /// How names are spelled.
    pub case: NameCase,
}

impl Default for ResponseEncoding {
    fn default() -> Self {
        let case = NameCase::Lower;
        ResponseEncoding {
            end_stream: false,
            version: Version::Http11,
            to_head: false,
            to_connect: false,
            case,
        }
    }
}

/// A head lacks a pseudo-header that its start line is made of, or has one that would break it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unencodable(pub Known);

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot be written: {} is missing or invalid",
            self.0.as_str()
        )
    }
}

impl std::error::Error for Unencodable {}

/// Appends a request's head. `transfer-encoding` of the map is not written: framing is decided here.
pub fn encode_request_head(
    map: &HeaderMap,
    how: RequestEncoding,
    out: &mut Vec<u8>,
) -> Result<Encoding, Unencodable> {
    let method_bytes = map.method().ok_or(Unencodable(Known::Method))?;
    let method = Method::of(method_bytes);
    let is_token = !method_bytes.is_empty() && method_bytes.iter().all(|&b| is_token_byte(b));
    if method == Method::Other && !is_token {
        return Err(Unencodable(Known::Method));
    }
    let authority = map.authority();
    out.extend_from_slice(method_bytes);
    out.push(b' ');
    if method.is_connect() {
        put_target(authority.ok_or(Unencodable(Known::Authority))?, out);
    } else {
        let path = map
            .path()
            .filter(|path| !path.is_empty())
            .ok_or(Unencodable(Known::Path))?;
        if how.full_url {
            out.extend_from_slice(map.scheme().unwrap_or(b"http"));
            out.extend_from_slice(b"://");
            out.extend_from_slice(authority.unwrap_or_default());
        }
        if map.is_as_received(Known::Path) {
            out.extend_from_slice(path);
        } else {
            put_target(path, out);
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        put_name(b"host", how.case, out);
        out.extend_from_slice(authority);
        out.extend_from_slice(b"\r\n");
    }
    put_fields(map, Known::TransferEncoding, how.case, out);
    let encoding = if method.is_connect() || is_upgrade(map) {
        Encoding::Raw
    } else if map.contains(Known::ContentLength) {
        if how.end_stream {
            Encoding::None
        } else {
            Encoding::Raw
        }
    } else if how.end_stream {
        if !method.is_bodiless() {
            put_line(b"content-length", b"0", how.case, out);
        }
        Encoding::None
    } else {
        put_line(b"transfer-encoding", b"chunked", how.case, out);
        Encoding::Chunked
    };
    out.extend_from_slice(b"\r\n");
    Ok(encoding)
}

/// Appends a response's head.
pub fn encode_response_head(
    map: &HeaderMap,
    how: ResponseEncoding,
    out: &mut Vec<u8>,
) -> Result<Encoding, Unencodable> {
    let status = map.status().ok_or(Unencodable(Known::Status))?;
    put_status_line(status, how.version, out);
    put_fields(map, Known::TransferEncoding, how.case, out);
    let never_has_body = status < 200 || status == 204;
    let encoding = if status == 101 || (how.to_connect && status < 300) {
        Encoding::Raw
    } else if map.contains(Known::ContentLength) || never_has_body || status == 304 {
        if how.end_stream || how.to_head || never_has_body || status == 304 {
            Encoding::None
        } else {
            Encoding::Raw
        }
    } else if how.end_stream && !how.to_head {
        put_line(b"content-length", b"0", how.case, out);
        Encoding::None
    } else if how.version == Version::Http10 {
        if how.to_head {
            Encoding::None
        } else {
            Encoding::UntilClose
        }
    } else {
        put_line(b"transfer-encoding", b"chunked", how.case, out);
        if how.to_head {
            Encoding::None
        } else {
            Encoding::Chunked
        }
    };
    out.extend_from_slice(b"\r\n");
    Ok(encoding)
}

/// Appends a chunk's size line.
#[inline]
pub fn chunk_prefix(len: usize, out: &mut Vec<u8>) {
    let mut digits = [0u8; 18];
    let mut at = 16;
    digits[16..].copy_from_slice(b"\r\n");
    let mut left = len;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// What stands behind a chunk's data.
pub const CHUNK_SUFFIX: &[u8] = b"\r\n";

/// Appends the end of a chunked body without trailers.
#[inline]
pub fn chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Appends the end of a chunked body with trailers.
pub fn encode_trailers(trailers: &HeaderMap, case: NameCase, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    put_fields(trailers, Known::Other, case, out);
    out.extend_from_slice(b"\r\n");
}

fn put_status_line(status: u16, version: Version, out: &mut Vec<u8>) {
    if version == Version::Http11
        && let Some(line) = frequent_status_line(status)
    {
        return out.extend_from_slice(line);
    }
    out.extend_from_slice(version.as_str().as_bytes());
    out.push(b' ');
    put_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A target may have been rewritten: what would end it early is percent-encoded.
fn put_target(target: &[u8], out: &mut Vec<u8>) {
    let mut rest = target;
    loop {
        let plain = visible_len(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some((&byte, after)) = rest[plain..].split_first() else {
            return;
        };
        if byte < 0x80 {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        } else {
            out.push(byte);
        }
        rest = after;
    }
}

/// All header lines but pseudo-headers and those of one name.
fn put_fields(map: &HeaderMap, skip: Known, case: NameCase, out: &mut Vec<u8>) {
    let bytes = map.bytes();
    let mut run = 0..0;
    for entry in map.entries() {
        if !entry.is_live() || (entry.known == skip && skip != Known::Other) {
            continue;
        }
        if case == NameCase::Lower && entry.is_line() {
            let (start, end) = (entry.name_at as usize, entry.value_end() + 2);
            if run.end != start {
                out.extend_from_slice(&bytes[run]);
                run = start..start;
            }
            run.end = end;
        } else {
            out.extend_from_slice(&bytes[std::mem::take(&mut run)]);
            match map.spelling_of(entry) {
                Some(spelling) if case == NameCase::Preserve => {
                    out.extend_from_slice(spelling);
                    out.extend_from_slice(b": ");
                }
                _ => put_name(map.name_of(entry), case, out),
            }
            out.extend_from_slice(map.value_of(entry));
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(&bytes[run]);
}

fn put_line(name: &[u8], value: &[u8], case: NameCase, out: &mut Vec<u8>) {
    put_name(name, case, out);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put_name(name: &[u8], case: NameCase, out: &mut Vec<u8>) {
    if case == NameCase::Proper {
        let mut starts_word = true;
        for &byte in name {
            out.push(if starts_word {
                byte.to_ascii_uppercase()
            } else {
                byte
            });
            starts_word = !byte.is_ascii_alphanumeric();
        }
    } else {
        out.extend_from_slice(name);
    }
    out.extend_from_slice(b": ");
}
