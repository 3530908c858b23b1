//! Who the client is, and what is told about it.

use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use nuncio_http::config::{Cidr, ClientAddress, ClientCertRules, ForwardClientCert, ProxyStatus};
use nuncio_api::xds::{core::v3::TypedExtensionConfig, r#type::matcher::v3::Matcher};
use nuncio_core::{ConfigError, matching::tree::MatchTree};
use nuncio_ext::matcher::{self, Findings, Place};
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
        https_ports: Box::default(),
        http_ports: Box::default(),
    };
    if let Some(proto::ForwardProtoConfig { https_destination_ports, http_destination_ports }) = &from.forward_proto_config {
        // Others are no ports, and fit none.
        let ports = |of: &[u32]| of.iter().filter_map(|port| u16::try_from(*port).ok()).collect();
        made.https_ports = ports(https_destination_ports);
        made.http_ports = ports(http_destination_ports);
    }
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

/// What hosts learn of the certificates of some requests' clients.
pub(super) fn client_cert_matcher(cx: &mut CompileCx<'_>, from: &Matcher) -> Option<Arc<MatchTree<ClientCertRules>>> {
    const ACTION: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertConfig";
    use proto::http_connection_manager::ForwardClientCertConfig;
    cx.at("forward_client_cert_matcher", |cx| {
        let mut findings = Findings::default();
        let mut action = |place: &str, config: &TypedExtensionConfig, findings: &mut Findings| match matcher::type_of(config) {
            ACTION => {
                let ForwardClientCertConfig { forward_client_cert_details, set_current_client_cert_details } =
                    matcher::message(config).map_err(|error| findings.errors.push(error)).ok()?;
                Some(client_cert(forward_client_cert_details, set_current_client_cert_details.as_ref()))
            }
            other => {
                let message = format!("`{other}` is no action here: it leads to a ForwardClientCertConfig");
                findings.errors.push(ConfigError::at(place, message));
                None
            }
        };
        let tree = matcher::read(from, Place::Routes, &mut action, &mut findings);
        crate::routes::report_matcher(cx, findings);
        tree.map(Arc::new)
    })
}

/// How responses tell what went wrong. That it is the node's id is said by naming the field, whatever its value.
pub(super) fn proxy_status(cx: &CompileCx<'_>, from: &proto::http_connection_manager::ProxyStatusConfig, server_name: &str) -> ProxyStatus {
    use proto::http_connection_manager::proxy_status_config::ProxyName;
    let proto::http_connection_manager::ProxyStatusConfig {
        remove_details,
        remove_connection_termination_details,
        remove_response_flags,
        set_recommended_response_code,
        proxy_name,
    } = from;
    ProxyStatus {
        proxy: match proxy_name {
            Some(ProxyName::UseNodeId(_)) => cx.identity.id.as_ref().into(),
            Some(ProxyName::LiteralProxyName(name)) => name.as_str().into(),
            None => server_name.into(),
        },
        details: !remove_details,
        termination_details: !remove_connection_termination_details,
        response_flags: !remove_response_flags,
        recommended_status: *set_recommended_response_code,
    }
}

/// What hosts learn of the client's certificate.
pub(super) fn client_cert(
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
    let json = format == proto::http_connection_manager::ForwardClientCertFormat::Json as i32;
    ClientCertRules { forward, subject: subject.unwrap_or(false), cert, chain, dns, uri, issuer, json }
}
