//! The query of a request, taken apart, changed and put together again.
//!
//! As on Envoy a query that is put together anew is sorted by names; values of one name keep their order. Unlike Envoy, which
//! writes what the client had escaped without its escapes (so that one parameter may become two), a parameter that is not
//! changed keeps its spelling, and of values that are put in, what would end a value or the request line is escaped.

use nuncio_codec::path::{percent_decode, percent_encode, query_pairs, split_query};

/// A parameter as it is sent, and its name as it is meant.
struct Parameter {
    name: Vec<u8>,
    sent: Vec<u8>,
}

/// The query of a request, taken apart.
pub(super) struct Query {
    path: Vec<u8>,
    parameters: Vec<Parameter>,
}

impl Query {
    /// That of a request's target.
    pub(super) fn of(target: &[u8]) -> Query {
        let (path, query) = split_query(target);
        let pairs = query_pairs(query.unwrap_or_default());
        let parameters = pairs.map(|(name, value)| Parameter { name: percent_decode(name).into_owned(), sent: [name, b"=", value].concat() });
        Query { path: path.to_vec(), parameters: parameters.collect() }
    }

    /// Whether there is a parameter of this name.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.parameters.iter().any(|parameter| *parameter.name == *name)
    }

    /// Removes all of this name.
    pub(super) fn remove(&mut self, name: &[u8]) {
        self.parameters.retain(|parameter| *parameter.name != *name);
    }

    /// Adds one more.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let mut sent = Vec::new();
        escape(name, &mut sent);
        sent.push(b'=');
        escape(value, &mut sent);
        self.parameters.push(Parameter { name: name.to_vec(), sent });
    }

    /// The request's target with this query.
    pub(super) fn target(mut self) -> Vec<u8> {
        self.parameters.sort_by(|one, other| one.name.cmp(&other.name));
        let mut target = self.path;
        for (index, parameter) in self.parameters.iter().enumerate() {
            target.push(if index == 0 { b'?' } else { b'&' });
            target.extend_from_slice(&parameter.sent);
        }
        target
    }
}

/// Escapes what would end a parameter or the request line; escapes that are there already stay.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    percent_encode(text, out, |byte| (b'!'..0x7f).contains(&byte) && !matches!(byte, b'&' | b'#'));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_sorted_and_keeps_its_spelling() {
        let mut query = Query::of(b"/p?z=%20a&b&%62=2&a=1%26x=y&z=b&%71=1");
        query.remove(b"q");
        query.add(b"n", b"1&2");
        assert!(query.contains(b"b") && !query.contains(b"x"));
        assert_eq!(query.target(), b"/p?a=1%26x=y&b=&%62=2&n=1%262&z=%20a&z=b");
        assert_eq!(Query::of(b"/p?").target(), b"/p");
        assert_eq!(Query::of(b"/p").target(), b"/p");
    }

    #[test]
    fn values_that_are_put_in_stay_values() {
        let mut out = Vec::new();
        escape(b"a b&c#d%20\r\n=\xff", &mut out);
        assert_eq!(out, b"a%20b%26c%23d%20%0D%0A=%FF");
    }
}
