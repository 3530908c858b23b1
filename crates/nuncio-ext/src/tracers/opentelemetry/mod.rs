//! `envoy.tracers.opentelemetry`: spans for an OpenTelemetry collector, over HTTP or gRPC.
//!
//! Contexts travel as W3C Trace Context. Spans wait per worker until they make a batch; when more wait than
//! `max_cache_size` they are dropped and counted. What becomes of a batch is not asked: tracing never holds traffic up.

mod context;
mod export;

use crate::{read, service::grpc::GrpcService};
use context::Brought;
use export::{Export, Waiting};
pub(crate) use export::{Collector, attribute};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_api::envoy::config::trace::v3::OpenTelemetryConfig;
use nuncio_api::envoy::extensions::tracers::opentelemetry::resource_detectors::v3 as detectors;
use nuncio_api::envoy::extensions::tracers::opentelemetry::samplers::v3 as samplers;
use nuncio_api::opentelemetry::proto::common::v1::{InstrumentationScope, KeyValue};
use nuncio_codec::headers::HeaderMap;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, Fraction, RuntimeUint, Span, SpanContext, StreamCx, Tracer, TracerEntry, Worker};
use nuncio_stats::tables::opentelemetry::OPENTELEMETRY;
use prost::{Message as _, Name as _};
use std::cell::RefCell;
use std::rc::{Rc, Weak as RcWeak};
use std::sync::Arc;
use std::time::Duration;

/// The registry's line.
pub const ENTRY: TracerEntry =
    TracerEntry { name: "envoy.tracers.opentelemetry", message: "envoy.config.trace.v3.OpenTelemetryConfig", build };

/// Spans that wait at most, where nothing is said.
const MAX_CACHE_SIZE: u32 = 1024;
/// Timeout of a collector that says none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who decides what is recorded.
#[derive(Debug)]
enum Sampler {
    /// The connection manager; a parent's decision holds.
    Envoy,
    /// Everything is.
    AlwaysOn,
    /// So many of 2^64 traces, by their ids.
    Ratio(u64),
    /// A parent's decision holds; without one another decides.
    ParentBased(Box<Sampler>),
}

impl Sampler {
    fn samples(&self, trace_id: [u8; 16], parent: Option<bool>, traced: bool) -> bool {
        match self {
            Sampler::Envoy => parent.unwrap_or(traced),
            Sampler::AlwaysOn => true,
            Sampler::Ratio(most) => {
                let [.., a, b, c, d, e, f, g, h] = trace_id;
                u64::from_be_bytes([a, b, c, d, e, f, g, h]) <= *most && *most > 0
            }
            Sampler::ParentBased(other) => parent.unwrap_or_else(|| other.samples(trace_id, None, traced)),
        }
    }
}

#[derive(Debug)]
struct OpenTelemetry {
    sampler: Sampler,
    export: Arc<Export>,
}

impl Tracer for OpenTelemetry {
    fn start(&self, cx: &StreamCx, traced: bool) -> Option<SpanContext> {
        let rng = &cx.worker.rng;
        let span_id = rng.next_u64().to_be_bytes();
        let (trace_id, parent, state) = match context::extract(&cx.request) {
            Brought::Broken => return None,
            Brought::Nothing => {
                let (high, low) = (rng.next_u64().to_be_bytes(), rng.next_u64().to_be_bytes());
                let mut trace_id = [0; 16];
                trace_id[..8].copy_from_slice(&high);
                trace_id[8..].copy_from_slice(&low);
                (trace_id, None, Box::default())
            }
            Brought::Context(parent) => (parent.trace_id, Some((parent.span_id, parent.sampled)), parent.state),
        };
        let sampled = self.sampler.samples(trace_id, parent.map(|(_, sampled)| sampled), traced);
        Some(SpanContext { trace_id, span_id, parent: parent.map(|(id, _)| id), remote_parent: parent.is_some(), sampled, state })
    }

