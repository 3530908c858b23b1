//! `ExternalProcessor` and `ExtProcPerRoute`, read.

use super::link::Stats;
use super::{EXT_PROC, ExtProc, Shared};
use crate::read::{self, within};
use crate::service::grpc::GrpcService;
use crate::service::rules::MutationRules;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::filters::http::ext_proc::v3 as proto;
use nuncio_api::envoy::r#type::matcher::v3::ListStringMatcher;
use nuncio_codec::headers::HeaderName;
use nuncio_core::cel::Program;
use nuncio_core::matching::TextMatch;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter};
use proto::processing_mode::{BodySendMode, HeaderSendMode};
use std::{any::Any, sync::Arc, time::Duration};

pub(super) const MESSAGE: &str = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor";
pub(super) const ROUTE_MESSAGE: &str = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute";

/// `message_timeout` where nothing is said.
const TIMEOUT: Duration = Duration::from_millis(200);

/// `ProcessingMode`; both directions by number, the request's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) headers: [bool; 2],
    pub(super) bodies: [BodySendMode; 2],
    pub(super) trailers: [bool; 2],
}

impl Mode {
    /// Reads the message: heads are sent unless it says otherwise, trailers if it says so.
    pub(super) fn of(from: &proto::ProcessingMode) -> Mode {
        Mode { headers: [true; 2], bodies: [BodySendMode::None; 2], trailers: [false; 2] }.overridden(from)
    }

    /// This mode with what the message says: of bodies it always says something, of heads and trailers it need not.
    pub(super) fn overridden(self, by: &proto::ProcessingMode) -> Mode {
        let proto::ProcessingMode {
            request_header_mode,
            response_header_mode,
            request_body_mode,
            response_body_mode,
            request_trailer_mode,
            response_trailer_mode,
        } = *by;
        let sent = |mode, unsaid| match HeaderSendMode::try_from(mode) {
            Ok(HeaderSendMode::Send) => true,
            Ok(HeaderSendMode::Skip) => false,
            Ok(HeaderSendMode::Default) | Err(_) => unsaid,
        };
        let body = |mode| BodySendMode::try_from(mode).unwrap_or(BodySendMode::None);
        Mode {
            headers: [sent(request_header_mode, self.headers[0]), sent(response_header_mode, self.headers[1])],
            bodies: [request_body_mode, response_body_mode].map(body),
            trailers: [sent(request_trailer_mode, self.trailers[0]), sent(response_trailer_mode, self.trailers[1])],
        }
    }

    /// Beside what the request's headers are about, which is over when a service has its say.
    pub(super) fn without_request_headers(self) -> Mode {
        Mode { headers: [false, self.headers[1]], ..self }
    }
}

/// What a change of the request means for its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteCache {
    AsTold,
    Clear,
    Retain,
}

/// The filter's settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) service: Arc<GrpcService>,
    /// Nothing is asked: what is meant is not built.
    pub(super) idle: bool,
    pub(super) failure_mode_allow: bool,
    pub(super) mode: Mode,
    /// What is told of the exchange with the first message of each direction.
    pub(super) attributes: [Box<[(Box<str>, Program)]>; 2],
    pub(super) timeout: Duration,
    pub(super) max_timeout: Duration,
    pub(super) rules: MutationRules,
    pub(super) allowed_headers: Option<Box<[TextMatch]>>,
    pub(super) disallowed_headers: Box<[TextMatch]>,
    /// The modes a service may ask for, any if none are listed; `None` where it is not heard.
    pub(super) override_modes: Option<Box<[Mode]>>,
    pub(super) immediate: bool,
    pub(super) route_cache: RouteCache,
    pub(super) body_at_once: bool,
    pub(super) status_on_error: u16,
    pub(super) forwarded: Box<[Box<str>]>,
    pub(super) received: Box<[Box<str>]>,
}

/// Settings of a route.
#[derive(Debug)]
pub(super) enum PerRoute {
    Disabled,
    Overrides(Box<Overrides>),
}

/// What a route has otherwise.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) mode: Option<Mode>,
    pub(super) attributes: [Box<[(Box<str>, Program)]>; 2],
    pub(super) service: Option<Arc<GrpcService>>,
    pub(super) metadata: Box<[(HeaderName, Vec<u8>)]>,
    pub(super) failure_mode_allow: Option<bool>,
    pub(super) forwarded: Option<Box<[Box<str>]>>,
    pub(super) received: Option<Box<[Box<str>]>>,
}

fn unbuilt(cx: &mut BuildCx<'_>, fields: &[(&str, bool)]) {
    for (field, set) in fields {
        if *set {
            cx.warnings.push(ConfigError::at(*field, "is accepted without effect: it is not built yet"));
        }
    }
}

