//! Scoped routes: which route table a request belongs to, by values of its headers.

use super::table::RouteTable;
use nuncio_codec::headers::{HeaderMap, HeaderName};
use std::{collections::HashMap, sync::Arc};

/// Route tables by key (`scoped_routes`).
#[derive(Debug)]
pub struct Scopes {
    /// What a request's key is made of; at least one part.
    pub key: Box<[KeyPart]>,
    /// The tables in their order.
    pub tables: Vec<Arc<RouteTable>>,
    /// Places of tables, by their keys.
    by_key: HashMap<Vec<Box<[u8]>>, usize>,
}

/// `HeaderValueExtractor`: a part of a key.
#[derive(Debug)]
pub struct KeyPart {
    /// The header; its first value is looked at.
    pub header: HeaderName,
    /// What its elements are parted by; empty: there is one.
    pub separator: Box<[u8]>,
    /// Which element.
    pub element: Element,
}

/// Which element of a header's value is part of a key.
#[derive(Debug)]
pub enum Element {
    /// The one at this place.
    Index(usize),
    /// What follows `separator` in the first element that begins with `key` and `separator`, or is `key`.
    Named {
        /// The name.
        key: Box<[u8]>,
        /// What stands between name and value; never empty.
        separator: Box<[u8]>,
    },
}

impl Scopes {
    /// Scopes: their names, keys and tables. Of the same key the last counts, and of the same name.
    pub fn new(key: Box<[KeyPart]>, scopes: Vec<(String, Vec<Box<[u8]>>, Arc<RouteTable>)>) -> Scopes {
        let (mut tables, mut by_key, mut by_name) = (Vec::new(), HashMap::new(), HashMap::new());
        for (name, key, table) in scopes {
            if let Some(earlier) = by_name.insert(name, key.clone()) {
                by_key.remove(&earlier);
            }
            by_key.insert(key, tables.len());
            tables.push(table);
        }
        Scopes { key, tables, by_key }
    }

    /// The place of the table that a request belongs to; `None` if it belongs to none.
    pub fn find(&self, head: &HeaderMap) -> Option<usize> {
        let key: Option<Vec<Box<[u8]>>> = self.key.iter().map(|part| part.of(head).map(Into::into)).collect();
        self.by_key.get(&key?).copied()
    }
}

impl KeyPart {
    fn of<'h>(&'h self, head: &'h HeaderMap) -> Option<&'h [u8]> {
        let value = head.get_all(&self.header).next()?;
        let mut elements = Parts { rest: Some(value), separator: &self.separator };
        match &self.element {
            Element::Index(at) => elements.nth(*at),
            Element::Named { key, separator } => elements.find_map(|element| {
                let mut halves = Parts { rest: Some(element), separator };
                let name = halves.next()?;
                (name == &**key).then(|| halves.rest.unwrap_or_default())
            }),
        }
    }
}

/// What a text has between separators.
struct Parts<'h, 's> {
    rest: Option<&'h [u8]>,
    separator: &'s [u8],
}

impl<'h> Iterator for Parts<'h, '_> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let rest = self.rest.take()?;
        let length = self.separator.len();
        let found = if length == 0 { None } else { rest.windows(length).position(|window| window == self.separator) };
        Some(match found {
            Some(at) => {
                self.rest = Some(&rest[at + length..]);
                &rest[..at]
            }
            None => rest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(separator: &str, element: Element) -> KeyPart {
        KeyPart { header: HeaderName::new("x").expect("valid"), separator: separator.as_bytes().into(), element }
    }

    #[test]
    fn elements_are_found_by_place_and_by_name() {
        let named = |key: &str, separator: &str| Element::Named { key: key.as_bytes().into(), separator: separator.as_bytes().into() };
        let cases = [
            (part(",", Element::Index(1)), "a,b,c", Some("b")),
            (part(",", Element::Index(1)), "a", None),
            (part("", Element::Index(0)), "a,b", Some("a,b")),
            (part(", ", Element::Index(2)), "a, b, c", Some("c")),
            (part(";", named("k", "=")), "j=1;k=2;k=3", Some("2")),
            (part(";", named("k", "=")), "k=a=b", Some("a=b")),
            (part(";", named("k", "=")), "k;k=1", Some("")),
            (part(";", named("k", "=")), " k=1", None),
            (part("", named("k", "=")), "k=1;k=2", Some("1;k=2")),
        ];
        for (part, value, wanted) in cases {
            let head: HeaderMap = [(&b"x"[..], value.as_bytes()), (b"x", b"other")].into_iter().collect();
            assert_eq!(part.of(&head), wanted.map(str::as_bytes), "{part:?} of {value}");
        }
    }
}
