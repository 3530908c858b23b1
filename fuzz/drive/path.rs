//! Drives what is done to paths before routes are matched by them.

use nuncio_codec::path::{Cleaned, Cleaning, EscapedSlashes, clean, percent_decode, query_pairs, split_query};

/// A target, cleaned in every way there is; with all of it no step up is left, and cleaning again changes nothing.
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
            assert!(!path.windows(2).any(|pair| pair == b"//"));
        }
        if bits == 15 {
            match clean(&target, rules) {
                Cleaned::Unchanged => {}
                Cleaned::Changed(again) => assert_eq!(again, target, "cleaning is done once"),
                _ => panic!("what was cleaned is refused"),
            }
        }
    }
    for (name, value) in query_pairs(data) {
        assert!(percent_decode(name).len() <= name.len() && percent_decode(value).len() <= value.len());
    }
}
