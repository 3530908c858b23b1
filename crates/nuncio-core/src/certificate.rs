//! What is known of a TLS connection and of the certificates shown on it: for logs, headers and access rules.
//!
//! Plain values, made once when a handshake is done. Nothing here decides whether anything is trusted.

use nuncio_codec::path::decode_pair;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::sync::Arc;

/// What a connection's handshake came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2`, `TLSv1.3`.
    pub version: &'static str,
    /// The cipher by OpenSSL's name; TLS 1.3's by its own.
    pub cipher: &'static str,
    /// The group of the key exchange; empty for a resumed session of TLS 1.2.
    pub group: &'static str,
    /// The server name the client asked for.
    pub server_name: Option<Arc<str>>,
    /// The application protocol agreed on.
    pub protocol: Option<Arc<str>>,
    /// Our certificate.
    pub local: Option<Arc<Certificate>>,
    /// The peer's certificates, its own first; empty if it showed none.
    pub peer: Vec<Arc<Certificate>>,
    /// The peer's certificate was checked, and passed.
    pub validated: bool,
}

impl TlsFacts {
    /// The cipher's number in IANA's list; 0 for none that is offered here.
    pub fn cipher_id(&self) -> u32 {
        match self.cipher {
            "TLS_AES_128_GCM_SHA256" => 0x1301,
            "TLS_AES_256_GCM_SHA384" => 0x1302,
            "TLS_CHACHA20_POLY1305_SHA256" => 0x1303,
            "ECDHE-ECDSA-AES128-GCM-SHA256" => 0xc02b,
            "ECDHE-ECDSA-AES256-GCM-SHA384" => 0xc02c,
            "ECDHE-RSA-AES128-GCM-SHA256" => 0xc02f,
            "ECDHE-RSA-AES256-GCM-SHA384" => 0xc030,
            "ECDHE-RSA-CHACHA20-POLY1305" => 0xcca8,
            "ECDHE-ECDSA-CHACHA20-POLY1305" => 0xcca9,
            _ => 0,
        }
    }

    /// The peer's own certificate.
    pub fn peer_certificate(&self) -> Option<&Arc<Certificate>> {
        self.peer.first()
    }
}

/// One certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    /// `rfc2253`: `CN=client,O=Test`.
    pub subject: String,
    /// Who signed it, likewise.
    pub issuer: String,
    /// Serial number in hexadecimal digits, in lower case.
    pub serial: String,
    /// Alternative names, in their order.
    pub names: Vec<(NameKind, String)>,
    /// Good from, in Unix seconds.
    pub valid_from: i64,
    /// Good until, in Unix seconds.
    pub expires: i64,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
    /// SHA-1 of the whole.
    pub sha1: [u8; 20],
    /// The whole, in DER.
    pub der: Box<[u8]>,
}

/// Kinds of alternative names (`rfc5280#4.2.1.6`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// A host name, maybe with a wildcard.
    Dns,
    /// A URI.
    Uri,
    /// A mail address.
    Email,
    /// An IP address.
    Ip,
    /// Of another kind, by its object identifier in dots.
    Other(Box<str>),
}

impl Certificate {
    /// Its alternative names of one kind.
    pub fn names_of<'a>(&'a self, kind: &'a NameKind) -> impl Iterator<Item = &'a str> {
        self.names.iter().filter(move |(of, _)| of == kind).map(|(_, name)| name.as_str())
    }

    /// In PEM form, with the characters escaped that URLs and headers mind.
    pub fn url_encoded_pem(&self) -> String {
        let mut out = String::new();
        for character in self.pem().chars() {
            match character {
                '\n' => out.push_str("%0A"),
                ' ' => out.push_str("%20"),
                '+' => out.push_str("%2B"),
                '/' => out.push_str("%2F"),
                '=' => out.push_str("%3D"),
                other => out.push(other),
            }
        }
        out
    }

    /// In PEM form, lines of 64 characters.
    pub fn pem(&self) -> String {
        let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
        let digits = STANDARD.encode(&self.der);
        for line in digits.as_bytes().chunks(64) {
            out.push_str(&String::from_utf8_lossy(line));
            out.push('\n');
        }
        out.push_str("-----END CERTIFICATE-----\n");
        out
    }
}

/// Bytes as hexadecimal digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// The bytes that pairs of hexadecimal digits stand for; `None` if the text is anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if rest.is_empty() { pairs.iter().map(|pair| decode_pair(pair)).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_as_everywhere() {
        assert_eq!(hex(&[0, 0x5a, 0xff]), "005aff");
        assert_eq!(from_hex("005aFf"), Some(vec![0, 0x5a, 0xff]));
        for bad in ["0", "0g", "+1", "é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
