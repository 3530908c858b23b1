//! Finished spans on their way to the collector: kept per worker, sent in batches, dropped and counted when too many wait.

use crate::service::grpc::GrpcService;
use nuncio_api::opentelemetry::proto::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use nuncio_api::opentelemetry::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use nuncio_api::opentelemetry::proto::resource::v1::Resource;
use nuncio_api::opentelemetry::proto::trace::v1 as proto;
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::{ClientRequest, ConnInfo, LocalFuture, RuntimeUint, Span, StreamCx, Worker};
use nuncio_core::format::Format;
use nuncio_stats::{Scope, tables::opentelemetry as stat};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Batches of one worker that may be on their way; the next waits until one has arrived.
const IN_FLIGHT: u32 = 8;
/// The method of a gRPC collector.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// A remote parent, or a local one, is told by these bits (OTLP `SpanFlags`).
const PARENT_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// Who takes batches.
#[derive(Debug)]
pub(crate) enum Collector {
    /// `http_service`
    Http {
        cluster: Arc<str>,
        path: Box<str>,
        authority: Box<str>,
        timeout: Duration,
        headers: Box<[(HeaderName, Format)]>,
    },
    /// `grpc_service`
    Grpc(GrpcService),
    /// Nobody: spans travel, and are not recorded.
    None,
}

/// What all workers' batches have in common.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) collector: Collector,
    pub(super) resource: Vec<KeyValue>,
    pub(super) scope: Option<InstrumentationScope>,
    /// Spans that wait at most.
    pub(super) most: usize,
    /// Spans that make a batch (`tracing.opentelemetry.min_flush_spans`).
    pub(super) enough: RuntimeUint,
    /// Milliseconds after which any make one (`tracing.opentelemetry.flush_interval_ms`).
    pub(super) interval: RuntimeUint,
    pub(super) stats: Arc<Scope>,
}

/// One worker's spans that wait.
pub(super) struct Waiting {
    spans: RefCell<Vec<proto::Span>>,
    in_flight: Cell<u32>,
}

impl Waiting {
    /// No spans, and a clock that sends those to come until the tracer goes.
    pub(super) fn start(export: &Arc<Export>, worker: &Rc<Worker>) -> Rc<Waiting> {
        let waiting = Rc::new(Waiting { spans: RefCell::default(), in_flight: Cell::new(0) });
        nuncio_rt::spawn(tick(Rc::downgrade(&waiting), Arc::downgrade(export), Rc::downgrade(worker)));
        waiting
    }

    /// Takes a span, and sends what waits once it is enough.
    pub(super) fn add(self: &Rc<Self>, export: &Arc<Export>, worker: &Rc<Worker>, span: Span) {
        let mut spans = self.spans.borrow_mut();
        if spans.len() >= export.most {
            export.stats.inc(worker.lane, stat::SPANS_DROPPED);
            return;
        }
        spans.push(encode(span));
        let enough = spans.len() as u64 >= export.enough.now(&worker.runtime.values());
        drop(spans);
        if enough {
            self.send(export, worker);
        }
    }

    fn send(self: &Rc<Self>, export: &Arc<Export>, worker: &Rc<Worker>) {
        if self.in_flight.get() >= IN_FLIGHT || self.spans.borrow().is_empty() {
            return;
        }
        let spans = std::mem::take(&mut *self.spans.borrow_mut());
        let count = spans.len() as u64;
        let scope_spans = vec![proto::ScopeSpans { scope: export.scope.clone(), spans, ..Default::default() }];
        let resource = Some(Resource { attributes: export.resource.clone(), ..Default::default() });
        let request = ExportTraceServiceRequest { resource_spans: vec![proto::ResourceSpans { resource, scope_spans, ..Default::default() }] };
        let Some(sent) = export.collector.send::<ExportTraceServiceResponse>(worker, EXPORT, &request) else {
            export.stats.add(worker.lane, stat::SPANS_DROPPED, count);
            return;
        };
        export.stats.add(worker.lane, stat::SPANS_SENT, count);
        self.in_flight.set(self.in_flight.get() + 1);
        let waiting = Rc::clone(self);
        nuncio_rt::spawn(async move {
            // What becomes of a batch is not asked.
            let _ = sent.await;
            waiting.in_flight.set(waiting.in_flight.get() - 1);
        });
    }
}

