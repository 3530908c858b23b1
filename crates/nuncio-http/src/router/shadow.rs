//! Mirrors (`request_mirror_policies`): a copy of a request goes to another cluster, and what comes back is dropped.
//!
//! A copy is a task with a router of its own, without a route and without retries, fed piece by piece while the request
//! comes in. It never holds the request up: a copy that falls behind by more than may be buffered is given up, as one
//! whose request breaks off. Once its request is complete it lives on without it.

use super::{Router, charge::Classes};
use crate::headers::local_address;
use crate::routes::{ClusterPolicies, MirrorPolicy, RouteEntry, Side};
use crate::stream::{Piece, Routes};
use crate::tracing;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::StreamCx;
use nuncio_rt::{Buf, Deadline, Time};
use nuncio_stats::tables::cluster as stat;
use nuncio_upstream::WorkerCluster;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// The request's hold on one of its copies; dropping it gives up a copy that is not complete.
#[derive(Debug)]
pub(super) struct Shadow {
    feed: Rc<Feed>,
    complete: bool,
}

/// What a copy has still to take.
#[derive(Debug, Default)]
struct Feed {
    pieces: RefCell<VecDeque<Copied>>,
    bytes: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    /// The request broke off, or the copy fell too far behind.
    given_up: Cell<bool>,
    /// The copy takes no more.
    over: Cell<bool>,
}

#[derive(Debug)]
enum Copied {
    Data(Buf, bool),
    Trailers(HeaderMap),
}

impl Feed {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Shadow {
    /// Copies a piece of the body. More than `limit` bytes are not kept.
    pub(super) fn data(&mut self, bytes: &Buf, end: bool, limit: usize) {
        if self.feed.over.get() {
            return;
        }
        let waiting = self.feed.bytes.get() + bytes.len();
        if waiting > limit {
            self.feed.given_up.set(true);
        } else {
            self.feed.bytes.set(waiting);
            self.feed.pieces.borrow_mut().push_back(Copied::Data(Buf::copy_of(bytes.filled()), end));
            self.complete |= end;
        }
        self.feed.wake();
    }

    /// Copies the trailers.
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        self.feed.pieces.borrow_mut().push_back(Copied::Trailers(trailers.clone()));
        self.complete = true;
        self.feed.wake();
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        if !self.complete {
            self.feed.given_up.set(true);
            self.feed.wake();
        }
    }
}

impl Router {
    /// The request needs its copies no more: those that are complete live on, others are given up.
    #[inline]
    pub(super) fn drop_shadows(&mut self) {
        if !self.shadows.is_empty() {
            self.shadows.clear();
        }
    }
}

/// The policies for a request: its cluster's, else its route's own, else its virtual host's, else those of all routes.
pub(super) fn policies<'r>(cluster: &'r WorkerCluster, routes: &'r Routes, entry: &'r RouteEntry) -> &'r [MirrorPolicy] {
    let of_cluster = ClusterPolicies::of(&cluster.info().config).map_or(&[][..], |policies| &policies.mirrors);
    let own = match &entry.route.action {
        crate::routes::Action::Forward(action) => action.more.as_ref().map_or(&[][..], |more| &more.mirror_policies),
        _ => &[],
    };
    let levels = [of_cluster, own, &entry.host.mirror_policies, &routes.table().config().mirror_policies];
    levels.into_iter().find(|level| !level.is_empty()).unwrap_or_default()
}

/// Sends a copy of the request whose head is in `cx.request` on its way, if the policy wants one.
pub(super) fn mirror(cx: &StreamCx, main: &Router, routes: &Routes, policy: &MirrorPolicy, end: bool) -> Option<Shadow> {
    if policy.fraction.as_ref().is_some_and(|fraction| !cx.worker.draws(fraction)) {
        return None;
    }
    let name = policy.cluster.of(&cx.request);
    let cluster = routes.clusters.by_name(name)?;
    let mut copy = StreamCx::new(cx.worker.clone(), cx.conn.clone());
    copy.request.clone_from(&cx.request);
    copy.info.start = cx.info.start;
    copy.info.protocol = cx.info.protocol;
    copy.info.internal = true;
    prepare(&mut copy, policy);
    copy.trace = tracing::of_copy(cx, policy.trace_sampled);
    let feed = Rc::new(Feed::default());
    let deadline = Deadline::new(cx.worker.timers.clone());
    let task = Task { cx: copy, router: Box::default(), feed: feed.clone(), deadline, began: false };
    nuncio_rt::spawn(task.begin(cluster, main, end));
    Some(Shadow { feed, complete: end })
}

