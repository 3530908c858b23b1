//! Commands in plain text: words between spaces, in quotes where they have spaces themselves.

use super::ProtocolError;

/// The words of a line. In double quotes `\n`, `\r`, `\t`, `\b`, `\a` and `\xHH` are bytes, in single ones only `\'` is.
pub(super) fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while let Some(&first) = rest.first() {
        let mut word = Vec::new();
        match first {
            b'"' | b'\'' => {
                rest = quoted(&rest[1..], first, &mut word)?;
                // Something has to stand between words.
                if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                    return Err(ProtocolError);
                }
            }
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                word.extend_from_slice(&rest[..end]);
                rest = &rest[end..];
            }
        }
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    Ok(words)
}

/// Takes in what stands before the closing quote; what stands behind it.
fn quoted<'a>(mut rest: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match *rest {
            [] => return Err(ProtocolError),
            [byte, ref after @ ..] if byte == quote => return Ok(after),
            [b'\\', b'x', high, low, ref after @ ..] if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(high) << 4 | hex(low));
                rest = after;
            }
            [b'\\', byte, ref after @ ..] if quote == b'"' || byte == b'\'' => {
                word.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                rest = after;
            }
            [byte, ref after @ ..] => {
                word.push(byte);
                rest = after;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
