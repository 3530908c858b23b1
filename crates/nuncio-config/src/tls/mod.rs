//! TLS contexts: what both sides have in common (`CommonTlsContext`).
//!
//! * `server`: transport sockets of filter chains. `client`: those of clusters. `secret`: where secrets come from. `validation`: whose certificates are
//!   believed.

mod client;
mod secret;
mod server;
mod validation;

pub(crate) use client::compile as upstream;
pub(crate) use server::compile as downstream;
use secret::secret;

use crate::codes;
use crate::context::{CompileCx, Purpose};
use crate::{unbuilt, unsafe_unbuilt};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::transport_sockets::tls::v3 as proto;
use nuncio_tls::{CertificateSource, PemSource, TlsError, TlsParameters, TlsVersion, ValidationSettings};
use proto::tls_parameters::TlsProtocol;

pub(super) const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/// What both sides have in common.
pub(super) struct Common {
    pub(super) certificates: Vec<CertificateSource>,
    pub(super) alpn: Vec<String>,
    pub(super) parameters: TlsParameters,
    pub(super) validation: Option<ValidationSettings>,
}

/// Reads what server and client contexts share; `None` if a part is not built that cannot be left out, or is wrong.
pub(super) fn common(cx: &mut CompileCx<'_>, from: &proto::CommonTlsContext, newest: TlsVersion) -> Option<Common> {
    #[allow(deprecated)]
    let proto::CommonTlsContext {
        tls_params,
        tls_certificates,
        tls_certificate_sds_secret_configs,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        alpn_protocols,
        custom_handshaker,
        key_log,
        validation_context_type,
    } = from;
    unbuilt!(cx, key_log);
    let before = cx.findings().len();
    unsafe_unbuilt!(
        cx,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        custom_handshaker,
    );
    let mut complete = cx.findings().len() == before;
    let mut parameters = TlsParameters { max_version: newest, ..TlsParameters::default() };
    if let Some(params) = tls_params {
        cx.at("tls_params", |cx| self::parameters(cx, params, newest, &mut parameters));
    }
    let mut certificates = cx.each("tls_certificates", tls_certificates, |cx, from| {
        let made = certificate(cx, from);
        complete &= made.is_some();
        made
    });
    certificates.extend(cx.each("tls_certificate_sds_secret_configs", tls_certificate_sds_secret_configs, |cx, config| {
        let made = match secret(cx, config, "TlsCertificate") {
            Some(proto::secret::Type::TlsCertificate(from)) => certificate(cx, &from),
            _ => None,
        };
        complete &= made.is_some();
        made
    }));
    let validation = match validation_context_type {
        None => None,
        Some(from) => {
            let made = validation::compile(cx, from);
            complete &= made.is_some();
            made
        }
    };
    complete.then(|| Common { certificates, alpn: alpn_protocols.clone(), parameters, validation })
}

fn parameters(cx: &mut CompileCx<'_>, from: &proto::TlsParameters, newest: TlsVersion, into: &mut TlsParameters) {
    let proto::TlsParameters {
        tls_minimum_protocol_version,
        tls_maximum_protocol_version,
        cipher_suites,
        ecdh_curves,
        signature_algorithms,
        compliance_policies,
    } = from;
    into.schemes.clone_from(signature_algorithms);
    // A policy promises what nobody keeps then.
    unsafe_unbuilt!(cx, compliance_policies);
    into.min_version = match TlsProtocol::try_from(*tls_minimum_protocol_version).unwrap_or_default() {
        TlsProtocol::TlsAuto | TlsProtocol::TlSv12 => TlsVersion::Tls12,
        TlsProtocol::TlSv13 => TlsVersion::Tls13,
        TlsProtocol::TlSv10 | TlsProtocol::TlSv11 => {
            cx.without_effect("tls_minimum_protocol_version").note("TLS 1.2 is the oldest version that is spoken");
            TlsVersion::Tls12
        }
    };
    into.max_version = match TlsProtocol::try_from(*tls_maximum_protocol_version).unwrap_or_default() {
        TlsProtocol::TlsAuto => newest,
        TlsProtocol::TlSv13 => TlsVersion::Tls13,
        TlsProtocol::TlSv12 => TlsVersion::Tls12,
        TlsProtocol::TlSv10 | TlsProtocol::TlSv11 => {
            cx.unsafe_without("tls_maximum_protocol_version").note("TLS 1.2 is the oldest version that is spoken");
            TlsVersion::Tls12
        }
    };
    into.ciphers.clone_from(cipher_suites);
    into.groups.clone_from(ecdh_curves);
}

