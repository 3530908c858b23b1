//! Fingerprints of TLS clients, by what their greeting (ClientHello) says: JA3 and JA4, as Envoy's `tls_inspector` makes them.
//!
//! Values that clients make up so that servers learn to ignore them (`rfc8701`) do not count; but, as in Envoy, they do among
//! JA3's groups and JA4's signature algorithms.

use crate::{
    hello::{self, Bytes},
    md5, x509,
};
use std::fmt::Write as _;

const SERVER_NAME: u16 = 0;
const GROUPS: u16 = 10;
const POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const PROTOCOLS: u16 = 16;
const VERSIONS: u16 = 43;

/// What fingerprints are made of.
#[derive(Debug, Default)]
pub struct ClientHello {
    version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<u16>,
    groups: Vec<u16>,
    point_formats: Vec<u16>,
    signature_algorithms: Vec<u16>,
    versions: Vec<u16>,
    /// The first application protocol.
    protocol: Option<Vec<u8>>,
}

/// Reads the greeting in `records`, if it is complete; of one that is malformed what comes before.
pub fn read(records: &[u8]) -> Option<ClientHello> {
    let message = hello::message(records).ok()?;
    let mut read = ClientHello::default();
    let _ = read.fill(&message);
    Some(read)
}

impl ClientHello {
    fn fill(&mut self, message: &[u8]) -> Option<()> {
        let mut hello = Bytes(message.get(4..)?);
        self.version = hello.u16()?;
        hello.take(32)?; // random
        hello.vector8()?; // legacy_session_id
        self.ciphers = numbers(hello.vector16()?);
        hello.vector8()?; // legacy_compression_methods
        let mut extensions = Bytes(hello.vector16()?);
        while let Some(kind) = extensions.u16() {
            let body = extensions.vector16()?;
            self.extensions.push(kind);
            match kind {
                GROUPS => self.groups = list16(body),
                POINT_FORMATS => self.point_formats = body.iter().skip(1).map(|format| u16::from(*format)).collect(),
                SIGNATURE_ALGORITHMS => self.signature_algorithms = list16(body),
                VERSIONS => self.versions = Bytes(body).vector8().map(numbers).unwrap_or_default(),
                PROTOCOLS => self.protocol = Bytes(body).vector16().and_then(|list| Bytes(list).vector8()).map(<[u8]>::to_vec),
                _ => {}
            }
        }
        Some(())
    }

    /// JA3: the MD5 of version, ciphers, extensions, groups and point formats, in the client's order.
    pub fn ja3(&self) -> String {
        let mut text = self.version.to_string();
        let parts = [told(&self.ciphers), told(&self.extensions), self.groups.clone(), self.point_formats.clone()];
        for part in parts {
            text.push(',');
            text.push_str(&part.iter().map(u16::to_string).collect::<Vec<_>>().join("-"));
        }
        md5::hex(text.as_bytes())
    }

    /// JA4: a readable part, and parts of the SHA-256 of sorted ciphers, and of sorted extensions with signature algorithms.
    pub fn ja4(&self) -> String {
        let (mut ciphers, mut extensions) = (told(&self.ciphers), told(&self.extensions));
        let named = if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
        let (first, last) = self.protocol_ends();
        let counts = (ciphers.len().min(99), extensions.len().min(99));
        let mut text = format!("t{}{named}{:02}{:02}{first}{last}_", self.highest_version(), counts.0, counts.1);
        ciphers.sort_unstable();
        extensions.retain(|kind| ![SERVER_NAME, PROTOCOLS].contains(kind));
        extensions.sort_unstable();
        let mut all = joined(&extensions);
        if !self.signature_algorithms.is_empty() {
            all.push('_');
            all.push_str(&joined(&self.signature_algorithms));
        }
        text.push_str(&part(&joined(&ciphers), ciphers.is_empty()));
        text.push('_');
        text.push_str(&part(&all, extensions.is_empty()));
        text
    }

