//! HTTP/2 towards an upstream: one connection that many requests share.
//!
//! A task of its own drives each connection (`driver`): it alone touches the socket, and what all streams have queued
//! since it last ran leaves in one write. A request on the connection (`stream`) lives in its exchange's task; the two
//! meet in [`Shared`], on one thread, and wake each other. Response bytes go back to the peer's windows when the
//! exchange takes them: an exchange that does not holds its peer back.

mod driver;
mod stream;

pub(crate) use driver::{Terms, drive};
pub use stream::Http2Stream;

use crate::breaker::Permit;
use crate::config::HttpOptions;
use crate::info::ClusterCx;
use crate::reset::Reset;
use crate::transport::Opened;
use nuncio_codec::headers::HeaderMap;
use nuncio_codec::http2::{Connection as Codec, ErrorCode, Options, Role};
use nuncio_core::TlsFacts;
use nuncio_rt::{Buf, OutQueue, Time};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    rc::Rc,
    task::Waker,
};

/// What came for a stream.
#[derive(Debug)]
enum Item {
    Informational(HeaderMap),
    Head(HeaderMap, bool),
    Data(Buf),
    Trailers(HeaderMap),
}

/// What waits on a stream, in either direction.
#[derive(Debug, Default)]
struct Side {
    inbox: VecDeque<Item>,
    /// The response is complete.
    ended: bool,
    /// It ended before its time.
    reset: Option<Reset>,
    outbox: VecDeque<Buf>,
    out_bytes: usize,
    out_end: bool,
    out_trailers: Option<HeaderMap>,
    waker: Option<Waker>,
    received: u64,
}

impl Side {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Sends what windows allow; true if nothing waits any more.
    fn pump(&mut self, id: u32, codec: &mut Codec, out: &mut OutQueue) -> bool {
        while let Some(mut front) = self.outbox.pop_front() {
            let room = codec.capacity(id);
            if room == 0 && !front.is_empty() {
                self.outbox.push_front(front);
                return false;
            }
            let n = room.min(front.len());
            let whole = n == front.len();
            let end = whole && self.outbox.is_empty() && self.out_end;
            self.out_bytes -= n;
            if n > 0 || end {
                codec.begin_data(id, n, end);
                move_output(codec, out);
            }
            if whole {
                out.push(front);
            } else {
                out.copy(&front.filled()[..n]);
                front.consume(n);
                self.outbox.push_front(front);
            }
        }
        if let Some(trailers) = self.out_trailers.take() {
            codec.trailers(id, &trailers);
            move_output(codec, out);
        }
        true
    }
}

/// Moves what the codec has to say into the queue; says how many bytes.
fn move_output(codec: &mut Codec, out: &mut OutQueue) -> u64 {
    let output = codec.output();
    let bytes = output.len() as u64;
    if bytes > 0 {
        out.copy(output);
        output.clear();
    }
    bytes
}

/// What a connection's task and its streams share.
#[derive(Debug)]
struct Shared {
    codec: Codec,
    out: OutQueue,
    sides: BTreeMap<u32, Side>,
    driver: Option<Waker>,
    /// The connection is over.
    dead: bool,
    /// Since when there has been no stream.
    idle_since: Time,
}

/// A connection that requests share.
#[derive(Debug)]
pub(crate) struct Http2Connection {
    shared: RefCell<Shared>,
    pub(crate) created: Time,
    /// Promised to requests that have not begun yet.
    promised: Cell<u32>,
    /// Requests carried.
    pub(crate) requests: Cell<u32>,
    /// No new requests: it ends when the last one does.
    draining: Cell<bool>,
    id: u64,
    local: Option<SocketAddr>,
    tls: Option<Rc<TlsFacts>>,
    _permit: Permit,
}

impl Http2Connection {
    pub(crate) fn new(cluster: &Rc<ClusterCx>, permit: Permit, created: Time, opened: &Opened) -> Rc<Http2Connection> {
        Rc::new(Http2Connection {
            shared: RefCell::new(Shared {
                codec: Codec::new(Role::Client, options(&cluster.info.config.http)),
                out: OutQueue::new(cluster.worker.bufs.clone()),
                sides: BTreeMap::new(),
                driver: None,
                dead: false,
                idle_since: Time::now(),
            }),
            created,
            promised: Cell::new(0),
            requests: Cell::new(0),
            draining: Cell::new(false),
            id: super::next_id(),
            local: opened.local,
            tls: opened.tls.clone(),
            _permit: permit,
        })
    }

    /// Promises a place for a request, if there is one.
    pub(crate) fn promise(&self) -> bool {
        let room = match self.draining.get() {
            true => 0,
            false => self.shared.borrow().codec.openings().unwrap_or(0),
        };
        let free = room > self.promised.get();
        if free {
            self.promised.set(self.promised.get() + 1);
        }
        free
    }

    /// Streams that are under way or promised, and how many more there may be.
    pub(crate) fn load(&self) -> (u32, u32) {
        let (shared, promised) = (self.shared.borrow(), self.promised.get());
        let room = if self.draining.get() { 0 } else { shared.codec.openings().unwrap_or(0).saturating_sub(promised) };
        (shared.sides.len() as u32 + promised, room)
    }

    /// A promised place is not needed.
    pub(crate) fn release_promise(&self) {
        self.promised.set(self.promised.get().saturating_sub(1));
        self.wake_if_draining();
    }

    /// True if no more requests will be begun on it.
    pub(crate) fn is_spent(&self) -> bool {
        self.draining.get() || self.shared.borrow().codec.openings().is_err()
    }

    /// Takes no more requests, and closes when the last has ended.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake_if_draining();
    }

    fn wake_if_draining(&self) {
        if self.draining.get() {
            self.wake_driver();
        }
    }

    fn wake_driver(&self) {
        if let Some(driver) = &self.shared.borrow().driver {
            driver.wake_by_ref();
        }
    }

    /// Ends a stream, whether it is complete or not. True if it had to be reset.
    fn end_stream(&self, id: u32, bufs: &nuncio_rt::BufPool) -> bool {
        let mut shared = self.shared.borrow_mut();
        let shared = &mut *shared;
        let open = !shared.dead && (shared.codec.can_send(id) || shared.codec.can_receive(id));
        let answered = !shared.codec.can_receive(id);
        if let Some(side) = shared.sides.remove(&id) {
            for item in side.inbox {
                if let Item::Data(buf) = item {
                    shared.codec.release(id, buf.len());
                    bufs.put(buf);
                }
            }
            side.outbox.into_iter().for_each(|buf| bufs.put(buf));
        }
        // Where there is an answer nothing went wrong: the rest of the request is just not wanted (RFC 9113, section 8.1).
        let calm = answered && !shared.codec.options().as_envoy;
        shared.codec.reset(id, if calm { ErrorCode::NO_ERROR } else { ErrorCode::INTERNAL_ERROR });
        if shared.sides.is_empty() {
            shared.idle_since = Time::now();
        }
        if let Some(driver) = &shared.driver {
            driver.wake_by_ref();
        }
        open
    }
}

fn options(http: &HttpOptions) -> Options {
    Options {
        max_header_bytes: http.max_response_headers_kb.unwrap_or(60) as usize * 1024,
        max_headers: http.max_headers_count as usize,
        underscores: http.headers_with_underscores_action,
        ..http.http2
    }
}
