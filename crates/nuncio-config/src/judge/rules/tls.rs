//! TLS: certificates, keys and trusted certificates are read as Envoy reads them.

use base64::{Engine, engine::general_purpose::STANDARD};
use super::data_source::{read, shown};
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3::DataSource;
use nuncio_api::envoy::extensions::transport_sockets::tls::v3 as proto;

/// A server needs a certificate, from somewhere.
#[allow(deprecated)]
pub(super) fn downstream(cx: &mut CompileCx<'_>, context: &proto::DownstreamTlsContext) {
    let Some(common) = &context.common_tls_context else { return missing(cx) };
    let has = !common.tls_certificates.is_empty()
        || !common.tls_certificate_sds_secret_configs.is_empty()
        || common.tls_certificate_provider_instance.is_some()
        || common.tls_certificate_certificate_provider.is_some()
        || common.tls_certificate_certificate_provider_instance.is_some()
        || common.custom_tls_certificate_selector.is_some()
        || common.custom_handshaker.is_some();
    if !has {
        missing(cx);
    }
}

fn missing(cx: &mut CompileCx<'_>) {
    cx.error(codes::MISSING, "a TLS server needs a certificate: common_tls_context.tls_certificates")
        .envoy("No TLS certificates found for server context");
}

/// A client has one certificate at most.
pub(super) fn upstream(cx: &mut CompileCx<'_>, context: &proto::UpstreamTlsContext) {
    let Some(common) = &context.common_tls_context else { return };
    if common.tls_certificates.len() + common.tls_certificate_sds_secret_configs.len() > 1 {
        cx.at("common_tls_context", |cx| {
            cx.at("tls_certificates", |cx| {
                cx.error(codes::CONFLICT, "a TLS client has one certificate at most")
                    .envoy("Multiple TLS certificates are not supported for client contexts");
            });
        });
    }
}

pub(super) fn certificate(cx: &mut CompileCx<'_>, certificate: &proto::TlsCertificate) {
    if certificate.pkcs12.is_some() || certificate.private_key_provider.is_some() {
        return;
    }
    let chain = certificate.certificate_chain.as_ref();
    if let Some(bytes) = read(chain).filter(|bytes| !bytes.is_empty())
        && !holds(&bytes, "CERTIFICATE") {
            cx.at("certificate_chain", |cx| {
                cx.error(codes::BAD_CERTIFICATE, "there is no certificate in PEM form in it")
                    .envoy(format!("Failed to load certificate chain from {}", shown(chain)));
            });
            return;
        }
    let key = certificate.private_key.as_ref();
    if let Some(bytes) = read(key).filter(|bytes| !bytes.is_empty())
        && !holds(&bytes, "PRIVATE KEY") {
            cx.at("private_key", |cx| {
                cx.error(codes::BAD_CERTIFICATE, "there is no private key in PEM form in it").envoy(format!(
                    "Failed to load private key from {}, Cause: error:0900006e:PEM routines:OPENSSL_internal:NO_START_LINE",
                    shown(key)
                ));
            });
        }
    incomplete(cx, chain, key);
}

/// A certificate and its key come together.
fn incomplete(cx: &mut CompileCx<'_>, chain: Option<&DataSource>, key: Option<&DataSource>) {
    // A file that is not there is reported already.
    let empty = |source: Option<&DataSource>| source.is_none() || read(source).is_some_and(|b| b.is_empty());
    match (empty(chain), empty(key)) {
        (true, true) => cx
            .error(codes::MISSING, "neither a certificate nor a key is set")
            .envoy("Server TlsCertificates must have a certificate specified"),
        (true, false) => cx
            .error(codes::MISSING, "a private key needs its certificate")
            .envoy("Failed to load incomplete certificate from : certificate chain not set"),
        (false, true) => cx.error(codes::MISSING, "a certificate needs its private key").envoy("Failed to load incomplete private key from path: "),
        (false, false) => return,
    };
}

/// Secrets that are referred to by name alone must be among the static ones.
pub(super) fn common(cx: &mut CompileCx<'_>, context: &proto::CommonTlsContext) {
    use proto::common_tls_context::ValidationContextType;
    for (index, config) in context.tls_certificate_sds_secret_configs.iter().enumerate() {
        cx.item("tls_certificate_sds_secret_configs", index, |cx| static_secret(cx, config, "TlsCertificate", "Unknown static secret"));
    }
    let validation = "Unknown static certificate validation context";
    match &context.validation_context_type {
        Some(ValidationContextType::ValidationContext(validation)) => cx.at("validation_context", |cx| names_need_authority(cx, validation)),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => cx.at("validation_context_sds_secret_config", |cx| {
            static_secret(cx, config, "CertificateValidationContext", validation);
        }),
        Some(ValidationContextType::CombinedValidationContext(combined)) => cx.at("combined_validation_context", |cx| {
            if let Some(config) = &combined.validation_context_sds_secret_config {
                cx.at("validation_context_sds_secret_config", |cx| static_secret(cx, config, "CertificateValidationContext", validation));
            }
        }),
        _ => {}
    }
    // With secrets to come the context is made later.
    if let Some(parameters) = context.tls_params.as_ref().filter(|_| context.tls_certificate_sds_secret_configs.is_empty()) {
        cx.at("tls_params", |cx| unknown_ciphers(cx, parameters));
    }
}

