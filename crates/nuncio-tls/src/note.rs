//! What verifiers find out in the middle of a handshake, left for whoever drives it.
//!
//! rustls calls them from within a step of the session, on the same thread, and hands on an error without its story. So
//! the story is put down here, and picked up right after the step.

use super::certificate::Staple;
use super::verify::{Verified, VerifyFailure};
use nuncio_core::Certificate;
use rustls::SignatureScheme;
use std::{cell::Cell, sync::Arc};

/// What was found out about a peer.
#[derive(Debug, Default)]
pub(crate) struct Note {
    /// Why its certificate is refused.
    pub(crate) failure: Option<VerifyFailure>,
    /// What became of its certificate.
    pub(crate) verified: Option<Verified>,
    /// How it signed the handshake.
    pub(crate) scheme: Option<SignatureScheme>,
    /// What became of the OCSP answer.
    pub(crate) staple: Option<Staple>,
    /// What it speaks instead of TLS, as a failure.
    pub(crate) foreign: Option<(u32, &'static str)>,
    /// Our certificate that it was shown.
    pub(crate) chosen: Option<Arc<Certificate>>,
}

thread_local! {
    static NOTE: Cell<Note> = Cell::default();
}

fn change(with: impl FnOnce(&mut Note)) {
    let mut note = NOTE.take();
    with(&mut note);
    NOTE.set(note);
}

/// A certificate was judged.
pub(crate) fn judged(verified: Result<Verified, VerifyFailure>) -> Result<(), rustls::Error> {
    match verified {
        Ok(verified) => {
            change(|note| note.verified = Some(verified));
            Ok(())
        }
        Err(failure) => {
            let alert = failure.alert.clone();
            change(|note| note.failure = Some(failure));
            Err(rustls::Error::InvalidCertificate(alert))
        }
    }
}

/// The peer signed like this.
pub(crate) fn signed_by(scheme: SignatureScheme) {
    change(|note| note.scheme = Some(scheme));
}

/// A certificate of ours was chosen.
pub(crate) fn chose(certificate: Option<Arc<Certificate>>) {
    change(|note| note.chosen = certificate);
}

/// The OCSP answer goes with the certificate, or does not.
pub(crate) fn stapled(staple: Staple) {
    change(|note| note.staple = Some(staple));
}

/// What was noted since this was asked last, added to what was known before.
pub(crate) fn collect(into: &mut Note) {
    let Note { failure, verified, scheme, chosen, staple, foreign: _ } = NOTE.take();
    into.staple = staple.or(into.staple);
    into.chosen = chosen.or(into.chosen.take());
    into.failure = failure.or(into.failure.take());
    into.verified = verified.or(into.verified);
    into.scheme = scheme.or(into.scheme);
}
