//! Whether a peer's certificate is believed (`CertificateValidationContext`), the same for both sides.
//!
//! The chain is webpki's to judge, with what OpenSSL takes and webpki does not added here: a certificate that is itself
//! among the trusted ones, and old ones (version 1) that a trusted authority signed. Names, hashes and keys are compared
//! after it. What is wrong is said in the words that Envoy's users find in their logs.

use super::{
    certificate::read_certificates,
    config::{PemSource, TlsError},
    crl::{self, RevocationList, Standing},
    note,
    san::{NameMatcher, has_name},
    x509::{self, Parts},
};
use nuncio_core::Certificate;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime, pem::PemObject},
};
use std::{fmt, sync::Arc, time::Duration};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity, anchor_from_trusted_cert};

/// `trusted_ca`, `system_root_certs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// PEM text.
    Pem(PemSource),
    /// Those of the system.
    System,
}

/// `CertificateValidationContext`.
#[derive(Debug, Clone, Default)]
pub struct ValidationSettings {
    /// Who is trusted; nobody is asked where there is none.
    pub trusted_ca: Option<Authorities>,
    /// `match_typed_subject_alt_names`: one of them fits.
    pub names: Vec<NameMatcher>,
    /// `verify_certificate_hash`: SHA-256 of the certificate.
    pub hashes: Vec<[u8; 32]>,
    /// `verify_certificate_spki`: SHA-256 of its public key; one of either list fits.
    pub keys: Vec<[u8; 32]>,
    /// `crl`.
    pub crl: Option<PemSource>,
    /// `only_verify_leaf_cert_crl`.
    pub only_leaf_crl: bool,
    /// `allow_expired_certificate`.
    pub allow_expired: bool,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`.
    pub accept_untrusted: bool,
    /// `max_verify_depth`: certificates above the peer's own, its authority included.
    pub max_depth: Option<u32>,
    /// `suppress_client_ca_list`: clients are not told whose certificates are trusted.
    pub suppress_client_ca_list: bool,
}

/// Where systems keep the authorities they trust.
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The longest chain that is followed to say where it breaks.
const CHAIN_MAX: usize = 16;

impl Authorities {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        match self {
            Authorities::Pem(source) => read_certificates(source).map_err(|error| match error {
                TlsError::BadCertificates(from) => TlsError::BadAuthority(from),
                other => other,
            }),
            Authorities::System => {
                let found = SYSTEM_ROOTS.iter().find_map(|path| read_certificates(&PemSource::File(path.into())).ok());
                found.ok_or_else(|| TlsError::BadAuthority("the system: it has none".into()))
            }
        }
    }
}

/// What was found wrong with a certificate.
#[derive(Debug, Clone)]
pub struct VerifyFailure {
    /// As what it counts.
    pub kind: VerifyKind,
    /// After `verify cert failed: `.
    pub text: String,
    /// What the peer is told.
    pub(crate) alert: CertificateError,
}

/// What a refused certificate counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyKind {
    /// `fail_verify_error`.
    Chain,
    /// `fail_verify_san`.
    Name,
    /// `fail_verify_cert_hash`.
    Hash,
}

/// What became of a certificate that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verified {
    /// Everything asked for holds.
    Yes,
    /// Nothing was asked for, or it does not hold and that is accepted.
    Unknown,
}

/// Names of which a certificate must have one; none for any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Expected {
    pub(crate) names: Vec<String>,
    /// They come from a request, not from the server name.
    pub(crate) of_request: bool,
}

/// Which side's certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Server,
    Client,
}

/// A validation context, ready to run.
pub(crate) struct Validator {
    settings: ValidationSettings,
    trusted: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    crls: Vec<RevocationList>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Validator({} trusted)", self.trusted.len())
    }
}

impl Validator {
    pub(crate) fn build(settings: &ValidationSettings, algorithms: WebPkiSupportedAlgorithms) -> Result<Arc<Validator>, TlsError> {
        let trusted = settings.trusted_ca.as_ref().map(Authorities::read).transpose()?.unwrap_or_default();
        // One that webpki cannot read can still be the very one that a peer shows.
        let anchors: Vec<_> = trusted.iter().filter_map(|ca| anchor_from_trusted_cert(ca).ok().map(|a| a.to_owned())).collect();
        let mut crls = Vec::new();
        if let Some(source) = &settings.crl {
            let bad = || TlsError::BadCrl(source.to_string());
            for list in CertificateRevocationListDer::pem_slice_iter(&source.read()?) {
                crls.push(RevocationList::read(&list.map_err(|_| bad())?).ok_or_else(bad)?);
            }
            if crls.is_empty() {
                return Err(bad());
            }
        }
        Ok(Arc::new(Validator { settings: settings.clone(), trusted, anchors, crls, algorithms }))
    }

    pub(crate) fn settings(&self) -> &ValidationSettings {
        &self.settings
    }

    pub(crate) fn trusted(&self) -> &[CertificateDer<'static>] {
        &self.trusted
    }

    /// The names of those who are trusted, for peers to choose a certificate by.
    pub(crate) fn subjects(&self) -> Vec<DistinguishedName> {
        self.anchors.iter().map(|anchor| DistinguishedName::in_sequence(anchor.subject.as_ref())).collect()
    }

    /// A certificate that is not refused has been checked.
    pub(crate) fn checks(&self) -> bool {
        let ValidationSettings { trusted_ca, names, hashes, keys, accept_untrusted, .. } = &self.settings;
        !accept_untrusted && (trusted_ca.is_some() || !(names.is_empty() && hashes.is_empty() && keys.is_empty()))
    }

    /// Peers that show no certificate are refused even where none is required: there is something to compare.
    pub(crate) fn insists(&self) -> bool {
        let ValidationSettings { names, hashes, keys, accept_untrusted, .. } = &self.settings;
        !accept_untrusted && !(names.is_empty() && hashes.is_empty() && keys.is_empty())
    }

    /// Judges a certificate; `expected` are names of which it must have one.
    pub(crate) fn verify(
        &self,
        of: Of,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Verified, VerifyFailure> {
        let judged = self.judge(of, leaf, rest, expected, now);
        match judged {
            Err(_) if self.settings.accept_untrusted => Ok(Verified::Unknown),
            judged => judged,
        }
    }

    fn judge(
        &self,
        of: Of,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Verified, VerifyFailure> {
        let ValidationSettings { names, hashes, keys, .. } = &self.settings;
        let mut verified = Verified::Unknown;
        if self.settings.trusted_ca.is_some() {
            self.chain(of, leaf, rest, now)?;
            verified = Verified::Yes;
        }
        let nothing_more = expected.names.is_empty() && names.is_empty() && hashes.is_empty() && keys.is_empty();
        if nothing_more {
            return Ok(verified);
        }
        let bad = || VerifyFailure::chain(0, "the certificate cannot be read", CertificateError::BadEncoding);
        let parts = Parts::read(leaf).ok_or_else(bad)?;
        let certificate = x509::read(leaf).ok_or_else(bad)?;
        if !expected.names.is_empty() && !expected.names.iter().any(|name| has_name(&certificate, name)) {
            let (names, shown) = (expected.names.join(", "), shown(&certificate));
            let text = match expected.of_request {
                true => format!("verify SAN list, expected SANs: [{names}], certificate SANs: {shown}"),
                false => format!("SAN matcher, certificate SANs are {shown}"),
            };
            return Err(VerifyFailure::other(VerifyKind::Name, text));
        }
        if !names.is_empty() && !names.iter().any(|wanted| wanted.fits(&certificate)) {
            let text = format!("SAN matcher, certificate SANs are {}", shown(&certificate));
            return Err(VerifyFailure::other(VerifyKind::Name, text));
        }
        let pinned = !hashes.is_empty() || !keys.is_empty();
        if pinned && !hashes.contains(&certificate.sha256) && !keys.contains(&x509::sha256(parts.key)) {
            return Err(VerifyFailure::other(VerifyKind::Hash, "cert hash and spki".into()));
        }
        Ok(Verified::Yes)
    }

    /// Whether a trusted authority vouches for it.
    fn chain(&self, of: Of, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Result<(), VerifyFailure> {
        let fail = |error: &webpki::Error| failure(error, leaf, rest, now);
        if self.trusted.iter().any(|trusted| **trusted == **leaf) {
            // As OpenSSL with a partial chain: what is trusted itself needs nobody else.
            return self.in_time(leaf, now);
        }
        let end = match EndEntityCert::try_from(leaf) {
            Ok(end) => end,
            Err(error) => return self.signed_directly(leaf, now).ok_or_else(|| fail(&error))?,
        };
        let usage = || match of {
            Of::Server => KeyUsage::server_auth(),
            Of::Client => KeyUsage::client_auth(),
        };
        let too_deep = |intermediates: usize| self.settings.max_depth.is_some_and(|max| intermediates as u64 + 1 > u64::from(max));
        let path_ok = |path: &webpki::VerifiedPath<'_>| match too_deep(path.intermediate_certificates().count()) {
            true => Err(webpki::Error::MaximumPathDepthExceeded),
            false => Ok(()),
        };
        let mut at = now;
        for _ in 0..CHAIN_MAX {
            match end.verify_for_usage(self.algorithms.all, &self.anchors, rest, at, usage(), None, Some(&path_ok)) {
                Ok(path) => {
                    let above: Vec<_> = path.intermediate_certificates().map(|intermediate| intermediate.der()).collect();
                    return self.unrevoked(leaf, &above, now);
                }
                // Looked at as of a time at which it was good.
                Err(webpki::Error::CertExpired { not_after, .. }) if self.settings.allow_expired && not_after < at => at = not_after,
                Err(webpki::Error::CertNotValidYet { not_before, .. }) if self.settings.allow_expired && not_before > at => {
                    at = not_before;
                }
                Err(webpki::Error::CaUsedAsEndEntity) => {
                    return self.signed_directly(leaf, now).ok_or_else(|| fail(&webpki::Error::CaUsedAsEndEntity))?;
                }
                Err(error) => return Err(fail(&error)),
            }
        }
        Err(fail(&webpki::Error::UnknownIssuer))
    }

    /// For certificates that webpki does not take as a server's or client's own: whether a trusted one signed it. `None`
    /// if none did.
    fn signed_directly(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Option<Result<(), VerifyFailure>> {
        let parts = Parts::read(leaf)?;
        let signed_by = |authority: &CertificateDer<'_>| {
            Parts::read(authority).is_some_and(|authority| {
                authority.subject == parts.issuer
                    && crl::is_signed(parts.signed, parts.algorithm, parts.signature, &authority, &self.algorithms)
            })
        };
        self.trusted.iter().any(signed_by).then(|| self.in_time(leaf, now).and_then(|()| self.unrevoked(leaf, &[], now)))
    }

    /// Whether nobody in the chain is on a list of revoked certificates, where there are lists.
    fn unrevoked(&self, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>], now: UnixTime) -> Result<(), VerifyFailure> {
        if self.crls.is_empty() {
            return Ok(());
        }
        let authorities: Vec<_> = above.iter().chain(&self.trusted).filter_map(|der| Parts::read(der)).collect();
        let checked = if self.settings.only_leaf_crl { 1 } else { CHAIN_MAX };
        for (depth, der) in std::iter::once(leaf).chain(above).take(checked).enumerate() {
            let Some(certificate) = Parts::read(der) else { continue };
            let (text, alert) = match crl::standing(&self.crls, &certificate, &authorities, &self.algorithms, now) {
                Standing::Good => continue,
                Standing::Revoked => ("certificate revoked", CertificateError::Revoked),
                Standing::Unknown => ("unable to get certificate CRL", CertificateError::UnknownRevocationStatus),
                Standing::Stale => ("CRL has expired", CertificateError::ExpiredRevocationList),
            };
            let text = format!("certificate revocation check against provided CRLs failed: {text}");
            return Err(VerifyFailure::chain(depth, &text, alert));
        }
        Ok(())
    }

    /// Whether a certificate is good now, as far as that matters.
    fn in_time(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), VerifyFailure> {
        match Parts::read(leaf).and_then(|parts| out_of_time(&parts, now)) {
            Some((text, alert)) if !self.settings.allow_expired => Err(VerifyFailure::chain(0, text, alert)),
            _ => Ok(()),
        }
    }
}

fn out_of_time(parts: &Parts<'_>, now: UnixTime) -> Option<(&'static str, CertificateError)> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > parts.expires {
        Some(("certificate has expired", CertificateError::Expired))
    } else if now < parts.valid_from {
        Some(("certificate is not yet valid", CertificateError::NotValidYet))
    } else {
        None
    }
}

/// The names of a certificate as failures tell them.
fn shown(certificate: &Certificate) -> String {
    let names: Vec<&str> = certificate.names.iter().map(|(_, name)| name.as_str()).collect();
    format!("[{}]", names.join(", "))
}

impl VerifyFailure {
    fn chain(depth: usize, text: &str, alert: CertificateError) -> VerifyFailure {
        let text = format!("X509_verify_cert: certificate verification error at depth {depth}: {text}");
        VerifyFailure { kind: VerifyKind::Chain, text, alert }
    }

    fn other(kind: VerifyKind, text: String) -> VerifyFailure {
        VerifyFailure { kind, text, alert: CertificateError::Other(rustls::OtherError(Arc::new(fmt::Error))) }
    }
}

/// What webpki says, as OpenSSL would.
fn failure(error: &webpki::Error, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> VerifyFailure {
    let plain = |text: &str, alert| VerifyFailure::chain(0, text, alert);
    match error {
        webpki::Error::UnknownIssuer => {
            let (depth, text) = break_of(leaf, rest);
            VerifyFailure::chain(depth, text, CertificateError::UnknownIssuer)
        }
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
            let chain = std::iter::once(leaf).chain(rest);
            let late = chain.enumerate().find_map(|(depth, der)| Some((depth, out_of_time(&Parts::read(der)?, now)?)));
            match late {
                Some((depth, (text, alert))) => VerifyFailure::chain(depth, text, alert),
                None => plain("certificate has expired", CertificateError::Expired),
            }
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => plain("unsupported certificate purpose", CertificateError::InvalidPurpose),
        webpki::Error::InvalidSignatureForPublicKey => plain("certificate signature failure", CertificateError::BadSignature),
        webpki::Error::PathLenConstraintViolated => plain("path length constraint exceeded", CertificateError::UnknownIssuer),
        webpki::Error::MaximumPathDepthExceeded => plain("certificate chain too long", CertificateError::UnknownIssuer),
        webpki::Error::NameConstraintViolation => plain("permitted subtree violation", CertificateError::UnknownIssuer),
        webpki::Error::CaUsedAsEndEntity | webpki::Error::UnsupportedCertVersion => {
            let (depth, text) = break_of(leaf, rest);
            VerifyFailure::chain(depth, text, CertificateError::UnknownIssuer)
        }
        other => plain(&other.to_string(), CertificateError::BadEncoding),
    }
}

/// Where a chain ends that leads to nobody who is trusted.
fn break_of(leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> (usize, &'static str) {
    let rest: Vec<_> = rest.iter().filter_map(|der| Parts::read(der)).collect();
    let Some(leaf) = Parts::read(leaf) else { return (0, "unable to get local issuer certificate") };
    let (mut at, mut depth) = (&leaf, 0);
    while depth < CHAIN_MAX {
        if at.is_self_signed() {
            return (depth, if depth == 0 { "self signed certificate" } else { "self signed certificate in certificate chain" });
        }
        let Some(next) = rest.iter().find(|next| next.subject == at.issuer) else { break };
        at = next;
        depth += 1;
    }
    (depth, "unable to get local issuer certificate")
}

/// How signatures of handshakes are checked, the same for both sides.
#[derive(Debug, Clone)]
pub(crate) struct Signatures {
    algorithms: WebPkiSupportedAlgorithms,
    /// Those that peers may sign with.
    schemes: Vec<SignatureScheme>,
}

impl Signatures {
    /// With these schemes; `None` for all there are.
    pub(crate) fn new(algorithms: WebPkiSupportedAlgorithms, schemes: Option<Vec<SignatureScheme>>) -> Signatures {
        Signatures { algorithms, schemes: schemes.unwrap_or_else(|| algorithms.supported_schemes()) }
    }

    pub(crate) fn schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }

    /// Checks a signature with a certificate's key, also of certificates that webpki does not read.
    pub(crate) fn check(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        tls13: bool,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        note::signed_by(signed.scheme);
        let bad = || rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let parts = Parts::read(certificate).ok_or_else(bad)?;
        let key = SubjectPublicKeyInfoDer::from(parts.key);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| bad())?;
        let known = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, known) = known.ok_or(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let tried = if tls13 { &known[..known.len().min(1)] } else { known };
        let holds = tried.iter().any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok());
        match holds {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(rustls::Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }
}

/// The present, as certificates count it.
pub(crate) fn now() -> UnixTime {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixTime::since_unix_epoch(now)
}
