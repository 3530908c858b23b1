//! Lists of revoked certificates (`rfc5280#5`), read with our own reader: webpki does not take those of version 1, which
//! OpenSSL makes by default.

use super::der::{BIT_STRING, Der, INTEGER, SEQUENCE, is_time};
use super::x509::Parts;
use rustls::{
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{SubjectPublicKeyInfoDer, UnixTime},
};
use std::collections::HashSet;
use webpki::RawPublicKeyEntity;

/// One list.
pub(super) struct RevocationList {
    issuer: Vec<u8>,
    next_update: Option<i64>,
    revoked: HashSet<Vec<u8>>,
    signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// What lists say of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Revoked,
    /// There is no list of its issuer that its issuer signed.
    Unknown,
    /// There is one, and its time is over.
    Stale,
}

impl RevocationList {
    /// Reads a list; `None` if it is not one.
    pub(super) fn read(der: &[u8]) -> Option<RevocationList> {
        let mut list = Der(Der(der).element(SEQUENCE)?);
        let signed = list.whole(SEQUENCE)?;
        let algorithm = list.element(SEQUENCE)?;
        let signature = list.element(BIT_STRING)?.split_first().map(|(_unused_bits, bytes)| bytes)?;
        let mut tbs = Der(Der(signed).element(SEQUENCE)?);
        tbs.optional(INTEGER); // version
        tbs.element(SEQUENCE)?; // signature
        let issuer = tbs.whole(SEQUENCE)?;
        tbs.time()?; // thisUpdate
        let next_update = if tbs.peek().is_some_and(is_time) { Some(tbs.time()?) } else { None };
        let mut revoked = HashSet::new();
        if let Some(entries) = tbs.optional(SEQUENCE) {
            let mut entries = Der(entries);
            while let Some(entry) = entries.element(SEQUENCE) {
                revoked.insert(Der(entry).element(INTEGER)?.to_vec());
            }
        }
        Some(RevocationList {
            issuer: issuer.to_vec(),
            next_update,
            revoked,
            signed: signed.to_vec(),
            algorithm: algorithm.to_vec(),
            signature: signature.to_vec(),
        })
    }

    fn is_signed_by(&self, authority: &Parts<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        authority.subject == self.issuer && is_signed(&self.signed, &self.algorithm, &self.signature, authority, algorithms)
    }
}

/// Whether an authority's key made this signature.
pub(super) fn is_signed(
    message: &[u8],
    algorithm: &[u8],
    signature: &[u8],
    authority: &Parts<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = SubjectPublicKeyInfoDer::from(authority.key);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
    let known = algorithms.all.iter().filter(|known| algorithm == known.signature_alg_id().as_ref());
    known.into_iter().any(|known| key.verify_signature(*known, message, signature).is_ok())
}

/// What the lists say of a certificate whose issuer is among `authorities`.
pub(super) fn standing(
    lists: &[RevocationList],
    certificate: &Parts<'_>,
    authorities: &[Parts<'_>],
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Standing {
    let mut standing = Standing::Unknown;
    for list in lists.iter().filter(|list| list.issuer == certificate.issuer) {
        if !authorities.iter().any(|authority| list.is_signed_by(authority, algorithms)) {
            continue;
        }
        if list.revoked.contains(certificate.serial) {
            return Standing::Revoked;
        }
        let stale = list.next_update.is_some_and(|until| i64::try_from(now.as_secs()).unwrap_or(i64::MAX) > until);
        match (stale, standing) {
            (false, _) => standing = Standing::Good,
            (true, Standing::Unknown) => standing = Standing::Stale,
            (true, _) => {}
        }
    }
    standing
}
