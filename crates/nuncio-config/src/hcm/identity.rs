//! Who the client is, and what is told about it.

use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use nuncio_http::config::{Cidr, ClientAddress, ClientCertRules, ForwardClientCert};
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn client_address(cx: &mut CompileCx<'_>, from: &proto::HttpConnectionManager) -> ClientAddress {
    let mut made = ClientAddress {
        use_remote_address: from.use_remote_address.unwrap_or(false),
        trusted_hops: from.xff_num_trusted_hops,
        skip_xff_append: from.skip_xff_append,
        append_port: from.append_x_forwarded_port,
        ipv4_mapped: from.represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        detectors: Vec::new(),
        internal: Vec::new(),
        internal_unix: false,
    };
    if let Some(proto::http_connection_manager::InternalAddressConfig { unix_sockets, cidr_ranges }) = &from.internal_address_config {
        cx.at("internal_address_config", |cx| {
            made.internal_unix = *unix_sockets;
            made.internal = cx.each("cidr_ranges", cidr_ranges, cidr);
        });
    }
    made
}

/// An address range.
pub(crate) fn cidr(cx: &mut CompileCx<'_>, from: &core::CidrRange) -> Option<Cidr> {
    let core::CidrRange { address_prefix, prefix_len } = from;
    let length = prefix_len.unwrap_or(0);
    match (address_prefix.parse::<IpAddr>(), u8::try_from(length)) {
        (Ok(address), Ok(length)) => Some(Cidr::new(address, length)),
        _ => {
            cx.at("address_prefix", |cx| {
                cx.error(codes::BAD_ADDRESS, format!("`{address_prefix}` is not an IP address"))
                    .envoy(format!("invalid ip/mask combo '{address_prefix}/{length}' (format is <ip>/<# mask bits>)"));
            });
            None
        }
    }
}

/// Only Envoy's own kind of request ids is there; what it says of tracing is read with that.
pub(crate) fn request_id(cx: &mut CompileCx<'_>, from: Option<&proto::RequestIdExtension>) {
    const UUID: &str = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";
    let Some(config) = from.and_then(|f| f.typed_config.as_ref()) else { return };
    cx.at("request_id_extension", |cx| {
        cx.at("typed_config", |cx| {
            if nuncio_api::schema::type_name(&config.type_url) != UUID {
                cx.value_without_effect("this kind of request ids").note("they are UUIDs");
            }
        });
    });
}

pub(super) fn scheme(cx: &mut CompileCx<'_>, from: Option<&core::SchemeHeaderTransformation>) -> Option<Arc<str>> {
    let core::SchemeHeaderTransformation { match_upstream, transformation } = from?;
    cx.at("scheme_header_transformation", |cx| unbuilt!(cx, match_upstream));
    let core::scheme_header_transformation::Transformation::SchemeToOverwrite(scheme) = transformation.as_ref()?;
    Some(scheme.as_str().into())
}

/// What hosts learn of the client's certificate.
pub(super) fn client_cert(
    cx: &mut CompileCx<'_>,
    forward: i32,
    set: Option<&proto::http_connection_manager::SetCurrentClientCertDetails>,
) -> ClientCertRules {
    use proto::http_connection_manager::ForwardClientCertDetails as Details;
    let forward = match Details::try_from(forward).unwrap_or_default() {
        Details::Sanitize => ForwardClientCert::Sanitize,
        Details::ForwardOnly => ForwardClientCert::ForwardOnly,
        Details::AppendForward => ForwardClientCert::AppendForward,
        Details::SanitizeSet => ForwardClientCert::SanitizeSet,
        Details::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
    };
    let Some(set) = set else { return ClientCertRules { forward, ..ClientCertRules::default() } };
    let proto::http_connection_manager::SetCurrentClientCertDetails { subject, cert, chain, dns, uri, issuer, format } = *set;
    cx.at("set_current_client_cert_details", |cx| unbuilt!(cx, format));
    ClientCertRules { forward, subject: subject.unwrap_or(false), cert, chain, dns, uri, issuer }
}
