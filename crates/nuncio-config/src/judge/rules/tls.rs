//! TLS: certificates, keys and trusted certificates are read as Envoy reads them.

use super::data_source::{read, shown};
use crate::codes;
use crate::context::CompileCx;
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
    if common.tls_certificates.len() > 1 {
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
    if let Some(bytes) = read(chain) {
        if !holds(&bytes, "CERTIFICATE") {
            cx.at("certificate_chain", |cx| {
                cx.error(codes::BAD_CERTIFICATE, "there is no certificate in PEM form in it")
                    .envoy(format!("Failed to load certificate chain from {}", shown(chain)));
            });
            return;
        }
    }
    let key = certificate.private_key.as_ref();
    if let Some(bytes) = read(key) {
        if !holds(&bytes, "PRIVATE KEY") {
            cx.at("private_key", |cx| {
                cx.error(codes::BAD_CERTIFICATE, "there is no private key in PEM form in it").envoy(format!(
                    "Failed to load private key from {}, Cause: error:0900006e:PEM routines:OPENSSL_internal:NO_START_LINE",
                    shown(key)
                ));
            });
        }
    }
    // A key is redacted, but a certificate without one serves nobody.
    if chain.is_some() && key.is_none() {
        cx.error(codes::MISSING, "a certificate needs its private key").envoy(format!("Failed to load incomplete private key from path: {}", ""));
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
    let Some(der) = base64(&digits) else { return false };
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

fn base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(body.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
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
