//! Static secrets: each name once for each kind, known to whatever refers to them.

use crate::codes;
use crate::context::{CompileCx, StaticSecret};
use nuncio_api::envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
use prost::Message as _;
use std::collections::HashMap;

pub(super) fn declare(cx: &mut CompileCx<'_>, secrets: &[Secret]) {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    for (index, secret) in secrets.iter().enumerate() {
        let kind = match &secret.r#type {
            Some(Type::TlsCertificate(_)) => "TlsCertificate",
            Some(Type::SessionTicketKeys(_)) => "TlsSessionTicketKeys",
            Some(Type::ValidationContext(_)) => "CertificateValidationContext",
            Some(Type::GenericSecret(_)) => "GenericSecret",
            None => {
                cx.item("secrets", index, |cx| {
                    cx.error(codes::MISSING, "this secret is of no kind: tls_certificate, validation_context, …").envoy("Secret type not implemented");
                });
                continue;
            }
        };
        let path = cx.item("secrets", index, |cx| cx.path());
        let bytes = secret.encode_to_vec();
        cx.static_secrets.push(StaticSecret { name: secret.name.clone(), kind, path, bytes, referenced: false });
        if let Some(first) = seen.insert((kind, &secret.name), index) {
            let path = cx.path();
            cx.item("secrets", index, |cx| {
                cx.at("name", |cx| {
                    cx.error(codes::DUPLICATE_NAME, format!("the secret `{}` stands here twice", secret.name))
                        .also(format!("{path}.secrets[{first}].name"), "first here")
                        .envoy(format!("Duplicate static {kind} secret name {}", secret.name));
                });
            });
        }
    }
}
