//! What the connection manager's extensions make of a request before anything else looks at it: who its client is
//! (`original_ip_detection_extensions`), and changes of its headers (`early_header_mutation_extensions`).

use super::identity;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_api::envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation;
use nuncio_api::envoy::extensions::http::original_ip_detection::custom_header::v3::CustomHeaderConfig;
use nuncio_api::envoy::extensions::http::original_ip_detection::xff::v3::{XffConfig, XffTrustedCidrs};
use nuncio_codec::headers::HeaderName;
use nuncio_http::config::{Detector, Trusted};
use nuncio_http::routes::HeaderMutations;
use prost::{Message as _, Name as _};

/// The list `original_ip_detection_extensions`.
pub(super) fn detectors(cx: &mut CompileCx<'_>, list: &[TypedExtensionConfig]) -> Vec<Detector> {
    cx.each("original_ip_detection_extensions", list, |cx, extension| {
        let TypedExtensionConfig { name, typed_config } = extension;
        let config = typed_config.as_ref()?;
        let message = nuncio_api::schema::type_name(&config.type_url);
        cx.at("typed_config", |cx| {
            if message == XffConfig::full_name() {
                xff(cx, &XffConfig::decode(config.value.as_slice()).ok()?)
            } else if message == CustomHeaderConfig::full_name() {
                custom_header(cx, &CustomHeaderConfig::decode(config.value.as_slice()).ok()?)
            } else {
                cx.value_without_effect(&format!("the extension `{name}`"));
                None
            }
        })
    })
}

fn xff(cx: &mut CompileCx<'_>, from: &XffConfig) -> Option<Detector> {
    let XffConfig { xff_num_trusted_hops, xff_trusted_cidrs, skip_xff_append } = from;
    let trusted = match xff_trusted_cidrs {
        None => Trusted::Hops(*xff_num_trusted_hops),
        Some(_) if *xff_num_trusted_hops > 0 => {
            cx.at("xff_num_trusted_hops", |cx| {
                cx.error(codes::CONFLICT, "xff_num_trusted_hops and xff_trusted_cidrs exclude each other")
                    .envoy("Cannot set both xff_num_trusted_hops and xff_trusted_cidrs")
                    .on_key();
            });
            return None;
        }
        Some(XffTrustedCidrs { cidrs }) => {
            Trusted::Ranges(cx.at("xff_trusted_cidrs", |cx| cx.each("cidrs", cidrs, identity::cidr)).into())
        }
    };
    Some(Detector::ForwardedFor { trusted, append: !skip_xff_append.unwrap_or(true) })
}

fn custom_header(cx: &mut CompileCx<'_>, from: &CustomHeaderConfig) -> Option<Detector> {
    let CustomHeaderConfig { header_name, allow_extension_to_set_address_as_trusted, reject_with_status } = from;
    let Some(name) = HeaderName::new(header_name) else {
        cx.at("header_name", |cx| {
            cx.error(codes::BAD_HEADER, format!("`{}` cannot be the name of a header", header_name.escape_debug()));
        });
        return None;
    };
    // An answer that is no refusal would let the client believe that its request was served.
    let refusal = |code: i32| u16::try_from(code).ok().filter(|code| (400..600).contains(code)).unwrap_or(403);
    Some(Detector::Header {
        name,
        trusted: *allow_extension_to_set_address_as_trusted,
        reject: reject_with_status.as_ref().map(|status| refusal(status.code)),
    })
}

/// The list `early_header_mutation_extensions`.
pub(super) fn mutations(cx: &mut CompileCx<'_>, list: &[TypedExtensionConfig]) -> Vec<HeaderMutations> {
    let made = cx.each("early_header_mutation_extensions", list, |cx, extension| {
        let TypedExtensionConfig { name, typed_config } = extension;
        let config = typed_config.as_ref()?;
        cx.at("typed_config", |cx| {
            if nuncio_api::schema::type_name(&config.type_url) != HeaderMutation::full_name() {
                cx.value_without_effect(&format!("the extension `{name}`"));
                return None;
            }
            let HeaderMutation { mutations } = HeaderMutation::decode(config.value.as_slice()).ok()?;
            Some(cx.each("mutations", &mutations, crate::routes::header_mutation))
        })
    });
    made.into_iter().flatten().collect()
}
