//! The call that goes along with an exchange: what is sent, what came back and for which direction, how it ended.
//!
//! Both directions wait on the same call; whoever is polled moves it for both.

use super::config::{Mode, Overrides, Settings};
use super::{Dir, *};
use crate::service::grpc::{GrpcFailure, GrpcService};
use crate::service::grpc_stream::GrpcStream;
use nuncio_api::envoy::service::ext_proc::v3::{
    ImmediateResponse, ProcessingRequest, ProcessingResponse, ProtocolConfiguration, processing_request::Request, processing_response::Response,
};
use nuncio_codec::headers::HeaderName;
use nuncio_core::StreamCx;
use nuncio_rt::{Deadline, Time};
use nuncio_stats::{CounterId, Scope};
use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// The method.
const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// Messages of a direction that are kept until somebody takes them.
const MAX_INBOX: usize = 256;

/// The filter's statistics.
#[derive(Debug, Clone)]
pub(super) struct Stats(pub(super) Arc<Scope>);

impl Stats {
    pub(super) fn inc(&self, cx: &StreamCx, id: CounterId) {
        self.0.inc(cx.worker.lane, id);
    }
}

/// Which part of a message something is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Headers,
    Body,
    Trailers,
}

/// Why nothing more is to be expected of the call.
#[derive(Debug)]
pub(super) enum End {
    /// The service has ended it well: the exchange goes on without it.
    Closed,
    Failed(GrpcFailure),
    /// It said what nobody had asked, or not understood.
    Spurious(&'static str),
    TimedOut,
    Immediate(Box<ImmediateResponse>),
    /// What that meant has been done.
    Settled,
}

/// What a direction waits for.
#[derive(Debug, Default)]
struct Lane {
    inbox: VecDeque<ProcessingResponse>,
    headers: bool,
    bodies: usize,
    /// Bodies come without having been asked for.
    duplex: bool,
    trailers: bool,
    /// Another time than the configured one, for the current message.
    patience: Option<Duration>,
}

/// A call.
#[derive(Debug)]
pub(super) struct Link {
    stream: Option<GrpcStream<ProcessingResponse>>,
    lanes: [Lane; 2],
    pub(super) end: Option<End>,
    pub(super) mode: Mode,
    /// Bytes of pieces that are to be answered one by one.
    pub(super) unanswered: [usize; 2],
    pub(super) failure_mode_allow: bool,
    immediate: bool,
    timeout: Duration,
    max_timeout: Duration,
    told_protocol: bool,
    body_at_once: bool,
    /// Counted where there is no exchange at hand.
    received: u64,
    overrides: u64,
    ignored_overrides: u64,
    half_closed: bool,
}

/// A call that both directions share.
pub(super) type Shared = Rc<RefCell<Link>>;

impl Link {
    /// What goes along with an exchange; nothing is called before there is something to send.
    pub(super) fn new(settings: &Settings, levels: &[&Overrides]) -> Link {
        Link {
            stream: None,
            lanes: Default::default(),
            end: None,
            unanswered: [0; 2],
            mode: levels.iter().find_map(|level| level.mode).unwrap_or(settings.mode),
            failure_mode_allow: levels.iter().find_map(|level| level.failure_mode_allow).unwrap_or(settings.failure_mode_allow),
            immediate: settings.immediate,
            timeout: settings.timeout,
            max_timeout: settings.max_timeout,
            told_protocol: false,
            body_at_once: settings.body_at_once,
            received: 0,
            overrides: 0,
            ignored_overrides: 0,
            half_closed: false,
        }
    }

    /// Sends a message, and expects what answers it.
    pub(super) fn send(&mut self, cx: &StreamCx, service: &GrpcService, metadata: &[(HeaderName, Vec<u8>)], stats: &Stats, dir: Dir, mut message: ProcessingRequest) {
        if self.end.is_some() {
            return;
        }
        if self.stream.is_none() {
            stats.inc(cx, STREAMS_STARTED);
            match service.open_with(cx, PROCESS, metadata) {
                Ok(stream) => self.stream = Some(stream),
                Err(failed) => return self.end = Some(End::Failed(failed)),
            }
        }
        if !std::mem::replace(&mut self.told_protocol, true) {
            message.protocol_config = Some(ProtocolConfiguration {
                request_body_mode: self.mode.bodies[0] as i32,
                response_body_mode: self.mode.bodies[1] as i32,
                send_body_without_waiting_for_header_response: self.body_at_once,
            });
        }
        let lane = &mut self.lanes[dir as usize];
        match &message.request {
            Some(Request::RequestHeaders(_) | Request::ResponseHeaders(_)) => lane.headers = true,
            Some(Request::RequestBody(_) | Request::ResponseBody(_)) => lane.bodies += 1,
            Some(Request::RequestTrailers(_) | Request::ResponseTrailers(_)) => lane.trailers = true,
            None => {}
        }
        stats.inc(cx, STREAM_MSGS_SENT);
        if let Some(stream) = &mut self.stream {
            stream.send(&message);
        }
    }

    /// Bodies of this direction come whenever the service likes.
    pub(super) fn expect_bodies(&mut self, dir: Dir) {
        self.lanes[dir as usize].duplex = true;
    }

