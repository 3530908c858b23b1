//! Transport sockets of filter chains: plain, and `DownstreamTlsContext`.

use crate::codes;
use crate::context::{CompileCx, Purpose};
use crate::{unbuilt, unsafe_unbuilt};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::transport_sockets::tls::v3 as proto;
use nuncio_listen::Transport;
use nuncio_listen::tls::{
    CertificateSource, ClientCertificates, PemSource, TlsConfig, TlsError, TlsSettings, TlsVersion,
};
use prost::{Message as _, Name as _};
use proto::common_tls_context::ValidationContextType;
use proto::downstream_tls_context::SessionTicketKeysType;
use proto::tls_parameters::TlsProtocol;
use std::sync::Arc;

const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/// Compiles a transport socket; `None` after a report. What is not built is unsafe to ignore: no connection is left in
/// plain text in the place of TLS.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &core::TransportSocket) -> Option<Transport> {
    let core::TransportSocket { name, config_type } = from;
    let Some(core::transport_socket::ConfigType::TypedConfig(config)) = config_type else {
        // By its name alone Envoy would not find it either; whoever reads extensions says so.
        cx.value_unsafe_without(&format!("the transport socket `{name}`"));
        return None;
    };
    cx.at("typed_config", |cx| match nuncio_api::any_type(config) {
        RAW_BUFFER => Some(Transport::Plain),
        message if message == proto::DownstreamTlsContext::full_name() => {
            let from = proto::DownstreamTlsContext::decode(config.value.as_slice()).unwrap_or_default();
            downstream(cx, &from)
        }
        _ => {
            cx.value_unsafe_without(&format!("the transport socket `{name}`"));
            None
        }
    })
}

fn downstream(cx: &mut CompileCx<'_>, from: &proto::DownstreamTlsContext) -> Option<Transport> {
    let proto::DownstreamTlsContext {
        common_tls_context,
        require_client_certificate,
        require_sni,
        disable_stateful_session_resumption,
        session_timeout,
        ocsp_staple_policy,
        full_scan_certs_on_sni_mismatch,
        prefer_client_ciphers,
        session_ticket_keys_type,
    } = from;
    unbuilt!(cx, session_timeout, ocsp_staple_policy, full_scan_certs_on_sni_mismatch, prefer_client_ciphers);
    let stateless_resumption = match session_ticket_keys_type {
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(disabled)) => !disabled,
        Some(SessionTicketKeysType::SessionTicketKeys(_)) => own_ticket_keys(cx, "session_ticket_keys"),
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(_)) => {
            own_ticket_keys(cx, "session_ticket_keys_sds_secret_config")
        }
        None => true,
    };
    let mut settings = TlsSettings {
        require_sni: require_sni.unwrap_or(false),
        stateless_resumption,
        stateful_resumption: !disable_stateful_session_resumption,
        ..TlsSettings::default()
    };
    let mut complete = true;
    if let Some(common) = common_tls_context {
        let required = require_client_certificate.unwrap_or(false);
        cx.at("common_tls_context", |cx| {
            complete = self::common(cx, common, required, &mut settings);
        });
    }
    if !complete {
        // Whatever was reported: nothing may start with plain text in the place of TLS.
        if cx.mode.purpose == Purpose::Start && !cx.has_errors() {
            cx.value_unsafe_without("a part of this TLS context");
        }
        return None;
    }
    match TlsConfig::build(&settings) {
        Ok(built) => {
            for warning in &built.warnings {
                cx.warn(codes::WITHOUT_EFFECT, warning.clone());
            }
            Some(Transport::Tls(Arc::new(built)))
        }
        Err(error) => {
            report(cx, Some(&error));
            None
        }
    }
}

fn own_ticket_keys(cx: &mut CompileCx<'_>, field: &'static str) -> bool {
    cx.without_effect(field).note("tickets have a key of this process, which other processes do not know");
    true
}

/// Fills in what server and client contexts share; false if a part is not built that cannot be left out.
fn common(cx: &mut CompileCx<'_>, from: &proto::CommonTlsContext, required: bool, into: &mut TlsSettings) -> bool {
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
        tls_certificate_sds_secret_configs,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        custom_handshaker,
    );
    let mut complete = cx.findings().len() == before;
    if let Some(params) = tls_params {
        cx.at("tls_params", |cx| parameters(cx, params, into));
    }
    into.alpn.clone_from(alpn_protocols);
    into.certificates = cx.each("tls_certificates", tls_certificates, |cx, from| {
        let made = certificate(cx, from);
        complete &= made.is_some();
        made
    });
    match clients(cx, validation_context_type.as_ref(), required) {
        Some(clients) => into.clients = clients,
        None => complete = false,
    }
    complete
}

