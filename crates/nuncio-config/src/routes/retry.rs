//! `RetryPolicy`.

use super::{conditions, headers};
use crate::codes;
use crate::context::CompileCx;
use crate::nearest::nearest;
use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_api::envoy::extensions::retry::host::{
    omit_canary_hosts::v3::OmitCanaryHostsPredicate, omit_host_metadata::v3::OmitHostMetadataConfig,
    previous_hosts::v3::PreviousHostsPredicate,
};
use nuncio_api::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use nuncio_http::routes::{BackOff, HostPredicate, RateLimitedBackOff, ResetHeader, RetryOn, RetryPolicy};
use proto::retry_policy::{RateLimitedRetryBackOff, RetryBackOff, RetryHostPredicate, RetryPriority, retry_priority};
use prost::{Message, Name};
use std::sync::Arc;
use std::time::Duration;

/// Envoy's default `RateLimitedRetryBackOff.max_interval`.
const RATE_LIMITED_MAX: Duration = Duration::from_secs(300);
/// Envoy waits no less between retries.
const SHORTEST_BACK_OFF: Duration = Duration::from_millis(1);

/// The field `retry_policy` of the current message.
pub(crate) fn field(cx: &mut CompileCx<'_>, from: Option<&proto::RetryPolicy>) -> Option<Arc<RetryPolicy>> {
    cx.at("retry_policy", |cx| from.map(|from| Arc::new(compile(cx, from))))
}

fn compile(cx: &mut CompileCx<'_>, from: &proto::RetryPolicy) -> RetryPolicy {
    let proto::RetryPolicy {
        retry_on,
        num_retries,
        per_try_timeout,
        per_try_idle_timeout,
        retry_priority,
        retry_host_predicate,
        retry_options_predicates,
        host_selection_retry_max_attempts,
        retriable_status_codes,
        retry_back_off,
        rate_limited_retry_back_off,
        retriable_headers,
        retriable_request_headers,
        refresh_cluster_on_retry,
    } = from;
    cx.each("retry_options_predicates", retry_options_predicates, no_options_predicate);
    let on = cx.at("retry_on", |cx| tokens(cx, retry_on));
    let predicates = cx.each("retry_host_predicate", retry_host_predicate, predicate);
    RetryPolicy {
        retry_on: on,
        num_retries: num_retries.unwrap_or(1),
        per_try_timeout: cx.duration("per_try_timeout", per_try_timeout.as_ref()).unwrap_or_default(),
        per_try_idle_timeout: cx.duration("per_try_idle_timeout", per_try_idle_timeout.as_ref()).unwrap_or_default(),
        // A status that does not fit can never come.
        retriable_status_codes: retriable_status_codes.iter().filter_map(|code| u16::try_from(*code).ok()).collect(),
        retriable_headers: cx.each("retriable_headers", retriable_headers, conditions::header).into(),
        retriable_request_headers: cx
            .each("retriable_request_headers", retriable_request_headers, conditions::header)
            .into(),
        host_predicates: predicates.into(),
        host_selection_retry_max_attempts: u32::try_from(*host_selection_retry_max_attempts).unwrap_or(0).max(1),
        previous_priorities: cx.at("retry_priority", |cx| priority(cx, retry_priority.as_ref()?)),
        back_off: cx.at("retry_back_off", |cx| Some(back_off(cx, retry_back_off.as_ref()?))),
        rate_limited_back_off: rate_limited_retry_back_off
            .as_ref()
            .map(|from| cx.at("rate_limited_retry_back_off", |cx| rate_limited(cx, from))),
        refresh_cluster_on_retry: *refresh_cluster_on_retry,
    }
}

/// Envoy warns of unknown tokens, and ignores them.
fn tokens(cx: &mut CompileCx<'_>, list: &str) -> RetryOn {
    let mut unknown = Vec::new();
    let on = RetryOn::parse(list, |token| unknown.push(token.to_owned()));
    if unknown.is_empty() {
        return on;
    }
    let all = unknown.join(", ");
    let finding = cx.warn(codes::SUSPICIOUS, format!("unknown in retry_on, and ignored: {all}"));
    finding.envoy(format!(
        "Unknown retry_on policy token(s) [{all}] in retry_on config '{list}'. These tokens will be silently ignored."
    ));
    for token in &unknown {
        if let Some(near) = nearest(token, RetryOn::tokens()) {
            finding.help(format!("did you mean `{near}`?"));
        }
    }
    if on.is_empty() {
        finding.note("nothing is left to retry on");
    }
    on
}

