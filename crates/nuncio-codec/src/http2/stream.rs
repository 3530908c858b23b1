//! The streams that are open, and their windows (RFC 9113, sections 5.1 and 5.2).

use super::frame::MAX_31;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Bytes that the peer lets us send.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendWindow(i64);

impl SendWindow {
    pub(super) fn new(bytes: u32) -> SendWindow {
        SendWindow(i64::from(bytes))
    }

    #[inline]
    pub(super) fn available(self) -> usize {
        self.0.max(0) as usize
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }

    /// False if the window would become larger than any may be.
    #[must_use]
    pub(super) fn grow(&mut self, bytes: i64) -> bool {
        self.0 += bytes;
        self.0 <= i64::from(MAX_31)
    }
}

/// Bytes that we let the peer send.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveWindow {
    /// What the window is kept at.
    size: i64,
    /// What the peer may still send.
    left: i64,
    /// Released by the consumer, not yet told.
    released: i64,
}

impl ReceiveWindow {
    /// A window of `size` bytes, of which the peer knows of `known`.
    pub(super) fn new(size: u32, known: u32) -> ReceiveWindow {
        ReceiveWindow { size: i64::from(size), left: i64::from(known), released: 0 }
    }

    /// The peer has sent so many; false if it was not allowed to.
    #[must_use]
    pub(super) fn receive(&mut self, bytes: usize) -> bool {
        self.left -= bytes as i64;
        self.left >= 0
    }

    /// So many have been consumed; answers with what the peer is to be told, once that is worth a frame.
    pub(super) fn release(&mut self, bytes: usize) -> Option<u32> {
        self.released += bytes as i64;
        if self.released < (self.size / 2).max(1) {
            return None;
        }
        let told = std::mem::take(&mut self.released);
        self.left += told;
        u32::try_from(told).ok().filter(|told| *told > 0)
    }
}

/// One open stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) send: SendWindow,
    pub(super) receive: ReceiveWindow,
    /// The peer may still send (it has not ended the stream).
    pub(super) remote_open: bool,
    /// We may still send.
    pub(super) local_open: bool,
    /// The message's head has come: what comes next are trailers.
    pub(super) head_received: bool,
    /// The head of a 1xx response has.
    pub(super) informed: bool,
    /// Body bytes that `content-length` says are still to come.
    pub(super) expected: Option<u64>,
    /// Body bytes that have come.
    pub(super) body: u64,
    /// The head said how long the body is.
    pub(super) told_length: bool,
    /// The response has no body, whatever it says (to HEAD).
    pub(super) bodiless: bool,
    /// The request was CONNECT: its response has no content-length.
    pub(super) connect: bool,
    /// Its response is complete, and nobody wants what the peer still sends.
    pub(super) disregarded: bool,
    /// Bytes of body that have come since.
    pub(super) unwanted: usize,
}

/// Stream numbers are as good as their hash.
#[derive(Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }
    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(super) type Streams = HashMap<u32, Stream, BuildHasherDefault<NumberHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_told_when_half_the_window_is_free() {
        let mut window = ReceiveWindow::new(100, 100);
        assert!(window.receive(100) && !window.receive(1));
        let mut window = ReceiveWindow::new(100, 100);
        assert!(window.receive(80));
        assert_eq!(window.release(49), None);
        assert_eq!(window.release(1), Some(50));
        assert!(window.receive(70) && !window.receive(1));
    }

    #[test]
    fn a_send_window_may_go_below_zero_and_never_beyond_its_limit() {
        let mut window = SendWindow::new(10);
        window.take(10);
        assert!(window.grow(-5));
        assert_eq!(window.available(), 0);
        assert!(window.grow(i64::from(MAX_31)) && !window.grow(100));
    }
}
