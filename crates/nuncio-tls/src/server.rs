//! `DownstreamTlsContext`: settings as plain values, and the context built from them.

use super::{
    certificate::{Certificate, Certificates},
    config::{CertificateSource, OcspPolicy, TlsError, TlsParameters, TlsVersion, provider, schemes},
    hello::Greeting,
    names, note,
    tickets::Tickets,
    verify::{Expected, Of, Signatures, ValidationSettings, Validator, now},
    x509::CertificateFacts,
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{sync::Arc, time::Duration};

/// What a context is built from. The default is Envoy's, but for certificates: there must be one.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// `tls_certificates`.
    pub certificates: Vec<CertificateSource>,
    /// `alpn_protocols`, most wanted first.
    pub alpn: Vec<String>,
    /// `tls_params`.
    pub parameters: TlsParameters,
    /// `validation_context`: clients are asked for a certificate.
    pub validation: Option<ValidationSettings>,
    /// `require_client_certificate`.
    pub require_client_certificate: bool,
    /// `require_sni`.
    pub require_sni: bool,
    /// `ocsp_staple_policy`.
    pub ocsp: OcspPolicy,
    /// `session_ticket_keys`: 80 bytes each, the newest first; none for one of this process's own.
    pub ticket_keys: Vec<Vec<u8>>,
    /// `session_timeout`: how long tickets are good.
    pub session_timeout: Option<Duration>,
    /// `prefer_client_ciphers`
    pub prefer_client_ciphers: bool,
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
            parameters: TlsParameters::default(),
            validation: None,
            require_client_certificate: false,
            require_sni: false,
            ocsp: OcspPolicy::Lenient,
            ticket_keys: Vec::new(),
            session_timeout: None,
            prefer_client_ciphers: false,
            stateless_resumption: true,
            stateful_resumption: true,
        }
    }
}

/// A `DownstreamTlsContext`, ready to run.
#[derive(Debug)]
pub struct TlsConfig {
    modern: Flavour,
    /// Of equal ciphers the one with AES.
    aes: Flavour,
    /// Of equal ciphers the one with ChaCha20.
    chacha: Flavour,
    newest: TlsVersion,
    /// What was asked for and is not there, but can be done without.
    pub warnings: Vec<String>,
    /// Its own certificates, without those of intermediate authorities.
    pub own: Vec<CertificateFacts>,
    /// The authority that clients' certificates are trusted by; the first, if there are several.
    pub trusted: Option<CertificateFacts>,
    /// A client that shows a certificate has had it checked.
    pub(super) validates: bool,
    pub(super) certificates: Arc<Certificates>,
}

