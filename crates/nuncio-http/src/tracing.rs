//! Tracing of requests: which are traced, what their spans are called and say. As Envoy's connection manager and router.
//!
//! How contexts travel and where spans go is the tracer's business (`nuncio_core::Tracer`).

use crate::hcm::HcmWorker;
use crate::routes::{RouteEntry, is_grpc};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::format::Format;
use nuncio_core::{CustomTag, Fraction, RuntimeFraction, Span, StreamCx, StreamTrace, TraceReason, Tracer};
use nuncio_rt::{Address, Time};
use nuncio_stats::tables::http_connection_manager as stat;
use std::{borrow::Cow, sync::Arc, time::SystemTime};

/// `HttpConnectionManager.Tracing`.
#[derive(Debug)]
pub struct Tracing {
    /// Who takes spans; without one requests are only marked and counted.
    pub tracer: Option<Arc<dyn Tracer>>,
    /// Of requests that want it (`x-client-trace-id`): runtime key `tracing.client_enabled`.
    pub client_sampling: RuntimeFraction,
    /// Of all others: `tracing.random_sampling`.
    pub random_sampling: RuntimeFraction,
    /// Of all that would be traced: `tracing.global_enabled`.
    pub overall_sampling: RuntimeFraction,
    /// Spans say when what happened.
    pub verbose: bool,
    /// Bytes of a path in `http.url` at most.
    pub max_path_tag_length: usize,
    /// More tags.
    pub custom_tags: Box<[CustomTag]>,
    /// Attempts at upstreams have spans of their own.
    pub spawn_upstream_span: bool,
    /// Name of the operation, on routes without one.
    pub operation: Option<Arc<Format>>,
    /// Name of attempts, on routes without one.
    pub upstream_operation: Option<Arc<Format>>,
    /// Contexts go out with requests (`no_context_propagation` is off).
    pub propagates: bool,
    /// The listener is for requests that go out (`traffic_direction`).
    pub egress: bool,
    /// `node.id`.
    pub node: Arc<str>,
    /// `node.locality.zone`.
    pub zone: Arc<str>,
    /// Ids of requests tell why they are traced (`pack_trace_reason`).
    pub marks_ids: bool,
    /// Requests are drawn by their ids (`use_request_id_for_trace_sampling`).
    pub draws_by_id: bool,
}

/// Decides about a request whose route has been looked for. `again` for one that an upstream's redirect made.
pub(crate) fn decide(cx: &mut StreamCx, hcm: &HcmWorker, again: bool) {
    let Some(tracing) = &hcm.config.tracing else { return };
    let entry = cx.route.as_ref().and_then(|route| hcm.routes.table().get(route.id));
    let reason = if again { TraceReason::of_request(&cx.request) } else { reason(cx, tracing, entry) };
    note(cx, hcm, reason);
}

fn note(cx: &mut StreamCx, hcm: &HcmWorker, reason: TraceReason) {
    cx.info.trace_reason = Some(reason);
    hcm.stats.inc(cx.worker.lane, match reason {
        TraceReason::NotTraceable => stat::TRACING_NOT_TRACEABLE,
        TraceReason::Sampling => stat::TRACING_RANDOM_SAMPLING,
        TraceReason::ServiceForced => stat::TRACING_SERVICE_FORCED,
        TraceReason::ClientForced => stat::TRACING_CLIENT_ENABLED,
    });
}

