//! `envoy.filters.http.ext_proc`: a service sees heads, bodies and trailers of an exchange as they come, and changes them.
//!
//! One call goes along with an exchange (`link`). Heads, whole bodies and trailers wait for the service's word; bodies that are
//! streamed go out and come back beside each other (`body`). What cannot be had of the service is an answer of 500 or 504,
//! unless `failure_mode_allow` is set; then the exchange goes on without it.

mod body;
mod config;
mod link;
mod message;

use body::Lane;
use config::{Overrides, PerRoute, Settings};
use link::{End, Link, Stats};
use nuncio_api::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use nuncio_api::envoy::service::ext_proc::v3 as proto;
use nuncio_codec::headers::{HeaderName, Known};
use nuncio_core::{Hold, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, StateSlot, Step, StreamCx};
use nuncio_rt::{Buf, Deadline};
use nuncio_stats::stats_table;
use proto::{ProcessingRequest, ProcessingResponse, processing_request::Request, processing_response::Response};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.ext_proc",
    message: config::MESSAGE,
    route_message: config::ROUTE_MESSAGE,
    posture: Posture::UntrustedBoth,
    build: config::build,
    route: config::route,
};

stats_table! {
    /// `http.<prefix>.ext_proc.`
    pub EXT_PROC: "ext_proc" {
        /// Wishes for another route that may not be had.
        counter CLEAR_ROUTE_CACHE_DISABLED = "clear_route_cache_disabled",
        /// Wishes for another route though nothing changes.
        counter CLEAR_ROUTE_CACHE_IGNORED = "clear_route_cache_ignored",
        /// Not counted: this filter is not one of upstream filters.
        counter CLEAR_ROUTE_CACHE_UPSTREAM_IGNORED = "clear_route_cache_upstream_ignored",
        /// Exchanges that went on though the service failed.
        counter FAILURE_MODE_ALLOWED = "failure_mode_allowed",
        /// Not counted: services are asked over gRPC.
        counter HTTP_NOT_OK_RESP_RECEIVED = "http_not_ok_resp_received",
        /// Answers of the service, or in its place.
        counter IMMEDIATE_RESPONSES_SENT = "immediate_responses_sent",
        /// Messages that did not come in time.
        counter MESSAGE_TIMEOUTS = "message_timeouts",
        /// Wishes for more time that were not granted.
        counter OVERRIDE_MESSAGE_TIMEOUT_IGNORED = "override_message_timeout_ignored",
        /// Wishes for more time.
        counter OVERRIDE_MESSAGE_TIMEOUT_RECEIVED = "override_message_timeout_received",
        /// Changes of headers that may not be.
        counter REJECTED_HEADER_MUTATIONS = "rejected_header_mutations",
        /// Not counted: this filter is not one of upstream filters.
        counter SEND_IMMEDIATE_RESP_UPSTREAM_IGNORED = "send_immediate_resp_upstream_ignored",
        /// Calls that the service ended.
        counter SERVER_HALF_CLOSED = "server_half_closed",
        /// Messages that nobody had asked for.
        counter SPURIOUS_MSGS_RECEIVED = "spurious_msgs_received",
        /// Messages of the service.
        counter STREAM_MSGS_RECEIVED = "stream_msgs_received",
        /// Messages to the service.
        counter STREAM_MSGS_SENT = "stream_msgs_sent",
        /// Calls that were ended here.
        counter STREAMS_CLOSED = "streams_closed",
        /// Calls that failed.
        counter STREAMS_FAILED = "streams_failed",
        /// Calls.
        counter STREAMS_STARTED = "streams_started",
    }
}

/// A direction of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dir {
    Request,
    Response,
}

#[derive(Debug)]
struct ExtProc(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: Box<str>,
    settings: Settings,
    stats: Stats,
    state: StateSlot<State>,
}

