//! The `connection` header: what it closes, keeps, upgrades and removes (rfc9110#7.6.1).

use super::Version;
use super::rules::Strictness;
use super::violation::Violation;
use crate::headers::{HeaderMap, Known, classify};

/// A `connection` header with so many members is refused, as by Envoy.
const TOO_MANY_TOKENS: usize = 10;
/// Longest `te` that may be nominated, in bytes.
const MAX_NOMINATED_TE_LEN: usize = 256;

/// The members of a comma-separated list, trimmed; empty ones left out.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Whether a comma-separated list has the token, in any case.
pub fn has_token(value: &[u8], token: &str) -> bool {
    list(value).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether a message asks for another protocol: `connection: upgrade` and a non-empty `upgrade`.
pub fn is_upgrade(map: &HeaderMap) -> bool {
    map.get(Known::Upgrade)
        .is_some_and(|protocol| !protocol.is_empty())
        && map
            .get(Known::Connection)
            .is_some_and(|value| has_token(value, "upgrade"))
}

/// Whether a request leaves its connection open for another.
pub(super) fn keeps_alive(map: &HeaderMap, version: Version) -> bool {
    let connection = map.get(Known::Connection);
    if connection == Some(b"keep-alive") && !map.contains(Known::ProxyConnection) {
        return true;
    }
    match version {
        Version::Http10 => connection.is_some_and(|value| has_token(value, "keep-alive")),
        Version::Http11 => {
            let proxy = map.get(Known::ProxyConnection);
            !connection
                .into_iter()
                .chain(proxy)
                .any(|value| has_token(value, "close"))
        }
    }
}

/// Takes an offer to switch to clear-text HTTP/2 out of a request: a server may ignore it (rfc9110#7.8).
pub(super) fn drop_h2c_offer(map: &mut HeaderMap) {
    map.remove(Known::Upgrade);
    map.remove(Known::Http2Settings);
    keep_tokens(map, |token| {
        !token.eq_ignore_ascii_case(b"upgrade") && !token.eq_ignore_ascii_case(b"http2-settings")
    });
}

/// Removes the headers that a request's `connection` nominates. `te` stays if it asks for trailers; names
/// whose removal would change who the request is from or for are refused.
pub(super) fn remove_nominated(map: &mut HeaderMap) -> Result<(), Violation> {
    let value = match map.get(Known::Connection) {
        None => return Ok(()),
        // What nearly every client sends.
        Some(b"keep-alive" | b"close" | b"Keep-Alive" | b"upgrade" | b"Upgrade") => return Ok(()),
        Some(value) => value.to_vec(),
    };
    if list(&value).nth(TOO_MANY_TOKENS - 1).is_some() {
        return Err(Violation::Connection);
    }
    for token in list(&value) {
        let name = token.to_ascii_lowercase();
        if name[0] == b':' {
            return Err(Violation::Connection);
        }
        match classify(&name) {
            Known::XForwardedFor | Known::XForwardedHost | Known::XForwardedProto => {
                return Err(Violation::Connection);
            }
            Known::Te
                if map
                    .get(Known::Te)
                    .is_some_and(|te| te.len() > MAX_NOMINATED_TE_LEN) =>
            {
                return Err(Violation::Connection);
            }
            Known::Te
            | Known::Upgrade
            | Known::Connection
            | Known::KeepAlive
            | Known::Http2Settings => continue,
            _ if name == b"close" => continue,
            _ => {}
        }
        if map.remove(&name[..]) {
            keep_tokens(map, |token| !token.eq_ignore_ascii_case(&name));
        }
    }
    Ok(())
}

/// Reduces `te` to what may be passed on: `trailers`, if it is asked for (rfc9110#10.1.4). Envoy knows the
/// token in lower case only, unless `connection` names the header too.
pub fn sanitize_te(map: &mut HeaderMap, strictness: Strictness) {
    match map.get(Known::Te) {
        None | Some(b"" | b"trailers") => {}
        Some(value) => {
            let nominated = map
                .get(Known::Connection)
                .is_some_and(|tokens| has_token(tokens, "te"));
            let any_case = nominated || !strictness.is_parity();
            let is_trailers =
                |t: &[u8]| t == b"trailers" || (any_case && t.eq_ignore_ascii_case(b"trailers"));
            if list(value).any(is_trailers) {
                map.insert(Known::Te, "trailers");
            } else {
                map.remove(Known::Te);
            }
        }
    }
}

/// Keeps the tokens of `connection` that pass; removes the header if none does.
fn keep_tokens(map: &mut HeaderMap, keep: impl Fn(&[u8]) -> bool) {
    let Some(value) = map.get(Known::Connection) else {
        return;
    };
    let kept: Vec<&[u8]> = list(value).filter(|token| keep(token)).collect();
    if kept.is_empty() {
        map.remove(Known::Connection);
    } else {
        let value = kept.join(&b", "[..]);
        map.insert(Known::Connection, value);
    }
}