/// Starts the span of a request that comes in.
pub(crate) fn begin(cx: &mut StreamCx, hcm: &HcmWorker) {
    let Some(tracing) = &hcm.config.tracing else { return };
    let entry = cx.route.as_ref().and_then(|route| hcm.routes.table().get(route.id));
    let reason = cx.info.trace_reason.unwrap_or_default();
    let Some(tracer) = tracing.tracer.clone() else { return };
    let Some(context) = tracer.start(cx, reason != TraceReason::NotTraceable) else { return };
    let more = entry.and_then(|entry| entry.route.more.as_ref());
    let decorator = more.and_then(|more| more.decorator.as_ref());
    let operation = more.and_then(|more| more.tracing.as_ref()?.operation.as_ref()).or(tracing.operation.as_ref());
    let mut name = match (decorator, operation) {
        (Some(decorator), _) => decorator.operation.to_string(),
        (None, Some(operation)) => text(operation, cx),
        (None, None) if tracing.egress => format!("egress {}", cx.request.get_str(Known::Authority).unwrap_or_default()),
        (None, None) => "ingress".to_owned(),
    };
    let mut decorated = decorator.filter(|decorator| decorator.propagate).map(|decorator| decorator.operation.clone());
    if tracing.egress {
        if let Some(operation) = decorated.take() {
            cx.request.insert(Known::XEnvoyDecoratorOperation, operation.as_bytes());
        }
    } else if let Some(operation) = cx.request.get_str(Known::XEnvoyDecoratorOperation).map(str::to_owned) {
        // The caller knows better.
        cx.request.remove(Known::XEnvoyDecoratorOperation);
        if !operation.is_empty() {
            (name, decorated) = (operation, None);
        }
    }
    let server = tracing.spawn_upstream_span || !tracing.egress;
    let span = Span::new(context, name, server, cx.info.start.wall());
    let of_route = more.and_then(|more| more.tracing.as_ref()?.upstream_operation.clone());
    cx.trace = Some(Box::new(StreamTrace {
        tracer,
        span,
        upstream: None,
        attempts: Vec::new(),
        spawns: tracing.spawn_upstream_span || hcm.config.router.start_child_span,
        upstream_operation: of_route.or_else(|| tracing.upstream_operation.clone()),
        propagates: tracing.propagates,
        decorated,
    }));
}

/// A request goes no further, and nothing has been decided about it: it is not traced.
pub(crate) fn refused(cx: &mut StreamCx, hcm: &HcmWorker) {
    if hcm.config.tracing.is_some() && cx.info.trace_reason.is_none() {
        note(cx, hcm, TraceReason::NotTraceable);
    }
}

fn reason(cx: &mut StreamCx, tracing: &Tracing, entry: Option<&RouteEntry>) -> TraceReason {
    if !tracing.draws_by_id {
        return TraceReason::Sampling;
    }
    let id = cx.request.get(Known::XRequestId).and_then(|id| std::str::from_utf8(id.get(..8)?).ok());
    let Some(random) = id.and_then(|id| u64::from_str_radix(id, 16).ok()) else { return TraceReason::NotTraceable };
    let random = random % 10_000;
    let of_route = entry.and_then(|entry| entry.route.more.as_ref()?.tracing.as_ref());
    let runtime = cx.worker.runtime.values().clone();
    let holds = |key: &RuntimeFraction, own: Option<Fraction>, random| {
        RuntimeFraction { default: own.unwrap_or(key.default), key: key.key.clone() }.holds(random, &runtime)
    };
    let before = TraceReason::of_request(&cx.request);
    let mut reason = before;
    if reason == TraceReason::NotTraceable {
        reason = if cx.request.contains(Known::XClientTraceId)
            && holds(&tracing.client_sampling, of_route.map(|route| route.client_sampling), cx.worker.rng.next_u64())
        {
            TraceReason::ClientForced
        } else if cx.request.contains(Known::XEnvoyForceTrace) {
            TraceReason::ServiceForced
        } else if holds(&tracing.random_sampling, of_route.map(|route| route.random_sampling), random) {
            TraceReason::Sampling
        } else {
            TraceReason::NotTraceable
        };
    }
    if reason != TraceReason::NotTraceable && !holds(&tracing.overall_sampling, of_route.map(|route| route.overall_sampling), random) {
        reason = TraceReason::NotTraceable;
    }
    if reason != before && tracing.marks_ids {
        reason.mark(&mut cx.request);
    }
    reason
}

/// An attempt at the upstream begins: it has a span of its own, where that is wanted.
pub(crate) fn attempt(cx: &mut StreamCx) {
    finish_attempt(cx);
    let Some(trace) = cx.trace.as_ref().filter(|trace| trace.spawns) else { return };
    let context = trace.span.context.child(&cx.worker);
    let cluster = cx.info.upstream.cluster.as_ref().map_or("", |cluster| &*cluster.display_name);
    let name = trace.upstream_operation.as_ref().map_or_else(|| format!("router {cluster} egress"), |format| text(format, cx));
    let mut span = Span::new(context, name, false, SystemTime::now());
    if cx.info.attempts > 1 {
        span.tags.push((Cow::Borrowed("retry.count"), (cx.info.attempts - 1).to_string()));
    }
    if let Some(trace) = &mut cx.trace {
        trace.upstream = Some(span);
    }
}

