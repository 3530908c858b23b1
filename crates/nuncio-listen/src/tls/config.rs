//! `DownstreamTlsContext`: settings as plain values, and the context built from them.

use super::{
    certificate::{Certificate, Certificates, read_certificates},
    names::{CIPHERS, DEFAULT_GROUPS, GROUPS},
    x509::CertificateFacts,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use std::{fmt, path::PathBuf, sync::Arc};

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
    /// Reads certificates of authorities to trust, to see whether they can be used.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check_authorities(&self) -> Result<(), TlsError> {
        authorities(self).map(drop)
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, TlsError> {
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

/// What is asked of clients' certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// Nothing.
    #[default]
    NotAsked,
    /// One that `trusted_ca` vouches for, if the client has any.
    Optional {
        /// `trusted_ca`.
        trusted_ca: PemSource,
    },
    /// One that `trusted_ca` vouches for (`require_client_certificate`).
    Required {
        /// `trusted_ca`.
        trusted_ca: PemSource,
    },
}

/// `tls_minimum_protocol_version`, `tls_maximum_protocol_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2, the oldest there is here.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What a context is built from. The default is Envoy's, but for certificates: there must be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// `tls_certificates`.
    pub certificates: Vec<CertificateSource>,
    /// `alpn_protocols`, most wanted first.
    pub alpn: Vec<String>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The newest version spoken.
    pub max_version: TlsVersion,
    /// `cipher_suites`, by OpenSSL's names; empty for all. Those of TLS 1.3 are always on.
    pub ciphers: Vec<String>,
    /// `ecdh_curves`; empty for X25519 and P-256.
    pub groups: Vec<String>,
    /// `validation_context`, `require_client_certificate`.
    pub clients: ClientCertificates,
    /// `require_sni`.
    pub require_sni: bool,
    /// Sessions resumed by tickets (`disable_stateless_session_resumption` is false).
    pub stateless_resumption: bool,
    /// Sessions resumed from this process's memory (`disable_stateful_session_resumption` is false).
    pub stateful_resumption: bool,
}

impl Default for TlsSettings {
    fn default() -> Self {
        TlsSettings {
            certificates: Vec::new(),
            alpn: Vec::new(),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            ciphers: Vec::new(),
            groups: Vec::new(),
            clients: ClientCertificates::NotAsked,
            require_sni: false,
            stateless_resumption: true,
            stateful_resumption: true,
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
    /// Not a certificate authority to trust.
    BadAuthority(String),
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
            TlsError::BadKey { key, cause } => write!(f, "Failed to load private key from {key}, Cause: {cause}"),
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

/// A `DownstreamTlsContext`, ready to run.
#[derive(Debug)]
pub struct TlsConfig {
    pub(super) server: Arc<ServerConfig>,
    /// What was asked for and is not there, but can be done without.
    pub warnings: Vec<String>,
    /// Its own certificates, without those of intermediate authorities.
    pub own: Vec<CertificateFacts>,
    /// The authority that clients' certificates are trusted by; the first, if there are several.
    pub trusted: Option<CertificateFacts>,
}

/// Sessions remembered for resumption, as many as Envoy's default.
const SESSIONS: usize = 20_480;

impl TlsConfig {
    /// Reads certificates and keys and builds the context. Nothing is opened but the files named.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn build(settings: &TlsSettings) -> Result<TlsConfig, TlsError> {
        let mut warnings = Vec::new();
        let all: Vec<_> = settings.certificates.iter().map(Certificate::read).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(TlsError::NoCertificates);
        }
        let provider = Arc::new(provider(settings, &mut warnings)?);
        let versions: &[_] = match (settings.min_version, settings.max_version) {
            (TlsVersion::Tls12, TlsVersion::Tls12) => &[&TLS12],
            (TlsVersion::Tls13, TlsVersion::Tls13) => &[&TLS13],
            (TlsVersion::Tls12, TlsVersion::Tls13) => &[&TLS12, &TLS13],
            (TlsVersion::Tls13, TlsVersion::Tls12) => return Err(TlsError::NoVersions),
        };
        let inconsistent = |e: rustls::Error| TlsError::Inconsistent(e.to_string());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).map_err(inconsistent)?;
        let builder = match verifier(&settings.clients, &provider)? {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let own = all.iter().filter_map(|certificate| certificate.facts.clone()).collect();
        let certificates = Certificates { all, require_sni: settings.require_sni };
        let mut server = builder.with_cert_resolver(Arc::new(certificates));
        server.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        server.ignore_client_order = true;
        if settings.stateful_resumption {
            server.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        } else {
            server.session_storage = Arc::new(NoServerSessionStorage {});
        }
        if settings.stateless_resumption {
            server.ticketer = aws_lc_rs::Ticketer::new().map_err(inconsistent)?;
        }
        if !settings.stateful_resumption && !settings.stateless_resumption {
            server.send_tls13_tickets = 0;
        }
        Ok(TlsConfig { server: Arc::new(server), warnings, own, trusted: trusted(&settings.clients)? })
    }
}

/// Ciphers and groups as asked for.
fn provider(settings: &TlsSettings, warnings: &mut Vec<String>) -> Result<CryptoProvider, TlsError> {
    let mut provider = aws_lc_rs::default_provider();
    // `[A|B]` are ciphers of equal rank: the order stays.
    let named: Vec<&str> =
        settings.ciphers.iter().flat_map(|c| c.trim_matches(['[', ']']).split('|')).filter(|c| !c.is_empty()).collect();
    let known = |name: &&str| CIPHERS.iter().any(|(n, _)| n == name);
    if !named.is_empty() && !named.iter().any(known) {
        return Err(TlsError::NoCiphers(settings.ciphers.clone()));
    }
    for unknown in named.iter().filter(|name| !known(name)) {
        warnings.push(format!("cipher suite {unknown} is not supported; clients get the others"));
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
    provider.kx_groups =
        groups.iter().filter_map(|name| GROUPS.iter().find(|(n, _)| n == name)).map(|(_, group)| *group).collect();
    if provider.kx_groups.is_empty() {
        return Err(TlsError::NoGroups(settings.groups.clone()));
    }
    for unknown in groups.iter().filter(|name| !GROUPS.iter().any(|(n, _)| n == *name)) {
        warnings.push(format!("ECDH curve {unknown} is not supported; clients get the others"));
    }
    Ok(provider)
}

/// Who vouches for clients, if they are asked at all.
fn verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (trusted_ca, required) = match clients {
        ClientCertificates::NotAsked => return Ok(None),
        ClientCertificates::Optional { trusted_ca } => (trusted_ca, false),
        ClientCertificates::Required { trusted_ca } => (trusted_ca, true),
    };
    let roots = authorities(trusted_ca)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map(Some).map_err(|_| TlsError::BadAuthority(trusted_ca.to_string()))
}

/// Facts of the first authority to trust.
fn trusted(clients: &ClientCertificates) -> Result<Option<CertificateFacts>, TlsError> {
    let (ClientCertificates::Optional { trusted_ca } | ClientCertificates::Required { trusted_ca }) = clients else {
        return Ok(None);
    };
    let first = read_certificates(trusted_ca)?.into_iter().next();
    Ok(first.and_then(|first| CertificateFacts::read(&trusted_ca.to_string(), &first)))
}

/// The authorities of a PEM source.
fn authorities(source: &PemSource) -> Result<RootCertStore, TlsError> {
    let bad = || TlsError::BadAuthority(source.to_string());
    let certificates = read_certificates(source).map_err(|error| match error {
        TlsError::BadCertificates(_) => bad(),
        other => other,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|_| bad())?;
    }
    Ok(roots)
}
