//! `UpstreamTlsContext`: settings as plain values, the context built from them, and connections that begin with it.

use super::{
    certificate::Certificate,
    verify::Expected,
    config::{CertificateSource, TlsError, TlsParameters, provider, schemes},
    context::{facts, poll_greet},
    failure::HandshakeError,
    note,
    stats::TlsStats,
    stream::{Session, TlsStream},
    verify::{Authorities, Of, Signatures, ValidationSettings, Validator, now},
    x509::CertificateFacts,
};
use nuncio_core::TlsFacts;
use nuncio_rt::{BufPool, Io};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, UnbufferedClientConnection,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

/// What a context is built from.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `tls_certificates`: one at most.
    pub certificate: Option<CertificateSource>,
    /// `alpn_protocols`; empty for what the connection is to speak.
    pub alpn: Vec<String>,
    /// `tls_params`. Envoy's newest version of the client's side is TLS 1.2 unless another is named.
    pub parameters: TlsParameters,
    /// `validation_context`: without it any certificate will do.
    pub validation: Option<ValidationSettings>,
    /// `sni`; empty for none.
    pub sni: String,
    /// `auto_host_sni`: the host's name where it has one.
    pub auto_host_sni: bool,
    /// `auto_sni_san_validation`: the certificate must be for the server name.
    pub auto_sni_san_validation: bool,
    /// `max_session_keys`: sessions remembered for resumption.
    pub max_session_keys: u32,
    /// What the settings were read from: equal texts, and equal files, are the same context.
    pub origin: Vec<u8>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        ClientSettings {
            certificate: None,
            alpn: Vec::new(),
            parameters: TlsParameters { max_version: super::TlsVersion::Tls12, ..TlsParameters::default() },
            validation: None,
            sni: String::new(),
            auto_host_sni: false,
            auto_sni_san_validation: false,
            max_session_keys: 1,
            origin: Vec::new(),
        }
    }
}

/// An `UpstreamTlsContext`, ready to run.
pub struct ClientTls {
    settings: ClientSettings,
    base: ClientConfig,
    plain: Arc<ClientConfig>,
    validator: Option<Arc<Validator>>,
    signatures: Signatures,
    /// Configurations that expect certain names, by those; sessions are resumed only under the same one.
    expecting: Mutex<HashMap<Expected, Arc<ClientConfig>>>,
    local: Option<Arc<nuncio_core::Certificate>>,
    /// What was asked for and is not there, but can be done without.
    pub warnings: Vec<String>,
    /// Its own certificate.
    pub own: Vec<CertificateFacts>,
    /// The authority that servers' certificates are trusted by; the first, if there are several.
    pub trusted: Option<CertificateFacts>,
    /// Settings and files: equal ones are the same context.
    pub identity: Vec<u8>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientTls({:?})", self.settings.sni)
    }
}

/// Configurations that expect certain names, kept at most.
const EXPECTING_MAX: usize = 1024;

/// What one connection asks for beyond its context.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientOptions<'a> {
    /// Stands for the context's server name (`auto_sni`).
    pub server_name: Option<&'a str>,
    /// Names of which the server's certificate must have one (`auto_san_validation`).
    pub expected_names: &'a [String],
    /// The host's own name.
    pub host_name: &'a str,
    /// Offered where the context names no protocols.
    pub protocols: &'a [&'a str],
}

/// A connection to a server that was greeted.
pub struct Connected {
    /// Plain bytes both ways.
    pub io: Io,
    /// What was agreed.
    pub facts: Rc<TlsFacts>,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connected({:?})", self.facts)
    }
}