/// The trace of a copy of the request: a span of its own within the request's. `sampled` says whether that is recorded,
/// whatever becomes of the request's.
pub(crate) fn of_copy(cx: &StreamCx, sampled: Option<bool>) -> Option<Box<StreamTrace>> {
    let trace = cx.trace.as_ref()?;
    let mut context = trace.span.context.child(&cx.worker);
    context.sampled = sampled.unwrap_or(context.sampled);
    Some(Box::new(StreamTrace {
        tracer: trace.tracer.clone(),
        span: Span::new(context, "mirror".to_owned(), false, SystemTime::now()),
        upstream: None,
        attempts: Vec::new(),
        spawns: false,
        upstream_operation: None,
        propagates: trace.propagates,
        decorated: None,
    }))
}

/// A copy is over: its span tells how it went.
pub(crate) fn copied(cx: &mut StreamCx) {
    let Some(mut trace) = cx.trace.take() else { return };
    if trace.span.context.sampled {
        upstream_tags(cx, &mut trace.span);
        trace.tracer.report(&cx.worker, trace.span);
    }
}

/// What the response tells of the operation, to the client or to us.
pub(crate) fn response(cx: &mut StreamCx, tracing: &Tracing) {
    let Some(trace) = &mut cx.trace else { return };
    if let Some(operation) = &trace.decorated {
        cx.response.insert(Known::XEnvoyDecoratorOperation, operation.as_bytes());
    } else if tracing.egress && let Some(operation) = cx.response.get_str(Known::XEnvoyDecoratorOperation) {
        if !operation.is_empty() {
            trace.span.name = operation.to_owned();
        }
        cx.response.remove(Known::XEnvoyDecoratorOperation);
    }
}

/// The exchange is over: its spans are filled and given away.
pub(crate) fn end(cx: &mut StreamCx, hcm: &HcmWorker, now: Time) {
    let Some(tracing) = &hcm.config.tracing else { return };
    let entry = cx.route.as_ref().and_then(|route| hcm.routes.table().get(route.id));
    finish_attempt(cx);
    let Some(mut trace) = cx.trace.take() else { return };
    if !trace.span.context.sampled {
        return;
    }
    for mut span in std::mem::take(&mut trace.attempts) {
        custom_tags(cx, &mut span, tracing, entry);
        if tracing.verbose {
            span.events.extend(upstream_events(cx).into_iter().filter_map(|(at, what)| Some((at?.wall(), what))));
        }
        trace.tracer.report(&cx.worker, span);
    }
    let span = &mut trace.span;
    let mut tag = |name: &'static str, value: String| span.tags.push((Cow::Borrowed(name), value));
    let header = |name: Known| cx.request.get(name).map(lossy).filter(|value| !value.is_empty());
    let or_none = |name: Known| header(name).unwrap_or_else(|| "-".to_owned());
    tag("node_id", tracing.node.to_string());
    tag("zone", tracing.zone.to_string());
    if let Some(id) = header(Known::XRequestId) {
        tag("guid:x-request-id", id);
    }
    tag("http.url", url(&cx.request, tracing.max_path_tag_length));
    tag("http.method", header(Known::Method).unwrap_or_default());
    tag("downstream_cluster", or_none(Known::XEnvoyDownstreamServiceCluster));
    tag("user_agent", or_none(Known::UserAgent));
    tag("http.protocol", cx.info.protocol.name().to_owned());
    tag("peer.address", match &cx.conn.remote {
        Address::Ip(address) => address.ip().to_string(),
        other => other.to_string(),
    });
    if let Some(id) = header(Known::XClientTraceId) {
        tag("guid:x-client-trace-id", id);
    }
    if is_grpc(&cx.request) {
        tag("grpc.path", header(Known::Path).unwrap_or_default());
        tag("grpc.authority", header(Known::Authority).unwrap_or_default());
        tag("grpc.content_type", header(Known::ContentType).unwrap_or_default());
        if let Some(timeout) = cx.request.get("grpc-timeout") {
            tag("grpc.timeout", lossy(timeout));
        }
    }
    tag("request_size", cx.info.bytes_received.to_string());
    tag("response_size", cx.info.bytes_sent.to_string());
    common_tags(cx, span, cx.info.status);
    custom_tags(cx, span, tracing, entry);
    if tracing.verbose {
        let t = &cx.info.timings;
        let happened = [(t.request_received, "last_downstream_rx_byte_received")].into_iter().chain(upstream_events(cx)).chain([
            (t.response_first_tx, "first_downstream_tx_byte_sent"),
            (t.response_last_tx, "last_downstream_tx_byte_sent"),
        ]);
        span.events.extend(happened.filter_map(|(at, what)| Some((at?.wall(), what))));
    }
    span.end = now.wall();
    trace.tracer.report(&cx.worker, trace.span);
}

