//! What people want to know of a certificate: names, serial number, when it is good. Read from DER (`rfc5280#4.1`).
//!
//! Nothing here decides whether a certificate is trusted: `verify` does.

use super::der::{BIT_STRING, Der, INTEGER, OBJECT, OCTETS, SEQUENCE, BOOLEAN, context};
use super::subject;
use aws_lc_rs::digest;
use nuncio_core::{Certificate, NameKind, hex};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The facts of one certificate, as `/certs` shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The file, or `<inline>`.
    pub path: String,
    /// Serial number in hexadecimal digits.
    pub serial_number: String,
    /// Alternative names: `dns`, `uri` or `ip_address`, and the name.
    pub subject_alt_names: Vec<(&'static str, String)>,
    /// Good from, in Unix seconds.
    pub valid_from: i64,
    /// Good until, in Unix seconds.
    pub expires: i64,
}

impl CertificateFacts {
    /// Reads a certificate; `None` if it is not one.
    pub(super) fn read(path: &str, der: &[u8]) -> Option<CertificateFacts> {
        let certificate = read(der)?;
        let shown = |(kind, name): &(NameKind, String)| {
            let kind = match kind {
                NameKind::Dns => "dns",
                NameKind::Uri => "uri",
                NameKind::Ip => "ip_address",
                NameKind::Email | NameKind::Other(_) => return None,
            };
            Some((kind, name.clone()))
        };
        Some(CertificateFacts {
            path: path.to_owned(),
            serial_number: certificate.serial,
            subject_alt_names: certificate.names.iter().filter_map(shown).collect(),
            valid_from: certificate.valid_from,
            expires: certificate.expires,
        })
    }
}

/// The parts of a certificate, still encoded.
pub(super) struct Parts<'a> {
    pub(super) serial: &'a [u8],
    /// Whole elements, to be compared.
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// The whole SubjectPublicKeyInfo.
    pub(super) key: &'a [u8],
    pub(super) valid_from: i64,
    pub(super) expires: i64,
    extensions: Option<&'a [u8]>,
    /// What is signed, the signature's algorithm and the signature itself.
    pub(super) signed: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Parts<'a>> {
        let mut certificate = Der(Der(der).element(SEQUENCE)?);
        let signed = certificate.whole(SEQUENCE)?;
        let algorithm = certificate.element(SEQUENCE)?;
        let signature = certificate.element(BIT_STRING)?.split_first().map(|(_unused_bits, bytes)| bytes)?;
        let mut tbs = Der(Der(signed).element(SEQUENCE)?);
        tbs.optional(context(0));
        let serial = tbs.element(INTEGER)?;
        tbs.element(SEQUENCE)?; // signature
        let issuer = tbs.whole(SEQUENCE)?;
        let mut validity = Der(tbs.element(SEQUENCE)?);
        let (valid_from, expires) = (validity.time()?, validity.time()?);
        let subject = tbs.whole(SEQUENCE)?;
        let key = tbs.whole(SEQUENCE)?;
        let mut extensions = None;
        while let Some((tag, body)) = tbs.next() {
            if tag == context(3) {
                extensions = Some(body);
            }
        }
        Some(Parts { serial, issuer, subject, key, valid_from, expires, extensions, signed, algorithm, signature })
    }

    /// It says that it signed itself.
    pub(super) fn is_self_signed(&self) -> bool {
        self.issuer == self.subject
    }
}

/// Reads a certificate; `None` if it is not one.
pub(super) fn read(der: &[u8]) -> Option<Certificate> {
    let parts = Parts::read(der)?;
    let digits = hex(parts.serial);
    Some(Certificate {
        subject: subject::text(parts.subject).unwrap_or_default(),
        issuer: subject::text(parts.issuer).unwrap_or_default(),
        serial: digits.strip_prefix("00").filter(|rest| !rest.is_empty()).unwrap_or(&digits).to_owned(),
        names: parts.extensions.and_then(names).unwrap_or_default(),
        valid_from: parts.valid_from,
        expires: parts.expires,
        sha256: sha256(der),
        sha1: digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref().try_into().unwrap_or_default(),
        der: der.into(),
    })
}

/// SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

/// The alternative names among the extensions (`rfc5280#4.2.1.6`).
fn names(extensions: &[u8]) -> Option<Vec<(NameKind, String)>> {
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    let mut list = Der(Der(extensions).element(SEQUENCE)?);
    while let Some(extension) = list.element(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.element(OBJECT)? != SUBJECT_ALT_NAME {
            continue;
        }
        extension.optional(BOOLEAN);
        let mut general = Der(Der(extension.element(OCTETS)?).element(SEQUENCE)?);
        let mut found = Vec::new();
        while let Some((tag, name)) = general.next() {
            let text = || String::from_utf8_lossy(name).into_owned();
            match tag {
                0xa0 => found.extend(other(name)),
                0x81 => found.push((NameKind::Email, text())),
                0x82 => found.push((NameKind::Dns, text())),
                0x86 => found.push((NameKind::Uri, text())),
                0x87 => found.extend(address(name).map(|ip| (NameKind::Ip, ip.to_string()))),
                _ => {}
            }
        }
        return Some(found);
    }
    None
}

/// A name of another kind: an object identifier, and a text inside `[0]`.
fn other(name: &[u8]) -> Option<(NameKind, String)> {
    let mut parts = Der(name);
    let kind = subject::dotted(parts.element(OBJECT)?);
    let (_, text) = Der(parts.element(context(0))?).next()?;
    Some((NameKind::Other(kind.into()), String::from_utf8_lossy(text).into_owned()))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(|v4| Ipv4Addr::from(v4).into()),
        16 => <[u8; 16]>::try_from(octets).ok().map(|v6| Ipv6Addr::from(v6).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    fn der(name: &str) -> Vec<u8> {
        let path = format!("{}/../nuncio-listen/tests/pki/{name}", env!("CARGO_MANIFEST_DIR"));
        CertificateDer::from_pem_file(path).expect("test file").to_vec()
    }

    #[test]
    fn names_and_times_are_read() {
        let facts = CertificateFacts::read("server.pem", &der("server.pem")).expect("a certificate");
        let dns = |name: &str| ("dns", name.to_owned());
        assert_eq!(facts.subject_alt_names, [dns("a.test"), dns("*.wild.test")]);
        assert_eq!(facts.expires - facts.valid_from, 36_500 * 86_400);
        assert_eq!(facts.serial_number.len(), 40);
        let ca = CertificateFacts::read("ca.pem", &der("ca.pem")).expect("a certificate");
        assert!(ca.subject_alt_names.is_empty());
    }

    #[test]
    fn cut_or_spoilt_certificates_never_panic() {
        let whole = der("server.pem");
        for end in 0..whole.len() {
            let _ = CertificateFacts::read("", &whole[..end]);
            let mut spoilt = whole.clone();
            spoilt[end] ^= 0xff;
            let _ = CertificateFacts::read("", &spoilt);
        }
    }
}
