//! What both sides' contexts are made of: PEM sources, certificates, versions, ciphers and groups; and what can be wrong.

use super::{
    certificate::Certificate,
    names::{CIPHERS, DEFAULT_GROUPS, GROUPS, scheme_of},
};
use rustls::{
    SignatureScheme,
    crypto::{CryptoProvider, aws_lc_rs},
    version::{TLS12, TLS13},
};
use std::{fmt, path::PathBuf};

/// Where PEM text comes from (`DataSource`).
#[derive(Clone, PartialEq, Eq)]
pub enum PemSource {
    /// `filename`.
    File(PathBuf),
    /// `inline_string`, `inline_bytes`.
    Inline(Vec<u8>),
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PemSource::File(path) => path.display().fmt(f),
            PemSource::Inline(_) => f.write_str("<inline>"),
        }
    }
}

impl fmt::Debug for PemSource {
    /// Never shows what may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PemSource {
    /// Its bytes.
    ///
    /// # Errors
    /// When it is a file that cannot be read.
    pub fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            PemSource::File(path) => std::fs::read(path).map_err(|_| TlsError::InvalidPath(path.clone())),
            PemSource::Inline(bytes) => Ok(bytes.clone()),
        }
    }
}

/// A certificate chain and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSource {
    /// `certificate_chain`.
    pub chain: PemSource,
    /// `private_key`.
    pub key: PemSource,
    /// `ocsp_staple`: an OCSP answer in DER.
    pub ocsp: Option<PemSource>,
}

impl CertificateSource {
    /// Reads both, to see whether they can be used.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), TlsError> {
        Certificate::read(self).map(drop)
    }
}

/// `ocsp_staple_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OcspPolicy {
    /// `LENIENT_STAPLING`: an answer is sent while it is good.
    #[default]
    Lenient,
    /// `STRICT_STAPLING`: with an answer that is no longer good there is no handshake.
    Strict,
    /// `MUST_STAPLE`: nor without one.
    Must,
}

/// `tls_minimum_protocol_version`, `tls_maximum_protocol_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2, the oldest there is here.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// `tls_params`: what a handshake may agree on. The default is Envoy's for listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsParameters {
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The newest version spoken.
    pub max_version: TlsVersion,
    /// `cipher_suites`, by OpenSSL's names; empty for all. Those of TLS 1.3 are always on.
    pub ciphers: Vec<String>,
    /// `signature_algorithms`, by name; empty for all.
    pub schemes: Vec<String>,
    /// `ecdh_curves`; empty for X25519MLKEM768 (TLS 1.3), X25519 and P-256.
    pub groups: Vec<String>,
}

impl Default for TlsParameters {
    fn default() -> Self {
        TlsParameters { min_version: TlsVersion::Tls12, max_version: TlsVersion::Tls13, ciphers: Vec::new(), schemes: Vec::new(), groups: Vec::new() }
    }
}

impl TlsParameters {
    /// Versions between the oldest and the newest.
    pub(super) fn versions(&self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        match (self.min_version, self.max_version) {
            (TlsVersion::Tls12, TlsVersion::Tls12) => vec![&TLS12],
            (TlsVersion::Tls13, TlsVersion::Tls13) => vec![&TLS13],
            (TlsVersion::Tls12, TlsVersion::Tls13) => vec![&TLS12, &TLS13],
            (TlsVersion::Tls13, TlsVersion::Tls12) => vec![],
        }
    }
}

