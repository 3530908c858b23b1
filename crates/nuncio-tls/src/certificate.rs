//! Our certificates: read from PEM, and chosen by what a client asks for.

use super::config::{CertificateSource, PemSource, TlsError};
use super::x509::CertificateFacts;
use rustls::{
    SignatureAlgorithm,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::sync::Arc;

/// The certificates of a context, in the order of configuration.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) all: Vec<Certificate>,
    /// `require_sni`: clients that name no server get nothing.
    pub(super) require_sni: bool,
}

#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names it is for, in lower case.
    names: Vec<String>,
    pub(super) facts: Option<CertificateFacts>,
    /// The same for logs and headers.
    pub(super) shown: Option<Arc<nuncio_core::Certificate>>,
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
        let key = CertifiedKey::new(chain, signing);
        // Old certificates that cannot be compared may well belong to their key.
        if let Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) = key.keys_match() {
            return Err(bad_key("it does not belong to the certificate".into()));
        }
        Ok(Certificate { key: Arc::new(key), names, facts, shown })
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
        let rank = |certificate: &Certificate| {
            let known = certificate.key.key.choose_scheme(hello.signature_schemes()).is_some();
            let short = certificate.key.key.algorithm() == SignatureAlgorithm::ECDSA;
            (known, name.as_deref().map_or(0, |name| certificate.fits(name)), short)
        };
        // The first of equals: `max_by_key` would take the last.
        let best = self.all.iter().rev().max_by_key(|certificate| rank(certificate))?;
        super::note::chose(best.shown.clone());
        Some(best.key.clone())
    }
}
