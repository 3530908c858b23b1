//! The TLS transport socket, both sides: rustls with aws-lc-rs, driven over the worker's own I/O.
//!
//! * [`TlsSettings`] ─▶ [`TlsConfig`]: what `DownstreamTlsContext` asks for; [`ClientSettings`] ─▶ [`ClientTls`]: what
//!   `UpstreamTlsContext` does. Built once per configuration.
//! * [`ServerContext`]: greets clients on a worker. [`ClientTls::connect`]: greets a server. Both count ([`TlsStats`]), and
//!   yield a byte stream (`stream`) and what was agreed ([`nuncio_core::TlsFacts`]).
//! * [`Live`]: a context whose secrets come from files that rotate.
//! * `verify`, `san`: whose certificates are believed. `failure`: what went wrong, in BoringSSL's words.
//! * `certificate`: which certificate a client gets. `ocsp`: what goes with it. `tickets`: sessions that are resumed. [`hello`]: what it asked for. [`fingerprint`]: what that says of it. `names`: Envoy's names.
//! * `x509`, `crl`, `der`, `subject`: certificates and lists of revoked ones being read. [`CertificateFacts`]: what `/certs` shows.

mod certificate;
mod client;
mod config;
mod context;
mod crl;
mod der;
mod failure;
pub mod fingerprint;
pub mod hello;
mod live;
mod md5;
mod names;
mod note;
mod ocsp;
mod san;
mod server;
mod stats;
mod stream;
mod subject;
mod tickets;
mod verify;
mod x509;

pub use client::{ClientOptions, ClientSettings, ClientTls, Connected};
pub use config::{CertificateSource, OcspPolicy, PemSource, TlsError, TlsParameters, TlsVersion};
pub use context::{Greeted, Refused, ServerContext};
pub use failure::{HandshakeError, NO_SECRET};
pub use live::{Live, Made};
pub use san::NameMatcher;
pub use server::{TlsConfig, TlsSettings};
pub use stats::TlsStats;
pub use verify::{Authorities, ValidationSettings, VerifyFailure, VerifyKind};
pub use x509::CertificateFacts;
