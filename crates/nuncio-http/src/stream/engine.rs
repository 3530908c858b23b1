//! The filter engine: moves the pieces of one exchange through its filter chain.
//!
//! A filter never calls the engine. It looks at a piece and returns a `Step`; everything that pauses, holds,
//! answers or ends a stream happens here. What leaves the lanes goes to [`Ends`]: the router at the end of the
//! request lane, the client at the end of the response lane.
//!
//! Promises: pieces keep their order within a direction; a held piece is released before those behind it; a
//! local reply passes every response filter, also those behind the filter that made it (as Envoy); after a reply
//! nothing more of the request reaches a filter.

use super::chain::Chain;
use nuncio_core::{Apply, Hold, HttpFilter, LocalReply, Pending, ResponseFlags, Step, StreamCx};
use nuncio_rt::Buf;
use std::{
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll},
};

/// A direction of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dir {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

/// A part of a message. Heads and trailers themselves are in the [`StreamCx`].
#[derive(Debug)]
pub(crate) enum Piece {
    /// The head; `end` when nothing follows.
    Head { end: bool },
    /// Body bytes.
    Data { bytes: Buf, end: bool },
    /// Trailers, which end the message.
    Trailers,
}

impl Piece {
    fn kind(&self, dir: Dir) -> usize {
        let part = match self {
            Piece::Head { .. } => 0,
            Piece::Data { .. } => 1,
            Piece::Trailers => 2,
        };
        part + if dir == Dir::Response { 3 } else { 0 }
    }