    fn highest_version(&self) -> &'static str {
        match told(&self.versions).into_iter().max().unwrap_or(self.version) {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            _ => "00",
        }
    }

    /// The first and last character of the first protocol; of its hexadecimal digits where they are no letters or digits.
    fn protocol_ends(&self) -> (char, char) {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let (Some(&first), Some(&last)) = (protocol.first(), protocol.last()) else { return ('0', '0') };
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
            return (first.into(), last.into());
        }
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
        (digit(first >> 4), digit(last & 15))
    }
}

/// Without what was made up (`rfc8701#2`).
fn told(from: &[u16]) -> Vec<u16> {
    from.iter().copied().filter(|n| !(n & 0x0f0f == 0x0a0a && n >> 8 == n & 0xff)).collect()
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

fn list16(body: &[u8]) -> Vec<u16> {
    Bytes(body).vector16().map(numbers).unwrap_or_default()
}

fn joined(of: &[u16]) -> String {
    let mut text = String::new();
    for (at, number) in of.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{number:04x}", if at > 0 { "," } else { "" });
    }
    text
}

fn part(text: &str, none: bool) -> String {
    if none {
        return "0".repeat(12);
    }
    x509::sha256(text.as_bytes())[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fingerprints are those that Envoy 1.40 logs for the same greetings.
    #[test]
    fn fingerprints_are_envoys() {
        let std = || ClientHello {
            version: 0x0303,
            ciphers: vec![0x1301, 0x1302, 0xc02b],
            extensions: vec![SERVER_NAME, PROTOCOLS, VERSIONS, GROUPS, POINT_FORMATS, SIGNATURE_ALGORITHMS],
            groups: vec![29, 23],
            point_formats: vec![0],
            signature_algorithms: vec![0x0403, 0x0804],
            versions: vec![0x0304, 0x0303],
            protocol: Some(b"h2".to_vec()),
        };
        let both = |of: &ClientHello| format!("{} {}", of.ja3(), of.ja4());
        assert_eq!(both(&std()), "d94735a59b4dda9a784f0cd083c57221 t13d0306h2_5559582ccdc4_fb71836bce29");
        let greased = ClientHello {
            ciphers: vec![0x0a0a, 0x1301, 0x1a1a],
            extensions: vec![0x2a2a, SERVER_NAME, VERSIONS, GROUPS, SIGNATURE_ALGORITHMS, 0xfafa],
            groups: vec![0x4a4a, 29],
            point_formats: vec![],
            signature_algorithms: vec![0x0403],
            versions: vec![0x3a3a, 0x0304],
            protocol: None,
            ..std()
        };
        assert_eq!(both(&greased), "e4df14b06dfa52f5dd10126b11d798fe t13d010400_0f2cb44170f4_9a0586ea5dd0");
        let bare = ClientHello { version: 0x0303, ciphers: vec![0x1301, 0x1302, 0xc02b], ..ClientHello::default() };
        assert_eq!(both(&bare), "acf38ea214eb7fbf93f03d953275602f t12i030000_5559582ccdc4_000000000000");
        let ends = |protocol: &[u8]| ClientHello { protocol: Some(protocol.to_vec()), ..ClientHello::default() }.protocol_ends();
        assert_eq!(ends(b"x"), ('x', 'x'));
        assert_eq!(ends(b"\xab\xcd"), ('a', 'd'));
        assert_eq!(ends(b"-_"), ('2', 'f'));
    }

    #[test]
    fn a_greeting_is_read_as_far_as_it_goes() {
        assert!(read(b"GET / HTTP/1.1\r\n").is_none());
        let message = [&[22, 3, 1, 0, 8, 1, 0, 0, 4][..], &[3, 3, 0, 0]].concat();
        assert_eq!(read(&message).map(|hello| hello.version), Some(0x0303));
    }
}
