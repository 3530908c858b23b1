//! `envoy.access_loggers.open_telemetry`: log records for an OpenTelemetry collector, over gRPC or HTTP, in batches.
//!
//! Each worker collects by itself. A collector that fails costs records, which are counted, never traffic.

use crate::tracers::opentelemetry::{Collector, attribute, http};
use crate::{custom_tags, read, service::grpc::GrpcService};
use nuncio_api::envoy::config::core::v3::Node;
use nuncio_api::envoy::extensions::access_loggers::grpc::v3::CommonGrpcAccessLogConfig;
use nuncio_api::envoy::extensions::access_loggers::open_telemetry::v3::OpenTelemetryAccessLogConfig;
use nuncio_api::opentelemetry::proto::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use nuncio_api::opentelemetry::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value};
use nuncio_api::opentelemetry::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use nuncio_api::opentelemetry::proto::resource::v1::Resource;
use nuncio_core::format::{Format, Formatter};
use nuncio_core::{AccessLogCx, AccessLogEntry, AccessLogger, BuildCx, ConfigError, CustomTag, FilterConfig, NodePart, StreamCx, Worker};
use nuncio_stats::{Scope, tables::open_telemetry_access_log as stat};
use prost::Message as _;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak as RcWeak},
    sync::{Arc, Weak},
    time::{Duration, UNIX_EPOCH},
};

/// `envoy.access_loggers.open_telemetry`.
pub static OPEN_TELEMETRY: AccessLogEntry = AccessLogEntry {
    name: "envoy.access_loggers.open_telemetry",
    message: "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
    build,
};

/// How long records wait at most, where nothing is said.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of records that are sent at once, where nothing is said.
const BUFFER_BYTES: usize = 16_384;
/// Timeout of a collector that says none.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Batches of one worker that may be on their way; what comes then is dropped.
const IN_FLIGHT: u32 = 8;
/// The method of a gRPC collector.
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// A value with formats in the place of its texts.
#[derive(Debug)]
enum Template {
    Text(Format),
    List(Vec<Template>),
    Map(Vec<(String, Template)>),
}

/// What all workers have in common.
#[derive(Debug)]
struct Shared {
    collector: Collector,
    log_name: String,
    /// Labels that tell who we are are left out (`disable_builtin_labels`).
    nameless: bool,
    resource: Vec<KeyValue>,
    interval: Duration,
    most: usize,
    stats: Arc<Scope>,
}

#[derive(Debug)]
struct OpenTelemetry {
    shared: Arc<Shared>,
    body: Option<Template>,
    attributes: Vec<(String, Template)>,
    tags: Box<[CustomTag]>,
}

impl AccessLogger for OpenTelemetry {
    fn log(&self, stream: &StreamCx) {
        let since = stream.info.start.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut attributes: Vec<_> = self.attributes.iter().map(|(key, value)| pair(key, value.fill(stream))).collect();
        attributes.extend(self.tags.iter().filter_map(|tag| Some(attribute(&*tag.name, tag.value(stream)?))));
        let context = stream.trace.as_ref().map(|trace| &trace.span.context);
        let record = LogRecord {
            time_unix_nano: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            body: self.body.as_ref().map(|body| body.fill(stream)),
            attributes,
            trace_id: context.map(|context| context.trace_id.to_vec()).unwrap_or_default(),
            span_id: context.map(|context| context.span_id.to_vec()).unwrap_or_default(),
            ..LogRecord::default()
        };
        of_worker(&self.shared, &stream.worker).add(&self.shared, &stream.worker, record);
    }
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

impl Template {
    fn read(field: &str, from: &AnyValue, known: &[Formatter], cx: &mut AccessLogCx<'_>) -> Result<Template, ConfigError> {
        match &from.value {
            Some(Value::StringValue(text)) => {
                let (format, warnings) = Format::compile_with(text, known).map_err(|error| ConfigError::at(field, error.to_string()))?;
                cx.warnings.extend(warnings.iter().map(|warning| ConfigError::at(field, warning.to_string())));
                Ok(Template::Text(format))
            }
            Some(Value::ArrayValue(ArrayValue { values })) => {
                Ok(Template::List(values.iter().map(|value| Template::read(field, value, known, cx)).collect::<Result<_, _>>()?))
            }
            Some(Value::KvlistValue(list)) => Ok(Template::Map(pairs(field, list, known, cx)?)),
            _ => {
                let text = "Only string values, nested key value lists and array values are supported in OpenTelemetry access log format.";
                Err(ConfigError::at(field, text))
            }
        }
    }

