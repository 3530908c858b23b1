//! Walking a map in order.

use super::{Entry, HeaderMap, Known};
use std::fmt;

/// One header, as iteration shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name in lower case; pseudo-headers begin with `:`.
    pub name: &'a [u8],
    /// The value without surrounding white space; any bytes but CR, LF and NUL.
    pub value: &'a [u8],
    /// The number of the name.
    pub known: Known,
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.name.escape_ascii(),
            self.value.escape_ascii()
        )
    }
}

/// The order in which Envoy shows pseudo-headers of an HTTP/1 message.
const PSEUDO_ORDER: [Known; Known::PSEUDO] = [
    Known::Authority,
    Known::Path,
    Known::Method,
    Known::Scheme,
    Known::Protocol,
    Known::Status,
];

/// Iterator over all live headers, pseudo-headers first.
pub struct Iter<'a> {
    map: &'a HeaderMap,
    pseudo: std::slice::Iter<'static, Known>,
    regular: std::slice::Iter<'a, Entry>,
}

impl<'a> Iter<'a> {
    #[inline]
    pub(super) fn new(map: &'a HeaderMap) -> Iter<'a> {
        Iter {
            map,
            pseudo: PSEUDO_ORDER.iter(),
            regular: map.entries.iter(),
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        let entry = loop {
            if let Some(&known) = self.pseudo.next() {
                if let Some(entry) = self.map.pseudo_entry(known) {
                    break entry;
                }
            } else {
                let entry = self.regular.next()?;
                if entry.is_live() {
                    break entry;
                }
            }
        };
        Some(Header {
            name: self.map.name_of(entry),
            value: self.map.value_of(entry),
            known: entry.known,
        })
    }
}