fn certificate(cx: &mut CompileCx<'_>, from: &proto::TlsCertificate) -> Option<CertificateSource> {
    let proto::TlsCertificate {
        certificate_chain,
        private_key,
        pkcs12,
        watched_directory,
        private_key_provider,
        password,
        ocsp_staple,
        signed_certificate_timestamp,
        tls_params,
    } = from;
    // Files of secrets are looked at whatever directory is watched; others never change.
    let _ = watched_directory;
    unbuilt!(cx, signed_certificate_timestamp, tls_params);
    unsafe_unbuilt!(cx, pkcs12, private_key_provider, password);
    if pkcs12.is_some() || private_key_provider.is_some() || password.is_some() {
        return None;
    }
    let made = CertificateSource { chain: source(cx, certificate_chain.as_ref())?, key: source(cx, private_key.as_ref())?, ocsp: source(cx, ocsp_staple.as_ref()) };
    let error = made.check().err();
    let chain_missing = matches!((&error, &made.chain), (Some(TlsError::InvalidPath(path)), PemSource::File(chain)) if path == chain);
    match &error {
        None => return Some(made),
        // Envoy takes it where it only judges.
        Some(TlsError::BadOcsp(_)) if cx.mode.parity && cx.mode.purpose == Purpose::Check => {
            cx.at("ocsp_staple", |cx| {
                cx.warn(codes::BAD_CERTIFICATE, "there is no OCSP answer in it, in DER");
            });
        }
        Some(TlsError::BadOcsp(_)) => cx.at("ocsp_staple", |cx| report(cx, error.as_ref())),
        Some(TlsError::BadCertificates(_)) => cx.at("certificate_chain", |cx| report(cx, error.as_ref())),
        Some(TlsError::InvalidPath(_)) if chain_missing => {
            cx.at("certificate_chain", |cx| cx.at("filename", |cx| report(cx, error.as_ref())));
        }
        Some(TlsError::InvalidPath(_)) => cx.at("private_key", |cx| cx.at("filename", |cx| report(cx, error.as_ref()))),
        Some(_) => cx.at("private_key", |cx| report(cx, error.as_ref())),
    }
    None
}

/// A source of PEM text. One that cannot be read was reported by whoever judges sources.
pub(super) fn source(cx: &mut CompileCx<'_>, from: Option<&core::DataSource>) -> Option<PemSource> {
    let core::DataSource { watched_directory: _, specifier } = from?;
    match specifier.as_ref()? {
        core::data_source::Specifier::Filename(path) => {
            cx.tls_files.push(path.into());
            Some(PemSource::File(path.into()))
        }
        core::data_source::Specifier::InlineBytes(bytes) => Some(PemSource::Inline(bytes.clone())),
        core::data_source::Specifier::InlineString(text) => Some(PemSource::Inline(text.clone().into_bytes())),
        core::data_source::Specifier::EnvironmentVariable(name) => {
            std::env::var(name).ok().map(|text| PemSource::Inline(text.into_bytes()))
        }
    }
}

/// Reports why a context cannot be, at the current path.
pub(super) fn report(cx: &mut CompileCx<'_>, error: Option<&TlsError>) {
    let Some(error) = error else { return };
    let (code, text) = match error {
        TlsError::NoCertificates => {
            (codes::MISSING, "a TLS server needs a certificate: common_tls_context.tls_certificates".to_owned())
        }
        TlsError::InvalidPath(path) => {
            (codes::MISSING_FILE, format!("`{}` cannot be read: there is no such file", path.display()))
        }
        TlsError::BadCertificates(_) => {
            (codes::BAD_CERTIFICATE, "there is no certificate in PEM form in it".to_owned())
        }
        TlsError::BadCrl(_) => {
            (codes::BAD_CERTIFICATE, "there is no list of revoked certificates in PEM form in it".to_owned())
        }
        TlsError::BadOcsp(_) => (codes::BAD_CERTIFICATE, "there is no OCSP answer in it, in DER".to_owned()),
        TlsError::OcspRequired => (codes::MISSING, "MUST_STAPLE needs an ocsp_staple for every certificate".to_owned()),
        TlsError::BadTicketKey(length) => (codes::BAD_VALUE, format!("a session ticket key has 80 bytes; this one has {length}")),
        TlsError::NoSchemes(_) => (codes::CONFLICT, "none of the signature algorithms is supported".to_owned()),
        TlsError::BadAuthority(_) => {
            (codes::BAD_CERTIFICATE, "there is no authority's certificate in PEM form in it".to_owned())
        }
        TlsError::BadKey { cause, .. } => (codes::BAD_CERTIFICATE, format!("this private key cannot be used: {cause}")),
        TlsError::NoVersions => (codes::CONFLICT, "the minimum version is above the maximum version".to_owned()),
        TlsError::NoCiphers(_) => (codes::CONFLICT, "none of the cipher suites is supported".to_owned()),
        TlsError::NoGroups(_) => (codes::CONFLICT, "none of the ECDH curves is supported".to_owned()),
        TlsError::Inconsistent(cause) => (codes::CONFLICT, format!("these settings exclude each other: {cause}")),
    };
    cx.error(code, text).envoy(error.to_string());
}