fn upstream_events(cx: &StreamCx) -> [(Option<Time>, &'static str); 4] {
    let t = &cx.info.timings;
    [
        (t.upstream_first_tx, "first_upstream_tx_byte_sent"),
        (t.upstream_last_tx, "last_upstream_tx_byte_sent"),
        (t.upstream_first_rx, "first_upstream_rx_byte_received"),
        (t.upstream_last_rx, "last_upstream_rx_byte_received"),
    ]
}

/// What the last attempt came to, so far as it has a span.
fn finish_attempt(cx: &mut StreamCx) {
    let Some(mut span) = cx.trace.as_mut().and_then(|trace| trace.upstream.take()) else { return };
    upstream_tags(cx, &mut span);
    if let Some(trace) = &mut cx.trace {
        trace.attempts.push(span);
    }
}

/// What an attempt came to; it ends here.
fn upstream_tags(cx: &StreamCx, span: &mut Span) {
    let upstream = &cx.info.upstream;
    span.tags.push((Cow::Borrowed("http.protocol"), upstream.protocol.map_or("-", |protocol| protocol.name()).to_owned()));
    if let Some(host) = &upstream.host {
        span.tags.push((Cow::Borrowed("upstream_address"), host.address.to_string()));
        span.tags.push((Cow::Borrowed("peer.address"), host.address.to_string()));
    }
    common_tags(cx, span, cx.response.status().unwrap_or(0));
    span.end = SystemTime::now();
}

/// Statuses of gRPC that are the server's fault.
const GRPC_ERRORS: [&[u8]; 6] = [b"2", b"4", b"12", b"13", b"14", b"15"];

fn common_tags(cx: &StreamCx, span: &mut Span, status: u16) {
    let mut tag = |name: &'static str, value: String| span.tags.push((Cow::Borrowed(name), value));
    tag("component", "proxy".to_owned());
    if let Some(cluster) = &cx.info.upstream.cluster {
        tag("upstream_cluster", cluster.name.to_string());
        tag("upstream_cluster.name", cluster.display_name.to_string());
    }
    tag("http.status_code", status.to_string());
    let flags = cx.info.flags.to_string();
    tag("response_flags", if flags.is_empty() { "-".to_owned() } else { flags });
    span.failed = status == 0 || status >= 500;
    if is_grpc(&cx.request) {
        let of = |name: Known| cx.response_trailers.get(name).or_else(|| cx.response.get(name));
        if let Some(status) = of(Known::GrpcStatus) {
            span.tags.push((Cow::Borrowed("grpc.status_code"), lossy(status)));
            span.failed |= GRPC_ERRORS.contains(&status);
        }
        if let Some(message) = of(Known::GrpcMessage) {
            span.tags.push((Cow::Borrowed("grpc.message"), lossy(message)));
        }
    }
    if span.failed {
        span.tags.push((Cow::Borrowed("error"), "true".to_owned()));
    }
}

/// The route's tags go before those of the same name.
fn custom_tags(cx: &StreamCx, span: &mut Span, tracing: &Tracing, entry: Option<&RouteEntry>) {
    let of_route = entry.and_then(|entry| entry.route.more.as_ref()?.tracing.as_ref()).map_or(&[][..], |route| &route.custom_tags);
    let others = tracing.custom_tags.iter().filter(|tag| !of_route.iter().any(|own| own.name == tag.name));
    for tag in of_route.iter().chain(others) {
        if let Some(value) = tag.value(cx) {
            span.tags.push((Cow::Owned(tag.name.to_string()), value));
        }
    }
}

fn text(format: &Format, cx: &StreamCx) -> String {
    let mut out = Vec::new();
    format.write(cx, &mut out);
    lossy(&out)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn url(head: &HeaderMap, most: usize) -> String {
    let path = head.get(Known::XEnvoyOriginalPath).or_else(|| head.path()).unwrap_or_default();
    let part = |name: Known| head.get(name).unwrap_or_default();
    lossy(&[part(Known::XForwardedProto), b"://", part(Known::Authority), &path[..path.len().min(most)]].concat())
}
