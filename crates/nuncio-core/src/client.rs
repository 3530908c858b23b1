//! Requests of our own: how filters ask services in clusters (authorization, rate limits, …).
//!
//! What a request is, is here; sending it is the business of `nuncio-http`, which leaves an [`HttpClientPart`] among each
//! worker's parts. A complete answer is a future; a request whose two directions go on together is a [`ClientStream`]. Dropping
//! either cancels the request. The main thread's worker has a client, too.

use crate::{LocalFuture, Worker};
use nuncio_codec::headers::HeaderMap;
use nuncio_rt::Buf;
use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// Bytes of a response that are taken, unless a request says otherwise (Envoy's `http.async_response_buffer_limit`).
pub const MAX_RESPONSE_BYTES: usize = 32 << 20;

/// A complete request to a cluster.
#[derive(Debug, Default)]
pub struct ClientRequest {
    /// The cluster.
    pub cluster: Arc<str>,
    /// Its head, pseudo headers included.
    pub head: HeaderMap,
    /// Its body; empty for none.
    pub body: Vec<u8>,
    /// How long it may take in all; zero for no limit.
    pub timeout: Duration,
    /// When it is tried again.
    pub retry: Option<Arc<ClientRetry>>,
    /// Neither `x-envoy-internal` nor `x-forwarded-for` nor what else is ours is added (`skip_envoy_headers`).
    pub plain: bool,
    /// `x-forwarded-for` with our address is added.
    pub forwarded_for: bool,
    /// A longer body is a failure; 0 for [`MAX_RESPONSE_BYTES`].
    pub max_response_bytes: usize,
}

/// The head of a request to a cluster whose body follows, while the answer comes already.
#[derive(Debug, Default)]
pub struct StreamRequest {
    /// The cluster.
    pub cluster: Arc<str>,
    /// Its head, pseudo headers included.
    pub head: HeaderMap,
    /// How long the answer may take once the request is complete; zero for no limit.
    pub timeout: Duration,
    /// When it is tried again: as long as no answer has begun, and no more than 1 MiB has been sent.
    pub retry: Option<Arc<ClientRetry>>,
    /// See [`ClientRequest::plain`].
    pub plain: bool,
    /// See [`ClientRequest::forwarded_for`].
    pub forwarded_for: bool,
}

/// A piece of an answer.
#[derive(Debug)]
pub enum StreamPiece {
    /// Its head.
    Head {
        /// `:status` and the rest.
        head: HeaderMap,
        /// Nothing follows.
        end: bool,
    },
    /// Bytes of its body.
    Data {
        /// The bytes; empty only at the end.
        bytes: Buf,
        /// Nothing follows.
        end: bool,
    },
    /// Its trailers, and its end.
    Trailers(HeaderMap),
    /// A complete answer that no host has given; nothing came before.
    Local(ClientResponse),
}

/// A request of our own under way in both directions. Dropping it cancels it.
pub trait ClientStream {
    /// Queues bytes of the request's body; `end` says that they are the last. Poll it afterwards: only then they move.
    fn send(&mut self, bytes: &[u8], end: bool);

    /// Bytes that are queued and that the service has not taken: whoever minds back-pressure sends no more while these
    /// are many. They are fewer when the task was woken.
    fn waiting(&self) -> usize;

    /// Moves both directions as far as they go, and hands out the next piece of the answer. Always pending after the
    /// last piece, or a failure.
    ///
    /// # Errors
    /// The answer broke off.
    fn poll_piece(&mut self, task: &mut Context<'_>) -> Poll<Result<StreamPiece, ClientFailure>>;
}

/// `core.v3.RetryPolicy`.
#[derive(Debug, Clone, Default)]
pub struct ClientRetry {
    /// As in routes: `5xx,connect-failure`; conditions of gRPC as well.
    pub retry_on: String,
    /// Retries after the first attempt.
    pub num_retries: u32,
    /// Base and longest wait between attempts.
    pub back_off: Option<(Duration, Duration)>,
}

/// A complete response: of the service, or made here in its place as for a client (503 when no host is healthy).
#[derive(Debug, Default)]
pub struct ClientResponse {
    /// Its head, `:status` included.
    pub head: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: HeaderMap,
    /// No host has said this.
    pub local: bool,
    /// Then, why (`%RESPONSE_CODE_DETAILS%`).
    pub details: std::borrow::Cow<'static, str>,
}

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFailure {
    /// There is no such cluster.
    NoCluster,
    /// The response broke off.
    Reset,
    /// The response is longer than what is taken.
    TooLong,
}

/// Sends requests of our own from one worker.
pub trait HttpClient {
    /// Sends a request; nothing is sent before the future is polled.
    fn send(&self, request: ClientRequest) -> LocalFuture<Result<ClientResponse, ClientFailure>>;
    /// Begins a request whose body follows; nothing is sent before the stream is sent to or polled.
    ///
    /// # Errors
    /// There is no such cluster.
    fn open(&self, request: StreamRequest) -> Result<Box<dyn ClientStream>, ClientFailure>;
    /// The name of a cluster in statistics, if there is such a cluster.
    fn stat_name(&self, cluster: &str) -> Option<Arc<str>>;
    /// Counts an answer that a filter gave in the place of a cluster among that cluster's responses.
    fn charge(&self, cluster: &str, status: u16, internal: bool);
}

/// The worker's client. Among its parts.
pub struct HttpClientPart(pub Rc<dyn HttpClient>);

impl Worker {
    /// The client for requests of our own; `None` before any connection manager has come.
    pub fn http_client(&self) -> Option<Rc<dyn HttpClient>> {
        self.parts.get::<HttpClientPart>().map(|part| part.0.clone())
    }
}
