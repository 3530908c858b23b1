//! One stream of a connection: its exchange, and what waits in either direction.

use super::link::Link;
use crate::stream::{ClientEvent, ClientSide, Exchange};
use nuncio_codec::headers::HeaderMap;
use nuncio_codec::http2::upgrade;
use nuncio_core::StreamCx;
use nuncio_rt::{Buf, Time};
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Says that a stream wants to be polled, and has the connection's task woken for it.
pub(super) struct Ready {
    wanted: AtomicBool,
    task: Waker,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.wanted.swap(true, Relaxed) {
            self.task.wake_by_ref();
        }
    }
}

/// What waits on a stream.
#[derive(Default)]
pub(super) struct Side {
    pub(super) id: u32,
    /// Request body that the exchange has not taken.
    inbox: VecDeque<Buf>,
    request_ended: bool,
    end_told: bool,
    trailers: Option<HeaderMap>,
    /// Response body that windows, or the connection's queue, hold back.
    outbox: VecDeque<Buf>,
    out_bytes: usize,
    out_end: bool,
    out_trailers: Option<HeaderMap>,
    /// Bytes it may still send in this turn.
    pub(super) quota: usize,
    /// It has more to send than this turn or the connection's queue allowed: it is asked again.
    pub(super) held_back: bool,
    /// The request is an extended CONNECT.
    pub(super) upgrading: bool,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Side {
    /// Keeps what came of the request's body. Small pieces share a buffer, so that many of them cost no more memory than
    /// their bytes.
    pub(super) fn receive(&mut self, link: &Link, mut bytes: &[u8], end: bool) {
        self.received += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.inbox.back().is_none_or(|last| last.room() == 0) {
                self.inbox.push_back(link.hcm.worker.bufs.get());
            }
            if let Some(last) = self.inbox.back_mut() {
                let taken = last.append(bytes);
                bytes = &bytes[taken..];
            }
        }
        self.request_ended |= end;
    }

    pub(super) fn receive_trailers(&mut self, trailers: HeaderMap) {
        self.trailers = Some(trailers);
        self.request_ended = true;
    }

    pub(super) fn end_request(&mut self) {
        self.request_ended = true;
        self.end_told = true;
    }

    /// Lets go of everything; windows get back what nobody has taken.
    fn clear(&mut self, link: &mut Link) {
        let left: usize = self.inbox.iter().map(Buf::len).sum();
        link.codec.release(self.id, left);
        link.held -= self.out_bytes;
        let bufs = &link.hcm.worker.bufs;
        self.inbox.drain(..).chain(self.outbox.drain(..)).for_each(|buf| bufs.put(buf));
        let (inbox, outbox) = (std::mem::take(&mut self.inbox), std::mem::take(&mut self.outbox));
        *self = Side { inbox, outbox, ..Side::default() };
    }

    /// True if the whole request has come.
    pub(super) fn has_request(&self) -> bool {
        self.request_ended
    }

    /// True if something waits to be sent.
    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.out_trailers.is_some()
    }

    /// Sends what windows and this turn allow. True when nothing waits any more.
    pub(super) fn pump(&mut self, link: &mut Link) -> bool {
        while let Some(front) = self.outbox.front_mut() {
            if self.quota == 0 || link.is_full() {
                self.held_back = true;
                return false;
            }
            let room = link.codec.capacity(self.id).min(self.quota);
            if room == 0 && !front.is_empty() {
                return !link.codec.can_send(self.id);
            }
            let last = self.outbox.len() == 1;
            let Some(mut front) = self.outbox.pop_front() else { break };
            let n = room.min(front.len());
            let whole = n == front.len();
            self.out_bytes -= n;
            link.held -= n;
            self.quota -= n;
            self.sent += n as u64;
            let end = whole && last && self.out_end;
            if n > 0 || end {
                link.codec.begin_data(self.id, n, end);
                link.queue_output();
            }
            if whole {
                link.out.push(front);
            } else {
                link.out.copy(&front.filled()[..n]);
                front.consume(n);
                self.outbox.push_front(front);
            }
        }
        if let Some(trailers) = self.out_trailers.take() {
            link.codec.trailers(self.id, &trailers);
            link.queue_output();
        }
        true
    }
}

