//! Frames of streams that are closed, or whose end nobody waits for (RFC 9113, section 5.1).
//!
//! A peer may not have heard yet that we reset a stream: what it still sends is ignored. Anything else on a stream that
//! it has ended itself is its mistake. As Envoy ([`Options::as_envoy`](super::Options::as_envoy)) all of it is ignored.

use super::connection::{Connection, Role};
use super::error::{ErrorCode, Fault};
use std::collections::VecDeque;

/// Bytes of a body that nobody wants before its sender is told so: less than the smallest window that a peer may have had
/// from us, so that none waits for a window that never grows.
const UNWANTED_BYTES: usize = 16 * 1024;

/// Most resets that are remembered.
const REMEMBERED: usize = 4096;

/// The streams that we reset last.
#[derive(Debug, Default)]
pub(super) struct Resets(VecDeque<u32>);

impl Resets {
    /// Remembers one more, and of those before as many as streams can be under way.
    pub(super) fn add(&mut self, stream: u32, under_way: u32) {
        let most = (under_way as usize).clamp(128, REMEMBERED);
        if self.0.len() >= most {
            self.0.pop_front();
        }
        self.0.push_back(stream);
    }

    fn has(&self, stream: u32) -> bool {
        self.0.contains(&stream)
    }
}

impl Connection {
    /// Wants nothing more of a stream whose response is complete. The peer hears of it if it sends much more: what is left
    /// of a short body costs neither side a reset.
    pub fn disregard(&mut self, stream: u32) {
        match self.streams.get_mut(&stream) {
            Some(open) if !open.local_open && !self.options.as_envoy => {
                self.disregarded += u32::from(!open.disregarded);
                open.disregarded = true;
            }
            _ => self.reset(stream, ErrorCode::NO_ERROR),
        }
    }

    /// A DATA frame of so many bytes came for a stream that is closed or disregarded. Ends what is left of it.
    pub(super) fn unwanted_data(&mut self, id: u32, bytes: usize, end: bool) {
        let Some(open) = self.streams.get(&id) else {
            if self.ended_by_peer(id) {
                self.rst_frame(id, ErrorCode::STREAM_CLOSED);
            }
            return;
        };
        if !open.disregarded {
            return;
        }
        if self.measure(id, bytes, end).is_err() {
            return self.reset(id, ErrorCode::PROTOCOL_ERROR);
        }
        let Some(open) = self.streams.get_mut(&id) else { return };
        open.unwanted += bytes;
        if end {
            self.close(id);
        } else if open.unwanted > UNWANTED_BYTES {
            self.reset(id, ErrorCode::NO_ERROR);
        }
    }

    /// Trailers of a disregarded stream came.
    pub(super) fn unwanted_trailers(&mut self, id: u32, valid: bool) {
        if valid {
            self.close(id);
        } else {
            self.reset(id, ErrorCode::PROTOCOL_ERROR);
        }
    }

    /// Whether HEADERS that came for a stream which is not open may be ignored.
    ///
    /// # Errors
    /// [`Fault::HeadersAfterEnd`] if the peer must have known that it is closed.
    pub(super) fn unwanted_headers(&self, id: u32) -> Result<(), Fault> {
        if self.ended_by_peer(id) { Err(Fault::HeadersAfterEnd) } else { Ok(()) }
    }

    /// As Envoy: whether the peer has said goodbye, and all is done and written. It begins nothing more then, and is not
    /// answered.
    pub(super) fn has_parted(&self) -> bool {
        let done = self.streams.is_empty() && self.outbound.waiting().0 == 0;
        self.options.as_envoy && self.role == Role::Server && self.goaway_received.is_some() && done
    }

    /// Whether the peer ended a stream that is not open, or passed it over.
    fn ended_by_peer(&self, id: u32) -> bool {
        let unseen = self.goaway_sent.is_some_and(|last| id > last);
        self.role == Role::Server && !self.options.as_envoy && !unseen && !self.resets.has(id)
    }
}