/// A configuration of rustls, and the same for clients that speak none of `alpn_protocols`: they get a connection on which
/// nothing was agreed.
#[derive(Debug)]
struct Flavour {
    with_alpn: Arc<ServerConfig>,
    without: Arc<ServerConfig>,
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
        let provider = provider(&settings.parameters, &mut warnings)?;
        let schemes = schemes(&settings.parameters, &mut Vec::new())?;
        if settings.ocsp == OcspPolicy::Must && all.iter().any(|certificate| certificate.ocsp_until.is_none()) {
            return Err(TlsError::OcspRequired);
        }
        let versions = settings.parameters.versions();
        if versions.is_empty() {
            return Err(TlsError::NoVersions);
        }
        let inconsistent = |e: rustls::Error| TlsError::Inconsistent(e.to_string());
        let algorithms = provider.signature_verification_algorithms;
        let validator = settings.validation.as_ref().map(|validation| Validator::build(validation, algorithms)).transpose()?;
        let trusted = validator.as_ref().and_then(|validator| {
            let from = match &validator.settings().trusted_ca {
                Some(super::Authorities::Pem(source)) => source.to_string(),
                _ => String::new(),
            };
            CertificateFacts::read(&from, validator.trusted().first()?)
        });
        let mut validates = false;
        let verifier = match validator {
            None if !settings.require_client_certificate => None,
            validator => {
                let validator = match validator {
                    Some(validator) => validator,
                    None => Validator::build(&ValidationSettings::default(), algorithms)?,
                };
                validates = validator.checks();
                Some(Arc::new(ClientVerifier::new(validator, settings, Signatures::new(algorithms, schemes.clone()))))
            }
        };
        let own = all.iter().filter_map(|certificate| certificate.facts.clone()).collect();
        let certificates = Arc::new(Certificates {
            all,
            require_sni: settings.require_sni,
            ocsp: settings.ocsp,
            schemes: schemes.clone(),
        });
        let session_storage: Arc<dyn StoresServerSessions> = match settings.stateful_resumption {
            true => ServerSessionMemoryCache::new(SESSIONS),
            false => Arc::new(NoServerSessionStorage {}),
        };
        let ticketer = match settings.stateless_resumption {
            true => Some(Tickets::new(&settings.ticket_keys, settings.session_timeout)?),
            false => None,
        };
        let flavour = |provider: CryptoProvider, client_chooses: bool| -> Result<Flavour, TlsError> {
            let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&versions).map_err(inconsistent)?;
            let builder = match &verifier {
                None => builder.with_no_client_auth(),
                Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            };
            let mut server = builder.with_cert_resolver(certificates.clone());
            server.ignore_client_order = !client_chooses;
            server.session_storage = session_storage.clone();
            if let Some(tickets) = &ticketer {
                server.ticketer = tickets.clone();
            }
            if !settings.stateful_resumption && !settings.stateless_resumption {
                server.send_tls13_tickets = 0;
            }
            let without = Arc::new(server.clone());
            server.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
            Ok(Flavour { with_alpn: Arc::new(server), without })
        };
        let mut chacha = provider.clone();
        if settings.parameters.ciphers.is_empty() {
            names::chacha_first(&mut chacha.cipher_suites);
        }
        Ok(TlsConfig {
            modern: flavour(provider.clone(), true)?,
            aes: flavour(provider, settings.prefer_client_ciphers)?,
            chacha: flavour(chacha, settings.prefer_client_ciphers)?,
            newest: settings.parameters.max_version,
            warnings,
            own,
            trusted,
            validates,
            certificates,
        })
    }

    /// The configuration for a client. As in BoringSSL, the client's order of ciphers counts with TLS 1.3, and among
    /// ciphers of equal rank; else ours does.
    pub(super) fn for_client(&self, hello: &Greeting) -> Arc<ServerConfig> {
        let flavour = if hello.tls13 && self.newest == TlsVersion::Tls13 {
            &self.modern
        } else if names::prefers_chacha(&hello.ciphers) {
            &self.chacha
        } else {
            &self.aes
        };
        let ours = &flavour.with_alpn.alpn_protocols;
        let common = hello.protocols.iter().any(|offer| ours.iter().any(|our| our == offer.as_bytes()));
        let with = ours.is_empty() || hello.protocols.is_empty() || common;
        if with { flavour.with_alpn.clone() } else { flavour.without.clone() }
    }
}

/// Judges clients' certificates.
#[derive(Debug)]
struct ClientVerifier {
    validator: Arc<Validator>,
    required: bool,
    hints: Vec<DistinguishedName>,
    signatures: Signatures,
}

impl ClientVerifier {
    fn new(validator: Arc<Validator>, settings: &TlsSettings, signatures: Signatures) -> ClientVerifier {
        let hints = match validator.settings().suppress_client_ca_list {
            true => Vec::new(),
            false => validator.subjects(),
        };
        let required = settings.require_client_certificate || validator.insists();
        ClientVerifier { validator, required, hints, signatures }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        note::judged(self.validator.verify(Of::Client, leaf, rest, &Expected::default(), now())).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.check(message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.check(message, certificate, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}
