//! The internal client: requests of filters to services in clusters ([`nuncio_core::HttpClient`]).
//!
//! A request is a router of its own, without a route: hosts, breakers, retries, timeouts and statistics are those of any
//! request to the cluster. It lives in the future that its asker polls, and ends with it: an asker who goes away cancels.

mod on_demand;
mod talk;

use super::charge::{Answer, Classes};
use nuncio_core::{
    ClientFailure, ClientRequest, ClientResponse, ClientStream, ConnInfo, HttpClient, HttpClientPart, LocalFuture,
    MAX_RESPONSE_BYTES, StreamCx, StreamPiece, StreamRequest, Worker,
};
use nuncio_upstream::WorkerClusters;
pub use on_demand::install_on_demand;
use talk::Talk;
use std::{
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, ready},
};

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
        let ClientRequest { cluster: _, head, body, timeout, retry, plain, forwarded_for, max_response_bytes } = request;
        let limit = if max_response_bytes == 0 { MAX_RESPONSE_BYTES } else { max_response_bytes };
        let request = StreamRequest { cluster: Arc::default(), head, timeout, retry, plain, forwarded_for };
        let talk = Talk::new(StreamCx::new(worker, self.conn.clone()), cluster, request, body.is_empty());
        Box::pin(Call { talk, body, answer: ClientResponse::default(), limit })
    }

    fn open(&self, request: StreamRequest) -> Result<Box<dyn ClientStream>, ClientFailure> {
        let cluster = self.clusters.upgrade().and_then(|clusters| clusters.by_name(&request.cluster));
        let worker = self.worker.upgrade().ok_or(ClientFailure::NoCluster)?;
        let cx = StreamCx::new(worker, self.conn.clone());
        Ok(Box::new(Talk::new(cx, cluster.ok_or(ClientFailure::NoCluster)?, request, false)))
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

/// A complete request under way.
struct Call {
    talk: Talk,
    body: Vec<u8>,
    answer: ClientResponse,
    limit: usize,
}

impl Future for Call {
    type Output = Result<ClientResponse, ClientFailure>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let body = std::mem::take(&mut this.body);
        if !body.is_empty() {
            this.talk.send(&body, true);
        }
        loop {
            let end = match ready!(this.talk.poll_piece(task))? {
                StreamPiece::Head { head, end } => {
                    this.answer.head = head;
                    end
                }
                StreamPiece::Data { bytes, end } => {
                    this.answer.body.extend_from_slice(bytes.filled());
                    this.talk.recycle(bytes);
                    if this.answer.body.len() > this.limit {
                        return Poll::Ready(Err(ClientFailure::TooLong));
                    }
                    end
                }
                StreamPiece::Trailers(trailers) => {
                    this.answer.trailers = trailers;
                    true
                }
                StreamPiece::Local(answer) => {
                    this.answer = answer;
                    true
                }
            };
            if end {
                return Poll::Ready(Ok(std::mem::take(&mut this.answer)));
            }
        }
    }
}
