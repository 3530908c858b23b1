//! An HTTP/1 connection to a client, as one side of an exchange.
//!
//! Holds a read buffer only while it has bytes, reads body only when asked, and collects what is to be sent so that
//! head and short body leave in one write. Which connection lives on after an exchange is found out here; acting on
//! it is the connection's business.

use crate::hcm::HcmWorker;
use crate::stream::{ClientEvent, ClientSide, upgrade::is_tunnel};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_codec::http1::{
    BodyState, CHUNK_SUFFIX, Encoding, RequestDecoder, RequestHead, ResponseEncoding, Version, Violation, chunk_end,
    chunk_prefix, encode_response_head, encode_trailers,
};
use nuncio_core::{LocalReply, Protocol, ResponseFlags, StreamCx};
use nuncio_rt::{Buf, Io, OutQueue};
use nuncio_stats::tables::{http1 as http1_stat, http_connection_manager as stat};
use std::{
    io,
    rc::Rc,
    task::{Context, Poll},
};

/// Where the reading of a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Between requests, or in a head.
    Head,
    /// In a body.
    Body,
    /// In trailers.
    Trailers,
    /// The request is complete: what comes belongs to the next one.
    Done,
}

/// What came of waiting for a head.
#[derive(Debug)]
pub(super) enum Headway {
    /// A head, in the map.
    Head(RequestHead),
    /// The client has finished sending.
    End,
}

/// An HTTP/1 connection to a client.
pub(super) struct H1 {
    pub(super) io: Io,
    out: OutQueue,
    read: Option<Buf>,
    decoder: RequestDecoder,
    reading: Reading,
    hcm: Rc<HcmWorker>,
    scratch: Vec<u8>,
    version: Version,
    to_head: bool,
    encoding: Encoding,
    /// The client lets the connection live.
    keep_alive: bool,
    /// We will close after this exchange, whatever the client wants.
    pub(super) closing: bool,
    /// The client is given time to read the answer before the close, whatever it asked for.
    pub(super) linger: bool,
    /// Responses ask the client to close, which may still send what was on its way (draining).
    pub(super) parting: bool,
    /// Bytes on the wire of the current exchange's body: received, and sent with its head.
    pub(super) body_received: u64,
    pub(super) sent: u64,
    /// The client has finished sending.
    peer_ended: bool,
    /// The framing of what the client sends is lost.
    pub(super) broken: bool,
}

impl H1 {
    pub(super) fn new(hcm: Rc<HcmWorker>, io: Io, first: Option<Buf>) -> H1 {
        H1 {
            io,
            out: OutQueue::new(hcm.worker.bufs.clone()),
            read: first.filter(|b| !b.is_empty()),
            decoder: RequestDecoder::new(hcm.config.http1),
            reading: Reading::Head,
            hcm,
            scratch: Vec::new(),
            version: Version::Http11,
            to_head: false,
            encoding: Encoding::None,
            keep_alive: true,
            closing: false,
            linger: false,
            parting: false,
            body_received: 0,
            sent: 0,
            peer_ended: false,
            broken: false,
        }
    }

    /// What the first bytes, which are here, are the beginning of: `Some(true)` of HTTP/2, `None` if that cannot be said
    /// yet.
    pub(super) fn begins_http2(&self) -> Option<bool> {
        const PREFACE: &[u8] = b"PRI * HTTP/2";
        let bytes = self.read.as_ref().map_or(&[][..], Buf::filled);
        let common = bytes.len().min(PREFACE.len());
        match bytes[..common] == PREFACE[..common] {
            true => (common == PREFACE.len()).then_some(true),
            false => Some(false),
        }
    }

    /// Reads more of what has begun to arrive.
    pub(super) fn poll_more(&mut self, task: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_fill(task)
    }

    /// Gives up the connection's bytes to another codec.
    pub(super) fn into_parts(self) -> (Io, Option<Buf>) {
        (self.io, self.read)
    }

    /// True if the client asked for the connection to be closed, or has gone.
    pub(super) fn client_closes(&self) -> bool {
        !self.keep_alive || self.peer_ended
    }

    /// The current request is the connection's last one, as if the client had asked for that.
    pub(super) fn take_no_more(&mut self) {
        self.keep_alive = false;
    }

