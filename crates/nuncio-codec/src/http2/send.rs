//! What goes out: heads, bodies' frames, resets, goodbyes.

use super::connection::{Connection, Role};
use super::error::{ErrorCode, Stat};
use super::frame::{self, FrameHead, HEAD_BYTES, MAX_31, flag, kind};
use crate::headers::{Header, HeaderMap, Known, KnownSet};

/// Names of HTTP/1's connections, and `host`, which is `:authority` here.
const UNSENT: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// Why no stream can be begun on a connection now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// As many are open as may be.
    Full,
    /// The connection has said goodbye, has failed, or has used up its numbers.
    Spent,
}

impl Connection {
    /// How many more streams can be begun now.
    ///
    /// # Errors
    /// [`Refused::Spent`] if no more ever will.
    pub fn openings(&self) -> Result<u32, Refused> {
        if self.goaway_received.is_some() || self.goaway_sent.is_some() || self.fault.is_some() || self.next_stream > MAX_31 - 2 {
            return Err(Refused::Spent);
        }
        let most = self.peer.max_concurrent_streams.min(self.options.max_concurrent_streams);
        Ok(most.saturating_sub(self.of_ours))
    }

    /// Begins a stream with a request's head and says its number.
    ///
    /// # Errors
    /// [`Refused`] when none can be begun.
    pub fn request(&mut self, head: &HeaderMap, end: bool) -> Result<u32, Refused> {
        if self.role != Role::Client || self.openings()? == 0 {
            return Err(Refused::Full);
        }
        let id = self.next_stream;
        self.next_stream += 2;
        let (bodiless, connect) = super::receive::nature(head);
        let stream = self.open(id, true, !end);
        (stream.bodiless, stream.connect) = (bodiless, connect);
        self.block(id, head, end);
        Ok(id)
    }

    /// Sends the head of a response, or of an informational one (`end` is false then). Nothing happens if the stream
    /// is gone.
    pub fn respond(&mut self, stream: u32, head: &HeaderMap, end: bool) {
        if self.streams.get(&stream).is_some_and(|s| s.local_open) {
            self.block(stream, head, end);
            self.local_ends(stream, end);
        }
    }

    /// Sends trailers, which end the stream; empty ones are no more than its end. Nothing happens if the stream is gone.
    pub fn trailers(&mut self, stream: u32, trailers: &HeaderMap) {
        if trailers.is_empty() {
            self.begin_data(stream, 0, true);
        } else {
            self.respond(stream, trailers, true);
        }
    }

    /// How many bytes of body can be sent in one frame now.
    #[inline]
    pub fn capacity(&self, stream: u32) -> usize {
        match self.streams.get(&stream) {
            Some(open) if open.local_open => open.send.available().min(self.send.available()).min(self.peer.max_frame),
            _ => 0,
        }
    }

    /// True if the stream is open for sending.
    pub fn can_send(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|s| s.local_open)
    }

    /// True if the peer may still send on the stream.
    pub fn can_receive(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|s| s.remote_open)
    }

    /// Begins a frame of `bytes` of body, which the caller has to write behind the output at once. No more than
    /// [`Connection::capacity`] allows; an empty one may always end the stream.
    pub fn begin_data(&mut self, stream: u32, bytes: usize, end: bool) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        open.send.take(bytes);
        self.send.take(bytes);
        self.inbound.data_frames_sent += 1;
        let flags = if end { flag::END_STREAM } else { 0 };
        FrameHead { len: bytes, kind: kind::DATA, flags, stream }.write(&mut self.out);
        self.outbound.add(HEAD_BYTES + bytes, false);
        self.local_ends(stream, end);
    }

    /// Ends a stream at once. Nothing happens if it is gone.
    pub fn reset(&mut self, stream: u32, code: ErrorCode) {
        if self.streams.contains_key(&stream) {
            self.rst_frame(stream, code);
            self.close(stream);
        }
    }

    /// Says that the connection will end soon, leaving the peer the streams that it has begun or is beginning.
    pub fn announce_goaway(&mut self) {
        if self.goaway_sent.is_none() {
            self.goaway_frame(MAX_31, ErrorCode::NO_ERROR);
        }
    }

    /// Says goodbye: streams that the peer begins from now on are not looked at.
    pub fn goaway(&mut self, code: ErrorCode) {
        if self.goaway_sent.is_none_or(|last| last > self.last_peer_stream) {
            self.goaway_frame(self.last_peer_stream, code);
            self.counts.add(Stat::GoawaySent);
        }
    }

    /// True once goodbye has been said for good.
    pub fn is_leaving(&self) -> bool {
        self.goaway_sent.is_some_and(|last| last != MAX_31)
    }

    /// Asks for a sign of life.
    pub fn ping(&mut self, payload: &[u8; 8]) {
        frame::write_ping(false, payload, &mut self.out);
        self.outbound.add(HEAD_BYTES + 8, true);
    }

    fn local_ends(&mut self, id: u32, end: bool) {
        if end && let Some(stream) = self.streams.get_mut(&id) {
            stream.local_open = false;
            if !stream.remote_open {
                self.close(id);
            }
        }
    }

    pub(super) fn rst_frame(&mut self, stream: u32, code: ErrorCode) {
        self.number_frame(kind::RST_STREAM, stream, code.0, true);
        self.resets.add(stream, self.options.max_concurrent_streams);
        self.counts.add(Stat::TxReset);
    }

    /// Writes a header block, in as many frames as it takes.
    fn block(&mut self, stream: u32, head: &HeaderMap, end: bool) {
        self.block.clear();
        self.encoder.begin(&mut self.block);
        let connect = head.is_connect() && !head.contains(Known::Protocol);
        // CONNECT names nothing but where to (RFC 9113, section 8.5).
        let out_of_place = |field: &Header<'_>| connect && matches!(field.known, Known::Scheme | Known::Path);
        for field in head.iter().filter(|field| is_sent(field) && !out_of_place(field)) {
            self.encoder.field(field, &mut self.block);
        }
        let begun = self.out.len();
        let mut left = self.block.as_slice();
        let mut kind = kind::HEADERS;
        let mut flags = if end { flag::END_STREAM } else { 0 };
        loop {
            let (piece, rest) = left.split_at(left.len().min(self.peer.max_frame));
            left = rest;
            if left.is_empty() {
                flags |= flag::END_HEADERS;
            }
            FrameHead { len: piece.len(), kind, flags, stream }.write(&mut self.out);
            self.out.extend_from_slice(piece);
            if left.is_empty() {
                break;
            }
            (kind, flags) = (kind::CONTINUATION, 0);
        }
        self.outbound.add(self.out.len() - begun, false);
    }
}

fn is_sent(field: &Header<'_>) -> bool {
    !UNSENT.has(field.known) && (field.known != Known::Te || field.value == b"trailers")
}
