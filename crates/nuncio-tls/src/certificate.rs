//! Our certificates: read from PEM, and chosen by what a client asks for.

use super::config::{CertificateSource, OcspPolicy, PemSource, TlsError};
use super::x509::CertificateFacts;
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, Signer, SigningKey},
};
use std::sync::Arc;

/// The certificates of a context, in the order of configuration.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) all: Vec<Certificate>,
    /// `require_sni`: clients that name no server get nothing.
    pub(super) require_sni: bool,
    pub(super) ocsp: OcspPolicy,
    /// `signature_algorithms`; `None` for all.
    pub(super) schemes: Option<Vec<SignatureScheme>>,
}

#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names it is for, in lower case.
    names: Vec<String>,
    pub(super) facts: Option<CertificateFacts>,
    /// The same for logs and headers.
    pub(super) shown: Option<Arc<nuncio_core::Certificate>>,
    /// Until when its OCSP answer is good, in Unix seconds.
    pub(super) ocsp_until: Option<i64>,
}

/// Reads every certificate of a PEM source.
pub(super) fn read_certificates(source: &PemSource) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = source.read()?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::BadCertificates(source.to_string())),
    }
}

impl Certificate {
    /// Reads a chain and its key, and checks that they belong together.
    pub(super) fn read(source: &CertificateSource) -> Result<Certificate, TlsError> {
        let chain = read_certificates(&source.chain)?;
        let bad_key = |cause: String| TlsError::BadKey { key: source.key.to_string(), cause };
        let key = PrivateKeyDer::from_pem_slice(&source.key.read()?).map_err(|e| bad_key(e.to_string()))?;
        let names = names(&chain);
        let facts = chain.first().and_then(|leaf| CertificateFacts::read(&source.chain.to_string(), leaf));
        let shown = chain.first().and_then(|leaf| super::x509::read(leaf)).map(Arc::new);
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|e| bad_key(e.to_string()))?;
        let mut key = CertifiedKey::new(chain, signing);
        let mut ocsp_until = None;
        if let Some(source) = &source.ocsp {
            let answer = source.read()?;
            ocsp_until = Some(super::ocsp::good_until(&answer).ok_or_else(|| TlsError::BadOcsp(source.to_string()))?);
            key.ocsp = Some(answer);
        }
        // Old certificates that cannot be compared may well belong to their key.
        if let Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) = key.keys_match() {
            return Err(bad_key("it does not belong to the certificate".into()));
        }
        Ok(Certificate { key: Arc::new(key), names, facts, shown, ocsp_until })
    }

    /// Exact names before wildcards (one label) before none.
    fn fits(&self, name: &str) -> u8 {
        let wildcard = name.split_once('.').map(|(_, parent)| parent);
        let fit = |mine: &String| match mine.strip_prefix("*.") {
            Some(parent) => u8::from(wildcard == Some(parent)),
            None => 2 * u8::from(mine == name),
        };
        self.names.iter().map(fit).max().unwrap_or(0)
    }
}

fn names(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let Some(leaf) = chain.first() else { return Vec::new() };
    webpki::EndEntityCert::try_from(leaf)
        .map(|leaf| leaf.valid_dns_names().map(str::to_ascii_lowercase).collect())
        .unwrap_or_default()
}

impl ResolvesServerCert for Certificates {
    /// The one whose name fits best; among those, one whose kind of key the client knows, elliptic curves first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        if name.is_none() && self.require_sni {
            return None;
        }
        let name = name.map(str::to_ascii_lowercase);
        let offered: Vec<SignatureScheme> = match &self.schemes {
            None => hello.signature_schemes().to_vec(),
            Some(ours) => hello.signature_schemes().iter().filter(|scheme| ours.contains(scheme)).copied().collect(),
        };
        let rank = |certificate: &Certificate| {
            let known = certificate.key.key.choose_scheme(&offered).is_some();
            let short = certificate.key.key.algorithm() == SignatureAlgorithm::ECDSA;
            (known, name.as_deref().map_or(0, |name| certificate.fits(name)), short)
        };
        // The first of equals: `max_by_key` would take the last.
        let best = self.all.iter().rev().max_by_key(|certificate| rank(certificate))?;
        super::note::chose(best.shown.clone());
        let now = i64::try_from(super::verify::now().as_secs()).unwrap_or(i64::MAX);
        let fresh = best.ocsp_until.is_some_and(|until| now <= until);
        let staple = match (self.ocsp, best.ocsp_until) {
            (OcspPolicy::Lenient, _) => Staple::of(best.ocsp_until.is_some(), fresh),
            (OcspPolicy::Strict, None) => Staple::Omitted,
            (OcspPolicy::Strict | OcspPolicy::Must, _) if fresh => Staple::Sent,
            (OcspPolicy::Strict | OcspPolicy::Must, _) => Staple::Failed,
        };
        super::note::stapled(staple);
        if staple == Staple::Failed {
            return None;
        }
        let limits = self.schemes.is_some() || (staple == Staple::Omitted && best.key.ocsp.is_some());
        if !limits {
            return Some(best.key.clone());
        }
        let mut key = (*best.key).clone();
        if staple == Staple::Omitted {
            key.ocsp = None;
        }
        if let Some(allowed) = &self.schemes {
            key.key = Arc::new(LimitedKey { key: key.key, allowed: allowed.clone() });
        }
        Some(Arc::new(key))
    }
}

/// What became of an OCSP answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staple {
    /// It goes with the certificate, if the client asks for it.
    Sent,
    /// There is none, or it is no longer good.
    Omitted,
    /// There must be one.
    Failed,
}

impl Staple {
    fn of(there: bool, fresh: bool) -> Staple {
        if there && fresh { Staple::Sent } else { Staple::Omitted }
    }
}

/// A key that signs with some algorithms only (`signature_algorithms`).
#[derive(Debug)]
struct LimitedKey {
    key: Arc<dyn SigningKey>,
    allowed: Vec<SignatureScheme>,
}

impl SigningKey for LimitedKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let both: Vec<SignatureScheme> = offered.iter().filter(|scheme| self.allowed.contains(scheme)).copied().collect();
        self.key.choose_scheme(&both)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}
