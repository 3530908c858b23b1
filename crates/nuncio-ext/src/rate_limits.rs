//! `envoy.config.route.v3.RateLimit` → [`RateLimitPolicy`]: for routes, virtual hosts and the rate limit filters.

use crate::read::{self, within};
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_core::ConfigError;
use nuncio_core::rate_limit::{DescriptorValue, Hits, LimitOverride, LimitSource, RateLimitAction, RateLimitPolicy};
use proto::rate_limit::r#override::{DynamicMetadata, OverrideSpecifier};
use proto::rate_limit::action::{self, ActionSpecifier, meta_data::Source};

/// Reads a policy; what has no effect is added to `warnings`.
pub fn policy(from: &proto::RateLimit, service_cluster: &str, warnings: &mut Vec<ConfigError>) -> Result<RateLimitPolicy, ConfigError> {
    let proto::RateLimit { stage, disable_key, actions, limit, hits_addend, apply_on_stream_done, x_ratelimit_option } = from;
    let mut unbuilt = |field: &str, set: bool| {
        if set {
            warnings.push(ConfigError::at(field, "is accepted without effect: it is not built yet"));
        }
    };
    unbuilt("x_ratelimit_option", *x_ratelimit_option != 0);
    let addend = hits_addend.as_ref();
    let hits = match addend {
        Some(addend) if !addend.format.is_empty() => Hits::Format(read::format(&addend.format, warnings).map_err(within("hits_addend.format"))?),
        Some(addend) => addend.number.map_or(Hits::One, Hits::Number),
        None => Hits::One,
    };
    let limit = limit.as_ref().and_then(|limit| limit.override_specifier.as_ref());
    let limit = limit.map(limit_source).transpose().map_err(within("limit"))?;
    let mut made = Vec::with_capacity(actions.len());
    for (index, one) in actions.iter().enumerate() {
        made.push(action(one, service_cluster, warnings).map_err(within(&format!("actions[{index}]")))?);
    }
    Ok(RateLimitPolicy {
        stage: stage.unwrap_or(0),
        disable_key: disable_key.as_str().into(),
        actions: made.into(),
        hits,
        negative_hits: addend.is_some_and(|addend| addend.is_negative_hits),
        limit,
        on_stream_done: *apply_on_stream_done,
    })
}

fn limit_source(from: &OverrideSpecifier) -> Result<LimitSource, ConfigError> {
    Ok(match from {
        OverrideSpecifier::DynamicMetadata(DynamicMetadata { metadata_key }) => {
            let key = metadata_key.as_ref().map(read::metadata_key).transpose().map_err(within("dynamic_metadata.metadata_key"))?;
            let (namespace, path) = key.unwrap_or_default();
            LimitSource::Metadata { namespace, path }
        }
        OverrideSpecifier::RateLimit(limit) => {
            LimitSource::Fixed(LimitOverride { requests_per_unit: limit.requests_per_unit, unit: limit.unit().as_str_name().into() })
        }
    })
}