    fn len(&self) -> usize {
        match self {
            Piece::Data { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

/// Where the lanes lead.
pub(crate) trait Ends {
    /// A piece has passed all request filters.
    fn to_upstream(&mut self, cx: &mut StreamCx, piece: Piece);
    /// A filter has changed what routes are matched by: looks up the route again.
    fn reroute(&mut self, _cx: &mut StreamCx) {}
    /// A piece has passed all response filters.
    fn to_client(&mut self, cx: &mut StreamCx, piece: Piece);
}

/// A filter that keeps pieces back: those it has seen, and those that queued up behind them.
#[derive(Debug)]
struct Held {
    position: u8,
    seen: Vec<Piece>,
    queued: VecDeque<Piece>,
    waiting: bool,
    mode: Hold,
}

/// What a filter asked for that ends or turns the stream; the exchange carries it out.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Answer the client.
    Reply(Box<LocalReply>),
    /// End without an answer.
    Reset,
}

struct Parked {
    dir: Dir,
    position: u8,
    answer: Pending,
    /// It brings pieces while its filter goes on looking at others.
    pump: bool,
}

/// The lanes of one exchange.
#[derive(Default)]
pub(crate) struct Engine {
    chain: Rc<Chain>,
    held: [Vec<Held>; 2],
    parked: Vec<Parked>,
    work: Vec<(Dir, u8, Piece)>,
    request_closed: bool,
    /// Bytes a filter may keep of one direction before its hold overflows.
    buffer_limit: [usize; 2],
    verdict: Option<Verdict>,
}

impl Engine {
    /// Starts a new exchange over `chain`.
    pub(crate) fn begin(&mut self, chain: Rc<Chain>, buffer_limit: usize) {
        self.chain = chain;
        self.held.iter_mut().for_each(Vec::clear);
        self.parked.clear();
        self.work.clear();
        self.request_closed = false;
        self.buffer_limit = [buffer_limit; 2];
        self.verdict = None;
    }

    /// Filters may keep this many bytes of the request, if that is more than they may of anything.
    pub(crate) fn allow_request_bytes(&mut self, limit: usize) {
        let [request, _] = &mut self.buffer_limit;
        *request = limit.max(*request);
    }

    /// A piece arrived: from the client's codec or from the upstream's.
    #[inline]
    pub(crate) fn arrive(&mut self, cx: &mut StreamCx, ends: &mut impl Ends, dir: Dir, piece: Piece) {
        if dir == Dir::Request && self.request_closed {
            return;
        }
        self.advance(cx, ends, dir, 0, piece);
        self.run(cx, ends);
    }

    /// True while a filter waits for an answer.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        !self.parked.is_empty()
    }

    /// True when a filter wants something done with the whole stream.
    #[inline]
    pub(crate) fn has_verdict(&self) -> bool {
        self.verdict.is_some()
    }

    /// What a filter wants done with the whole stream.
    #[inline]
    pub(crate) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// Nothing more of the request shall reach a filter or the upstream: the client is being answered.
    pub(crate) fn close_request(&mut self) {
        self.request_closed = true;
        self.held[0].clear();
        self.parked.retain(|p| p.dir == Dir::Response);
        self.work.retain(|(dir, ..)| *dir == Dir::Response);
    }

    /// What filters keep of a response is nobody's any more: another one takes its place.
    pub(crate) fn drop_response(&mut self) {
        self.held[1].clear();
        self.parked.retain(|p| p.dir == Dir::Request);
        self.work.retain(|(dir, ..)| *dir == Dir::Request);
    }

    /// Bytes kept back by filters of a direction.
    pub(crate) fn held_bytes(&self, dir: Dir) -> usize {
        self.held[dir as usize].iter().flat_map(|h| h.seen.iter().chain(&h.queued)).map(Piece::len).sum()
    }

    /// True while a filter of a direction holds back so much that its peer should pause.
    #[inline]
    pub(crate) fn is_full(&self, dir: Dir) -> bool {
        let held = &self.held[dir as usize];
        !held.is_empty()
            && held.iter().all(|h| h.waiting || h.mode == Hold::Watermark)
            && self.held_bytes(dir) >= self.buffer_limit[dir as usize]
    }

    /// Looks after answers that filters wait for; true when one came in. What brings pieces of a direction waits until
    /// there is `room` for them at its end.
    pub(crate) fn poll_answers(&mut self, task: &mut Context<'_>, cx: &mut StreamCx, ends: &mut impl Ends, room: [bool; 2]) -> bool {
        let mut progress = false;
        let mut index = 0;
        // What an answer puts behind is for the next time: pieces go on one by one, as there is room.
        let mut count = self.parked.len();
        while index < count.min(self.parked.len()) {
            let Parked { dir, pump, .. } = self.parked[index];
            if pump && !room[dir as usize] {
                index += 1;
                continue;
            }
            match self.parked[index].answer.as_mut().poll(task) {
                Poll::Pending => index += 1,
                Poll::Ready(apply) => {
                    let Parked { dir, position, pump, .. } = self.parked.remove(index);
                    count -= 1;
                    self.answer(cx, ends, (dir, position), pump, apply);
                    progress = true;
                }
            }
        }
        progress
    }

    /// Tells every filter that the exchange is over; what they still wait for is given up.
    pub(crate) fn done(&mut self, cx: &mut StreamCx) {
        self.parked.clear();
        for installed in self.chain.filters() {
            installed.filter.done(cx);
        }
    }

    fn answer(&mut self, cx: &mut StreamCx, ends: &mut impl Ends, (dir, position): (Dir, u8), pump: bool, apply: Apply) {
        if dir == Dir::Request && self.request_closed {
            return;
        }
        let step = apply(cx);
        if cx.route_is_stale {
            ends.reroute(cx);
        }
        let step = match step {
            Step::Pump(next) => return self.pump(dir, position, next),
            Step::Emit(bytes, end, next) => {
                self.emit(dir, position, bytes, end, next);
                return self.run(cx, ends);
            }
            Step::Reply(_) | Step::Reset => return self.decide(step),
            step => step,
        };
        let lane = &mut self.held[dir as usize];
        // What the filter keeps beside a pump, it waits for something else with, or lets go of now.
        let Some(at) = lane.iter().position(|h| h.position == position && !(pump && h.waiting)) else { return };
        if pump && matches!(step, Step::Hold(_)) {
            return;
        }
        lane[at].waiting = false;
        match step {
            Step::Continue => self.release(dir, at, []),
            Step::Body(bytes) => {
                replace_data(&mut lane[at].seen, bytes);
                self.release(dir, at, []);
            }
            Step::Add(_) | Step::EndWith(_) | Step::AddTrailers(_) => {
                let last = lane[at].seen.pop();
                match (last, step) {
                    (Some(last), Step::Add(bytes)) if !lane[at].seen.is_empty() => {
                        add_first(&mut lane[at].seen, bytes);
                        self.release(dir, at, [last]);
                    }
                    (Some(last), step) => self.release(dir, at, more_than(last, step)),
                    (None, _) => self.release(dir, at, []),
                }
            }
            Step::Hold(mode) => {
                // What came meanwhile is shown to it.
                lane[at].mode = mode;
                let queued = std::mem::take(&mut lane[at].queued);
                self.work.extend(queued.into_iter().rev().map(|piece| (dir, position, piece)));
            }
            Step::Wait(answer) | Step::Part(_, answer) => self.wait(dir, position, answer),
            Step::Pump(_) | Step::Emit(..) | Step::Reply(_) | Step::Reset => {}
        }
        self.run(cx, ends);
    }

    fn decide(&mut self, step: Step) {
        match step {
            Step::Reply(reply) => self.verdict = Some(Verdict::Reply(reply)),
            _ => self.verdict = Some(Verdict::Reset),
        }
    }

    fn pump(&mut self, dir: Dir, position: u8, answer: Pending) {
        self.parked.push(Parked { dir, position, answer, pump: true });
    }

    fn emit(&mut self, dir: Dir, position: u8, bytes: Buf, end: bool, next: Option<Pending>) {
        if let Some(next) = next {
            self.pump(dir, position, next);
        }
        if end || !bytes.is_empty() {
            self.work.push((dir, position + 1, Piece::Data { bytes, end }));
        }
        // A head that stayed goes before them.
        let lane = &mut self.held[dir as usize];
        if let Some(at) = lane.iter().position(|h| h.position == position && matches!(h.seen.first(), Some(Piece::Head { .. }))) {
            let head = lane[at].seen.remove(0);
            if lane[at].seen.is_empty() && !lane[at].waiting {
                lane.remove(at);
            }
            self.work.push((dir, position + 1, head));
        }
    }

    fn run(&mut self, cx: &mut StreamCx, ends: &mut impl Ends) {
        while let Some((dir, from, piece)) = self.work.pop() {
            if self.verdict.is_some() {
                self.work.clear();
                return;
            }
            self.advance(cx, ends, dir, from, piece);
        }
    }

    /// Moves one piece from `from` as far as it will go.
    fn advance(&mut self, cx: &mut StreamCx, ends: &mut impl Ends, dir: Dir, from: u8, mut piece: Piece) {
        let chain = self.chain.clone();
        let mut interested = chain.interested(piece.kind(dir), from);
        let mut position = from;
        let mut holding = !self.held[dir as usize].is_empty();
        loop {
            let next = interested.split_first();
            // Whoever keeps pieces back between here and the next interested filter gets this one, too.
            if holding {
                let Some(free) = self.keep_behind(dir, position, next.map(|(next, _)| next.position), piece) else { return };
                piece = free;
            }
            let Some((next, rest)) = next else {
                match dir {
                    Dir::Request => ends.to_upstream(cx, piece),
                    Dir::Response => ends.to_client(cx, piece),
                }
                return;
            };
            let step = show(&*next.filter, cx, dir, &mut piece);
            if cx.route_is_stale {
                ends.reroute(cx);
            }
            if matches!(step, Step::Continue) && !holding {
                // Nothing in it to drop, which the compiler does not see: this is the path of every filter of every request.
                std::mem::forget(step);
            } else {
                let Some(free) = self.take_step(cx, dir, next.position, piece, step) else { return };
                piece = free;
                holding = !self.held[dir as usize].is_empty();
            }
            (interested, position) = (rest, next.position + 1);
        }
    }

    /// Leaves a piece with the filter that holds back what comes to `position`, before `next`; gives it back if there is none.
    fn keep_behind(&mut self, dir: Dir, position: u8, next: Option<u8>, piece: Piece) -> Option<Piece> {
        let keeps = |h: &&mut Held| h.position >= position && next.is_none_or(|n| h.position < n || h.waiting && h.position == n);
        let Some(held) = self.held[dir as usize].iter_mut().find(keeps) else { return Some(piece) };
        if held.waiting {
            held.queued.push_back(piece);
        } else {
            held.seen.push(piece);
        }
        None
    }

    /// Does what the filter at a position wants done with a piece; gives the piece back if it just goes on.
    fn take_step(&mut self, cx: &mut StreamCx, dir: Dir, at: u8, mut piece: Piece, step: Step) -> Option<Piece> {
        let held = self.held[dir as usize].iter().position(|h| h.position == at);
        match step {
            Step::Continue => match held {
                Some(held) => self.release(dir, held, [piece]),
                None => return Some(piece),
            },
            Step::Body(bytes) => {
                let mut pieces = held.map(|held| std::mem::take(&mut self.held[dir as usize][held].seen)).unwrap_or_default();
                pieces.push(piece);
                replace_data(&mut pieces, bytes);
                match held {
                    Some(held) => self.release(dir, held, pieces),
                    None => self.work.extend(pieces.into_iter().rev().map(|piece| (dir, at + 1, piece))),
                }
            }
            Step::Add(_) | Step::EndWith(_) | Step::AddTrailers(_) => match (held, step) {
                (Some(held), Step::Add(bytes)) => {
                    add_first(&mut self.held[dir as usize][held].seen, bytes);
                    self.release(dir, held, [piece]);
                }
                (Some(held), step) => self.release(dir, held, more_than(piece, step)),
                (None, step) => self.work.extend(more_than(piece, step).into_iter().rev().map(|piece| (dir, at + 1, piece))),
            },
            Step::Hold(mode) => self.hold(cx, dir, at, piece, mode),
            Step::Wait(answer) => {
                self.keep(dir, at, Some(piece), Hold::Watermark);
                self.wait(dir, at, answer);
            }
            Step::Part(len, answer) => {
                let Some(part) = split(&mut piece, len) else { return Some(piece) };
                self.keep(dir, at, None, Hold::Watermark).queued.push_front(piece);
                self.wait(dir, at, answer);
                self.work.extend(part.map(|part| (dir, at + 1, part)));
            }
            Step::Pump(answer) => {
                self.take(cx, dir, at, piece);
                self.pump(dir, at, answer);
            }
            Step::Emit(bytes, end, next) => {
                self.take(cx, dir, at, piece);
                self.emit(dir, at, bytes, end, next);
            }
            Step::Reply(_) | Step::Reset => self.decide(step),
        }
        None
    }

    /// A piece that does not go on: data is the filter's, a head or trailers stay with it.
    fn take(&mut self, cx: &mut StreamCx, dir: Dir, position: u8, piece: Piece) {
        match piece {
            Piece::Data { bytes, .. } => cx.worker.bufs.put(bytes),
            piece => drop(self.keep(dir, position, Some(piece), Hold::Watermark)),
        }
    }

    fn wait(&mut self, dir: Dir, position: u8, answer: Pending) {
        if let Some(held) = self.held[dir as usize].iter_mut().find(|h| h.position == position) {
            held.waiting = true;
            self.parked.push(Parked { dir, position, answer, pump: false });
        }
    }

    fn keep(&mut self, dir: Dir, position: u8, piece: Option<Piece>, mode: Hold) -> &mut Held {
        let lane = &mut self.held[dir as usize];
        let at = lane.iter().position(|h| h.position == position).unwrap_or_else(|| {
            let at = lane.iter().position(|h| h.position > position).unwrap_or(lane.len());
            lane.insert(at, Held { position, seen: Vec::new(), queued: VecDeque::new(), waiting: false, mode });
            at
        });
        let held = &mut lane[at];
        held.mode = mode;
        held.seen.extend(piece);
        held
    }

    fn hold(&mut self, cx: &mut StreamCx, dir: Dir, at: u8, piece: Piece, mode: Hold) {
        if let (Hold::Discard, Piece::Data { .. }) = (mode, &piece) {
            return self.take(cx, dir, at, piece);
        }
        self.keep(dir, at, Some(piece), mode);
        let limit = match dir {
            Dir::Request => cx.request_buffer_limit.unwrap_or(self.buffer_limit[dir as usize]),
            Dir::Response => self.buffer_limit[dir as usize],
        };
        if mode == Hold::Buffer && self.held_bytes(dir) > limit {
            self.verdict = Some(Verdict::Reply(Box::new(match dir {
                Dir::Request => payload_too_large(),
                Dir::Response => response_too_large(),
            })));
        }
    }

    /// A holder lets go: what it saw goes to the next filter, what queued up behind is shown to it.
    fn release(&mut self, dir: Dir, at: usize, last: impl IntoIterator<Item = Piece>) {
        let Held { position, seen, queued, .. } = self.held[dir as usize].remove(at);
        for piece in queued.into_iter().rev() {
            self.work.push((dir, position, piece));
        }
        let from = self.work.len();
        self.work.extend(seen.into_iter().chain(last).map(|piece| (dir, position + 1, piece)));
        self.work[from..].reverse();
    }
}

/// Shows a piece to a filter.
#[inline]
fn show(filter: &dyn HttpFilter, cx: &mut StreamCx, dir: Dir, piece: &mut Piece) -> Step {
    match (dir, piece) {
        (Dir::Request, Piece::Head { end }) => filter.request_headers(cx, *end),
        (Dir::Request, Piece::Data { bytes, end }) => filter.request_data(cx, bytes, *end),
        (Dir::Request, Piece::Trailers) => filter.request_trailers(cx),
        (Dir::Response, Piece::Head { end }) => filter.response_headers(cx, *end),
        (Dir::Response, Piece::Data { bytes, end }) => filter.response_data(cx, bytes, *end),
        (Dir::Response, Piece::Trailers) => filter.response_trailers(cx),
    }
}

/// The first `len` bytes of data, without what is left of it; `None` if nothing would be left.
#[allow(clippy::option_option, reason = "there may be nothing to send on, and still something left")]
fn split(piece: &mut Piece, len: usize) -> Option<Option<Piece>> {
    let Piece::Data { bytes, .. } = piece else { return None };
    if len >= bytes.len() {
        return None;
    }
    let part = (len > 0).then(|| Piece::Data { bytes: Buf::copy_of(&bytes.filled()[..len]), end: false });
    bytes.consume(len);
    Some(part)
}

/// Puts bytes before all data that was kept.
fn add_first(seen: &mut Vec<Piece>, bytes: Buf) {
    let at = usize::from(matches!(seen.first(), Some(Piece::Head { .. })));
    seen.insert(at, Piece::Data { bytes, end: false });
}

/// Puts bytes in the place of all data.
fn replace_data(pieces: &mut Vec<Piece>, bytes: Buf) {
    let mut end = false;
    pieces.retain_mut(|piece| match piece {
        Piece::Data { end: ended, .. } => {
            end |= *ended;
            false
        }
        Piece::Head { end: ended } => {
            end |= std::mem::take(ended);
            true
        }
        Piece::Trailers => true,
    });
    let at = usize::from(matches!(pieces.first(), Some(Piece::Head { .. })));
    pieces.insert(at, Piece::Data { bytes, end });
}

/// A piece with what a filter adds to it.
fn more_than(piece: Piece, step: Step) -> Vec<Piece> {
    let ended = match piece {
        Piece::Head { end } | Piece::Data { end, .. } => end,
        Piece::Trailers => true,
    };
    let open = |piece| match piece {
        Piece::Head { .. } => Piece::Head { end: false },
        Piece::Data { bytes, .. } => Piece::Data { bytes, end: false },
        Piece::Trailers => Piece::Trailers,
    };
    match (step, piece) {
        (Step::Add(bytes), piece @ Piece::Head { .. }) => vec![open(piece), Piece::Data { bytes, end: ended }],
        (Step::Add(bytes), piece) => vec![Piece::Data { bytes, end: false }, piece],
        (Step::EndWith(bytes), Piece::Trailers) => vec![Piece::Data { bytes, end: true }],
        (Step::EndWith(bytes), piece) => vec![open(piece), Piece::Data { bytes, end: true }],
        (Step::AddTrailers(bytes), piece @ (Piece::Head { .. } | Piece::Data { .. })) if ended => {
            let bytes = bytes.map(|bytes| Piece::Data { bytes, end: false });
            [open(piece)].into_iter().chain(bytes).chain([Piece::Trailers]).collect()
        }
        (_, piece) => vec![piece],
    }
}

/// The answer to a request body that outgrew what a filter may hold.
pub(crate) fn payload_too_large() -> LocalReply {
    LocalReply::new(413, "request_payload_too_large").body("Payload Too Large").closing()
}

/// The answer to a response body that outgrew what a filter may hold.
pub(crate) fn response_too_large() -> LocalReply {
    LocalReply::new(500, "response_payload_too_large").body("Internal Server Error").flags(ResponseFlags::NONE)
}