/// A stream with its exchange.
pub(super) struct Stream {
    pub(super) exchange: Box<Exchange>,
    pub(super) side: Side,
    pub(super) due: Option<Time>,
    ready: Arc<Ready>,
    pub(super) waker: Waker,
}

impl Stream {
    pub(super) fn new(exchange: Box<Exchange>, task: &Waker) -> Box<Stream> {
        let ready = Arc::new(Ready { wanted: AtomicBool::new(false), task: task.clone() });
        let waker = Waker::from(ready.clone());
        Box::new(Stream { exchange, side: Side::default(), due: None, ready, waker })
    }

    /// Has it polled in this turn.
    pub(super) fn want(&self) {
        self.ready.wanted.store(true, Relaxed);
    }

    /// True if it wanted to be polled; it no longer does.
    pub(super) fn take_wanted(&self) -> bool {
        self.ready.wanted.load(Relaxed) && self.ready.wanted.swap(false, Relaxed)
    }

    /// What has come of the body counts as received, though nobody has taken it.
    pub(super) fn note_unread(&mut self) {
        self.exchange.cx.info.bytes_received += self.side.inbox.iter().map(|buf| buf.len() as u64).sum::<u64>();
    }

    pub(super) fn clear(&mut self, link: &mut Link) {
        self.side.clear(link);
        self.due = None;
    }
}

/// A stream as its exchange sees it.
pub(super) struct Client<'a> {
    pub(super) link: &'a mut Link,
    pub(super) side: &'a mut Side,
}

impl ClientSide for Client<'_> {
    /// The connection wakes the stream when something comes for it.
    fn poll_request(&mut self, _task: &mut Context<'_>, cx: &mut StreamCx) -> Poll<ClientEvent> {
        let side = &mut *self.side;
        if let Some(bytes) = side.inbox.pop_front() {
            let end = side.request_ended && side.inbox.is_empty() && side.trailers.is_none();
            side.end_told |= end;
            self.link.codec.release(side.id, bytes.len());
            self.link.queue_output();
            return Poll::Ready(ClientEvent::Data { bytes, end });
        }
        if side.request_ended && !side.end_told {
            side.end_told = true;
            if let Some(trailers) = side.trailers.take() {
                cx.request_trailers = trailers.into();
                return Poll::Ready(ClientEvent::Trailers);
            }
            return Poll::Ready(ClientEvent::Data { bytes: self.link.hcm.worker.bufs.get(), end: true });
        }
        Poll::Pending
    }

    fn informational(&mut self, cx: &StreamCx) {
        self.link.hcm.count_status(cx.response.status().unwrap_or(100));
        self.link.codec.respond(self.side.id, &cx.response, false);
        self.link.queue_output();
    }

    fn head(&mut self, cx: &mut StreamCx, end: bool) {
        match if self.side.upgrading { upgrade::response_to_http2(&cx.response) } else { None } {
            Some(turned) => self.link.codec.respond(self.side.id, &turned, end),
            None => self.link.codec.respond(self.side.id, &cx.response, end),
        }
        let bytes = self.link.queue_output();
        self.side.sent += bytes;
        cx.info.downstream.headers_sent = bytes.saturating_sub(9);
        self.link.responded();
    }

    fn data(&mut self, bytes: Buf, end: bool) {
        self.side.out_bytes += bytes.len();
        self.link.held += bytes.len();
        self.side.out_end |= end;
        self.side.outbox.push_back(bytes);
    }

    fn trailers(&mut self, cx: &StreamCx) {
        if self.side.pump(self.link) && self.side.outbox.is_empty() {
            self.link.codec.trailers(self.side.id, &cx.response_trailers);
            self.side.sent += self.link.queue_output();
        } else {
            self.side.out_trailers = Some(HeaderMap::clone(&cx.response_trailers));
        }
    }

    /// Done when everything is in the connection's queue, which the connection writes.
    fn poll_flush(&mut self, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.side.pump(self.link) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn waiting(&self) -> usize {
        self.link.weigh(self.side.out_bytes)
    }

    /// Other streams have nothing to do with this one.
    fn close_after(&mut self) {}
}