    fn inject(&self, context: &SpanContext, head: &mut HeaderMap) {
        context::inject(context, head);
    }

    fn report(&self, worker: &Rc<Worker>, span: Span) {
        if matches!(self.export.collector, Collector::None) {
            return;
        }
        of_thread(&self.export, worker).add(&self.export, worker, span);
    }
}

/// The spans of this thread that wait for an export.
fn of_thread(export: &Arc<Export>, worker: &Rc<Worker>) -> Rc<Waiting> {
    /// An export, by its address as long as it lives, on the worker it was first used on.
    type Place = (std::sync::Weak<Export>, RcWeak<Worker>, Rc<Waiting>);
    thread_local! {
        static WAITING: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
    }
    WAITING.with_borrow_mut(|places| {
        let here = |(of, on, _): &&Place| of.as_ptr() == Arc::as_ptr(export) && on.as_ptr() == Rc::as_ptr(worker);
        if let Some((_, _, waiting)) = places.iter().find(here) {
            return waiting.clone();
        }
        places.retain(|(of, on, _)| of.strong_count() > 0 && on.strong_count() > 0);
        let waiting = Waiting::start(export, worker);
        places.push((Arc::downgrade(export), Rc::downgrade(worker), waiting.clone()));
        waiting
    })
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Tracer>, ConfigError> {
    let OpenTelemetryConfig {
        grpc_service,
        http_service,
        exporter,
        service_name,
        resource_detectors,
        sampler,
        max_cache_size,
        set_telemetry_sdk_resource_attributes,
        set_service_name_resource_attribute,
        set_instrumentation_scope,
    } = OpenTelemetryConfig::decode(config.value).map_err(|error| ConfigError::at("", error.to_string()))?;
    if exporter.is_some() {
        without_effect("exporter", cx);
    }
    let collector = match (&grpc_service, &http_service) {
        (Some(_), Some(_)) => {
            let text = "OpenTelemetry Tracer cannot have both gRPC and HTTP exporters configured. OpenTelemetry tracer will be disabled.";
            return Err(ConfigError::at("http_service", text));
        }
        (Some(service), None) => Collector::Grpc(GrpcService::read("grpc_service", service, TIMEOUT, cx)?),
        (None, Some(service)) => http(service, cx)?,
        (None, None) => Collector::None,
    };
    let mut resource = Vec::new();
    if set_telemetry_sdk_resource_attributes.unwrap_or(true) {
        resource.push(attribute("telemetry.sdk.language", "rust"));
        resource.push(attribute("telemetry.sdk.name", "nuncio"));
        resource.push(attribute("telemetry.sdk.version", env!("CARGO_PKG_VERSION")));
    }
    if set_service_name_resource_attribute.unwrap_or(true) {
        resource.push(attribute("service.name", if service_name.is_empty() { "unknown_service:envoy" } else { &service_name }));
    }
    for (index, detector) in resource_detectors.iter().enumerate() {
        detect(&format!("resource_detectors[{index}]"), detector, &mut resource, cx);
    }
    let scope = InstrumentationScope { name: "nuncio".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), ..Default::default() };
    let key = |name: &str, default: u64| RuntimeUint { default, key: format!("tracing.opentelemetry.{name}").into() };
    Ok(Arc::new(OpenTelemetry {
        sampler: match &sampler {
            Some(from) => self::sampler("sampler", from, cx),
            None => Sampler::Envoy,
        },
        export: Arc::new(Export {
            collector,
            resource,
            scope: set_instrumentation_scope.unwrap_or(true).then_some(scope),
            most: max_cache_size.unwrap_or(MAX_CACHE_SIZE) as usize,
            enough: key("min_flush_spans", 5),
            interval: key("flush_interval_ms", 5000),
            stats: cx.stats.scope("tracing.opentelemetry.", &OPENTELEMETRY),
        }),
    }))
}

