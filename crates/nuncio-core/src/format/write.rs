//! Appending numbers and texts.

use super::command::Written;
use std::{fmt, io::Write};

/// Appends a number in decimal.
pub(super) fn decimal(out: &mut Vec<u8>, mut number: u64) -> Written {
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
    Written::Number
}

/// Appends a number in decimal with leading zeros to `width` digits.
pub(super) fn padded(out: &mut Vec<u8>, number: u64, width: usize) {
    let from = out.len();
    decimal(out, number);
    let written = out.len() - from;
    if written < width {
        out.resize(from + width, b'0');
        out.copy_within(from..from + written, from + width - written);
        out[from..from + width - written].fill(b'0');
    }
}

/// Appends what a value displays as.
pub(super) fn display(out: &mut Vec<u8>, value: impl fmt::Display) -> Written {
    match write!(out, "{value}") {
        Ok(()) => Written::Text,
        Err(_) => Written::Absent,
    }
}

/// Appends a text; an empty one counts as absent.
pub(super) fn non_empty(out: &mut Vec<u8>, text: &str) -> Written {
    out.extend_from_slice(text.as_bytes());
    Written::text_if(!text.is_empty())
}

/// Appends a text with its white space made underscores, so that a line keeps its columns; empty is absent.
pub(super) fn underscored(out: &mut Vec<u8>, text: &str) -> Written {
    out.extend(text.bytes().map(|b| if b.is_ascii_whitespace() || b == 0x0b { b'_' } else { b }));
    Written::text_if(!text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded_with_zeros() {
        for (n, width, want) in [(7, 3, "007"), (0, 2, "00"), (2026, 2, "2026"), (12, 2, "12")] {
            let mut out = b"x".to_vec();
            padded(&mut out, n, width);
            assert_eq!(out, format!("x{want}").as_bytes());
        }
    }
}