fn predicate(cx: &mut CompileCx<'_>, from: &RetryHostPredicate) -> Option<HostPredicate> {
    use proto::retry_policy::retry_host_predicate::ConfigType;
    let RetryHostPredicate { name, config_type } = from;
    let (type_url, by) = match config_type {
        Some(ConfigType::TypedConfig(config)) => {
            let message = config.type_url.rsplit('/').next().unwrap_or_default();
            (config.type_url.as_str(), message.to_owned())
        }
        // By its name alone: Envoy wants the configuration, even though it is empty.
        None => ("", String::new()),
    };
    let previous = PreviousHostsPredicate::full_name();
    let known = match (by.as_str(), name.as_str()) {
        ("", "envoy.retry_host_predicates.previous_hosts") => Some((HostPredicate::PreviousHosts, previous.clone())),
        ("", "envoy.retry_host_predicates.omit_canary_hosts") => {
            Some((HostPredicate::OmitCanaryHosts, OmitCanaryHostsPredicate::full_name()))
        }
        _ => None,
    };
    if let Some((predicate, message)) = known {
        cx.refused_if_strict(codes::MISSING, format!("`{name}` has no typed_config"))
            .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: ''"))
            .help(format!("add `typed_config: {{\"@type\": type.googleapis.com/{message}}}`"));
        return Some(predicate);
    }
    if by == previous {
        return Some(HostPredicate::PreviousHosts);
    }
    if by == OmitCanaryHostsPredicate::full_name() {
        return Some(HostPredicate::OmitCanaryHosts);
    }
    if by == OmitHostMetadataConfig::full_name() {
        let Some(ConfigType::TypedConfig(config)) = config_type else { return None };
        let OmitHostMetadataConfig { metadata_match } = OmitHostMetadataConfig::decode(config.value.as_slice()).unwrap_or_default();
        let wanted = metadata_match.as_ref().and_then(crate::clusters::metadata::criteria);
        return Some(HostPredicate::OmitHostMetadata(Box::new(wanted.unwrap_or_default())));
    }
    cx.error(codes::UNKNOWN_EXTENSION, format!("there is no retry host predicate `{name}`"))
        .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{type_url}'"));
    None
}

/// `update_frequency` of `previous_priorities`, the only retry priority there is.
fn priority(cx: &mut CompileCx<'_>, from: &RetryPriority) -> Option<u32> {
    let RetryPriority { name, config_type } = from;
    let Some(retry_priority::ConfigType::TypedConfig(config)) = config_type else {
        cx.error(codes::MISSING, format!("`{name}` has no typed_config"))
            .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: ''"));
        return None;
    };
    if config.type_url.rsplit('/').next() != Some(PreviousPrioritiesConfig::full_name().as_str()) {
        cx.error(codes::UNKNOWN_EXTENSION, format!("there is no retry priority `{name}`"))
            .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{}'", config.type_url));
        return None;
    }
    let PreviousPrioritiesConfig { update_frequency } = PreviousPrioritiesConfig::decode(config.value.as_slice()).unwrap_or_default();
    u32::try_from(update_frequency).ok()
}

/// Envoy has none, either.
fn no_options_predicate(cx: &mut CompileCx<'_>, from: &TypedExtensionConfig) -> Option<()> {
    let TypedExtensionConfig { name, typed_config } = from;
    let type_url = typed_config.as_ref().map_or("", |config| &config.type_url);
    cx.error(codes::UNKNOWN_EXTENSION, format!("there is no retry options predicate `{name}`"))
        .envoy(format!("Didn't find a registered implementation for '{name}' with type URL: '{type_url}'"));
    None
}

fn back_off(cx: &mut CompileCx<'_>, from: &RetryBackOff) -> BackOff {
    let RetryBackOff { base_interval, max_interval } = from;
    let base = cx.duration("base_interval", base_interval.as_ref()).unwrap_or(BackOff::default().base);
    let base = base.max(SHORTEST_BACK_OFF);
    let max = cx.duration("max_interval", max_interval.as_ref()).map(|max| max.max(SHORTEST_BACK_OFF));
    if max.is_some_and(|max| max < base) {
        cx.at("max_interval", |cx| {
            cx.error(codes::CONFLICT, "max_interval must not be shorter than base_interval")
                .envoy("retry_policy.max_interval must greater than or equal to the base_interval");
        });
    }
    BackOff { base, max: max.unwrap_or(base.saturating_mul(10)).max(base) }
}

fn rate_limited(cx: &mut CompileCx<'_>, from: &RateLimitedRetryBackOff) -> RateLimitedBackOff {
    let RateLimitedRetryBackOff { reset_headers, max_interval } = from;
    let reset_headers = cx.each("reset_headers", reset_headers, |cx, header| {
        let proto::retry_policy::ResetHeader { name, format } = header;
        let name = cx.at("name", |cx| headers::name(cx, name))?;
        let unix = proto::retry_policy::ResetHeaderFormat::UnixTimestamp as i32;
        Some(ResetHeader { name, unix_timestamp: *format == unix })
    });
    let max = cx.duration("max_interval", max_interval.as_ref()).unwrap_or(RATE_LIMITED_MAX);
    RateLimitedBackOff { reset_headers: reset_headers.into(), max }
}
