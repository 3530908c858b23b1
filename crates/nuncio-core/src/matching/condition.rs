//! Conditions of a route besides its path: headers, query parameters, cookies, a fraction of the traffic.
//!
//! The rules for what is missing are Envoy's: an inverted header matcher does not match a request without that
//! header, unless the header is treated as empty; the first of several query parameters or cookies counts; of
//! several headers of one name any may match, but those of which Envoy keeps one entry are compared joined.

use super::single::{Side, is_single};
use super::text::TextMatch;
use nuncio_codec::headers::{HeaderMap, HeaderName, Known, Name as _};
use std::fmt;

/// `HeaderMatcher`.
#[derive(Debug, Clone)]
pub struct HeaderMatch {
    /// Which header; pseudo headers (`:method`) included.
    pub name: HeaderName,
    /// What is asked of it.
    pub test: HeaderTest,
    /// The answer is turned round.
    pub invert: bool,
    /// A missing header is compared as if it were empty.
    pub missing_as_empty: bool,
}

/// What is asked of a header.
#[derive(Debug, Clone)]
pub enum HeaderTest {
    /// It is there (or, with false, it is not).
    Present(bool),
    /// Its value is a number from `start` to before `end`.
    Range {
        /// Smallest number that matches.
        start: i64,
        /// First number that does not.
        end: i64,
    },
    /// Its value as a text.
    Text(TextMatch),
}

impl HeaderMatch {
    /// Whether the headers of a request satisfy it.
    pub fn matches(&self, headers: &HeaderMap) -> bool {
        self.matches_in(headers, Side::Request)
    }

    /// Whether the headers of a message satisfy it.
    pub fn matches_in(&self, headers: &HeaderMap, side: Side) -> bool {
        let known = self.name.known();
        let Some(first) = headers.get(&self.name) else {
            return match &self.test {
                HeaderTest::Present(wanted) if !self.missing_as_empty => *wanted == self.invert,
                _ => self.missing_as_empty && self.test.holds(b"") != self.invert,
            };
        };
        let matched = if known != Known::Other && !headers.is_repeated(known) {
            self.test.holds(first)
        } else if is_single(known, side) {
            self.test.holds(&headers.get_joined(&self.name).unwrap_or_default())
        } else {
            headers.get_all(&self.name).any(|value| self.test.holds(value))
        };
        matched != self.invert
    }
}

impl HeaderTest {
    #[inline]
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            HeaderTest::Present(wanted) => *wanted,
            HeaderTest::Range { start, end } => integer(value).is_some_and(|n| (*start..*end).contains(&n)),
            HeaderTest::Text(text) => text.matches(value),
        }
    }
}

impl fmt::Display for HeaderMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.invert { "not: " } else { "" };
        let name = &self.name;
        match &self.test {
            HeaderTest::Present(true) => write!(f, "{not}header {name} is present"),
            HeaderTest::Present(false) => write!(f, "{not}header {name} is absent"),
            HeaderTest::Range { start, end } => write!(f, "{not}header {name} is a number in [{start}, {end})"),
            HeaderTest::Text(text) => write!(f, "{not}header {name} {text}"),
        }
    }
}

/// A decimal number with an optional sign and blanks around it.
fn integer(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']).parse().ok()
}

/// `QueryParameterMatcher`.
#[derive(Debug, Clone)]
pub struct QueryMatch {
    /// Name of the parameter, compared as it stands in the request, without decoding.
    pub name: Box<[u8]>,
    /// What is asked of it.
    pub test: QueryTest,
}

/// What is asked of a query parameter.
#[derive(Debug, Clone)]
pub enum QueryTest {
    /// It is there (or, with false, it is not).
    Present(bool),
    /// Its value as a text.
    Text(TextMatch),
}

impl QueryMatch {
    /// Whether the parameters in `query` (what follows `?`) satisfy it.
    pub fn matches(&self, query: &[u8]) -> bool {
        let value = parameter(query, &self.name);
        match &self.test {
            QueryTest::Present(wanted) => value.is_some() == *wanted,
            QueryTest::Text(text) => value.is_some_and(|value| text.matches(value)),
        }
    }
}

impl fmt::Display for QueryMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_ascii();
        match &self.test {
            QueryTest::Present(true) => write!(f, "query parameter {name} is present"),
            QueryTest::Present(false) => write!(f, "query parameter {name} is absent"),
            QueryTest::Text(text) => write!(f, "query parameter {name} {text}"),
        }
    }
}

/// The first value of a query parameter; empty where it has no `=`.
pub fn parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    query.split(|&b| b == b'&').find_map(|pair| match pair.iter().position(|&b| b == b'=') {
        Some(at) => (pair[..at] == *name).then(|| &pair[at + 1..]),
        None => (pair == name && !pair.is_empty()).then_some(&[][..]),
    })
}

/// `CookieMatcher`.
#[derive(Debug, Clone)]
pub struct CookieMatch {
    /// Name of the cookie.
    pub name: Box<[u8]>,
    /// What is asked of its value.
    pub test: TextMatch,
    /// The answer is turned round; a missing cookie then matches.
    pub invert: bool,
}

