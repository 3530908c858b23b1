//! Looking at bytes, eight at a time: where text ends, where a head ends.

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// High bits set at bytes below `limit` (at most 0x80). Bytes above the lowest hit may be wrong: a borrow
/// runs upwards. Callers use the lowest only.
#[inline]
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}

/// High bits set at bytes equal to DEL, with the same caveat.
#[inline]
fn is_del(word: u64) -> u64 {
    below(word ^ (ONES * 0x7f), 1)
}

/// Length of the longest prefix without the bytes that `stop_word` marks.
#[inline]
fn span(bytes: &[u8], stop_word: impl Fn(u64) -> u64, stop_byte: impl Fn(u8) -> bool) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let hits = stop_word(u64::from_le_bytes(*word));
        if hits != 0 {
            return index * 8 + (hits.trailing_zeros() / 8) as usize;
        }
    }
    let done = words.len() * 8;
    done + tail
        .iter()
        .position(|&b| stop_byte(b))
        .unwrap_or(tail.len())
}

/// Length of the prefix that is field text: everything but control bytes (HTAB is one) and DEL.
#[inline]
pub(super) fn text_len(bytes: &[u8]) -> usize {
    span(
        bytes,
        |w| below(w, 0x20) | is_del(w),
        |b| b < 0x20 || b == 0x7f,
    )
}

/// Length of the prefix of visible ASCII, `!` to `~`: what a request target is made of.
#[inline]
pub(super) fn visible_len(bytes: &[u8]) -> usize {
    span(
        bytes,
        |w| below(w, 0x21) | is_del(w) | (w & HIGHS),
        |b| !b.is_ascii_graphic(),
    )
}

/// Whether the bytes from `from` on hold the end of a head: an empty line. `from` may point into the line
/// end before it.
pub(super) fn has_head_end(bytes: &[u8], from: usize) -> bool {
    let mut at = from;
    while let Some(offset) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|&b| b == b'\n'))
    {
        at += offset + 1;
        match bytes.get(at) {
            Some(b'\n') => return true,
            Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => return true,
            _ => {}
        }
    }
    false
}

/// Bytes that may stand nowhere in a head: controls except HTAB, CR and LF, and DEL.
#[inline]
pub(super) fn is_forbidden(byte: u8) -> bool {
    (byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n')) || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_offset_is_seen() {
        for stop in 0..=255u8 {
            for at in 0..20 {
                let mut bytes = vec![b'a'; 24];
                bytes[at] = stop;
                let control = stop < 0x20 || stop == 0x7f;
                assert_eq!(
                    text_len(&bytes),
                    if control { at } else { 24 },
                    "{stop} at {at}"
                );
                let visible = (0x21..0x7f).contains(&stop);
                assert_eq!(
                    visible_len(&bytes),
                    if visible { 24 } else { at },
                    "{stop} at {at}"
                );
            }
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for (bytes, ends) in [
            (&b"a\r\n\r\n"[..], true),
            (b"a\n\n", true),
            (b"a\r\n\n", true),
            (b"a\n\r\n", true),
            (b"a\r\n", false),
            (b"a\r\n\r", false),
            (b"a\r\n\r\r\n", false),
        ] {
            assert_eq!(has_head_end(bytes, 0), ends);
        }
    }
}
