//! What people want to know of a certificate: serial number, names, when it is good. Read from DER (`rfc5280#4.1`).
//!
//! Nothing here decides whether a certificate is trusted: rustls does.

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
        let mut certificate = Der(Der(der).element(SEQUENCE)?);
        let mut tbs = Der(certificate.element(SEQUENCE)?);
        tbs.optional(context(0));
        let serial = tbs.element(INTEGER)?;
        tbs.element(SEQUENCE)?; // signature
        tbs.element(SEQUENCE)?; // issuer
        let mut validity = Der(tbs.element(SEQUENCE)?);
        let (valid_from, expires) = (validity.time()?, validity.time()?);
        tbs.element(SEQUENCE)?; // subject
        tbs.element(SEQUENCE)?; // subjectPublicKeyInfo
        let mut subject_alt_names = Vec::new();
        while let Some((tag, body)) = tbs.next() {
            if tag == context(3) {
                subject_alt_names = names(body).unwrap_or_default();
            }
        }
        let digits: String = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(CertificateFacts {
            path: path.to_owned(),
            serial_number: digits.strip_prefix("00").unwrap_or(&digits).to_owned(),
            subject_alt_names,
            valid_from,
            expires,
        })
    }
}

const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
const OCTETS: u8 = 4;
const OBJECT: u8 = 6;
const UTC_TIME: u8 = 23;
const GENERAL_TIME: u8 = 24;
const SEQUENCE: u8 = 0x30;

/// The tag of `[n]`, constructed.
const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// DER being read from the front.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: tag and contents.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x84 => {
                let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                digits.iter().fold(0, |n, digit| n << 8 | usize::from(*digit))
            }
            _ => return None,
        };
        let (contents, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, contents))
    }

    fn element(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, contents)| contents)
    }

    /// The next element if it has this tag; else nothing is read.
    fn optional(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) { self.element(wanted) } else { None }
    }

    /// A time, in Unix seconds.
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i64 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERAL_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        if rest.len() != 10 {
            return None;
        }
        let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
        let (month, day) = (part(0)?, part(2)?);
        Some(days_from_civil(year, month, day) * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is their last.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// The alternative names among the extensions (`rfc5280#4.2.1.6`).
fn names(extensions: &[u8]) -> Option<Vec<(&'static str, String)>> {
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
                0x82 => found.push(("dns", text())),
                0x86 => found.push(("uri", text())),
                0x87 => found.extend(address(name).map(|ip| ("ip_address", ip.to_string()))),
                _ => {}
            }
        }
        return Some(found);
    }
    None
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
        let path = format!("{}/tests/pki/{name}", env!("CARGO_MANIFEST_DIR"));
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
    fn dates_count_from_1970() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
        assert_eq!(days_from_civil(2026, 12, 21) * 86_400, 1_797_811_200);
        assert_eq!(Der(b"\x17\x0d261221015540Z").time(), Some(1_797_818_140));
        assert_eq!(Der(b"\x18\x0f20261221015540Z").time(), Some(1_797_818_140));
        assert_eq!(Der(b"\x17\x0d2612210155\xc3\xa9").time(), None);
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