impl CookieMatch {
    /// Whether the request's cookies satisfy it.
    pub fn matches(&self, headers: &HeaderMap) -> bool {
        cookie(headers, &self.name).is_some_and(|value| self.test.matches(value)) != self.invert
    }
}

impl fmt::Display for CookieMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.invert { "not: " } else { "" };
        write!(f, "{not}cookie {} {}", self.name.escape_ascii(), self.test)
    }
}

/// The first value of a cookie, without the quotes it may have; blanks belong to it.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &[u8]) -> Option<&'h [u8]> {
    headers.get_all(Known::Cookie).flat_map(|line| line.split(|&b| b == b';')).find_map(|pair| {
        let at = pair.iter().position(|&b| b == b'=')?;
        let value = &pair[at + 1..];
        let unquoted = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        (*pair[..at].trim_ascii_start() == *name).then_some(unquoted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Fold;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    fn header(test: HeaderTest, invert: bool, missing_as_empty: bool) -> HeaderMatch {
        HeaderMatch { name: HeaderName::new("X-A").expect("valid"), test, invert, missing_as_empty }
    }

    fn exact(text: &str) -> HeaderTest {
        HeaderTest::Text(TextMatch::Exact(Fold::exact(text)))
    }

    #[test]
    fn an_absent_header_matches_no_text_not_even_an_inverted_one() {
        let none = headers(&[]);
        assert!(!header(exact("one"), false, false).matches(&none));
        assert!(!header(exact("one"), true, false).matches(&none));
        assert!(header(exact("one"), true, true).matches(&none));
        assert!(header(exact(""), false, true).matches(&none));
    }

    #[test]
    fn presence_and_its_inversion() {
        let (none, some) = (headers(&[]), headers(&[("x-a", "")]));
        for (wanted, invert) in [(true, false), (false, true)] {
            let matcher = header(HeaderTest::Present(wanted), invert, false);
            assert!(matcher.matches(&some) && !matcher.matches(&none));
        }
        for (wanted, invert) in [(false, false), (true, true)] {
            let matcher = header(HeaderTest::Present(wanted), invert, false);
            assert!(!matcher.matches(&some) && matcher.matches(&none));
        }
    }

    #[test]
    fn a_range_excludes_its_end_and_takes_numbers_only() {
        let matcher = header(HeaderTest::Range { start: 10, end: 20 }, false, false);
        for (value, wanted) in [("10", true), ("19", true), ("20", false), ("-15", false), ("15a", false), ("", false)] {
            assert_eq!(matcher.matches(&headers(&[("x-a", value)])), wanted, "{value}");
        }
    }

    #[test]
    fn of_several_headers_any_may_match() {
        let two = headers(&[("x-a", "one"), ("x-a", "two")]);
        assert!(header(exact("one"), false, false).matches(&two) && header(exact("two"), false, false).matches(&two));
        assert!(!header(exact("one"), true, false).matches(&two) && header(exact("three"), true, false).matches(&two));
        assert!(!header(exact("one,two"), false, false).matches(&two));
    }

    #[test]
    fn headers_of_which_there_is_one_entry_are_compared_joined() {
        let two = headers(&[("accept", "one"), ("accept", "two")]);
        let accept = |text| HeaderMatch { name: Known::Accept.into(), ..header(exact(text), false, false) };
        assert!(accept("one,two").matches(&two) && !accept("one").matches(&two));
    }

    #[test]
    fn a_missing_header_taken_as_empty_counts_as_present() {
        let none = headers(&[]);
        assert!(header(HeaderTest::Present(true), false, true).matches(&none));
        assert!(!header(HeaderTest::Present(true), true, true).matches(&none));
        assert!(!header(HeaderTest::Present(false), false, true).matches(&none));
    }

    #[test]
    fn query_parameters_are_taken_as_they_stand_and_the_first_counts() {
        let query = |name: &str, test| QueryMatch { name: name.as_bytes().into(), test };
        let one = query("a", QueryTest::Text(TextMatch::Exact(Fold::exact("1"))));
        assert!(one.matches(b"a=1") && one.matches(b"z=0&a=1&a=2"));
        assert!(!one.matches(b"a=2&a=1") && !one.matches(b"a=%31") && !one.matches(b""));
        let present = query("b", QueryTest::Present(true));
        assert!(present.matches(b"z&b") && present.matches(b"b=") && !present.matches(b"bb="));
    }

    #[test]
    fn cookies_of_several_headers_are_looked_through() {
        let cookies = headers(&[("cookie", "x=1; sid=\"abc\""), ("cookie", "y=2;sid=zzz; z= 3")]);
        assert_eq!(cookie(&cookies, b"z"), Some(&b" 3"[..]));
        assert_eq!(cookie(&cookies, b"sid"), Some(&b"abc"[..]));
        assert_eq!(cookie(&cookies, b"y"), Some(&b"2"[..]));
        let matcher = |invert| CookieMatch { name: (*b"q").into(), test: TextMatch::Any, invert };
        assert!(!matcher(false).matches(&cookies) && matcher(true).matches(&cookies));
    }
}
