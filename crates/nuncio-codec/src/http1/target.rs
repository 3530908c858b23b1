//! Request targets in their four forms (rfc9112#3.2), and what an authority may hold.

use super::rules::RequestRules;
use super::violation::Violation;
use crate::headers::{HeaderMap, Known};
use crate::method::Method;

/// What a target says beside its path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Target {
    /// Place and length of an authority that takes the place of `host`: of an absolute or authority form.
    pub(super) authority: Option<(u32, u32)>,
    /// The scheme of an absolute form.
    pub(super) scheme: Option<Scheme>,
    /// The path is `?query`: an absolute form whose path is empty.
    pub(super) is_query_only: bool,
    /// What is wrong with it, for the fields' faults come first.
    pub(super) fault: Option<Violation>,
}

impl Target {
    fn faulty(fault: Violation) -> Target {
        Target { fault: Some(fault), ..Target::default() }
    }
}

/// The schemes a target may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Reads a target of `len` bytes at `at`, which the caller knows to be visible ASCII and not empty. Its path
/// goes into the map; CONNECT and an absolute form without one have none.
#[inline]
pub(super) fn parse_target(
    bytes: &[u8],
    map: &mut HeaderMap,
    (at, len): (usize, usize),
    method: Method,
    rules: &RequestRules,
) -> Result<Target, Violation> {
    if bytes[at] == b'/' && !method.is_connect() {
        map.set_pseudo_loaded(Known::Path, at, len);
        return Ok(Target::default());
    }
    parse_other_form(&bytes[at..at + len], map, at, method, rules)
}

#[cold]
fn parse_other_form(
    text: &[u8],
    map: &mut HeaderMap,
    at: usize,
    method: Method,
    rules: &RequestRules,
) -> Result<Target, Violation> {
    if method.is_connect() {
        if !is_authority(text, true) {
            return Ok(Target::faulty(Violation::Url));
        }
        return Ok(Target {
            authority: Some((at as u32, text.len() as u32)),
            ..Target::default()
        });
    }
    if text[0] == b'*' {
        if rules.allow_absolute_url && (text != b"*" || method != Method::Options) {
            return Ok(Target::faulty(Violation::Url));
        }
        map.set_pseudo_loaded(Known::Path, at, text.len());
        return Ok(Target::default());
    }
    let colon = text
        .iter()
        .position(|b| !is_scheme_byte(*b))
        .unwrap_or(text.len());
    if !text[0].is_ascii_alphabetic() || !text[colon..].starts_with(b"://") {
        return Err(Violation::Target);
    }
    let rest_at = colon + 3;
    let rest = &text[rest_at..];
    let path_at = rest
        .iter()
        .position(|&b| b == b'/' || b == b'?')
        .unwrap_or(rest.len());
    let (host, path) = rest.split_at(path_at);
    let has_doubled_at = host.windows(2).any(|pair| pair == b"@@");
    if !host.iter().all(|&b| is_url_host_byte(b)) || has_doubled_at {
        return Err(Violation::Target);
    }
    if !rules.allow_absolute_url {
        map.set_pseudo_loaded(Known::Path, at, text.len());
        return Ok(Target::default());
    }
    let host_at = host
        .iter()
        .position(|&b| b == b'@')
        .map_or(0, |user| user + 1);
    if !is_authority(&host[host_at..], false) {
        return Ok(Target::faulty(Violation::Url));
    }
    let scheme = match &text[..colon] {
        scheme if scheme.eq_ignore_ascii_case(b"http") => Scheme::Http,
        scheme if scheme.eq_ignore_ascii_case(b"https") => Scheme::Https,
        _ => return Ok(Target::faulty(Violation::Scheme)),
    };
    let start = at + rest_at;
    if !path.is_empty() {
        map.set_pseudo_loaded(Known::Path, start + path_at, path.len());
    }
    Ok(Target {
        authority: Some(((start + host_at) as u32, (path_at - host_at) as u32)),
        scheme: Some(scheme),
        is_query_only: path.first() == Some(&b'?'),
        fault: None,
    })
}

/// `host`, `host:port` or `[v6]:port`.
fn is_authority(text: &[u8], needs_port: bool) -> bool {
    let (host, port) = if text.first() == Some(&b'[') {
        let Some(close) = text.iter().position(|&b| b == b']') else {
            return false;
        };
        let literal = &text[1..close];
        let valid = literal
            .iter()
            .all(|&b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
        if literal.is_empty() || !valid {
            return false;
        }
        (&text[..=close], &text[close + 1..])
    } else {
        let colon = text.iter().position(|&b| b == b':').unwrap_or(text.len());
        let (host, port) = text.split_at(colon);
        if !host
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        {
            return false;
        }
        (host, port)
    };
    match port {
        _ if host.is_empty() => false,
        [] => !needs_port,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    }
}

fn is_port(digits: &[u8]) -> bool {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    digits
        .iter()
        .fold(0u32, |n, &b| n * 10 + u32::from(b - b'0'))
        <= 65_535
}

/// Bytes of a scheme behind its first letter (rfc3986#3.1).
fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// Bytes that may stand in the authority of an absolute form before it is looked at closely.
fn is_url_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=@[]_~".contains(&byte)
}

/// Bytes that may stand in `host` or `:authority`.
static AUTHORITY: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 128 {
        let byte = b as u8;
        table[b] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b'-'
                    | b'.'
                    | b':'
                    | b';'
                    | b'='
                    | b'@'
                    | b'['
                    | b']'
                    | b'_'
                    | b'~'
            );
        b += 1;
    }
    table
};

/// Whether every byte may stand in an authority (rfc3986#3.2, as Envoy's `authorityIsValid`); the empty
/// one passes.
#[inline]
pub fn is_valid_authority(text: &[u8]) -> bool {
    text.iter().all(|&b| AUTHORITY[b as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_of_absolute_forms() {
        for good in [
            "x",
            "X.y",
            "x:80",
            "[::1]",
            "[::1]:65535",
            "-",
            "10.0.0.1:1",
        ] {
            assert!(is_authority(good.as_bytes(), false), "{good}");
        }
        for bad in [
            "", ":80", "x:", "x:99999", "x:a", "[::1", "[]", "x_y", "x*", "a@b", "[::1]x",
            "x:80:80",
        ] {
            assert!(!is_authority(bad.as_bytes(), false), "{bad}");
        }
        assert!(!is_authority(b"x", true));
    }
}
