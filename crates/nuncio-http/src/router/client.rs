//! The internal client: requests of filters to services in clusters ([`nuncio_core::HttpClient`]).
//!
//! A request is a router of its own, without a route: hosts, breakers, retries, timeouts and statistics are those of any
//! request to the cluster. It lives in the future that its asker polls, and ends with it: an asker who goes away cancels.

use super::{Event, Router, charge::{Answer, Classes}};
use crate::config::RouterOptions;
use crate::headers::local_address;
use crate::routes::{BackOff, RetryOn, RetryPolicy};
use crate::stream::{Piece, reply};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{
    ClientFailure, ClientRequest, ClientResponse, ClientRetry, ConnInfo, HttpClient, HttpClientPart,
    LocalFuture, LocalReply, MAX_RESPONSE_BYTES, StreamCx, Worker,
};
use nuncio_rt::{Buf, Deadline, Time};
use nuncio_upstream::WorkerClusters;
use std::{
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
};

/// Bytes that may wait for a service's socket before the rest of a body is encoded.
const BUFFER_LIMIT: usize = 1 << 20;

/// The client of one worker.
struct Client {
    worker: Weak<Worker>,
    clusters: Weak<WorkerClusters>,
    /// Stands for the client's connection, which such requests do not have.
    conn: Rc<ConnInfo>,
}

/// Leaves a client among the worker's parts, unless there is one.
pub fn install(worker: &Rc<Worker>, clusters: &Rc<WorkerClusters>) {
    if worker.http_client().is_some() {
        return;
    }
    let conn = Rc::new(ConnInfo::nobody());
    let client = Client { worker: Rc::downgrade(worker), clusters: Rc::downgrade(clusters), conn };
    worker.parts.set(Rc::new(HttpClientPart(Rc::new(client))));
}

impl HttpClient for Client {
    fn send(&self, request: ClientRequest) -> LocalFuture<Result<ClientResponse, ClientFailure>> {
        let cluster = self.clusters.upgrade().and_then(|clusters| clusters.by_name(&request.cluster));
        let (Some(worker), Some(cluster)) = (self.worker.upgrade(), cluster) else {
            return Box::pin(std::future::ready(Err(ClientFailure::NoCluster)));
        };
        let mut cx = StreamCx::new(worker, self.conn.clone());
        let ClientRequest { cluster: _, head, body, timeout, retry, plain, forwarded_for, max_response_bytes } = request;
        cx.request = head;
        cx.info.start = Time::now();
        cx.info.internal = !plain;
        cx.info.upstream.cluster = Some(cluster.cx().facts.clone());
        prepare(&mut cx.request, plain, forwarded_for);
        let mut router = Box::<Router>::default();
        router.begin(BUFFER_LIMIT, &RouterOptions { suppress_envoy_headers: plain, ..RouterOptions::default() });
        router.timeouts.global = timeout;
        router.retries.begin(retry.map(|retry| policy(&retry)).as_ref(), &mut cx.request);
        router.cluster = Some(cluster);
        let deadline = Deadline::new(cx.worker.timers.clone());
        let limit = if max_response_bytes == 0 { MAX_RESPONSE_BYTES } else { max_response_bytes };
        Box::pin(Call { cx, router, deadline, began: false, body, answer: ClientResponse::default(), limit })
    }

    fn stat_name(&self, cluster: &str) -> Option<Arc<str>> {
        Some(self.clusters.upgrade()?.by_name(cluster)?.info().display_name().clone())
    }

    fn charge(&self, cluster: &str, status: u16, internal: bool) {
        if let Some(cluster) = self.clusters.upgrade().and_then(|clusters| clusters.by_name(cluster)) {
            Classes::default().status(status, Answer { cluster: cluster.cx(), host: None, internal, head: None });
        }
    }
}

fn policy(from: &ClientRetry) -> Arc<RetryPolicy> {
    let back_off = from.back_off.map(|(base, max)| BackOff { base, max });
    let retry_on = RetryOn::parse(&from.retry_on, |_| {});
    Arc::new(RetryPolicy { retry_on, num_retries: from.num_retries, back_off, ..RetryPolicy::default() })
}

/// What our own requests carry.
fn prepare(head: &mut HeaderMap, plain: bool, forwarded_for: bool) {
    if plain {
        return;
    }
    head.insert(Known::XEnvoyInternal, "true");
    if forwarded_for {
        head.append_joined(Known::XForwardedFor, ",", local_address::of_this_host().to_string());
    }
}

/// A request under way.
struct Call {
    cx: StreamCx,
    router: Box<Router>,
    deadline: Deadline,
    began: bool,
    body: Vec<u8>,
    answer: ClientResponse,
    limit: usize,
}

impl Call {
    fn begin(&mut self, now: Time) -> Result<(), Box<LocalReply>> {
        self.began = true;
        let body = std::mem::take(&mut self.body);
        self.router.attempt.end_with_head(body.is_empty());
        self.router.started = true;
        self.router.request_ended = Some(now);
        self.router.next_attempt(&mut self.cx, now)?;
        if !body.is_empty() {
            self.router.forward(&self.cx, Piece::Data { bytes: Buf::copy_of(&body), end: true }, now);
        }
        Ok(())
    }

    /// The answer as it is.
    fn done(&mut self) -> Poll<Result<ClientResponse, ClientFailure>> {
        let mut answer = std::mem::take(&mut self.answer);
        answer.head = std::mem::take(&mut self.cx.response);
        answer.trailers = std::mem::take(&mut self.cx.response_trailers);
        Poll::Ready(Ok(answer))
    }

    /// An answer from here.
    fn local(&mut self, made: &LocalReply) -> Poll<Result<ClientResponse, ClientFailure>> {
        reply::prepare(&mut self.cx, made);
        let body = reply::seal(&mut self.cx, made);
        self.answer.body = body.map(|body| body.filled().to_vec()).unwrap_or_default();
        self.answer.local = true;
        self.done()
    }

    fn advance(&mut self, task: &mut Context<'_>, now: Time) -> Poll<Result<ClientResponse, ClientFailure>> {
        if !self.began
            && let Err(made) = self.begin(now)
        {
            return self.local(&made);
        }
        while let Poll::Ready(event) = self.router.poll(task, &mut self.cx, now, true) {
            match event {
                Event::Informational => self.cx.response.clear(),
                Event::Head { end } | Event::Redirect { end } if end => return self.done(),
                Event::Head { .. } | Event::Redirect { .. } => {}
                Event::Data { bytes, end } => {
                    self.answer.body.extend_from_slice(bytes.filled());
                    self.cx.worker.bufs.put(bytes);
                    if self.answer.body.len() > self.limit {
                        return Poll::Ready(Err(ClientFailure::TooLong));
                    }
                    if end {
                        return self.done();
                    }
                }
                Event::Trailers => return self.done(),
                Event::Reply(made) => return self.local(&made),
                Event::Cut => return Poll::Ready(Err(ClientFailure::Reset)),
            }
        }
        Poll::Pending
    }
}

impl Future for Call {
    type Output = Result<ClientResponse, ClientFailure>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let now = this.cx.worker.clock.read();
            if let Poll::Ready(answer) = this.advance(task, now) {
                this.router.end();
                return Poll::Ready(answer);
            }
            this.deadline.set(this.router.deadline());
            if this.deadline.poll(task, now).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.router.abort();
        self.router.end();
    }
}