    fn fill(&self, stream: &StreamCx) -> AnyValue {
        let value = match self {
            Template::Text(format) => {
                let mut text = Vec::new();
                format.write(stream, &mut text);
                Value::StringValue(String::from_utf8_lossy(&text).into_owned())
            }
            Template::List(list) => Value::ArrayValue(ArrayValue { values: list.iter().map(|value| value.fill(stream)).collect() }),
            Template::Map(map) => {
                let values = map.iter().map(|(key, value)| pair(key, value.fill(stream))).collect();
                Value::KvlistValue(KeyValueList { values })
            }
        };
        AnyValue { value: Some(value) }
    }
}

fn pairs(field: &str, from: &KeyValueList, known: &[Formatter], cx: &mut AccessLogCx<'_>) -> Result<Vec<(String, Template)>, ConfigError> {
    let value = |pair: &KeyValue| Ok((pair.key.clone(), Template::read(field, &pair.value.clone().unwrap_or_default(), known, cx)?));
    from.values.iter().map(value).collect()
}

/// One worker's records that wait.
struct Waiting {
    records: RefCell<Vec<LogRecord>>,
    bytes: Cell<usize>,
    in_flight: Cell<u32>,
}

/// A worker's, by their loggers' addresses as long as these live.
#[derive(Default)]
struct Places(RefCell<HashMap<*const Shared, (Weak<Shared>, Rc<Waiting>)>>);

fn of_worker(shared: &Arc<Shared>, worker: &Rc<Worker>) -> Rc<Waiting> {
    let places = worker.parts.get::<Places>().unwrap_or_else(|| {
        let made = Rc::new(Places::default());
        worker.parts.set(made.clone());
        made
    });
    let mut places = places.0.borrow_mut();
    if let Some((owner, waiting)) = places.get(&Arc::as_ptr(shared))
        && owner.strong_count() > 0
    {
        return waiting.clone();
    }
    places.retain(|_, (owner, _)| owner.strong_count() > 0);
    let waiting = Rc::new(Waiting { records: RefCell::default(), bytes: Cell::new(0), in_flight: Cell::new(0) });
    places.insert(Arc::as_ptr(shared), (Arc::downgrade(shared), waiting.clone()));
    nuncio_rt::spawn(tick(waiting.clone(), Arc::downgrade(shared), Rc::downgrade(worker)));
    waiting
}

impl Waiting {
    fn add(self: &Rc<Self>, shared: &Arc<Shared>, worker: &Rc<Worker>, record: LogRecord) {
        self.bytes.set(self.bytes.get() + record.encoded_len());
        self.records.borrow_mut().push(record);
        if self.bytes.get() >= shared.most {
            self.flush(shared, worker);
        }
    }

    fn flush(self: &Rc<Self>, shared: &Arc<Shared>, worker: &Rc<Worker>) {
        let log_records = self.records.take();
        self.bytes.set(0);
        let count = log_records.len() as u64;
        if count == 0 {
            return;
        }
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource = Some(Resource { attributes: resource(shared, worker), ..Resource::default() });
        let batch = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }] };
        let sent = match self.in_flight.get() {
            IN_FLIGHT.. => None,
            _ => shared.collector.send::<ExportLogsServiceResponse>(worker, EXPORT, &batch),
        };
        let Some(sent) = sent else {
            shared.stats.add(worker.lane, stat::LOGS_DROPPED, count);
            return;
        };
        self.in_flight.set(self.in_flight.get() + 1);
        let (waiting, shared, lane) = (Rc::clone(self), shared.clone(), worker.lane);
        nuncio_rt::spawn(async move {
            let taken = sent.await;
            shared.stats.add(lane, if taken { stat::LOGS_WRITTEN } else { stat::LOGS_DROPPED }, count);
            waiting.in_flight.set(waiting.in_flight.get() - 1);
        });
    }
}

