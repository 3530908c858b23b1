//! Transport sockets of filter chains: plain, and `DownstreamTlsContext`.

use super::{RAW_BUFFER, common, report, secret};
use crate::codes;
use crate::context::{CompileCx, Purpose};
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::transport_sockets::tls::v3 as proto;
use nuncio_listen::Transport;
use nuncio_tls::{Live, OcspPolicy, TlsConfig, TlsSettings, TlsVersion};
use prost::{Message as _, Name as _};
use proto::downstream_tls_context::{OcspStaplePolicy, SessionTicketKeysType};

/// Compiles a transport socket; `None` after a report. What is not built is unsafe to ignore: no connection is left in
/// plain text in the place of TLS.
pub(crate) fn compile(cx: &mut CompileCx<'_>, from: &core::TransportSocket) -> Option<Transport> {
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
            let secrets = from.common_tls_context.as_ref().map(secret::from_files).unwrap_or_default();
            if secrets.is_empty() {
                return downstream(cx, &from).map(|built| Transport::Tls(Live::fixed(built, config.value.clone())));
            }
            Some(Transport::Tls(secret::live(cx, secrets, config.value.clone(), move |cx| downstream(cx, &from))))
        }
        _ => {
            cx.value_unsafe_without(&format!("the transport socket `{name}`"));
            None
        }
    })
}

fn downstream(cx: &mut CompileCx<'_>, from: &proto::DownstreamTlsContext) -> Option<TlsConfig> {
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
    unbuilt!(cx, full_scan_certs_on_sni_mismatch);
    let (mut stateless_resumption, mut ticket_keys) = (true, Vec::new());
    match session_ticket_keys_type {
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(disabled)) => stateless_resumption = !disabled,
        Some(SessionTicketKeysType::SessionTicketKeys(keys)) => ticket_keys = cx.at("session_ticket_keys", |cx| keys_of(cx, keys)),
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(config)) => {
            ticket_keys = cx.at("session_ticket_keys_sds_secret_config", |cx| match secret::secret(cx, config, "TlsSessionTicketKeys") {
                Some(proto::secret::Type::SessionTicketKeys(keys)) => keys_of(cx, &keys),
                _ => Vec::new(),
            });
        }
        None => {}
    }
    let ocsp = match OcspStaplePolicy::try_from(*ocsp_staple_policy).unwrap_or_default() {
        OcspStaplePolicy::LenientStapling => OcspPolicy::Lenient,
        OcspStaplePolicy::StrictStapling => OcspPolicy::Strict,
        OcspStaplePolicy::MustStaple => OcspPolicy::Must,
    };
    let mut settings = TlsSettings {
        require_client_certificate: require_client_certificate.unwrap_or(false),
        require_sni: require_sni.unwrap_or(false),
        ocsp,
        ticket_keys,
        session_timeout: cx.duration("session_timeout", session_timeout.as_ref()),
        prefer_client_ciphers: *prefer_client_ciphers,
        stateless_resumption,
        stateful_resumption: !disable_stateful_session_resumption,
        ..TlsSettings::default()
    };
    if let Some(from) = common_tls_context {
        let Some(common) = cx.at("common_tls_context", |cx| common(cx, from, TlsVersion::Tls13)) else {
            // Whatever was reported: nothing may start with plain text in the place of TLS.
            if cx.mode.purpose == Purpose::Start && !cx.has_errors() {
                cx.value_unsafe_without("a part of this TLS context");
            }
            return None;
        };
        settings.certificates = common.certificates;
        settings.alpn = common.alpn;
        settings.parameters = common.parameters;
        settings.validation = common.validation;
    }
    if settings.require_client_certificate && settings.validation.is_none() {
        // Envoy asks nobody for a certificate then.
        if !cx.mode.parity {
            cx.value_unsafe_without("`require_client_certificate` without a validation_context")
                .note("Envoy asks no client for a certificate then");
        }
        settings.require_client_certificate = false;
    }
    if settings.require_sni && cx.mode.parity {
        settings.require_sni = false;
    }
    match TlsConfig::build(&settings) {
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

/// Keys of session tickets.
fn keys_of(cx: &mut CompileCx<'_>, from: &proto::TlsSessionTicketKeys) -> Vec<Vec<u8>> {
    cx.each("keys", &from.keys, |cx, key| match super::source(cx, Some(key))?.read() {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            report(cx, Some(&error));
            None
        }
    })
}
