//! Numbers and strings as Envoy writes them in JSON and in messages.

use std::fmt::Write as _;

/// C's `%.<digits>g`.
fn general(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs());
    }
    let places = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{value:.places$}"))
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// As few digits as tell it: 15, or else 17.
pub(crate) fn double(value: f64) -> String {
    if let Some(name) = special(value) {
        return name.to_owned();
    }
    let short = general(value, 15);
    if short.parse::<f64>() == Ok(value) { short } else { general(value, 17) }
}

/// As few digits as tell it: 6, or else 9.
pub(super) fn float(value: f32) -> String {
    let wide = f64::from(value);
    if let Some(name) = special(wide) {
        return name.to_owned();
    }
    let short = general(wide, 6);
    if short.parse::<f32>() == Ok(value) && !value.is_subnormal() { short } else { general(wide, 9) }
}

/// Characters that are told by their number.
fn is_hidden(c: char) -> bool {
    matches!(c as u32,
        0..=0x1f | 0x3c | 0x3e | 0x7f..=0x9f | 0xad | 0x600..=0x603 | 0x6dd | 0x70f | 0x17b4..=0x17b5 | 0x200b..=0x200f
        | 0x2028..=0x202e | 0x2060..=0x2064 | 0x206a..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0x1d173..=0x1d17a | 0xe0001
        | 0xe0020..=0xe007f)
}

/// A string in quotes.
pub(crate) fn quoted(out: &mut String, text: &str) {
    quoted_but(out, text, is_hidden);
}

/// The same where other characters are told by their number.
pub(crate) fn quoted_but(out: &mut String, text: &str, is_hidden: fn(char) -> bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_few_digits_as_tell_them() {
        assert_eq!(double(1e21), "1e+21");
        assert_eq!(double(123_456.789), "123456.789");
        assert_eq!(double(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(double(-0.0), "-0");
        assert_eq!(double(0.0001), "0.0001");
        assert_eq!(float(3.402_823_5e38), "3.40282347e+38");
        assert_eq!(float(0.1), "0.1");
        assert_eq!(float(100_000.0), "100000");
    }
}