impl ClientTls {
    /// Reads certificates and keys and builds the context. Nothing is opened but the files named.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn build(settings: ClientSettings) -> Result<ClientTls, TlsError> {
        let mut warnings = Vec::new();
        let certificate = settings.certificate.as_ref().map(Certificate::read).transpose()?;
        let provider = Arc::new(provider(&settings.parameters, &mut warnings)?);
        let algorithms = provider.signature_verification_algorithms;
        let signatures = Signatures::new(algorithms, schemes(&settings.parameters, &mut Vec::new())?);
        let inconsistent = |e: rustls::Error| TlsError::Inconsistent(e.to_string());
        let mut versions = settings.parameters.versions();
        if versions.is_empty() {
            if settings.parameters.max_version != ClientSettings::default().parameters.max_version {
                return Err(TlsError::NoVersions);
            }
            // The newest version is only what it is where none is named.
            versions = vec![&rustls::version::TLS13];
            warnings.push("TLS 1.3 is spoken, as the minimum version asks for; Envoy cannot connect without a maximum version".into());
        }
        let validator = settings.validation.as_ref().map(|from| Validator::build(from, algorithms)).transpose()?;
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).map_err(inconsistent)?;
        let verifier = ServerVerifier { validator: validator.clone(), expected: Expected::default(), signatures: signatures.clone() };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut base = match &certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(OwnCertificate(certificate.key.clone()))),
        };
        base.resumption = match settings.max_session_keys {
            0 => Resumption::disabled(),
            // Some are kept for each server name.
            max => Resumption::in_memory_sessions(max.clamp(1, 4096) as usize * 8),
        };
        let trusted = validator.as_ref().and_then(|validator| {
            let from = match &validator.settings().trusted_ca {
                Some(Authorities::Pem(source)) => source.to_string(),
                _ => String::new(),
            };
            CertificateFacts::read(&from, validator.trusted().first()?)
        });
        let mut identity = settings.origin.clone();
        certificate.iter().for_each(|own| own.key.cert.iter().for_each(|der| identity.extend_from_slice(der)));
        validator.iter().for_each(|validator| validator.trusted().iter().for_each(|der| identity.extend_from_slice(der)));
        Ok(ClientTls {
            plain: Arc::new(base.clone()),
            base,
            validator,
            signatures,
            expecting: Mutex::default(),
            own: certificate.iter().filter_map(|own| own.facts.clone()).collect(),
            local: certificate.and_then(|own| own.shown),
            warnings,
            trusted,
            identity,
            settings,
        })
    }

    /// Greets the server at the other end of `io`. Give up by dropping the future.
    ///
    /// # Errors
    /// Why it came to nothing, and `%UPSTREAM_TRANSPORT_FAILURE_REASON%`, which may be empty.
    pub async fn connect(
        &self,
        io: Io,
        options: ClientOptions<'_>,
        stats: &TlsStats,
        bufs: &Rc<BufPool>,
    ) -> Result<Connected, (HandshakeError, String)> {
        let host = options.host_name;
        let of_host = (self.settings.auto_host_sni && !host.is_empty()).then_some(host);
        let sni = options.server_name.or(of_host).unwrap_or(&self.settings.sni);
        let mut expected = Expected { names: options.expected_names.to_vec(), of_request: true };
        if self.settings.auto_sni_san_validation && !sni.is_empty() && expected.names.is_empty() {
            expected = Expected { names: vec![sni.to_owned()], of_request: false };
        }
        let config = self.expecting(expected);
        // Addresses are not sent as server names.
        let name = ServerName::try_from(sni.to_owned()).unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()));
        let alpn: Vec<Vec<u8>> = match self.settings.alpn.is_empty() {
            true => options.protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
            false => self.settings.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
        };
        let session = UnbufferedClientConnection::new_with_alpn(config, name, alpn);
        let session = session.map_err(|error| (HandshakeError::Tls(error), String::new()))?;
        let mut stream = Box::new(TlsStream::new(io, None, session, bufs.clone()));
        if let Err(error) = poll_fn(|cx| poll_greet(&mut stream, cx)).await {
            stats.failed(&error, &stream.note);
            let text = error.text(&stream.note);
            return Err((error, text));
        }
        stats.greeted(stream.session.common(), &stream.note);
        let validates = self.validator.as_ref().is_some_and(|validator| validator.checks());
        let server_name = (!sni.is_empty()).then(|| Arc::from(sni));
        let facts = facts(stream.session.common(), &stream.note, server_name, || self.local.clone(), validates);
        Ok(Connected { io: Io::Layered(stream), facts: Rc::new(facts) })
    }

    /// The configuration that expects one of these names.
    fn expecting(&self, names: Expected) -> Arc<ClientConfig> {
        if names.names.is_empty() {
            return self.plain.clone();
        }
        let mut expecting = self.expecting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = expecting.get(&names) {
            return config.clone();
        }
        let verifier = ServerVerifier { validator: self.validator.clone(), expected: names.clone(), signatures: self.signatures.clone() };
        let mut config = self.base.clone();
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        let config = Arc::new(config);
        if expecting.len() >= EXPECTING_MAX {
            expecting.clear();
        }
        expecting.insert(names, config.clone());
        config
    }
}

/// Our certificate, shown to every server that asks for one.
#[derive(Debug)]
struct OwnCertificate(Arc<CertifiedKey>);

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Judges servers' certificates.
#[derive(Debug)]
struct ServerVerifier {
    validator: Option<Arc<Validator>>,
    expected: Expected,
    signatures: Signatures,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(validator) = &self.validator else { return Ok(ServerCertVerified::assertion()) };
        note::judged(validator.verify(Of::Server, leaf, rest, &self.expected, now())).map(|()| ServerCertVerified::assertion())
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
