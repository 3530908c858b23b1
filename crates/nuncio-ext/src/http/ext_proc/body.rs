//! Bodies and trailers on their way through the service: as a whole, in pieces, or as two streams that know nothing of each
//! other (`FULL_DUPLEX_STREAMED`).

use super::link::{self, End};
use super::{Dir, Shared, message};
use nuncio_api::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use nuncio_api::envoy::service::ext_proc::v3 as proto;
use nuncio_codec::headers::Known;
use nuncio_core::{Apply, Hold, Pending, Step, StreamCx};
use nuncio_rt::Buf;
use proto::{ProcessingResponse, body_mutation::Mutation, processing_request::Request, processing_response::Response};
use std::{collections::VecDeque, sync::Arc};

/// One direction's body.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) told_attributes: bool,
    /// What has come of a body that is sent as a whole.
    collected: Vec<u8>,
    /// It has been sent; what else comes is not for the service.
    sent: bool,
    /// Another body has taken its place: what comes is thrown away.
    pub(super) replaced: bool,
    /// Pieces that the service has, in their order.
    out: VecDeque<(Vec<u8>, bool)>,
    /// Something waits for what comes back of them.
    pumping: bool,
    /// Trailers stay here until the body has gone.
    trailers_stay: bool,
}

/// The body that stands for another one; `None` where that stays.
pub(super) fn replacement(from: Option<&proto::BodyMutation>) -> Option<Vec<u8>> {
    match &from?.mutation {
        Some(Mutation::Body(body)) => Some(body.clone()),
        Some(Mutation::ClearBody(true)) => Some(Vec::new()),
        Some(Mutation::StreamedResponse(said)) => Some(said.body.clone()),
        Some(Mutation::ClearBody(false)) | None => None,
    }
}

impl Shared {
    pub(super) fn data(self: &Arc<Self>, cx: &mut StreamCx, dir: Dir, data: &mut Buf, end: bool) -> Step {
        if self.lane(cx, dir).replaced {
            return Step::Hold(Hold::Discard);
        }
        let Some(link) = self.link(cx) else {
            // Behind what the service has been given, and what goes on without it.
            let lane = self.lane(cx, dir);
            if lane.pumping {
                lane.out.push_back((data.filled().to_vec(), end));
                return Step::Hold(Hold::Discard);
            }
            return Step::Continue;
        };
        let mode = link.borrow().mode.bodies[dir as usize];
        let limit = cx.buffer_limit;
        match mode {
            BodySendMode::None | BodySendMode::Grpc => Step::Continue,
            BodySendMode::Buffered | BodySendMode::BufferedPartial => {
                let partial = mode == BodySendMode::BufferedPartial;
                let lane = self.lane(cx, dir);
                if lane.sent {
                    return Step::Continue;
                }
                lane.collected.extend_from_slice(data.filled());
                if !end && !(partial && lane.collected.len() >= limit) {
                    return Step::Hold(if partial { Hold::Watermark } else { Hold::Buffer });
                }
                self.send_whole(cx, link, dir, end)
            }
            BodySendMode::Streamed | BodySendMode::FullDuplexStreamed => {
                if link.borrow().waiting(dir) > limit && !data.is_empty() {
                    // Shown again once the service has done with what it has been sent.
                    return Step::part(0, link::room(link, dir, limit));
                }
                let duplex = mode == BodySendMode::FullDuplexStreamed;
                if duplex {
                    link.borrow_mut().expect_bodies(dir);
                }
                self.send_body(cx, &link, dir, data.filled().to_vec(), end);
                let lane = self.lane(cx, dir);
                if !duplex {
                    lane.out.push_back((data.filled().to_vec(), end));
                    link.borrow_mut().unanswered[dir as usize] += data.len();
                }
                if lane.pumping { Step::Hold(Hold::Discard) } else { self.pump(cx, link, dir) }
            }
        }
    }

    fn send_body(&self, cx: &mut StreamCx, link: &link::Shared, dir: Dir, body: Vec<u8>, end_of_stream: bool) {
        let body = proto::HttpBody { body, end_of_stream, ..proto::HttpBody::default() };
        let request = match dir {
            Dir::Request => Request::RequestBody(body),
            Dir::Response => Request::ResponseBody(body),
        };
        self.send(cx, link, dir, request);
    }

    fn send_trailers(&self, cx: &mut StreamCx, link: &link::Shared, dir: Dir) {
        let trailers = proto::HttpTrailers { trailers: Some(message::header_map(message::trailers(cx, dir), &self.settings)) };
        let request = match dir {
            Dir::Request => Request::RequestTrailers(trailers),
            Dir::Response => Request::ResponseTrailers(trailers),
        };
        self.send(cx, link, dir, request);
    }

