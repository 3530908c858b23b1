//! How an HTTP filter takes part in an exchange.
//!
//! A filter is built once per configuration and shared by all workers. It looks at a piece of the exchange and
//! returns a [`Step`]; only the engine moves, holds, answers or ends anything.

use crate::{LocalReply, StreamCx};
use nuncio_rt::Buf;
use std::{fmt, future::Future, marker::PhantomData, pin::Pin};

/// A filter of the HTTP filter chain. Default methods let everything pass.
pub trait HttpFilter: Send + Sync + fmt::Debug + 'static {
    /// The pieces it wants to see; it is skipped, at no cost, for all others.
    fn phases(&self) -> Phases;
    /// The request head; `end` when no body follows.
    fn request_headers(&self, _cx: &mut StreamCx, _end: bool) -> Step {
        Step::Continue
    }
    /// A piece of the request body.
    fn request_data(&self, _cx: &mut StreamCx, _data: &mut Buf, _end: bool) -> Step {
        Step::Continue
    }
    /// The request trailers (`cx.request_trailers`).
    fn request_trailers(&self, _cx: &mut StreamCx) -> Step {
        Step::Continue
    }
    /// The response head.
    fn response_headers(&self, _cx: &mut StreamCx, _end: bool) -> Step {
        Step::Continue
    }
    /// A piece of the response body.
    fn response_data(&self, _cx: &mut StreamCx, _data: &mut Buf, _end: bool) -> Step {
        Step::Continue
    }
    /// The response trailers (`cx.response_trailers`).
    fn response_trailers(&self, _cx: &mut StreamCx) -> Step {
        Step::Continue
    }
    /// Once, when the exchange is over, before it is logged.
    fn done(&self, _cx: &mut StreamCx) {}
}

/// What happens to the piece a filter has just seen.
pub enum Step {
    /// It goes to the next filter.
    Continue,
    /// It stays here; show me the next one. My next `Continue` releases all that I kept, in order.
    Hold(Hold),
    /// It stays here with everything behind it until this answer is in.
    Wait(Pending),
    /// The first bytes of this data go on; the rest stays, and is shown to me again once this answer is in.
    Part(usize, Pending),
    /// This data is mine, a head or trailers stay here; go on showing me what follows. Meanwhile this answer brings what goes
    /// on in its place: the next piece ([`Step::Emit`]), nothing (`Hold`), or `Continue` for trailers that stayed. One at a
    /// time in each direction.
    Pump(Pending),
    /// In the place of data that is mine these bytes go on, behind a head that stayed; with `true` they end the message. Then
    /// this answer, if any.
    Emit(Buf, bool, Option<Pending>),
    /// As `Continue`, with these bytes added to the message: behind a head, before trailers, and before data, that which
    /// I kept included.
    Add(Buf),
    /// As `Continue`, but these bytes are the body, in the place of all data that I kept.
    Body(Buf),
    /// As `Continue`, but these bytes end the message in the place of its trailers.
    EndWith(Buf),
    /// As `Continue`, but the trailers in the exchange end the message, and not this piece; before them go these bytes.
    AddTrailers(Option<Buf>),
    /// The client is answered now; every response filter sees the answer.
    Reply(Box<LocalReply>),
    /// The stream ends without an answer.
    Reset,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Continue => "Continue",
            Step::Hold(_) => "Hold",
            Step::Wait(_) => "Wait",
            Step::Part(..) => "Part",
            Step::Pump(_) => "Pump",
            Step::Emit(..) => "Emit",
            Step::Add(_) => "Add",
            Step::Body(_) => "Body",
            Step::EndWith(_) => "EndWith",
            Step::AddTrailers(_) => "AddTrailers",
            Step::Reply(_) => "Reply",
            Step::Reset => "Reset",
        })
    }
}

/// What holding means for the pieces to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Keep collecting; over the buffer limit the request is answered 413, the response 500.
    Buffer,
    /// Stop reading from the peer when the buffer limit is reached.
    Watermark,
    /// Throw the data away (the filter has taken what it wanted).
    Discard,
}

/// An answer that is still on its way.
pub type Pending = Pin<Box<dyn Future<Output = Apply>>>;
/// What to do with the stream when the answer is in.
pub type Apply = Box<dyn FnOnce(&mut StreamCx) -> Step>;

impl Step {
    /// Waits for `answer`: the future computes, the closure it returns then changes the stream.
    pub fn wait<F, K>(answer: F) -> Step
    where
        F: Future<Output = K> + 'static,
        K: FnOnce(&mut StreamCx) -> Step + 'static,
    {
        Step::Wait(Box::pin(async move { Box::new(answer.await) as Apply }))
    }

    /// Lets the first `len` bytes of the data go on, and shows the rest again after `time`.
    pub fn part<F>(len: usize, time: F) -> Step
    where
        F: Future<Output = ()> + 'static,
    {
        Step::Part(len, Box::pin(async move {
            time.await;
            Box::new(|_: &mut StreamCx| Step::Continue) as Apply
        }))
    }

    /// Takes this data; `answer` brings what goes on in its place.
    pub fn pump<F, K>(answer: F) -> Step
    where
        F: Future<Output = K> + 'static,
        K: FnOnce(&mut StreamCx) -> Step + 'static,
    {
        Step::Pump(Box::pin(async move { Box::new(answer.await) as Apply }))
    }

    /// Answers the client.
    pub fn reply(reply: LocalReply) -> Step {
        Step::Reply(Box::new(reply))
    }
}

/// A set of pieces a filter wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases(u8);

impl Phases {
    /// None: only `done`.
    pub const NONE: Phases = Phases(0);
    /// The request head.
    pub const REQUEST_HEADERS: Phases = Phases(1);
    /// Request data.
    pub const REQUEST_DATA: Phases = Phases(2);
    /// Request trailers.
    pub const REQUEST_TRAILERS: Phases = Phases(4);
    /// The response head.
    pub const RESPONSE_HEADERS: Phases = Phases(8);
    /// Response data.
    pub const RESPONSE_DATA: Phases = Phases(16);
    /// Response trailers.
    pub const RESPONSE_TRAILERS: Phases = Phases(32);

    /// All of both directions.
    pub const ALL: Phases = Phases(63);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Phases) -> Phases {
        Phases(self.0 | other.0)
    }

    /// True if the sets share a piece.
    pub const fn has(self, other: Phases) -> bool {
        self.0 & other.0 != 0
    }

    /// The set of the piece with this index: 0–2 request head, data, trailers; 3–5 the response's.
    pub const fn nth(index: usize) -> Phases {
        Phases(1 << index)
    }
}

/// A place for a filter's per-stream state, handed out when the chain is built.
pub struct StateSlot<T>(usize, PhantomData<fn() -> T>);

impl<T> StateSlot<T> {
    pub(crate) fn new(index: usize) -> StateSlot<T> {
        StateSlot(index, PhantomData)
    }
    pub(crate) fn index(&self) -> usize {
        self.0
    }
}

impl<T> fmt::Debug for StateSlot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateSlot({})", self.0)
    }
}
