//! Percent-escapes (rfc3986#2.1): undoing them and making them.

use std::borrow::Cow;

/// The byte that two hex digits at the front stand for.
#[inline]
pub fn decode_pair(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(*high)? << 4 | digit(*low)?) as u8)
}

/// Undoes every valid percent-escape; a `%` without two hex digits stays. Borrowed if there is nothing to do.
pub fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match decode_pair(after).filter(|_| *first == b'%') {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => decoded.push(*first),
        }
    }
    Cow::Owned(decoded)
}

/// Appends a text, every byte escaped that is not to be kept. What is kept must be ASCII for the outcome to be a text.
pub fn percent_encode(text: &[u8], out: &mut Vec<u8>, keep: impl Fn(u8) -> bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if keep(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_escapes_are_undone() {
        assert_eq!(&*percent_decode(b"a%20b%2x%"), b"a b%2x%");
        assert_eq!(&*percent_decode(b"%+1%4"), b"%+1%4");
        assert!(matches!(percent_decode(b"abc"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_not_kept_is_escaped() {
        let mut out = b"x".to_vec();
        percent_encode(b"a b%\xff", &mut out, |byte| byte.is_ascii_alphanumeric());
        assert_eq!(out, b"xa%20b%25%FF");
        assert_eq!(&*percent_decode(&out), b"xa b%\xff");
    }
}
