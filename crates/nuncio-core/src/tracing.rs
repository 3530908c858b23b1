//! Tracing: what a span is, why a request is traced, and what a tracer does.
//!
//! The connection manager decides, starts spans and fills them; a [`Tracer`] knows how contexts travel in headers and
//! where finished spans go. Without `tracing` in the configuration none of this exists.

use crate::format::Format;
use crate::{BuildCx, ConfigError, FilterConfig, StreamCx, Worker};
use nuncio_codec::headers::{HeaderMap, Known};
use std::{borrow::Cow, fmt, rc::Rc, sync::Arc, time::SystemTime};

/// `CustomTag`.
#[derive(Debug)]
pub struct CustomTag {
    /// Its name.
    pub name: Box<str>,
    /// Makes its value.
    pub value: Format,
    /// Where that is empty; a tag without a value is left out.
    pub default: Box<str>,
}

impl CustomTag {
    /// Its value for an exchange, if it has one.
    pub fn value(&self, cx: &StreamCx) -> Option<String> {
        let mut out = Vec::new();
        self.value.write(cx, &mut out);
        let value = if out.is_empty() { self.default.to_string() } else { String::from_utf8_lossy(&out).into_owned() };
        (!value.is_empty()).then_some(value)
    }
}

/// Where the digit of a UUID stands that tells why a request is traced.
const REASON_AT: usize = 14;

/// Why a request is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceReason {
    /// It is not.
    #[default]
    NotTraceable,
    /// It was drawn.
    Sampling,
    /// A service of ours wants it (`x-envoy-force-trace`).
    ServiceForced,
    /// The client wants it (`x-client-trace-id`).
    ClientForced,
}

impl TraceReason {
    /// What the request's id says.
    pub fn of_request(head: &HeaderMap) -> TraceReason {
        match head.get(Known::XRequestId).filter(|id| id.len() == 36).and_then(|id| id.get(REASON_AT)) {
            Some(b'9') => TraceReason::Sampling,
            Some(b'a') => TraceReason::ServiceForced,
            Some(b'b') => TraceReason::ClientForced,
            _ => TraceReason::NotTraceable,
        }
    }

    /// Writes it into the request's id, so that all who see the request decide alike.
    pub fn mark(self, head: &mut HeaderMap) {
        let Some(id) = head.get(Known::XRequestId).filter(|id| id.len() == 36) else { return };
        let mut id = id.to_vec();
        id[REASON_AT] = match self {
            TraceReason::NotTraceable => b'4',
            TraceReason::Sampling => b'9',
            TraceReason::ServiceForced => b'a',
            TraceReason::ClientForced => b'b',
        };
        head.insert(Known::XRequestId, id);
    }
}

/// What of a span travels with requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace it belongs to.
    pub trace_id: [u8; 16],
    /// Itself.
    pub span_id: [u8; 8],
    /// The span that it is a part of.
    pub parent: Option<[u8; 8]>,
    /// That span is another process's.
    pub remote_parent: bool,
    /// It is recorded.
    pub sampled: bool,
    /// What vendors add (`tracestate`).
    pub state: Box<str>,
}

impl SpanContext {
    /// The context of a part of this span.
    pub fn child(&self, worker: &Worker) -> SpanContext {
        let span_id = worker.rng.next_u64().to_be_bytes();
        SpanContext { span_id, parent: Some(self.span_id), remote_parent: false, ..self.clone() }
    }
}

/// One span.
#[derive(Debug, Clone)]
pub struct Span {
    /// Who it is.
    pub context: SpanContext,
    /// Name of the operation.
    pub name: String,
    /// A request that came in; else one that goes out.
    pub server: bool,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// Tags, in their order.
    pub tags: Vec<(Cow<'static, str>, String)>,
    /// What happened when (`verbose`).
    pub events: Vec<(SystemTime, &'static str)>,
    /// The answer was an error of the server's.
    pub failed: bool,
}

impl Span {
    /// A span that begins.
    pub fn new(context: SpanContext, name: String, server: bool, start: SystemTime) -> Span {
        Span { context, name, server, start, end: start, tags: Vec::new(), events: Vec::new(), failed: false }
    }
}

/// Starts and takes spans.
pub trait Tracer: Send + Sync + fmt::Debug + 'static {
    /// The context of a span for the request in `cx`, whose headers may bring another's; `traced` is what was decided about
    /// it here. `None`: what the headers bring is no context, and the request goes on without a span.
    fn start(&self, cx: &StreamCx, traced: bool) -> Option<SpanContext>;
    /// Writes a context into the headers of a request that goes out.
    fn inject(&self, context: &SpanContext, head: &mut HeaderMap);
    /// Takes a finished span that is recorded. Must not block: a full buffer drops and counts.
    fn report(&self, worker: &Rc<Worker>, span: Span);
}

/// One tracer of the registry.
#[derive(Debug, Clone, Copy)]
pub struct TracerEntry {
    /// Envoy's name, `envoy.tracers.…`.
    pub name: &'static str,
    /// Full name of its configuration message.
    pub message: &'static str,
    /// Builds the tracer.
    pub build: fn(FilterConfig<'_>, &mut BuildCx<'_>) -> Result<Arc<dyn Tracer>, ConfigError>,
}

/// The trace of one exchange.
#[derive(Debug)]
pub struct StreamTrace {
    /// Who takes its spans.
    pub tracer: Arc<dyn Tracer>,
    /// The span of the request.
    pub span: Span,
    /// The span of the attempt at the upstream that is under way, where attempts have their own.
    pub upstream: Option<Span>,
    /// Those of attempts that are over.
    pub attempts: Vec<Span>,
    /// Attempts have spans of their own.
    pub spawns: bool,
    /// What those are called.
    pub upstream_operation: Option<Arc<Format>>,
    /// Contexts go out with requests.
    pub propagates: bool,
    /// The operation that the response tells the client of (`x-envoy-decorator-operation`).
    pub decorated: Option<Box<str>>,
}

impl StreamTrace {
    /// Writes the context of the span under way into a request's headers.
    pub fn inject(&self, head: &mut HeaderMap) {
        if self.propagates {
            let span = self.upstream.as_ref().unwrap_or(&self.span);
            self.tracer.inject(&span.context, head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_tells_why_it_is_traced() {
        let mut head = HeaderMap::default();
        head.insert(Known::XRequestId, "15edfdfe-5fc8-437a-99fd-49e3d2e315a3");
        assert_eq!(TraceReason::of_request(&head), TraceReason::NotTraceable);
        for reason in [TraceReason::Sampling, TraceReason::ServiceForced, TraceReason::ClientForced, TraceReason::NotTraceable] {
            reason.mark(&mut head);
            assert_eq!(TraceReason::of_request(&head), reason);
        }
        assert_eq!(head.get(Known::XRequestId), Some(&b"15edfdfe-5fc8-437a-99fd-49e3d2e315a3"[..]));
        head.insert(Known::XRequestId, "own");
        TraceReason::Sampling.mark(&mut head);
        assert_eq!(head.get(Known::XRequestId), Some(&b"own"[..]));
    }
}
