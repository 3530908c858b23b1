//! Appending numbers and texts.

use super::command::Written;
use std::{
    fmt,
    io::Write,
    net::{IpAddr, SocketAddr},
};

/// Appends a number in decimal.
#[inline]
pub(super) fn decimal(out: &mut Vec<u8>, number: u64) -> Written {
    match u8::try_from(number) {
        Ok(digit @ 0..10) => out.push(b'0' + digit),
        _ => padded(out, number, 1),
    }
    Written::Number
}

/// Appends a number in decimal with leading zeros to `width` digits.
#[inline]
pub(super) fn padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len().saturating_sub(width))..]);
}

/// Appends an IP address.
pub(super) fn ip(out: &mut Vec<u8>, ip: IpAddr) -> Written {
    let IpAddr::V4(ip) = ip else { return display(out, ip) };
    // Most are of this kind, and every line has some.
    let mut text = [0; 15];
    let mut len = 0;
    for (index, octet) in ip.octets().into_iter().enumerate() {
        let (hundreds, tens) = (octet / 100, octet / 10 % 10);
        for (byte, there) in [(b'.', index > 0), (b'0' + hundreds, octet >= 100), (b'0' + tens, octet >= 10), (b'0' + octet % 10, true)] {
            text[len] = byte;
            len += usize::from(there);
        }
    }
    out.extend_from_slice(&text[..len]);
    Written::Plain
}

/// Appends an IP address and a port.
pub(super) fn socket(out: &mut Vec<u8>, socket: SocketAddr) -> Written {
    if socket.is_ipv6() {
        return display(out, socket);
    }
    ip(out, socket.ip());
    out.push(b':');
    decimal(out, u64::from(socket.port()));
    Written::Plain
}

/// Appends a word of ours; an empty one counts as absent.
pub(super) fn word(out: &mut Vec<u8>, word: &'static str) -> Written {
    out.extend_from_slice(word.as_bytes());
    if word.is_empty() { Written::Absent } else { Written::Plain }
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
    fn addresses_are_written_as_they_display() {
        for text in ["127.0.0.1:80", "0.0.0.0:0", "255.10.100.1:65535", "[::1]:443", "[::ffff:1.2.3.4]:1"] {
            let address: SocketAddr = text.parse().expect("an address");
            let (mut whole, mut host) = (Vec::new(), Vec::new());
            assert_ne!(socket(&mut whole, address), Written::Absent);
            assert_ne!(ip(&mut host, address.ip()), Written::Absent);
            assert_eq!((&*whole, host), (text.as_bytes(), address.ip().to_string().into_bytes()));
        }
    }

    #[test]
    fn numbers_are_padded_with_zeros() {
        for (n, width, want) in [(7, 3, "007"), (0, 2, "00"), (2026, 2, "2026"), (12, 2, "12"), (0, 1, "0"), (u64::MAX, 3, "18446744073709551615")] {
            let mut out = b"x".to_vec();
            padded(&mut out, n, width);
            assert_eq!(out, format!("x{want}").as_bytes());
        }
    }
}