/// What sets a copy's head apart.
fn prepare(cx: &mut StreamCx, policy: &MirrorPolicy) {
    for mutations in &policy.request_mutations {
        mutations.apply(cx, Side::Request);
    }
    let head = &mut cx.request;
    if let Some(host) = &policy.host_rewrite {
        head.insert(Known::Authority, host);
    } else if policy.shadow_host_suffix {
        let host = head.authority().unwrap_or_default();
        let named = match host.iter().position(|b| *b == b':') {
            Some(at) => [&host[..at], b"-shadow", &host[at..]].concat(),
            None => [host, b"-shadow"].concat(),
        };
        head.insert(Known::Authority, named);
    }
    head.insert(Known::XEnvoyInternal, "true");
    let here = local_address::of_this_host().to_string();
    if head.contains(Known::XForwardedFor) {
        head.append_joined(Known::XForwardedFor, ",", &here);
    } else {
        head.insert(Known::XForwardedFor, &here);
    }
}

/// A copy under way.
struct Task {
    cx: StreamCx,
    router: Box<Router>,
    feed: Rc<Feed>,
    deadline: Deadline,
    began: bool,
}

impl Task {
    fn begin(mut self, cluster: Rc<WorkerCluster>, main: &Router, end: bool) -> Task {
        let router = &mut *self.router;
        router.timeouts = main.timeouts;
        router.timeouts.per_try = std::time::Duration::ZERO;
        router.timeouts.per_try_idle = std::time::Duration::ZERO;
        router.buffer_limit = main.buffer_limit;
        router.attempt_count_upstream = main.attempt_count_upstream;
        router.suppress_envoy_headers = main.suppress_envoy_headers;
        router.classes = Classes::default();
        router.log = main.log.as_ref().map(super::log::Log::of_copy);
        router.cluster = Some(cluster);
        router.attempt.end_with_head(end);
        if end {
            router.request_ended = Some(Time::now());
        }
        self
    }

    /// Hands on what has come of the request. True if there was anything.
    fn feed(&mut self, now: Time) {
        while self.router.waiting() < self.router.buffer_limit.max(1) {
            let Some(piece) = self.feed.pieces.borrow_mut().pop_front() else { return };
            let piece = match piece {
                Copied::Data(bytes, end) => {
                    self.feed.bytes.set(self.feed.bytes.get().saturating_sub(bytes.len()));
                    Piece::Data { bytes, end }
                }
                Copied::Trailers(trailers) => {
                    self.cx.request_trailers = trailers.into();
                    Piece::Trailers
                }
            };
            self.router.forward(&self.cx, piece, now);
        }
    }

    fn is_over(&mut self, task: &mut Context<'_>, now: Time) -> bool {
        if self.feed.given_up.get() {
            if let Some(cluster) = &self.router.cluster {
                cluster.cx().inc(stat::RETRY_OR_SHADOW_ABANDONED);
            }
            return true;
        }
        if !self.began {
            self.began = true;
            if self.router.start_unrouted(&mut self.cx, now).is_err() {
                return true;
            }
        }
        self.feed(now);
        while let Poll::Ready(event) = self.router.poll(task, &mut self.cx, now, true) {
            match event {
                super::Event::Data { bytes, .. } => self.cx.worker.bufs.put(bytes),
                super::Event::Reply(_) | super::Event::Cut => return true,
                super::Event::Informational => self.cx.response.clear(),
                super::Event::Head { .. } | super::Event::Redirect { .. } | super::Event::Trailers => {}
            }
            self.feed(now);
        }
        self.router.is_finished()
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.feed.waker.replace(Some(task.waker().clone()));
        loop {
            let now = this.cx.worker.clock.read();
            if this.is_over(task, now) {
                this.feed.over.set(true);
                this.router.attempt.note_bytes(&mut this.cx);
                this.router.end();
                tracing::copied(&mut this.cx);
                this.router.log_attempts(&mut this.cx);
                return Poll::Ready(());
            }
            this.deadline.set(this.router.deadline());
            if this.deadline.poll(task, now).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
