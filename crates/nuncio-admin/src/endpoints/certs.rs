//! `/certs`: certificates in use and when they expire.

use super::Endpoint;
use crate::response::AdminResponse;
use crate::view::Certificate;
use nuncio_api::Json;

pub(super) const CERTS: Endpoint = Endpoint {
    path: "/certs",
    help: "print certs on machine",
    command: false,
    params: &[],
    answer: |_, cx| {
        let list =
            |certificates: &[Certificate]| Json::List(certificates.iter().map(json).collect());
        let contexts = cx.certificates();
        let contexts = contexts.iter().map(|context| {
            Json::object(vec![
                ("ca_cert", list(&context.ca_cert)),
                ("cert_chain", list(&context.cert_chain)),
            ])
        });
        AdminResponse::json(&Json::object(vec![(
            "certificates",
            Json::List(contexts.collect()),
        )]))
    },
};

/// `envoy.admin.v3.CertificateDetails`, members that are empty included.
fn json(certificate: &Certificate) -> Json {
    let names = certificate.subject_alt_names.iter();
    let names = names
        .map(|(kind, name)| Json::object(vec![(*kind, Json::text(name))]))
        .collect();
    Json::object(vec![
        ("path", Json::text(&certificate.path)),
        ("serial_number", Json::text(&certificate.serial_number)),
        ("subject_alt_names", Json::List(names)),
        (
            "days_until_expiration",
            Json::text(certificate.days_until_expiration.to_string()),
        ),
        ("valid_from", Json::text(&certificate.valid_from)),
        ("expiration_time", Json::text(&certificate.expiration_time)),
    ])
}
