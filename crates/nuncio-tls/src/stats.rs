//! `….ssl.`: what handshakes came to.

use super::{certificate::Staple, failure::HandshakeError, names, note::Note, verify::VerifyKind};
use nuncio_stats::{
    CounterId, Lane, Scope, Store,
    tables::tls::{
        CONNECTION_ERROR, FAIL_VERIFY_CERT_HASH, FAIL_VERIFY_ERROR, FAIL_VERIFY_NO_CERT, FAIL_VERIFY_SAN, HANDSHAKE, HANDSHAKES,
        NEGOTIATED, NO_CERTIFICATE, OCSP_STAPLE_FAILED, OCSP_STAPLE_OMITTED, OCSP_STAPLE_REQUESTS, OCSP_STAPLE_RESPONSES,
        SESSION_REUSED, TLS,
    },
};
use rustls::{CommonState, HandshakeKind};
use std::{cell::RefCell, collections::HashMap, fmt, sync::{Arc, Weak}};

/// The statistics of a TLS context on one thread.
pub struct TlsStats {
    lane: Lane,
    scope: Arc<Scope>,
    store: Weak<Store>,
    /// Scopes of what handshakes ended with, by full name.
    negotiated: RefCell<HashMap<(&'static str, &'static str), Arc<Scope>>>,
}

impl fmt::Debug for TlsStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsStats({})", self.scope.prefix())
    }
}

impl TlsStats {
    /// Those under `prefix`, which ends in a dot: `cluster.c.`.
    pub fn new(store: &Arc<Store>, prefix: &str, lane: Lane) -> TlsStats {
        let scope = store.scope(&format!("{prefix}ssl."), &TLS);
        TlsStats { lane, scope, store: Arc::downgrade(store), negotiated: RefCell::default() }
    }

    fn inc(&self, id: CounterId) {
        self.scope.inc(self.lane, id);
    }

    pub(super) fn failed(&self, error: &HandshakeError, note: &Note) {
        match (error, &note.failure) {
            (HandshakeError::Tls(_), Some(failure)) => self.inc(match failure.kind {
                VerifyKind::Chain => FAIL_VERIFY_ERROR,
                VerifyKind::Name => FAIL_VERIFY_SAN,
                VerifyKind::Hash => FAIL_VERIFY_CERT_HASH,
            }),
            (HandshakeError::Tls(rustls::Error::NoCertificatesPresented), _) => self.inc(FAIL_VERIFY_NO_CERT),
            (HandshakeError::Tls(_), None) => self.inc(CONNECTION_ERROR),
            // Envoy counts these as errors of the connection only when TLS had something to say.
            (HandshakeError::Closed(_) | HandshakeError::TimedOut, _) => {}
        }
    }

    /// Counts what became of the OCSP answer; `asked` by the client.
    pub(super) fn stapled(&self, note: &Note, asked: bool) {
        if asked {
            self.inc(OCSP_STAPLE_REQUESTS);
        }
        match note.staple {
            Some(Staple::Sent) if asked => self.inc(OCSP_STAPLE_RESPONSES),
            Some(Staple::Omitted) if asked => self.inc(OCSP_STAPLE_OMITTED),
            Some(Staple::Failed) => self.inc(OCSP_STAPLE_FAILED),
            _ => {}
        }
    }

    pub(super) fn greeted(&self, session: &CommonState, note: &Note) {
        self.inc(HANDSHAKE);
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.inc(SESSION_REUSED);
        }
        if session.peer_certificates().is_none_or(<[_]>::is_empty) {
            self.inc(NO_CERTIFICATE);
        }
        let cipher = session.negotiated_cipher_suite().map(|suite| names::cipher(suite.suite()));
        let group = session.negotiated_key_exchange_group().map(|group| names::group(group.name()));
        let version = session.protocol_version().map(names::version);
        let scheme = note.scheme.and_then(names::scheme);
        let mut negotiated = self.negotiated.borrow_mut();
        for (kind, name) in [("ciphers", cipher), ("curves", group), ("sigalgs", scheme), ("versions", version)] {
            let Some(name) = name else { continue };
            if !negotiated.contains_key(&(kind, name)) {
                let Some(store) = self.store.upgrade() else { return };
                let scope = store.scope(&format!("{}{kind}.{name}", self.scope.prefix()), &NEGOTIATED);
                negotiated.insert((kind, name), scope);
            }
            if let Some(scope) = negotiated.get(&(kind, name)) {
                scope.inc(self.lane, HANDSHAKES);
            }
        }
    }
}