/// Why a context cannot be built, in the words that Envoy's users know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsError {
    /// A file cannot be read.
    InvalidPath(PathBuf),
    /// Not a PEM certificate.
    BadCertificates(String),
    /// Not a list of revoked certificates.
    BadCrl(String),
    /// Not a certificate authority to trust.
    BadAuthority(String),
    /// Not an OCSP answer.
    BadOcsp(String),
    /// A certificate needs an OCSP answer, or a fresh one.
    OcspRequired,
    /// A session ticket key of a wrong length.
    BadTicketKey(usize),
    /// None of the named signature algorithms is known.
    NoSchemes(Vec<String>),
    /// A private key that cannot be used.
    BadKey {
        /// Where it came from.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// There is no certificate.
    NoCertificates,
    /// No version is between the oldest and the newest.
    NoVersions,
    /// None of the named ciphers is known.
    NoCiphers(Vec<String>),
    /// None of the named groups is known.
    NoGroups(Vec<String>),
    /// Ciphers, groups and versions do not go together.
    Inconsistent(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::InvalidPath(path) => write!(f, "Invalid path: {}", path.display()),
            TlsError::BadCertificates(from) => write!(f, "Failed to load certificate chain from {from}"),
            TlsError::BadAuthority(from) => write!(f, "Failed to load trusted CA certificates from {from}"),
            TlsError::BadCrl(from) => write!(f, "Failed to load CRL from {from}"),
            TlsError::BadKey { key, cause } => write!(f, "Failed to load private key from {key}, Cause: {cause}"),
            TlsError::BadOcsp(from) => write!(f, "Failed to load OCSP response from {from}"),
            TlsError::OcspRequired => f.write_str("Required OCSP response is missing from TLS context"),
            TlsError::BadTicketKey(length) => {
                write!(f, "Incorrect TLS session ticket key length. Length {length}, expected length 80.")
            }
            TlsError::NoSchemes(named) => write!(f, "Failed to initialize TLS signature algorithms {}", named.join(":")),
            TlsError::NoCertificates => f.write_str("No TLS certificates found for server context"),
            TlsError::NoVersions => f.write_str("The TLS minimum version is above the maximum version"),
            TlsError::NoCiphers(named) => {
                write!(f, "Failed to initialize cipher suites {}: none of them is supported", named.join(":"))
            }
            TlsError::NoGroups(named) => {
                write!(f, "Failed to initialize ECDH curves {}: none of them is supported", named.join(":"))
            }
            TlsError::Inconsistent(cause) => write!(f, "Failed to initialize the TLS context: {cause}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Ciphers and groups as asked for.
pub(super) fn provider(settings: &TlsParameters, warnings: &mut Vec<String>) -> Result<CryptoProvider, TlsError> {
    let mut provider = aws_lc_rs::default_provider();
    // `[A|B]` are ciphers of equal rank: the order stays.
    let named: Vec<&str> =
        settings.ciphers.iter().flat_map(|c| c.trim_matches(['[', ']']).split('|')).filter(|c| !c.is_empty()).collect();
    let known = |name: &&str| CIPHERS.iter().any(|(n, _)| n == name);
    if !named.is_empty() && !named.iter().any(known) {
        return Err(TlsError::NoCiphers(settings.ciphers.clone()));
    }
    for unknown in named.iter().filter(|name| !known(name)) {
        warnings.push(format!("cipher suite {unknown} is not supported; the others are offered"));
    }
    let tls13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
    provider.cipher_suites = if named.is_empty() {
        CIPHERS.iter().map(|(_, suite)| *suite).collect()
    } else {
        let chosen = named.iter().filter_map(|name| CIPHERS.iter().find(|(n, _)| n == name));
        let always = CIPHERS.iter().filter(|(_, suite)| tls13(suite));
        always.chain(chosen.filter(|(_, suite)| !tls13(suite))).map(|(_, suite)| *suite).collect()
    };
    let groups: Vec<&str> = if settings.groups.is_empty() {
        DEFAULT_GROUPS.to_vec()
    } else {
        settings.groups.iter().map(String::as_str).collect()
    };
    schemes(settings, warnings)?;
    provider.kx_groups =
        groups.iter().filter_map(|name| GROUPS.iter().find(|(n, _)| n == name)).map(|(_, group)| *group).collect();
    if provider.kx_groups.is_empty() {
        return Err(TlsError::NoGroups(settings.groups.clone()));
    }
    for unknown in groups.iter().filter(|name| !GROUPS.iter().any(|(n, _)| n == *name)) {
        warnings.push(format!("ECDH curve {unknown} is not supported; the others are offered"));
    }
    Ok(provider)
}

/// Signature algorithms as asked for; `None` for all.
pub(super) fn schemes(settings: &TlsParameters, warnings: &mut Vec<String>) -> Result<Option<Vec<SignatureScheme>>, TlsError> {
    if settings.schemes.is_empty() {
        return Ok(None);
    }
    let mut known = Vec::new();
    for name in &settings.schemes {
        match scheme_of(name) {
            Some(scheme) => known.push(scheme),
            None => warnings.push(format!("signature algorithm {name} is not supported; the others are offered")),
        }
    }
    if known.is_empty() { Err(TlsError::NoSchemes(settings.schemes.clone())) } else { Ok(Some(known)) }
}
