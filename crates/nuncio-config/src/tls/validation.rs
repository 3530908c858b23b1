//! `CertificateValidationContext` → [`ValidationSettings`].

use base64::{Engine, engine::general_purpose::STANDARD};
use super::{report, secret::secret, source};
use crate::codes;
use crate::context::CompileCx;
use crate::unsafe_unbuilt;
use nuncio_api::envoy::extensions::transport_sockets::tls::v3 as proto;
use nuncio_core::NameKind;
use nuncio_tls::{Authorities, NameMatcher, TlsError, ValidationSettings};
use prost::Message as _;
use proto::certificate_validation_context::TrustChainVerification;
use proto::common_tls_context::ValidationContextType;
use proto::subject_alt_name_matcher::SanType;

/// Compiles a validation context, wherever it stands; `None` after a report.
#[allow(deprecated)]
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &ValidationContextType) -> Option<ValidationSettings> {
    const KIND: &str = "CertificateValidationContext";
    let of_secret = |cx: &mut CompileCx<'_>, config| match secret(cx, config, KIND) {
        Some(proto::secret::Type::ValidationContext(context)) => Some(context),
        _ => None,
    };
    match from {
        ValidationContextType::ValidationContext(context) => cx.at("validation_context", |cx| settings(cx, context)),
        ValidationContextType::ValidationContextSdsSecretConfig(config) => cx.at("validation_context_sds_secret_config", |cx| {
            let context = of_secret(cx, config)?;
            settings(cx, &context)
        }),
        ValidationContextType::CombinedValidationContext(combined) => cx.at("combined_validation_context", |cx| {
            let proto::common_tls_context::CombinedCertificateValidationContext {
                default_validation_context,
                validation_context_sds_secret_config,
                validation_context_certificate_provider,
                validation_context_certificate_provider_instance,
            } = combined;
            unsafe_unbuilt!(cx, validation_context_certificate_provider, validation_context_certificate_provider_instance);
            let config = validation_context_sds_secret_config.as_ref()?;
            let over = cx.at("validation_context_sds_secret_config", |cx| of_secret(cx, config))?;
            // One message after the other is both of them, merged.
            let mut both = default_validation_context.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
            both.extend(over.encode_to_vec());
            let merged = proto::CertificateValidationContext::decode(both.as_slice()).ok()?;
            settings(cx, &merged)
        }),
        ValidationContextType::ValidationContextCertificateProvider(_) => {
            cx.unsafe_without("validation_context_certificate_provider");
            None
        }
        ValidationContextType::ValidationContextCertificateProviderInstance(_) => {
            cx.unsafe_without("validation_context_certificate_provider_instance");
            None
        }
    }
}

fn settings(cx: &mut CompileCx<'_>, from: &proto::CertificateValidationContext) -> Option<ValidationSettings> {
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
    // Files of secrets are looked at whatever directory is watched; others never change.
    let _ = watched_directory;
    let before = cx.findings().len();
    unsafe_unbuilt!(cx, ca_certificate_provider_instance, require_signed_certificate_timestamp, custom_validator_config);
    let mut names = cx.each("match_typed_subject_alt_names", match_typed_subject_alt_names, name);
    // The deprecated form fits names of every kind.
    for matcher in cx.each("match_subject_alt_names", match_subject_alt_names, text) {
        let of = |kind| NameMatcher { kind, matcher: matcher.clone() };
        names.extend([NameKind::Dns, NameKind::Uri, NameKind::Email, NameKind::Ip].map(of));
    }
    let hashes = cx.each("verify_certificate_hash", verify_certificate_hash, |cx, text| hash(cx, text, "hex-encoded SHA-256", nuncio_core::from_hex(&text.replace(':', ""))));
    let keys = cx.each("verify_certificate_spki", verify_certificate_spki, |cx, text| {
        hash(cx, text, "base64-encoded SHA-256", STANDARD.decode(text).ok())
    });
    let trusted_ca = match (source(cx, trusted_ca.as_ref()), system_root_certs) {
        (Some(source), _) => Some(Authorities::Pem(source)),
        (None, Some(_)) => Some(Authorities::System),
        (None, None) if trusted_ca.is_some() => return None,
        (None, None) => None,
    };
    let error = trusted_ca.as_ref().and_then(|trusted| trusted.read().err());
    let in_file = matches!(&error, Some(TlsError::InvalidPath(_)));
    match &trusted_ca {
        Some(Authorities::System) if error.is_some() => {
            cx.at("system_root_certs", |cx| {
                cx.value_unsafe_without("a list of authorities that this system does not have");
            });
        }
        _ if in_file => cx.at("trusted_ca", |cx| cx.at("filename", |cx| report(cx, error.as_ref()))),
        _ if error.is_some() => cx.at("trusted_ca", |cx| report(cx, error.as_ref())),
        _ => {}
    }
    let accept_untrusted = *trust_chain_verification == TrustChainVerification::AcceptUntrusted as i32;
    let made = ValidationSettings {
        trusted_ca,
        names,
        hashes,
        keys,
        crl: source(cx, crl.as_ref()),
        only_leaf_crl: *only_verify_leaf_cert_crl,
        allow_expired: *allow_expired_certificate,
        accept_untrusted,
        // Envoy 1.40 takes the field, and chains of any length with it.
        max_depth: max_verify_depth.filter(|_| !cx.mode.parity),
        suppress_client_ca_list: *suppress_client_ca_list,
    };
    (cx.findings().len() == before).then_some(made)
}

fn name(cx: &mut CompileCx<'_>, from: &proto::SubjectAltNameMatcher) -> Option<NameMatcher> {
    let proto::SubjectAltNameMatcher { san_type, matcher, oid } = from;
    let kind = match SanType::try_from(*san_type).unwrap_or_default() {
        SanType::Email => NameKind::Email,
        SanType::Dns => NameKind::Dns,
        SanType::Uri => NameKind::Uri,
        SanType::IpAddress => NameKind::Ip,
        SanType::OtherName => NameKind::Other(oid.as_str().into()),
        SanType::Unspecified => return None,
    };
    let matcher = cx.at("matcher", |cx| text(cx, matcher.as_ref()?))?;
    Some(NameMatcher { kind, matcher })
}

fn text(cx: &mut CompileCx<'_>, from: &nuncio_api::envoy::r#type::matcher::v3::StringMatcher) -> Option<nuncio_core::matching::TextMatch> {
    match nuncio_ext::read::text(from) {
        Ok(matcher) => Some(matcher),
        Err(error) => {
            cx.extension_refusals(vec![error]);
            None
        }
    }
}

fn hash(cx: &mut CompileCx<'_>, text: &str, what: &str, bytes: Option<Vec<u8>>) -> Option<[u8; 32]> {
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if bytes.is_none() {
        cx.error(codes::BAD_VALUE, format!("`{text}` is not a {what}")).envoy(format!("Invalid {what} {text}"));
    }
    bytes
}