fn names(from: &[String]) -> Box<[Box<str>]> {
    from.iter().map(|name| name.as_str().into()).collect()
}

fn texts(field: &str, from: Option<&ListStringMatcher>) -> Result<Option<Box<[TextMatch]>>, ConfigError> {
    from.map(|list| read::each(&format!("{field}.patterns"), &list.patterns, read::text)).transpose()
}

fn attributes(field: &str, from: &[String], cx: &mut BuildCx<'_>) -> Box<[(Box<str>, Program)]> {
    let mut made = Vec::new();
    for (index, name) in from.iter().enumerate() {
        match Program::parse(name) {
            Ok(program) => made.push((name.as_str().into(), program)),
            Err(wrong) => cx.warnings.push(ConfigError::at(format!("{field}[{index}]"), format!("is never told: {wrong}"))),
        }
    }
    made.into()
}

/// A mode that can be had.
fn mode(field: &str, from: Option<&proto::ProcessingMode>, cx: &mut BuildCx<'_>) -> Result<Mode, ConfigError> {
    let made = Mode::of(from.unwrap_or(&proto::ProcessingMode::default()));
    for (direction, name) in ["request", "response"].into_iter().enumerate() {
        if made.bodies[direction] == BodySendMode::Grpc {
            cx.unsafe_without.push(ConfigError::at(format!("{field}.{name}_body_mode"), "GRPC is not built yet"));
        }
        if made.bodies[direction] == BodySendMode::FullDuplexStreamed && !made.trailers[direction] {
            return Err(ConfigError::at(
                format!("{field}.{name}_body_mode"),
                format!(
                    "If the ext_proc filter has the {name}_body_mode set to FULL_DUPLEX_STREAMED, then the {name}_trailer_mode has to be set to SEND"
                ),
            ));
        }
    }
    Ok(made)
}

/// The namespaces that are told, and those that may be told of.
type Namespaces = [Box<[Box<str>]>; 2];

fn metadata_options(field: &str, from: Option<&proto::MetadataOptions>, cx: &mut BuildCx<'_>) -> Namespaces {
    let Some(proto::MetadataOptions { forwarding_namespaces, receiving_namespaces, cluster_metadata_forwarding_namespaces }) = from else {
        return Namespaces::default();
    };
    let typed = |from: &Option<proto::metadata_options::MetadataNamespaces>| from.as_ref().is_some_and(|names| !names.typed.is_empty());
    unbuilt(cx, &[
        (&format!("{field}.forwarding_namespaces.typed"), typed(forwarding_namespaces)),
        (&format!("{field}.receiving_namespaces.typed"), typed(receiving_namespaces)),
        (&format!("{field}.cluster_metadata_forwarding_namespaces"), cluster_metadata_forwarding_namespaces.is_some()),
    ]);
    [forwarding_namespaces, receiving_namespaces].map(|of| of.as_ref().map(|of| names(&of.untyped)).unwrap_or_default())
}

fn service(from: &core::GrpcService, cx: &mut BuildCx<'_>) -> Result<Arc<GrpcService>, ConfigError> {
    GrpcService::read("grpc_service", from, Duration::ZERO, cx).map(Arc::new)
}

pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::ExternalProcessor {
        grpc_service,
        http_service,
        failure_mode_allow,
        processing_mode,
        request_attributes,
        response_attributes,
        message_timeout,
        stat_prefix,
        mutation_rules,
        max_message_timeout,
        forward_rules,
        filter_metadata,
        allow_mode_override,
        disable_immediate_response,
        metadata_options: of_metadata,
        observability_mode,
        disable_clear_route_cache,
        route_cache_action,
        deferred_close_timeout,
        send_body_without_waiting_for_header_response,
        allowed_override_modes,
        processing_request_modifier,
        on_processing_response,
        status_on_error,
        allow_content_length_header,
        emit_client_span,
    } = read::message(config)?;
    if grpc_service.is_some() == http_service.is_some() {
        return Err(ConfigError::at("", "One and only one of grpc_service or http_service must be configured"));
    }
    if http_service.is_some() {
        cx.unsafe_without.push(ConfigError::at("http_service", "is not built yet: name a gRPC service in `grpc_service`"));
    }
    if disable_clear_route_cache && route_cache_action != 0 {
        return Err(ConfigError::at("disable_clear_route_cache", "disable_clear_route_cache and route_cache_action can not be set to none-default at the same time."));
    }
    unbuilt(cx, &[
        ("filter_metadata", filter_metadata.is_some()),
        ("observability_mode", observability_mode),
        ("deferred_close_timeout", deferred_close_timeout.is_some()),
        ("processing_request_modifier", processing_request_modifier.is_some()),
        ("on_processing_response", on_processing_response.is_some()),
        ("allow_content_length_header", allow_content_length_header),
        ("emit_client_span", emit_client_span == Some(true)),
    ]);
    let proto::HeaderForwardingRules { allowed_headers, disallowed_headers } = forward_rules.unwrap_or_default();
    let [forwarded, received] = metadata_options("metadata_options", of_metadata.as_ref(), cx);
    let mode = mode("processing_mode", processing_mode.as_ref(), cx)?;
    // As on Envoy: what is under way already before a head is answered keeps its mode.
    let overridable = allow_mode_override && !send_body_without_waiting_for_header_response && !mode.bodies.contains(&BodySendMode::FullDuplexStreamed);
    let settings = Settings {
        service: service(&grpc_service.unwrap_or_default(), cx)?,
        idle: observability_mode || http_service.is_some(),
        failure_mode_allow,
        mode,
        attributes: [
            attributes("request_attributes", &request_attributes, cx),
            attributes("response_attributes", &response_attributes, cx),
        ],
        timeout: message_timeout.as_ref().map_or(TIMEOUT, read::duration),
        max_timeout: max_message_timeout.as_ref().map_or(Duration::ZERO, read::duration),
        rules: mutation_rules.as_ref().map(MutationRules::read).transpose().map_err(within("mutation_rules"))?.unwrap_or_default(),
        allowed_headers: texts("forward_rules.allowed_headers", allowed_headers.as_ref())?,
        disallowed_headers: texts("forward_rules.disallowed_headers", disallowed_headers.as_ref())?.unwrap_or_default(),
        override_modes: overridable.then(|| allowed_override_modes.iter().map(|mode| Mode::of(mode).without_request_headers()).collect()),
        immediate: !disable_immediate_response,
        route_cache: match route_cache_action {
            1 => RouteCache::Clear,
            2 => RouteCache::Retain,
            _ if disable_clear_route_cache => RouteCache::Retain,
            _ => RouteCache::AsTold,
        },
        body_at_once: send_body_without_waiting_for_header_response,
        status_on_error: status_on_error.and_then(|status| u16::try_from(status.code).ok()).unwrap_or(500),
        forwarded,
        received,
    };
    let suffix = if stat_prefix.is_empty() { "ext_proc.".to_owned() } else { format!("ext_proc.{stat_prefix}.") };
    Ok(Arc::new(ExtProc(Arc::new(Shared {
        name: cx.filter_name.into(),
        settings,
        stats: Stats(cx.stats.scope(&format!("{}{suffix}", cx.stat_prefix), &EXT_PROC)),
        state: cx.state_slot(),
    }))))
}

pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    use proto::ext_proc_per_route::Override;
    let from: proto::ExtProcPerRoute = read::message(config)?;
    let from = match from.r#override {
        None => return Err(ConfigError::at("override", "is missing")),
        Some(Override::Disabled(_)) => return Ok(Arc::new(PerRoute::Disabled)),
        Some(Override::Overrides(from)) => from,
    };
    #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
    let proto::ExtProcOverrides {
        processing_mode,
        async_mode,
        request_attributes,
        response_attributes,
        grpc_service,
        metadata_options: of_metadata,
        grpc_initial_metadata,
        failure_mode_allow,
        processing_request_modifier,
        emit_client_span,
    } = from;
    unbuilt(cx, &[
        ("overrides.async_mode", async_mode),
        ("overrides.processing_request_modifier", processing_request_modifier.is_some()),
        ("overrides.emit_client_span", emit_client_span == Some(true)),
    ]);
    let mut metadata = Vec::new();
    for (index, core::HeaderValue { key, value, raw_value }) in grpc_initial_metadata.into_iter().enumerate() {
        let name = read::header_name(&key).map_err(within(&format!("overrides.grpc_initial_metadata[{index}].key")))?;
        metadata.push((name, if value.is_empty() { raw_value } else { value.into_bytes() }));
    }
    let namespaces = of_metadata.as_ref().map(|from| metadata_options("overrides.metadata_options", Some(from), cx));
    let [forwarded, received] = namespaces.map_or([None, None], |of| of.map(Some));
    Ok(Arc::new(PerRoute::Overrides(Box::new(Overrides {
        mode: processing_mode.as_ref().map(|from| mode("overrides.processing_mode", Some(from), cx)).transpose()?,
        attributes: [
            attributes("overrides.request_attributes", &request_attributes, cx),
            attributes("overrides.response_attributes", &response_attributes, cx),
        ],
        service: grpc_service.as_ref().map(|from| service(from, cx).map_err(within("overrides"))).transpose()?,
        metadata: metadata.into(),
        failure_mode_allow,
        forwarded,
        received,
    }))))
}