/// What is known of one exchange.
#[derive(Debug, Default)]
struct State {
    /// It has been looked at.
    begun: bool,
    /// `None` where the filter is off.
    link: Option<link::Shared>,
    lanes: [Lane; 2],
}

impl Shared {
    /// What the route has otherwise, the most specific first; `None` where the filter is off.
    fn levels<'c>(&self, cx: &'c StreamCx) -> Option<Vec<&'c Overrides>> {
        let mut levels = Vec::new();
        for level in cx.route.iter().flat_map(|route| route.filter_configs::<PerRoute>(&self.name)) {
            match level {
                PerRoute::Disabled if levels.is_empty() => return None,
                PerRoute::Disabled => {}
                PerRoute::Overrides(overrides) => levels.push(&**overrides),
            }
        }
        Some(levels)
    }

    /// The exchange's call, where there still is one.
    fn link(&self, cx: &mut StreamCx) -> Option<link::Shared> {
        if !cx.state(&self.state).begun {
            let levels = if self.settings.idle { None } else { self.levels(cx) };
            let link = levels.map(|levels| Rc::new(RefCell::new(Link::new(&self.settings, &levels))));
            let state = cx.state(&self.state);
            (state.begun, state.link) = (true, link);
        }
        let link = cx.state(&self.state).link.clone()?;
        let settled = matches!(link.borrow().end, Some(End::Settled));
        (!settled).then_some(link)
    }

    fn lane<'c>(&self, cx: &'c mut StreamCx, dir: Dir) -> &'c mut Lane {
        &mut cx.state(&self.state).lanes[dir as usize]
    }

    /// Sends a message of a direction.
    fn send(&self, cx: &mut StreamCx, link: &link::Shared, dir: Dir, request: Request) {
        let attributes = match std::mem::replace(&mut self.lane(cx, dir).told_attributes, true) {
            true => Default::default(),
            false => {
                let levels = self.levels(cx).unwrap_or_default();
                let own = levels.iter().map(|level| &level.attributes[dir as usize]).find(|list| !list.is_empty());
                message::attributes(cx, own.unwrap_or(&self.settings.attributes[dir as usize]))
            }
        };
        let levels = self.levels(cx).unwrap_or_default();
        let forwarded = levels.iter().find_map(|level| level.forwarded.as_ref()).unwrap_or(&self.settings.forwarded);
        let service = levels.iter().find_map(|level| level.service.as_ref()).unwrap_or(&self.settings.service);
        let metadata: Vec<(HeaderName, Vec<u8>)> = levels.iter().flat_map(|level| level.metadata.iter().cloned()).collect();
        let request = ProcessingRequest {
            metadata_context: Some(crate::service::value::namespaces(Some(&cx.metadata), forwarded)),
            attributes,
            request: Some(request),
            ..ProcessingRequest::default()
        };
        link.borrow_mut().send(cx, service, &metadata, &self.stats, dir, request);
    }

    /// The next message for a direction.
    fn next(&self, cx: &StreamCx, link: &link::Shared, dir: Dir) -> impl Future<Output = Option<ProcessingResponse>> + use<> {
        link::next(link.clone(), dir, Deadline::new(cx.worker.timers.clone()))
    }

    fn head(self: &Arc<Self>, cx: &mut StreamCx, dir: Dir, end: bool) -> Step {
        let Some(link) = self.link(cx) else { return Step::Continue };
        let mode = link.borrow().mode;
        if !mode.headers[dir as usize] {
            return self.behind_head(cx, &link, dir, end);
        }
        let headers = proto::HttpHeaders {
            headers: Some(message::header_map(message::head(cx, dir), &self.settings)),
            end_of_stream: end,
            ..proto::HttpHeaders::default()
        };
        let request = match dir {
            Dir::Request => Request::RequestHeaders(headers),
            Dir::Response => Request::ResponseHeaders(headers),
        };
        self.send(cx, &link, dir, request);
        let streamed = mode.bodies[dir as usize];
        if !end && (streamed == BodySendMode::FullDuplexStreamed || streamed == BodySendMode::Streamed && self.settings.body_at_once) {
            // The body need not wait for what becomes of the head.
            if streamed == BodySendMode::FullDuplexStreamed {
                link.borrow_mut().expect_bodies(dir);
            }
            message::head(cx, dir).remove(Known::ContentLength);
            return self.pump(cx, link, dir);
        }
        let (shared, next) = (self.clone(), self.next(cx, &link, dir));
        Step::wait(async move {
            let came = next.await;
            move |cx: &mut StreamCx| shared.on_head(cx, &link, dir, end, came)
        })
    }

    /// What the service says of a head; the head goes on, or waits for the body.
    fn on_head(self: &Arc<Self>, cx: &mut StreamCx, link: &link::Shared, dir: Dir, end: bool, came: Option<ProcessingResponse>) -> Step {
        let common = match self.take(cx, link, dir, came) {
            Ok(Some(Response::RequestHeaders(said) | Response::ResponseHeaders(said))) => said.response.unwrap_or_default(),
            Ok(_) => return Step::Continue,
            Err(step) => return step,
        };
        if let Err(step) = self.change_head(cx, link, dir, &common) {
            return step;
        }
        if common.status == proto::common_response::ResponseStatus::ContinueAndReplace as i32 {
            let lane = self.lane(cx, dir);
            lane.replaced = true;
            let body = body::replacement(common.body_mutation.as_ref()).unwrap_or_default();
            let streamed = matches!(link.borrow().mode.bodies[dir as usize], BodySendMode::Streamed | BodySendMode::FullDuplexStreamed);
            let head = message::head(cx, dir);
            if head.remove(Known::ContentLength) && !streamed {
                let len = body.len() as u64;
                head.set_with(Known::ContentLength, |value| value.decimal(len));
            }
            return Step::EndWith(Buf::copy_of(&body));
        }
        self.behind_head(cx, link, dir, end)
    }

    /// Whether a head goes on before its body is done with.
    fn behind_head(&self, cx: &mut StreamCx, link: &link::Shared, dir: Dir, end: bool) -> Step {
        if end {
            return Step::Continue;
        }
        let mode = link.borrow().mode.bodies[dir as usize];
        match mode {
            BodySendMode::Buffered => Step::Hold(Hold::Buffer),
            BodySendMode::BufferedPartial => Step::Hold(Hold::Watermark),
            BodySendMode::Streamed | BodySendMode::FullDuplexStreamed => {
                message::head(cx, dir).remove(Known::ContentLength);
                Step::Continue
            }
            BodySendMode::None | BodySendMode::Grpc => Step::Continue,
        }
    }

    /// Changes a head as the service says.
    fn change_head(&self, cx: &mut StreamCx, link: &link::Shared, dir: Dir, common: &proto::CommonResponse) -> Result<(), Step> {
        let empty = proto::HeaderMutation::default();
        let mutation = common.header_mutation.as_ref().unwrap_or(&empty);
        message::mutate(cx, message::head, dir, mutation, &self.settings, &self.stats).map_err(|details| self.failed_here(cx, link, details))?;
        if dir == Dir::Request {
            message::route_cache(cx, common.clear_route_cache, common.header_mutation.is_some(), &self.settings, &self.stats);
        }
        Ok(())
    }

    /// Looks at what came: a message's answer; nothing where the exchange goes on without; or what becomes of the stream.
    fn take(&self, cx: &mut StreamCx, link: &link::Shared, dir: Dir, came: Option<ProcessingResponse>) -> Result<Option<Response>, Step> {
        link.borrow_mut().count(cx, &self.stats);
        let Some(ProcessingResponse { dynamic_metadata, mode_override, response, .. }) = came else {
            let end = link.borrow_mut().end.replace(End::Settled);
            return self.settle(cx, link, end).map(|()| None);
        };
        let levels = self.levels(cx).unwrap_or_default();
        let received = levels.iter().find_map(|level| level.received.clone()).unwrap_or_else(|| self.settings.received.clone());
        message::receive_metadata(cx, dynamic_metadata.as_ref(), &received);
        if let (Some(told), Some(allowed)) = (mode_override, &self.settings.override_modes)
            && matches!(response, Some(Response::RequestHeaders(_) | Response::ResponseHeaders(_)))
        {
            let told = self.settings.mode.overridden(&told);
            if allowed.is_empty() || allowed.contains(&told.without_request_headers()) {
                let mode = &mut link.borrow_mut().mode;
                *mode = config::Mode { bodies: [if dir == Dir::Request { told.bodies[0] } else { mode.bodies[0] }, told.bodies[1]], ..told };
            }
        }
        Ok(response)
    }

    /// Acts on the end of the call.
    fn settle(&self, cx: &mut StreamCx, link: &link::Shared, end: Option<End>) -> Result<(), Step> {
        let (failed, reply) = match end {
            None | Some(End::Settled) => return Ok(()),
            Some(End::Closed) => {
                self.close(cx, link);
                return Ok(());
            }
            Some(End::Immediate(said)) => {
                self.close(cx, link);
                self.stats.inc(cx, IMMEDIATE_RESPONSES_SENT);
                return Err(Step::reply(message::immediate(&said)));
            }
            Some(End::Failed(why)) => {
                let why_here = if why.details.is_empty() { "via_upstream" } else { &why.details };
                let message = if why.message.is_empty() { why_here.to_owned() } else { format!("{}{{{why_here}}}", why.message) };
                let details = format!("ext_proc_error_gRPC_error_{}{{{message}}}", why.status);
                (STREAMS_FAILED, LocalReply::new(self.settings.status_on_error, details.replace(char::is_whitespace, "_")))
            }
            Some(End::Spurious(details)) => (SPURIOUS_MSGS_RECEIVED, LocalReply::new(self.settings.status_on_error, details)),
            Some(End::TimedOut) => (MESSAGE_TIMEOUTS, LocalReply::new(504, "ext_proc_error_per-message_timeout_exceeded")),
        };
        self.stats.inc(cx, failed);
        let allowed = link.borrow().failure_mode_allow;
        if allowed || failed != STREAMS_FAILED {
            self.close(cx, link);
        } else {
            link.borrow_mut().close();
        }
        if allowed {
            self.stats.inc(cx, FAILURE_MODE_ALLOWED);
            return Ok(());
        }
        self.stats.inc(cx, IMMEDIATE_RESPONSES_SENT);
        Err(Step::reply(reply))
    }

    /// What the service wants cannot be.
    fn failed_here(&self, cx: &mut StreamCx, link: &link::Shared, details: &'static str) -> Step {
        link.borrow_mut().end = Some(End::Settled);
        self.close(cx, link);
        self.stats.inc(cx, IMMEDIATE_RESPONSES_SENT);
        Step::reply(LocalReply::new(self.settings.status_on_error, details))
    }

    fn close(&self, cx: &StreamCx, link: &link::Shared) {
        if link.borrow_mut().close() {
            self.stats.inc(cx, STREAMS_CLOSED);
        }
    }
}

impl HttpFilter for ExtProc {
    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        self.0.head(cx, Dir::Request, end)
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        self.0.data(cx, Dir::Request, data, end)
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        self.0.trailers(cx, Dir::Request)
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        self.0.head(cx, Dir::Response, end)
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        self.0.data(cx, Dir::Response, data, end)
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        self.0.trailers(cx, Dir::Response)
    }

    fn done(&self, cx: &mut StreamCx) {
        let Some(link) = cx.held_state(&self.0.state).and_then(|state| state.link.take()) else { return };
        link.borrow_mut().count(cx, &self.0.stats);
        self.0.close(cx, &link);
    }
}