fn without_effect(field: &str, cx: &mut BuildCx<'_>) {
    cx.warnings.push(ConfigError::at(field, "is accepted without effect: it is not built yet"));
}

pub(crate) fn http(from: &core::HttpService, cx: &mut BuildCx<'_>) -> Result<Collector, ConfigError> {
    let core::HttpService { http_uri, request_headers_to_add, formatters } = from;
    if !formatters.is_empty() {
        without_effect("http_service.formatters", cx);
    }
    let core::HttpUri { uri, timeout, http_upstream_type } = http_uri.clone().unwrap_or_default();
    let Some(core::http_uri::HttpUpstreamType::Cluster(cluster)) = http_upstream_type else {
        return Err(ConfigError::at("http_service.http_uri.cluster", "is missing"));
    };
    let rest = uri.split_once("://").map_or(&*uri, |(_, rest)| rest);
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let mut headers = Vec::new();
    for (index, option) in request_headers_to_add.iter().enumerate() {
        let at = |error: ConfigError| ConfigError::at(format!("http_service.request_headers_to_add[{index}]"), error.message);
        let header = option.header.clone().unwrap_or_default();
        headers.push((read::header_name(&header.key).map_err(at)?, read::format(&header.value, &mut cx.warnings).map_err(at)?));
    }
    Ok(Collector::Http {
        cluster: cluster.into(),
        path: path.into(),
        authority: authority.into(),
        timeout: timeout.as_ref().map_or(TIMEOUT, read::duration),
        headers: headers.into(),
    })
}

fn detect(field: &str, from: &TypedExtensionConfig, resource: &mut Vec<KeyValue>, cx: &mut BuildCx<'_>) {
    let Some(config) = &from.typed_config else { return };
    let message = nuncio_api::schema::type_name(&config.type_url);
    let mut set = |key: &str, value: &str| {
        resource.retain(|known| known.key != key);
        resource.push(attribute(key, value));
    };
    if message == detectors::StaticConfigResourceDetectorConfig::full_name() {
        let decoded = detectors::StaticConfigResourceDetectorConfig::decode(&*config.value).unwrap_or_default();
        let mut attributes: Vec<_> = decoded.attributes.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty()).collect();
        attributes.sort();
        attributes.into_iter().for_each(|(key, value)| set(key, value));
    } else if message == detectors::EnvironmentResourceDetectorConfig::full_name() {
        let told = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        told.split(',').filter_map(|pair| pair.split_once('=')).for_each(|(key, value)| set(key.trim(), value.trim()));
    } else {
        without_effect(field, cx);
    }
}

fn sampler(field: &str, from: &TypedExtensionConfig, cx: &mut BuildCx<'_>) -> Sampler {
    let (message, value) = from.typed_config.as_ref().map_or(("", &[][..]), |config| (nuncio_api::schema::type_name(&config.type_url), &*config.value));
    if message == samplers::AlwaysOnSamplerConfig::full_name() {
        Sampler::AlwaysOn
    } else if message == samplers::ParentBasedSamplerConfig::full_name() {
        let decoded = samplers::ParentBasedSamplerConfig::decode(value).unwrap_or_default();
        let wrapped = decoded.wrapped_sampler.as_ref().map(|wrapped| sampler(&format!("{field}.typed_config.wrapped_sampler"), wrapped, cx));
        Sampler::ParentBased(Box::new(wrapped.unwrap_or(Sampler::Envoy)))
    } else if message == samplers::TraceIdRatioBasedSamplerConfig::full_name() {
        let decoded = samplers::TraceIdRatioBasedSamplerConfig::decode(value).unwrap_or_default();
        let share = decoded.sampling_percentage.as_ref().map_or(Fraction::ALL, read::fraction);
        Sampler::Ratio((u128::from(u64::MAX) * u128::from(share.numerator) / u128::from(share.denominator.max(1))) as u64)
    } else {
        without_effect(field, cx);
        Sampler::Envoy
    }
}
