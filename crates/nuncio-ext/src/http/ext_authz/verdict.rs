//! What a service said about a request, and how that changes the exchange.

use super::METADATA;
use crate::service::rules::MutationRules;
use nuncio_api::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{LocalReply, ResponseFlags, StreamCx};
use std::collections::BTreeMap;

/// A header that a service names, as it named it.
pub(super) type Header = (String, Vec<u8>);

/// The service's word.
#[derive(Debug)]
pub(super) enum Verdict {
    Ok(Box<Changes>),
    Denied(Refusal),
    /// It has none.
    Error(Refusal),
}

/// An answer in the place of the upstream's.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    /// 0 where the service names none.
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) headers: Vec<Header>,
    pub(super) metadata: BTreeMap<String, MetadataValue>,
}

/// What becomes of a request that may pass.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) set: Vec<Header>,
    /// Only to headers that are there.
    pub(super) append: Vec<Header>,
    /// Beside those that are there.
    pub(super) add: Vec<Header>,
    pub(super) remove: Vec<String>,
    /// Of the response.
    pub(super) response: Vec<(HeaderAppendAction, Header)>,
    pub(super) query_set: Vec<(String, String)>,
    pub(super) query_remove: Vec<String>,
    pub(super) metadata: BTreeMap<String, MetadataValue>,
}

/// Why changes are not made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The configuration has such changes refused.
    Invalid,
    /// No such header can be.
    Name(String),
}

/// Whether bytes may stand in a header's value (rfc9110#5.5).
fn is_value(value: &[u8]) -> bool {
    value.iter().all(|b| *b == b'\t' || *b >= 0x20 && *b != 0x7f)
}

impl Changes {
    /// Whether anything changes that routes are matched by.
    pub(super) fn change_the_request(&self) -> bool {
        let lists = [self.set.is_empty(), self.append.is_empty(), self.add.is_empty(), self.remove.is_empty()];
        lists.contains(&false) || !self.query_set.is_empty() || !self.query_remove.is_empty()
    }

    /// Whether one of these headers changes; with none named, any change counts.
    pub(super) fn concern(&self, headers: &[Box<str>]) -> bool {
        let changed = self.set.iter().chain(&self.append).chain(&self.add).map(|(name, _)| name).chain(&self.remove);
        headers.is_empty() || changed.into_iter().any(|name| headers.iter().any(|header| header.eq_ignore_ascii_case(name)))
    }

    /// Whether every name and value can be sent.
    pub(super) fn are_valid(&self) -> bool {
        let of_request = self.set.iter().chain(&self.append).chain(&self.add);
        let plain = |(name, value): &(String, String)| name.bytes().chain(value.bytes()).all(|b| b.is_ascii_graphic());
        self.query_set.iter().all(plain) && all_valid(of_request.chain(self.response.iter().map(|(_, header)| header)))
    }

    /// Changes the request.
    pub(super) fn apply(&self, head: &mut HeaderMap, rules: Option<&MutationRules>) -> Result<(), Flaw> {
        let name_of = |name: &str, value: &[u8]| -> Result<Option<HeaderName>, Flaw> {
            let name = name.to_ascii_lowercase();
            match rules {
                Some(rules) if !rules.allows(&name) => return if rules.is_error { Err(Flaw::Invalid) } else { Ok(None) },
                _ => {}
            }
            let made = HeaderName::new(&name).filter(|_| is_value(value)).ok_or(Flaw::Name(name))?;
            // How the body is framed is not the service's to say.
            Ok(Some(made).filter(|name| !matches!(name.as_str(), "content-length" | "transfer-encoding" | ":status")))
        };
        for (name, value) in &self.set {
            if let Some(name) = name_of(name, value)? {
                head.insert(&name, value);
            }
        }
        for (name, value) in &self.add {
            if let Some(name) = name_of(name, value)? {
                head.append(&name, value);
            }
        }
        for (name, value) in &self.append {
            if let Some(name) = name_of(name, value)?.filter(|name| head.contains(name)) {
                head.append_joined(&name, ",", value);
            }
        }
        for name in &self.remove {
            let name = name.to_ascii_lowercase();
            if rules.is_some_and(|rules| rules.is_error && !rules.allows(&name)) {
                return Err(Flaw::Invalid);
            }
            let allowed = rules.is_none_or(|rules| rules.allows(&name));
            if let Some(name) = HeaderName::new(&name).filter(|_| allowed && name != "host" && !name.starts_with(':')) {
                head.remove(&name);
            }
        }
        if !self.query_set.is_empty() || !self.query_remove.is_empty() {
            let path = String::from_utf8_lossy(head.path().unwrap_or_default()).into_owned();
            head.insert(Known::Path, self.query(&path));
        }
        Ok(())
    }

