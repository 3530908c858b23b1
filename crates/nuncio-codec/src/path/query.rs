//! Taking a `:path` apart behind the question mark.

/// Path and query; the query without its `?`, `None` if there is no `?`.
#[inline]
pub fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&b| b == b'?') {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// The parameters of a query in order, as they stand there; one without `=` has an empty value.
pub fn query_pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query
        .split(|&b| b == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.iter().position(|&b| b == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &pair[pair.len()..]),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_question_mark_begins_the_query() {
        assert_eq!(split_query(b"/a?b?c"), (&b"/a"[..], Some(&b"b?c"[..])));
        assert_eq!(split_query(b"/a?"), (&b"/a"[..], Some(&b""[..])));
        assert_eq!(split_query(b"/a"), (&b"/a"[..], None));
    }

    #[test]
    fn parameters_keep_their_order_and_spelling() {
        let pairs: Vec<_> = query_pairs(b"a=1&b&&a=%20=&=x").collect();
        let want: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"b", b""), (b"a", b"%20="), (b"", b"x")];
        assert_eq!(pairs, want);
    }
}
