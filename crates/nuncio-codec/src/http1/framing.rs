//! Which length or coding a head announces (rfc9112#6).

use super::fields::Seen;
use super::violation::Violation;
use crate::headers::{HeaderMap, Known};

/// What the head says about its body, before method and status have their say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Announced {
    Nothing,
    Length(u64),
    Chunked,
}

/// Reads `content-length` and `transfer-encoding`. With both, and only if the rules allow it, chunks win
/// and the length is removed.
#[inline]
pub(super) fn announced(
    map: &mut HeaderMap,
    seen: &Seen,
    allow_chunked_length: bool,
) -> Result<Announced, Violation> {
    if seen.transfer_encodings == 0 {
        return Ok(length(map, seen)?.map_or(Announced::Nothing, Announced::Length));
    }
    let coding = map.get(Known::TransferEncoding).unwrap_or_default();
    let chunked = seen.transfer_encodings == 1 && coding.eq_ignore_ascii_case(b"chunked");
    // Beside chunks nobody reads a length.
    if !chunked {
        length(map, seen)?;
    }
    if seen.content_lengths > 0 {
        if !allow_chunked_length || !chunked {
            return Err(Violation::LengthAndChunked);
        }
        map.remove(Known::ContentLength);
    }
    if chunked {
        Ok(Announced::Chunked)
    } else {
        Err(Violation::TransferEncoding)
    }
}

fn length(map: &HeaderMap, seen: &Seen) -> Result<Option<u64>, Violation> {
    if seen.content_lengths == 0 {
        return Ok(None);
    }
    let length = map.get(Known::ContentLength).and_then(parse_length);
    length
        .filter(|_| seen.content_lengths == 1)
        .map(Some)
        .ok_or(Violation::ContentLength)
}

/// One plain decimal number that fits 64 bits (rfc9112#6.3; no sign, no list).
pub(super) fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_plain_decimals() {
        assert_eq!(parse_length(b"0"), Some(0));
        assert_eq!(parse_length(b"003"), Some(3));
        assert_eq!(parse_length(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            "",
            "+3",
            "-1",
            "3,3",
            "3 3",
            "0x3",
            "18446744073709551616",
            "3.0",
        ] {
            assert_eq!(parse_length(bad.as_bytes()), None, "{bad}");
        }
    }
}
