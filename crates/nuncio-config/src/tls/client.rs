//! Transport sockets of clusters: plain, and `UpstreamTlsContext`.

use super::{Common, RAW_BUFFER, common, report, secret};
use crate::codes;
use crate::context::{CompileCx, Purpose};
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3 as cluster_proto;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::transport_sockets::tls::v3 as proto;
use nuncio_tls::{ClientSettings, ClientTls, Live, TlsParameters, TlsVersion};
use nuncio_api::envoy::config::core::v3::proxy_protocol_config::Version;
use nuncio_api::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use nuncio_core::proxy_protocol::ProxyVersion;
use std::sync::Arc;
use nuncio_api::envoy::extensions::transport_sockets::internal_upstream::v3::{
    InternalUpstreamTransport, internal_upstream_transport::MetadataValueSource,
};
use nuncio_api::envoy::r#type::metadata::v3::metadata_kind;
use nuncio_upstream::{InternalTransport, MetadataOf, ProxiedTransport, TransportMatch, Transports, UpstreamTransport};
use prost::{Message as _, Name as _};

/// The transport sockets of a cluster. Where one cannot be had, it was reported.
pub(crate) fn compile(cx: &mut CompileCx<'_>, cluster: &cluster_proto::Cluster) -> Transports {
    let default = match &cluster.transport_socket {
        None => None,
        Some(from) => cx.at("transport_socket", |cx| socket(cx, from)),
    };
    let matches = cx.each("transport_socket_matches", &cluster.transport_socket_matches, |cx, from| {
        let cluster_proto::cluster::TransportSocketMatch { name, r#match, transport_socket } = from;
        let transport = match transport_socket {
            None => UpstreamTransport::Plain,
            Some(from) => cx.at("transport_socket", |cx| socket(cx, from))?,
        };
        let criteria = r#match.as_ref().map(nuncio_ext::read::fields).unwrap_or_default();
        Some(TransportMatch { name: name.as_str().into(), criteria, transport })
    });
    Transports { default: default.unwrap_or_default(), matches }
}

fn socket(cx: &mut CompileCx<'_>, from: &core::TransportSocket) -> Option<UpstreamTransport> {
    let core::TransportSocket { name, config_type } = from;
    let Some(core::transport_socket::ConfigType::TypedConfig(config)) = config_type else {
        // By its name alone Envoy would not find it either; whoever reads extensions says so.
        cx.value_unsafe_without(&format!("the transport socket `{name}`"));
        return None;
    };
    if nuncio_api::any_type(config) == RAW_BUFFER {
        return Some(UpstreamTransport::Plain);
    }
    if nuncio_api::any_type(config) == ProxyProtocolUpstreamTransport::full_name() {
        let from = ProxyProtocolUpstreamTransport::decode(config.value.as_slice()).unwrap_or_default();
        return cx.at("typed_config", |cx| proxied(cx, &from));
    }
    if nuncio_api::any_type(config) == InternalUpstreamTransport::full_name() {
        let from = InternalUpstreamTransport::decode(config.value.as_slice()).unwrap_or_default();
        return cx.at("typed_config", |cx| internal(cx, &from));
    }
    if nuncio_api::any_type(config) != proto::UpstreamTlsContext::full_name() {
        cx.value_unsafe_without(&format!("the transport socket `{name}`")).on_key();
        return None;
    }
    cx.at("typed_config", |cx| {
        let from = proto::UpstreamTlsContext::decode(config.value.as_slice()).unwrap_or_default();
        let secrets = from.common_tls_context.as_ref().map(secret::from_files).unwrap_or_default();
        let made = match secrets.is_empty() {
            true => context(cx, &from).map(|built| {
                let identity = built.identity.clone();
                UpstreamTransport::Tls(Live::fixed(built, identity))
            }),
            false => {
                let live = secret::live(cx, secrets, config.value.clone(), move |cx| context(cx, &from));
                Some(UpstreamTransport::Tls(live))
            }
        };
        // Whatever was reported: nothing may start with plain text in the place of TLS.
        if made.is_none() && cx.mode.purpose == Purpose::Start && !cx.has_errors() {
            cx.value_unsafe_without("a part of this TLS context");
        }
        made
    })
}

fn internal(cx: &mut CompileCx<'_>, from: &InternalUpstreamTransport) -> Option<UpstreamTransport> {
    let InternalUpstreamTransport { passthrough_metadata, transport_socket } = from;
    let passthrough = cx.each("passthrough_metadata", passthrough_metadata, |cx, from| {
        let MetadataValueSource { kind, name } = from;
        let of = match kind.as_ref()?.kind.as_ref()? {
            metadata_kind::Kind::Host(_) => MetadataOf::Host,
            metadata_kind::Kind::Cluster(_) => MetadataOf::Cluster,
            metadata_kind::Kind::Request(_) | metadata_kind::Kind::Route(_) => {
                cx.at("kind", |cx| {
                    cx.error(codes::BAD_VALUE, "only metadata of hosts and clusters go along with connections").envoy("metadata type is not supported: ");
                });
                return None;
            }
        };
        Some((of, name.as_str().into()))
    });
    let inner = cx.at("transport_socket", |cx| socket(cx, transport_socket.as_ref()?))?;
    Some(UpstreamTransport::Internal(Arc::new(InternalTransport { passthrough, inner })))
}

fn proxied(cx: &mut CompileCx<'_>, from: &ProxyProtocolUpstreamTransport) -> Option<UpstreamTransport> {
    // Every client has connections of its own, whatever its TLVs are. Whoever has no IP address is not told of.
    let ProxyProtocolUpstreamTransport { config, transport_socket, allow_unspecified_address: _, tlv_as_pool_key: _ } = from;
    let core::ProxyProtocolConfig { version, pass_through_tlvs, added_tlvs } = config.clone().unwrap_or_default();
    let added = cx.at("config", |cx| {
        cx.each("added_tlvs", &added_tlvs, |cx, tlv| {
            let core::TlvEntry { r#type: kind, value, format_string } = tlv;
            unbuilt!(cx, format_string);
            Some((u8::try_from(*kind).ok()?, value.clone()))
        })
    });
    let inner = cx.at("transport_socket", |cx| socket(cx, transport_socket.as_ref()?))?;
    Some(UpstreamTransport::Proxied(Arc::new(ProxiedTransport {
        version: if version == Version::V2 as i32 { ProxyVersion::V2 } else { ProxyVersion::V1 },
        pass_through: crate::listeners::pass_through(pass_through_tlvs.as_ref()),
        added,
        inner,
    })))
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
fn context(cx: &mut CompileCx<'_>, from: &proto::UpstreamTlsContext) -> Option<ClientTls> {
    let proto::UpstreamTlsContext {
        common_tls_context,
        sni,
        auto_host_sni,
        auto_sni_san_validation,
        allow_renegotiation,
        max_session_keys,
        enforce_rsa_key_usage,
    } = from;
    unbuilt!(cx, allow_renegotiation, enforce_rsa_key_usage);
    let newest = TlsVersion::Tls12;
    let common = match common_tls_context {
        Some(from) => cx.at("common_tls_context", |cx| common(cx, from, newest))?,
        None => Common {
            certificates: Vec::new(),
            alpn: Vec::new(),
            parameters: TlsParameters { max_version: newest, ..TlsParameters::default() },
            validation: None,
        },
    };
    if *auto_sni_san_validation && common.validation.is_none() {
        cx.at("auto_sni_san_validation", |cx| {
            cx.error(codes::CONFLICT, "names of certificates cannot be checked without a validation_context")
                .envoy("'auto_sni_san_validation' was configured without a validation context");
        });
        return None;
    }
    let settings = ClientSettings {
        certificate: common.certificates.into_iter().next(),
        alpn: common.alpn,
        parameters: common.parameters,
        validation: common.validation,
        sni: sni.clone(),
        auto_host_sni: *auto_host_sni,
        auto_sni_san_validation: *auto_sni_san_validation,
        max_session_keys: max_session_keys.unwrap_or(1),
        origin: from.encode_to_vec(),
    };
    match ClientTls::build(settings) {
        Ok(built) => {
            for warning in &built.warnings {
                cx.warn(codes::WITHOUT_EFFECT, warning.clone());
            }
            Some(built)
        }
        Err(error) => {
            report(cx, Some(&error));
            None
        }
    }
}
