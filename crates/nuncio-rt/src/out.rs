//! What waits to be written to one peer.
//!
//! Small pieces (heads, chunk framing, short bodies) are copied together into one buffer; large ones keep the
//! buffer they were read into, and what is to go before them moves there if there is room. A flush hands them all to one
//! `writev`, or `send`.

use crate::{Buf, BufPool, Io};
use std::{
    collections::VecDeque,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// Pieces up to this many bytes are copied behind what already waits; larger ones are queued as they are.
/// A `writev` of two slices costs about as much as copying 2 KiB.
pub const COPY_BYTES: usize = 2048;

/// Messages up to this many bytes are posted: they leave when the tasks that are ready have run, together with others.
/// Copying larger ones evicts what batching keeps in the cache.
pub(crate) const POST_BYTES: usize = 2048;

/// Slices handed to one `writev`.
const SLICES: usize = 8;

/// Bytes waiting to be written, in order.
#[derive(Debug)]
pub struct OutQueue {
    pool: Rc<BufPool>,
    queue: VecDeque<Buf>,
    bytes: usize,
}

impl OutQueue {
    /// An empty queue whose buffers come from and return to `pool`.
    pub fn new(pool: Rc<BufPool>) -> OutQueue {
        OutQueue { pool, queue: VecDeque::new(), bytes: 0 }
    }

    /// Bytes waiting.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True when nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Queues a copy of `bytes`.
    pub fn copy(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            if self.queue.back().is_none_or(|b| b.room() == 0) {
                self.queue.push_back(self.pool.get());
            }
            if let Some(last) = self.queue.back_mut() {
                let n = last.append(bytes);
                bytes = &bytes[n..];
            }
        }
    }

    /// Queues `buf`: copied when short and there is room, moved otherwise. A short piece before it moves in front of it.
    pub fn push(&mut self, mut buf: Buf) {
        if buf.is_empty() {
            self.pool.put(buf);
        } else if buf.len() <= COPY_BYTES && self.queue.back().is_some_and(|b| b.room() >= buf.len()) {
            self.copy(buf.filled());
            self.pool.put(buf);
        } else {
            self.bytes += buf.len();
            if let Some(before) = self.queue.pop_back_if(|before| before.len() <= COPY_BYTES && buf.prepend(before.filled())) {
                self.pool.put(before);
            }
            self.queue.push_back(buf);
        }
    }

    /// Writes as much as the peer takes. Ready once nothing waits any more; when it is pending, the task is
    /// woken as soon as the peer takes more. Returns the number of bytes written by this call in `written`.
    ///
    /// # Errors
    /// What the socket says; [`io::ErrorKind::WriteZero`] if it takes nothing.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, io: &mut Io, written: &mut u64) -> Poll<io::Result<()>> {
        match io {
            Io::Socket(socket) if self.bytes <= POST_BYTES && self.queue.len() <= 1 => {
                ready!(socket.poll_unstalled(cx))?;
                if let Some(only) = self.queue.pop_front() {
                    *written += self.bytes as u64;
                    self.bytes = 0;
                    socket.post(only, &self.pool);
                }
                Poll::Ready(Ok(()))
            }
            _ if self.bytes == 0 => io.poll_flush(cx),
            _ => self.poll_write(cx, io, written),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, io: &mut Io, written: &mut u64) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            let taken = match self.queue.front() {
                // What nearly every write is.
                Some(only) if self.queue.len() == 1 => io.poll_writev(cx, &[io::IoSlice::new(only.filled())]),
                _ => {
                    let mut slices = [io::IoSlice::new(&[]); SLICES];
                    let mut count = 0;
                    for (slot, buf) in slices.iter_mut().zip(&self.queue) {
                        *slot = io::IoSlice::new(buf.filled());
                        count += 1;
                    }
                    io.poll_writev(cx, &slices[..count])
                }
            };
            let n = match taken {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            };
            *written += n as u64;
            self.taken(n);
        }
        io.poll_flush(cx)
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        while let Some(buf) = self.queue.pop_front() {
            self.pool.put(buf);
        }
        self.bytes = 0;
    }

    fn taken(&mut self, mut n: usize) {
        self.bytes -= n.min(self.bytes);
        while let Some(front) = self.queue.front_mut() {
            let part = n.min(front.len());
            front.consume(part);
            n -= part;
            if !front.is_empty() {
                return;
            }
            if let Some(empty) = self.queue.pop_front() {
                self.pool.put(empty);
            }
            if n == 0 && self.queue.front().is_none_or(|b| !b.is_empty()) {
                return;
            }
        }
    }
}

impl Drop for OutQueue {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_moves_in_front_of_the_body_that_was_read() {
        let pool = Rc::new(BufPool::default());
        let mut q = OutQueue::new(pool.clone());
        q.copy(b"head,");
        let mut body = pool.get_for_reading();
        body.append(&[7; COPY_BYTES + 1]);
        q.push(body);
        assert_eq!((q.queue.len(), q.len()), (1, 5 + COPY_BYTES + 1));
        assert!(q.queue[0].filled().starts_with(b"head,\x07"));
    }

    #[test]
    fn short_pieces_share_a_buffer_and_long_ones_are_moved() {
        let mut q = OutQueue::new(Rc::default());
        q.copy(b"head");
        q.push(Buf::copy_of(b"short"));
        q.push(Buf::copy_of(&[7; COPY_BYTES + 1]));
        assert_eq!((q.queue.len(), q.len()), (2, 9 + COPY_BYTES + 1));
        q.taken(10);
        assert_eq!((q.queue.len(), q.len()), (1, COPY_BYTES));
        q.taken(COPY_BYTES);
        assert!(q.is_empty() && q.queue.is_empty());
    }
}
