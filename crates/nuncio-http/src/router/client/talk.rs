//! A request of our own under way, both directions at once: the router that carries it, and what the asker sees of it.
//!
//! Whoever owns it polls it; dropping it cancels. An answer that no host gave comes as one piece.

use super::super::{Event, Router};
use crate::config::RouterOptions;
use crate::headers::local_address;
use crate::routes::{BackOff, RetryOn, RetryPolicy};
use crate::stream::{Piece, reply};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{ClientFailure, ClientResponse, ClientRetry, ClientStream, LocalReply, StreamCx, StreamPiece, StreamRequest};
use nuncio_rt::{Buf, Deadline, Time};
use nuncio_upstream::WorkerCluster;
use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

/// Bytes that are kept for another attempt.
const BUFFER_LIMIT: usize = 1 << 20;

/// A request under way.
pub(super) struct Talk {
    cx: StreamCx,
    router: Box<Router>,
    deadline: Deadline,
    /// The first attempt has been made.
    began: bool,
    /// The answer is complete, or there is none.
    over: bool,
    /// An answer from here that the asker has not seen yet.
    local: Option<Box<LocalReply>>,
}

impl Talk {
    /// Nothing is sent yet. `end` says that the head is all there is.
    pub(super) fn new(mut cx: StreamCx, cluster: Rc<WorkerCluster>, request: StreamRequest, end: bool) -> Talk {
        let StreamRequest { cluster: _, head, timeout, retry, plain, forwarded_for } = request;
        cx.request = head;
        cx.info.start = Time::now();
        cx.info.internal = !plain;
        cx.info.upstream.cluster = Some(cluster.cx().facts.clone());
        if !plain {
            cx.request.insert(Known::XEnvoyInternal, "true");
            if forwarded_for {
                cx.request.append_joined(Known::XForwardedFor, ",", local_address::of_this_host().to_string());
            }
        }
        let mut router = Box::<Router>::default();
        router.begin(BUFFER_LIMIT, &RouterOptions { suppress_envoy_headers: plain, ..RouterOptions::default() });
        router.timeouts.global = timeout;
        router.retries.begin(retry.map(|retry| policy(&retry)).as_ref(), &mut cx.request);
        router.cluster = Some(cluster);
        router.attempt.end_with_head(end);
        router.request_ended = end.then_some(cx.info.start);
        let deadline = Deadline::new(cx.worker.timers.clone());
        Talk { cx, router, deadline, began: false, over: false, local: None }
    }

    /// Gives a buffer back.
    pub(super) fn recycle(&self, buf: Buf) {
        self.cx.worker.bufs.put(buf);
    }

    fn begin(&mut self, now: Time) {
        if !std::mem::replace(&mut self.began, true) {
            self.local = self.router.start_unrouted(&mut self.cx, now).err();
        }
    }

    fn finished(&mut self, piece: Result<StreamPiece, ClientFailure>) -> Poll<Result<StreamPiece, ClientFailure>> {
        self.over = true;
        self.router.end();
        Poll::Ready(piece)
    }

    /// An answer from here.
    fn say(&mut self, made: &LocalReply) -> Poll<Result<StreamPiece, ClientFailure>> {
        reply::prepare(&mut self.cx, made);
        let body = reply::seal(&mut self.cx, made).map(|body| body.filled().to_vec()).unwrap_or_default();
        let head = std::mem::take(&mut self.cx.response);
        self.finished(Ok(StreamPiece::Local(ClientResponse { head, body, trailers: HeaderMap::default(), local: true, details: made.details.clone() })))
    }

    /// What the router has for the asker.
    fn piece(&mut self, event: Event) -> Poll<Result<StreamPiece, ClientFailure>> {
        let (piece, end) = match event {
            Event::Informational => {
                self.cx.response.clear();
                return Poll::Pending;
            }
            // The router looks at it again when the answer is complete.
            Event::Head { end } | Event::Redirect { end } => (StreamPiece::Head { head: self.cx.response.clone(), end }, end),
            Event::Data { bytes, end } => (StreamPiece::Data { bytes, end }, end),
            Event::Trailers => (StreamPiece::Trailers(std::mem::take(&mut self.cx.response_trailers)), true),
            Event::Reply(made) => return self.say(&made),
            Event::Cut => return self.finished(Err(ClientFailure::Reset)),
        };
        if end { self.finished(Ok(piece)) } else { Poll::Ready(Ok(piece)) }
    }
}

impl ClientStream for Talk {
    fn send(&mut self, bytes: &[u8], end: bool) {
        let now = self.cx.worker.clock.read();
        self.begin(now);
        if !self.over && self.local.is_none() && self.router.request_ended.is_none() {
            self.router.forward(&self.cx, Piece::Data { bytes: Buf::copy_of(bytes), end }, now);
        }
    }

    fn waiting(&self) -> usize {
        if self.over { 0 } else { self.router.waiting() }
    }

    fn poll_piece(&mut self, task: &mut Context<'_>) -> Poll<Result<StreamPiece, ClientFailure>> {
        if self.over {
            return Poll::Pending;
        }
        loop {
            let now = self.cx.worker.clock.read();
            self.begin(now);
            if let Some(made) = self.local.take() {
                return self.say(&made);
            }
            while let Poll::Ready(event) = self.router.poll(task, &mut self.cx, now, true) {
                if let Poll::Ready(piece) = self.piece(event) {
                    return Poll::Ready(piece);
                }
            }
            self.deadline.set(self.router.deadline());
            if self.deadline.poll(task, now).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.router.abort(&mut self.cx);
        self.router.end();
    }
}

fn policy(from: &ClientRetry) -> Arc<RetryPolicy> {
    let back_off = from.back_off.map(|(base, max)| BackOff { base, max });
    let retry_on = RetryOn::parse(&from.retry_on, |_| {});
    Arc::new(RetryPolicy { retry_on, num_retries: from.num_retries, back_off, ..RetryPolicy::default() })
}