async fn tick(waiting: Weak<Waiting>, export: std::sync::Weak<Export>, worker: Weak<Worker>) {
    loop {
        let Some((timers, interval)) = export.upgrade().zip(worker.upgrade()).map(|(export, worker)| {
            (worker.timers.clone(), Duration::from_millis(export.interval.now(&worker.runtime.values()).max(1)))
        }) else {
            return;
        };
        timers.sleep(interval).await;
        let (Some(waiting), Some(export), Some(worker)) = (waiting.upgrade(), export.upgrade(), worker.upgrade()) else { return };
        export.stats.inc(worker.lane, stat::TIMER_FLUSHED);
        waiting.send(&export, &worker);
    }
}

impl Collector {
    /// Sends a batch, by this method to one that speaks gRPC, which answers with `A`. Whether it was taken; `None` if it
    /// cannot be sent at all.
    pub(crate) fn send<A: Message + Default + 'static>(&self, worker: &Rc<Worker>, method: &str, batch: &impl Message) -> Option<LocalFuture<bool>> {
        let cx = StreamCx::new(worker.clone(), Rc::new(ConnInfo::nobody()));
        match self {
            Collector::None => None,
            Collector::Grpc(service) => {
                let answer = service.call::<A>(&cx, method, batch);
                Some(Box::pin(async move { answer.await.is_ok() }))
            }
            Collector::Http { cluster, path, authority, timeout, headers } => {
                let client = worker.http_client()?;
                let mut head = HeaderMap::default();
                head.insert(Known::Method, "POST");
                head.insert(Known::Scheme, "http");
                head.insert(Known::Path, &**path);
                head.insert(Known::Authority, &**authority);
                head.insert(Known::ContentType, "application/x-protobuf");
                head.insert(Known::UserAgent, concat!("OTel-OTLP-Exporter-Nuncio/", env!("CARGO_PKG_VERSION")));
                for (name, value) in headers {
                    let mut text = Vec::new();
                    value.write(&cx, &mut text);
                    head.append(name, text);
                }
                let request = ClientRequest {
                    cluster: cluster.clone(),
                    head,
                    body: batch.encode_to_vec(),
                    timeout: *timeout,
                    forwarded_for: true,
                    ..ClientRequest::default()
                };
                let answer = client.send(request);
                Some(Box::pin(async move { answer.await.is_ok_and(|answer| answer.head.status().is_some_and(|status| status / 100 == 2)) }))
            }
        }
    }
}

/// A tag as OTLP has it.
pub(crate) fn attribute(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..Default::default() }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn encode(span: Span) -> proto::Span {
    let Span { context, name, server, start, end, tags, events, failed } = span;
    let remote = if context.remote_parent { PARENT_IS_REMOTE } else { 0 };
    proto::Span {
        trace_id: context.trace_id.to_vec(),
        span_id: context.span_id.to_vec(),
        trace_state: context.state.into_string(),
        parent_span_id: context.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        flags: u32::from(context.sampled) | PARENT_KNOWN | remote,
        name,
        kind: (if server { proto::span::SpanKind::Server } else { proto::span::SpanKind::Client }) as i32,
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(end),
        attributes: tags.into_iter().map(|(key, value)| attribute(key, value)).collect(),
        events: events.into_iter().map(|(at, name)| proto::span::Event { time_unix_nano: nanos(at), name: name.to_owned(), ..Default::default() }).collect(),
        status: failed.then(|| proto::Status { code: proto::status::StatusCode::Error as i32, ..Default::default() }),
        ..Default::default()
    }
}
