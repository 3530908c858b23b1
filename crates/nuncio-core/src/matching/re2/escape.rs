//! Escapes that stand for one byte, and counted repetitions.

use super::{PatternError, error};

/// An escape that stands for one byte, at the start of `rest`: the byte and the length.
pub(super) fn literal_escape(rest: &[u8], at: usize) -> Result<(u8, usize), PatternError> {
    let invalid = |len: usize| Err(error("invalid escape sequence", &rest[..len.min(rest.len())], at));
    let Some(&byte) = rest.get(1) else { return invalid(1) };
    let is_octal = |at: usize| rest.get(at).is_some_and(|b| (b'0'..=b'7').contains(b));
    match byte {
        b'a' => Ok((0x07, 2)),
        b'f' => Ok((0x0c, 2)),
        b'n' => Ok((b'\n', 2)),
        b'r' => Ok((b'\r', 2)),
        b't' => Ok((b'\t', 2)),
        b'v' => Ok((0x0b, 2)),
        // `\1` alone would be a back reference, which RE2 has not.
        b'1'..=b'7' if !is_octal(2) => invalid(2),
        b'0'..=b'7' => {
            let len = (1..4).take_while(|&at| is_octal(at)).count();
            let value = rest[1..=len].iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            u8::try_from(value).map_or_else(|_| invalid(1 + len), |byte| Ok((byte, 1 + len)))
        }
        b'x' => hexadecimal(rest).map_or_else(invalid, Ok),
        byte if byte.is_ascii_punctuation() => Ok((byte, 2)),
        // A letter that means nothing; outside ASCII, show it whole.
        byte => invalid(2 + rest[2..].iter().take_while(|b| byte >= 0xc0 && (0x80..0xc0).contains(*b)).count()),
    }
}

/// `\x41` and `\x{41}`; the error is the length of what RE2 complains about.
fn hexadecimal(rest: &[u8]) -> Result<(u8, usize), usize> {
    let digit = |at: usize| rest.get(at).and_then(|&b| char::from(b).to_digit(16));
    if rest.get(2) != Some(&b'{') {
        let high = digit(2).ok_or(3_usize)?;
        let low = digit(3).ok_or(4_usize)?;
        return Ok(((high * 16 + low) as u8, 4));
    }
    let mut value = 0;
    let mut at = 3;
    while let Some(next) = digit(at) {
        value = value * 16 + next;
        at += 1;
        if value > 0xff {
            return Err(at);
        }
    }
    if at == 3 || rest.get(at) != Some(&b'}') {
        return Err(at + 1);
    }
    Ok((value as u8, at + 1))
}

/// `{n}`, `{n,}` or `{n,m}` at the start of `rest`: its length and bounds.
pub(super) fn counted(rest: &[u8]) -> Option<(usize, (u32, Option<u32>))> {
    let end = rest.iter().position(|&b| b == b'}')?;
    let inner = std::str::from_utf8(&rest[1..end]).ok()?;
    let number = |text: &str| -> Option<u32> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // A number too long for us is too large for RE2 as well.
        digits.then(|| text.parse().unwrap_or(u32::MAX))
    };
    let bounds = match inner.split_once(',') {
        None => (number(inner)?, None),
        Some((low, "")) => (number(low)?, None),
        Some((low, high)) => (number(low)?, Some(number(high)?)),
    };
    Some((inner.len() + 2, bounds))
}