    /// Sends what has been collected; all that is kept waits for what becomes of it.
    fn send_whole(self: &Arc<Self>, cx: &mut StreamCx, link: link::Shared, dir: Dir, end: bool) -> Step {
        let lane = self.lane(cx, dir);
        lane.sent = true;
        let body = std::mem::take(&mut lane.collected);
        self.send_body(cx, &link, dir, body, end);
        let (shared, next) = (self.clone(), self.next(cx, &link, dir));
        Step::wait(async move {
            let came = next.await;
            move |cx: &mut StreamCx| match shared.on_whole(cx, &link, dir, came) {
                Ok(Some(body)) => Step::Body(Buf::copy_of(&body)),
                Ok(None) => Step::Continue,
                Err(step) => step,
            }
        })
    }

    /// What the service makes of a whole body, whose head is still here.
    fn on_whole(&self, cx: &mut StreamCx, link: &link::Shared, dir: Dir, came: Option<ProcessingResponse>) -> Result<Option<Vec<u8>>, Step> {
        let Some(Response::RequestBody(said) | Response::ResponseBody(said)) = self.take(cx, link, dir, came)? else { return Ok(None) };
        let common = said.response.unwrap_or_default();
        self.change_head(cx, link, dir, &common)?;
        let body = replacement(common.body_mutation.as_ref());
        let head = message::head(cx, dir);
        match &body {
            Some(body) if body.is_empty() && head.contains(Known::ContentLength) => head.insert(Known::ContentLength, "0"),
            Some(body) => {
                let told = head.get_str(Known::ContentLength).and_then(|text| text.parse::<usize>().ok());
                if told.is_some_and(|told| told != body.len()) {
                    return Err(self.failed_here(cx, link, "mismatch_between_content_length_and_the_length_of_the_mutated_body"));
                }
            }
            None => {}
        }
        Ok(body)
    }

    pub(super) fn trailers(self: &Arc<Self>, cx: &mut StreamCx, dir: Dir) -> Step {
        if self.lane(cx, dir).replaced {
            return Step::Hold(Hold::Watermark);
        }
        let Some(link) = self.link(cx) else {
            let lane = self.lane(cx, dir);
            lane.trailers_stay = lane.pumping;
            return if lane.pumping { Step::Hold(Hold::Watermark) } else { Step::Continue };
        };
        let (mode, told) = (link.borrow().mode.bodies[dir as usize], link.borrow().mode.trailers[dir as usize]);
        match mode {
            BodySendMode::Buffered | BodySendMode::BufferedPartial if !self.lane(cx, dir).sent => self.whole_with_trailers(cx, link, dir, told),
            BodySendMode::FullDuplexStreamed => {
                link.borrow_mut().expect_bodies(dir);
                self.send_trailers(cx, &link, dir);
                self.lane(cx, dir).trailers_stay = true;
                if self.lane(cx, dir).pumping { Step::Hold(Hold::Watermark) } else { self.pump(cx, link, dir) }
            }
            BodySendMode::Streamed if self.lane(cx, dir).pumping => {
                self.lane(cx, dir).trailers_stay = true;
                Step::Hold(Hold::Watermark)
            }
            _ if told => {
                self.send_trailers(cx, &link, dir);
                let (shared, next) = (self.clone(), self.next(cx, &link, dir));
                Step::wait(async move {
                    let came = next.await;
                    move |cx: &mut StreamCx| shared.on_trailers(cx, &link, dir, came)
                })
            }
            _ => Step::Continue,
        }
    }

    /// A whole body that trailers end: first the one, then the others.
    fn whole_with_trailers(self: &Arc<Self>, cx: &mut StreamCx, link: link::Shared, dir: Dir, told: bool) -> Step {
        let lane = self.lane(cx, dir);
        lane.sent = true;
        let body = std::mem::take(&mut lane.collected);
        self.send_body(cx, &link, dir, body, false);
        let (shared, next) = (self.clone(), self.next(cx, &link, dir));
        Step::wait(async move {
            let came = next.await;
            move |cx: &mut StreamCx| {
                let body = match shared.on_whole(cx, &link, dir, came) {
                    Ok(body) => body,
                    Err(step) => return step,
                };
                let release = move |body: Option<Vec<u8>>| body.map_or(Step::Continue, |body| Step::Body(Buf::copy_of(&body)));
                if !told || link.borrow().end.is_some() {
                    return release(body);
                }
                shared.send_trailers(cx, &link, dir);
                let next = shared.next(cx, &link, dir);
                Step::wait(async move {
                    let came = next.await;
                    move |cx: &mut StreamCx| match shared.on_trailers(cx, &link, dir, came) {
                        Step::Continue => release(body),
                        step => step,
                    }
                })
            }
        })
    }

    fn on_trailers(&self, cx: &mut StreamCx, link: &link::Shared, dir: Dir, came: Option<ProcessingResponse>) -> Step {
        let said = match self.take(cx, link, dir, came) {
            Ok(Some(Response::RequestTrailers(said) | Response::ResponseTrailers(said))) => said,
            Ok(_) => return Step::Continue,
            Err(step) => return step,
        };
        let mutation = said.header_mutation.unwrap_or_default();
        match message::mutate(cx, message::trailers, dir, &mutation, &self.settings, &self.stats) {
            Ok(()) => Step::Continue,
            Err(details) => self.failed_here(cx, link, details),
        }
    }

