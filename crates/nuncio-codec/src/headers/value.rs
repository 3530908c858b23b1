//! Writing a header's value straight into the map's buffer.

use std::fmt;

/// Appends to the value that is being set; see [`super::HeaderMap::set_with`].
pub struct ValueWriter<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
}

impl ValueWriter<'_> {
    /// Appends bytes.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends one byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Appends a number in decimal.
    #[inline]
    pub fn decimal(&mut self, number: u64) {
        put_decimal(self.bytes, number);
    }
}

impl fmt::Write for ValueWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// Appends a number in decimal.
pub(crate) fn put_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Bytes that end a line or a string somewhere: no name or value may hold them.
#[inline]
fn splits(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n' || byte == 0
}

/// Replaces CR, LF and NUL by spaces, so that what is written later cannot split a message.
#[inline]
pub(super) fn scrub(bytes: &mut [u8]) {
    // Eight bytes at a time, the last ones perhaps twice: does any look like a byte up to CR? Hardly a value has one.
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        word.wrapping_sub(ONES * (b'\r' as u64 + 1)) & !word & (ONES << 7)
    };
    let found = match bytes.last_chunk() {
        Some(last) => bytes.as_chunks().0.iter().fold(low(last), |found, word| found | low(word)) != 0,
        None => bytes.iter().any(|&b| b <= b'\r'),
    };
    if found {
        blank_splitters(bytes);
    }
}

#[cold]
fn blank_splitters(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|b| splits(**b)) {
        *byte = b' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        for n in [0, 7, 10, 99, 100, 65_535, u64::MAX] {
            let mut out = Vec::new();
            put_decimal(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }

    #[test]
    fn line_ends_become_spaces() {
        let mut value = *b"a\r\nset-cookie: x\0";
        scrub(&mut value);
        assert_eq!(&value, b"a  set-cookie: x ");
    }

    #[test]
    fn no_place_in_a_value_is_overlooked() {
        for len in 0..40 {
            for at in 0..len {
                for bad in [0, b'\n', b'\r'] {
                    let mut value = vec![b'x'; len];
                    value[at] = bad;
                    scrub(&mut value);
                    assert_eq!(value[at], b' ', "{bad} at {at} of {len}");
                }
            }
            let mut kept = vec![b'\t'; len];
            scrub(&mut kept);
            assert_eq!(kept, vec![b'\t'; len]);
        }
    }
}
