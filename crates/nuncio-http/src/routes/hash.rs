//! What a request is hashed by (`hash_policy`), for consistent load balancing.
//!
//! Every policy that finds something gives a hash of 64 bits; they are combined in order, so that two of the same do not
//! cancel each other out. The hashes, and how they are combined, are Envoy's: the same request reaches the same host.

use super::action::{HashPolicy, HashSource};
use nuncio_core::matching::{cookie, parameter};
use nuncio_codec::headers::HeaderMap;
use nuncio_core::StreamCx;
use nuncio_rt::Address;
use nuncio_upstream::xxh64;
use std::{fmt::Write as _, net::IpAddr, time::Duration};

/// A cookie that a client without one is given.
#[derive(Debug, Clone, Copy)]
pub struct NewCookie<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its life; zero for as long as the client's session.
    pub ttl: Duration,
    /// `Path`; may be empty.
    pub path: &'a str,
    /// More attributes; those without a value stand alone.
    pub attributes: &'a [(Box<str>, Box<str>)],
}

impl NewCookie<'_> {
    /// The header that sets it.
    pub fn header(&self, value: &str) -> String {
        let mut text = format!("{}=\"{value}\"", self.name);
        // Writing to a text does not fail.
        if self.ttl.as_secs() > 0 {
            let _ = write!(text, "; Max-Age={}", self.ttl.as_secs());
        }
        if !self.path.is_empty() {
            let _ = write!(text, "; Path={}", self.path);
        }
        for (name, value) in self.attributes {
            let _ = match value.is_empty() {
                true => write!(text, "; {name}"),
                false => write!(text, "; {name}={value}"),
            };
        }
        text.push_str("; HttpOnly");
        text
    }
}

/// The hash of a request; `None` where no policy finds anything. `make` gives the value of a
/// cookie that is missing, if it makes one.
pub fn hash_request(
    policies: &[HashPolicy],
    head: &HeaderMap,
    source: Option<IpAddr>,
    make: &mut dyn FnMut(NewCookie<'_>) -> Option<String>,
) -> Option<u64> {
    let mut sum: Option<u64> = None;
    for policy in policies {
        if let Some(hash) = one(&policy.source, head, source, make) {
            sum = Some(sum.map_or(0, |sum| sum.rotate_left(1)) ^ hash);
        }
        if policy.terminal && sum.is_some() {
            break;
        }
    }
    sum
}

fn one(
    source: &HashSource,
    head: &HeaderMap,
    ip: Option<IpAddr>,
    make: &mut dyn FnMut(NewCookie<'_>) -> Option<String>,
) -> Option<u64> {
    match source {
        HashSource::Header { name, rewrite } => {
            let mut values = head.get_all(name);
            let first = values.next()?;
            if let (None, None) = (values.next(), rewrite) {
                return Some(xxh64(first, 0));
            }
            let rewritten = |value: &[u8]| rewrite.as_ref().map_or_else(|| value.to_vec(), |r| r.replace_all(value));
            let mut all: Vec<Vec<u8>> = head.get_all(name).map(rewritten).collect();
            // Their order shall not matter.
            all.sort_unstable();
            Some(all.iter().fold(0, |seed, value| xxh64(value, seed)))
        }
        HashSource::Cookie { name, ttl, path, attributes } => match cookie(head, name.as_bytes()) {
            Some(value) if !value.is_empty() => Some(xxh64(value, 0)),
            _ => {
                let value = make(NewCookie { name, ttl: (*ttl)?, path, attributes })?;
                Some(xxh64(value.as_bytes(), 0))
            }
        },
        HashSource::SourceIp => Some(xxh64(ip?.to_string().as_bytes(), 0)),
        HashSource::QueryParameter(name) => {
            let path = head.path()?;
            let query = &path[path.iter().position(|&b| b == b'?')? + 1..];
            parameter(query, name.as_bytes()).map(|value| xxh64(value, 0))
        }
        // No filter here makes such objects, and without one there is nothing to hash.
        HashSource::FilterState(_) => None,
    }
}

/// The client's address, as load balancing hashes it.
pub(crate) fn source_ip(cx: &StreamCx) -> Option<IpAddr> {
    match cx.info.remote.as_ref().unwrap_or(&cx.conn.remote) {
        Address::Ip(address) => Some(address.ip()),
        Address::Pipe(_) | Address::Internal(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Substitution;
    use nuncio_codec::headers::{HeaderName, Known};

    fn head(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in pairs {
            head.append(*name, value);
        }
        head
    }

    fn header(name: &str, terminal: bool) -> HashPolicy {
        let name = HeaderName::new(name).expect("a name");
        HashPolicy { source: HashSource::Header { name, rewrite: None }, terminal }
    }

    fn hash(policies: &[HashPolicy], head: &HeaderMap) -> Option<u64> {
        hash_request(policies, head, "10.0.0.1".parse().ok(), &mut |_| Some("made".into()))
    }

    #[test]
    fn several_policies_are_combined_and_a_terminal_one_ends_the_list() {
        let both = head(&[("a", "1"), ("b", "2")]);
        let (one, two) = (xxh64(b"1", 0), xxh64(b"2", 0));
        assert_eq!(hash(&[header("a", false), header("b", false)], &both), Some(one.rotate_left(1) ^ two));
        assert_eq!(hash(&[header("a", true), header("b", false)], &both), Some(one));
        assert_eq!(hash(&[header("x", true), header("b", false)], &both), Some(two));
        assert_eq!(hash(&[header("x", false)], &both), None);
    }

    #[test]
    fn several_values_count_in_any_order_after_the_rewrite() {
        let policy = [header("k", false)];
        let forth = hash(&policy, &head(&[("k", "a"), ("k", "b")]));
        assert_eq!(forth, hash(&policy, &head(&[("k", "b"), ("k", "a")])));
        assert_eq!(forth, Some(xxh64(b"b", xxh64(b"a", 0))));
        let rewrite = Substitution::new("^u-(.*)$", "\\1").ok().map(Box::new);
        let source = HashSource::Header { name: HeaderName::new("k").expect("a name"), rewrite };
        let policy = [HashPolicy { source, terminal: false }];
        assert_eq!(hash(&policy, &head(&[("k", "u-a")])), Some(xxh64(b"a", 0)));
    }

    #[test]
    fn a_missing_cookie_is_made_where_it_has_a_life() {
        let cookie = |ttl| {
            let source = HashSource::Cookie { name: "s".into(), ttl, path: "".into(), attributes: Box::default() };
            [HashPolicy { source, terminal: false }]
        };
        let mut with = head(&[]);
        with.append(Known::Cookie, "a=1; s=\"x\"");
        assert_eq!(hash(&cookie(None), &with), Some(xxh64(b"x", 0)));
        assert_eq!(hash(&cookie(None), &head(&[])), None);
        assert_eq!(hash(&cookie(Some(Duration::ZERO)), &head(&[])), Some(xxh64(b"made", 0)));
    }

    #[test]
    fn a_made_cookie_has_its_attributes() {
        let attributes: Box<[(Box<str>, Box<str>)]> = [("SameSite".into(), "Lax".into()), ("Secure".into(), "".into())].into();
        let cookie = NewCookie { name: "s", ttl: Duration::from_secs(60), path: "/p", attributes: &attributes };
        assert_eq!(cookie.header("1f"), "s=\"1f\"; Max-Age=60; Path=/p; SameSite=Lax; Secure; HttpOnly");
        let cookie = NewCookie { name: "s", ttl: Duration::ZERO, path: "", attributes: &[] };
        assert_eq!(cookie.header("1f"), "s=\"1f\"; HttpOnly");
    }
}