fn action(from: &proto::rate_limit::Action, service_cluster: &str, warnings: &mut Vec<ConfigError>) -> Result<RateLimitAction, ConfigError> {
    let Some(specifier) = &from.action_specifier else { return Err(ConfigError::at("", "this says nothing")) };
    let or = |key: &str, default: &str| -> Box<str> { if key.is_empty() { default.into() } else { key.into() } };
    let bits = |told: Option<u32>, all: u8| told.map_or(all, |n| u8::try_from(n).unwrap_or(all));
    Ok(match specifier {
        ActionSpecifier::SourceCluster(action::SourceCluster {}) => RateLimitAction::SourceCluster(service_cluster.into()),
        ActionSpecifier::DestinationCluster(action::DestinationCluster {}) => RateLimitAction::DestinationCluster,
        ActionSpecifier::RequestHeaders(action::RequestHeaders { header_name, descriptor_key, skip_if_absent }) => {
            let name = read::header_name(header_name).map_err(within("request_headers.header_name"))?;
            RateLimitAction::RequestHeader { name, key: descriptor_key.as_str().into(), skip_if_absent: *skip_if_absent }
        }
        ActionSpecifier::QueryParameters(action::QueryParameters { query_parameter_name, descriptor_key, skip_if_absent }) => {
            let name = query_parameter_name.as_bytes().into();
            RateLimitAction::QueryParameter { name, key: descriptor_key.as_str().into(), skip_if_absent: *skip_if_absent }
        }
        ActionSpecifier::RemoteAddress(action::RemoteAddress {}) => RateLimitAction::RemoteAddress,
        ActionSpecifier::MaskedRemoteAddress(action::MaskedRemoteAddress { v4_prefix_mask_len, v6_prefix_mask_len }) => {
            RateLimitAction::MaskedRemoteAddress { v4: bits(*v4_prefix_mask_len, 32), v6: bits(*v6_prefix_mask_len, 128) }
        }
        ActionSpecifier::GenericKey(action::GenericKey { descriptor_value, default_value, descriptor_key }) => RateLimitAction::GenericKey {
            key: or(descriptor_key, "generic_key"),
            value: value(descriptor_value, default_value, warnings).map_err(within("generic_key.descriptor_value"))?,
        },
        ActionSpecifier::HeaderValueMatch(from) => {
            let action::HeaderValueMatch { descriptor_value, default_value, descriptor_key, expect_match, headers } = from;
            RateLimitAction::HeaderValueMatch {
                key: or(descriptor_key, "header_match"),
                value: value(descriptor_value, default_value, warnings).map_err(within("header_value_match.descriptor_value"))?,
                expect: expect_match.unwrap_or(true),
                headers: read::headers("headers", headers).map_err(within("header_value_match"))?,
            }
        }
        ActionSpecifier::QueryParameterValueMatch(from) => {
            let action::QueryParameterValueMatch { descriptor_value, default_value, descriptor_key, expect_match, query_parameters } = from;
            RateLimitAction::QueryParameterValueMatch {
                key: or(descriptor_key, "query_match"),
                value: value(descriptor_value, default_value, warnings).map_err(within("query_parameter_value_match.descriptor_value"))?,
                expect: expect_match.unwrap_or(true),
                parameters: read::each("query_parameters", query_parameters, read::query).map_err(within("query_parameter_value_match"))?,
            }
        }
        #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
        ActionSpecifier::DynamicMetadata(action::DynamicMetaData { descriptor_key, metadata_key, default_value }) => {
            metadata(descriptor_key, metadata_key.as_ref(), default_value, false, false).map_err(within("dynamic_metadata"))?
        }
        ActionSpecifier::Metadata(action::MetaData { descriptor_key, metadata_key, default_value, source, skip_if_absent }) => {
            let of_route = match Source::try_from(*source) {
                Ok(Source::RouteEntry) => true,
                Ok(Source::ClusterEntry | Source::ClusterLocalityEntry) => {
                    warnings.push(ConfigError::at("metadata.source", "is accepted without effect: no descriptor is made of a cluster's metadata yet"));
                    return Ok(RateLimitAction::Never);
                }
                Ok(Source::Dynamic) | Err(_) => false,
            };
            metadata(descriptor_key, metadata_key.as_ref(), default_value, of_route, *skip_if_absent).map_err(within("metadata"))?
        }
        ActionSpecifier::Extension(_) | ActionSpecifier::RemoteAddressMatch(_) => {
            warnings.push(ConfigError::at("", "is accepted without effect: no descriptor is made with this action yet"));
            RateLimitAction::Never
        }
    })
}

fn value(text: &str, default: &str, warnings: &mut Vec<ConfigError>) -> Result<DescriptorValue, ConfigError> {
    Ok(DescriptorValue { format: read::format(text, warnings)?, default: default.into() })
}

fn metadata(
    key: &str,
    from: Option<&nuncio_api::envoy::r#type::metadata::v3::MetadataKey>,
    default: &str,
    of_route: bool,
    skip_if_absent: bool,
) -> Result<RateLimitAction, ConfigError> {
    let (namespace, path) = from.map(read::metadata_key).transpose().map_err(within("metadata_key"))?.unwrap_or_default();
    Ok(RateLimitAction::Metadata { key: key.into(), of_route, namespace, path, default: default.into(), skip_if_absent })
}
