//! The compressor's messages, read.

use super::choice::Types;
use super::{COMPRESSOR, COMPRESSOR_REQUEST, COMPRESSOR_RESPONSE, Compressor, Direction, Response};
use crate::compression;
use crate::read::{self, within};
use nuncio_api::envoy::extensions::filters::http::compressor::v3 as proto;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter, RuntimeFlag};
use proto::compressor::{CommonDirectionConfig, RequestDirectionConfig, ResponseDirectionConfig};
use std::{any::Any, sync::Arc};

/// The message.
pub(super) const MESSAGE: &str = "envoy.extensions.filters.http.compressor.v3.Compressor";
/// The message of routes.
pub(super) const ROUTE_MESSAGE: &str = "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute";

/// Bytes of a body that are worth it, unless told.
const MIN_LENGTH: u32 = 30;

/// `CompressorPerRoute`
#[derive(Debug)]
pub(super) enum PerRoute {
    Disabled,
    Overrides { remove_accept_encoding: Option<bool>, library: Option<compression::Library<dyn compression::Encoder>> },
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
fn direction(field: &str, from: &CommonDirectionConfig, default: bool) -> Result<Direction, ConfigError> {
    let CommonDirectionConfig { enabled, min_content_length, content_type, content_type_matcher } = from;
    let matchers = read::each("content_type_matcher", content_type_matcher, read::text).map_err(within(field))?;
    Ok(Direction {
        enabled: match enabled {
            Some(flag) => read::runtime_flag(Some(flag)),
            None => RuntimeFlag { default, key: Box::default() },
        },
        min_length: u64::from(min_content_length.unwrap_or(MIN_LENGTH)),
        types: Arc::new(Types { listed: content_type.clone(), matchers }),
    })
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::Compressor {
        content_length,
        content_type,
        disable_on_etag_header,
        remove_accept_encoding_header,
        runtime_enabled,
        compressor_library,
        request_direction_config,
        response_direction_config,
        choose_first,
    } = read::message(config)?;
    let library = compressor_library.ok_or_else(|| ConfigError::at("compressor_library", "is missing"))?;
    let library = compression::compressor("compressor_library", &library, cx).map_err(within("compressor_library"))?;
    // Without a part of its own, the response has the fields of old.
    let told = response_direction_config.is_some();
    let old = CommonDirectionConfig {
        enabled: runtime_enabled,
        min_content_length: content_length,
        content_type,
        content_type_matcher: Vec::new(),
    };
    let from = response_direction_config.unwrap_or_else(|| ResponseDirectionConfig {
        common_config: Some(old),
        disable_on_etag_header,
        remove_accept_encoding_header,
        ..ResponseDirectionConfig::default()
    });
    let common = from.common_config.clone().unwrap_or_default();
    let response = Response {
        common: direction("response_direction_config.common_config", &common, true)?,
        disable_on_etag: from.disable_on_etag_header,
        weaken_etag: from.weaken_etag_on_compress,
        remove_accept_encoding: from.remove_accept_encoding_header,
        never: from.uncompressible_response_codes.iter().filter_map(|code| u16::try_from(*code).ok()).collect(),
        tell_status: from.status_header_enabled,
    };
    let RequestDirectionConfig { common_config } = request_direction_config.unwrap_or_default();
    let request = direction("request_direction_config.common_config", &common_config.unwrap_or_default(), false)?;
    let prefix = format!("{}compressor.{}.{}.", cx.stat_prefix, library.name, library.kind);
    Ok(Arc::new(Compressor {
        name: cx.filter_name.to_owned(),
        library,
        request,
        response,
        choose_first,
        stats: cx.stats.scope(&prefix, &COMPRESSOR),
        request_stats: cx.stats.scope(&format!("{prefix}request."), &COMPRESSOR_REQUEST),
        response_stats: cx.stats.scope(&if told { format!("{prefix}response.") } else { prefix.clone() }, &COMPRESSOR_RESPONSE),
        choice: cx.state_slot(),
        state: cx.state_slot(),
    }))
}

pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    use proto::compressor_per_route::Override;
    let from: proto::CompressorPerRoute = read::message(config)?;
    Ok(Arc::new(match from.r#override {
        Some(Override::Disabled(_)) => PerRoute::Disabled,
        Some(Override::Overrides(proto::CompressorOverrides { response_direction_config, compressor_library })) => {
            let library = match &compressor_library {
                Some(from) => {
                    let field = "overrides.compressor_library";
                    Some(compression::compressor(field, from, cx).map_err(within(field))?)
                }
                None => None,
            };
            PerRoute::Overrides { remove_accept_encoding: response_direction_config.and_then(|from| from.remove_accept_encoding_header), library }
        }
        None => return Err(ConfigError::at("override", "is missing")),
    }))
}