    /// Takes a piece, and waits for what comes in its place.
    pub(super) fn pump(self: &Arc<Self>, cx: &mut StreamCx, link: link::Shared, dir: Dir) -> Step {
        self.lane(cx, dir).pumping = true;
        Step::Pump(self.pumped(cx, link, dir))
    }

    fn pumped(self: &Arc<Self>, cx: &StreamCx, link: link::Shared, dir: Dir) -> Pending {
        let (shared, next) = (self.clone(), self.next(cx, &link, dir));
        Box::pin(async move {
            let came = next.await;
            Box::new(move |cx: &mut StreamCx| shared.on_piece(cx, link, dir, came)) as Apply
        })
    }

    /// What comes back of a direction that streams.
    fn on_piece(self: &Arc<Self>, cx: &mut StreamCx, link: link::Shared, dir: Dir, came: Option<ProcessingResponse>) -> Step {
        let duplex = link.borrow().mode.bodies[dir as usize] == BodySendMode::FullDuplexStreamed;
        let (bytes, end) = match self.take(cx, &link, dir, came) {
            Err(step) => return step,
            Ok(Some(Response::RequestHeaders(said) | Response::ResponseHeaders(said))) => {
                let common = said.response.unwrap_or_default();
                if let Err(step) = self.change_head(cx, &link, dir, &common) {
                    return step;
                }
                (Vec::new(), false)
            }
            Ok(Some(Response::RequestBody(said) | Response::ResponseBody(said))) => {
                let mutation = said.response.unwrap_or_default().body_mutation;
                if duplex {
                    match mutation.and_then(|mutation| mutation.mutation) {
                        Some(Mutation::StreamedResponse(said)) => (said.body, said.end_of_stream),
                        _ => {
                            link.borrow_mut().end = Some(End::Spurious("spurious_message"));
                            return self.take(cx, &link, dir, None).map_or_else(|step| step, |_| Step::Reset);
                        }
                    }
                } else {
                    let (own, end) = self.lane(cx, dir).out.pop_front().unwrap_or_default();
                    let unanswered = &mut link.borrow_mut().unanswered[dir as usize];
                    *unanswered = unanswered.saturating_sub(own.len());
                    (replacement(mutation.as_ref()).unwrap_or(own), end)
                }
            }
            Ok(Some(Response::RequestTrailers(_) | Response::ResponseTrailers(_)) | None) if !duplex => return self.left(cx, dir),
            Ok(Some(Response::RequestTrailers(said) | Response::ResponseTrailers(said))) => {
                self.lane(cx, dir).pumping = false;
                let mutation = said.header_mutation.unwrap_or_default();
                return match message::mutate(cx, message::trailers, dir, &mutation, &self.settings, &self.stats) {
                    Ok(()) => Step::Continue,
                    Err(details) => self.failed_here(cx, &link, details),
                };
            }
            // What the service has been given is nobody's any more: as on Envoy, the body ends with it.
            Ok(_) => {
                let lane = self.lane(cx, dir);
                (lane.pumping, lane.replaced) = (false, true);
                return if std::mem::take(&mut lane.trailers_stay) { Step::Continue } else { Step::Emit(Buf::copy_of(&[]), true, None) };
            }
        };
        let lane = self.lane(cx, dir);
        let more = !end && (duplex || !lane.out.is_empty());
        if end {
            lane.replaced = true;
        }
        if more {
            let next = self.pumped(cx, link, dir);
            return Step::Emit(Buf::copy_of(&bytes), false, Some(next));
        }
        let trailers = !duplex && std::mem::take(&mut lane.trailers_stay);
        lane.pumping = false;
        let next = trailers.then(|| self.behind_body(cx, link, dir));
        Step::Emit(Buf::copy_of(&bytes), end, next)
    }

    /// The trailers that stayed, now that the body has gone.
    fn behind_body(self: &Arc<Self>, cx: &mut StreamCx, link: link::Shared, dir: Dir) -> Pending {
        let told = link.borrow().mode.trailers[dir as usize];
        if !told {
            return Box::pin(async { Box::new(|_: &mut StreamCx| Step::Continue) as Apply });
        }
        self.send_trailers(cx, &link, dir);
        let (shared, next) = (self.clone(), self.next(cx, &link, dir));
        Box::pin(async move {
            let came = next.await;
            Box::new(move |cx: &mut StreamCx| shared.on_trailers(cx, &link, dir, came)) as Apply
        })
    }

    /// Without the service: what it has been given goes on as it was.
    fn left(&self, cx: &mut StreamCx, dir: Dir) -> Step {
        let lane = self.lane(cx, dir);
        lane.pumping = false;
        let trailers = std::mem::take(&mut lane.trailers_stay);
        let mut rest = Vec::new();
        let mut end = false;
        for (bytes, last) in lane.out.drain(..) {
            rest.extend_from_slice(&bytes);
            end |= last;
        }
        let next = trailers.then(|| Box::pin(async { Box::new(|_: &mut StreamCx| Step::Continue) as Apply }) as Pending);
        Step::Emit(Buf::copy_of(&rest), end, next)
    }
}