    /// A path with other query parameters, by name.
    fn query(&self, path: &str) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parameters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            parameters.entry(name).or_default().push(value);
        }
        for (name, value) in &self.query_set {
            parameters.insert(name, vec![value]);
        }
        for name in &self.query_remove {
            parameters.remove(name.as_str());
        }
        let pairs = parameters.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("{name}={value}")));
        let query = pairs.collect::<Vec<_>>().join("&");
        let mut made = path.to_owned();
        if !query.is_empty() {
            made.push('?');
            // Nothing that would end the request line.
            for c in query.chars() {
                match c {
                    '\0'..=' ' | '\x7f' => made.push_str(&format!("%{:02X}", c as u32)),
                    c => made.push(c),
                }
            }
        }
        made
    }
}

fn all_valid<'h>(mut headers: impl Iterator<Item = &'h Header>) -> bool {
    headers.all(|(name, value)| HeaderName::new(name).is_some() && is_value(value))
}

/// Changes the response; what cannot be sent is left out.
pub(super) fn apply_to_response(changes: &[(HeaderAppendAction, Header)], head: &mut HeaderMap) {
    for (action, (name, value)) in changes {
        let Some(name) = HeaderName::new(name).filter(|_| is_value(value)) else { continue };
        match action {
            HeaderAppendAction::AppendIfExistsOrAdd => head.append(&name, value),
            HeaderAppendAction::AddIfAbsent => drop(head.add_if_absent(&name, value)),
            HeaderAppendAction::OverwriteIfExistsOrAdd => head.insert(&name, value),
            HeaderAppendAction::OverwriteIfExists if head.contains(&name) => head.insert(&name, value),
            HeaderAppendAction::OverwriteIfExists => {}
        }
    }
}

/// Leaves what the service told as dynamic metadata.
pub(super) fn tell(cx: &mut StreamCx, told: BTreeMap<String, MetadataValue>) {
    if told.is_empty() {
        return;
    }
    match cx.metadata.entry(METADATA.to_owned()).or_insert_with(|| MetadataValue::Struct(BTreeMap::new())) {
        MetadataValue::Struct(fields) => fields.extend(told),
        other => *other = MetadataValue::Struct(told),
    }
}

impl Refusal {
    /// Whether every name and value can be sent.
    pub(super) fn is_valid(&self) -> bool {
        all_valid(self.headers.iter())
    }

    /// The answer; of its body at most `most` bytes, if that is not 0.
    pub(super) fn reply(&self, status: u16, details: &'static str, most: usize) -> LocalReply {
        let mut body = self.body.clone();
        if most > 0 && body.len() > most {
            body.truncate(body.floor_char_boundary(most));
        }
        let mut reply = LocalReply::new(status, details).body(body).flags(ResponseFlags::UAEX);
        for (name, value) in &self.headers {
            let name = name.to_ascii_lowercase();
            let framing = matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") || name.starts_with(':');
            if !framing && HeaderName::new(&name).is_some() && is_value(value) {
                reply = reply.header(name, String::from_utf8_lossy(value));
            }
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(path: &str) -> HeaderMap {
        let mut head = HeaderMap::default();
        head.insert(Known::Method, "GET");
        head.insert(Known::Path, path);
        head
    }

    #[test]
    fn changes_concern_routes_by_the_headers_that_are_named() {
        let changes = Changes { set: vec![("X-A".to_owned(), b"1".to_vec())], remove: vec!["x-b".to_owned()], ..Changes::default() };
        let named = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<Vec<Box<str>>>();
        assert!(changes.concern(&[]));
        assert!(changes.concern(&named(&["x-a"])));
        assert!(changes.concern(&named(&["x-c", "X-B"])));
        assert!(!changes.concern(&named(&["x-c"])));
    }

    #[test]
    fn query_parameters_are_set_and_removed_and_sorted() {
        let owned = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let changes = Changes { query_set: owned(&[("z", "1"), ("0", "n w\n")]), query_remove: vec!["b".into()], ..Changes::default() };
        let mut map = head("/p?b=2&a=1&c=3&b=4");
        assert_eq!(changes.apply(&mut map, None), Ok(()));
        assert_eq!(map.path(), Some(&b"/p?0=n%20w%0A&a=1&c=3&z=1"[..]));
        let none = Changes { query_remove: vec!["b".into()], ..Changes::default() };
        assert_eq!(none.query("/p?b=1"), "/p");
    }

    #[test]
    fn a_service_cannot_write_another_request() {
        let mut map = head("/");
        for (name, value) in [("x-v", &b"a\r\nb: c"[..]), ("x bad", b"v"), ("x-v", b"\0")] {
            let changes = Changes { set: vec![(name.to_owned(), value.to_vec())], ..Changes::default() };
            assert_eq!(changes.apply(&mut map, None), Err(Flaw::Name(name.to_owned())));
            assert!(!changes.are_valid());
        }
        let framing = Changes { set: vec![("Content-Length".to_owned(), b"7".to_vec())], ..Changes::default() };
        assert_eq!(framing.apply(&mut map, None), Ok(()));
        assert!(!map.contains("content-length"));
    }
}