    /// Waits for the first bytes of a request, holding no buffer.
    pub(super) fn poll_input(&mut self, task: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.read.is_some() {
            return Poll::Ready(Ok(true));
        }
        match self.poll_fill(task) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(false)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads on until a head is complete.
    pub(super) fn poll_head(&mut self, task: &mut Context<'_>, into: &mut HeaderMap) -> Poll<io::Result<Result<Headway, Violation>>> {
        self.reading = Reading::Head;
        loop {
            if let Some(buf) = &mut self.read {
                match self.decoder.decode_head(buf.filled(), into) {
                    Err(violation) => {
                        self.broken = true;
                        return Poll::Ready(Ok(Err(violation)));
                    }
                    Ok(Some(head)) => {
                        buf.consume(head.consumed);
                        self.begin(&head);
                        self.release_empty();
                        return Poll::Ready(Ok(Ok(Headway::Head(head))));
                    }
                    Ok(None) => {}
                }
            }
            match self.poll_fill(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Ok(Headway::End))),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    fn begin(&mut self, head: &RequestHead) {
        self.reading = if head.end_stream() { Reading::Done } else { Reading::Body };
        self.version = head.version;
        self.to_head = head.method.is_head();
        self.keep_alive = head.keep_alive;
        self.encoding = Encoding::None;
        self.body_received = 0;
        self.sent = 0;
        if head.dropped_headers > 0 {
            let n = u64::from(head.dropped_headers);
            self.hcm.http1_stats.add(self.hcm.worker.lane, http1_stat::DROPPED_HEADERS_WITH_UNDERSCORES, n);
        }
    }

    /// Version of the current request.
    pub(super) fn protocol(&self) -> Protocol {
        match self.version {
            Version::Http10 => Protocol::Http10,
            Version::Http11 => Protocol::Http11,
        }
    }

    /// Tells the client to go on and send its body.
    pub(super) fn send_continue(&mut self) {
        self.hcm.count_status(100);
        self.out.copy(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// A broken head is answered in its own version, if that was read.
    pub(super) fn speak_as_the_head(&mut self) {
        self.version = self.decoder.version();
    }

    /// The answer to a broken message.
    pub(super) fn violated(&mut self, violation: Violation) -> Box<LocalReply> {
        let lane = self.hcm.worker.lane;
        self.broken = true;
        self.closing = true;
        self.hcm.stats.inc(lane, stat::DOWNSTREAM_CX_PROTOCOL_ERROR);
        if violation.stat().is_some() {
            self.hcm.http1_stats.inc(lane, http1_stat::REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS);
        }
        let reply = LocalReply::new(violation.status(), violation.details()).body(violation.body());
        Box::new(reply.flags(ResponseFlags::DPE))
    }

    /// Reads more into the buffer, making room where it is full; keeps none when nothing came.
    fn poll_fill(&mut self, task: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.peer_ended {
            return Poll::Ready(Ok(0));
        }
        // Borrowing a buffer costs less than asking for readiness first; it goes back at once when there is nothing.
        let bufs = &self.hcm.worker.bufs;
        let buf = self.read.get_or_insert_with(|| bufs.get_for_reading());
        if buf.room() == 0 {
            buf.compact();
            if buf.room() == 0 {
                let larger = buf.enlarged(buf.capacity() * 2);
                bufs.put(std::mem::replace(buf, larger));
            }
        }
        let read = self.io.poll_read(task, buf);
        match &read {
            Poll::Ready(Ok(0)) => self.peer_ended = true,
            Poll::Ready(Ok(n)) => self.hcm.stats.add(self.hcm.worker.lane, stat::DOWNSTREAM_CX_RX_BYTES_TOTAL, *n as u64),
            _ => {}
        }
        self.release_empty();
        read
    }

    fn release_empty(&mut self) {
        if self.read.as_ref().is_some_and(Buf::is_empty)
            && let Some(buf) = self.read.take()
        {
            self.hcm.worker.bufs.put(buf);
        }
    }

    /// One step of reading the body from what is in the buffer. `None`: more must be read first.
    fn body_step(&mut self, cx: &mut StreamCx) -> Option<ClientEvent> {
        let buf = self.read.as_mut()?;
        if self.reading == Reading::Trailers {
            return self.trailers_step(cx);
        }
        let body = match self.decoder.decode_body(buf.filled_mut()) {
            Ok(body) => body,
            Err(violation) => return Some(ClientEvent::Violation(self.violated(violation))),
        };
        let end = body.state == BodyState::Done;
        self.reading = match body.state {
            BodyState::Done => Reading::Done,
            BodyState::Trailers => Reading::Trailers,
            BodyState::More => Reading::Body,
        };
        self.body_received += body.consumed as u64;
        let mut piece = self.read.take()?;
        if body.consumed < piece.len() {
            let mut rest = self.hcm.worker.bufs.get();
            rest.append(&piece.filled()[body.consumed..]);
            self.read = Some(rest);
        }
        if body.payload.is_empty() && !end {
            self.hcm.worker.bufs.put(piece);
            return if self.reading == Reading::Trailers { self.trailers_step(cx) } else { None };
        }
        piece.truncate(body.payload.end);
        piece.consume(body.payload.start);
        Some(ClientEvent::Data { bytes: piece, end })
    }

    fn trailers_step(&mut self, cx: &mut StreamCx) -> Option<ClientEvent> {
        let buf = self.read.as_mut()?;
        match self.decoder.decode_trailers(buf.filled(), &mut cx.request_trailers) {
            Err(violation) => Some(ClientEvent::Violation(self.violated(violation))),
            Ok(None) => None,
            Ok(Some(consumed)) => {
                buf.consume(consumed);
                self.body_received += consumed as u64;
                self.release_empty();
                self.reading = Reading::Done;
                if cx.request_trailers.is_empty() {
                    return Some(ClientEvent::Data { bytes: self.hcm.worker.bufs.get(), end: true });
                }
                Some(ClientEvent::Trailers)
            }
        }
    }

    /// Watches for the client's leaving while its request is being answered. Bytes of further requests wait in the
    /// buffer; when it is full they wait in the kernel.
    fn poll_leaving(&mut self, task: &mut Context<'_>) -> Poll<ClientEvent> {
        loop {
            if self.read.as_ref().is_some_and(|b| b.room() == 0) {
                return Poll::Pending;
            }
            match self.poll_fill(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(ClientEvent::Gone),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    /// Throws away what the client still sends; ready when it has closed.
    pub(super) fn poll_discard(&mut self, task: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(buf) = self.read.take() {
                self.hcm.worker.bufs.put(buf);
            }
            match self.poll_fill(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    fn send_scratch(&mut self) {
        self.sent += self.scratch.len() as u64;
        self.out.copy(&self.scratch);
    }

    /// Whether the connection is closed after the response whose head is being sent.
    fn decide_close(&mut self, cx: &StreamCx) {
        if self.reading != Reading::Done {
            self.hcm.stats.inc(self.hcm.worker.lane, stat::DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE);
            self.closing = true;
        }
        if cx.response.get(Known::Connection).is_some_and(|c| c.eq_ignore_ascii_case(b"close")) {
            self.closing = true;
        }
        // Envoy keeps a connection of HTTP/1.0 for responses of upstreams only.
        self.closing |= self.version == Version::Http10 && cx.info.local_reply;
    }
}

impl ClientSide for H1 {
    fn poll_request(&mut self, task: &mut Context<'_>, cx: &mut StreamCx) -> Poll<ClientEvent> {
        if matches!(self.reading, Reading::Done | Reading::Head) || self.broken {
            return if self.broken { Poll::Pending } else { self.poll_leaving(task) };
        }
        loop {
            if let Some(event) = self.body_step(cx) {
                return Poll::Ready(event);
            }
            match self.poll_fill(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(ClientEvent::Gone),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    fn informational(&mut self, cx: &StreamCx) {
        self.scratch.clear();
        let how = ResponseEncoding {
            end_stream: true,
            version: self.version,
            to_head: false,
            to_connect: false,
            case: self.hcm.config.header_case,
        };
        if encode_response_head(&cx.response, how, &mut self.scratch).is_ok() {
            self.hcm.count_status(cx.response.status().unwrap_or(100));
            self.out.copy(&self.scratch);
        }
    }

    fn head(&mut self, cx: &mut StreamCx, end: bool) {
        self.decide_close(cx);
        if is_tunnel(cx) {
            // What follows is not HTTP: the connection ends with it.
        } else if self.closing || self.parting || !self.keep_alive {
            cx.response.insert(Known::Connection, "close");
        } else if self.version == Version::Http10 {
            cx.response.insert(Known::Connection, "keep-alive");
        }
        let how = ResponseEncoding {
            end_stream: end,
            version: self.version,
            to_head: self.to_head,
            to_connect: cx.request.is_connect(),
            case: self.hcm.config.header_case,
        };
        self.scratch.clear();
        match encode_response_head(&cx.response, how, &mut self.scratch) {
            Ok(encoding) => self.encoding = encoding,
            Err(_) => self.closing = true,
        }
        if self.encoding == Encoding::UntilClose {
            self.closing = true;
        }
        let start_line = self.scratch.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        cx.info.downstream.headers_sent = self.scratch.len().saturating_sub(start_line + 2) as u64;
        self.send_scratch();
    }

    fn data(&mut self, bytes: Buf, end: bool) {
        if self.encoding != Encoding::None {
            self.sent += bytes.len() as u64;
        }
        match self.encoding {
            Encoding::None => self.hcm.worker.bufs.put(bytes),
            Encoding::Raw | Encoding::UntilClose => self.out.push(bytes),
            Encoding::Chunked => {
                self.scratch.clear();
                if !bytes.is_empty() {
                    chunk_prefix(bytes.len(), &mut self.scratch);
                    self.send_scratch();
                    self.out.push(bytes);
                    self.out.copy(CHUNK_SUFFIX);
                    self.sent += CHUNK_SUFFIX.len() as u64;
                } else {
                    self.hcm.worker.bufs.put(bytes);
                }
                if end {
                    self.scratch.clear();
                    chunk_end(&mut self.scratch);
                    self.send_scratch();
                }
            }
        }
    }

    fn trailers(&mut self, cx: &StreamCx) {
        if self.encoding != Encoding::Chunked {
            return;
        }
        self.scratch.clear();
        if self.hcm.config.http1.enable_trailers {
            encode_trailers(&cx.response_trailers, self.hcm.config.header_case, &mut self.scratch);
        } else {
            chunk_end(&mut self.scratch);
        }
        self.send_scratch();
    }

    fn poll_flush(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut written = 0;
        let done = self.out.poll_flush(task, &mut self.io, &mut written);
        self.hcm.stats.add(self.hcm.worker.lane, stat::DOWNSTREAM_CX_TX_BYTES_TOTAL, written);
        done
    }

    fn waiting(&self) -> usize {
        self.out.len()
    }

    fn close_after(&mut self) {
        self.closing = true;
        self.linger = true;
    }
}