    /// Bytes that the service has not taken, or of this direction not answered.
    pub(super) fn waiting(&self, dir: Dir) -> usize {
        self.unanswered[dir as usize] + self.stream.as_ref().map_or(0, GrpcStream::waiting)
    }

    /// Ends the call; true if there was one.
    pub(super) fn close(&mut self) -> bool {
        self.stream.take().is_some()
    }

    /// Moves what was counted into the statistics.
    pub(super) fn count(&mut self, cx: &StreamCx, stats: &Stats) {
        for (number, id) in [
            (&mut self.received, STREAM_MSGS_RECEIVED),
            (&mut self.overrides, OVERRIDE_MESSAGE_TIMEOUT_RECEIVED),
            (&mut self.ignored_overrides, OVERRIDE_MESSAGE_TIMEOUT_IGNORED),
        ] {
            stats.0.add(cx.worker.lane, id, std::mem::take(number));
        }
        if std::mem::take(&mut self.half_closed) {
            stats.inc(cx, SERVER_HALF_CLOSED);
        }
    }

    /// Moves the call; hands messages to the direction they are for.
    fn poll(&mut self, task: &mut Context<'_>) {
        // What comes faster than it is taken waits in the service's windows.
        while self.end.is_none()
            && self.lanes.iter().all(|lane| lane.inbox.len() < MAX_INBOX)
            && let Some(stream) = &mut self.stream
        {
            let Poll::Ready(next) = stream.poll_next(task) else { return };
            match next {
                Some(Ok(message)) => {
                    self.take(message);
                    // Whoever waits in the other direction may have been asked before.
                    task.waker().wake_by_ref();
                }
                Some(Err(failed)) => {
                    self.half_closed = true;
                    self.end = Some(End::Failed(failed));
                }
                None => {
                    self.half_closed = true;
                    self.end = Some(End::Closed);
                }
            }
        }
    }

    fn take(&mut self, message: ProcessingResponse) {
        let (dir, part) = match &message.response {
            Some(Response::RequestHeaders(_)) => (Dir::Request, Part::Headers),
            Some(Response::RequestBody(_)) => (Dir::Request, Part::Body),
            Some(Response::RequestTrailers(_)) => (Dir::Request, Part::Trailers),
            Some(Response::ResponseHeaders(_)) => (Dir::Response, Part::Headers),
            Some(Response::ResponseBody(_)) => (Dir::Response, Part::Body),
            Some(Response::ResponseTrailers(_)) => (Dir::Response, Part::Trailers),
            Some(Response::ImmediateResponse(_)) if !self.immediate => {
                return self.end = Some(End::Spurious("unhandled_immediate_response_due_to_config_disabled_it"));
            }
            Some(Response::ImmediateResponse(answer)) => {
                self.received += 1;
                return self.end = Some(End::Immediate(Box::new(answer.clone())));
            }
            None if message.override_message_timeout.is_some() => return self.be_patient(&message),
            Some(Response::StreamedImmediateResponse(_)) | None => return self.end = Some(End::Spurious("unhandled_message")),
        };
        let lane = &mut self.lanes[dir as usize];
        let expected = match part {
            Part::Headers => std::mem::take(&mut lane.headers),
            Part::Trailers => std::mem::take(&mut lane.trailers),
            Part::Body if lane.duplex => true,
            Part::Body => match lane.bodies.checked_sub(1) {
                Some(left) => {
                    lane.bodies = left;
                    true
                }
                None => false,
            },
        };
        if !expected {
            return self.end = Some(End::Spurious("spurious_message"));
        }
        self.received += 1;
        lane.inbox.push_back(message);
    }

    /// The service asks for more time.
    fn be_patient(&mut self, message: &ProcessingResponse) {
        let asked = message.override_message_timeout.as_ref().map(crate::read::duration).unwrap_or_default();
        if asked < Duration::from_millis(1) || asked > self.max_timeout {
            self.ignored_overrides += 1;
            return;
        }
        self.overrides += 1;
        // What nobody waits for takes no time that a later message could be given.
        for lane in self.lanes.iter_mut().filter(|lane| lane.headers || lane.bodies > 0 || lane.trailers) {
            lane.patience = Some(asked);
        }
    }
}

/// The next message for a direction, in time; `None` when there will be none, and `end` says why.
pub(super) async fn next(link: Shared, dir: Dir, mut deadline: Deadline) -> Option<ProcessingResponse> {
    let timed = !link.borrow().lanes[dir as usize].duplex;
    let timeout = link.borrow().timeout;
    let mut due = Time::now() + timeout;
    poll_fn(move |task| {
        let mut link = link.borrow_mut();
        link.poll(task);
        let lane = &mut link.lanes[dir as usize];
        if let Some(message) = lane.inbox.pop_front() {
            lane.patience = None;
            return Poll::Ready(Some(message));
        }
        if let Some(more) = lane.patience.take() {
            due = Time::now() + more;
        }
        if link.end.is_some() {
            return Poll::Ready(None);
        }
        if timed {
            deadline.set(Some(due));
            if deadline.poll(task, Time::now()).is_ready() {
                link.end = Some(End::TimedOut);
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    })
    .await
}

/// Until the service has done with most of what was sent, or has gone.
pub(super) async fn room(link: Shared, dir: Dir, limit: usize) {
    poll_fn(move |task| {
        let mut link = link.borrow_mut();
        link.poll(task);
        if link.waiting(dir) <= limit || link.end.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
