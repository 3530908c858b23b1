//! Drives what is done to paths before routes are matched by them.

use nuncio_codec::path::{Cleaned, Cleaning, EscapedSlashes, clean, percent_decode, query_pairs, split_query};

/// A target, cleaned in every way there is: no step up is left, no slashes in a row, and the query is as it was. Escapes are undone
/// once, so that what was cleaned may have some again (`%%32e`).
pub fn path(data: &[u8]) {
    for bits in 0..16_u8 {
        let rules = Cleaning {
            normalize: bits & 1 != 0,
            merge_slashes: bits & 2 != 0,
            escaped_slashes: match bits >> 2 {
                0 => EscapedSlashes::Keep,
                1 => EscapedSlashes::Reject,
                2 => EscapedSlashes::UnescapeAndRedirect,
                _ => EscapedSlashes::UnescapeAndForward,
            },
        };
        let target = match clean(data, rules) {
            Cleaned::Changed(target) => target,
            _ => continue,
        };
        assert_eq!(split_query(&target).1, split_query(data).1, "the query is never touched");
        let (path, _) = split_query(&target);
        if rules.normalize {
            assert!(path.starts_with(b"/"));
            assert!(path.split(|byte| *byte == b'/').all(|part| part != b"." && part != b".."), "a step is left");
        }
        if rules.merge_slashes {
            // As on Envoy: of nothing but slashes two are left.
            assert!(path == b"//" || !path.windows(2).any(|pair| pair == b"//"));
        }
    }
    for (name, value) in query_pairs(data) {
        assert!(percent_decode(name).len() <= name.len() && percent_decode(value).len() <= value.len());
    }
}