/// A name in a certificate that nobody vouches for.
#[allow(deprecated)]
fn names_need_authority(cx: &mut CompileCx<'_>, context: &proto::CertificateValidationContext) {
    let names = !context.match_typed_subject_alt_names.is_empty() || !context.match_subject_alt_names.is_empty();
    let authority = context.trusted_ca.is_some() || context.ca_certificate_provider_instance.is_some() || context.system_root_certs.is_some();
    if names && !authority {
        cx.error(codes::MISSING, "names of certificates say nothing without trusted_ca")
            .envoy("SAN-based verification of peer certificates without trusted CA is insecure and not allowed");
    }
}

/// Finds a static secret and marks it as used.
pub(super) fn static_secret(cx: &mut CompileCx<'_>, config: &proto::SdsSecretConfig, kind: &str, envoy: &str) {
    if config.sds_config.is_some() {
        return;
    }
    let name = &config.name;
    if let Some(secret) = cx.static_secrets.iter_mut().find(|s| s.kind == kind && s.name == *name) {
        secret.referenced = true;
        return;
    }
    let near = crate::nearest(name, cx.static_secrets.iter().filter(|s| s.kind == kind).map(|s| s.name.as_str())).map(str::to_owned);
    let finding = cx.error(codes::MISSING, format!("there is no static secret `{name}` of this kind"));
    finding.envoy(format!("{envoy}: {name}")).help("declare it in static_resources.secrets, or name its source in sds_config");
    if let Some(near) = near {
        finding.help(format!("did you mean `{near}`?"));
    }
}

/// Names of cipher suites have the form of OpenSSL's; anything else is a slip.
fn unknown_ciphers(cx: &mut CompileCx<'_>, parameters: &proto::TlsParameters) {
    for (index, entry) in parameters.cipher_suites.iter().enumerate() {
        let names = entry.trim_matches(['[', ']']).split('|');
        let odd = names.into_iter().find(|name| !name.contains('-') && !name.contains('_') && !["ALL", "HIGH", "ECDHE", "RSA", "AES"].contains(name));
        if let Some(name) = odd {
            cx.item("cipher_suites", index, |cx| {
                cx.error(codes::BAD_VALUE, format!("`{name}` is not a cipher suite"))
                    .envoy(format!("Failed to initialize cipher suites {entry}. The following ciphers were rejected when tried individually: {name}"));
            });
        }
    }
    const CURVES: [&str; 8] = ["X25519", "P-256", "P-384", "P-521", "X25519MLKEM768", "X25519Kyber768Draft00", "secp384r1", "prime256v1"];
    for (index, curve) in parameters.ecdh_curves.iter().enumerate() {
        if !CURVES.iter().any(|known| known.eq_ignore_ascii_case(curve)) && !curve.starts_with("P-") && !curve.starts_with("secp") {
            cx.item("ecdh_curves", index, |cx| {
                cx.error(codes::BAD_VALUE, format!("`{curve}` is not a curve")).envoy(format!("Failed to initialize ECDH curves {curve}"));
            });
        }
    }
}

pub(super) fn validation(cx: &mut CompileCx<'_>, context: &proto::CertificateValidationContext) {
    let trusted = context.trusted_ca.as_ref();
    let Some(bytes) = read(trusted) else { return };
    if !holds(&bytes, "CERTIFICATE") && !holds(&bytes, "X509 CRL") {
        cx.at("trusted_ca", |cx| {
            cx.error(codes::BAD_CERTIFICATE, "there is no certificate in PEM form in it")
                .envoy(format!("Failed to load trusted CA certificates from {}", shown(trusted)));
        });
    }
}

/// A PEM block whose label ends so, with DER in it.
fn holds(bytes: &[u8], label: &str) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = &rest[at + 11..];
        let Some((name, body)) = rest.split_once("-----") else { return false };
        let Some(end) = body.find("-----END ") else { return false };
        if name.ends_with(label) && is_der(&body[..end]) {
            return true;
        }
        rest = &body[end..];
    }
    false
}

/// Base64 of one ASN.1 sequence of the length it claims. An encrypted key has header lines before.
fn is_der(body: &str) -> bool {
    if body.contains("Proc-Type:") {
        return true;
    }
    let digits: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let Ok(der) = STANDARD.decode(&digits) else { return false };
    let [0x30, first, rest @ ..] = der.as_slice() else { return false };
    let (length, content) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 if rest.len() >= usize::from(first & 0x7f) => {
            let (head, content) = rest.split_at(usize::from(first & 0x7f));
            (head.iter().fold(0, |n, b| n << 8 | usize::from(*b)), content)
        }
        _ => return false,
    };
    content.len() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_holds_der_or_nothing() {
        assert!(holds(b"x\n-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n", "CERTIFICATE"));
        assert!(!holds(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "CERTIFICATE"));
        assert!(!holds(b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n", "PRIVATE KEY"));
        assert!(!holds(b"hello", "CERTIFICATE"));
    }
}