fn parameters(cx: &mut CompileCx<'_>, from: &proto::TlsParameters, into: &mut TlsSettings) {
    let proto::TlsParameters {
        tls_minimum_protocol_version,
        tls_maximum_protocol_version,
        cipher_suites,
        ecdh_curves,
        signature_algorithms,
        compliance_policies,
    } = from;
    unbuilt!(cx, signature_algorithms);
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
        TlsProtocol::TlsAuto | TlsProtocol::TlSv13 => TlsVersion::Tls13,
        TlsProtocol::TlSv12 => TlsVersion::Tls12,
        TlsProtocol::TlSv10 | TlsProtocol::TlSv11 => {
            cx.without_effect("tls_maximum_protocol_version").note("TLS 1.2 is the oldest version that is spoken");
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
    unbuilt!(cx, watched_directory, ocsp_staple, signed_certificate_timestamp, tls_params);
    unsafe_unbuilt!(cx, pkcs12, private_key_provider, password);
    if pkcs12.is_some() || private_key_provider.is_some() || password.is_some() {
        return None;
    }
    let made = CertificateSource { chain: source(certificate_chain.as_ref())?, key: source(private_key.as_ref())? };
    let error = made.check().err();
    let chain_missing = matches!((&error, &made.chain), (Some(TlsError::InvalidPath(path)), PemSource::File(chain)) if path == chain);
    match &error {
        None => return Some(made),
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
fn source(from: Option<&core::DataSource>) -> Option<PemSource> {
    // A change of the watched directory is what rotates secrets, which are not built.
    let core::DataSource { watched_directory: _, specifier } = from?;
    match specifier.as_ref()? {
        core::data_source::Specifier::Filename(path) => Some(PemSource::File(path.into())),
        core::data_source::Specifier::InlineBytes(bytes) => Some(PemSource::Inline(bytes.clone())),
        core::data_source::Specifier::InlineString(text) => Some(PemSource::Inline(text.clone().into_bytes())),
        core::data_source::Specifier::EnvironmentVariable(name) => {
            std::env::var(name).ok().map(|text| PemSource::Inline(text.into_bytes()))
        }
    }
}

/// What is asked of clients; `None` after a report of something that must not be left out.
#[allow(deprecated)]
fn clients(
    cx: &mut CompileCx<'_>,
    from: Option<&ValidationContextType>,
    required: bool,
) -> Option<ClientCertificates> {
    let context = match from {
        None if required => {
            cx.value_unsafe_without("`require_client_certificate` without a validation_context");
            return None;
        }
        None => return Some(ClientCertificates::NotAsked),
        Some(ValidationContextType::ValidationContext(context)) => context,
        Some(ValidationContextType::ValidationContextSdsSecretConfig(_)) => {
            cx.unsafe_without("validation_context_sds_secret_config");
            return None;
        }
        Some(ValidationContextType::CombinedValidationContext(_)) => {
            cx.unsafe_without("combined_validation_context");
            return None;
        }
        Some(ValidationContextType::ValidationContextCertificateProvider(_)) => {
            cx.unsafe_without("validation_context_certificate_provider");
            return None;
        }
        Some(ValidationContextType::ValidationContextCertificateProviderInstance(_)) => {
            cx.unsafe_without("validation_context_certificate_provider_instance");
            return None;
        }
    };
    cx.at("validation_context", |cx| {
        let trusted_ca = validation(cx, context)?;
        Some(if required {
            ClientCertificates::Required { trusted_ca }
        } else {
            ClientCertificates::Optional { trusted_ca }
        })
    })
}

fn validation(cx: &mut CompileCx<'_>, from: &proto::CertificateValidationContext) -> Option<PemSource> {
    #[allow(deprecated)]
    let proto::CertificateValidationContext {
        trusted_ca,
        ca_certificate_provider_instance,
        system_root_certs,
        watched_directory,
        verify_certificate_spki,
        verify_certificate_hash,
        match_typed_subject_alt_names,
        match_subject_alt_names,
        require_signed_certificate_timestamp,
        crl,
        allow_expired_certificate,
        trust_chain_verification,
        custom_validator_config,
        only_verify_leaf_cert_crl,
        max_verify_depth,
        suppress_client_ca_list,
    } = from;
    // Stricter than asked for, or a matter of comfort.
    unbuilt!(cx, watched_directory, allow_expired_certificate, suppress_client_ca_list);
    let before = cx.findings().len();
    unsafe_unbuilt!(
        cx,
        ca_certificate_provider_instance,
        system_root_certs,
        verify_certificate_spki,
        verify_certificate_hash,
        match_typed_subject_alt_names,
        match_subject_alt_names,
        require_signed_certificate_timestamp,
        crl,
        trust_chain_verification,
        custom_validator_config,
        only_verify_leaf_cert_crl,
        max_verify_depth,
    );
    let complete = cx.findings().len() == before;
    let Some(trusted) = source(trusted_ca.as_ref()) else {
        if complete {
            cx.value_unsafe_without("a validation context without `trusted_ca`");
        }
        return None;
    };
    let error = trusted.check_authorities().err();
    match &error {
        None => return Some(trusted).filter(|_| complete),
        Some(TlsError::InvalidPath(_)) => cx.at("trusted_ca", |cx| cx.at("filename", |cx| report(cx, error.as_ref()))),
        Some(_) => cx.at("trusted_ca", |cx| report(cx, error.as_ref())),
    }
    None
}

/// Reports why a context cannot be, at the current path.
fn report(cx: &mut CompileCx<'_>, error: Option<&TlsError>) {
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
