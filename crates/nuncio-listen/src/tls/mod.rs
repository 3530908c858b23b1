//! The TLS transport socket of listeners: rustls with aws-lc-rs, driven over the worker's own I/O.
//!
//! * [`TlsSettings`] ─▶ [`TlsConfig`]: what `DownstreamTlsContext` asks for, built once per configuration.
//! * `context`: greets clients on a worker and counts. `stream`: the byte stream that comes out of it.
//! * `certificate`: which certificate a client gets. `hello`: the server name it asked for. `names`: Envoy's names.
//! * [`CertificateFacts`]: what `/certs` shows.

mod certificate;
mod config;
mod context;
pub(crate) mod hello;
mod names;
mod stream;
mod x509;

pub use config::{CertificateSource, ClientCertificates, PemSource, TlsConfig, TlsError, TlsSettings, TlsVersion};
pub use x509::CertificateFacts;
pub(crate) use context::{GreetError, TlsContext};
