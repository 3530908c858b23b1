//! Names of subjects and issuers as text (`rfc2253`): `CN=client,O=Test`, the last part first.

use super::der::{Der, OBJECT, SEQUENCE};
use std::fmt::Write as _;

const SET: u8 = 0x31;
const BMP_STRING: u8 = 30;

/// Attributes that have a name of their own.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.46", "dnQualifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The text of a Name, given as a whole element; `None` if it is not one.
pub(super) fn text(name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut list = Der(Der(name).element(SEQUENCE)?);
    while let Some(set) = list.element(SET) {
        let mut set = Der(set);
        let mut several = Vec::new();
        while let Some(pair) = set.element(SEQUENCE) {
            several.push(attribute(pair)?);
        }
        several.reverse();
        parts.push(several.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(pair: &[u8]) -> Option<String> {
    let mut pair = Der(pair);
    let kind = dotted(pair.element(OBJECT)?);
    let (tag, value) = pair.next()?;
    let mut out = match ATTRIBUTES.iter().find(|(known, _)| *known == kind) {
        Some((_, short)) => format!("{short}="),
        None => format!("{kind}="),
    };
    match tag {
        // Two bytes a character.
        BMP_STRING => {
            let units: Vec<u16> = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            escape(String::from_utf16_lossy(&units).as_bytes(), &mut out);
        }
        _ => escape(value, &mut out),
    }
    Some(out)
}

/// `rfc2253#2.4`; bytes beyond ASCII as two digits each.
fn escape(value: &[u8], out: &mut String) {
    for (at, byte) in value.iter().enumerate() {
        let edge = at == 0 || at + 1 == value.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(*byte)]),
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if edge => out.push_str("\\ "),
            0x20..0x7f => out.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\{byte:02X}")),
        }
    }
}

/// An object identifier in dots.
pub(super) fn dotted(octets: &[u8]) -> String {
    let mut out = String::new();
    let mut number = 0u64;
    for byte in octets {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if out.is_empty() {
            let first = (number / 40).min(2);
            out = format!("{first}.{}", number - 40 * first);
        } else {
            let _ = write!(out, ".{number}");
        }
        number = 0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_are_numbers_in_dots() {
        assert_eq!(dotted(&[0x55, 4, 3]), "2.5.4.3");
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]), "1.2.840.113549.1.9.1");
        assert_eq!(dotted(&[]), "");
    }

    #[test]
    fn parts_come_in_reverse_and_special_characters_are_escaped() {
        let attribute = |kind: u8, text: &str| {
            let pair = [&[6, 3, 0x55, 4, kind, 12, text.len() as u8][..], text.as_bytes()].concat();
            let sequence = [&[SEQUENCE, pair.len() as u8][..], &pair].concat();
            [&[SET, sequence.len() as u8][..], &sequence].concat()
        };
        let body = [attribute(10, "A, B"), attribute(3, " x#\u{e9}")].concat();
        let name = [&[SEQUENCE, body.len() as u8][..], &body].concat();
        assert_eq!(text(&name).as_deref(), Some("CN=\\ x#\\C3\\A9,O=A\\, B"));
        for end in 0..name.len() {
            let _ = text(&name[..end]);
        }
    }
}
