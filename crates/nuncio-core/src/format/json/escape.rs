//! Quoting texts for JSON in place.

/// Bytes that cannot stand in a JSON text as they are.
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Whether nothing in a text has to be looked at: eight bytes at a time, the last ones perhaps twice.
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let special = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let marks = zero(word ^ ONES * u64::from(b'"')) | zero(word ^ ONES * u64::from(b'\\'));
        (word | control | marks) & (ONES << 7)
    };
    match text.last_chunk() {
        Some(last) => text.as_chunks().0.iter().fold(special(last), |found, word| found | special(word)) == 0,
        None => text.iter().all(|byte| byte.is_ascii() && !needs_escape(*byte)),
    }
}

/// Writes a text in quotes.
pub fn write_json_string(out: &mut Vec<u8>, text: &[u8]) {
    let from = out.len();
    out.push(b'"');
    out.extend_from_slice(text);
    quote_tail(out, from);
}

/// Closes the quoted text that began with the quote at `from`, escaping what is in it.
///
/// Text that is not UTF-8 is taken byte by byte: what is not plain ASCII becomes `\u00XX`, as Envoy does.
pub(super) fn quote_tail(out: &mut Vec<u8>, from: usize) {
    let tail = &out[from + 1..];
    if is_plain(tail) {
        return out.push(b'"');
    }
    if !tail.is_ascii() && std::str::from_utf8(tail).is_err() {
        rewrite(out, from, |byte, out| {
            if byte.is_ascii() && !needs_escape(byte) && byte != 0x7f { out.push(byte) } else { hex(byte, out) }
        });
    } else if tail.iter().any(|b| needs_escape(*b)) {
        rewrite(out, from, |byte, out| match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte if needs_escape(byte) => hex(byte, out),
            byte => out.push(byte),
        });
    }
    out.push(b'"');
}

/// Writes the text after `from` anew. The text is moved to a copy first: this is the rare case.
fn rewrite(out: &mut Vec<u8>, from: usize, write: fn(u8, &mut Vec<u8>)) {
    let raw = out.split_off(from + 1);
    for byte in raw {
        write(byte, out);
    }
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u00");
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_that_needs_a_look_is_overlooked() {
        for len in 0..24 {
            for at in 0..len {
                for byte in 0..=255u8 {
                    let mut text = vec![b'~'; len];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), byte.is_ascii() && !needs_escape(byte), "{byte} at {at} of {len}");
                }
            }
        }
    }

    /// Recorded from Envoy 1.40.
    #[test]
    fn texts_are_quoted_as_envoy_quotes_them() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"plain </>", b"\"plain </>\""),
            ("\u{e9}\"\\\t\u{1}".as_bytes(), "\"\u{e9}\\\"\\\\\\t\\u0001\"".as_bytes()),
            (b"\xe9 a\t\"\\", b"\"\\u00e9 a\\u0009\\u0022\\u005c\""),
            (b"", b"\"\""),
            (b"a\nb\r", b"\"a\\nb\\r\""),
        ];
        for (raw, want) in cases {
            let mut out = [b"x\"", raw].concat();
            quote_tail(&mut out, 1);
            assert_eq!(out[1..], *want, "{}", String::from_utf8_lossy(&out));
        }
    }
}