/// Who we are, then what is configured.
fn resource(shared: &Shared, worker: &Worker) -> Vec<KeyValue> {
    let mut all = Vec::new();
    if !shared.nameless {
        let node = worker.parts.get::<NodePart>().and_then(|node| Node::decode(&*node.0).ok()).unwrap_or_default();
        all.push(attribute("log_name", &*shared.log_name));
        all.push(attribute("zone_name", node.locality.unwrap_or_default().zone));
        all.push(attribute("cluster_name", node.cluster));
        all.push(attribute("node_name", node.id));
    }
    all.extend_from_slice(&shared.resource);
    all
}

async fn tick(waiting: Rc<Waiting>, shared: Weak<Shared>, worker: RcWeak<Worker>) {
    loop {
        let Some((timers, interval)) = worker.upgrade().zip(shared.upgrade()).map(|(worker, shared)| (worker.timers.clone(), shared.interval)) else {
            return;
        };
        timers.sleep(interval).await;
        let (Some(worker), Some(shared)) = (worker.upgrade(), shared.upgrade()) else { return };
        waiting.flush(&shared, &worker);
    }
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
fn build(config: FilterConfig<'_>, cx: &mut AccessLogCx<'_>) -> Result<Arc<dyn AccessLogger>, ConfigError> {
    let OpenTelemetryAccessLogConfig {
        common_config,
        http_service,
        grpc_service,
        disable_builtin_labels,
        resource_attributes,
        resource_detectors,
        body,
        attributes,
        stat_prefix,
        formatters,
        log_name,
        buffer_flush_interval,
        buffer_size_bytes,
        filter_state_objects_to_log,
        custom_tags: tags,
    } = OpenTelemetryAccessLogConfig::decode(config.value).map_err(|error| ConfigError::at("", format!("cannot be decoded: {error}")))?;
    for (field, set) in [
        ("resource_detectors", !resource_detectors.is_empty()),
        ("filter_state_objects_to_log", !filter_state_objects_to_log.is_empty()),
    ] {
        if set {
            cx.warnings.push(ConfigError::at(field, "is accepted without effect: it is not built yet"));
        }
    }
    let known = crate::read::formatters("formatters", &formatters, &mut cx.warnings);
    let common = common_config.unwrap_or_default();
    let CommonGrpcAccessLogConfig { log_name: old_name, grpc_service: old_service, buffer_flush_interval: old_interval, buffer_size_bytes: old_size, .. } = &common;
    let mut build = BuildCx::new(cx.stats, "");
    let collector = match (grpc_service.as_ref().or(old_service.as_ref()), &http_service) {
        (Some(_), Some(_)) => return Err(ConfigError::at("http_service", "only one of `http_service` and `grpc_service` may be there")),
        (Some(service), None) => Collector::Grpc(GrpcService::read("grpc_service", service, TIMEOUT, &mut build)?),
        (None, Some(service)) => http(service, &mut build)?,
        (None, None) => return Err(ConfigError::at("", "names no collector: `grpc_service` or `http_service`")),
    };
    let BuildCx { warnings, unsafe_without, .. } = build;
    cx.warnings.extend(warnings);
    cx.unsafe_without.extend(unsafe_without);
    let mut wanted = Vec::new();
    for (index, tag) in tags.iter().enumerate() {
        let at = |error: ConfigError| ConfigError::at(format!("custom_tags[{index}]"), error.message);
        wanted.extend(custom_tags::read(tag, &mut cx.warnings).map_err(at)?);
    }
    let interval = buffer_flush_interval.as_ref().or(old_interval.as_ref());
    let shared = Shared {
        collector,
        log_name: if log_name.is_empty() { old_name.clone() } else { log_name },
        nameless: disable_builtin_labels,
        resource: resource_attributes.map(|list| list.values).unwrap_or_default(),
        interval: interval.map_or(FLUSH_INTERVAL, read::duration).max(Duration::from_millis(1)),
        most: buffer_size_bytes.or(*old_size).map_or(BUFFER_BYTES, |bytes| bytes as usize),
        stats: cx.stats.scope(&format!("access_logs.open_telemetry_access_log.{stat_prefix}"), &stat::OPEN_TELEMETRY_ACCESS_LOG),
    };
    Ok(Arc::new(OpenTelemetry {
        shared: Arc::new(shared),
        body: body.as_ref().map(|body| Template::read("body", body, &known, cx)).transpose()?,
        attributes: pairs("attributes", &attributes.unwrap_or_default(), &known, cx)?,
        tags: wanted.into(),
    }))
}
