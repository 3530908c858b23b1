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

/// Length of the prefix without a byte that `stop` marks; `stops` marks the same bytes in a word.
///
/// Sixteen bytes at a time: the fold over a group has no early exit, so that it becomes a few vector
/// instructions. Where it hits, two words tell the place.
#[inline]
fn span(bytes: &[u8], stop: impl Fn(u8) -> bool, stops: impl Fn(u64) -> u64) -> usize {
    let (groups, tail) = bytes.as_chunks::<16>();
    let mut clean = 0;
    for group in groups {
        if group.iter().fold(false, |hit, &b| hit | stop(b)) {
            let ([low, high], _) = group.as_chunks::<8>() else {
                return clean;
            };
            let hits = stops(u64::from_le_bytes(*low));
            if hits != 0 {
                return clean + (hits.trailing_zeros() / 8) as usize;
            }
            return clean + 8 + (stops(u64::from_le_bytes(*high)).trailing_zeros() / 8) as usize;
        }
        clean += 16;
    }
    clean + tail.iter().position(|&b| stop(b)).unwrap_or(tail.len())
}

/// Length of the prefix that is field text: everything but control bytes (HTAB is one) and DEL.
#[inline]
pub(super) fn text_len(bytes: &[u8]) -> usize {
    span(
        bytes,
        |b| (b < 0x20) | (b == 0x7f),
        |w| below(w, 0x20) | is_del(w),
    )
}

/// Length of the prefix of visible ASCII, `!` to `~`: what a request target is made of.
#[inline]
pub(super) fn visible_len(bytes: &[u8]) -> usize {
    span(
        bytes,
        |b| !b.is_ascii_graphic(),
        |w| below(w, 0x21) | is_del(w) | (w & HIGHS),
    )
}

/// Lower-cases ASCII letters up to the first colon and answers where that is; the length if there is none.
/// Bytes that are not ASCII stay so, but those next to them may be garbled: such a name is refused anyway.
#[inline]
pub(super) fn lower_to_colon(bytes: &mut [u8]) -> usize {
    let (words, tail) = bytes.as_chunks_mut::<8>();
    let mut done = 0;
    for chunk in words {
        let word = u64::from_le_bytes(*chunk);
        let colon = below(word ^ (ONES * b':' as u64), 1);
        let lowest = colon & colon.wrapping_neg();
        let from_a = word.wrapping_add(ONES * (0x80 - b'A' as u64));
        let above_z = word.wrapping_add(ONES * (0x7f - b'Z' as u64));
        let upper = (from_a ^ above_z) & HIGHS & lowest.wrapping_sub(1);
        *chunk = (word | upper >> 2).to_le_bytes();
        if colon != 0 {
            return done + (lowest.trailing_zeros() / 8) as usize;
        }
        done += 8;
    }
    for byte in tail {
        if *byte == b':' {
            break;
        }
        byte.make_ascii_lowercase();
        done += 1;
    }
    done
}

/// Whether all bytes are a-z, 0-9 or `-`, the letters of nearly every name. The last group overlaps the one
/// before it, so that there is no rest to go through byte by byte.
#[inline]
pub(super) fn is_plain_name(bytes: &[u8]) -> bool {
    fn is_plain(byte: u8) -> bool {
        byte.is_ascii_lowercase() | byte.is_ascii_digit() | (byte == b'-')
    }
    fn all<const N: usize>(group: &[u8; N]) -> bool {
        group.iter().fold(true, |plain, &b| plain & is_plain(b))
    }
    if let Some(last) = bytes.last_chunk::<16>() {
        bytes.as_chunks::<16>().0.iter().all(all) && all(last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        all(first) & all(last)
    } else {
        bytes.iter().all(|&b| is_plain(b))
    }
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
    fn names_are_lower_cased_up_to_the_colon() {
        for pad in 0..20 {
            let mut bytes = "X".repeat(pad).into_bytes();
            bytes.extend_from_slice(b"@Ab-[Z`|:Value: AND MORE OF IT");
            assert_eq!(lower_to_colon(&mut bytes), pad + 8);
            let want = [
                "x".repeat(pad).as_bytes(),
                b"@ab-[z`|:Value: AND MORE OF IT",
            ]
            .concat();
            assert_eq!(bytes, want);
        }
        let mut bytes = *b"No colon here";
        assert_eq!(lower_to_colon(&mut bytes), bytes.len());
    }

    #[test]
    fn plain_names_are_letters_digits_and_dashes() {
        for len in 1..40 {
            assert!(is_plain_name(&b"x-0az9-"[..].repeat(6)[..len]));
            for odd in [b'_', b'A', b'{', b'`', b'/', b':', b' ', 0x80, 0xff] {
                for at in 0..len {
                    let mut name = vec![b'a'; len];
                    name[at] = odd;
                    assert!(!is_plain_name(&name), "{odd} at {at} of {len}");
                }
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
