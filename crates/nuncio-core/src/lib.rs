//! Vocabulary and extension seams, and nothing else.
//!
//! * [`StreamCx`], [`StreamInfo`]: one exchange as filters, router and access logs see it.
//! * [`HttpFilter`], [`Step`], [`Phases`]: how an HTTP filter takes part; it returns verdicts, only the engine acts.
//! * [`Terminal`], [`TerminalWorker`], [`Connection`]: how a network filter that ends a chain takes a connection.
//! * [`NetworkFilter`], [`NetworkStep`]: how a network filter before that one decides over a connection.
//! * [`Worker`]: what belongs to one worker thread.
//! * [`HttpClient`]: requests of a filter's own.
//! * [`RuntimeView`], [`RuntimeFraction`], …: values that may be changed while the process runs.
//! * [`AccessLogger`], [`LogFilter`], [`LogFiles`]: writing down what happened.
//! * [`FailureLog`]: the last requests that went wrong.
//! * [`ResponseFlags`], [`LocalReply`]: what happened, and an answer made here.
//! * [`format`]: substitution formats of access logs and header values.
//! * [`matching`], [`metadata`]: conditions on texts, headers, metadata; metadata themselves.
//! * [`cel`]: expressions about an exchange.
//! * [`grpc`]: what gRPC makes of HTTP; [`hash`]: the hashes that Envoy uses.
//! * [`logging`]: levels of the process log.
//! * [`HttpFilterEntry`], [`BuildCx`], [`ConfigError`]: building extensions from configuration.
//!
//! It moves nothing, holds no socket and decides nothing: `nuncio-http`, `nuncio-listen` and `nuncio-upstream` do.

mod access_log;
mod build;
pub mod cel;
mod certificate;
mod client;
mod conn;
mod failures;
mod filter;
pub mod filter_state;
mod flags;
pub mod format;
pub mod grpc;
pub mod hash;
mod http2_stats;
pub mod internal;
pub mod json;
mod keepalive;
pub mod logging;
pub mod matching;
pub mod metadata;
pub mod names;
pub mod network;
pub mod original_dst;
pub mod rate_limit;
pub mod proxy_protocol;
mod reply;
mod runtime;
mod stream;
mod tracing;
mod worker;

pub use access_log::{
    AccessLogBuild, AccessLogCx, AccessLogEntry, AccessLogger, Comparison, FilteredLogger, LineSink, LogFiles,
    LogFilter, LogSample, StreamTest,
};
pub use build::{BuildCx, ConfigError, FilterConfig, HttpFilterEntry, Posture};
pub use certificate::{Certificate, NameKind, TlsFacts, from_hex, hex};
pub use client::{
    ClientFailure, ClientRequest, ClientResponse, ClientRetry, ClientStream, HttpClient, HttpClientPart, MAX_RESPONSE_BYTES, StreamPiece,
    StreamRequest,
};
pub use conn::{Attached, ClientCertificate, ConnInfo, Connection, DrainSignal, Fingerprints, LocalFuture, Terminal, TerminalWorker};
pub use failures::{FailedRequest, FailureLog};
pub use filter::{Apply, Hold, HttpFilter, Pending, Phases, StateSlot, Step};
pub use filter_state::{FilterState, StateObject};
pub use flags::{FLAGS, FlagName, ResponseFlags};
pub use http2_stats::count_http2;
pub use keepalive::{Keepalive, PingDue, Pings};
pub use network::{DataWatch, LeftByFilters, NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep};
pub use names::{NameLookup, NamedClusters, NamedClustersPart, Resolved};
pub use reply::LocalReply;
pub use runtime::{
    Fraction, RuntimeDouble, RuntimeFlag, RuntimeFraction, RuntimeUint, RuntimeValue, RuntimeValues, RuntimeView,
};
pub use stream::{
    OverrideHost,
    CloseType, ClusterFacts, FilterLevel, HostFacts, Protocol, RouteId, RouteRef, RouteTableView, RouteView, StreamCx,
    StreamInfo, Timings, UpstreamFacts, WireBytes,
};
pub use tracing::{CustomTag, Span, SpanContext, StreamTrace, TraceReason, Tracer, TracerEntry};
pub use worker::{ClusterHealth, ClusterHealthPart, Common, NodePart, Parts, Worker};
