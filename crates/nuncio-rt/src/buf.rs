//! Pooled byte buffers.
//!
//! A [`Buf`] is a fixed block of [`BUF_BYTES`] with a filled range. It goes back to its worker's pool by
//! [`BufPool::put`]; larger ones (a head beyond one block) are dropped instead of pooled. An idle connection
//! must hold none: that is what keeps it at a few KiB.

use std::cell::RefCell;

/// Size of a pooled buffer in bytes. 64 KiB blocks fall out of the first-level cache (twice the cost on
/// 1 MiB bodies), 16 KiB ones cost 30 % on 16 KiB bodies.
pub const BUF_BYTES: usize = 32 * 1024;

/// Room that a buffer for reading keeps in front of what is read: a head, or the frame of a chunk, that goes out before
/// a body is put there, so that both are one piece of memory and leave by a plain `send`.
const HEADROOM: usize = 512;

/// Buffers kept for reuse by one worker: 8 MiB. More are given back to the allocator.
const POOLED_MAX: usize = 256;

/// A block of bytes with a filled range `start..end`.
#[derive(Debug)]
pub struct Buf {
    block: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buf {
    /// An empty buffer of `capacity` bytes, outside any pool.
    pub fn with_capacity(capacity: usize) -> Buf {
        Buf { block: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    /// A buffer holding a copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Buf {
        Buf { block: bytes.into(), start: 0, end: bytes.len() }
    }

    /// The filled bytes.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }

    /// The filled bytes, writable.
    #[inline]
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.block[self.start..self.end]
    }

    /// Number of filled bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// True when nothing is filled.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that can still be appended without moving anything.
    #[inline]
    pub fn room(&self) -> usize {
        self.block.len() - self.end
    }

    /// Size of the block.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.block.len()
    }

    /// The unfilled tail; after writing `n` bytes there, call [`Buf::grow`].
    #[inline]
    pub fn tail(&mut self) -> &mut [u8] {
        &mut self.block[self.end..]
    }

    /// Declares `n` bytes of the tail filled.
    #[inline]
    pub fn grow(&mut self, n: usize) {
        self.end = (self.end + n).min(self.block.len());
    }

    /// Drops `n` bytes from the front.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// Keeps the first `n` filled bytes only.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.end = self.end.min(self.start + n);
    }

    /// Forgets all bytes.
    #[inline]
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Puts `bytes` in front of the filled ones; false if there is no room for them.
    #[inline]
    pub fn prepend(&mut self, bytes: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(bytes.len()) else { return false };
        self.block[start..self.start].copy_from_slice(bytes);
        self.start = start;
        true
    }

    /// Forgets all bytes, and keeps room in front as [`BufPool::get_for_reading`] does.
    #[inline]
    pub fn clear_for_reading(&mut self) {
        self.start = HEADROOM.min(self.block.len() / 2);
        self.end = self.start;
    }

    /// Appends as much of `bytes` as fits and returns how much that was.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        self.block[self.end..self.end + n].copy_from_slice(&bytes[..n]);
        self.end += n;
        n
    }

    /// Moves the filled bytes to the front of the block, so that all room is behind them.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.block.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// The same bytes in a block of at least `capacity` bytes.
    pub fn enlarged(&self, capacity: usize) -> Buf {
        let mut larger = Buf::with_capacity(capacity.max(self.len()));
        larger.append(self.filled());
        larger
    }
}

/// A worker's stack of free buffers (last in, first out: the warm one is used next).
#[derive(Debug, Default)]
pub struct BufPool {
    free: RefCell<Vec<Buf>>,
}

impl BufPool {
    /// An empty buffer of [`BUF_BYTES`].
    #[inline]
    pub fn get(&self) -> Buf {
        self.free.borrow_mut().pop().unwrap_or_else(|| Buf::with_capacity(BUF_BYTES))
    }

    /// An empty buffer to read into: like [`BufPool::get`], with room in front for what may have to go out before it.
    #[inline]
    pub fn get_for_reading(&self) -> Buf {
        let mut buf = self.get();
        buf.clear_for_reading();
        buf
    }

    /// Gives a buffer back.
    #[inline]
    pub fn put(&self, mut buf: Buf) {
        if buf.capacity() == BUF_BYTES {
            let mut free = self.free.borrow_mut();
            if free.len() < POOLED_MAX {
                buf.clear();
                free.push(buf);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_oversize_ones_are_not_kept() {
        let pool = BufPool::default();
        let mut b = pool.get();
        b.append(b"abc");
        pool.put(b);
        assert!(pool.get().is_empty());
        pool.put(Buf::with_capacity(BUF_BYTES * 2));
        assert_eq!(pool.get().capacity(), BUF_BYTES);
    }

    #[test]
    fn what_was_read_has_room_for_a_head_in_front() {
        let mut b = BufPool::default().get_for_reading();
        b.append(b"body");
        assert!(b.prepend(b"head,"));
        assert_eq!(b.filled(), b"head,body");
        assert!(!b.prepend(&[0; HEADROOM]));
        assert_eq!(b.len(), 9);
    }

    #[test]
    fn consume_truncate_and_compact_keep_the_right_bytes() {
        let mut b = Buf::copy_of(b"hello world");
        b.consume(6);
        b.truncate(3);
        b.compact();
        assert_eq!(b.filled(), b"wor");
        assert_eq!(b.room(), 8);
    }
}
